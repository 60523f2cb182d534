"""
Which mutations does a protein bear?
====================================

Effects of single substitutions, predicted without a single measurement, and with some: the marginals of
a language model as zero-shot scores, then a ridge regression on them beside embeddings and the
substitutions themselves, on a random split and on one where every position is new.

The variants are 5,397 of TEM-1 beta-lactamase where their file is in scikit-learn's data home or can be
fetched, else the 1,045 of protein G's domain B1 that come with the package. Run it with another model:
``python examples/variant_effects.py --model esm1v_t33_650M_UR90S_1``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.metrics import make_scorer
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm.baselines import OneHotResidues
from sklearn_esm.datasets import fetch_beta_lactamase, load_gb1

parser = argparse.ArgumentParser(description="Zero-shot and trained predictions of variant effects.")
parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
parser.add_argument("--bundled-data", action="store_true", help="take GB1, whatever else is there")
options = parser.parse_args()

# %%
# The variants are whole sequences, each with its measured effect, and the position that it changes.
# Beta-lactamase's file holds the wild type many times, under synonymous mutations: it is left out.


def load():
    if not options.bundled_data:
        try:
            return "TEM-1 beta-lactamase", fetch_beta_lactamase()
        except OSError as error:
            print(f"Not beta-lactamase: {error}\n")
    return "GB1", load_gb1()


protein, variants = load()
changed = variants.data != variants.reference
sequences, y, positions = variants.data[changed], variants.target[changed], variants.positions[changed]
print(
    f"{protein}: {len(sequences)} variants at {len(np.unique(positions))} positions, {options.model}\n"
)

# %%
# Zero-shot: how much less likely than the wild type the model finds each variant. The masked marginals
# take one pass for each position, the wild-type marginals one pass altogether.

zero_shot = ESMLikelihoodTransformer(
    options.model, method=["masked-marginals", "wt-marginals"], reference=variants.reference
).set_output(transform="pandas")
scores = zero_shot.fit_transform(sequences)
for name, column in scores.items():
    print(f"{name.removeprefix(options.model + '_'):<20} {spearmanr(column, y).statistic:6.3f}")

# %%
# With measurements: what is substituted (one-hot), how the model sees the variant (embedding), and both
# with the zero-shot score beside them, the augmented model of Hsu et al. (2022).

one_hot = OneHotResidues(reference=variants.reference)
embedding = make_pipeline(ESMEmbeddingTransformer(options.model), StandardScaler())
likelihood = make_pipeline(
    ESMLikelihoodTransformer(options.model, method="masked-marginals", reference=variants.reference),
    StandardScaler(),
)
features = {
    "one-hot": one_hot,
    "embedding": embedding,
    "augmented": make_union(one_hot, embedding, likelihood),
}

# %%
# A random split asks about new residues at positions that were seen. A split by position asks about
# positions nobody measured, where one-hot has nothing to say.

random = KFold(n_splits=5, shuffle=True, random_state=0)
by_position = GroupKFold(n_splits=5, shuffle=True, random_state=0)
splits = {
    "random": list(random.split(sequences)),
    "new positions": list(by_position.split(sequences, groups=positions)),
}


def spearman(true, predicted):
    """Rank correlation; 0 for a model that predicts the same of all, which ranks nothing."""
    return spearmanr(true, predicted).statistic if np.ptp(predicted) > 1e-9 else 0.0


results = {}
for kind, columns in features.items():
    model = make_pipeline(columns, RidgeCV(alphas=np.logspace(-1, 5, 13)))
    for split, folds in splits.items():
        results[kind, split] = cross_val_score(
            model, sequences, y, cv=folds, scoring=make_scorer(spearman)
        )
zero = scores.iloc[:, 0].to_numpy()
for split, folds in splits.items():
    results["zero-shot", split] = np.array([spearmanr(zero[t], y[t]).statistic for _, t in folds])

print(f"\n{'Spearman, mean of 5 folds':<28}" + "".join(f"{split:>15}" for split in splits))
for kind in ("zero-shot", *features):
    print(f"{kind:<28}" + "".join(f"{results[kind, split].mean():15.3f}" for split in splits))

# %%
# The picture: zero-shot scores against measured effects, and the folds of every model.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.scatter(zero, y, s=6, alpha=0.4, linewidths=0)
left.set(
    xlabel="Masked marginal (natural log)",
    ylabel="Measured effect",
    title=f"{protein}, zero-shot: Spearman {spearmanr(zero, y).statistic:.2f}",
)
places = np.arange(len(features) + 1)
for shift, split in zip((-0.2, 0.2), splits, strict=True):
    folds_of = [results[kind, split] for kind in ("zero-shot", *features)]
    bars = right.bar(places + shift, [fold.mean() for fold in folds_of], width=0.38, label=split)
    for place, fold in zip(places + shift, folds_of, strict=True):
        right.scatter(np.full(len(fold), place), fold, s=8, color="0.2", zorder=3)
right.axhline(0, color="0.6", linewidth=0.8)
right.set_xticks(places, ["zero-shot", *features])
right.set(ylabel="Spearman, five folds", title="Trained on four fifths")
right.legend(title="Split")

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "variant_effects.png"
figure.savefig(picture, dpi=150)
print(f"\nPicture: {picture}")
