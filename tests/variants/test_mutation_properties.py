"""Properties of names of mutations: round trips, every way to write a variant, and hostile strings."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sklearn_esm._sequences import RESIDUES
from sklearn_esm.variants import apply_mutations, name_mutations, single_substitutions

pytestmark = pytest.mark.no_cover

relaxed = settings(deadline=None, max_examples=200)  # a busy machine is no failure

CODES = dict(
    zip(
        RESIDUES,
        re.findall(
            "...",
            "AlaCysAspGluPheGlyHisIleLysLeuMetAsnProGlnArgSerThrValTrpTyrAsxSecGlxPylXaa",
        ),
        strict=True,
    )
)
SEPARATORS = [":", ",", "/", ";", "+", "_", " ", "\t", ", ", " / "]
FIRST = st.integers(0, 2000)
REFERENCES = st.text(RESIDUES, min_size=1, max_size=30)


@st.composite
def pairs(draw):
    """Two sequences of the same length, most of them close to each other."""
    one = draw(REFERENCES)
    new = draw(st.lists(st.sampled_from([None, None, *RESIDUES]), min_size=len(one), max_size=len(one)))
    return one, "".join(letter or old for letter, old in zip(new, one, strict=True))


@relaxed
@given(pairs(), FIRST, st.sampled_from(SEPARATORS))
def test_a_sequence_is_that_of_its_name(pair, first, separator):
    reference, sequence = pair
    name = name_mutations(reference, sequence, first, separator)
    assert apply_mutations(reference, name, first) == sequence
    assert (name == "WT") == (sequence == reference)


@relaxed
@given(st.data(), REFERENCES, FIRST)
def test_a_name_is_that_of_its_sequence(data, reference, first):
    count = data.draw(st.integers(1, len(reference)))
    scan = single_substitutions(reference, residues=RESIDUES, first_position=first)
    names = data.draw(
        st.lists(
            st.sampled_from(scan), min_size=1, max_size=count, unique_by=lambda name: int(name[1:-1])
        )
    )
    ordered = ":".join(sorted(names, key=lambda name: int(name[1:-1])))
    sequence = apply_mutations(reference, ":".join(names), first)
    assert name_mutations(reference, sequence, first) == ordered


@st.composite
def variants(draw):
    """A reference, a text of changes that do not overlap, and the sequence made from the end."""
    reference = draw(st.text("ACDKWX", min_size=2, max_size=12))
    first = draw(st.integers(0, 50))
    three = draw(st.booleans())
    case = draw(st.sampled_from([str, str.upper, str.lower]))

    def written(residues):
        return "".join(CODES[residue] if three else residue for residue in residues)

    def site(index):
        return f"{written(reference[index])}{first + index}"

    edits, texts, index = [], [], draw(st.integers(0, 3))
    while index < len(reference):
        last = min(index + draw(st.integers(0, 2)), len(reference) - 1)
        span = site(index) if index == last else f"{site(index)}_{site(last)}"
        old, new = reference[index : last + 1], draw(st.text("GRYO", min_size=1, max_size=3))
        kinds = {
            "del": (f"{span}del", index, last + 1, ""),
            "dup": (f"{span}dup", index, last + 1, old + old),
            "delins": (f"{span}delins{written(new)}", index, last + 1, new),
        }
        if index == last:
            kinds["sub"] = (f"{span}{written(new[0])}", index, last + 1, new[0])
            kinds["="] = (f"{span}=", index, last + 1, old)
        elif last == index + 1:
            kinds["ins"] = (f"{span}ins{written(new)}", last, last, new)
        text, start, stop, residues = kinds[draw(st.sampled_from(sorted(kinds)))]
        texts.append(draw(st.sampled_from(["", "p."])) + case(text))
        edits.append((start, stop, residues))
        index = last + 1 + draw(st.integers(0, 3))
    sequence = reference
    for start, stop, residues in reversed(edits):
        sequence = sequence[:start] + residues + sequence[stop:]
    texts = draw(st.permutations(texts))
    return reference, draw(st.sampled_from(SEPARATORS)).join(texts), first, sequence


@relaxed
@given(variants())
def test_changes_in_any_order_and_notation_give_the_sequence(variant):
    reference, text, first, sequence = variant
    if sequence:
        assert apply_mutations(reference, text, first) == sequence
    else:
        with pytest.raises(ValueError, match=r"^Row 0 \(.* must leave at least one residue"):
            apply_mutations(reference, text, first)


PIECES = st.one_of(
    st.text(max_size=4),
    st.text("ACKGacJ*_-=:;,/+.()[]0123456789 \t\n", max_size=6),
    st.sampled_from(
        ["A1", "C2", "K3", "A1G", "C2_K3", "del", "ins", "delins", "dup", "fs", "Ter", "p.", "Ala", "WT"]
    ),
)


@relaxed
@given(st.one_of(st.text(), st.lists(PIECES, max_size=6).map("".join)))
@example("A" * 1000)
@example("A1" + "0" * 10_000 + "G")
@example("_" * 1000)
@example("\ud800A1G")  # half of a pair, which no encoding has
@example("A1\x00G")
@example("A\u0661G")  # a digit, but not of ASCII
def test_a_hostile_text_gives_a_sequence_or_an_error_with_its_row_and_text(text):
    sequence, error = outcome("ACKG", ["WT", text])
    if error is None:
        assert sequence[1]
        assert set(sequence[1]) <= set(RESIDUES)
    else:
        shown = text if len(text) <= 20 else f"{text[:17]}..."
        named = re.match(r"Row 1 \((.*?)\) must ", error, re.DOTALL)
        assert named[1] in (shown, repr(shown)[1:-1])


@relaxed
@given(st.text(max_size=10), st.text(max_size=10))
def test_a_hostile_reference_gives_a_sequence_or_a_value_error(reference, text):
    sequence, error = outcome(reference, text)
    assert sequence or re.match(r"reference must|Row 0 \(", error)


def outcome(reference, mutations):
    """What is returned, and the message of a ValueError."""
    try:
        return apply_mutations(reference, mutations), None
    except ValueError as error:
        return None, str(error)
