"""
Relatives in the test set: how much do they flatter?
====================================================

The same peptides and classifiers, scored on random folds and on folds that keep relatives together, by
how alike two peptides may be on either side of a split.

Run it with another model: ``python examples/homology_aware_cv.py --model esm2_t6_8M_UR50D``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides
from sklearn_esm.model_selection import identity_groups

parser = argparse.ArgumentParser(description="Random folds against folds of relatives.")
parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
parser.add_argument("--shuffles", type=int, default=10, help="how often the folds are shuffled")
options = parser.parse_args()

# %%
# The embeddings may be computed before the split: the model sees no label, and no row depends on
# another. What is fitted to the peptides, scaler and classifier, belongs inside.

peptides = load_peptides()
sequences, y = peptides.data, peptides.target
embeddings = ESMEmbeddingTransformer(options.model).fit_transform(sequences)

# %%
# Two peptides are relatives if their best local alignment covers at least 80 % of both, and at least the
# threshold of its columns are identical. Relatives of relatives are in one group, too: peptides of
# different groups are then less alike than the threshold, whichever one takes. The package needs pyopal
# for that: ``pip install "sklearn-esm[groups]"``.

THRESHOLDS = [0.8, 0.7, 0.6, 0.5]
clusters = {t: identity_groups(sequences, threshold=t) for t in THRESHOLDS}

# %%
# One nearest neighbour does nothing but look a relative up; a logistic regression has to generalise.
# Large clusters make folds of unequal sizes, and some training sets small. So that nothing but relatives
# is compared, clusters of the same sizes are dealt at random, too. The folds are shuffled several times,
# since one split of 306 peptides says little.

classifiers = {
    "nearest neighbour": KNeighborsClassifier(n_neighbors=1),
    "logistic regression": LogisticRegression(C=0.1, max_iter=1000),
}


def accuracies(classifier, groups, *, at_random):
    """Accuracy of each shuffle of the folds."""
    model = make_pipeline(StandardScaler(), classifier)
    scores = []
    for seed in range(options.shuffles):
        dealt = np.random.default_rng(seed).permutation(groups) if at_random else groups
        folds = GroupKFold(5, shuffle=True, random_state=seed)
        predicted = cross_val_predict(model, embeddings, y, groups=dealt, cv=folds)
        scores.append((predicted == y).mean())
    return np.array(scores)


results = {
    (name, at_random): [accuracies(one, clusters[t], at_random=at_random) for t in THRESHOLDS]
    for name, one in classifiers.items()
    for at_random in (True, False)
}

# %%
# What relatives are worth is the difference. The largest cluster says where to stop: it lies in one fold
# whatever its size, and that fold is trained on all that is left.

print(f"{len(sequences)} peptides, {options.model}, {options.shuffles} shuffles of five folds\n")
print(f"{'relatives agree in at least':30}" + "".join(f"{t:>9.0%}" for t in THRESHOLDS))
sizes = [np.bincount(groups) for groups in clusters.values()]
print(f"{'clusters':30}" + "".join(f"{len(size):9}" for size in sizes))
print(f"{'largest cluster':30}" + "".join(f"{size.max():9}" for size in sizes))
for name in classifiers:
    random, together = (np.array(results[name, at_random]) for at_random in (True, False))
    print(f"\n{name}")
    print(f"{'  accuracy, dealt at random':30}" + "".join(f"{a:9.3f}" for a in random.mean(1)))
    print(f"{'  accuracy, clusters together':30}" + "".join(f"{a:9.3f}" for a in together.mean(1)))
    print(f"{'  difference':30}" + "".join(f"{a:9.3f}" for a in (random - together).mean(1)))
    print(f"{'  sd of it over shuffles':30}" + "".join(f"{a:9.3f}" for a in (random - together).std(1)))

# %%
# The picture: how many peptides have a relative to train on, at the strictest split, by how alike the
# two are, and what relatives were worth at each split.


def with_relative_in_training(relatives, groups):
    """Share of peptides that have one of their relatives in the training folds."""
    folds = GroupKFold(5, shuffle=True, random_state=0).split(sequences, y, groups)
    return sum(np.isin(relatives[test], relatives[train]).sum() for train, test in folds) / len(y)


figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
strictest = clusters[THRESHOLDS[-1]]
dealt = np.random.default_rng(0).permutation(strictest)
identities = np.arange(3, 10) / 10
at_each = [identity_groups(sequences, threshold=t) for t in identities]
for groups, colour, label in (
    (dealt, "0.6", "dealt at random"),
    (strictest, "#0072B2", "clusters together"),
):
    shares = [with_relative_in_training(relatives, groups) for relatives in at_each]
    left.plot(identities, shares, color=colour, marker="o", lw=2, label=label)
left.axvline(THRESHOLDS[-1], color="0.4", linestyle=":")
left.xaxis.set_major_formatter("{x:.0%}")
left.yaxis.set_major_formatter("{x:.0%}")
left.set(
    title=f"With a relative to train on, clusters at {THRESHOLDS[-1]:.0%}",
    xlabel="relatives agree in at least",
    ylabel="peptides",
)
left.legend(frameon=False)

# told apart with every common kind of colour blindness, and by shape where there is no colour
STYLES = {"nearest neighbour": ("#D55E00", "^", -0.15), "logistic regression": ("#0072B2", "o", 0.15)}
places = np.arange(len(THRESHOLDS))
right.axhline(0, color="0.6", linewidth=0.8)
for name, (colour, marker, shift) in STYLES.items():
    flattery = np.array(results[name, True]) - np.array(results[name, False])  # (thresholds, shuffles)
    jitter = np.linspace(-0.1, 0.1, options.shuffles)
    for place, differences in zip(places + shift, flattery, strict=True):
        right.scatter(
            place + jitter, differences, s=14, c=colour, marker=marker, alpha=0.45, linewidths=0
        )
    right.plot(places + shift, flattery.mean(1), c=colour, marker=marker, ms=8, lw=2, label=name)
right.set_xticks(places, [f"{t:.0%}" for t in THRESHOLDS])
right.set(
    title="What relatives are worth",
    xlabel="relatives agree in at least",
    ylabel="accuracy dealt at random, less clusters together",
)
right.legend(frameon=False, loc="upper left")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "homology_aware_cv.png"
figure.savefig(picture, dpi=150)
print(f"\nPicture: {picture}")

# %%
# On this table a linear model is hardly flattered, and one that looks relatives up is. Do not count on
# the former: there are many small families in both classes here, whereas a label such as organism or
# enzyme class runs in families, and then relatives give it away. Split by relatives before you look at
# any score, and say at which identity.
