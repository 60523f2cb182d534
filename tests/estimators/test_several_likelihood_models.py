"""`ESMLikelihoodTransformer` with a list of models: their columns, or the mean or minimum of them."""

import io
import pickle
import re
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_esm import ESMLikelihoodTransformer
from sklearn_esm._engine import PackedModel
from sklearn_esm._execution import _models

pytestmark = pytest.mark.no_cover

FAMILIES = ["esm2", "esm1b", "esm1v"]
REFERENCE = "MKTAYIAKQRQISFVKSH"
VARIANTS = [
    "MKTAYIAKQRQISFVKSW",
    REFERENCE,
    "AKTAYIWKQRQISFVKSH",
    "MKTAYIAKQRQISFVKSW",
]
METHODS = ["masked-marginals", "pseudo-perplexity", "log-likelihood"]


@pytest.fixture
def paths(checkpoints):
    """Paths of three models of different families."""
    return [checkpoints[family].path for family in FAMILIES]


def scorer(model, **parameters):
    parameters = {"cache": None, "method": METHODS, "reference": REFERENCE, **parameters}
    return ESMLikelihoodTransformer(model, **parameters)


def alone(paths, X=VARIANTS, **parameters):
    """The scores of each model by an estimator of its own: ``(models, sequences, methods)``."""
    return np.array([scorer(path, **parameters).fit_transform(X) for path in paths])


# columns


@pytest.mark.parametrize("kind", [list, tuple, lambda paths: np.array([str(path) for path in paths])])
def test_columns_of_the_first_model_come_first(paths, kind):
    several = scorer(kind(paths))
    assert_array_equal(several.fit_transform(VARIANTS), np.hstack(alone(paths)))
    expected = [f"{family}_{method}" for family in FAMILIES for method in METHODS]
    assert several.get_feature_names_out().tolist() == expected


@pytest.mark.parametrize(("aggregate", "function"), [("mean", np.mean), ("min", np.min)])
def test_models_are_combined_to_a_column_for_each_method(paths, aggregate, function):
    several = scorer(paths, aggregate=aggregate)
    assert_array_equal(several.fit_transform(VARIANTS), function(alone(paths), axis=0))
    expected = [f"{aggregate}_{method}" for method in METHODS]
    assert several.get_feature_names_out().tolist() == expected


@pytest.mark.parametrize("aggregate", ["mean", "min"])
def test_aggregate_leaves_a_single_model_as_it_is(checkpoint, aggregate):
    single = scorer(checkpoint.path, aggregate=aggregate)
    assert_array_equal(single.fit_transform(VARIANTS), alone([checkpoint.path])[0])
    assert single.get_feature_names_out().tolist() == [f"esm2_{method}" for method in METHODS]


def test_a_list_of_one_model_gives_its_columns(checkpoint):
    single = scorer([checkpoint.path])
    assert_array_equal(single.fit_transform(VARIANTS), alone([checkpoint.path])[0])
    assert single.get_feature_names_out().tolist() == [f"esm2_{method}" for method in METHODS]
    assert single.model_fingerprint_ == [scorer(checkpoint.path).fit(VARIANTS).model_fingerprint_]


def test_models_of_the_same_label_are_numbered_by_their_place(paths, tmp_path):
    for run, path in zip("abc", paths, strict=True):
        (tmp_path / run).mkdir()
        shutil.copy(path, tmp_path / run / ("model.pt" if run != "c" else "model-1.pt"))
    models = [tmp_path / "a" / "model.pt", tmp_path / "b" / "model.pt", tmp_path / "c" / "model-1.pt"]
    names = scorer(models, method="log-likelihood").fit(VARIANTS).get_feature_names_out()
    # "model-1" alone would be the name of the first one as well as of the last
    assert names.tolist() == [
        "model-1_log-likelihood",
        "model-2_log-likelihood",
        "model-1-3_log-likelihood",
    ]


def test_set_output_names_the_columns(paths):
    pd = pytest.importorskip("pandas")
    several = scorer(paths, method="log-likelihood").set_output(transform="pandas")
    table = several.fit_transform(pd.Series(VARIANTS, index=list("wxyz")))
    assert table.columns.tolist() == [f"{family}_log-likelihood" for family in FAMILIES]
    assert table.index.tolist() == list("wxyz")


@pytest.mark.parametrize("aggregate", [None, "mean", "min"])
def test_a_missing_row_is_nan_for_every_model(paths, aggregate):
    several = scorer(paths, aggregate=aggregate, missing="nan")
    actual = several.fit_transform([None, *VARIANTS])
    assert np.isnan(actual[0]).all()
    assert_array_equal(actual[1:], scorer(paths, aggregate=aggregate).fit_transform(VARIANTS))


# fitted attributes


def test_each_model_has_a_fingerprint_and_a_reference(paths):
    # ESM-1b's random model has a limit of 40 residues, ESM-2's has none
    long = REFERENCE * 3
    several = scorer(paths, method="wt-marginals", reference=long, overlong="truncate").fit([long])
    assert several.reference_ == [long, long[:40], long[:40]]
    fingerprints = [scorer(path).fit(VARIANTS).model_fingerprint_ for path in paths]
    assert several.model_fingerprint_ == fingerprints
    variant = "A" + long[1:52] + "AA"
    parameters = {"method": "wt-marginals", "reference": long, "overlong": "truncate"}
    assert_array_equal(several.transform([variant])[0], alone(paths, [variant], **parameters).ravel())


def test_clones_and_pickles_score_alike(paths):
    several = scorer(paths, aggregate="mean").fit(VARIANTS)
    expected = several.transform(VARIANTS)
    assert_array_equal(clone(several).fit_transform(VARIANTS), expected)
    assert_array_equal(pickle.loads(pickle.dumps(several)).transform(VARIANTS), expected)
    assert len(pickle.dumps(several)) < 3000


def test_skops_asks_for_no_other_class(paths):
    io_of_skops = pytest.importorskip("skops.io")
    several = scorer([str(path) for path in paths]).fit(VARIANTS)
    trusted = ["sklearn_esm._likelihood.ESMLikelihoodTransformer"]
    data = io_of_skops.dumps(several)
    assert io_of_skops.get_untrusted_types(file=io.BytesIO(data)) == trusted
    actual = io_of_skops.loads(data, trusted=trusted).transform(VARIANTS)
    assert_array_equal(actual, several.transform(VARIANTS))


def test_a_search_compares_models_with_lists_of_them(paths):
    y = np.arange(8.0)
    X = [REFERENCE[:i] + "W" + REFERENCE[i + 1 :] for i in range(8)]
    candidates = [paths[0], paths[:2], [paths[0]]]
    pipeline = make_pipeline(scorer(paths[0], method="wt-marginals", aggregate="mean"), Ridge())
    search = GridSearchCV(
        pipeline, {"esmlikelihoodtransformer__model": candidates}, cv=2, error_score="raise"
    ).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == scores[2] != scores[1]


# passes


@pytest.fixture
def passes(monkeypatch):
    """The file of the model of every sequence that is run, in the order in which they run."""
    seen = []
    hidden_states = PackedModel.hidden_states

    def counted(model, tokens, layers):
        seen.extend([model.architecture.family] * sum(count for _, count, _ in tokens.groups))
        return hidden_states(model, tokens, layers)

    monkeypatch.setattr(PackedModel, "hidden_states", counted)
    return seen


def test_each_model_runs_once_and_one_after_the_other(paths, passes, runs, cache):
    several = scorer(paths[:2], method=["masked-marginals", "wt-marginals"], cache=cache)
    first = several.fit_transform(VARIANTS)
    # three positions vary, and one pass masks nothing
    assert passes == ["esm2"] * 4 + ["esm1b"] * 4
    assert len(runs["log_probabilities"]) == 8
    for aggregate in ("mean", "min", None):
        several.set_params(aggregate=aggregate).fit_transform(VARIANTS)
    assert_array_equal(
        scorer(paths[:2], method=several.method, cache=cache).fit_transform(VARIANTS), first
    )
    assert len(passes) == 8


def test_a_file_twice_runs_once_and_gives_equal_columns(checkpoint, passes, cache):
    twice = scorer([checkpoint.path] * 2, method="masked-marginals", cache=cache)
    actual = twice.fit_transform(VARIANTS)
    assert_array_equal(actual[:, 0], actual[:, 1])
    assert len(passes) == 3
    assert twice.get_feature_names_out().tolist() == [
        "esm2-1_masked-marginals",
        "esm2-2_masked-marginals",
    ]


def test_no_more_models_than_elsewhere_are_held(paths):
    scorer(paths).fit_transform(VARIANTS)
    assert len(_models._models) <= _models.MAX_MODELS


# errors


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"model": []}, ValueError, "model must not be empty; got []. Pass at least one model."),
        ({"model": b"esm2"}, TypeError, "model must be a str or path-like; got b'esm2'."),
        ({"model": ["esm2_t6_1M_bundled", 7]}, TypeError, "model must be a str or path-like; got 7."),
        ({"aggregate": "max"}, ValueError, "aggregate must be None, 'mean' or 'min'; got 'max'."),
        ({"aggregate": ["mean"]}, ValueError, "aggregate must be None, 'mean' or 'min'; got ['mean']."),
    ],
)
def test_parameters_are_refused(parameters, error, message):
    estimator = scorer(**{"model": ["esm2_t6_1M_bundled"], **parameters})
    for call in (lambda: estimator.fit(VARIANTS), estimator.cache_info, estimator.prune_cache):
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            call()


def test_the_cache_of_a_list_of_models_can_be_read(paths):
    several = scorer(paths, method="wt-marginals", cache="memory")
    several.fit_transform(VARIANTS)
    assert several.cache_info().vectors == 3
    assert several.prune_cache().vectors == 0


def test_a_limit_names_the_model_that_has_it(paths):
    several = scorer(paths, reference=None, method="log-likelihood")
    with pytest.raises(ValueError, match=r"^Sequence 0 .* at most 40 residues for esm1b; got 41"):
        several.fit(["A" * 41])
    with pytest.raises(ValueError, match=r"^Sequence 0 .* at most 40 residues for esm1b; got 41"):
        several.fit(["A"]).transform(["A" * 41])


def test_every_model_is_checked_before_the_first_is_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    esm2, esm1v = "esm2_t6_8M_UR50D", "esm1v_t33_650M_UR90S_1"
    with pytest.raises(ValueError, match=f"at most 1,022 residues for {esm1v}; got 1,023"):
        ESMLikelihoodTransformer([esm2, esm1v]).fit(["A" * 1023])
    with pytest.raises(ValueError, match="Did you mean 'esm2_t6_8M_UR50D'"):
        ESMLikelihoodTransformer([esm2, "esm2_t6_8M_UR50S"]).fit(["MKT"])
    # offline, looking for the first file would have been a FileNotFoundError
    with pytest.raises(FileNotFoundError, match=esm2):
        ESMLikelihoodTransformer([esm2, esm1v]).fit(["MKT"])


def test_changed_weights_are_refused_before_any_model_runs(checkpoints, tmp_path, passes):
    path = tmp_path / "a.pt"
    shutil.copy(checkpoints["esm1b"].path, path)
    fitted = scorer([checkpoints["esm2"].path, path]).fit(VARIANTS)
    shutil.copy(checkpoints["esm1v"].path, path)
    with pytest.raises(ValueError, match=r"The weights of 'a' .* must be those .* fitted with"):
        fitted.transform(VARIANTS)
    assert passes == []


@pytest.mark.parametrize("now", [slice(0, 2), 0])
def test_another_number_of_models_than_fitted_is_refused(paths, now):
    fitted = scorer(paths).fit(VARIANTS).set_params(model=paths[now])
    with pytest.raises(
        ValueError, match=r"^model must have the 3 models .* fitted with; got [12]\. Fit"
    ):
        fitted.transform(VARIANTS)


def test_an_error_of_a_pass_has_a_note_with_the_model(paths, monkeypatch):
    hidden_states = PackedModel.hidden_states

    def broken(model, tokens, layers):
        for layer, states in hidden_states(model, tokens, layers):
            yield layer, states * (np.nan if model.architecture.family == "esm1b" else 1)

    monkeypatch.setattr(PackedModel, "hidden_states", broken)
    with pytest.raises(ValueError, match="are not finite in float32") as error:
        scorer(paths).fit_transform(VARIANTS)
    assert error.value.__notes__ == [f"The model of the list is {str(paths[1])!r}."]
    with pytest.raises(ValueError, match="are not finite in float32") as error:
        scorer(paths[1]).fit_transform(VARIANTS)
    assert not hasattr(error.value, "__notes__")


def test_two_workers_give_the_same(paths):
    import joblib

    with joblib.parallel_config("threading"):
        actual = scorer(paths, n_jobs=2, batch_tokens=40).fit_transform(VARIANTS)
    assert_allclose(actual, np.hstack(alone(paths)), rtol=1e-5, atol=1e-5)
