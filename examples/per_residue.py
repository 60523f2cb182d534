"""
One vector for each residue
===========================

States of single residues instead of one vector for a sequence: what a residue knows of its neighbours,
layer by layer, and which positions of a protein bear a mutation.

Run it with another model: ``python examples/per_residue.py --model esm2_t6_8M_UR50D``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeClassifier, RidgeCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_gb1, load_peptides

parser = argparse.ArgumentParser(description="Tasks of single residues.")
parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
options = parser.parse_args()

# %%
# With ``pooling=None`` the transformer gives one array for each sequence, a row a residue. Such arrays
# are not cached: where a pass takes hours, save them.

peptides = load_peptides().data[::2]
embed = ESMEmbeddingTransformer(options.model, pooling=None).fit(peptides)
layers = np.unique(np.linspace(0, embed.n_layers_, 4).round().astype(int)).tolist()
states = {
    layer: embed.set_params(layer=layer).fit_transform(peptides) for layer in layers
}  # object arrays of (residues, width)
print(f"{len(peptides)} peptides, {sum(map(len, peptides)):,} residues, {options.model}")

# %%
# A classifier wants one table of all residues. Residues of one sequence share their neighbours, so a
# sequence goes into one fold as a whole: the groups are the sequences. What is predicted is the kind of
# the residue so many places further on, from the state of a residue alone.

KINDS = {"hydrophobic": "AVILMFWC", "polar": "STNQYHGP", "positive": "KR", "negative": "DE"}
kind_of = {residue: kind for kind, residues in KINDS.items() for residue in residues}
AHEAD = [0, 1, 2, 3, 4, 6, 8]


def accuracy(states, ahead):
    """Balanced accuracy for residues of new sequences; a quarter is chance."""
    longer = [(s, p) for s, p in zip(states, peptides, strict=True) if len(p) > ahead]
    table = np.concatenate([s[: len(s) - ahead] for s, _ in longer])  # (residues, width)
    kinds = np.array([kind_of[residue] for _, p in longer for residue in p[ahead:]])  # (residues,)
    groups = np.repeat(np.arange(len(longer)), [len(p) - ahead for _, p in longer])  # (residues,)
    model = make_pipeline(StandardScaler(), RidgeClassifier(10.0, class_weight="balanced"))
    predicted = cross_val_predict(model, table, kinds, groups=groups, cv=GroupKFold(3))
    return balanced_accuracy_score(kinds, predicted)


known = {layer: [accuracy(states[layer], ahead) for ahead in AHEAD] for layer in layers}

print("\nKind of the residue so many places ahead, balanced accuracy (chance is 0.250)")
print(f"{'layer':>5}" + "".join(f"{ahead:8}" for ahead in AHEAD))
for layer, scores in known.items():
    print(f"{layer:5}" + "".join(f"{score:8.3f}" for score in scores))

# %%
# The second task is measured: the mean effect of all 19 substitutions of a position of protein G's
# domain B1, from the state of the wild type's residue there. That is one sequence and 55 rows, a group
# each. Layer 0 is which amino acid it is, and nothing of the context.

gb1 = load_gb1()
positions = np.unique(gb1.positions)
bears = np.array([gb1.target[gb1.positions == position].mean() for position in positions])


def predict(layer, seed):
    """Spearman correlation within the folds, their mean, and the predictions."""
    (wild_type,) = embed.set_params(layer=layer).fit_transform([gb1.reference])  # (56, width)
    table = wild_type[positions - 1]  # positions count from 1
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
    folds = list(GroupKFold(5, shuffle=True, random_state=seed).split(table, bears, positions))
    predicted = cross_val_predict(model, table, bears, cv=folds)
    # fold by fold: where the test rows are high, the mean of the others is low, and so are predictions
    return np.mean([spearmanr(predicted[t], bears[t]).statistic for _, t in folds]), predicted


SHUFFLES = 10
found = {layer: [predict(layer, seed) for seed in range(SHUFFLES)] for layer in layers}
correlations = {layer: np.array([score for score, _ in some]) for layer, some in found.items()}

print(f"\nMean effect of substitutions at a position of GB1, Spearman in 5 folds, {SHUFFLES} shuffles")
print(f"{'layer':>5}{'mean':>8}{'sd':>8}")
for layer, scores in correlations.items():
    print(f"{layer:5}{scores.mean():8.3f}{scores.std():8.3f}")

# %%
# The picture: what a state knows of the residues ahead, and the positions of GB1, measured and predicted
# from the layer that did best.

COLOURS = ["#999999", "#56B4E9", "#0072B2", "#D55E00"]
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained", width_ratios=(2, 3))
for (layer, scores), colour, marker in zip(known.items(), COLOURS, "osD^", strict=False):
    left.plot(AHEAD, scores, color=colour, marker=marker, linewidth=2, label=f"layer {layer}")
left.axhline(1 / len(KINDS), color="0.5", linestyle=":", linewidth=1)
left.set(
    title="Kind of the residue so many places ahead",
    xlabel="places ahead (0 is the residue itself)",
    ylabel="balanced accuracy, new peptides",
    ylim=(0, 1.03),
)
left.legend(frameon=False)

best = max(correlations, key=lambda layer: correlations[layer].mean())
predicted = np.mean([values for _, values in found[best]], axis=0)
right.bar(positions, bears, color="0.8", label="measured")
right.plot(
    positions, predicted, color="#0072B2", marker="o", ms=4, lw=1.5, label=f"layer {best}, predicted"
)
right.set_xticks(positions, [gb1.reference[position - 1] for position in positions], fontsize=7)
right.set(
    title=f"GB1: Spearman {correlations[best].mean():.2f} at layer {best}, "
    f"{correlations[0].mean():.2f} at layer 0",
    xlabel="residue of the wild type, from position 2",
    ylabel="mean effect of 19 substitutions",
)
right.legend(frameon=False, loc="lower left")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "per_residue.png"
figure.savefig(picture, dpi=150)
print(f"\nPicture: {picture}")

# %%
# Deeper layers know what is around a residue, and layer 0 cannot: that is what they are for. Whether it
# helps is another question. On 55 positions of one protein the layers differ by about as much as
# shuffles of the folds do, and the one in the picture was picked because it did best. Mutations of many
# proteins, or a published model, would tell more; ``variant_effects.py`` compares other ways to predict
# them.
