"""`VariantScanDisplay`, read from the artists: values, colours, dots, labels and the passes it costs."""

import re
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm.display import VariantScanDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")

ROWS = "GPAVILMCFWYSTNQHKRDE"
REFERENCE = "MKTAYIAKQRQISFVKSH"


def scorer(checkpoint, method="wt-marginals", reference=REFERENCE, **parameters):
    return ESMLikelihoodTransformer(checkpoint.path, method=method, reference=reference, **parameters)


def substituted(position, residue, reference=REFERENCE):
    """The variant with a residue at a position counted from 1."""
    return reference[: position - 1] + residue + reference[position:]


def table_by_hand(estimator, positions):
    """Each cell by a call of its own."""
    fitted = estimator.fit([REFERENCE])
    return [
        [fitted.transform([substituted(position, residue)])[0, 0] for position in positions]
        for residue in ROWS
    ]


def shown(images):
    """The values of several images beside each other, NaN for masked cells."""
    return np.hstack([np.ma.filled(image.get_array(), np.nan) for image in images])


# values


@pytest.mark.parametrize("method", ["wt-marginals", "masked-marginals"])
def test_a_cell_is_the_score_of_its_substitution(checkpoint, method):
    drawn = VariantScanDisplay.from_estimator(scorer(checkpoint, method), REFERENCE)
    expected = table_by_hand(scorer(checkpoint, method), range(1, 19))
    assert_allclose(drawn.scores, expected, rtol=1e-6, atol=1e-6)
    assert_array_equal(shown(drawn.ims_), drawn.scores)
    assert [label.get_text() for label in drawn.axes_[0].get_yticklabels()] == list(ROWS)


@pytest.mark.parametrize("method", ["log-likelihood", "pseudo-log-likelihood-ratio"])
def test_scores_of_any_method_are_relative_to_the_wild_type(checkpoint, method):
    estimator = scorer(checkpoint, method)
    drawn = VariantScanDisplay.from_estimator(estimator, REFERENCE, [3, 10])
    wild_type = estimator.fit_transform([REFERENCE])[0, 0]
    expected = np.array(table_by_hand(estimator, [3, 10])) - wild_type
    assert_allclose(drawn.scores, expected, rtol=1e-5, atol=1e-4)


def test_predictions_of_a_fitted_regressor_are_drawn(checkpoint):
    X = [substituted(position, "W") for position in range(1, 11)]
    model = make_pipeline(ESMEmbeddingTransformer(checkpoint.path), Ridge()).fit(X, np.arange(10))
    drawn = VariantScanDisplay.from_estimator(model, REFERENCE, [4])
    expected = model.predict([substituted(4, residue) for residue in ROWS]) - model.predict([REFERENCE])
    assert_allclose(drawn.scores[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_an_estimator_that_is_not_fitted_stays_so(checkpoint):
    estimator = scorer(checkpoint)
    VariantScanDisplay.from_estimator(estimator, REFERENCE)
    assert not hasattr(estimator, "methods_")


def test_several_columns_are_refused(checkpoint):
    estimator = scorer(checkpoint).set_params(model=[checkpoint.path] * 2)
    with pytest.raises(
        ValueError, match=r"^estimator must return one column; got an array of shape \(361, 2\)"
    ):
        VariantScanDisplay.from_estimator(estimator, REFERENCE)
    estimator.set_params(aggregate="min")
    assert VariantScanDisplay.from_estimator(estimator, REFERENCE).scores.shape == (20, 18)


@pytest.mark.parametrize(
    ("method", "positions", "passes"),
    [
        ("masked-marginals", None, 300),
        ("masked-marginals", range(24, 44), 20),
        ("wt-marginals", None, 1),
    ],
)
def test_a_scan_costs_a_pass_for_each_position_or_one(checkpoint, runs, method, positions, passes):
    reference = "".join(np.random.default_rng(0).choice(list(ROWS), 300))
    estimator = scorer(checkpoint, method, reference, cache=None)
    transforms = []
    transform = ESMLikelihoodTransformer.transform
    estimator.fit([reference]).transform = lambda X: transforms.append(X) or transform(estimator, X)
    VariantScanDisplay.from_estimator(estimator, reference, positions, first_position=24)
    assert len(transforms) == 1
    assert len(runs["log_probabilities"]) == passes


# layout


@pytest.mark.parametrize(
    ("length", "widths"),
    [(50, [50]), (100, [100]), (101, [100, 1]), (400, [100] * 4), (385, [100] * 3 + [85])],
)
@pytest.mark.parametrize("with_measured", [False, True])
def test_rows_have_up_to_100_positions(length, widths, with_measured):
    rng = np.random.default_rng(0)
    scores, measured = rng.normal(size=(2, 20, length))
    reference = "".join(rng.choice(list(ROWS), length))
    drawn = VariantScanDisplay.from_scores(
        scores, reference, measured=measured if with_measured else None
    )
    drawn.figure_.canvas.draw()
    assert [image.get_array().shape for image in drawn.ims_] == [(20, width) for width in widths]
    assert_array_equal(shown(drawn.ims_), scores)
    boxes = [ax.get_window_extent() for ax in drawn.axes_]
    # the cells of all images are of one size, and no two images overlap
    assert_allclose(
        [box.width for box in boxes[: len(widths)]], boxes[0].width * np.array(widths) / widths[0]
    )
    assert_allclose([box.height for box in boxes], boxes[0].height)
    tops = sorted((box.y0, box.y1) for box in boxes)
    assert all(above[0] > below[1] for below, above in pairwise(tops))
    assert len(drawn.measured_ims_) == len(widths) * with_measured
    if with_measured:
        assert_array_equal(shown(drawn.measured_ims_), measured)
        # measured effects lie right below the scores of the same positions
        for scored, below in zip(boxes[: len(widths)], boxes[len(widths) :], strict=True):
            assert 0 < scored.y0 - below.y1 < scored.height / 10
            assert (scored.x0, scored.x1) == (below.x0, below.x1)


@pytest.mark.parametrize("length", [50, 400])
def test_letters_do_not_overlap(length):
    reference = "".join(np.random.default_rng(0).choice(list(ROWS), length))
    drawn = VariantScanDisplay.from_scores(np.zeros((20, length)), reference, first_position=100)
    drawn.figure_.canvas.draw()
    for ax in drawn.axes_:
        minor, major = ax.get_xticklabels(minor=True), ax.get_xticklabels()
        for labels in (minor, major):
            boxes = [label.get_window_extent() for label in labels]
            assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        assert min(label.get_window_extent().y0 for label in minor) > max(
            label.get_window_extent().y1 for label in major
        )
        beside = [label.get_window_extent() for label in ax.get_yticklabels()]
        assert all(above.y0 > below.y1 for above, below in pairwise(beside))
        assert min(label.get_fontsize() for label in [*minor, *ax.get_yticklabels()]) > 4.5


def test_positions_are_numbered_from_the_first_and_the_wild_type_is_written_below():
    drawn = VariantScanDisplay.from_scores(np.zeros((20, 30)), "MKTAYIAKQR" * 3, first_position=24)
    (ax,) = drawn.axes_
    assert ax is drawn.ax_
    assert [
        (tick, label.get_text())
        for tick, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    ] == [
        (6, "30"),
        (16, "40"),
        (26, "50"),
    ]
    assert [label.get_text() for label in ax.get_xticklabels(minor=True)] == list("MKTAYIAKQR" * 3)
    assert ax.get_xlabel() == "Position"


def test_chosen_positions_are_drawn_in_their_order_and_all_numbered():
    drawn = VariantScanDisplay.from_scores(np.zeros((20, 3)), REFERENCE, [27, 24, 41], first_position=24)
    (ax,) = drawn.axes_
    assert [label.get_text() for label in ax.get_xticklabels()] == ["27", "24", "41"]
    assert [label.get_text() for label in ax.get_xticklabels(minor=True)] == ["A", "M", "H"]


def test_dots_mark_the_wild_type():
    drawn = VariantScanDisplay.from_scores(np.zeros((20, 6)), "MKXTAY", measured={"M1K": 1.0})
    expected = [(0, ROWS.index("M")), (1, ROWS.index("K")), (3, ROWS.index("T")), (4, ROWS.index("A"))]
    expected.append((5, ROWS.index("Y")))  # and X has no row
    assert len(drawn.dots_) == 2
    for dots in drawn.dots_:
        assert sorted(map(tuple, dots.get_offsets())) == expected


# colours


def test_colours_are_centred_on_0_and_robust():
    scores = np.random.default_rng(0).normal(size=(20, 60))
    plain = VariantScanDisplay.from_scores(scores, REFERENCE * 3 + "MKTAYI")
    scores[0, 0] = 1e6
    drawn = VariantScanDisplay.from_scores(scores, REFERENCE * 3 + "MKTAYI", score_label="log ratio")
    (image,), (bar,) = drawn.ims_, drawn.colorbars_
    effects = drawn.scores[drawn.scores != 0]
    assert image.norm.vmax == -image.norm.vmin == np.percentile(np.abs(effects), 98)
    assert image.norm.vmax < 1.05 * plain.ims_[0].norm.vmax
    assert bar.extend == "both"
    assert bar.ax.get_ylabel() == "log ratio"
    red, _, blue = image.cmap(image.norm([-1.0, 0, 1]))[:, 0]
    assert red > 0.7 > 0.6 > blue


@pytest.mark.parametrize(("sign", "extend"), [(1, "max"), (-1, "min")])
def test_an_arrow_of_the_colour_bar_shows_stronger_effects(sign, extend):
    scores = sign * np.random.default_rng(0).random((20, 18))
    (bar,) = VariantScanDisplay.from_scores(scores, REFERENCE).colorbars_
    assert bar.extend == extend


def test_scores_and_measured_effects_have_colours_of_their_own():
    scores = np.random.default_rng(0).normal(size=(20, 18))
    drawn = VariantScanDisplay.from_scores(scores, REFERENCE, measured=100 * scores)
    assert drawn.measured_ims_[0].norm.vmax == pytest.approx(100 * drawn.ims_[0].norm.vmax)
    assert [bar.ax.get_ylabel() for bar in drawn.colorbars_] == [
        "Score relative to wild type",
        "Measured effect",
    ]


@pytest.mark.parametrize("value", [0, np.nan])
def test_a_table_without_effects_is_drawn(value):
    drawn = VariantScanDisplay.from_scores(np.full((20, 18), value), REFERENCE)
    drawn.figure_.canvas.draw()
    assert (drawn.ims_[0].norm.vmin, drawn.ims_[0].norm.vmax) == (-1, 1)


def test_unknown_effects_are_grey_and_the_wild_type_is_not():
    drawn = VariantScanDisplay.from_scores({"M1A": 0.5, "K2G": -2, "H18P": np.nan}, REFERENCE)
    table = np.full((20, 18), np.nan)
    table[[ROWS.index(residue) for residue in REFERENCE], range(18)] = 0
    table[ROWS.index("A"), 0], table[ROWS.index("G"), 1] = 0.5, -2
    assert_array_equal(shown(drawn.ims_), table)
    image = drawn.ims_[0]
    assert_allclose(image.cmap(image.get_array()[0, 0]), (0.8, 0.8, 0.8, 1))


# forms of effects


def test_a_mapping_a_series_and_an_array_give_the_same():
    pd = pytest.importorskip("pandas")
    effects = {"A27G": 1.0, "I29W": -1.0, "K25R": 3.0}  # K25 is not drawn
    parameters = {"reference": REFERENCE, "positions": range(27, 30), "first_position": 24}
    table = np.full((20, 3), np.nan)
    table[ROWS.index("G"), 0], table[ROWS.index("W"), 2] = 1, -1
    for wild_type, column in zip("AYI", range(3), strict=True):
        table[ROWS.index(wild_type), column] = 0
    for form in (effects, pd.Series(effects), table, table.tolist(), pd.DataFrame(table)):
        drawn = VariantScanDisplay.from_scores(form, measured=form, **parameters)
        assert_array_equal(drawn.scores, table)
        assert_array_equal(drawn.measured, table)


def test_rows_of_another_order():
    alphabetic = "ACDEFGHIKLMNPQRSTVWY"
    scores = np.random.default_rng(0).normal(size=(20, 18))
    drawn = VariantScanDisplay.from_scores(scores, REFERENCE, residues=alphabetic)
    assert_array_equal(shown(drawn.ims_), scores)
    assert [label.get_text() for label in drawn.axes_[0].get_yticklabels()] == list(alphabetic)
    assert sorted(map(tuple, drawn.dots_[0].get_offsets()))[0] == (0, alphabetic.index("M"))


def test_a_reference_is_cleaned_as_sequences_are(checkpoint):
    drawn = VariantScanDisplay.from_estimator(scorer(checkpoint), f" {REFERENCE.lower()}\n")
    assert drawn.reference == REFERENCE


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"scores": np.zeros((19, 18))},
            "scores must have the shape (20, positions), here (20, 18); got (19, 18)",
        ),
        (
            {"measured": np.zeros(18)},
            "measured must have the shape (20, positions), here (20, 18); got (18,)",
        ),
        (
            {"measured": {f"{REFERENCE[1]}2G:{REFERENCE[2]}3G": 1}},
            "measured must have names of single substitutions, such as 'A24G'; got '",
        ),
        (
            {"measured": {"M1*": 1}},
            "measured must have names of single substitutions. Row 0 (M1*) must not have a stop; got "
            "'M1*'.",
        ),
        (
            {"measured": {7: 1}},
            "measured must have names of single substitutions. Row 0 must be a string of mutations such "
            "as 'A24G:K30R'; got 7",
        ),
        (
            {"scores": {"K1A": 1}},
            "scores must have names of single substitutions. Row 0 (K1A) must have ",
        ),
        (
            {"measured": {"M24A": 1}},
            "measured must have names of single substitutions. Row 0 (M24A) must have positions 1 to 18",
        ),
        (
            {"positions": [0]},
            "positions must be 1 to 18, those of the reference; got 0. Set first_position",
        ),
        ({"positions": []}, "positions must be None or integers, at least one; got []"),
        ({"positions": [1.5]}, "positions must be None or integers, at least one; got [1.5]"),
        ({"positions": [2, 2]}, "positions must not repeat a position; got [2, 2]."),
        ({"residues": "ACD"}, "residues must have each of the 20 amino acids once; got 'ACD'."),
        ({"reference": "MK<mask>"}, "reference must not have <mask>."),
        ({"reference": "A24G"}, "Sequence 0 (A24G) looks like a mutation"),
    ],
)
def test_parameters_are_refused(parameters, message):
    given = {"scores": np.zeros((20, 18)), "reference": REFERENCE, **parameters}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        VariantScanDisplay.from_scores(**given)


def test_a_title_is_drawn():
    drawn = VariantScanDisplay.from_scores(np.zeros((20, 18)), REFERENCE, name="GB1")
    assert drawn.ax_.get_title() == "GB1"
