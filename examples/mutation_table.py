"""
How does a table of mutations become a saved model?
===================================================

A file of ProteinGym has one row per variant: a mutation such as ``A24G``, the mutated sequence and a
score. This page reads such a file, compares four sets of features and saves a pipeline that predicts
from mutations. The 1,045 variants are of protein G's domain B1. Each of the five folds leaves out a
contiguous stretch of the protein, so each test position is new.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

MODEL = "esm2_t6_1M_bundled"

# %%
# The file is written here only to have one.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from sklearn_esm.datasets import load_gb1

folder = Path(tempfile.mkdtemp())
gb1 = load_gb1()
pd.DataFrame(
    {
        "mutant": gb1.mutations,
        "mutated_sequence": gb1.data,
        "DMS_score": gb1.target,
        "DMS_score_bin": (gb1.target > np.median(gb1.target)).astype(int),
    }
).to_csv(folder / "gb1.csv", index=False)

# %%
# ``read_proteingym`` finds the wild type from mutations and sequences.

from sklearn_esm.datasets import read_proteingym
from sklearn_esm.model_selection import position_groups

scan = read_proteingym(folder / "gb1.csv")
mutations, y = scan.mutations, scan.target
groups = position_groups(mutations, scan.reference, scheme="contiguous", n_groups=5)
print(f"{len(y)} mutations of {len(scan.reference)} residues, {np.bincount(groups).tolist()} per fold")

# %%
# Every pipeline starts with the column of mutations. The augmented model of Hsu et al. (2022) has the
# substitution, the embedding and the zero-shot score side by side.

from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm.baselines import OneHotResidues
from sklearn_esm.variants import MutationsToSequences

one_hot = OneHotResidues(reference=scan.reference)
embedding = make_pipeline(ESMEmbeddingTransformer(MODEL), StandardScaler())
zero_shot = ESMLikelihoodTransformer(MODEL, method="masked-marginals", reference=scan.reference)
features = {
    "zero-shot": zero_shot,
    "one-hot": one_hot,
    "embedding": embedding,
    "augmented": make_union(one_hot, embedding, make_pipeline(zero_shot, StandardScaler())),
}
models = {
    name: make_pipeline(
        MutationsToSequences(scan.reference), columns, RidgeCV(alphas=np.logspace(-1, 5, 13))
    )
    for name, columns in features.items()
}

# %%
# The zero-shot score needs no training. As the only feature of a regression it keeps its ranks, or
# reverses them if it is worse than chance. Five folds are few: the interval is 2.78 standard errors wide
# on each side, which is 95 % of Student's distribution with four degrees of freedom.

from scipy.stats import spearmanr
from sklearn.metrics import make_scorer
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score


def spearman(true, predicted):
    """Return the rank correlation, 0 for a constant prediction, which ranks nothing."""
    return spearmanr(true, predicted).statistic if np.ptp(predicted) > 1e-9 else 0.0


scores = {
    name: cross_val_score(
        model, mutations, y, groups=groups, cv=LeaveOneGroupOut(), scoring=make_scorer(spearman)
    )
    for name, model in models.items()
}
print(f"\n{'features':<12}{'Spearman':>10}{'interval':>18}")
half = {name: 2.78 * folds.std(ddof=1) / np.sqrt(len(folds)) for name, folds in scores.items()}
for name, folds in scores.items():
    low, high = folds.mean() - half[name], folds.mean() + half[name]
    print(f"{name:<12}{folds.mean():10.3f}{f'{low:.2f} to {high:.2f}':>18}")

# %%
# A saved pipeline is small, because it contains no weights. The machine that loads it needs the model
# under the same name.

import joblib

final = models["augmented"].fit(mutations, y)
joblib.dump(final, folder / "gb1.joblib")
loaded = joblib.load(folder / "gb1.joblib")
new = ["A24G", "A24G:V54L", "p.Asp40Tyr"]
print(f"\n{(folder / 'gb1.joblib').stat().st_size / 1000:.0f} kB on the disk")
for name, predicted in zip(new, loaded.predict(new), strict=True):
    print(f"{name:<12}{predicted:6.2f}")
assert np.array_equal(loaded.predict(new), final.predict(new))

# %%
# Small points are folds, and large ones their means with the interval.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.axvline(0, color="0.6", linewidth=0.8)
for place, (name, folds) in enumerate(scores.items()):
    axes.errorbar(folds.mean(), place, xerr=half[name], fmt="o", color="C0", capsize=4)
    axes.scatter(folds, np.full(len(folds), place - 0.2), s=12, color="0.5")
axes.set_yticks(range(len(scores)), list(scores))
axes.invert_yaxis()
axes.set(
    title=f"{len(y):,} variants, 5 contiguous folds",
    xlabel="Spearman's correlation (mean and 95 % interval)",
)

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "mutation_table.png", dpi=200)

# %%
# Every interval includes 0. With this small model and five folds, none of the features is shown to rank
# variants in a stretch that nobody measured, and one-hot cannot. A random split would have hidden that.
# Try a published model next.
