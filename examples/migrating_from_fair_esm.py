"""
From fair-esm to scikit-learn, line by line
===========================================

The snippet of fair-esm's README beside one line of this package: the same numbers, with the seconds that
both take.

Run it with another checkpoint in fair-esm's format: ``python examples/migrating_from_fair_esm.py
--checkpoint ~/.cache/torch/hub/checkpoints/esm2_t6_8M_UR50D.pt``.
"""

# %%
# The bundled model's file is in fair-esm's format, so that fair-esm can read it, too.

import argparse
import time
import warnings
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import esm
import matplotlib.pyplot as plt
import numpy as np
import torch

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_peptides

BUNDLED = Path(str(resources.files("sklearn_esm") / "bundled" / "esm2_t6_1M_bundled.pt"))
parser = argparse.ArgumentParser(description="fair-esm's snippet beside one line.")
parser.add_argument("--checkpoint", type=Path, default=BUNDLED, help="an ESM-2 model's .pt file")
parser.add_argument(
    "--output", type=Path, default=Path(__file__).parent / "output", help="folder of the picture"
)
options = parser.parse_args()

peptides = load_peptides()
sequences = peptides.data[:64].tolist()
print(f"{len(sequences)} peptides of {min(map(len, sequences))} to {max(map(len, sequences))} residues")

seconds = {}


@contextmanager
def clock(who, what):
    started = time.perf_counter()
    yield
    seconds[who, what] = time.perf_counter() - started


# %%
# Before: load the model. With a published name that is ``esm.pretrained.esm2_t6_8M_UR50D()``; with a
# file it is fair-esm's core loader, because its loader of files asks for a contact regression beside
# the weights, and reads them in a way that torch 2.6 and newer refuse. Torch's weights-only reader takes
# the file with one class allowed, and runs nothing in it.

with clock("fair-esm", "load"), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # no contact regression: embeddings need none
    with torch.serialization.safe_globals([argparse.Namespace]):
        data = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    data["model"] = {name: tensor.float() for name, tensor in data["model"].items()}
    model, alphabet = esm.pretrained.load_model_and_alphabet_core("esm2", data)
    batch_converter = alphabet.get_batch_converter()
    model.eval()  # disables dropout for deterministic results

# %%
# After: name it. Nothing is loaded yet, which is why an estimator can be cloned and pickled.

with clock("sklearn-esm", "load"):
    embed = ESMEmbeddingTransformer(options.checkpoint, cache=None).fit(sequences)
    embed.transform(sequences[:1])  # the first call reads the weights

# %%
# Before: label the sequences, pad them to a batch, count tokens, run, cut BOS, EOS and padding off, and
# average. The ``1 : tokens_len - 1`` is where BOS and EOS go; forget it and they are averaged in.


def fair_esm_means(sequences, layer):
    data = [(f"peptide{number}", sequence) for number, sequence in enumerate(sequences)]
    _, _, batch_tokens = batch_converter(data)
    batch_lens = (batch_tokens != alphabet.padding_idx).sum(1)
    with torch.no_grad():
        results = model(batch_tokens, repr_layers=[layer])
    token_representations = results["representations"][layer]
    sequence_representations = []
    for i, tokens_len in enumerate(batch_lens):
        sequence_representations.append(token_representations[i, 1 : tokens_len - 1].mean(0))
    return torch.stack(sequence_representations).numpy()


# %%
# After: one line, for lists, columns of a data frame or records of a FASTA file. It stands in a pipeline
# like any other transformer, and with a cache (the default) cross-validation runs each sequence once.


def sklearn_esm_means(sequences, layer):
    return ESMEmbeddingTransformer(options.checkpoint, layer=layer, cache=None).fit_transform(sequences)


# %%
# The other things that are often wanted. States of single residues: there ``pooling=None``, here what is
# left of each row without BOS, EOS and padding. The greatest state of each column: ``pooling="max"``.


def fair_esm_residues(sequences, layer):
    _, _, batch_tokens = batch_converter([("", sequence) for sequence in sequences])
    with torch.no_grad():
        states = model(batch_tokens, repr_layers=[layer])["representations"][layer]
    return [states[i, 1 : len(sequence) + 1].numpy() for i, sequence in enumerate(sequences)]


def sklearn_esm_residues(sequences, layer):
    embed = ESMEmbeddingTransformer(options.checkpoint, layer=layer, pooling=None, cache=None)
    return list(embed.fit_transform(sequences))


# %%
# The numbers agree to what is left of float32's seven digits after long sums in another order. The
# difference is relative to the largest number of a row, for a single number near zero is the rest of far
# larger ones.


def largest_difference(actual, expected):
    pairs = zip(actual, expected, strict=True)
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)


def median_seconds(function, *arguments, repeats=3):
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - started)
    return result, float(np.median(times))


last = model.num_layers
tasks = {
    "mean, last layer": (fair_esm_means, sklearn_esm_means, last),
    "mean, middle layer": (fair_esm_means, sklearn_esm_means, last // 2),
    "residues, last layer": (fair_esm_residues, sklearn_esm_residues, last),
}
differences = {}
for what, (before, after, layer) in tasks.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about the masks that fair-esm passes
        expected, seconds["fair-esm", what] = median_seconds(before, sequences, layer)
    actual, seconds["sklearn-esm", what] = median_seconds(after, sequences, layer)
    differences[what] = largest_difference(actual, expected)
    assert differences[what] < 1e-5

print(f"\n{'':22}{'fair-esm':>10}{'sklearn-esm':>13}{'largest relative':>19}")
print(f"{'':22}{'seconds':>10}{'seconds':>13}{'difference':>19}")
for what in ("load", *tasks):
    row = f"{what:22}{seconds['fair-esm', what]:10.3f}{seconds['sklearn-esm', what]:13.3f}"
    print(row + (f"{differences[what]:19.1e}" if what in differences else ""))

# %%
# The picture: every number of the means of the last layer, computed both ways, and the seconds.

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6), layout="constrained")
before, after, layer = tasks["mean, last layer"]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = before(sequences, layer).ravel()
left.scatter(theirs, after(sequences, layer).ravel(), s=5, c="#0072B2", alpha=0.3, linewidths=0)
left.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0)
left.set(
    title=f"{theirs.size:,} numbers, differences up to {differences['mean, last layer']:.1e} of a row",
    xlabel="fair-esm",
    ylabel="sklearn-esm",
    aspect="equal",
)
places = np.arange(len(tasks))
for shift, who, colour in ((-0.2, "sklearn-esm", "#0072B2"), (0.2, "fair-esm", "#D55E00")):
    times = [seconds[who, what] for what in tasks]
    bars = right.barh(places + shift, times, height=0.38, color=colour, label=who)
    right.bar_label(bars, fmt="%.3f", padding=3)
right.set_yticks(places, tasks)
right.invert_yaxis()
right.margins(x=0.15)
right.set(title=f"{len(sequences)} peptides, model loaded", xlabel="seconds (median of 3)")
figure.legend(loc="outside lower right", ncols=2, frameon=False)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

options.output.mkdir(parents=True, exist_ok=True)
picture = options.output / "migrating_from_fair_esm.png"
figure.savefig(picture, dpi=150)
print(f"\nPicture: {picture}")

# %%
# What is not the same, on purpose: fair-esm drops white space without a word and stops at ``*`` with a
# bare KeyError. Here every such character is an error that names row, position and remedy, until
# ``invalid`` says what should become of it.

for title, sequence in {"a stop codon": "GIGKFLHS*", "a gap": "GIGK-FLHS"}.items():
    try:
        embed.transform([sequence])
    except ValueError as error:
        print(f"\n{title}: {error}")
