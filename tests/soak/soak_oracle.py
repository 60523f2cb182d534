"""fair-esm's answers for any sequence, whole or in windows, each forward pass made once."""

import warnings
from functools import cache

import numpy as np
import torch
from fair_esm_oracle import LAYERS, SPECIAL_BEFORE, fair_esm, fair_esm_contacts, fair_esm_log_probability

# in residues; of the random ESM-1b and ESM-1v
LIMITS = {"esm2": None, "esm1b": 40, "esm1v": 40, "esm1": None}
BANDS = [(6, 12), (12, 24), (24, None)]  # of separations along the chain: short, medium and long


@cache
def whole_states(checkpoint, residues):
    """Hidden states of every layer, ``(layers + 1, tokens, width)``."""
    model, converter = fair_esm(checkpoint)
    _, _, tokens = converter([("", "".join(residues))])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about masks that fair-esm passes
        found = model(tokens, repr_layers=range(LAYERS + 1))["representations"]
    return np.stack([found[layer][0].numpy() for layer in range(LAYERS + 1)])


@cache
def states(checkpoint, residues, window):
    """The same, of a sequence longer than ``window`` token by token from the most central window."""
    if window is None or len(residues) <= window:
        return whole_states(checkpoint, residues)
    last = len(residues) - window
    starts = [*range(0, last, max(1, window // 2)), last]
    windows = [whole_states(checkpoint, residues[start : start + window]) for start in starts]
    tokens = [windows[0][:, 0]]  # BOS
    for position in range(len(residues)):
        ends = [min(position - start, start + window - 1 - position) for start in starts]
        best = int(np.argmax(ends))  # the first of equals
        tokens.append(windows[best][:, SPECIAL_BEFORE + position - starts[best]])
    if checkpoint.has_eos:
        tokens.append(windows[-1][:, -1])
    return np.stack(tokens, axis=1)


def residue_states(checkpoint, residues, window):
    """Hidden states of the residues alone, ``(layers + 1, residues, width)``."""
    found = states(checkpoint, residues, window)
    return found[:, SPECIAL_BEFORE:-1] if checkpoint.has_eos else found[:, SPECIAL_BEFORE:]


@cache
def log_probabilities(checkpoint, residues, masked, window):
    """Of every residue that is no mask, ``(scored residues,)``."""
    text = "".join(residues)
    return np.array(
        [
            fair_esm_log_probability(checkpoint, text, position, masked=masked, window=window)
            for position, residue in enumerate(residues)
            if residue != "<mask>"
        ]
    )


def marginal(checkpoint, variant, reference, masked, window):
    """The sum of what each substitution changes."""
    text, total = "".join(reference), 0.0
    for position, (new, old) in enumerate(zip(variant, reference, strict=True)):
        if new != old:
            how = {"masked": masked, "window": window}
            total += fair_esm_log_probability(checkpoint, text, position, new, **how)
            total -= fair_esm_log_probability(checkpoint, text, position, **how)
    return total


@cache
def contacts(checkpoint, residues):
    (found,) = fair_esm_contacts(checkpoint, ["".join(residues)])
    return found


def contact_features(found):
    """The summary of a map by loops over pairs, and by how much each number may be off."""
    residues = len(found)
    pairs = [(j - i, float(found[i, j])) for i in range(residues) for j in range(i + 6, residues)]
    numbers, slack = [], []
    for low, end in BANDS:
        band = [p for apart, p in pairs if low <= apart < (end or residues)]
        numbers += [sum(p > 0.5 for p in band), float(np.mean(band)) if band else 0.0]
        slack += [sum(abs(p - 0.5) < 1e-5 for p in band), 1e-5]
    total = sum(p for _, p in pairs)
    numbers.append(sum(p * apart for apart, p in pairs) / (residues * total) if pairs else 0.0)
    return np.array(numbers), np.array([*slack, 1e-4])
