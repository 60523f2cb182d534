"""The chains with secondary structure: what is in the table, beside facts known from elsewhere."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_esm.datasets import load_gb1, load_secondary_structure
from sklearn_esm.model_selection import identity_groups

CHAINS = load_secondary_structure()


def row_of(pdb):
    (row,) = np.flatnonzero(CHAINS.pdb_ids == pdb)
    return row


def runs(structure, letter):
    """Return first and last position of each run of a letter, counted from 1."""
    at = np.flatnonzero([one == letter for one in structure]) + 1
    return [(int(run[0]), int(run[-1])) for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)]


def test_every_residue_has_a_label_or_no_coordinates():
    assert CHAINS.data.shape == CHAINS.target.shape == (78,)
    assert [len(s) for s in CHAINS.target] == [len(s) for s in CHAINS.data]
    assert set("".join(CHAINS.data)) == set("ACDEFGHIKLMNPQRSTVWY")
    assert Counter("".join(CHAINS.target)) == {"H": 3770, "E": 2492, "C": 4384, "-": 315}
    assert CHAINS.target_names.tolist() == ["C", "E", "H"]


def test_lengths_and_coordinates_are_within_limits():
    lengths = np.array([len(sequence) for sequence in CHAINS.data])
    assert (lengths.min(), np.median(lengths), lengths.max()) == (41, 129, 298)
    missing = np.array([structure.count("-") for structure in CHAINS.target])
    assert (missing / lengths).max() <= 0.2


def test_no_two_chains_are_close_relatives():
    pytest.importorskip("pyopal")
    groups = identity_groups(CHAINS.data, threshold=0.3, coverage=0.5)
    assert_array_equal(groups, np.arange(78))


def test_ubiquitin_is_as_in_its_paper():
    # Vijay-Kumar, Bugg and Cook (1987): helix 23-34, and strands 1-7, 10-17, 40-45, 48-49 and 66-72
    ubiquitin = row_of("5GOB")
    assert CHAINS.data[ubiquitin].startswith(
        "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQ"
    )
    structure = CHAINS.target[ubiquitin]
    assert set(structure[22:34]) == {"H"}
    for position, (first, last) in zip((4, 13, 42, 48, 69), runs(structure, "E"), strict=True):
        assert first - 1 <= position <= last + 1


def test_domain_b1_is_as_the_entry_says():
    # 2QMT: HELIX 22-37, SHEET 13-19, 2-8, 51-55 and 42-46
    domain = row_of("2QMT")
    assert CHAINS.data[domain] == load_gb1().reference
    assert runs(CHAINS.target[domain], "H") == [(22, 37)]
    assert runs(CHAINS.target[domain], "E") == [(2, 8), (13, 19), (42, 46), (51, 55)]


@pytest.mark.parametrize(
    ("pdb", "mostly", "hardly"),
    [("1A6M", "H", "E"), ("4HHB", "H", "E"), ("256B", "H", "E"), ("1FNA", "E", "H"), ("1XNB", "E", "H")],
)
def test_folds_are_the_well_known_ones(pdb, mostly, hardly):
    structure = CHAINS.target[row_of(pdb)]
    assert structure.count(mostly) > 0.5 * len(structure)
    assert structure.count(hardly) < 0.1 * len(structure)


def test_data_and_target_alone():
    X, y = load_secondary_structure(return_X_y=True)
    assert_array_equal(X, CHAINS.data)
    assert_array_equal(y, CHAINS.target)


def test_as_frame():
    pytest.importorskip("pandas")
    bunch = load_secondary_structure(as_frame=True)
    assert bunch.frame.columns.tolist() == ["sequence", "target", "pdb", "chain", "name"]
    assert bunch.data.columns.tolist() == bunch.feature_names == ["sequence"]
    assert_array_equal(bunch.frame["pdb"], CHAINS.pdb_ids)
    assert_array_equal(bunch.frame["chain"], CHAINS.chains)
    assert_array_equal(bunch.frame["name"], CHAINS.names)
    X, y = load_secondary_structure(return_X_y=True, as_frame=True)
    assert X.equals(bunch.data)
    assert y.equals(bunch.target)


def test_arrays_come_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert load_secondary_structure().frame is None
    with pytest.raises(ImportError, match=r"load_secondary_structure.* \"sklearn-esm\[pandas\]\""):
        load_secondary_structure(as_frame=True)


def test_description_names_source_and_licence():
    assert "CC0 1.0" in CHAINS.DESCR
    assert "The Protein Data Bank" in CHAINS.DESCR
    assert Path(CHAINS.filename).read_text(encoding="utf-8").count("\n") == 79
