"""
Fit nothing before the split: what a leak is worth
==================================================

Features chosen, or reduced, on all sequences before cross-validation, beside the same steps inside the
pipeline: on real labels, and on shuffled ones, from which nothing can be learned.

Run it with another model: ``python examples/leak_of_pca.py --model esm2_t6_8M_UR50D``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

parser = argparse.ArgumentParser(description="Steps fitted before the split, and inside of it.")
parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
parser.add_argument("--shuffles", type=int, default=20, help="how often the labels are shuffled")
options = parser.parse_args()

# %%
# A small study with many columns, as they are common: 80 peptides, every layer, three poolings. The
# embedding itself cannot leak, for the language model never sees a label, and a row does not depend on
# the other rows. So it may be computed before the split, and is.

PEPTIDES, COLUMNS = 80, 20
random = np.random.default_rng(0)
peptides = load_peptides()
rows = random.permutation(len(peptides.data))[:PEPTIDES]
y = peptides.target[rows]
embed = ESMEmbeddingTransformer(options.model, layer="all", pooling=["mean", "max", "std"])
X = embed.fit_transform(peptides.data[rows])

# %%
# Outside: the step is fitted to all rows, and cross-validation sees what it made of them, rows that are
# tested among them. Inside: each fold fits the step anew, to its training rows. The difference is one
# line of code. ``SelectKBest`` looks at the labels, PCA only at the embeddings.

STEPS = {"SelectKBest": SelectKBest(k=COLUMNS), "PCA": PCA(COLUMNS, random_state=0)}
folds = StratifiedKFold(5, shuffle=True, random_state=0)


def outside(step, labels):
    made = make_pipeline(StandardScaler(), step).fit_transform(X, labels)
    model = LogisticRegression(C=0.1, max_iter=1000)
    return cross_val_score(model, made, labels, cv=folds, scoring="roc_auc").mean()


def inside(step, labels):
    model = make_pipeline(StandardScaler(), step, LogisticRegression(C=0.1, max_iter=1000))
    return cross_val_score(model, X, labels, cv=folds, scoring="roc_auc").mean()


# %%
# Shuffled labels have nothing to do with the peptides: an honest score of them is 0.5 on average. What
# lies above is the leak, and nothing else.

shuffled = [random.permutation(y) for _ in range(options.shuffles)]
scores = {
    (name, labels, place.__name__): np.array([place(step, some) for some in given])
    for name, step in STEPS.items()
    for labels, given in {"shuffled": shuffled, "real": [y]}.items()
    for place in (outside, inside)
}

print(f"{PEPTIDES} peptides, {X.shape[1]:,} columns reduced to {COLUMNS}, {options.model}\n")
print(f"{'step':12} {'labels':9}  outside  inside  difference   (ROC AUC; {options.shuffles} shuffles)")
for name in STEPS:
    for labels in ("shuffled", "real"):
        out, within = scores[name, labels, "outside"].mean(), scores[name, labels, "inside"].mean()
        print(f"{name:12} {labels:9}  {out:7.3f}  {within:6.3f}  {out - within:10.3f}")


# %%
# The picture: a dot for each shuffle, a bar at their mean, a diamond for the real labels.

COLOURS = {"outside": "#D55E00", "inside": "#0072B2"}
figure, axes = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
places = [(name, where) for name in STEPS for where in COLOURS]
for place, (name, where) in enumerate(places):
    dots, (real,) = scores[name, "shuffled", where], scores[name, "real", where]
    spread = np.linspace(-0.15, 0.15, len(dots)) if len(dots) > 1 else 0
    axes.scatter(place + spread, dots, s=24, c=COLOURS[where], alpha=0.6, linewidths=0)
    axes.hlines(dots.mean(), place - 0.25, place + 0.25, color=COLOURS[where], linewidth=2.5)
    axes.text(place + 0.28, dots.mean(), f"{dots.mean():.2f}", va="center", color=COLOURS[where])
    axes.scatter(place, real, s=55, c="black", marker="D", zorder=3)
    axes.text(place + 0.1, real, f"{real:.2f}", va="center")
axes.axhline(0.5, color="0.5", linestyle=":", linewidth=1)
axes.text(-0.48, 0.495, "chance", va="top", color="0.4")
axes.set_xticks(range(len(places)), [f"{name}\n{where} the folds" for name, where in places])
axes.set(
    title=f"{X.shape[1]:,} columns, {PEPTIDES} peptides: where is the step fitted?",
    ylabel="ROC AUC, mean of 5 folds",
    xlim=(-0.5, len(places) - 0.5),
)
axes.scatter([], [], s=24, c="0.5", label="shuffled labels")
axes.scatter([], [], s=55, c="black", marker="D", label="real labels")
axes.legend(loc="center right", bbox_to_anchor=(1, 0.78), frameon=False)
axes.spines[["top", "right"]].set_visible(False)

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "leak_of_pca.png"
figure.savefig(picture, dpi=150)
print(f"\nPicture: {picture}")

# %%
# A selection that sees the labels finds columns that agree with them by chance, in the rows to be
# tested, too: it scores well on labels that mean nothing. With real labels the same leak hides behind a
# real signal, and is smaller, for there is less left to gain. PCA looks at no label, and its leak is not
# measurable here; it belongs inside all the same, where it costs nothing and needs no excuse.
#
# Relatives lie on both sides of these folds, which is a leak of its own, the same inside and outside:
# ``homology_aware_cv.py`` is about that.
