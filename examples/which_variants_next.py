"""
Which variants should be measured next?
=======================================

A laboratory can measure 16 variants a week. This simulation starts with 16 random single substitutions
of protein G's domain B1 and chooses 16 more in each round, from the 1,045 whose effects are known. A
Gaussian process on embeddings predicts a mean and a standard deviation for each variant that is not
measured. Expected improvement uses both, the greedy choice uses the mean alone, and the random choice
uses nothing.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_gb1

MODEL = "esm2_t6_1M_bundled"
ROUNDS, BATCH, SEEDS = 8, 16, 20

# %%
# Each variant is embedded once. The difference to the wild type removes what all variants share.

gb1 = load_gb1()
y = gb1.target
embed = ESMEmbeddingTransformer(MODEL)
X = embed.fit_transform(gb1.data) - embed.transform([gb1.reference])
X = make_pipeline(StandardScaler(), PCA(10)).fit_transform(X)
X /= X.std()
print(f"{len(y)} variants, of which {(y > 0.5).sum()} are much better than the wild type (effect > 0.5)")

# %%
# A Gaussian process is fitted again in each round. Its kernel has few parameters, because the first
# round has 16 measurements.


def predict(measured):
    kernel = ConstantKernel(1.0) * RBF(2.0, (0.1, 100)) + WhiteKernel(0.3, (1e-4, 10))
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    model.fit(X[measured], y[measured])
    return model.predict(X, return_std=True)


def expected_improvement(measured, rng):
    mean, std = predict(measured)
    better = mean - y[measured].max()
    return better * norm.cdf(better / std) + std * norm.pdf(better / std)


def greedy(measured, rng):
    return predict(measured)[0]


def random(measured, rng):
    return rng.random(len(y))


# %%
# Each seed is another start. All three ways have the same 20 starts.


def simulate(score, seed):
    """Return the effects measured after each round, ``(rounds, variants)``."""
    rng = np.random.default_rng(seed)
    measured = rng.choice(len(y), BATCH, replace=False)
    effects = [y[measured]]
    for _ in range(ROUNDS - 1):
        scores = score(measured, rng)
        scores[measured] = -np.inf
        measured = np.concatenate([measured, np.argsort(scores)[-BATCH:]])
        effects.append(y[measured])
    return effects


ways = {"expected improvement": expected_improvement, "greedy": greedy, "random": random}
found = {
    name: np.array(
        [[(some > 0.5).sum() for some in simulate(score, seed)] for seed in range(SEEDS)], dtype=float
    )
    for name, score in ways.items()
}
print(f"\nVariants with an effect above 0.5 after {ROUNDS} rounds, mean of {SEEDS} starts:")
for name, counts in found.items():
    error = counts[:, -1].std(ddof=1) / np.sqrt(SEEDS)
    print(f"{name:<22}{counts[:, -1].mean():6.1f} (standard error {error:.1f})")

# %%
# The bands are one standard error of the mean.

figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
measurements = BATCH * np.arange(1, ROUNDS + 1)
for colour, (name, counts) in zip(["#D55E00", "#0072B2", "0.5"], found.items(), strict=True):
    mean, error = counts.mean(axis=0), counts.std(axis=0, ddof=1) / np.sqrt(SEEDS)
    axes.plot(measurements, mean, "o-", color=colour, markersize=4, label=name)
    axes.fill_between(measurements, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
axes.set(
    xlabel="Variants measured",
    ylabel="Found with an effect above 0.5",
    title=f"Mean of {SEEDS} starts, batches of {BATCH}",
)
axes.set_xticks(measurements)
axes.set_ylim(bottom=0)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "which_variants_next.png", dpi=200)
