"""
A sequence is one column of many
================================

Embeddings beside numeric columns in one ``ColumnTransformer``, on a pandas frame: what the numbers add
to the embedding, and what the embedding knew already.

Run it with another model: ``python examples/assay_columns.py --model esm2_t6_8M_UR50D``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides
from sklearn_esm.display import EmbeddingDisplay

parser = argparse.ArgumentParser(description="Embeddings beside numeric columns.")
parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
options = parser.parse_args()

# %%
# A frame with a column of sequences and columns of numbers. These here are computed from the sequence,
# for the bundled table has no measurements; columns of an assay (concentration, temperature, pH) take
# the same place. Hydropathy is on the scale of Kyte and Doolittle (1982).

SCALE = "1.8 -4.5 -3.5 -3.5 2.5 -3.5 -3.5 -0.4 -3.2 4.5 3.8 -3.9 1.9 2.8 -1.6 -0.8 -0.7 -0.9 -1.3 4.2"
HYDROPATHY = dict(zip("ARNDCQEGHILKMFPSTWYV", map(float, SCALE.split()), strict=True))

peptides = load_peptides(as_frame=True)
y = peptides.target
frame = peptides.data.assign(
    length=lambda table: table["sequence"].str.len(),
    charge=lambda table: table["sequence"].map(
        lambda s: s.count("K") + s.count("R") - s.count("D") - s.count("E")
    ),
    hydropathy=lambda table: table["sequence"].map(lambda s: np.mean([HYDROPATHY[r] for r in s])),
)
NUMBERS = ["length", "charge", "hydropathy"]
print(frame.head(3).to_string(), "\n")

# %%
# Families of peptides stay together in a fold, as in the quick start.

triplets = CountVectorizer(analyzer="char", ngram_range=(3, 3), binary=True, lowercase=False)
families = AgglomerativeClustering(
    n_clusters=None, metric="cosine", linkage="average", distance_threshold=0.9
).fit_predict(triplets.fit_transform(frame["sequence"]).toarray())
folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=0)

# %%
# Each column goes to its own steps. Scaling matters: without it a length of 60 residues outweighs all of
# the embedding. Given as a string, a column is passed as a Series, which is what the transformer wants.

sequence = ("esm", make_pipeline(ESMEmbeddingTransformer(options.model), StandardScaler()), "sequence")
numbers = ("numbers", StandardScaler(), NUMBERS)
features = {
    "numbers": ColumnTransformer([numbers]),
    "embedding": ColumnTransformer([sequence]),
    "both": ColumnTransformer([sequence, numbers]),
}
scores = {
    name: cross_val_score(
        make_pipeline(columns, LogisticRegression(C=0.1, max_iter=1000)),
        frame,
        y,
        groups=families,
        cv=folds,
        scoring="roc_auc",
    )
    for name, columns in features.items()
}

# %%
# How much of each number the embedding holds: predicted from it by ridge regression, on the same folds.
# A mean over residues has no place for their number, but states near the ends differ from those between
# them, and of a short peptide more residues are near an end.

known = {
    number: cross_val_score(
        make_pipeline(features["embedding"], RidgeCV(np.logspace(-1, 5, 13))),
        frame,
        frame[number],
        groups=families,
        cv=list(folds.split(frame, y, families)),
    ).mean()
    for number in NUMBERS
}

print(f"{'features':12} {'columns':>8}  ROC AUC  sd over folds")
for name, columns in features.items():
    width = columns.fit(frame).get_feature_names_out().size
    print(f"{name:12} {width:8}  {scores[name].mean():7.3f}  {scores[name].std():13.3f}")
print(f"\n{'number':12}  R2 from the embedding")
for number, r2 in known.items():
    print(f"{number:12}  {r2:21.2f}")

# %%
# The picture: every fold of every set of columns, and the embeddings, coloured by a number that they
# were never given.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=(2, 3))
COLOURS = {"numbers": "#D55E00", "embedding": "#0072B2", "both": "#009E73"}
for place, (name, folds_of) in enumerate(scores.items()):
    left.scatter(np.full(len(folds_of), place), folds_of, s=30, c=COLOURS[name], alpha=0.6, linewidths=0)
    left.hlines(folds_of.mean(), place - 0.25, place + 0.25, color=COLOURS[name], linewidth=2.5)
    left.text(place + 0.28, folds_of.mean(), f"{folds_of.mean():.3f}", va="center")
left.set_xticks(range(len(scores)), scores)
left.set(
    title="Antimicrobial or hormone",
    ylabel="ROC AUC of each fold, families held out",
    xlim=(-0.5, len(scores) - 0.2),
)
EmbeddingDisplay.from_estimator(
    features["embedding"],
    frame,
    frame["length"],
    target_label="length (residues)",
    name="Embeddings, coloured by length",
    ax=right,
)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "assay_columns.png"
figure.savefig(picture, dpi=150)
print(f"\nPicture: {picture}")

# %%
# Numbers that follow from the sequence add nothing here, for the embedding holds them. Numbers that do
# not follow from it, such as the concentration or the temperature of an assay, no embedding can know:
# give them a column. Score such a table without the sequences, too: where the numbers alone do well, ask
# whether they say what was measured, or only where and by whom.
