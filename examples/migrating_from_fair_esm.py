"""
Does one line return the numbers of fair-esm?
=============================================

This page compares the snippet of fair-esm's README with one line of this package, on 64 peptides. The
promise is that no number differs by more than 1e-5 of the largest number of its vector.
"""

# %%
# The bundled model is a file in fair-esm's format, so fair-esm reads it, too. Any ESM-2 model works
# here, for example ``~/.cache/torch/hub/checkpoints/esm2_t6_8M_UR50D.pt``.

from importlib import resources
from pathlib import Path

CHECKPOINT = Path(str(resources.files("sklearn_esm") / "bundled" / "esm2_t6_1M_bundled.pt"))

# %%
# The peptides have different lengths, so fair-esm pads them.

from sklearn_esm.datasets import load_peptides

sequences = load_peptides().data[:64].tolist()
print(f"{len(sequences)} peptides of {min(map(len, sequences))} to {max(map(len, sequences))} residues")

# %%
# **Before: load the model.** With a published name this is ``esm.pretrained.esm2_t6_8M_UR50D()``. For a
# file it is fair-esm's core loader, because torch 2.6 and newer refuse its loader of files. The
# weights-only reader of torch needs one class on its list and runs no code from the file.

import argparse
import warnings

import esm
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # no contact regression: embeddings need none
    with torch.serialization.safe_globals([argparse.Namespace]):
        data = torch.load(CHECKPOINT, map_location="cpu", weights_only=True)
    data["model"] = {name: tensor.float() for name, tensor in data["model"].items()}
    model, alphabet = esm.pretrained.load_model_and_alphabet_core("esm2", data)
batch_converter = alphabet.get_batch_converter()
model.eval()  # disables dropout for deterministic results

# %%
# **Before: embed.** Label the sequences, pad them to a batch, count tokens, run the model, remove BOS,
# EOS and padding, and average. Without ``1 : tokens_len - 1`` the mean includes BOS and EOS.


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
# **After.** The estimator loads the weights at the first call. It accepts lists, columns of a data frame
# and records of a FASTA file. It has no cache here, so that each call runs the model.

from sklearn_esm import ESMEmbeddingTransformer


def sklearn_esm_means(sequences, layer):
    return ESMEmbeddingTransformer(CHECKPOINT, layer=layer, cache=None).fit_transform(sequences)


# %%
# States of single residues are ``pooling=None``. The largest state of each column is ``pooling="max"``.


def fair_esm_residues(sequences, layer):
    _, _, batch_tokens = batch_converter([("", sequence) for sequence in sequences])
    with torch.no_grad():
        states = model(batch_tokens, repr_layers=[layer])["representations"][layer]
    return [states[i, 1 : len(sequence) + 1].numpy() for i, sequence in enumerate(sequences)]


def sklearn_esm_residues(sequences, layer):
    embed = ESMEmbeddingTransformer(CHECKPOINT, layer=layer, pooling=None, cache=None)
    return list(embed.fit_transform(sequences))


# %%
# The difference of a peptide is the largest one of its numbers, divided by the largest number. Seconds
# are the median of three calls on loaded weights.

import time

import numpy as np


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
sklearn_esm_means(sequences, last)  # loads the weights
differences = {}
print(f"\n{'':22}{'fair-esm':>10}{'sklearn-esm':>13}{'largest relative':>19}")
print(f"{'':22}{'seconds':>10}{'seconds':>13}{'difference':>19}")
for name, (before, after, layer) in tasks.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about the masks that fair-esm passes
        expected, slow = median_seconds(before, sequences, layer)
    actual, fast = median_seconds(after, sequences, layer)
    differences[name] = [
        np.abs(ours - theirs).max() / np.abs(theirs).max()
        for ours, theirs in zip(actual, expected, strict=True)
    ]
    print(f"{name:22}{slow:10.3f}{fast:13.3f}{max(differences[name]):19.1e}")

# %%
# Each point is a peptide.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(sequences))
for place, of_task in enumerate(differences.values()):
    axes.scatter(of_task, place + jitter, s=20, alpha=0.6, linewidths=0)
axes.axvline(1e-5, color="0.3", linestyle="--")
axes.annotate("promise: 1e-5", (1e-5, 1), (-4, 0), textcoords="offset points", ha="right")
axes.set_xscale("log")
axes.set_xlim(right=2e-5)
axes.set_yticks(range(len(tasks)), list(tasks))
axes.invert_yaxis()
axes.set(xlabel="Largest difference from fair-esm, relative", title=f"{len(sequences)} peptides")

output = Path(__file__).parent / "output"
output.mkdir(exist_ok=True)
figure.savefig(output / "migrating_from_fair_esm.png", dpi=200)

# %%
# All differences are below the promise by a factor of ten or more. They are not zero, because float32
# rounds sums in another order differently.
#
# Characters are handled differently on purpose. fair-esm drops white space silently and stops at ``*``
# with a bare KeyError. Here such a character is an error that names row, position and fix. Set
# ``invalid`` to accept it.

embed = ESMEmbeddingTransformer(CHECKPOINT).fit(sequences)
for title, sequence in {"a stop codon": "GIGKFLHS*", "a gap": "GIGK-FLHS"}.items():
    try:
        embed.transform([sequence])
    except ValueError as error:
        print(f"\n{title}: {error}")
