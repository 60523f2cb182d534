"""
What does feature selection outside the folds add to a score?
=============================================================

A step is fitted to all rows before cross-validation, or inside each fold: feature selection with the
labels, or PCA without them. The data are 80 peptides in five folds, with real labels and with 20
shuffles of the labels, from which nothing can be learned.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

MODEL = "esm2_t6_1M_bundled"
PEPTIDES, COLUMNS = 80, 20
SHUFFLES = 20

# %%
# A small study with many columns is common: every layer and three poolings. Embeddings may be computed
# before the split, because the language model sees no label and no row depends on another.

import numpy as np

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

rng = np.random.default_rng(0)
sequences, y = load_peptides(return_X_y=True)
rows = rng.permutation(len(y))[:PEPTIDES]
y = y[rows]
embed = ESMEmbeddingTransformer(MODEL, layer="all", pooling=["mean", "max", "std"])
X = embed.fit_transform(sequences[rows])

# %%
# Outside, the step is fitted to all rows, including those of the test folds. Inside, each fold fits the
# step to its training rows. ``SelectKBest`` uses the labels. PCA uses the embeddings alone.

from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

steps = {"SelectKBest": SelectKBest(k=COLUMNS), "PCA": PCA(COLUMNS, random_state=0)}
folds = StratifiedKFold(5, shuffle=True, random_state=0)


def outside(step, labels):
    columns = make_pipeline(StandardScaler(), step).fit_transform(X, labels)
    model = LogisticRegression(C=0.1, max_iter=1000)
    return cross_val_score(model, columns, labels, cv=folds, scoring="roc_auc").mean()


def inside(step, labels):
    model = make_pipeline(StandardScaler(), step, LogisticRegression(C=0.1, max_iter=1000))
    return cross_val_score(model, X, labels, cv=folds, scoring="roc_auc").mean()


# %%
# Shuffled labels have nothing to do with the peptides, so an honest score is 0.5 on average. The excess
# is the leak.

shuffled = [rng.permutation(y) for _ in range(SHUFFLES)]
scores = {
    (name, labels, place.__name__): np.array([place(step, some) for some in given])
    for name, step in steps.items()
    for labels, given in {"shuffled": shuffled, "real": [y]}.items()
    for place in (outside, inside)
}
print(f"{PEPTIDES} peptides, {X.shape[1]:,} columns reduced to {COLUMNS}, {SHUFFLES} shuffles\n")
print(f"{'step':12} {'labels':9}  outside  inside  difference   (ROC AUC)")
for name in steps:
    for labels in ("shuffled", "real"):
        out, within = (scores[name, labels, place].mean() for place in ("outside", "inside"))
        print(f"{name:12} {labels:9}  {out:7.3f}  {within:6.3f}  {out - within:10.3f}")

# %%
# Points are shuffles, bars their means, and diamonds the real labels.

from pathlib import Path

import matplotlib.pyplot as plt

figure, axes = plt.subplots(layout="constrained")
axes.axhline(0.5, color="0.5", linestyle=":", label="chance")
places = [(name, where) for name in steps for where in ("outside", "inside")]
for place, (name, where) in enumerate(places):
    colour = "C1" if where == "outside" else "C0"
    points = scores[name, "shuffled", where]
    axes.scatter(place + np.linspace(-0.15, 0.15, SHUFFLES), points, s=24, color=colour, alpha=0.6, lw=0)
    axes.hlines(points.mean(), place - 0.28, place + 0.28, color=colour, linewidth=2.5)
    axes.scatter(place, scores[name, "real", where], s=55, color="black", marker="D")
axes.scatter([], [], s=24, color="0.5", label="shuffled labels")
axes.scatter([], [], s=55, color="black", marker="D", label="real labels")
axes.set_xticks(range(len(places)), [f"{name}\n{where} the folds" for name, where in places])
axes.set(
    title=f"{X.shape[1]:,} columns, {PEPTIDES} peptides",
    ylabel="ROC AUC (mean of 5 folds)",
    xlim=(-0.5, 3.5),
)
axes.legend(loc="center right", bbox_to_anchor=(1, 0.75))

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "leak_of_feature_selection.png", dpi=200)

# %%
# With shuffled labels, selection outside the folds scores 0.73, and inside it is near chance. Selection
# finds columns that agree with the labels by chance, also in the test rows. With real labels the leak is
# smaller (0.97 against 0.93) and looks like signal. The differences of PCA are below 0.01, so no leak is
# visible here. It belongs inside the pipeline all the same, because it costs nothing there.
#
# Relatives are on both sides of these folds. :ref:`Another page
# <sphx_glr_auto_examples_homology_aware_cv.py>` measures what they add.
