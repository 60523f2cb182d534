"""Texts that are names of mutations or missing values: refused, whatever the policies are."""

import re
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from three_estimators import CASES

from sklearn_esm import ESMLikelihoodTransformer
from sklearn_esm._sequences import RESIDUES, SequenceError, clean_sequences

INVALID = ["error", "unknown", "mask", "drop"]
MISSING = ["error", "nan"]


def clean(X, invalid="error", missing="error"):
    return clean_sequences(X, invalid=invalid, missing=missing)


# Mutations

MUTATIONS = [
    *("Q2A", "q2a", " Q2A\n", "Q2*", "W26X", "*110Q", "A24-", "A24="),
    *("A24G:K30R", "A24G,K30R", "A24G, K30R", "a24g/k30r", "A24G;K30R", "A24G K30R", "A24G_K30R"),
    *("A24G+K30R", "A24G-K30R", "A24G|K30R", "A24G\tK30R", "A24G:K30R:Q2A"),
    *("A24del", "F508del", "F508DEL", "K23_V25del", "A24dup", "K2_M3insQSK", "C28delinsWV"),
    *("R97fs", "R97Pfs*23"),
    *("p.Ala24Gly", "p.(Ala24Gly)", "p.[Ala24Gly;Lys30Arg]", "p.A24G", "Ala24Gly", "ALA24GLY"),
    *("p.Trp26Ter", "p.Trp26*", "p.Ala24=", "p.Lys23_Val25del", "p.Lys2_Met3insGlnSerLys"),
    *("p.Arg97ProfsTer23", "p.Arg97fs", "p.Cys28delinsTrpVal", "NP_000537.3:p.Arg175His", "S:N501Y"),
]


def messages(text):
    """The messages with which a text in row 1 is refused, whatever the policies are."""
    found = set()
    for invalid, missing in product(INVALID, MISSING):
        with pytest.raises(SequenceError) as error:
            clean(["MKT", text], invalid, missing)
        assert error.value.row == 1
        found.add(str(error.value))
    return found


@pytest.mark.parametrize("text", MUTATIONS)
def test_a_mutation_is_refused_whatever_the_policies_are(text):
    shown = text.strip() if len(text) <= 20 else f"{text[:17]}..."
    shown = shown.replace("\t", "\\t")
    assert messages(text) == {
        f"Sequence 1 ({shown}) looks like a mutation and not a sequence. Apply it to the wild type "
        "with sklearn_esm.variants.apply_mutations, or in a pipeline with its MutationsToSequences, and "
        "pass the whole sequence."
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WT", "WT"),  # which no program can tell from a dipeptide
        ("1 MKTAYIAKQR 10", "MKTAYIAKQR"),
        ("MKT10AYI", "MKTAYI"),
        ("MK2A", "MKA"),
        ("1A", "A"),
        ("A1", "A"),
        ("A-1-G", "AG"),
        ("A24GK", "AGK"),
        ("A24GK30R", "AGKR"),
        ("A24G:MKT", "AGMKT"),
        ("M1KT2AY3", "MKTAY"),
        ("A24J24", "A"),
        ("24", None),
        ("A:G", "AG"),
        ("AL24GLY", "ALGLY"),
    ],
)
def test_what_has_not_the_shape_of_a_mutation_is_up_to_the_policies(text, expected):
    assert clean([text], "drop", "nan") == [expected]


def test_every_estimator_refuses_a_mutation(case, checkpoint):
    fitted = case.new(checkpoint, invalid="drop").fit(case.sequences)
    for call in (fitted.fit, fitted.transform):
        with pytest.raises(SequenceError, match=r"^Sequence 1 \(G24A\) looks like a mutation"):
            call([case.sequences[0], "G24A"])


def test_precompute_refuses_a_mutation(checkpoint):
    with pytest.raises(SequenceError, match=r"^Sequence 0 \(G24A\) looks like a mutation"):
        CASES["embedding"].new(checkpoint, invalid="drop").precompute(["G24A"])


def test_a_mutation_is_no_reference(checkpoint):
    scorer = ESMLikelihoodTransformer(checkpoint.path, method="wt-marginals", reference="G24A")
    message = r"^reference must be a sequence of residues\. Sequence 0 \(G24A\) looks like a mutation"
    with pytest.raises(ValueError, match=message):
        scorer.fit(["GIGK"])


CODES = [
    *("ala", "arg", "asn", "asp", "cys", "gln", "glu", "gly", "his", "ile", "leu", "lys", "met"),
    *("phe", "pro", "ser", "thr", "trp", "tyr", "val", "asx", "glx", "sec", "pyl", "xaa", "ter"),
]


def starts(text, *choices):
    return [choice for choice in choices if text.startswith(choice)]


def residues(text):
    """The residues that a text may begin with, by letter or by code."""
    return starts(text, *"abcdefghijklmnopqrstuvwxyz*", *CODES)


def digits(text):
    return text[: len(text) - len(text.lstrip("0123456789"))]


def changes(text):
    """What may stand behind the position, in as many ways as there are."""
    yield from residues(text)
    yield from starts(text, "=", "-", "del", "dup")
    for insertion in starts(text, "ins", "delins"):
        for end in range(len(insertion), len(text)):
            if not residues(text[end]):
                break
            yield text[: end + 1]
    for new in ("", *residues(text)):
        for shift in starts(text, f"{new}fs"):
            for stop in starts(text, shift, f"{shift}*", f"{shift}ter", f"{shift}x"):
                yield stop
                yield stop + digits(text[len(stop) :])


def is_mutations(text):
    """Whether a text is a mutation or several; of those without brackets, ranges and names of genes."""
    for prefix in starts(text, "", "p."):
        bare = text[len(prefix) :]
        for old in residues(bare):
            number = digits(bare[len(old) :])
            behind = bare[len(old) + len(number) :]
            for change in changes(behind) if number else ():
                rest = behind[len(change) :]
                if not rest or (rest[0] == "-" and is_mutations(rest.lstrip("-"))):
                    return True
    return False


PIECES = st.one_of(
    st.text(RESIDUES + RESIDUES.lower() + "-.*0123456789", max_size=5),
    st.sampled_from(["<mask>", "p.", "A24G", "q2*", "Ala24Gly", "-", "K30", "del", "fs", "ins", "1"]),
)


@settings(deadline=None, max_examples=200)  # a busy machine is no failure
@given(st.lists(PIECES, max_size=5).map("".join))
@example("A24G-K30R")
@example("MKT-AYI*24")
@example("A24-K30R")
@example("A24--K30R")
def test_a_text_is_refused_as_a_mutation_just_if_it_has_the_shape_of_one(text):
    for invalid in INVALID:
        for missing in MISSING:
            try:
                clean([text], invalid, missing)
                refused = False
            except ValueError as error:
                refused = "looks like a mutation" in str(error)
            assert refused == is_mutations(text.lower())


# Missing values that became text

WRITTEN = ["nan", "NaN", "None", "<NA>", "NaT", "null"]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_missing_value_that_became_text_is_refused_whatever_the_policies_are(text):
    peptide = "" if text == "<NA>" else f" If it is a peptide, write {text.upper()!r}."
    assert messages(text) == {
        f"Sequence 1 is the text {text!r}: a missing value was turned into text. Pass None instead, "
        f"in an array or column of dtype=object.{peptide}"
    }


@pytest.mark.parametrize("peptide", ["NAN", "NULL", "NAT", "nat", "NONE", "none", "nanna", "Nan"])
def test_a_peptide_that_resembles_a_missing_value_is_one(peptide):
    assert clean([peptide]) == [peptide.upper()]


def test_what_numpy_and_pandas_make_of_missing_values_is_refused():
    pd = pytest.importorskip("pandas")
    columns = [
        np.array(["MKT", np.nan]),
        np.array(["MKT", None]).astype(str),
        np.array(["MKT", pd.NA]).astype(str),
        pd.Series(["MKT", None], dtype=object).map(str),
        pd.Series(["MKT", np.nan], dtype=object).map(str),
        pd.Series([pd.NaT, pd.NaT], dtype=object).map(str).iloc[1:],
    ]
    for column in columns:
        with pytest.raises(SequenceError, match="a missing value was turned into text"):
            clean(column, invalid="drop", missing="nan")


def test_every_estimator_refuses_a_missing_value_that_became_text(case, checkpoint):
    fitted = case.new(checkpoint, missing="nan").fit(case.sequences)
    for call in (fitted.fit, fitted.transform):
        with pytest.raises(SequenceError, match=re.escape("Sequence 1 is the text 'nan'")):
            call(np.array([case.sequences[0], np.nan]))
