"""Forward passes side by side: the same vectors, the caller's settings untouched, no thread left."""

import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from fair_esm_oracle import assert_faithful, fair_esm_residues
from numpy.testing import assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer, _engine
from sklearn_esm._background import Stop, StoppedError
from sklearn_esm._execution import _threads, _workers
from sklearn_esm._execution._pieces import Item, plan_batches

SEQUENCES = [
    "GIGKFLHSAKKFGKAFVGEIMNS"[: 3 + row % 20] + "ACDEFGHIKLMNPQRSTVWY"[row % 20] for row in range(40)
]
BATCHES = plan_batches([Item(sequence) for sequence in SEQUENCES], 50, None)
LONG = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFS" * 20


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setattr(_workers, "batches_at_a_time", lambda *_: 3)
    monkeypatch.setattr(_threads, "_cores", _threads._Cores(3))


@pytest.fixture
def places(monkeypatch):
    """Of each batch that runs: its residues, its thread, and how many threads torch has there."""
    told = []
    hidden_states = _engine.hidden_states

    def telling(model, sequences, layers):
        told.append((sum(map(len, sequences)), threading.current_thread(), torch.get_num_threads()))
        return hidden_states(model, sequences, layers)

    monkeypatch.setattr(_engine, "hidden_states", telling)
    return told


def embed(checkpoint, sequences, **parameters):
    parameters = {"cache": None, "device": "cpu", "batch_tokens": 50, **parameters}
    return ESMEmbeddingTransformer(checkpoint.path, **parameters).fit_transform(sequences)


def test_vectors_are_those_of_fair_esm(checkpoint, three_threads, places):
    expected = [states.mean(0) for states in fair_esm_residues(checkpoint, SEQUENCES, 3)]
    assert_faithful(embed(checkpoint, SEQUENCES), np.array(expected))
    assert len({thread for _, thread, _ in places}) > 1


def test_states_of_residues_come_in_their_order(checkpoint, three_threads):
    states = embed(checkpoint, SEQUENCES, pooling=None)
    for actual, expected in zip(states, fair_esm_residues(checkpoint, SEQUENCES, 3), strict=True):
        assert_faithful(actual, expected)


def test_each_thread_has_one_thread_of_torch(checkpoint, three_threads, places):
    embed(checkpoint, SEQUENCES)
    assert {threads for *_, threads in places} == {1}
    assert threading.main_thread() not in {thread for _, thread, _ in places}


def test_batch_longer_than_a_threads_share_has_every_core(checkpoint, three_threads, places):
    embed(checkpoint, [*SEQUENCES, LONG])
    (residues, _, threads), *others = places
    assert (residues, threads) == (len(LONG), torch.get_num_threads())
    assert {threads for *_, threads in others} == {1}


def test_threads_of_torch_stay_as_they_were(checkpoint, three_threads):
    before = torch.get_num_threads()
    embed(checkpoint, SEQUENCES)
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *later] == [before, before]


def test_users_function_is_called_in_the_users_thread(checkpoint, three_threads):
    threads = set()

    def middle(residues):
        threads.add(threading.current_thread())
        return residues[len(residues) // 2]

    embed(checkpoint, SEQUENCES, pooling=["mean", middle])
    assert threads == {threading.current_thread()}


def test_error_in_a_thread_is_raised_and_ends_the_others(checkpoint, three_threads, monkeypatch):
    ran = []

    def failing(model, sequences, layers):
        ran.append(sequences)
        raise RuntimeError("no luck")

    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(_engine, "hidden_states", failing)
        with pytest.raises(RuntimeError, match="no luck"):
            embed(checkpoint, SEQUENCES)
    assert len(ran) <= 2 * 3 + 1 < len(BATCHES)
    assert threading.active_count() == before
    assert_array_equal(embed(checkpoint, SEQUENCES), embed(checkpoint, SEQUENCES))


def test_results_that_nobody_waits_for_end_the_threads():
    before = threading.active_count()
    results = _threads.run_side_by_side(lambda batch: batch.rows, BATCHES, 3, None, Stop())
    batch, rows = next(results)
    assert rows == batch.rows
    assert threading.active_count() == before + 3
    results.close()
    assert threading.active_count() == before


def test_what_other_threads_have_begun_is_not_lost_to_an_error():
    first_failed = threading.Event()

    def run(batch):
        if batch is BATCHES[0]:
            first_failed.set()
            raise RuntimeError("no luck")
        first_failed.wait()
        return batch.rows

    done = []
    with pytest.raises(RuntimeError, match="no luck"):
        done.extend(batch for batch, _ in _threads.run_side_by_side(run, BATCHES, 3, None, Stop()))
    assert BATCHES[1] in done
    assert BATCHES[2] in done


def test_what_is_done_is_handed_out_before_more_is_begun():
    # what waits here would be lost to a kill
    first_ran, go_on = threading.Event(), threading.Event()
    taken = []

    def slow_to_come():
        for batch in BATCHES:
            taken.append(batch)
            yield batch
            first_ran.wait()
            time.sleep(0.05)  # for the thread to finish

    def run(batch):
        if batch is BATCHES[0]:
            first_ran.set()
        else:
            go_on.wait()
        return batch.rows

    results = _threads.run_side_by_side(run, slow_to_come(), 3, None, Stop())
    assert next(results) == (BATCHES[0], BATCHES[0].rows)
    assert taken == BATCHES[:2]
    go_on.set()
    results.close()


def test_few_batches_are_taken_ahead():
    taken = []

    def batches():
        for batch in BATCHES:
            taken.append(batch)
            yield batch

    results = _threads.run_side_by_side(lambda batch: batch.rows, batches(), 3, None, Stop())
    next(results)
    assert len(taken) <= 2 * 3 + 1
    results.close()


def test_as_many_batches_run_as_torch_has_threads():
    assert _threads.batches_at_a_time("cpu", None) == torch.get_num_threads()
    assert _threads.batches_at_a_time("cpu", 5) == 5  # of the caller's thread
    assert _threads.batches_at_a_time("cuda:1", 5) == 1


def test_no_batch_runs_in_the_callers_thread():
    batches = [*BATCHES, BATCHES[0]._replace(wide=True)]
    results = list(
        _threads.run_side_by_side(lambda _: threading.current_thread(), batches, 1, None, Stop())
    )
    assert {batch.rows for batch, _ in results} == {batch.rows for batch in batches}
    assert threading.current_thread() not in {thread for _, thread in results}


def test_a_stop_ends_the_threads_without_waiting_for_a_pass():
    stop, begun, go_on = Stop(), threading.Event(), threading.Event()

    def run(batch):
        begun.set()
        go_on.wait()

    results = _threads.run_side_by_side(run, BATCHES, 3, None, stop)
    threading.Thread(target=lambda: (begun.wait(), setattr(stop, "requested", True))).start()
    with pytest.raises(StoppedError):
        next(results)
    go_on.set()


@pytest.mark.parametrize(("at_a_time", "wide"), [(1, []), (2, []), (3, [500]), (6, [500, 200, 200])])
def test_plan_marks_what_is_longer_than_a_threads_share(at_a_time, wide):
    sequences = ["A" * length for length in (200, 100, 500, 200)]
    batches = plan_batches([Item(sequence) for sequence in sequences], 100, None, at_a_time)
    assert [sum(len(i.sequence) for i in batch.items) for batch in batches if batch.wide] == wide


def test_passes_wait_for_free_cores(monkeypatch):
    monkeypatch.setattr(_threads, "_cores", _threads._Cores(4))
    running, seen, lock = [], [], threading.Lock()

    def work(threads):
        torch.set_num_threads(threads)
        for _ in range(20):
            with _threads.take_cores():
                with lock:
                    running.append(threads)
                    seen.append(sum(running))
                with lock:
                    running.remove(threads)

    before = torch.get_num_threads()
    workers = [threading.Thread(target=partial(work, threads)) for threads in (1, 1, 2, 3, 8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    torch.set_num_threads(before)
    assert len(seen) == 100
    assert max(seen) <= 8  # alone, since it has more threads than there are cores
    assert all(number <= 4 or number == 8 for number in seen)
