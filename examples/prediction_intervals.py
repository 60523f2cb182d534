"""
How sure is the prediction?
===========================

A regression returns one number for each variant. Split conformal prediction adds an interval that holds
the measured value for about 90 % of new variants, whatever the regression and whatever its errors look
like. The condition is that new variants come from where the calibration variants come from. This
example shows both sides: random new variants, and variants at positions that nobody measured.
"""

# %%
# The bundled model needs no download and is for trying out. Any other name works here.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, train_test_split
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.baselines import OneHotResidues
from sklearn_esm.datasets import load_gb1

MODEL = "esm2_t6_1M_bundled"
COVERAGE, REPEATS = 0.9, 20

gb1 = load_gb1()
embedding = make_pipeline(ESMEmbeddingTransformer(MODEL), StandardScaler())
features = make_union(OneHotResidues(reference=gb1.reference), embedding)
model = make_pipeline(features, RidgeCV(alphas=np.logspace(-1, 5, 13)))

# %%
# The whole method: fit on one part of the training data, and sort the absolute errors on the other
# part. The error at rank ceil((n + 1) x 0.9) of n is half the width of every interval (Vovk et al.
# 2005).


def half_width(model, X, y, random_state):
    """Fit the model on half of the data, and return half the width of its intervals."""
    fit, calibrate = train_test_split(np.arange(len(y)), test_size=0.5, random_state=random_state)
    model.fit(X[fit], y[fit])
    errors = np.sort(np.abs(y[calibrate] - model.predict(X[calibrate])))
    return errors[int(np.ceil((len(errors) + 1) * COVERAGE)) - 1]


# %%
# Every repeat draws other training and test variants.

splits = {
    "random variants": ShuffleSplit(REPEATS, test_size=0.2, random_state=0),
    "new positions": GroupShuffleSplit(REPEATS, test_size=0.2, random_state=0),
}
X, y, coverage, widths = gb1.data, gb1.target, {}, {}
for name, split in splits.items():
    coverage[name], widths[name] = [], []
    groups = gb1.positions if name == "new positions" else None
    for repeat, (train, test) in enumerate(split.split(X, y, groups=groups)):
        half = half_width(model, X[train], y[train], random_state=repeat)
        inside = np.abs(y[test] - model.predict(X[test])) <= half
        coverage[name].append(inside.mean())
        widths[name].append(2 * half)

print(f"{'new variants':<18}{'covered':>10}{'from':>8}{'to':>8}{'width':>8}")
for name, shares in coverage.items():
    print(
        f"{name:<18}{np.mean(shares):10.3f}{np.min(shares):8.3f}{np.max(shares):8.3f}"
        f"{np.mean(widths[name]):8.2f}"
    )

# %%
# Each point is a repeat. Intervals for random variants hold what they promise, on average. For new
# positions the promise does not apply, because the calibration variants are at positions that were
# measured. Calibrate on whole positions that were left out of the fit, if new positions are what you
# predict.

figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for place, (name, colour) in enumerate(zip(coverage, ["#0072B2", "#D55E00"], strict=True)):
    jitter = np.random.default_rng(0).uniform(-0.12, 0.12, REPEATS)
    axes.scatter(100 * np.array(coverage[name]), place + jitter, s=22, alpha=0.7, color=colour)
    axes.plot(
        2 * [100 * np.mean(coverage[name])], [place - 0.25, place + 0.25], color=colour, linewidth=2
    )
axes.axvline(100 * COVERAGE, color="0.4", linestyle="--")
axes.text(100 * COVERAGE, 1.5, "promised", ha="center", va="bottom", color="0.3")
axes.set_yticks([0, 1], list(coverage))
axes.set_ylim(-0.5, 1.5)
axes.set_xlabel("Measured values inside the interval (%)")
axes.spines[["top", "right"]].set_visible(False)

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "prediction_intervals.png", dpi=200)
