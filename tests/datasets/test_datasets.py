import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_esm.datasets import load_peptides

PEPTIDES = load_peptides()


def best_ungapped_identities(sequences):
    """Matches over the length of the shorter one, in the best ungapped alignment of each pair."""
    lengths = np.array([len(sequence) for sequence in sequences])
    width = lengths.max()
    letters = np.array([list(sequence.ljust(width)) for sequence in sequences])  # (sequences, width)
    matches = np.zeros((len(sequences), len(sequences)), dtype=int)
    for shift in range(width):
        one, other = letters[:, None, shift:], letters[None, :, : width - shift]
        matches = np.maximum(matches, ((one == other) & (one != " ")).sum(-1))
    return np.maximum(matches, matches.T) / np.minimum.outer(lengths, lengths)


def test_the_best_of_all_alignments_is_found():
    expected = [[1, 3 / 4, 1 / 2], [3 / 4, 1, 0], [1 / 2, 0, 1]]
    assert_array_equal(best_ungapped_identities(["ACDEF", "KCDE", "FA"]), expected)


def test_classes_are_balanced():
    assert PEPTIDES.target_names.tolist() == ["hormone/neuropeptide", "antimicrobial"]
    assert np.bincount(PEPTIDES.target).tolist() == [154, 152]
    assert PEPTIDES.data.shape == PEPTIDES.names.shape == PEPTIDES.organisms.shape == (306,)


@pytest.mark.parametrize(
    ("name", "organism", "sequence", "target"),
    [
        ("Magainin-2", "Xenopus laevis", "GIGKFLHSAKKFGKAFVGEIMNS", 1),
        ("Melittin", "Apis mellifera", "GIGAVLKVLTTGLPALISWIKRKRQQ", 1),
        ("LL-37", "Homo sapiens", "LLGDFFRKSKEKIGKEFKRIVQRIKDFLRNLVPRTES", 1),
        ("HNP-1", "Homo sapiens", "ACYCRIPACIAGERRYGTCIYQGRLWAFCC", 1),
        ("Indolicidin", "Bos taurus", "ILPWKWPWWPWRR", 1),
        ("Protegrin-1", "Sus scrofa", "RGGRLCYCRRRFCVCVGR", 1),
        ("Glucagon", "Homo sapiens", "HSQGTFTSDYSKYLDSRRAQDFVQWLMNT", 0),
        ("Oxytocin", "Homo sapiens", "CYIQNCPLG", 0),
        ("Somatostatin-14", "Homo sapiens", "AGCKNFFWKTFTSC", 0),
        ("Neuropeptide Y", "Homo sapiens", "YPSKPDNPGEDAPAEDMARYYSALRHYINLITRQRY", 0),
        ("Bombesin", "Bombina bombina", "QQRLGNQWAVGHLM", 0),
        ("Proctolin", "Periplaneta americana", "RYLPT", 0),
    ],
)
def test_well_known_facts(name, organism, sequence, target):
    (row,) = np.flatnonzero(PEPTIDES.names == name)
    assert PEPTIDES.data[row] == sequence
    assert PEPTIDES.organisms[row] == organism
    assert PEPTIDES.target[row] == target


def test_sequences_are_standard_residues():
    assert set("".join(PEPTIDES.data)) == set("ACDEFGHIKLMNPQRSTVWY")
    lengths = [len(sequence) for sequence in PEPTIDES.data]
    assert (min(lengths), max(lengths)) == (5, 60)


def test_names_and_sequences_are_unique():
    assert len(set(PEPTIDES.data)) == len(set(PEPTIDES.names)) == 306


@pytest.mark.parametrize("target", [0, 1])
def test_no_near_duplicates(target):
    identities = best_ungapped_identities(PEPTIDES.data[PEPTIDES.target == target])
    assert (np.diag(identities) == 1).all()
    np.fill_diagonal(identities, 0)
    assert identities.max() <= 0.8  # of a sequence within another it would be 1


def test_every_row_is_complete():
    frame = load_peptides(as_frame=True).frame
    columns = ["sequence", "target", "name", "organism", "uniprot", "source"]
    assert frame.columns.tolist() == columns
    # the accession may be missing, nothing else
    assert (frame.drop(columns="uniprot") != "").all(axis=None)
    assert (frame["uniprot"] != "").sum() == 111
    assert frame["organism"].str.match(r"[A-Z][a-z]+ [a-z]+( [a-z]+)?$").all()


def test_data_and_target_alone():
    X, y = load_peptides(return_X_y=True)
    assert_array_equal(X, PEPTIDES.data)
    assert_array_equal(y, PEPTIDES.target)


def test_as_frame():
    bunch = load_peptides(as_frame=True)
    assert bunch.data.columns.tolist() == bunch.feature_names == ["sequence"]
    assert_array_equal(bunch.data["sequence"], PEPTIDES.data)
    assert bunch.target.name == "target"
    assert_array_equal(bunch.target, PEPTIDES.target)
    X, y = load_peptides(return_X_y=True, as_frame=True)
    assert X.equals(bunch.data)
    assert y.equals(bunch.target)


def test_arrays_come_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert load_peptides().frame is None
    with pytest.raises(ImportError, match=r"pip install \"sklearn-esm\[pandas\]\""):
        load_peptides(as_frame=True)


def test_description_is_frank():
    assert "length alone gives a ROC AUC of 0.74" in PEPTIDES.DESCR
    assert "What it does not say" in PEPTIDES.DESCR
    with open(PEPTIDES.filename, encoding="utf-8") as handle:
        assert sum(1 for _ in handle) == 307
