"""One random input: an estimator, sequences, and whether its output is fair-esm's."""

import re
from contextlib import nullcontext
from functools import cache

import numpy as np
import pytest
import soak_oracle as oracle
from fair_esm_oracle import FAMILIES, LAYERS, WIDTH, assert_faithful, rounding
from numpy.testing import assert_allclose
from soak_sequences import MASK, STANDARD, as_input, missing_row, random_residues, random_row

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

POOL = 300  # distinct sequences that inputs are drawn from
FAVOURITES = 12  # those of them that are drawn half of the time: a cache has them from another input
SCORED = 60  # those of them that are scored: each residue takes fair-esm a pass
OF_SEQUENCES = ["pseudo-perplexity", "pseudo-log-likelihood", "log-likelihood"]
OF_VARIANTS = ["masked-marginals", "wt-marginals"]
ROW = re.compile(r"\b(?:Sequence|Row) (\d+)\b")


def first_and_last(residues):
    return np.concatenate([residues[0], residues[-1]])


OVER_RESIDUES = {
    "mean": lambda residues: residues.mean(0),
    "max": lambda residues: residues.max(0),
    "min": lambda residues: residues.min(0),
    "sum": lambda residues: residues.sum(0),
    "std": lambda residues: residues.std(0),
    first_and_last: first_and_last,
}


class Input:
    """What one number of a seed stands for.

    Parameters
    ----------
    seed, number : int
        What it is drawn from; nothing else has an influence on it.
    checkpoints : dict of RandomCheckpoint
    folder : Path
        For the cache of those that have it in a folder.
    """

    def __init__(self, seed, number, checkpoints, folder):
        self.rng = rng = np.random.default_rng([seed, number])
        kind = rng.choice(["embedding", "likelihood", "marginals", "contacts"], p=[0.7, 0.1, 0.1, 0.1])
        families = [family for family in FAMILIES if kind != "contacts" or family != "esm1v"]
        self.family = str(rng.choice(families))
        self.checkpoint = checkpoints[self.family]
        self.parameters = self._common(folder, windows=kind != "contacts")
        self.refused = False  # whatever X is
        self.precomputes = False
        make = {
            "embedding": self._embedding,
            "likelihood": self._likelihood,
            "marginals": self._marginals,
            "contacts": self._contacts,
        }
        self.rows = self._rows(*_pool(seed), likely=kind == "likelihood")
        self.estimator, self._check = make[kind]()
        self.X = as_input(rng, self.rows)

    def __str__(self):
        return f"{self.estimator!r} on {[row.written for row in self.rows]!r}"

    def check(self):
        """Raise AssertionError where the output is not fair-esm's, or an error is not due.

        Returns
        -------
        bool
            Whether the input was refused, as it had to be.
        """
        bad = self._bad_rows()
        fit_first = bool(self.rng.random() < 0.5)
        due = pytest.raises(ValueError) if bad or self.refused else nullcontext()  # noqa: PT011
        with due as error:
            if fit_first:
                self.estimator.fit(self._fitted_to())
            else:
                self.estimator.fit(self.X)
            if self.precomputes:
                self.estimator.precompute(self.X)
            output = self.estimator.transform(self.X)
        if error is None:
            assert len(output) == len(self.rows)
            self._check(output)
        elif found := ROW.match(str(error.value)):
            assert int(found[1]) in bad
        else:
            assert self.refused
        return error is not None

    def _common(self, folder, windows):
        rng = self.rng
        limit = oracle.LIMITS[self.family]
        policies = ["error", "truncate", "window"][: 3 if windows else 2]
        max_length = None
        if rng.random() < 0.4:  # often one that another input has, with which it shares a cache
            max_length = int(rng.choice([5, 9, 30, rng.integers(1, (limit or 50) + 1)]))
        return {
            "overlong": str(rng.choice(policies)),
            "max_length": max_length,
            "invalid": str(rng.choice(["error", "unknown", "mask", "drop"])),
            "missing": str(rng.choice(["error", "nan"])),
            "batch_tokens": int(rng.choice([1, 7, 40, 150])) if rng.random() < 0.6 else None,
            "cache": [None, "memory", folder][rng.integers(3)],
            "device": "cpu",
        }

    def _rows(self, pool, scored, likely):
        rng = self.rng
        # an error is due at the first bad row: most inputs have none
        dirt = 0.1 if self.parameters["invalid"] == "error" else 0.4
        gaps = 0.05 if self.parameters["missing"] == "error" else 0.2
        dirt, gaps = (share if rng.random() < 0.5 else 0 for share in (dirt, gaps))
        rows = []
        for _ in range(rng.integers(1, 9)):
            if rows and rng.random() < 0.2:
                rows.append(rows[rng.integers(len(rows))])
            elif rng.random() < gaps:
                rows.append(missing_row(rng))
            else:
                some = scored if likely else pool
                few = FAVOURITES if rng.random() < 0.5 else len(some)
                rows.append(random_row(rng, some[rng.integers(few)], dirt))
        return rows

    def _limit(self):
        return self.parameters["max_length"] or oracle.LIMITS[self.family]

    def _window(self):
        return self._limit() if self.parameters["overlong"] == "window" else None

    def _residues(self):
        """What the model reads of each row, None where it is missing."""
        limit = self._limit() if self.parameters["overlong"] == "truncate" else None
        invalid = self.parameters["invalid"]
        left = [row.residues("drop" if invalid == "error" else invalid) for row in self.rows]
        return [residues and residues[:limit] for residues in left]

    def _bad_rows(self):
        """The numbers of the rows for any of which an error is due."""
        limit = self._limit() if self.parameters["overlong"] == "error" else None
        bad = set()
        for number, (row, residues) in enumerate(zip(self.rows, self._residues(), strict=True)):
            if self.parameters["invalid"] == "error" and row.is_invalid():
                bad.add(number)
            if residues is None and self.parameters["missing"] == "error":
                bad.add(number)
            if residues is not None and limit is not None and len(residues) > limit:
                bad.add(number)
            if residues is not None and self._must_score() and set(residues) == {MASK}:
                bad.add(number)
        return bad

    def _must_score(self):
        return bool(set(getattr(self.estimator, "method", [])) & set(OF_SEQUENCES))

    def _fitted_to(self):
        return [getattr(self.estimator, "reference", None) or "A"]

    # one kind each

    def _embedding(self):
        rng, checkpoint = self.rng, self.checkpoint
        layers = [int(one) for one in rng.permutation(LAYERS + 1)[: rng.integers(1, LAYERS + 2)]]
        layer = [layers, "all", layers[0], layers[0] - LAYERS - 1][rng.integers(4)]
        layers = {"all": list(range(LAYERS + 1))}.get(layer) if isinstance(layer, str) else layers
        if isinstance(layer, int):
            layers = layers[:1]
        known = [*OVER_RESIDUES, "bos", *(["eos"] if checkpoint.has_eos else [])]
        poolings = [known[i] for i in rng.permutation(len(known))[: rng.integers(1, 4)]]
        pooling = [poolings, poolings[0], None][rng.choice(3, p=[0.5, 0.35, 0.15])]
        poolings = poolings if pooling is poolings else poolings[:1]
        if rng.random() < 0.4:  # what most people ask for, and another input has asked for
            layer, layers, pooling, poolings = -1, [LAYERS], "mean", ["mean"]
        named = pooling is not None and all(isinstance(one, str) for one in poolings)
        self.precomputes = named and self.parameters["cache"] is not None and rng.random() < 0.3
        estimator = ESMEmbeddingTransformer(
            checkpoint.path, layer=layer, pooling=pooling, **self.parameters
        )

        def check(output):
            start = 0
            for layer in layers:
                for one in poolings if pooling is not None else [None]:
                    start = self._check_pooled(output, layer, one, start)
            if pooling is not None:
                assert output.dtype == np.float32
                assert start == output.shape[1]

        return estimator, check

    def _check_pooled(self, output, layer, pooling, start):
        """Compare the columns from ``start`` on, and return where they end."""
        end = start + (2 * WIDTH if pooling is first_and_last else WIDTH)
        ends = {"bos": 0, "eos": -1}
        for row, residues in enumerate(self._residues()):
            if residues is None:
                assert len(output[row]) == 0 if pooling is None else np.isnan(output[row]).all()
                continue
            tokens = oracle.states(self.checkpoint, residues, self._window())[layer].astype(np.float64)
            of_residues = tokens[1:-1] if self.checkpoint.has_eos else tokens[1:]
            if pooling is None:
                assert_faithful(output[row][:, start:end], of_residues)
            elif pooling in ends:
                assert_faithful(output[row, start:end], tokens[ends[pooling]])
            elif pooling == "std":  # what is left of numbers that are much larger, and as exact as they
                bound = 1e-5 * np.abs(of_residues).max()
                expected = OVER_RESIDUES[pooling](of_residues)
                assert_allclose(output[row, start:end], expected, rtol=0, atol=bound)
            else:
                assert_faithful(output[row, start:end], OVER_RESIDUES[pooling](of_residues))
        return end

    def _likelihood(self):
        rng = self.rng
        methods = [OF_SEQUENCES[i] for i in rng.permutation(3)[: rng.integers(1, 4)]]
        estimator = ESMLikelihoodTransformer(self.checkpoint.path, method=methods, **self.parameters)

        def check(output):
            expected = [[self._score(residues, one) for one in methods] for residues in self._residues()]
            assert output.dtype == np.float64
            assert_allclose(output, expected, rtol=rounding(self.checkpoint))

        return estimator, check

    def _score(self, residues, method):
        if residues is None:
            return np.nan
        masked = method != "log-likelihood"
        terms = oracle.log_probabilities(self.checkpoint, residues, masked, self._window())
        return np.exp(-terms.mean()) if method == "pseudo-perplexity" else terms.sum()

    def _marginals(self):
        rng = self.rng
        reference = random_residues(rng, longest=int(rng.choice([15, 50])), masks=False)
        self.rows = [
            missing_row(rng) if rng.random() < 0.05 else random_row(rng, _variant(rng, reference), 0)
            for _ in range(rng.integers(1, 6))
        ]
        limit = self._limit()
        self.refused = (
            self.parameters["overlong"] == "error" and limit is not None and len(reference) > limit
        )
        methods = [OF_VARIANTS[i] for i in rng.permutation(2)[: rng.integers(1, 3)]]
        estimator = ESMLikelihoodTransformer(
            self.checkpoint.path, method=methods, reference="".join(reference), **self.parameters
        )
        cut = reference[: limit if self.parameters["overlong"] == "truncate" else None]

        def check(output):
            expected = [
                [
                    np.nan
                    if residues is None
                    else oracle.marginal(
                        self.checkpoint, residues, cut, method == "masked-marginals", self._window()
                    )
                    for method in methods
                ]
                for residues in self._residues()
            ]
            # differences of numbers that are as exact as that
            assert_allclose(output, expected, rtol=1e-5, atol=rounding(self.checkpoint))

        return estimator, check

    def _contacts(self):
        kind = str(self.rng.choice(["map", "features"]))
        del self.parameters["batch_tokens"]  # a pass is one sequence
        estimator = ESMContactTransformer(self.checkpoint.path, output=kind, **self.parameters)

        def check(output):
            for row, residues in enumerate(self._residues()):
                if residues is None:
                    assert output[row].size == 0 if kind == "map" else np.isnan(output[row]).all()
                    continue
                expected = oracle.contacts(self.checkpoint, residues)
                if kind == "map":
                    assert_allclose(output[row], expected, rtol=0, atol=1e-5)
                    continue
                numbers, slack = oracle.contact_features(expected)
                assert (np.abs(output[row] - numbers) <= slack).all(), (output[row], numbers)

        return estimator, check


@cache
def _pool(seed):
    rng = np.random.default_rng([seed])
    return (
        [random_residues(rng) for _ in range(POOL)],
        [random_residues(rng, longest=45 if number % 6 == 0 else 12) for number in range(SCORED)],
    )


def _variant(rng, reference):
    variant = list(reference)
    for _ in range(rng.integers(0, 4)):
        variant[rng.integers(len(variant))] = str(rng.choice(list(STANDARD)))
    return tuple(variant)
