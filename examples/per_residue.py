"""
Does a residue's vector predict its secondary structure?
========================================================

With ``pooling=None`` the transformer returns one vector for each residue. This example predicts helix,
strand or other for residues of new proteins. It compares the vectors with two baselines: the amino acid
alone, and the amino acids of a window around it.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_secondary_structure

MODEL = "esm2_t6_1M_bundled"
LAYERS = [0, 2, 4, 6]
WINDOW, FOLDS, DRAWS = 15, 5, 2000

# %%
# The labels are one letter per residue: H for helix, E for strand, C for other. Residues without
# coordinates have no label ("-") and are left out.

chains = load_secondary_structure()
labels = np.array(list("".join(chains.target)))  # (residues,)
groups = np.repeat(np.arange(len(chains.data)), [len(sequence) for sequence in chains.data])
known = labels != "-"
classes, y = np.unique(labels[known], return_inverse=True)
print(chains.data[0][:50], chains.target[0][:50], sep="\n")
print(
    f"{len(chains.data)} chains, {known.sum():,} residues with a label, {(y == 0).mean():.0%} of them C"
)

# %%
# One pass of the model returns several layers side by side. There is one array for each chain, and a
# classifier needs one table of all residues.

embed = ESMEmbeddingTransformer(MODEL, layer=LAYERS, pooling=None)
states = np.concatenate(embed.fit_transform(chains.data))  # (residues, layers x width)
layers = dict(zip(LAYERS, np.split(states, len(LAYERS), axis=1), strict=True))  # (residues, width) each

# %%
# A window is the one-hot code of a residue and of its 7 neighbours on both sides. Zeros stand for
# positions beyond the ends of the chain.

amino_acids = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def windows(sequence, width):
    """Return the one-hot codes around each residue, ``(residues, width x 20)``."""
    one_hot = (np.array(list(sequence))[:, None] == amino_acids).astype(np.float32)
    padded = np.pad(one_hot, ((width // 2, width // 2), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)  # (residues, 20, width)
    return views.reshape(len(sequence), -1)


residue, window = (
    np.concatenate([windows(sequence, width) for sequence in chains.data]) for width in (1, WINDOW)
)
features = {"residue alone": residue, f"window of {WINDOW}": window}
features |= {f"layer {layer}": table for layer, table in layers.items()}
features["last layer and window"] = np.hstack([layers[LAYERS[-1]], window])

# %%
# All residues of a chain are in one fold, because neighbours have nearly the same context. No two chains
# have 30 % identity over half of both. The scores are the accuracy (Q3) and the balanced accuracy. Their
# 95 % intervals come from a bootstrap of the chains, with the same draws for all features.

draws = np.random.default_rng(0).integers(len(chains.data), size=(DRAWS, len(chains.data)))


def accuracies(confusions):
    """Return accuracy and balanced accuracy of confusion matrices, ``(2, ...)``."""
    right = np.diagonal(confusions, axis1=-2, axis2=-1)
    recalls = right / confusions.sum(axis=-1)
    return np.array([right.sum(axis=-1) / confusions.sum(axis=(-2, -1)), recalls.mean(axis=-1)])


scores, drawn = {}, {}
for name, X in features.items():
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=100.0))
    folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, X[known], y, groups=groups[known], cv=folds)
    confusions = np.zeros((len(chains.data), len(classes), len(classes)))
    np.add.at(confusions, (groups[known], y, predicted), 1)
    scores[name] = accuracies(confusions.sum(axis=0))
    drawn[name] = accuracies(confusions[draws].sum(axis=1))  # (2, draws)

print(
    f"{'features':<23}{'columns':>9}{'Q3':>8}{'95 % interval':>17}{'balanced':>11}{'95 % interval':>17}"
)
for name, X in features.items():
    cells = f"{name:<23}{X.shape[1]:9}"
    for score, draw, width in zip(scores[name], drawn[name], (8, 11), strict=True):
        low, high = np.quantile(draw, [0.025, 0.975])
        cells += f"{score:{width}.3f}{f'{low:.3f} to {high:.3f}':>17}"
    print(cells)

# %%
# Many of these intervals overlap. But all rows are scored on the same chains, so a bootstrap of the
# difference of two rows is narrower.

last = f"layer {LAYERS[-1]}"
for one, other in [
    (last, "layer 0"),
    (last, f"window of {WINDOW}"),
    ("last layer and window", f"window of {WINDOW}"),
    ("last layer and window", last),
]:
    low, high = np.quantile(drawn[one][0] - drawn[other][0], [0.025, 0.975])
    difference = scores[one][0] - scores[other][0]
    print(f"{f'{one} - {other}':<37}Q3 {difference:+.3f}  ({low:+.3f} to {high:+.3f})")

# %%
# Layer 0 is the amino acid and no more. The vectors of later layers include context, and the last layer
# is 13 points better than layer 0. A window of amino acids does the same without a model. Between it and
# the last layer no difference is shown, because the interval includes zero. The same holds for what the
# last layer adds to the window. The window does add two points to the last layer. So this small model is
# no better than a window for this task. Compare a published model with a window, too.

figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
q3 = [100 * scores[f"layer {layer}"][0] for layer in LAYERS]
low, high = np.transpose([100 * np.quantile(drawn[f"layer {n}"][0], [0.025, 0.975]) for n in LAYERS])
axes.fill_between(LAYERS, low, high, color="C0", alpha=0.2, linewidth=0)
axes.plot(LAYERS, q3, "o-", color="C0", label="vector of the residue, 95 % interval")
for name, colour, style in [
    ("last layer and window", "C2", "-."),
    (f"window of {WINDOW}", "C1", "--"),
    ("residue alone", "0.4", ":"),
]:
    axes.axhline(100 * scores[name][0], color=colour, linestyle=style, label=name)
axes.set(
    xlabel="Layer",
    ylabel="Residues predicted correctly (%)",
    title="Helix, strand or other, residues of new chains",
)
axes.set_xticks(LAYERS)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.15))

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "per_residue.png", dpi=200)
