"""The progress bar measures the cost of forward passes, so that its estimate of the time holds."""

import pytest

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._execution import _progress
from sklearn_esm._execution._pieces import Item
from sklearn_esm._execution._progress import Progress, cost_of, one_progress

MODEL = "esm2_t6_1M_bundled"
SEQUENCES = ["MKTAYIAKQR", "GIGKFLHSAKKF", "HAEGTFTSDVSSYLEGQ"]


def multiplications(tokens, width, layers=1):
    """Of the linear layers and of attention, written out."""
    linear = 4 * width * width + 2 * width * 4 * width
    attention = 2 * tokens * width
    return layers * tokens * (linear + attention)


@pytest.mark.parametrize("width", [128, 1280])
@pytest.mark.parametrize("length", [5, 300, 5000])
def test_the_cost_is_proportional_to_the_multiplications(length, width):
    cost = cost_of([Item("M" * length)], None, width)
    assert multiplications(length + 2, width) == 2 * width * cost


def test_windows_and_masked_copies_cost_what_they_read():
    assert cost_of([Item("M" * 10)], 4, 8) == 4 * cost_of([Item("M" * 4)], None, 8)
    assert cost_of([Item("M" * 10, (1, 2, 3))], None, 8) == 3 * cost_of([Item("M" * 10)], None, 8)


def test_several_calls_share_one_bar(capfd):
    embed = ESMEmbeddingTransformer(MODEL, cache=None).fit(SEQUENCES)
    total = cost_of([Item(sequence) for sequence in SEQUENCES], None, 128)
    with one_progress(total) as progress:
        for sequence in SEQUENCES:
            embed.transform([sequence])
        assert progress.done == total
    shown = capfd.readouterr().err
    assert shown.rstrip().endswith("<00:00")
    assert shown.count("\n") == 1
    embed.transform(SEQUENCES)
    assert capfd.readouterr().err == ""
    assert _progress.shared_progress() is None


def test_work_that_is_done_already_is_left_out(capfd):
    progress = Progress(10, shown=True)
    progress.skip(5)
    progress.add(5)
    progress.close()
    assert "Running the model: 100%" in capfd.readouterr().err
