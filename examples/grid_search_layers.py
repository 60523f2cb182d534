"""
Which layer, which pooling? A whole search from one pass
========================================================

Every layer, three poolings and two classifiers in one grid search, with the forward passes and the
seconds that it takes without a cache, with one, and a second time.

Run it with another model: ``python examples/grid_search_layers.py --model esm2_t6_8M_UR50D``; of a
deep one a few layers may do: ``--model esm2_t33_650M_UR50D --layers 0 11 22 33``.
"""

# %%
# The bundled model needs no download and is for trying out; any ESM name or checkpoint path works.

import argparse
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides
from sklearn_esm.display import LayerSweepDisplay

parser = argparse.ArgumentParser(description="A grid search over layers, poolings and classifiers.")
parser.add_argument("--model", default="esm2_t6_1M_bundled", help="model name or checkpoint path")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
parser.add_argument("--layers", type=int, nargs="+", help="a few of them, evenly spread (default: all)")
options = parser.parse_args()

# %%
# Sequences in, labels beside them. As in the quick start, peptides that share many triplets of
# residues are one family, and a family goes into one fold.

peptides = load_peptides()
sequences, y = peptides.data, peptides.target

triplets = CountVectorizer(analyzer="char", ngram_range=(3, 3), binary=True, lowercase=False)
families = AgglomerativeClustering(
    n_clusters=None, metric="cosine", linkage="average", distance_threshold=0.9
).fit_predict(triplets.fit_transform(sequences).toarray())
folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=0)

# %%
# Layer and pooling are parameters of the first step, and the last step as a whole is one, too. Mean
# and max are over the residues. BOS, the token before the first residue, is what is commonly taken
# of language models for text; ESM was not trained to sum a sequence up in it.

embed = ESMEmbeddingTransformer(options.model).fit(sequences)
layers = sorted(set(options.layers or range(embed.n_layers_ + 1)))
poolings = ["mean", "max", "bos"]
classifiers = {
    "logistic regression": LogisticRegression(C=0.1, max_iter=1000),
    "support vector machine": SVC(),
}
grid = {
    "embed__layer": layers,
    "embed__pooling": poolings,
    "classifier": list(classifiers.values()),
}
candidates = len(ParameterGrid(grid))
print(
    f"{len(sequences)} peptides, {len(set(families))} families; {candidates} candidates: "
    f"{len(layers)} layers x {len(poolings)} poolings x {len(classifiers)} classifiers"
)


def search(grid, cache):
    """Cross-validate every candidate of a grid, with a new pipeline."""
    pipeline = Pipeline(
        [
            ("embed", ESMEmbeddingTransformer(options.model, cache=cache)),
            ("scale", StandardScaler()),
            ("classifier", LogisticRegression()),
        ]
    )
    # nothing is predicted here, so the best candidate need not be fitted again on all peptides
    searched = GridSearchCV(pipeline, grid, scoring="roc_auc", cv=folds, refit=False)
    return searched.fit(sequences, y, groups=families)


# %%
# A pass is one sequence run through the model. The caches count them, in this process; with
# ``n_jobs`` the workers' passes would be missing from the count. Torch and the model are loaded
# beforehand, so that no time below includes it.

ESMEmbeddingTransformer(options.model, cache=None).fit_transform(sequences[:8])

print(f"{'':36}  passes  seconds")


def report(what, passes, seconds):
    print(f"{what:36}  {passes:6,}  {seconds:7.1f}", flush=True)


def measure(what, cache, task):
    """Call a function, and print the passes and seconds it took."""
    counter = ESMEmbeddingTransformer(options.model, cache=cache)
    before, started = counter.cache_info().misses, time.perf_counter()
    result = task()
    seconds = time.perf_counter() - started
    passes = counter.cache_info().misses - before
    report(what, passes, seconds)
    return result, passes, seconds


# %%
# Without a cache every fold of every candidate embeds all peptides, those to train on and those to
# test on. That is long to wait for, so a few candidates are measured: with each classifier, mean
# pooling of the middle layer. The model is run up to the layer asked for and no further, so that
# the middle one takes about the mean time of all. The line after it is arithmetic.

middle = len(layers) // 2
few = {
    "embed__layer": [layers[middle]],
    "embed__pooling": ["mean"],
    "classifier": list(classifiers.values()),
}
measured = len(ParameterGrid(few))
uncached, passes, seconds = measure(f"no cache, {measured} candidates", None, lambda: search(few, None))
times = candidates // measured
report(f"no cache, all: {times} x that, not run", times * passes, times * seconds)

# %%
# ``precompute`` runs each peptide once, keeps every layer and pooling of the pass, and the search
# finds them all. Without ``precompute`` a cache would still be of use, but each pair of layer and
# pooling would be a pass of its own. A folder outlives the process and is shared with others, so
# the same search tomorrow runs nothing: here a new estimator reads what the first one left.

folder = tempfile.TemporaryDirectory()
cached = ESMEmbeddingTransformer(options.model, cache=folder.name)
measure(
    "precompute into a folder",
    folder.name,
    lambda: cached.precompute(sequences, layers=layers, poolings=poolings),
)
first, *_ = measure("search of all candidates", folder.name, lambda: search(grid, folder.name))
again, *_ = measure("search again, new estimator", folder.name, lambda: search(grid, folder.name))
folder.cleanup()

# %%
# What the search found, as ROC AUC, a panel for each classifier. Layer 0 is the token embeddings, where
# BOS is the same vector for every sequence and worth nothing: 0.5, which is far below the picture.

figure, panels = plt.subplots(1, len(classifiers), figsize=(11, 5.4), sharey=True, layout="constrained")
sweeps = {
    name: LayerSweepDisplay.from_search(first, where={"classifier": classifier}, ax=axes)
    for (name, classifier), axes in zip(classifiers.items(), panels, strict=True)
}
for name, axes in zip(sweeps, panels, strict=True):
    axes.set(
        title=f"{name}\n{axes.get_title()}", ylabel="ROC AUC (mean and sd of 5 folds; 0.5 is chance)"
    )
    axes.label_outer()
    axes.spines[["top", "right"]].set_visible(False)
bottom = min((s.mean_scores - s.std_scores)[s.mean_scores > 0.5].min() for s in sweeps.values())
panels[0].set_ylim(np.floor(20 * bottom) / 20, 1)
figure.suptitle("Antimicrobial or hormone: which layer, which pooling? Families held out")

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "grid_search_layers.png"
figure.savefig(picture, dpi=150)

# %%
# The cache changes no score. The best layer of each classifier and pooling:

same = max(sweep.mean_scores[poolings.index("mean"), middle] for sweep in sweeps.values())
print(
    f"\nBest of the {measured} without a cache: {uncached.best_score_:.4f}, of the same with it: "
    f"{same:.4f}; best of all: {first.best_score_:.4f}, and again {again.best_score_:.4f}"
)
width = max(map(len, classifiers))
print(f"\n{'classifier':{width}}  pooling  best layer  ROC AUC  sd over folds")
for classifier, sweep in sweeps.items():
    for pooling, mean, deviation in zip(poolings, sweep.mean_scores, sweep.std_scores, strict=True):
        best = np.argmax(mean)
        print(
            f"{classifier:{width}}  {pooling:7}  {layers[best]:10}  {mean[best]:7.3f}"
            f"  {deviation[best]:13.3f}"
        )
print(f"\nPicture: {picture}")

# %%
# Mean pooling is what to begin with. Which layer it is taken from matters less: most differences are
# smaller than the spread over the folds, so that another shuffle may well choose another layer. And
# the support vector machine does as well on layer 0 of the bundled model as on any other, where the
# mean is amino-acid composition in other coordinates: look at layer 0 before you praise a model.
#
# Do not publish the best score. It is the largest of many scores on the same folds, and the largest
# is partly luck: it flatters the winner, and the more so the more candidates there were. Take the
# number you report from families that no candidate was scored on: a held-out set, or nested
# cross-validation, with the whole search inside each outer fold. With the cache filled, that costs
# many fits of classifiers, and no passes.
