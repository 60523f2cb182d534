"""Ctrl-C at any line leaves no claim, lock, transaction or thread: the next call does not wait."""

import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from three_estimators import CASES, assert_close_rows

import sklearn_esm
from sklearn_esm import ESMEmbeddingTransformer, _engine
from sklearn_esm._engine import _blocks
from sklearn_esm._execution import _threads

PACKAGE = str(Path(sklearn_esm.__file__).parent)
LONG = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFS"

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers"),
    pytest.mark.no_cover,  # these tests trace, and would end the tracing of coverage
]


@pytest.fixture(autouse=True)
def ctrl_c():
    """Have SIGINT raise KeyboardInterrupt: a shell starts what runs in the background without that."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@contextmanager
def at_most(seconds):
    """Fail what takes longer, such as waiting for a claim that nobody will release."""

    def fail(*_):
        raise TimeoutError(f"took longer than {seconds} s")

    former = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def lines_of(call):
    """Return the lines of the package that the main thread runs in a call, in their order, once each."""
    seen = {}

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            seen[frame.f_code, frame.f_lineno] = None
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return list(seen)


def interrupt_at(line, last):
    """Raise KeyboardInterrupt the first time, or one of the last times, that a line is reached."""
    reached = 0

    def trace(frame, event, _):
        nonlocal reached
        if frame.f_code is not line[0]:
            return None
        if event == "line" and frame.f_lineno == line[1]:
            reached += 1
            if reached == last:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)


def interrupt_after(begun):
    """Press Ctrl-C, as it were, when an event is set."""
    main = threading.main_thread().ident
    threading.Thread(
        target=lambda: (begun.wait(), signal.pthread_kill(main, signal.SIGINT)), daemon=True
    ).start()


def threads_of_the_package():
    # but those kept for wide units, which wait for the next one
    names = {thread.name for thread in threading.enumerate()}
    return [name for name in names if name.startswith("sklearn-esm") and "wide" not in name]


def assert_cores_are_free():
    patience = time.monotonic() + 5
    while _threads._cores.free < _threads._cores.count and time.monotonic() < patience:
        time.sleep(0.01)
    assert _threads._cores.free == _threads._cores.count


def assert_no_thread_is_left():
    patience = time.monotonic() + 5
    while threads_of_the_package() and time.monotonic() < patience:
        time.sleep(0.01)
    assert threads_of_the_package() == []


@pytest.mark.parametrize(
    ("name", "where", "occurrence"),
    [
        ("embedding", "memory", 1),
        ("embedding", "memory", 2),  # a line of a with statement is reached again when it is left
        ("embedding", "folder", 1),
        ("variants", "memory", 1),
    ],
)
def test_the_call_after_an_interrupt_at_any_line_gives_the_right_rows(
    checkpoint, folder, name, where, occurrence
):
    case, cache = CASES[name], folder if where == "folder" else where
    sequences = case.sequences[:3]
    expected = case.new(checkpoint, cache=None).fit_transform(sequences)
    new = case.new(checkpoint, cache=cache).fit(sequences)
    lines = lines_of(lambda: new.transform(sequences))
    assert len(lines) > 100
    for line in lines:
        new.prune_cache()
        with at_most(10):
            interrupt_at(line, occurrence)
            try:
                new.transform(sequences)
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            assert_close_rows(new.transform(sequences), expected)
    assert_no_thread_is_left()


@pytest.mark.parametrize("cache_of_call", ["memory", "folder", None])
def test_a_pass_that_is_interrupted_is_not_waited_for(checkpoint, folder, monkeypatch, cache_of_call):
    where = folder if cache_of_call == "folder" else cache_of_call
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=where, batch_tokens=50).fit([LONG])
    expected = embed.set_params(cache=None).transform([LONG, LONG[:40]])
    embed.set_params(cache=where)
    begun, go_on = threading.Event(), threading.Event()
    hidden_states = _engine.hidden_states

    def slow(*arguments):
        begun.set()
        go_on.wait(20)
        return hidden_states(*arguments)

    monkeypatch.setattr(_engine, "hidden_states", slow)
    interrupt_after(begun)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        embed.transform([LONG, LONG[:40]])
    assert time.monotonic() - started < 5
    monkeypatch.setattr(_engine, "hidden_states", hidden_states)
    go_on.set()
    with at_most(10):
        assert_close_rows(embed.transform([LONG, LONG[:40]]), expected)
    assert_no_thread_is_left()


def test_an_interrupted_pass_ends_after_the_block_that_runs(checkpoint, monkeypatch):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=None).fit([LONG])
    begun, go_on, blocks = threading.Event(), threading.Event(), []
    forward = _blocks.Block.forward

    def slow(*arguments):
        blocks.append(1)
        begun.set()
        go_on.wait(20)
        forward(*arguments)

    monkeypatch.setattr(_blocks.Block, "forward", slow)
    interrupt_after(begun)
    with pytest.raises(KeyboardInterrupt):
        embed.transform([LONG])
    go_on.set()
    assert_no_thread_is_left()
    assert len(blocks) == 1


def test_cores_are_free_after_an_interrupted_pass(checkpoint, monkeypatch):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=None).fit([LONG])
    lines = lines_of(lambda: embed.transform([LONG]))
    interrupt_at(lines[-1], 1)
    with pytest.raises(KeyboardInterrupt):
        embed.transform([LONG])
    assert_no_thread_is_left()
    assert_cores_are_free()
