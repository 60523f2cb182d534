"""Names of sequences, and of all single substitutions, against literals."""

import re

import numpy as np
import pandas as pd
import pytest

from sklearn_esm.datasets import load_gb1
from sklearn_esm.variants import name_mutations, single_substitutions

REFERENCE = "MKTAYI"


def test_names_are_substitutions_sorted_by_position():
    sequences = ["MKTAYI", "MRTAYI", "ARTAYW", " mrtayi\n"]
    assert name_mutations(REFERENCE, sequences) == ["WT", "K2R", "M1A:K2R:I6W", "K2R"]
    assert name_mutations(REFERENCE, "ARTAYW", 24, ", ") == "M24A, K25R, I29W"


def test_gb1_has_the_names_of_its_sequences():
    gb1 = load_gb1()
    assert name_mutations(gb1.reference, gb1.data) == gb1.mutations.tolist()
    frame = pd.DataFrame({"sequence": gb1.data}, index=range(5, 1050))
    assert name_mutations(gb1.reference, frame) == gb1.mutations.tolist()


@pytest.mark.parametrize(
    ("sequence", "problem"),
    [
        (
            "MKTAY",
            "(MKTAY) must have 6 residues, the length of the reference; got 5. Only substitutions",
        ),
        ("MKTAYII", "(MKTAYII) must have 6 residues, the length of the reference; got 7."),
        ("MK<mask>AYI", "must not have masks; got one at position 3. Write X for an unknown residue."),
        ("MKTAY*", "(MKTAY*) has '*' at position 6, which is not in ESM's alphabet."),
        ("K2R", "(K2R) looks like a mutation and not a sequence."),
        (None, "is missing: found None."),
    ],
)
def test_a_sequence_without_a_name_is_refused(sequence, problem):
    with pytest.raises(ValueError, match=f"^{re.escape(f'Sequence 1 {problem}')}"):
        name_mutations(REFERENCE, [REFERENCE, sequence])


@pytest.mark.parametrize("separator", ["", "-", "|", ":-", "A", None, 3])
def test_a_separator_that_cannot_be_read_again_is_refused(separator):
    message = f"separator must be ':', ',', '/', ';', '+', '_' or ' '; got {separator!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        name_mutations(REFERENCE, REFERENCE, separator=separator)


# Scans


def test_a_scan_has_19_substitutions_at_each_position():
    assert single_substitutions("MK", residues="ACKM") == ["M1A", "M1C", "M1K", "K2A", "K2C", "K2M"]
    scan = single_substitutions(load_gb1().reference)
    assert len(scan) == len(set(scan)) == 19 * 56
    assert set(scan) > set(load_gb1().mutations)
    assert len(scan) - len(load_gb1().mutations) == 19  # the table lacks position 1


def test_a_scan_of_an_unknown_residue_has_all_20():
    assert len(single_substitutions("MX", positions=[2])) == 20


@pytest.mark.parametrize("positions", [[27, 25], range(27, 24, -2), np.array([27, 25]), (27, 25)])
def test_positions_are_kept_in_their_order_and_count_from_the_first(positions):
    scan = single_substitutions(REFERENCE, positions, residues="ag", first_position=24)
    assert scan == ["A27G", "K25A", "K25G"]


@pytest.mark.parametrize("position", [0, 7, -1])
def test_a_position_outside_the_reference_is_refused(position):
    message = (
        f"positions must be 1 to 6, those of the reference; got {position}. Set first_position to the "
        "number of the reference's first residue."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        single_substitutions(REFERENCE, positions=[1, position])


@pytest.mark.parametrize("position", [1.0, "1", None, True, np.True_])
def test_a_position_that_is_no_integer_is_refused(position):
    message = f"positions must be integers; got {position!r}."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        single_substitutions(REFERENCE, positions=[position])


@pytest.mark.parametrize(
    ("residues", "kind", "problem"),
    [
        ("AJ", ValueError, "in ESM's alphabet, ACDEFGHIKLMNPQRSTVWYBUZOX; got 'J'."),
        ("AA", ValueError, "one or more different residues; got 'AA'."),
        ("", ValueError, "one or more different residues; got ''."),
        (["A"], TypeError, "a string such as 'ACDEFGHIKLMNPQRSTVWY'; got ['A']."),
    ],
)
def test_residues_that_are_none_are_refused(residues, kind, problem):
    with pytest.raises(kind, match=f"^{re.escape(f'residues must be {problem}')}$"):
        single_substitutions(REFERENCE, residues=residues)
