"""
Which mutations does a protein tolerate?
========================================

This page predicts the effects of 1,045 substitutions in protein G's domain B1. It does so without any
measurement (zero-shot), and with ridge regression on three sets of features. Regressions are scored in
five random folds, and in five folds in which each test position is new.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

MODEL = "esm2_t6_1M_bundled"

# %%
# A variant is a whole sequence with its measured effect and the position that it changes.
# ``fetch_beta_lactamase`` returns 5,397 variants of TEM-1 beta-lactamase in the same form, and several
# rows of the wild type.

import numpy as np

from sklearn_esm.datasets import load_gb1

gb1 = load_gb1()
sequences, y = gb1.data, gb1.target
print(f"{len(sequences)} variants at {len(np.unique(gb1.positions))} positions")

# %%
# A zero-shot score is the log-likelihood of the variant minus that of the wild type. Masked marginals
# are one pass for each position, and wild-type marginals are one pass altogether.

from scipy.stats import spearmanr

from sklearn_esm import ESMLikelihoodTransformer

METHODS = ["masked-marginals", "wt-marginals"]
marginals = ESMLikelihoodTransformer(MODEL, method=METHODS, reference=gb1.reference)
scores = marginals.fit_transform(sequences)  # (variants, methods)
for name, column in zip(METHODS, scores.T, strict=True):
    print(f"{name:<18}{spearmanr(column, y).statistic:6.3f}")
zero_shot = scores[:, 0]

# %%
# The masked marginals of this small model do not rank the effects.

from pathlib import Path

import matplotlib.pyplot as plt

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure, axes = plt.subplots(layout="constrained")
axes.scatter(zero_shot, y, s=10, alpha=0.5, linewidths=0)
axes.set(
    title=f"Zero-shot, {len(y):,} variants: Spearman {spearmanr(zero_shot, y).statistic:.2f}",
    xlabel="Masked marginal (difference of natural logs)",
    ylabel="Measured effect (natural log of relative fitness)",
)
figure.savefig(output / "variant_effects_zero_shot.png", dpi=200)

# %%
# Features for the regression are the substitution (one-hot), the embedding of the variant, and both with
# the zero-shot score. The last is the augmented model of Hsu et al. (2022).

from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import OneHotResidues

one_hot = OneHotResidues(reference=gb1.reference)
embedding = make_pipeline(ESMEmbeddingTransformer(MODEL), StandardScaler())
likelihood = make_pipeline(
    ESMLikelihoodTransformer(MODEL, method="masked-marginals", reference=gb1.reference),
    StandardScaler(),
)
features = {
    "embedding": embedding,
    "one-hot": one_hot,
    "augmented": make_union(one_hot, embedding, likelihood),
}

# %%
# A random split tests new residues at known positions. A split by position tests positions that nobody
# measured. One-hot predicts the same value for all of them, which ranks nothing: the score is 0.

from sklearn.metrics import make_scorer
from sklearn.model_selection import GroupKFold, KFold, cross_val_score


def spearman(true, predicted):
    return spearmanr(true, predicted).statistic if np.ptp(predicted) > 1e-9 else 0.0


splits = {
    "random": list(KFold(5, shuffle=True, random_state=0).split(sequences)),
    "new positions": list(
        GroupKFold(5, shuffle=True, random_state=0).split(sequences, groups=gb1.positions)
    ),
}
results = {}
for split, folds in splits.items():
    results["zero-shot", split] = np.array([spearman(y[test], zero_shot[test]) for _, test in folds])
    for kind, columns in features.items():
        model = make_pipeline(columns, RidgeCV(alphas=np.logspace(-1, 5, 13)))
        results[kind, split] = cross_val_score(
            model, sequences, y, cv=folds, scoring=make_scorer(spearman)
        )
kinds = ["zero-shot", *features]
print(f"{'Spearman, mean ± sd of 5 folds':<32}" + "".join(f"{split:>18}" for split in splits))
for kind in kinds:
    cells = [f"{of.mean():.3f} ± {of.std(ddof=1):.3f}" for of in (results[kind, s] for s in splits)]
    print(f"{kind:<32}" + "".join(f"{cell:>18}" for cell in cells))

# %%
# Small points are folds, and large ones their means with one standard deviation.

# sphinx_gallery_thumbnail_number = 2
figure, axes = plt.subplots(layout="constrained")
axes.axhline(0, color="0.6", linewidth=0.8)
for number, (split, marker) in enumerate(zip(splits, "o^", strict=True)):
    places = np.arange(len(kinds)) + (number - 0.5) * 0.3
    of_split = np.array([results[kind, split] for kind in kinds])  # (kinds, folds)
    style = {"color": f"C{number}", "marker": marker}
    axes.errorbar(
        places, of_split.mean(1), of_split.std(1, ddof=1), **style, ls="", capsize=4, label=split
    )
    axes.scatter(places.repeat(5) + 0.1, of_split, s=10, **style, alpha=0.5)
axes.set_xticks(range(len(kinds)), kinds)
axes.set(title=f"{len(y):,} variants, 5 folds", ylabel="Spearman's correlation")
axes.legend(title="Split", loc="upper left")
figure.savefig(output / "variant_effects.png", dpi=200)

# %%
# On the random split, the error bars of one-hot and the augmented model overlap, and both are above the
# embedding. At new positions the embedding has a correlation of 0.38, and the augmented model is not
# better. The zero-shot score does not help with this small model: its folds are on both sides of 0.
# Decide which split matches your new variants before you compare features.
