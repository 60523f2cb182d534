"""A GPU whose memory is too small: batches are halved, and the vectors stay the same."""

import warnings

import numpy as np
import pytest
import torch
from fair_esm_oracle import assert_faithful, fair_esm_residues

from sklearn_esm import ESMEmbeddingTransformer, _engine
from sklearn_esm._execution import _workers

SEQUENCES = ["ACDEFGHIKLMNPQRSTVWY"[: 5 + row % 16] for row in range(24)]
LONG = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ" * 4


@pytest.fixture
def small_device(monkeypatch):
    """Make the device run out of memory above a number of tokens; the sizes of all batches tried."""
    tried = []
    hidden_states = _engine.hidden_states

    def limited(most):
        def running(model, sequences, layers):
            tried.append(sum(len(sequence) + 2 for sequence in sequences))
            if tried[-1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return hidden_states(model, sequences, layers)

        monkeypatch.setattr(_engine, "hidden_states", running)
        monkeypatch.setattr(_workers, "batches_at_a_time", lambda *_: 1)  # as on a GPU
        return tried

    return limited


def embed(path, sequences, **parameters):
    parameters = {"cache": None, "batch_tokens": 200, **parameters}
    return ESMEmbeddingTransformer(path, **parameters).fit_transform(sequences)


@pytest.fixture
def fresh(checkpoint, tmp_path):
    """A model for which no batch has been too large yet."""
    path = tmp_path / "fresh.pt"
    path.write_bytes(checkpoint.path.read_bytes())
    return path


def means(checkpoint, sequences):
    return np.array([states.mean(0) for states in fair_esm_residues(checkpoint, sequences, 3)])


def test_batches_are_halved_until_they_fit(fresh, checkpoint, small_device):
    tried = small_device(60)
    with pytest.warns(RuntimeWarning, match=r"tokens did not fit into the memory of cpu.*batch_tokens="):
        assert_faithful(embed(fresh, SEQUENCES), means(checkpoint, SEQUENCES))
    assert sum(size for size in tried if size <= 60) == sum(len(s) + 2 for s in set(SEQUENCES))


def test_it_is_said_once_and_remembered(fresh, small_device):
    tried = small_device(60)
    with pytest.warns(RuntimeWarning) as told:
        embed(fresh, SEQUENCES)
    assert len(told) == 1
    tried.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed(fresh, SEQUENCES)
    assert max(tried) <= 60


def test_sequence_that_does_not_fit_alone_is_named(fresh, small_device):
    small_device(100)
    with (
        pytest.warns(RuntimeWarning, match="Smaller batches"),
        pytest.raises(
            MemoryError, match=r"MKTAYIAKQRQISFVKS\.\.\. \(132 residues\).*even alone.*max_length"
        ),
    ):
        embed(fresh, [*SEQUENCES, LONG, LONG[1:]], batch_tokens=300)


def test_fewer_windows_run_at_a_time(fresh, checkpoint, small_device):
    parameters = {"overlong": "window", "max_length": 20}
    expected = embed(checkpoint.path, [LONG], **parameters)
    tried = small_device(50)
    with pytest.warns(RuntimeWarning, match="Smaller batches"):
        assert_faithful(embed(fresh, [LONG], **parameters), expected)
    assert tried == [9 * 22, 4 * 22, *6 * [2 * 22], 22]  # of 13 windows
