"""
How many variants must be measured?
===================================

A ridge regression predicts the fitness of variants of protein G's domain B1 from 100 to 800 measured
variants. It has the substitution (one-hot), the embedding, or both. Each size is repeated with ten
random training sets and tested on 245 other variants.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

MODEL = "esm2_t6_1M_bundled"
SIZES, REPEATS = [100, 200, 400, 800], 10
TEST = 245

# %%
# Each row has one of 1,045 single substitutions and its measured fitness.

from sklearn_esm.datasets import load_gb1

gb1 = load_gb1()
X, y = gb1.data, gb1.target

# %%
# Three sets of features for the same regression, which chooses its penalty on the training rows. The
# cache of the embedding makes the repeats cheap: each variant passes through the model once.

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import OneHotResidues

one_hot = OneHotResidues(reference=gb1.reference)
embedding = make_pipeline(ESMEmbeddingTransformer(MODEL), StandardScaler())
features = {"embedding": embedding, "one-hot": one_hot, "both": make_union(one_hot, embedding)}

# %%
# The three sets of features have the same training and test rows in each repeat.

from scipy.stats import spearmanr
from sklearn.model_selection import ShuffleSplit

scores = {name: np.zeros((len(SIZES), REPEATS)) for name in features}
for name, columns in features.items():
    model = make_pipeline(columns, RidgeCV(alphas=np.logspace(-1, 4, 11)))
    for row, size in enumerate(SIZES):
        split = ShuffleSplit(REPEATS, train_size=size, test_size=TEST, random_state=0)
        for repeat, (train, test) in enumerate(split.split(X)):
            predicted = model.fit(X[train], y[train]).predict(X[test])
            scores[name][row, repeat] = spearmanr(predicted, y[test]).statistic

print(f"{'measured variants':<20}" + "".join(f"{size:>16}" for size in SIZES))
for name, of_name in scores.items():
    cells = [f"{of.mean():.3f} ± {of.std(ddof=1):.3f}" for of in of_name]
    print(f"{name:<20}" + "".join(f"{cell:>16}" for cell in cells))
gain = scores["both"] - scores["one-hot"]
print(f"{'both above one-hot':<20}" + "".join(f"{f'{n} of {REPEATS}':>16}" for n in (gain > 0).sum(1)))

# %%
# Points are means, and error bars one standard deviation of the repeats.

from pathlib import Path

import matplotlib.pyplot as plt

figure, axes = plt.subplots(layout="constrained")
for shift, marker, (name, of_name) in zip((0.97, 1, 1.03), "o^s", scores.items(), strict=True):
    axes.errorbar(
        np.array(SIZES) * shift,
        of_name.mean(axis=1),
        of_name.std(axis=1, ddof=1),
        marker=marker,
        capsize=4,
        label=name,
    )
axes.set_xscale("log")
axes.set_xticks(SIZES, [str(size) for size in SIZES])
axes.minorticks_off()
axes.set(
    title=f"Protein G's domain B1, {REPEATS} repeats",
    xlabel="Measured variants in the training set",
    ylabel=f"Spearman's correlation on {TEST} others",
)
axes.legend(loc="lower right")

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "learning_curve.png", dpi=200)

# %%
# About 400: from 400 to 800 variants, one-hot gains less than the standard deviation of the repeats. The
# embedding of this small model is below one-hot at every size. Both together are above one-hot in few
# repeats, and the error bars of these two overlap at every size.
#
# Most test variants are at positions of the training set. :ref:`At new positions
# <sphx_glr_auto_examples_variant_effects.py>`, one-hot predicts nothing. ``fetch_gfp`` downloads
# variants of green fluorescent protein with several substitutions each, for the same comparison.
