"""The heat map of `score`: its scores, and the measured effects below."""

import pytest
from command_line import MODEL
from numpy.testing import assert_allclose

from sklearn_esm import ESMLikelihoodTransformer

pandas = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from test_score import GB1, TABLE, scored  # noqa: E402  the command line is an extra

from sklearn_esm.cli import _table_files  # noqa: E402
from sklearn_esm.cli._heat_map import MeasuredEffects  # noqa: E402


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "dms.csv"
    TABLE.to_csv(path, index=False)
    return path


@pytest.fixture
def short_blocks(monkeypatch):
    def in_blocks(*arguments, **more):
        return _table_files.iterate_table(*arguments, rows=2, **more)

    monkeypatch.setattr("sklearn_esm.cli._scored_tables.iterate_table", in_blocks)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_heat_map_is_drawn_beside_the_measured_effects(table, tmp_path, suffix):
    pictures = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for picture in pictures:
        options = ["--mutations", "mutant", "--reference", GB1.reference, "--method", "wt-marginals"]
        scored(table, *options, "--heat-map", picture, "--target", "DMS_score")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert pictures[0].read_bytes().startswith(start)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_the_heat_map_has_the_scores_and_the_measured_effects(
    table, tmp_path, monkeypatch, short_blocks
):
    from sklearn_esm.display import VariantScanDisplay

    drawn = []
    plot = VariantScanDisplay.plot
    monkeypatch.setattr(
        VariantScanDisplay, "plot", lambda self, **more: drawn.append(self) or plot(self, **more)
    )
    options = ["--mutations", "mutant", "--reference", GB1.reference, "--method", "wt-marginals"]
    scored(table, *options, "--heat-map", tmp_path / "scan.png", "--target", "DMS_score")
    estimator = ESMLikelihoodTransformer(MODEL, method="wt-marginals", reference=GB1.reference)
    measured = {
        GB1.mutations[0]: 1.5,
        GB1.mutations[3]: 1.9,
        GB1.mutations[1044]: 0,
        GB1.mutations[17]: 3,
    }
    truth = VariantScanDisplay.from_estimator(estimator, GB1.reference, measured=measured)
    assert_allclose(drawn[0].scores, truth.scores, rtol=1e-5, atol=1e-6)
    assert_allclose(drawn[0].measured, truth.measured)


def test_measured_effects_are_relative_to_the_measured_wild_type():
    effects = MeasuredEffects("y", "MKTAYI", 24)
    frame = pandas.DataFrame({"y": ["1.0", "3", "5", "9", "", "7", "8"]})
    sequences = ["MKTAYI", "mrtayi ", "MRTAYI", "MRTAYA", "MKTAYA", "MKTAY", None]
    effects.add(sequences, frame, "t.csv")
    assert effects.relative() == {"K25R": 3.0}


@pytest.mark.parametrize("dtype", ["float64", "Int64", "object", "string"])
def test_measured_effects_are_read_from_parquet(tmp_path, dtype):
    path = tmp_path / "t.parquet"
    frame = pandas.DataFrame({"y": [1, 3, None, 9]}, dtype=dtype if dtype == "Int64" else None)
    if dtype in ("object", "string"):
        frame["y"] = pandas.Series(["1", "3", None, "9"], dtype=dtype)
    frame.to_parquet(path)
    (block,) = _table_files.iterate_table(str(path))
    effects = MeasuredEffects("y", "MKT", 1)
    effects.add(["MKT", "MRT", "MRT", "MKA"], block, str(path))
    assert effects.relative() == {"K2R": 2.0, "T3A": 8.0}
