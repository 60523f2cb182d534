"""Names of mutations against literal sequences, and every refusal with its message."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_esm.datasets import load_gb1
from sklearn_esm.variants import apply_mutations, single_substitutions

REFERENCE = "MKTAYIAKQRGG"
#            123456789012

NOTATIONS = {
    "K2R": "MRTAYIAKQRGG",
    "k2r": "MRTAYIAKQRGG",
    " K2R\n": "MRTAYIAKQRGG",
    "K02R": "MRTAYIAKQRGG",
    "M1A": "AKTAYIAKQRGG",
    "G12W": "MKTAYIAKQRGW",
    "K2X": "MXTAYIAKQRGG",
    "K2U": "MUTAYIAKQRGG",
    "p.K2R": "MRTAYIAKQRGG",
    "p.Lys2Arg": "MRTAYIAKQRGG",
    "p.(Lys2Arg)": "MRTAYIAKQRGG",
    "Lys2Arg": "MRTAYIAKQRGG",
    "LYS2ARG": "MRTAYIAKQRGG",
    "lys2R": "MRTAYIAKQRGG",
    "K2Sec": "MUTAYIAKQRGG",
    "NP_000537.3:p.Lys2Arg": "MRTAYIAKQRGG",
    "ENSP00000269305.4:p.Lys2Arg": "MRTAYIAKQRGG",
    # the reference, and what changes nothing
    "WT": REFERENCE,
    "wt": REFERENCE,
    "": REFERENCE,
    " ": REFERENCE,
    "=": REFERENCE,
    "p.=": REFERENCE,
    "p.(=)": REFERENCE,
    "K2K": REFERENCE,
    "K2=": REFERENCE,
    "p.Lys2=": REFERENCE,
    "K2K:A4G": "MKTGYIAKQRGG",
    # several
    "K2R:A4G": "MRTGYIAKQRGG",
    "A4G:K2R": "MRTGYIAKQRGG",
    "K2R,A4G": "MRTGYIAKQRGG",
    "K2R, A4G": "MRTGYIAKQRGG",
    "K2R/A4G": "MRTGYIAKQRGG",
    "K2R;A4G": "MRTGYIAKQRGG",
    "K2R+A4G": "MRTGYIAKQRGG",
    "K2R A4G": "MRTGYIAKQRGG",
    "K2R\tA4G": "MRTGYIAKQRGG",
    "K2R_A4G": "MRTGYIAKQRGG",
    "p.[Lys2Arg;Ala4Gly]": "MRTGYIAKQRGG",
    "[K2R;A4G]": "MRTGYIAKQRGG",
    "p.Lys2Arg:p.(Ala4Gly)": "MRTGYIAKQRGG",
    # deletions
    "A4del": "MKTYIAKQRGG",
    "A4DEL": "MKTYIAKQRGG",
    "A4-": "MKTYIAKQRGG",
    "p.Ala4del": "MKTYIAKQRGG",
    "A4_I6del": "MKTAKQRGG",
    "p.Ala4_Ile6del": "MKTAKQRGG",
    "K2_G12del": "M",
    # insertions
    "A4_Y5insKR": "MKTAKRYIAKQRGG",
    "a4_y5inskr": "MKTAKRYIAKQRGG",
    "A4_Y5insALA": "MKTAALAYIAKQRGG",
    "p.Ala4_Tyr5insAla": "MKTAAYIAKQRGG",
    "p.Ala4_Tyr5insGlnSerLys": "MKTAQSKYIAKQRGG",
    # both, and duplications
    "A4delinsKR": "MKTKRYIAKQRGG",
    "p.Ala4delinsLysArg": "MKTKRYIAKQRGG",
    "A4_I6delinsK": "MKTKAKQRGG",
    "A4dup": "MKTAAYIAKQRGG",
    "A4_I6dup": "MKTAYIAYIAKQRGG",
    # underscores between mutations and in ranges, and neighbours that do not overlap
    "A4_I6del_K8R": "MKTARQRGG",
    "K2R_A4_Y5insKR_K8R": "MRTAKRYIARQRGG",
    "A4G:A4_Y5insKR:Y5W": "MKTGKRWIAKQRGG",
    "A4_I6del:I6_A7insWW": "MKTWWAKQRGG",
    "T3_A4insC:A4dup:A4_Y5insC": "MKTCAACYIAKQRGG",
}


@pytest.mark.parametrize(("text", "expected"), NOTATIONS.items())
def test_every_notation_gives_its_sequence(text, expected):
    assert apply_mutations(REFERENCE, text) == expected


def test_rows_are_independent_and_keep_their_order():
    assert apply_mutations(REFERENCE, list(NOTATIONS)) == list(NOTATIONS.values())


def test_gb1_has_the_sequences_of_its_mutations():
    gb1 = load_gb1()
    assert apply_mutations(gb1.reference, gb1.mutations) == gb1.data.tolist()


@pytest.mark.parametrize(
    "column",
    [
        ["K2R", "WT"],
        ("K2R", "WT"),
        np.array(["K2R", "WT"]),
        np.array([["K2R"], ["WT"]], dtype=object),
        [["K2R"], ["WT"]],
        pd.Series(["K2R", "WT"], index=[7, 3]),
        pd.Series(["K2R", "WT"], dtype="category"),
        pd.DataFrame({"mutant": ["K2R", "WT"]}),
        pl.Series(["K2R", "WT"]),
        pl.DataFrame({"mutant": ["K2R", "WT"]}),
    ],
    ids=lambda column: type(column).__module__.partition(".")[0] + "-" + type(column).__name__,
)
def test_every_kind_of_column_gives_a_list(column):
    sequences = apply_mutations(REFERENCE, column)
    assert type(sequences) is list
    assert sequences == ["MRTAYIAKQRGG", REFERENCE]


@pytest.mark.parametrize(
    "reference", [f" {REFERENCE.lower()}\n", SeqRecord(Seq(REFERENCE)), np.str_(REFERENCE)]
)
def test_the_reference_is_cleaned_as_sequences_are(reference):
    assert apply_mutations(reference, "K2R") == "MRTAYIAKQRGG"


@pytest.mark.parametrize(
    ("first", "text"), [(24, "K25R"), (np.int64(24), "K25R"), (0, "K1R"), (-1, "K0R"), (-2, "T0R")]
)
def test_first_position_is_the_number_of_the_first_residue(first, text):
    expected = {"K": "MRTAYIAKQRGG", "T": "MKRAYIAKQRGG"}[text[0]]
    assert apply_mutations(REFERENCE, text, first_position=first) == expected


# Refusals

NOTATION = (
    "must be mutations such as 'A24G', 'A24G:K30R', 'p.Ala24Gly', 'A24del' or 'A24_G25insKR'; got "
    "'{}'. Separate them with ':', and write 'WT' for the reference."
)
STOP = (
    "must not have a stop; got '{}'. Remove the row, or write the truncated protein as a deletion such "
    "as 'A24_G56del'."
)
RANGE = (
    "must have positions 1 to 12, those of the reference; got {} in '{}'. Check the reference, or set "
    "first_position to the number of its first residue."
)
REFUSED = {
    **{
        text: NOTATION.format(text)
        for text in [
            *("MKTAYI", "K2", "2", "2R", "K-2R", "K2.5R", "K2RR", "K2R.", "K2R|A4G", "K2R-A4G"),
            *("A4_I6K", "A4_I6=", "A4del3", "A4delA", "A4ins", "A4_Y5ins", "A4_Y5ins3", "p.", "nan"),
            *("(K2R", "K2R)", "K\N{KELVIN SIGN}2", "K2\N{KELVIN SIGN}", "K\N{SUPERSCRIPT TWO}R"),
            *("p.?", "A4_Y5ins\N{LATIN CAPITAL LETTER A WITH DIAERESIS}", "A4_", "K2R!"),
        ]
    },
    "K2R:": NOTATION.format(""),
    ":": NOTATION.format(""),
    "K2R:WT": NOTATION.format("WT"),
    "S:K2R": NOTATION.format("S"),
    "p.[K2R];[A4G]": NOTATION.format("K2R]"),
    "p.Ala4_Tyr5insKR": NOTATION.format("p.Ala4_Tyr5insKR"),
    "K2R\x00": NOTATION.format("K2R\\x00"),
    f"K{'9' * 5000}R": NOTATION.format(f"K{'9' * 16}..."),
    "K2*": STOP.format("K2*"),
    "p.Lys2Ter": STOP.format("p.Lys2Ter"),
    "*13Q": STOP.format("*13Q"),
    "A4_Y5insK*": STOP.format("A4_Y5insK*"),
    "K2fs": "must not have a frame shift; got 'K2fs'. Remove the row.",
    "K2Rfs*23": "must not have a frame shift; got 'K2Rfs*23'. Remove the row.",
    "p.Lys2ArgfsTer23": "must not have a frame shift; got 'p.Lys2ArgfsTer23'. Remove the row.",
    "K2J": "must have residues of ESM's alphabet, which lacks 'J'; got 'K2J'. Write X for an unknown "
    "residue.",
    "A4_Y5insAJ": "must have residues of ESM's alphabet, which lacks 'J'; got 'A4_Y5insAJ'. Write X for "
    "an unknown residue.",
    "I6_A4del": "must have the lower position first; got 'I6_A4del'. Write 'A24_G26del'.",
    "A4_A4del": "must have the lower position first; got 'A4_A4del'. Write 'A24_G26del'.",
    "A4_I6insK": "must insert between two neighbours; got 'A4_I6insK'. Write 'A24_G25insKR'.",
    "A4insK": "must insert between two neighbours; got 'A4insK'. Write 'A24_G25insKR'.",
    "A4G:A4C": "must change each position once; got 'A4G' and 'A4C'. Keep one of them.",
    "A4G:A4G": "must change each position once; got 'A4G' and 'A4G'. Keep one of them.",
    "A4A:A4G": "must change each position once; got 'A4A' and 'A4G'. Keep one of them.",
    "Y5W:A4_I6del": "must change each position once; got 'A4_I6del' and 'Y5W'. Keep one of them.",
    "A4dup:A4G": "must change each position once; got 'A4dup' and 'A4G'. Keep one of them.",
    "A4_I6del:Y5_I6insK": "must change each position once; got 'A4_I6del' and 'Y5_I6insK'. Keep one of "
    "them.",
    "A4_Y5insK:A4_Y5insR": "must change each position once; got 'A4_Y5insK' and 'A4_Y5insR'. Keep one "
    "of them.",
    "M1_G12del": "must leave at least one residue; got a deletion of all.",
    "K13R": RANGE.format(13, "K13R"),
    "K0R": RANGE.format(0, "K0R"),
    "A4_K20del": RANGE.format(20, "A4_K20del"),
    "W2R": "must have 'K' at position 2, as the reference has; got 'W' in 'W2R'. Check the reference, "
    "or set first_position to the number of its first residue.",
    "A4_W6del": "must have 'I' at position 6, as the reference has; got 'W' in 'A4_W6del'. Check the "
    "reference, or set first_position to the number of its first residue.",
}


@pytest.mark.parametrize(("text", "problem"), REFUSED.items(), ids=lambda text: repr(text[:20]))
def test_a_refusal_names_row_mutation_problem_and_fix(text, problem):
    shown = text if len(text) <= 20 else f"{text[:17]}..."
    with pytest.raises(ValueError, match=r"^Row 2 ") as error:
        apply_mutations(REFERENCE, ["WT", "M1G", text])
    assert str(error.value) == f"Row 2 ({shown if shown.isprintable() else repr(shown)[1:-1]}) {problem}"
    assert error.value.row == 2


@pytest.mark.parametrize("missing", [None, np.nan, float("nan"), pd.NA, pd.NaT], ids=repr)
def test_a_missing_row_is_refused(missing):
    column = pd.Series(["WT", missing], dtype=object)
    message = f"Row 1 is missing: found {missing!r}. Write 'WT' for the reference, or remove the row."
    with pytest.raises(ValueError, match=re.escape(message)):
        apply_mutations(REFERENCE, column)


@pytest.mark.parametrize("row", [3, b"K2R", ["K2R", "A4G"], ("K2R",), {"K2R"}, True], ids=repr)
def test_a_row_of_another_type_is_refused(row):
    message = (
        f"Row 1 must be a string of mutations such as 'A24G:K30R'; got {row!r} (type "
        f"{type(row).__name__})."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        apply_mutations(REFERENCE, ["WT", row])


@pytest.mark.parametrize(
    ("reference", "kind", "message"),
    [
        (None, ValueError, "; got None. Pass the wild-type sequence."),
        (" ", ValueError, "; got ' '. Pass the wild-type sequence."),
        (3, TypeError, ". Row 0 must be a string; got 3 (type int)."),
        ("Q2A", ValueError, ". Sequence 0 (Q2A) looks like a mutation and not a sequence."),
        ("MK*", ValueError, ". Sequence 0 (MK*) has '*' at position 3"),
    ],
)
def test_a_reference_that_is_no_sequence_is_refused(reference, kind, message):
    with pytest.raises(
        kind, match=f"^{re.escape('reference must be a sequence of residues' + message)}"
    ):
        apply_mutations(reference, ["WT"])


def test_a_reference_with_masks_is_refused():
    message = (
        r"^reference must not have masks; got one at position 3\. Write X for an unknown residue\.$"
    )
    with pytest.raises(ValueError, match=message):
        apply_mutations("MK<mask>AYI", "WT")


@pytest.mark.parametrize("first", [1.0, "1", None, True, np.True_])
def test_a_first_position_that_is_no_integer_is_refused(first):
    message = (
        f"first_position must be an integer, the number of the reference's first residue; got {first!r}."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        apply_mutations(REFERENCE, "WT", first_position=first)


# The offset that would fit all rows


def suggested(reference, rows, first_position=1):
    """The first_position that the error suggests, or None."""
    with pytest.raises(ValueError, match=r"^Row \d+ \(.+") as error:
        apply_mutations(reference, rows, first_position)
    found = re.search(r"Set first_position=(-?\d+), which fits all rows\.$", str(error.value))
    return int(found[1]) if found else None


def test_the_numbering_of_the_full_length_protein_is_suggested():
    gb1 = load_gb1()
    full = [f"{name[0]}{int(name[1:-1]) + 226}{name[-1]}" for name in gb1.mutations]
    message = (
        r"^Row 0 \(Q228A\) must have positions 1 to 56, those of the reference; got 228 in 'Q228A'\. "
        r"Set first_position=227, which fits all rows\.$"
    )
    with pytest.raises(ValueError, match=message):
        apply_mutations(gb1.reference, full)
    assert apply_mutations(gb1.reference, full, first_position=227) == gb1.data.tolist()


def test_numbering_without_the_start_methionine_is_suggested():
    assert suggested("MKTAYIAKQRGG", ["K1R", "T2A:Y4W", "WT"]) == 0


def test_no_offset_is_suggested_if_none_or_several_fit():
    assert suggested("AAAA", ["A10G"]) is None
    assert suggested("MKTA", ["K12R", "K13R"]) is None
    assert suggested("MKTA", ["M11A", "K11A"]) is None
    assert suggested("MKTA", ["M1A", "A99G"]) is None


@settings(deadline=None)
@given(
    st.text("AKT", min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from("AKT")), min_size=1, max_size=4),
)
def test_the_suggestion_is_the_only_one_of_all_offsets_that_fits(reference, sites):
    rows = [f"{residue}{position}G" for position, residue in sites]

    def fits(first):
        try:
            return bool(apply_mutations(reference, rows, first))
        except ValueError:
            return False

    fitting = [first for first in range(-30, 31) if fits(first)]
    if 1 not in fitting:
        assert suggested(reference, rows) == (fitting[0] if len(fitting) == 1 else None)


def test_a_scan_has_each_substitution_once():
    sequences = apply_mutations(REFERENCE, single_substitutions(REFERENCE))
    assert len(set(sequences)) == len(sequences) == 19 * len(REFERENCE)
    assert {sum(a != b for a, b in zip(s, REFERENCE, strict=True)) for s in sequences} == {1}
