"""`EmbeddingDisplay`: what is drawn is what the reducer gave; read from the artists."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.display import EmbeddingDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")
to_hex = pytest.importorskip("matplotlib.colors").to_hex

SEQUENCES = ["GIGKFLHSAKKFGKAFVGEIMNS", "HSQGTFTSDYSKYLDSRRAQDFVQWLMNT", "YGGFM", "RPKPQQFFGLM"]


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(30, 6)) * [5, 3, 1, 1, 1, 1]


def offsets(drawn):
    """Points of all collections, as drawn, in the order of the rows."""
    stacked = np.concatenate([scatter.get_offsets() for scatter in drawn.scatters_])
    return stacked[np.argsort(drawn.order_)]


def test_points_are_the_first_two_principal_components(embeddings):
    drawn = EmbeddingDisplay.from_embeddings(embeddings)
    pca = PCA(2).fit(embeddings)
    assert_allclose(offsets(drawn), pca.transform(embeddings))
    first, second = pca.explained_variance_ratio_
    assert drawn.ax_.get_xlabel() == f"Component 1 ({first:.0%} of the variance)"
    assert drawn.ax_.get_ylabel() == f"Component 2 ({second:.0%} of the variance)"
    assert drawn.legend_ is None
    assert drawn.colorbar_ is None


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array(["frog", "bee", "cow"] * 10), ["bee", "cow", "frog"]),
        (np.arange(30) % 3, ["0", "1", "2"]),
        ([True, False, False] * 10, ["False", "True"]),
    ],
)
def test_classes_have_a_legend_and_their_points(embeddings, y, labels):
    drawn = EmbeddingDisplay.from_embeddings(embeddings, y)
    assert texts(drawn.legend_) == labels
    assert drawn.colorbar_ is None
    assert_array_equal(offsets(drawn), drawn.points)
    (scatter,) = drawn.scatters_
    looks = {label: set() for label in labels}
    paths, colours = scatter.get_paths(), scatter.get_facecolor()
    for label, path, colour in zip(np.array(y).astype(str)[drawn.order_], paths, colours, strict=True):
        looks[label].add((to_hex(colour), path.vertices.shape))
    for label, handle in zip(labels, drawn.legend_.legend_handles, strict=True):
        marker = handle.get_marker()
        path = matplotlib.markers.MarkerStyle(marker).get_path()
        assert looks[label] == {(to_hex(handle.get_color()), path.vertices.shape)}
    assert len(set.union(*looks.values())) == len(labels)


def test_classes_of_a_data_set_are_named(embeddings):
    y = np.arange(30) % 2
    drawn = EmbeddingDisplay.from_embeddings(
        embeddings, y, target_names=np.array(["hormone", "antimicrobial"]), target_label="Peptide"
    )
    assert texts(drawn.legend_) == ["hormone", "antimicrobial"]
    assert drawn.legend_.get_title().get_text() == "Peptide"


@pytest.mark.parametrize("y", [np.linspace(-3, 5, 30), np.arange(30)])
def test_quantity_has_a_colour_bar(embeddings, y):
    drawn = EmbeddingDisplay.from_embeddings(embeddings, y, target_label="charge", cmap="cividis")
    assert drawn.legend_ is None
    assert_array_equal(drawn.scatters_[0].get_array(), y[drawn.order_])
    assert drawn.scatters_[0].get_cmap().name == "cividis"
    assert drawn.colorbar_.ax.get_ylabel() == "charge"
    assert drawn.colorbar_.ax.get_ylim() == (min(y), max(y))
    assert_array_equal(drawn.colorbar_.cmap(0.3), drawn.scatters_[0].get_cmap()(0.3))


def test_drawing_order_mixes_sorted_classes_and_depends_on_the_seed_only():
    y = np.repeat([0, 1], 500)  # sorted, so that class 1 would be drawn last
    points = np.random.default_rng(0).normal(size=(1000, 2))
    draw = EmbeddingDisplay.from_embeddings
    drawn = draw(points, y)
    assert_array_equal(np.sort(drawn.order_), np.arange(1000))
    assert 200 < y[drawn.order_][:500].sum() < 300  # 250 are expected
    assert_array_equal(draw(points, y).order_, drawn.order_)
    assert not np.array_equal(draw(points, y, random_state=1).order_, drawn.order_)
    by_number = draw(points, np.arange(1000) / 7)
    assert_array_equal(by_number.order_, drawn.order_)


@pytest.mark.parametrize("y", [None, np.arange(30) % 3, np.linspace(0, 1, 30), [1, None] * 15])
def test_size_and_opacity_are_those_of_all_points(embeddings, y):
    drawn = EmbeddingDisplay.from_embeddings(embeddings, y, s=4, alpha=0.25)
    assert all(scatter.get_sizes().tolist() == [4] for scatter in drawn.scatters_)
    assert all(scatter.get_alpha() == 0.25 for scatter in drawn.scatters_)
    drawn.plot(s=9, alpha=1)
    assert drawn.scatters_[0].get_sizes().tolist() == [9]
    if drawn.legend_ is not None:  # still readable
        assert all(handle.get_markersize() > 5 for handle in drawn.legend_.legend_handles)
    drawn.figure_.canvas.draw()
    with pytest.raises(ValueError, match=r"s and alpha must be numbers; got s=\[4, 9\]"):
        drawn.plot(s=[4, 9])


def test_named_column_names_the_legend_and_missing_values_are_grey(embeddings):
    pd = pytest.importorskip("pandas")
    column = pd.Series([1, 0, None] * 10, dtype="Int64", name="active")
    drawn = EmbeddingDisplay.from_embeddings(embeddings, column)
    assert drawn.legend_.get_title().get_text() == "active"
    assert texts(drawn.legend_) == ["0", "1", "unknown"]
    assert_array_equal(offsets(drawn), drawn.points)
    assert_array_equal(np.sort(drawn.order_[20:]), np.arange(2, 30, 3))  # the missing ones

    values = np.array([0.5, 2.5, np.nan] * 10)
    quantity = EmbeddingDisplay.from_embeddings(embeddings, pd.Series(values))
    assert_array_equal(quantity.scatters_[0].get_array(), values[quantity.order_[:20]])
    assert_array_equal(offsets(quantity), quantity.points)
    assert_array_equal(np.sort(quantity.order_[20:]), np.arange(2, 30, 3))
    for drawing in (drawn, quantity):
        known, missing = drawing.scatters_
        assert missing.get_zorder() < known.get_zorder()
    assert texts(quantity.legend_) == ["unknown"]


def test_fitted_reducer_transforms_and_another_is_copied(embeddings):
    reducer = make_pipeline(StandardScaler(), PCA(3))
    drawn = EmbeddingDisplay.from_embeddings(embeddings, reducer=reducer)
    with pytest.raises(NotFittedError):
        check_is_fitted(reducer[-1])  # the user's own is as it was
    assert_allclose(drawn.points, drawn.reducer_.transform(embeddings)[:, :2])
    ratio = drawn.reducer_[-1].explained_variance_ratio_[0]
    assert drawn.ax_.get_xlabel() == f"Component 1 ({ratio:.0%} of the variance)"

    other = np.random.default_rng(1).normal(size=(10, 6))
    again = EmbeddingDisplay.from_embeddings(other, reducer=drawn.reducer_)
    assert_array_equal(again.points, drawn.reducer_.transform(other)[:, :2])
    assert again.reducer_ is drawn.reducer_


def test_reducer_that_only_fits_is_drawn_without_shares_of_variance(embeddings):
    tsne = TSNE(perplexity=5, max_iter=250, random_state=0)
    drawn = EmbeddingDisplay.from_embeddings(embeddings, reducer=tsne)
    assert_array_equal(drawn.points, drawn.reducer_.embedding_)
    assert drawn.ax_.get_xlabel() == "TSNE 1"


@pytest.mark.parametrize("fitted", [False, True])
def test_estimator_is_drawn_as_its_embeddings(checkpoint, fitted):
    estimator = make_pipeline(ESMEmbeddingTransformer(checkpoint.path), StandardScaler())
    if fitted:
        estimator.fit(SEQUENCES * 2)
    drawn = EmbeddingDisplay.from_estimator(estimator, SEQUENCES, ["a", "b", "a", "b"], name="peptides")
    vectors = estimator.transform(SEQUENCES) if fitted else make_copy(estimator).fit_transform(SEQUENCES)
    assert_allclose(drawn.points, PCA(2, random_state=0).fit_transform(vectors), atol=1e-6)
    assert drawn.ax_.get_title() == "peptides"
    assert hasattr(estimator[-1], "mean_") == fitted  # the user's own is as it was


def make_copy(pipeline):
    return make_pipeline(ESMEmbeddingTransformer(pipeline[0].model), StandardScaler())


def test_embeddings_that_cannot_be_drawn_are_refused(checkpoint, embeddings):
    residues = ESMEmbeddingTransformer(checkpoint.path, pooling=None)
    with pytest.raises(ValueError, match=r"shape \(4,\) and dtype object.*pooling=None"):
        EmbeddingDisplay.from_estimator(residues, SEQUENCES)
    with pytest.raises(ValueError, match=r"must be a transformer; got Pipeline.*pipeline\[:-1\]"):
        EmbeddingDisplay.from_estimator(make_pipeline(residues, LogisticRegression()), SEQUENCES)
    with pytest.raises(ValueError, match=r"got an array of shape \(30, 1\) from PCA"):
        EmbeddingDisplay.from_embeddings(embeddings, reducer=PCA(1))


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ([0] * 29, {}, r"shape \(30,\); got \(29,\)"),
        ([None] * 30, {}, "got only missing ones"),
        ([0.5, -np.inf] * 15, {}, "infinite value"),
        (["a", 1] * 15, {}, r"one kind; got \['int', 'str'\]"),
        ([0, 5] * 15, {"target_names": ["a", "b"]}, r"got 2 names and the classes \[0, 5\]"),
        (["a", "b"] * 15, {"target_names": ["a", "b"]}, "for each integer"),
    ],
)
def test_targets_that_cannot_be_drawn_are_refused(embeddings, y, options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingDisplay.from_embeddings(embeddings, y, **options)
