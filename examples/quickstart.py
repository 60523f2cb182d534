"""
Is this peptide antimicrobial, or a hormone?
============================================

Embeddings of a protein language model against amino-acid composition, in one scikit-learn
pipeline each: cross-validated on peptides grouped by similarity, with the seconds each takes.

Run it with another model: ``python examples/quickstart.py --model esm2_t6_8M_UR50D``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.cluster import AgglomerativeClustering
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import RocCurveDisplay, accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import ResidueComposition
from sklearn_esm.datasets import load_peptides
from sklearn_esm.display import EmbeddingDisplay

parser = argparse.ArgumentParser(description="Embeddings against composition, on 306 peptides.")
parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
options = parser.parse_args()

# %%
# Sequences in, labels beside them.

peptides = load_peptides()
sequences, y = peptides.data, peptides.target
print(f"{len(sequences)} peptides, {y.sum()} of them antimicrobial")

# %%
# Peptides of one family must not stand on both sides of a split: a classifier would score well by
# recognising relatives. Those that share many triplets of residues go into the same fold.

triplets = CountVectorizer(analyzer="char", ngram_range=(3, 3), binary=True, lowercase=False)
families = AgglomerativeClustering(
    n_clusters=None, metric="cosine", linkage="average", distance_threshold=0.9
).fit_predict(triplets.fit_transform(sequences).toarray())
folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=0)

# %%
# Two pipelines that differ in their first step only.

embed = ESMEmbeddingTransformer(options.model)
contestants = {
    name: make_pipeline(features, StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    for name, features in {
        "composition": ResidueComposition(),
        Path(options.model).stem: embed,
    }.items()
}

# %%
# Each peptide is scored by a classifier that saw neither it nor its family. The five folds embed
# every sequence once: the transformer remembers what it has computed. Its seconds include loading
# torch and the model.

scores, seconds = {}, {}
for name, model in contestants.items():
    started = time.perf_counter()
    scores[name] = cross_val_predict(
        model, sequences, y, groups=families, cv=folds, method="predict_proba"
    )[:, 1]
    seconds[name] = time.perf_counter() - started

width = max(map(len, scores))
print(f"{'features':{width}}  ROC AUC  accuracy  seconds")
for name, score in scores.items():
    print(
        f"{name:{width}}  {roc_auc_score(y, score):7.3f}  {accuracy_score(y, score > 0.5):8.3f}"
        f"  {seconds[name]:7.2f}"
    )

# %%
# What the model sees, without having been told a single label, and how well each pipeline ranks.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.4), layout="constrained")

embedding = EmbeddingDisplay.from_estimator(
    make_pipeline(embed, StandardScaler()),
    sequences,
    y,
    target_names=peptides.target_names,
    name="Embeddings, first two principal components",
    ax=left,
)
left.legend(
    handles=embedding.legend_.legend_handles,
    loc="lower center",
    bbox_to_anchor=(0.5, -0.22),
    ncols=2,
    frameon=False,
)

for (name, score), colour, line in zip(scores.items(), ("#555555", "#0072B2"), ("--", "-"), strict=True):
    RocCurveDisplay.from_predictions(y, score, name=name, ax=right)
    right.lines[-1].set(color=colour, linestyle=line, linewidth=2)
right.plot([0, 1], [0, 1], color="#BBBBBB", lw=1, zorder=0)
right.set(
    title="Antimicrobial or not: families held out",
    xlabel="false positive rate",
    ylabel="true positive rate",
)
right.legend(loc="lower right")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "quickstart.png"
figure.savefig(picture, dpi=150)
print(f"Picture: {picture}")
