"""
What do columns from a structure add to an embedding?
=====================================================

A table often has more columns than the sequence. Here they come from two crystal structures of protein
G's domain B1: how buried a position is, and how far it is from the antibody that the domain binds. A
``ColumnTransformer`` puts them beside the embedding. The prediction is the measured effect of a
substitution at a position that was not in the training data.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_gb1, load_secondary_structure

MODEL = "esm2_t6_1M_bundled"
REPEATS, FOLDS = 10, 5

# %%
# One number for each of the 56 positions, computed with Biopython from entries of the Protein Data
# Bank (CC0). Accessibility and neighbours are from 2QMT, which has the sequence of the measured
# wild type. The distance is from 1FCC, in which a domain with four other residues is bound to the
# constant part (Fc) of an antibody.

# % of the largest possible area (Tien et al. 2013), by Shrake and Rupley's method with a probe of 1.4 A
ACCESSIBILITY = """
    56 52 5 28 0 33 5 35 2 65 77 22 52 30 53 30 45 16 53 9 73 33 18 42 31 0 31 58 38 3 35
    53 29 1 56 60 40 56 9 68 16 63 26 46 30 40 46 70 49 21 15 3 19 0 32 37"""
# other residues with a C-beta atom within 10 A (C-alpha of glycine)
NEIGHBOURS = """
    11 10 21 16 22 16 19 14 17 11 8 14 11 9 10 14 13 17 10 17 8 9 16 9 14 22 17 12 16 26
    16 10 17 21 10 8 11 13 20 10 14 9 13 10 16 11 7 5 9 15 16 23 17 20 13 15"""
# shortest distance of non-hydrogen atoms to the Fc in A
DISTANCE = """
    12.3 11.9 7.5 10.6 7.9 9.7 8.3 10.3 9.8 10.9 13.7 10.4 13.7 13.1 14.1 13.3 12.9 8.7
    7.4 7.6 6.6 6.4 3.9 3.4 4.4 6.6 2.5 2.7 6.1 6.2 3.1 3.3 6.2 3.1 2.4 6.3 7.3 6.4 3.3
    3.4 3.6 2.7 2.8 3.6 3.7 6.7 7.4 11.1 11.3 9.3 6.9 4.6 6.7 4.6 7.5 7.3"""

# %%
# The secondary structure of 2QMT is in one of the bundled data sets. All columns go into one frame,
# with a row for each of the 1,045 substitutions.

gb1 = load_gb1(as_frame=True)
chains = load_secondary_structure()
structure = chains.target[chains.data.tolist().index(gb1.reference)]
at = gb1.frame["position"] - 1
frame = gb1.frame.assign(
    new_residue=gb1.frame["mutation"].str[-1],
    structure=np.array(list(structure))[at],
    accessibility=np.array(ACCESSIBILITY.split(), dtype=float)[at],
    neighbours=np.array(NEIGHBOURS.split(), dtype=float)[at],
    distance=np.array(DISTANCE.split(), dtype=float)[at],
)
print(frame.drop(columns="sequence").iloc[::209].to_string())

# %%
# Each column goes to its own steps. The sequence is named as a string, the others as lists. The
# columns of the structure are the same for all 19 substitutions of a position. The new residue,
# one-hot, distinguishes them without a model, so it is a baseline for what the embedding adds.

embedding = make_pipeline(ESMEmbeddingTransformer(MODEL, cache="memory"), StandardScaler())
one_hot = OneHotEncoder(sparse_output=False)
steps = {
    "embedding": [("esm", embedding, "sequence")],
    "new residue": [("new", one_hot, ["new_residue"])],
    "structure": [
        ("numbers", StandardScaler(), ["accessibility", "neighbours", "distance"]),
        ("class", one_hot, ["structure"]),
    ],
}
features = {
    "new residue": steps["new residue"],
    "embedding": steps["embedding"],
    "structure": steps["structure"],
    "structure + new residue": steps["structure"] + steps["new residue"],
    "structure + embedding": steps["structure"] + steps["embedding"],
}

# %%
# ``set_output`` gives the columns their names.

table = ColumnTransformer(features["structure + embedding"], verbose_feature_names_out=False)
table.set_output(transform="pandas")
print(table.fit_transform(frame).iloc[:3, [0, 1, 2, 3, 4, 5, 6, -1]].round(2).to_string())

# %%
# Every position is in one fold, with all of its substitutions. The score is the mean Spearman
# correlation of the folds. Ten shuffles of the positions show how much it depends on the folds.

spearman = make_scorer(lambda y, predicted: spearmanr(y, predicted).statistic)


def score(transformers, seed):
    """Return the mean Spearman correlation at new positions."""
    columns = ColumnTransformer(transformers)
    model = make_pipeline(columns, Ridge(alpha=100.0))
    folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    groups = frame["position"]
    return cross_val_score(
        model, frame, frame["target"], groups=groups, cv=folds, scoring=spearman
    ).mean()


scores = {
    name: np.array([score(transformers, seed) for seed in range(REPEATS)])
    for name, transformers in features.items()
}
print(f"\n{'features':<25}{'Spearman':>10}{'from':>8}{'to':>8}")
for name, values in scores.items():
    print(f"{name:<25}{values.mean():10.3f}{values.min():8.3f}{values.max():8.3f}")

# %%
# The same folds were used for all features, so differences have smaller ranges.

for one, other in [
    ("structure + embedding", "embedding"),
    ("structure + embedding", "structure"),
    ("structure + embedding", "structure + new residue"),
]:
    values = scores[one] - scores[other]
    print(f"{f'{one} - {other}':<49}{values.mean():+.3f}  ({values.min():+.3f} to {values.max():+.3f})")

# %%
# The structure adds 0.16 to the embedding, and more than 0.1 in each of ten shuffles. The sequence
# does not contain the antibody, and this model is small. The embedding adds half as much to the
# structure. It is open whether it adds more than the new residue does: that difference has both
# signs. All shuffles are of the same 55 positions, so their range is not a confidence interval.

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for place, (name, values) in enumerate(scores.items()):
    colour = "C0" if "structure" not in name else "C1" if name == "structure" else "C2"
    axes.scatter(values, np.full(REPEATS, place), s=24, alpha=0.5, color=colour, linewidths=0)
    axes.plot(2 * [values.mean()], [place - 0.3, place + 0.3], color=colour, linewidth=2.5)
axes.set_yticks(range(len(scores)), list(scores))
axes.invert_yaxis()
axes.set(
    xlabel="Spearman correlation at new positions",
    title=f"{REPEATS} shuffles of {FOLDS} folds, and their mean",
    xlim=(0, None),
)
axes.spines[["top", "right"]].set_visible(False)

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "assay_columns.png", dpi=200)
