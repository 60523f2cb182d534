"""Saved pipelines: every estimator predicts the same to the bit, and nothing unknown is loaded."""

import json
import pickle
from hashlib import sha256

import joblib
import numpy as np
import pytest
from command_line import MODEL
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm.baselines import OneHotResidues, ResidueComposition
from sklearn_esm.datasets import load_gb1
from sklearn_esm.variants import MutationsToSequences

pytest.importorskip("typer")
pytest.importorskip("skops")

from sklearn_esm.cli._saved_model import load_pipeline, read_record, save_pipeline

pytestmark = pytest.mark.usefixtures("one_thread")

GB1 = load_gb1()
ROWS = slice(None, None, 25)
MUTATIONS, Y = GB1.mutations[ROWS], GB1.target[ROWS]
CLASSES = np.where(np.median(Y) < Y, "good", "poor")
THREE = np.where(Y > 0, "good", CLASSES)
KERNEL = ConstantKernel() * RBF(10.0) + DotProduct() + Matern() + WhiteKernel()

ESTIMATORS = {
    "ridge": (Ridge(), Y),
    "svr": (SVR(), Y),
    "random forest": (RandomForestRegressor(10, random_state=0), Y),
    "gaussian process": (GaussianProcessRegressor(KERNEL, normalize_y=True, optimizer=None), Y),
    "gradient boosting": (HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5), Y),
    "logistic": (LogisticRegression(), CLASSES),
    "svc": (SVC(), CLASSES),
    "random forest of classes": (RandomForestClassifier(10, random_state=0), THREE),
    "gaussian process of classes": (GaussianProcessClassifier(), CLASSES),
    "gradient boosting of classes": (
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
        CLASSES,
    ),
    "gradient boosting of three classes": (
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
        THREE,
    ),
}

RECORD = {
    "input": {
        "kind": "sequences",
        "column": "s",
        "target": "y",
        "reference": None,
        "first_position": 1,
    },
    "measured": {"highest": 2.5, "lowest": 0, "digests": ["8a5edab282632443"]},
}


def features():
    return FeatureUnion(
        [
            ("embedding", ESMEmbeddingTransformer(MODEL)),
            (
                "likelihood",
                ESMLikelihoodTransformer(MODEL, method="wt-marginals", reference=GB1.reference),
            ),
            ("one-hot", OneHotResidues()),
            ("composition", ResidueComposition()),
        ]
    )


def fitted(estimator, y, *steps):
    first = MutationsToSequences(GB1.reference)
    return make_pipeline(first, *(steps or [features()]), StandardScaler(), estimator).fit(MUTATIONS, y)


@pytest.mark.parametrize(
    ("name", "suffix"), [*((name, ".skops") for name in ESTIMATORS), ("random forest", ".joblib")]
)
def test_a_pipeline_read_again_predicts_the_same_to_the_bit(tmp_path, name, suffix):
    model = fitted(*ESTIMATORS[name])
    path = tmp_path / f"model{suffix}"
    types = save_pipeline(model, path)
    read = load_pipeline(path)
    assert_array_equal(read.predict(MUTATIONS), model.predict(MUTATIONS))
    assert_array_equal(read[:-1].transform(MUTATIONS), model[:-1].transform(MUTATIONS))
    if hasattr(model, "predict_proba"):
        assert_array_equal(read.predict_proba(MUTATIONS), model.predict_proba(MUTATIONS))
    if suffix == ".skops":
        skops_io = pytest.importorskip("skops.io")
        # what a user of Python needs, and no type less
        assert_array_equal(
            skops_io.load(path, trusted=types).predict(MUTATIONS), model.predict(MUTATIONS)
        )
        with pytest.raises(TypeError, match=types[-1]):
            skops_io.load(path, trusted=types[:-1])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_principal_components_are_the_same_in_each_file(tmp_path):
    model = fitted(Ridge(), Y, features(), PCA(5, random_state=0))
    read = []
    for name in ("a.skops", "b.skops", "c.joblib"):
        save_pipeline(model, tmp_path / name)
        read.append(load_pipeline(tmp_path / name).predict(MUTATIONS))
    assert_array_equal(read[0], read[1])
    assert_array_equal(read[0], read[2])
    # the components that were fitted are a view with strides, whose products round in another way
    assert_allclose(read[0], model.predict(MUTATIONS), rtol=1e-9)


def test_a_foreign_type_is_refused_by_name_when_saved_and_when_loaded(tmp_path):
    path = tmp_path / "model.skops"
    model = Pipeline([("f", FunctionTransformer(np.linalg.norm)), ("r", Ridge())])
    with pytest.raises(ValueError, match=r"model\.skops must hold only types .* got .*linalg.*norm"):
        save_pipeline(model, path)
    assert list(tmp_path.iterdir()) == []
    pytest.importorskip("skops.io").dump(model, path)
    with pytest.raises(ValueError, match=r"model\.skops must hold only types .* got .*linalg.*norm"):
        load_pipeline(path)


def test_a_function_of_the_package_is_foreign(tmp_path):
    path = tmp_path / "model.skops"
    pytest.importorskip("skops.io").dump(FunctionTransformer(load_gb1), path)
    with pytest.raises(ValueError, match=r"got sklearn_esm\.datasets\._gb1\.load_gb1\."):
        load_pipeline(path)


@pytest.mark.parametrize("suffix", [".skops", ".joblib"])
@pytest.mark.parametrize("part", [0, 0.3, 0.9])
def test_a_truncated_file_is_one_message(tmp_path, suffix, part):
    path = tmp_path / f"model{suffix}"
    save_pipeline(fitted(Ridge(), Y, OneHotResidues()), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=rf"model\{suffix} is damaged .* Copy it again, or train again"):
        load_pipeline(path)


@pytest.mark.parametrize("use", [load_pipeline, lambda path: save_pipeline(Ridge(), path)])
def test_another_suffix_is_refused(tmp_path, use):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Ridge()))
    with pytest.raises(ValueError, match=r"must end in \.skops or \.joblib; got .*model\.pkl\."):
        use(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_pipeline(tmp_path / "model.skops")
    assert caught.value.filename == str(tmp_path / "model.skops")


def test_the_record_lies_beside_the_model(tmp_path):
    path = tmp_path / "model.skops"
    with pytest.raises(FileNotFoundError, match=r"model\.json must lie beside model\.skops"):
        read_record(path)
    path.write_bytes(b"a pipeline")
    digest = sha256(b"a pipeline").hexdigest()
    record = {**RECORD, "pipeline_sha256": digest}
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    assert read_record(path) == record
    for content in ('{"input"', "{}", "[]", '{"input": null}'):
        path.with_suffix(".json").write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"model\.json must be the JSON that `train` wrote"):
            read_record(path)


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("input", {"column": 5}),
        ("input", {"target": None}),
        ("input", {"first_position": "1"}),
        ("input", {"kind": "mutations"}),  # without a reference
        ("measured", {"digests": None}),
        ("measured", {"digests": [1]}),
        ("measured", {"highest": "x"}),
    ],
)
def test_a_record_edited_by_hand_is_one_message(tmp_path, entry, change):
    path = tmp_path / "model.skops"
    path.write_bytes(b"")
    record = {**RECORD, entry: {**RECORD[entry], **change}, "pipeline_sha256": sha256(b"").hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"model\.json must be the JSON that `train` wrote"):
        read_record(path)


def test_the_record_of_another_model_is_refused(tmp_path):
    paths = [tmp_path / name for name in ("first.skops", "second.skops")]
    for path, pipeline in zip(paths, ("one", "two"), strict=True):
        path.write_text(pipeline)
        record = {**RECORD, "pipeline_sha256": sha256(pipeline.encode()).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps(record))
    paths[0].replace(paths[1])  # as if a stop came between the two files
    with pytest.raises(ValueError, match=r"second\.json must have been written with second\.skops"):
        read_record(paths[1])


def test_an_interrupted_write_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "model.skops"
    save_pipeline(fitted(Ridge(), Y, OneHotResidues()), path)
    before = path.read_bytes()

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        save_pipeline(fitted(Ridge(10.0), Y, OneHotResidues()), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.skops"]


@pytest.mark.parametrize("suffix", [".skops", ".joblib"])
def test_a_new_process_without_the_extras_predicts_the_same_offline(tmp_path, new_process, suffix):
    model = fitted(Ridge(), Y)
    types = save_pipeline(model, tmp_path / f"model{suffix}")
    joblib.dump((MUTATIONS, types), tmp_path / "input")
    code = """
import joblib, numpy, sys, warnings
warnings.simplefilter("error")
for name in ("typer", "rich", "h5py", "matplotlib"):
    sys.modules[name] = None
folder, suffix = sys.argv[1:]
mutations, types = joblib.load(folder + "/input")
if suffix == ".skops":
    import skops.io
    model = skops.io.load(folder + "/model.skops", trusted=types)
else:
    model = joblib.load(folder + "/model.joblib")
numpy.save(folder + "/read", model.predict(mutations))
"""
    done = new_process(code, tmp_path, suffix)
    assert done.returncode == 0, done.stderr
    assert_array_equal(np.load(tmp_path / "read.npy"), model.predict(MUTATIONS))


@pytest.mark.parametrize("name", ["ridge", "gaussian process", "random forest", "gradient boosting"])
def test_files_of_equal_pipelines_are_equal(tmp_path, name):
    estimator, y = ESTIMATORS[name]
    for number in (1, 2):
        seeded = clone(estimator).set_params(random_state=0)
        save_pipeline(fitted(seeded, y), tmp_path / f"{number}.skops")
    assert (tmp_path / "1.skops").read_bytes() == (tmp_path / "2.skops").read_bytes()
