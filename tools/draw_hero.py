"""Draw the picture at the top of the README, and the card of links to the site, from bundled data.

Usage: ``python tools/draw_hero.py``, which writes ``hero.png`` and ``card.png`` to ``docs/_static``.
Every number in them is computed by this script in about half a minute.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import ResidueComposition
from sklearn_esm.datasets import load_peptides

MODEL = "esm2_t6_1M_bundled"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
STATIC = Path(__file__).parents[1] / "docs" / "_static"


def main() -> None:
    peptides = load_peptides()
    sequences, y = peptides.data, peptides.target
    embed = ESMEmbeddingTransformer(MODEL).precompute(sequences, poolings="mean")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
    draw_separation(left, embed, sequences, y)
    draw_layers(right, embed, sequences, y)
    figure.savefig(STATIC / "hero.png", dpi=200)
    draw_card(embed, sequences, y)


def draw_card(embed: Any, sequences: Any, y: Any) -> None:
    """The name of the package beside the left picture, in the size that link previews use."""
    figure = plt.figure(figsize=(12, 6.3))
    figure.text(0.05, 0.66, "sklearn-esm", fontsize=50, weight="bold", color=BLUE)
    figure.text(0.05, 0.40, "ESM protein language models\nas scikit-learn\ntransformers", fontsize=25)
    figure.text(0.05, 0.24, "pip install sklearn-esm", fontsize=18, family="monospace", color=GREY)
    axes = figure.add_axes((0.56, 0.16, 0.40, 0.68))
    draw_separation(axes, embed, sequences, y)
    figure.savefig(STATIC / "card.png", dpi=100)


def draw_separation(axes: Any, embed: Any, sequences: Any, y: Any) -> None:
    """The score of each peptide by a classifier that has not seen it."""
    model = make_pipeline(embed, StandardScaler(), LinearDiscriminantAnalysis("eigen", "auto"))
    score = cross_val_predict(model, sequences, y, cv=10, method="decision_function")
    bins = np.linspace(score.min(), score.max(), 31)
    for label, colour, name in ((1, BLUE, "antimicrobial"), (0, ORANGE, "hormone")):
        axes.hist(score[y == label], bins, color=colour, alpha=0.65, label=name)
    axes.set(
        title="306 peptides, scored in 10 random folds",
        xlabel="Score of the classifier on the embedding",
        ylabel="Peptides",
    )
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_layers(axes: Any, embed: Any, sequences: Any, y: Any) -> None:
    """The area under the ROC curve by layer, beside the composition of residues."""
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=4, random_state=0)

    def score(features: Any) -> Any:
        model = make_pipeline(features, StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        return cross_val_score(model, sequences, y, cv=folds, scoring="roc_auc")

    layers = np.arange(embed.fit(sequences).n_layers_ + 1)
    of_layers = [score(ESMEmbeddingTransformer(MODEL, layer=int(layer))) for layer in layers]
    means = np.array([scores.mean() for scores in of_layers])
    errors = np.array([scores.std() for scores in of_layers])
    baseline = score(ResidueComposition())
    axes.errorbar(layers, means, errors, color=BLUE, marker="o", capsize=3, label="mean of a layer")
    axes.axhline(baseline.mean(), color=GREY, linestyle="--", label="composition of residues")
    axes.fill_between(
        [layers[0], layers[-1]],
        baseline.mean() - baseline.std(),
        baseline.mean() + baseline.std(),
        color=GREY,
        alpha=0.15,
        linewidth=0,
    )
    axes.set(
        title="The layer is a parameter", xlabel="Layer", ylabel="ROC AUC (mean and SD of 20 folds)"
    )
    axes.set_xticks(layers)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
