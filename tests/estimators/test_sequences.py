"""Cleaning, and the policies for invalid characters and missing sequences, all by value."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_esm._sequences import MASK, RESIDUES, clean_sequences, shorten

MODEL = "esm2_t6_8M_UR50D"
WITH_GAP = ["MKT", None, "GIG"]
REPLACEMENT = {"unknown": "X", "mask": MASK, "drop": ""}
SPECIAL_TOKENS = ["<cls>", "<eos>", "<pad>", "<unk>", "<sep>", *(f"<null_{i}>" for i in range(8))]


def clean(X, invalid="error", missing="error"):
    return clean_sequences(X, invalid=invalid, missing=missing)


def clean_one(text, invalid="error", missing="error"):
    return clean([text], invalid, missing)[0]


# Cleaning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  MKT\t\r\n", "MKT"),
        ("mktBuzox", "MKTBUZOX"),
        ("MKT<mask>AY<MASK>", "MKT#AY#"),
        ("<Mask>", "#"),
        ("ARNDCQGEGHILKMFPSTWYV<mask>", "ARNDCQGEGHILKMFPSTWYV#"),
        ("acdefghiklmnpqrstvwybuzox", RESIDUES),
    ],
)
@pytest.mark.parametrize("invalid", ["error", *REPLACEMENT])
def test_valid_text_is_the_same_under_every_policy(text, expected, invalid):
    assert clean_one(text, invalid) == expected


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_token_is_one_invalid_character(token):
    for written in (token, token.upper()):
        assert clean_one(f"MK{written}T", "unknown") == "MKXT"
        assert clean_one(f"MK{written}T", "mask") == "MK#T"
        assert clean_one(f"MK{written}T", "drop") == "MKT"
        with pytest.raises(ValueError, match=f"has '{written}' at position 3"):
            clean_one(f"MK{written}T")


@pytest.mark.parametrize(
    "character",
    [*"\u00df\u0131\u017f\u212a\u00e9\ufeff\uff21\ud800", "\x00", "J", "#", "<", ">"],
)
def test_characters_never_mapped_to_residues(character):
    # str.upper turns the first three into SS, I and S; the Kelvin sign is a K when case is ignored
    text = f"M{character}K"
    assert [clean_one(text, p) for p in REPLACEMENT] == ["MXK", "M#K", "MK"]
    with pytest.raises(ValueError, match=re.escape(f"has {character!r} at position 2,")):
        clean_one(text)


def test_unfinished_tokens_are_single_characters():
    assert clean_one("<mask", "unknown") == "XMASK"
    assert clean_one("<<mask>>", "unknown") == "X#X"
    assert clean_one("<ma-sk>", "drop") == "MASK"


def test_invalid_character_message():
    with pytest.raises(ValueError, match="is not in ESM's alphabet") as caught:
        clean(["MKT", "MKTJAYIAKQRQISFVKSHFSRQ"])
    assert str(caught.value) == (
        "Sequence 1 (MKTJAYIAKQRQISFVK...) has 'J' at position 4, which is not in ESM's "
        "alphabet. Set invalid='unknown', 'mask' or 'drop' to accept it."
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("MKT*", "Remove the stop at the end of a translation with sequence.rstrip('*')."),
        ("MKT* \n", "Remove the stop at the end of a translation"),
        ("MK T", "Remove inner white space with ''.join(sequence.split())."),
        ("MK#T", "Write the mask token as '<mask>'."),
    ],
)
def test_invalid_character_hint(text, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        clean_one(text)


def test_inner_stop_has_no_hint_about_the_end():
    with pytest.raises(ValueError, match=r"'\*' at position 4, which is not in ESM's alphabet\. S"):
        clean_one("MKT*AYI*")


@pytest.mark.parametrize("text", ["  MK*T", "mk<mask>t-", "\n\tA\u00e9", "MKT<cls>", "MKT J"])
def test_position_points_into_the_text_as_given(text):
    X = ["AAA", text]
    with pytest.raises(ValueError, match="at position") as caught:
        clean(X)
    row, unit, position = re.match(
        r"Sequence (\d+) .* has '(.+)' at position (\d+),", str(caught.value)
    ).groups()
    assert X[int(row)][int(position) - 1 :].startswith(unit)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (None, "None"),
        (float("nan"), "nan"),
        (np.float32("nan"), "nan"),
        (np.ma.masked, "masked"),
        ("", "''"),
        (" \t\n", "' \\t\\n'"),
        (("label", None), "('label', None)"),
        ([""], "['']"),
    ],
    ids=repr,
)
def test_missing(item, found):
    assert clean(["MKT", item, "GIG"], missing="nan") == WITH_GAP
    with pytest.raises(ValueError, match=r"Sequence 1 is missing: found .*missing='nan'") as caught:
        clean(["MKT", item])
    assert found in str(caught.value).replace("\\\\", "\\")


def test_missing_values_of_pandas():
    pd = pytest.importorskip("pandas")
    assert clean(["MKT", pd.NA, pd.NaT], missing="nan") == ["MKT", None, None]
    assert clean(pd.Series([np.nan, np.nan]), missing="nan") == [None, None]
    with pytest.raises(ValueError, match="Sequence 0 is missing: found <NA>"):
        clean([pd.NA])
    with pytest.raises(ValueError, match="Sequence 0 is missing: found NaT"):
        clean([pd.NaT])


def test_masked_items_of_a_masked_array():
    assert clean(np.ma.array(["MKT", "A", "GIG"], mask=[0, 1, 0]), missing="nan") == WITH_GAP


def test_nothing_left_after_dropping_is_missing():
    assert clean(["MKT", "--*", "GIG"], "drop", "nan") == WITH_GAP
    with pytest.raises(ValueError, match=r"Sequence 0 is missing: found --\*, of which invalid='dr"):
        clean_one("--*", "drop")


# Real-world untidiness: a FASTA file's records, lines joined as a parser joins them

VALID = {
    "lowercase": ("mktayiakqr", "MKTAYIAKQR"),
    "softmasked": ("MKTaayiAKQR", "MKTAAYIAKQR"),
    "allX": ("XXXXXXXXXX", "XXXXXXXXXX"),
    "one_residue": ("M", "M"),
    "dup": ("MKTAYI", "MKTAYI"),
    "trailing_ws": ("MKTAYIAKQR   \t", "MKTAYIAKQR"),
    "last_no_newline": ("MKTAYIAKQR", "MKTAYIAKQR"),
    # DNA is spelled in residue letters; nothing in the string tells it from a protein
    "dna": ("ATGGCGTACGTTAGCNNNNACGT", "ATGGCGTACGTTAGCNNNNACGT"),
}
# name: text, the character and position of the error, unknown, mask, drop
INVALID = {
    "bom": ("\ufeffMKT", "\ufeff", 1, "XMKT", "#MKT", "MKT"),
    "bom_first": ("MKT AYIAKQR", " ", 4, "MKTXAYIAKQR", "MKT#AYIAKQR", "MKTAYIAKQR"),
    "stop_end": ("MKTAYIAKQR*", "*", 11, "MKTAYIAKQRX", "MKTAYIAKQR#", "MKTAYIAKQR"),
    "stop_mid": ("MKT*AYI*AKQR", "*", 4, "MKTXAYIXAKQR", "MKT#AYI#AKQR", "MKTAYIAKQR"),
    "gaps": (
        *("--MKT-AY.IAKQR--", "-", 1),
        *("XXMKTXAYXIAKQRXX", "##MKT#AY#IAKQR##", "MKTAYIAKQR"),
    ),
    "ambig": ("MBKZTJAXYUIOKQR", "J", 6, "MBKZTXAXYUIOKQR", "MBKZT#AXYUIOKQR", "MBKZTAXYUIOKQR"),
    "digits": (
        *("1 MKTAYIAKQR 10", "1", 1),
        *("XXMKTAYIAKQRXXX", "##MKTAYIAKQR###", "MKTAYIAKQR"),
    ),
    "maskword": (
        *("MKT<mask>AYI<cls><eos><pad>", "<cls>", 13),
        *("MKT#AYIXXX", "MKT#AYI###", "MKT#AYI"),
    ),
    "cr_only": ("MKTAYI\rAKQR", "\r", 7, "MKTAYIXAKQR", "MKTAYI#AKQR", "MKTAYIAKQR"),
}


@pytest.mark.parametrize(("text", "expected"), VALID.values(), ids=VALID)
@pytest.mark.parametrize("invalid", ["error", *REPLACEMENT])
def test_nasty_but_valid(text, expected, invalid):
    assert clean_one(text, invalid) == expected


@pytest.mark.parametrize(
    ("text", "character", "position", "unknown", "mask", "drop"), INVALID.values(), ids=INVALID
)
def test_nasty_and_invalid(text, character, position, unknown, mask, drop):
    assert clean_one(text, "unknown") == unknown
    assert clean_one(text, "mask") == mask
    assert clean_one(text, "drop") == drop
    where = re.escape(f"has {character!r} at position {position}, which is not in ESM's alphabet")
    with pytest.raises(ValueError, match=rf"Sequence 1 \(.*\) {where}.* Set invalid='unknown', 'm"):
        clean(["MKT", text])


def test_nasty_empty_record():
    assert clean(["MKTAYI", ""], missing="nan") == ["MKTAYI", None]


# Any text; those that test_mutations_are_no_sequences.py is about, and more with a digit, are left out

NO_SEQUENCES = re.compile(r"[a-z*]\d|^\s*(nan|none|<na>|nat|null)\s*$", re.ASCII | re.IGNORECASE)
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=3),
        st.text(RESIDUES + RESIDUES.lower() + " *-.J", max_size=8),
        st.sampled_from(
            [*SPECIAL_TOKENS, "<mask>", "<MASK>", "<Cls>", "<", "mask>", "\ufeff", "\u00df"]
        ),
    ),
    max_size=6,
).map("".join)
TEXTS = TEXTS.filter(lambda text: not NO_SEQUENCES.search(text))


def units(text):
    """Split as fair-esm would see it: special tokens whole, then one character at a time."""
    while text:
        heads = [text[: len(t)] for t in [*SPECIAL_TOKENS, "<mask>"]]
        tokens = [h for h in heads if h.isascii() and h.lower() in [*SPECIAL_TOKENS, "<mask>"]]
        unit = tokens[0] if tokens else text[0]
        yield unit
        text = text[len(unit) :]


def by_hand(text, invalid):
    result = ""
    for unit in units(text.strip()):
        if unit.isascii() and unit.lower() == "<mask>":
            result += MASK
        elif unit in [*RESIDUES, *RESIDUES.lower()]:
            result += unit.upper()
        else:
            result += REPLACEMENT[invalid]
    return result


@settings(deadline=None)  # a busy machine is no failure
@given(TEXTS)
def test_any_text_is_cleaned_as_by_hand(text):
    for invalid in REPLACEMENT:
        assert clean_one(text, invalid, "nan") == (by_hand(text, invalid) or None)
    unknown = clean_one(text, "unknown", "nan") or ""
    assert len(unknown) == len(list(units(text.strip())))


@settings(deadline=None)  # a busy machine is no failure
@given(TEXTS)
def test_any_text_gives_residues_or_a_clear_error(text):
    expected = list(units(text.strip()))
    bad = [u for u in expected if u not in [*RESIDUES, *RESIDUES.lower()] and u.lower() != "<mask>"]
    if bad:
        with pytest.raises(ValueError, match=re.escape(f"has {bad[0]!r} at position")):
            clean_one(text)
    elif not expected:
        with pytest.raises(ValueError, match=r"Sequence 0 is missing: .*missing='nan'"):
            clean_one(text)
    else:
        assert set(clean_one(text)) <= {*RESIDUES, MASK}


@settings(deadline=None)  # a busy machine is no failure
@given(TEXTS)
def test_cleaning_twice_is_cleaning_once(text):
    once = clean_one(text, "drop", "nan")
    if once is not None and MASK not in once:
        assert clean_one(once) == once


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ("MKT", "MKT"),
        ("A" * 20, "A" * 20),
        ("A" * 21, "A" * 17 + "..."),
        ("MK\rT\ufeff", "MK\\rT\\ufeff"),
    ],
)
def test_shorten(sequence, expected):
    assert shorten(sequence) == expected


def test_shorten_to_a_width():
    assert shorten("MKTAYIAKQR", width=6) == "MKT..."
