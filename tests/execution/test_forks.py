"""A process forked after, or during, a transform: it computes the same, or says at once why not."""

import os

import numpy as np
import pytest
from fair_esm_oracle import assert_faithful, fair_esm_residues

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "GIGKFLHSAKKFGKAFVGEIMNS", "DRVYIHPF"]

BEGIN = """
import multiprocessing, os, sys, threading, time, warnings
import numpy as np
import torch
from sklearn_esm import ESMEmbeddingTransformer, _engine

warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, about forking with threads
path, *sequences = sys.argv[1:]
torch.set_num_threads(2)
embed = ESMEmbeddingTransformer(path, cache=None).fit(sequences)


def child_of(work):
    # the child has 20 s: what waits for a thread of its parent would wait for ever
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    import signal
    signal.alarm(20)
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        print(type(error).__name__, error, file=sys.stderr)
    finally:
        os._exit(code)


def right(actual):
    assert np.allclose(actual, expected, rtol=1e-6, atol=1e-6)
"""


@pytest.fixture
def run(checkpoint, monkeypatch, new_process):
    """A function that runs code after the beginning above, in a new process."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def run(code):
        result = new_process(BEGIN + code, checkpoint.path, *SEQUENCES)
        assert result.returncode == 0, result.stderr
        return result

    return run


def test_a_child_forked_after_a_transform_embeds(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("SAVED", str(tmp_path / "vectors.npy"))
    run(
        """
expected = embed.transform(sequences)
np.save(os.environ["SAVED"], expected)
more = sequences + ["A" + s for s in sequences]
for cache in (None, "memory", os.path.dirname(os.environ["SAVED"]) + "/cache"):
    embed.set_params(cache=cache)
    embed.transform(sequences)
    assert child_of(lambda: right(embed.transform(more)[:3])) == 0, cache
    # torch uses its threads in this thread, too, as a user's own code may; and in another
    torch.randn(500, 500) @ torch.randn(500, 500)
    other = threading.Thread(target=lambda: embed.transform(sequences[:2]))
    other.start()
    other.join()
    assert child_of(lambda: right(embed.transform(more)[:3])) == 0, cache
    right(embed.transform(more)[:3])
"""
    )
    means = [states.mean(0) for states in fair_esm_residues(checkpoint, SEQUENCES, 3)]
    assert_faithful(np.load(tmp_path / "vectors.npy"), np.array(means))


def test_forked_workers_of_pools_and_loaders_embed(run):
    run(
        """
from joblib import parallel_config
from torch.utils.data import DataLoader
expected = embed.transform(sequences)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for actual in pool.map_async(embed.transform, [sequences] * 4).get(timeout=30):
        right(actual)
loader = DataLoader(
    sequences, batch_size=3, num_workers=1, collate_fn=embed.transform, multiprocessing_context="fork",
    timeout=30,
)
for actual in loader:
    right(actual)
embed.set_params(n_jobs=2, batch_tokens=30)
with parallel_config("multiprocessing"):
    right(embed.transform(sequences))
"""
    )


def test_a_child_forked_during_a_pass_is_refused_at_once(run):
    result = run(
        """
expected = embed.transform(sequences)
begun, go_on = threading.Event(), threading.Event()
hidden_states = _engine.hidden_states

def slow(*arguments):
    begun.set()
    go_on.wait()
    return hidden_states(*arguments)

_engine.hidden_states = slow
parent = threading.Thread(target=lambda: right(embed.transform(sequences)))
parent.start()
begun.wait()
_engine.hidden_states = hidden_states
started = time.monotonic()
assert child_of(lambda: embed.transform(sequences)) == 1
assert time.monotonic() - started < 10
go_on.set()
parent.join()
assert child_of(lambda: right(embed.transform(sequences))) == 0  # after the pass it works
"""
    )
    assert "RuntimeError This process was forked while its parent was running" in result.stderr
    assert "joblib's 'loky' backend" in result.stderr


def test_forks_while_threads_use_the_memory_cache_do_not_hang(run):
    run(
        """
expected = embed.set_params(cache="memory").transform(sequences)
stop = threading.Event()

def use():
    while not stop.is_set():
        embed.transform(sequences)

users = [threading.Thread(target=use) for _ in range(2)]
for user in users:
    user.start()
try:
    for _ in range(30):
        assert child_of(lambda: right(embed.transform(sequences))) == 0
finally:
    stop.set()
for user in users:
    user.join()
"""
    )
