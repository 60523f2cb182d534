"""`ContactMapDisplay`, read from the artists, and what all displays have in common."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_esm import ESMContactTransformer
from sklearn_esm.display import (
    ContactMapDisplay,
    EmbeddingDisplay,
    LayerSweepDisplay,
    VariantScanDisplay,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")

SEQUENCES = ["GIGKFLHSAKKFGKAFVGEIMNS", "HSQGTFTSDYSKYLDSRRAQDFVQWLMNT"]


@pytest.fixture
def contacts():
    """Symmetric probabilities of 20 residues."""
    triangle = np.triu(np.random.default_rng(0).random((20, 20)))
    return np.maximum(triangle, triangle.T)


@pytest.fixture
def true_contacts(contacts):
    known = np.triu(np.random.default_rng(1).random((20, 20))) > 0.6
    true = (known | known.T).astype(float)
    true[2, 11] = true[11, 2] = np.nan
    return true


def test_map_has_the_prediction_above_and_the_structure_below(contacts, true_contacts):
    drawn = ContactMapDisplay.from_predictions(contacts, true_contacts=true_contacts)
    shown = drawn.im_.get_array().filled(np.nan)
    above, below = np.triu_indices(20), np.tril_indices(20, k=-1)
    assert_array_equal(shown[above], contacts[above])
    assert_array_equal(shown[below], true_contacts[below])


def test_map_without_a_structure_is_the_prediction(contacts):
    drawn = ContactMapDisplay.from_predictions(contacts)
    assert_array_equal(drawn.im_.get_array(), contacts)
    assert drawn.precision_ is None
    assert drawn.ax_.get_title() == "Predicted contacts"


def test_residues_are_counted_from_1(contacts):
    drawn = ContactMapDisplay.from_predictions(contacts)
    assert drawn.im_.get_extent() == [0.5, 20.5, 20.5, 0.5]  # residue 1 is at the top left


def test_precision_is_that_of_the_L_most_probable_pairs_6_apart(contacts, true_contacts):
    pairs = sorted(
        (-contacts[i, j], true_contacts[i, j])
        for i in range(20)
        for j in range(i + 6, 20)
        if not np.isnan(true_contacts[i, j])
    )
    expected = np.mean([true for _, true in pairs[:20]])
    drawn = ContactMapDisplay.from_predictions(contacts, true_contacts=true_contacts)
    assert drawn.precision_ == pytest.approx(expected)
    assert f"{expected:.2f}" in drawn.ax_.get_title()


def test_precision_of_a_sequence_too_short_to_have_pairs_is_none():
    drawn = ContactMapDisplay.from_predictions(np.eye(5), true_contacts=np.eye(5))
    assert drawn.precision_ is None


@pytest.mark.parametrize("fitted", [False, True])
def test_map_of_an_estimator_is_that_of_its_predictions(checkpoint, fitted):
    estimator = ESMContactTransformer(checkpoint.path)
    (expected,) = ESMContactTransformer(checkpoint.path).fit_transform(SEQUENCES[:1])
    if fitted:
        estimator.fit(SEQUENCES)
    for X in (SEQUENCES[0], SEQUENCES[:1]):
        drawn = ContactMapDisplay.from_estimator(estimator, X, name="magainin")
        assert_array_equal(drawn.im_.get_array(), expected)
        assert drawn.ax_.get_title() == "magainin"


def test_two_sequences_or_features_are_no_map(checkpoint):
    with pytest.raises(ValueError, match="estimator must return one contact map"):
        ContactMapDisplay.from_estimator(ESMContactTransformer(checkpoint.path), SEQUENCES[:2])
    with pytest.raises(ValueError, match="output='map'"):
        ContactMapDisplay.from_estimator(
            ESMContactTransformer(checkpoint.path, output="features"), SEQUENCES[0]
        )


def test_maps_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(residues, residues\); got \(3, 4\)"):
        ContactMapDisplay.from_predictions(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"shape of contacts, \(3, 3\); got \(4, 4\)"):
        ContactMapDisplay.from_predictions(np.zeros((3, 3)), true_contacts=np.zeros((4, 4)))


DRAWN = {
    ContactMapDisplay: lambda ax: ContactMapDisplay.from_predictions(np.eye(8), ax=ax),
    EmbeddingDisplay: lambda ax: EmbeddingDisplay.from_embeddings(
        np.random.default_rng(0).normal(size=(9, 4)), ["a", "b", "c"] * 3, ax=ax
    ),
    LayerSweepDisplay: lambda ax: LayerSweepDisplay(
        [0, 3, 6], np.eye(2, 3), np.full((2, 3), 0.1), poolings=["mean", "max"]
    ).plot(ax=ax),
    VariantScanDisplay: lambda ax: VariantScanDisplay.from_scores(
        np.eye(20, 120), "MKTAYI" * 20, measured=np.eye(20, 120), ax=ax
    ),
}


@pytest.fixture(params=DRAWN)
def draw(request):
    """A function that draws one of the displays on axes, or on a figure of its own."""
    return DRAWN[request.param]


def test_axes_given_are_drawn_on(draw):
    figure, ax = pyplot.subplots()
    drawn = draw(ax)
    assert drawn.ax_ is ax
    assert drawn.figure_ is figure
    assert pyplot.get_fignums() == [figure.number]


def test_plot_draws_again_on_axes_of_its_own(draw):
    drawn = draw(None)
    first = drawn.ax_
    assert drawn.plot() is drawn
    assert drawn.ax_ is not first
    drawn.figure_.canvas.draw()  # no warning


def test_without_matplotlib_the_extra_is_named(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn-esm\[plot\]"'):
        draw(None)
