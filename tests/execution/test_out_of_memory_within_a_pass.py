"""A GPU runs out of memory in the middle of a pass: no result is lost, changed or computed twice."""

import weakref

import pytest
import torch
from fair_esm_oracle import RandomCheckpoint, assert_faithful, save_random_regression
from numpy.testing import assert_array_equal

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._engine import PackedModel
from sklearn_esm._execution import _workers
from sklearn_esm._execution._outputs import PooledStates

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
SEQUENCES = [RESIDUES[: 5 + row % 14] for row in range(14)]
LONG = [("MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ" * 3)[: 70 + row] for row in range(3)]
WINDOWS = {"overlong": "window", "max_length": 20}
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
MPS = RuntimeError("MPS backend out of memory (MPS allocated: 17 GB, max allowed: 18 GB).")

OUTPUTS = {
    "pooled": (ESMEmbeddingTransformer, {"layer": "all", "pooling": ["mean", "max"]}, SEQUENCES),
    "residues": (ESMEmbeddingTransformer, {"layer": [1, 3], "pooling": None}, SEQUENCES),
    "pooled windows": (ESMEmbeddingTransformer, {"layer": [0, 1, 3], **WINDOWS}, LONG),
    "residues of windows": (
        ESMEmbeddingTransformer,
        {"layer": [1, 3], "pooling": None, **WINDOWS},
        [*LONG, *SEQUENCES],
    ),
    "likelihood": (ESMLikelihoodTransformer, {"method": "log-likelihood"}, SEQUENCES),
    "masked": (ESMLikelihoodTransformer, {"method": "pseudo-log-likelihood"}, SEQUENCES),
    "likelihood windows": (ESMLikelihoodTransformer, {"method": "log-likelihood", **WINDOWS}, LONG),
    "masked windows": (ESMLikelihoodTransformer, {"method": "pseudo-perplexity", **WINDOWS}, LONG),
}


@pytest.fixture
def gpu(monkeypatch):
    """Passes one after the other, as on a GPU, and the tokens of those that ran to their end.

    Call ``limit`` for a device that fails after the second block if a pass has more than so many tokens,
    once a number of passes have fitted.
    """
    monkeypatch.setattr(_workers, "batches_at_a_time", lambda *_: 1)
    run_blocks = PackedModel._run_blocks

    class Gpu:
        most, error, fitted = 10**9, CUDA, 0
        started, done = [], []

        def limit(self, most, error=CUDA, fitted=0):
            self.most, self.error, self.fitted = most, error, fitted
            self.started.clear()
            self.done.clear()

    gpu = Gpu()

    def running(model, x, groups, number):
        gpu.started.append((len(x), weakref.ref(x)))
        for layer in run_blocks(model, x, groups, number):
            if len(x) > gpu.most and layer == 2 and len(gpu.done) >= gpu.fitted:
                # a new one each time, because an error collects the frames it passes through
                raise type(gpu.error)(*gpu.error.args)
            yield layer
        gpu.done.append(len(x))

    monkeypatch.setattr(PackedModel, "_run_blocks", running)
    gpu.limit(gpu.most)
    return gpu


@pytest.fixture
def fresh(checkpoint, tmp_path):
    """A model for which no batch has been too large yet."""
    path = tmp_path / "fresh.pt"
    path.write_bytes(checkpoint.path.read_bytes())
    return path


def run(kind, path, sequences, parameters):
    return kind(path, **{"cache": None, "batch_tokens": 200, **parameters}).fit_transform(sequences)


def assert_equal_rows(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert_faithful(one, other)


@pytest.mark.parametrize("error", [CUDA, MPS], ids=["cuda", "mps"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_complete_and_no_pass_is_run_twice(fresh, checkpoint, gpu, name, error):
    kind, parameters, sequences = OUTPUTS[name]
    expected = run(kind, checkpoint.path, sequences, parameters)
    tokens = sum(gpu.done)
    gpu.limit(60, error)
    with pytest.warns(RuntimeWarning, match="Smaller batches"):
        actual = run(kind, fresh, sequences, parameters)
    assert_equal_rows(actual, expected)
    assert sum(gpu.done) == tokens
    assert max(gpu.done) <= 60 < max(size for size, _ in gpu.started)


@pytest.mark.parametrize("pooling", ["mean", None])
@pytest.mark.parametrize("fitted", [1, 2, 3])
def test_windows_from_before_a_failure_are_joined_with_those_after_it(
    fresh, checkpoint, gpu, fitted, pooling
):
    # 29 windows of 22 tokens in passes of 9: when the fourth fails, the windows of the others are kept,
    # and the whole sequence is joined at layer 1 already
    sequences = [RESIDUES * 15]
    parameters = {"layer": [1, 3], "pooling": pooling, **WINDOWS}
    expected = run(ESMEmbeddingTransformer, checkpoint.path, sequences, parameters)
    assert gpu.done == [198, 198, 198, 44]
    gpu.limit(30, fitted=fitted)
    with pytest.warns(RuntimeWarning, match="Smaller batches"):
        actual = run(ESMEmbeddingTransformer, fresh, sequences, parameters)
    assert_equal_rows(actual, expected)
    assert gpu.done[: fitted + 1] == [198] * fitted + [22]


def test_passes_after_a_failure_have_the_bits_of_passes_without_one(fresh, gpu, monkeypatch):
    parameters = {"layer": [1, 3], "pooling": None, **WINDOWS}
    run_pass, passed = PooledStates.run, []

    def recorded(output, model, pieces, parts):
        results = run_pass(output, model, pieces, parts)
        passed.append((output, model, pieces))
        return results

    monkeypatch.setattr(PooledStates, "run", recorded)
    gpu.limit(60)
    with pytest.warns(RuntimeWarning, match="Smaller batches"):
        actual = run(ESMEmbeddingTransformer, fresh, LONG, parameters)
    # the passes that succeeded, once more with no failure between them
    gpu.limit(10**9)
    parts: dict = {}
    for output, model, pieces in passed:
        for (row,), column, (values,) in run_pass(output, model, pieces, parts):
            width = values.shape[1]
            assert_array_equal(actual[row][:, column * width :][:, :width], values)
    assert len(passed) > 4


def test_the_cache_has_every_vector_once(fresh, checkpoint, gpu, folder):
    parameters = {"layer": "all", "pooling": ["mean", "max"]}
    expected = run(ESMEmbeddingTransformer, checkpoint.path, SEQUENCES, parameters)
    gpu.limit(60)
    with pytest.warns(RuntimeWarning, match="Smaller batches"):
        run(ESMEmbeddingTransformer, fresh, SEQUENCES, {**parameters, "cache": folder})
    gpu.limit(0)  # nothing can run now
    assert_equal_rows(
        run(ESMEmbeddingTransformer, fresh, SEQUENCES, {**parameters, "cache": folder}), expected
    )
    assert gpu.started == []


def test_another_model_starts_with_the_full_batch(fresh, gpu):
    gpu.limit(60)
    sizes = {}
    for dtype in ("float32", "bfloat16"):
        gpu.started.clear()
        with pytest.warns(RuntimeWarning, match="Smaller batches"):
            run(ESMEmbeddingTransformer, fresh, SEQUENCES, {"dtype": dtype})
        sizes[dtype] = [size for size, _ in gpu.started]
    assert sizes["float32"] == sizes["bfloat16"]
    assert sizes["float32"][0] > 60


def test_tensors_of_a_failed_pass_are_freed_before_the_next(fresh, gpu, monkeypatch):
    gpu.limit(60)
    alive = []
    empty_cache = torch.cuda.empty_cache

    def emptied():
        alive.append(gpu.started[-1][1]() is not None)
        empty_cache()

    monkeypatch.setattr(torch.cuda, "empty_cache", emptied)
    with pytest.warns(RuntimeWarning, match="Smaller batches"):
        run(ESMEmbeddingTransformer, fresh, SEQUENCES, {})
    assert alive
    assert not any(alive)


def test_contact_map_that_does_not_fit_is_named(fresh, gpu):
    # one sequence at a time, so there is nothing to halve
    gpu.limit(16)
    save_random_regression(RandomCheckpoint(fresh, "esm2"))
    contacts = ESMContactTransformer(fresh, cache=None)
    with pytest.raises(MemoryError, match=r"ACDEFGHIKLMNPQRSTV \(18 residues\).*even alone"):
        contacts.fit_transform(SEQUENCES)


def test_other_errors_of_torch_are_not_tried_again(fresh, gpu):
    gpu.limit(60, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(ESMEmbeddingTransformer, fresh, SEQUENCES, {})
    assert len(gpu.started) == 1
