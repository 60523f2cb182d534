"""Thousands of random inputs, each against fair-esm's own forward pass: `make soak`."""

import os

import pytest
from soak_inputs import Input

pytestmark = pytest.mark.soak

INPUTS = int(os.environ.get("INPUTS") or 5000)
PARTS = 10  # for the workers of pytest
TOGETHER = 100  # inputs that share a cache
SHOWN = 5


@pytest.mark.parametrize("part", range(PARTS))
def test_random_inputs_equal_fair_esm(checkpoints, tmp_path, record_property, part):
    seed = int(os.environ["SEED"])
    numbers = range(part * INPUTS // PARTS, (part + 1) * INPUTS // PARTS)
    refused, wrong = 0, []
    for number in numbers:
        case = Input(seed, number, checkpoints, tmp_path / str(number // TOGETHER))
        try:
            refused += case.check()
        except Exception as error:
            wrong.append(f"Input {number}, {case}: {error!r}")
    record_property("inputs", len(numbers))
    record_property("inputs refused", refused)
    record_property("inputs wrong", len(wrong))
    assert not wrong, "\n\n".join(wrong[:SHOWN])
