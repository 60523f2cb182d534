"""Likelihoods at the edges: windows, parameters and sequences that are refused, too little memory."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from fair_esm_oracle import (
    fair_esm_log_probability,
    fair_esm_residues,
    residues_of,
    rounding,
)
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._engine import PackedModel
from sklearn_esm._execution import _workers

LIMIT = 40  # of the random ESM-1b
PROTEIN = (  # 90 residues
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQTLGQHDFSAGE"
)
REFERENCE = "MKTAYIAKQR"
OF_SEQUENCES = ["log-likelihood", "pseudo-log-likelihood"]
MARGINALS = ["wt-marginals", "masked-marginals"]


def scorer(checkpoint, **parameters):
    return ESMLikelihoodTransformer(checkpoint.path, **{"cache": None, **parameters})


def score(checkpoint, sequences, **parameters):
    return scorer(checkpoint, **parameters).fit_transform(sequences)


def by_hand(checkpoint, sequence, window=None):
    """Log-likelihood and pseudo-log-likelihood of one sequence."""
    positions = [i for i, residue in enumerate(residues_of(sequence)) if residue != "<mask>"]
    return [
        sum(
            fair_esm_log_probability(checkpoint, sequence, i, masked=m, window=window) for i in positions
        )
        for m in (False, True)
    ]


def marginals_by_hand(checkpoint, reference, substitutions, window):
    """wt-marginals and masked-marginals of one variant."""
    totals = []
    for masked in (False, True):
        how = {"masked": masked, "window": window}
        total = 0.0
        for position, new in substitutions.items():
            total += fair_esm_log_probability(checkpoint, reference, position, new, **how)
            total -= fair_esm_log_probability(checkpoint, reference, position, **how)
        totals.append(total)
    return totals


def substituted(reference, substitutions):
    return "".join(substitutions.get(i, residue) for i, residue in enumerate(reference))


# windows

SHORT = [PROTEIN[:8], "GLDALQITV", "MKT", "MKTAY<mask>IAKQRQISF", PROTEIN[20:45]]
WINDOWED = [
    (
        "esm1b",
        None,
        [PROTEIN, "GLDALQITV", PROTEIN[: LIMIT + 1], PROTEIN[:30] + "<mask>" + PROTEIN[30:60]],
    ),
    ("esm1v", 33, [PROTEIN[:70]]),
    ("esm2", 7, SHORT),
    ("esm1", 6, SHORT),
    ("esm2", 1, SHORT[:2]),
]


@pytest.mark.parametrize(("family", "max_length", "sequences"), WINDOWED)
@pytest.mark.no_cover
def test_every_residue_is_judged_in_its_most_central_window(checkpoints, family, max_length, sequences):
    parameters = {"method": OF_SEQUENCES, "overlong": "window", "max_length": max_length}
    actual = score(checkpoints[family], sequences, **parameters)
    expected = [by_hand(checkpoints[family], one, max_length or LIMIT) for one in sequences]
    assert_allclose(actual, expected, rtol=rounding(checkpoints[family]))


@pytest.mark.parametrize("batch_tokens", [1, 60, 10**6])
def test_how_many_windows_run_together_does_not_show(checkpoints, batch_tokens):
    parameters = {"method": OF_SEQUENCES, "overlong": "window", "batch_tokens": batch_tokens}
    expected = by_hand(checkpoints["esm1b"], PROTEIN, LIMIT)
    assert_allclose(score(checkpoints["esm1b"], [PROTEIN], **parameters), [expected], rtol=1e-5)


VARIANTS = [{0: "W"}, {44: "A", 89: "C"}, {19: "G", 20: "G", 30: "X", 59: "P"}, {}]


def test_substitutions_are_judged_in_their_most_central_windows(checkpoints):
    sequences = [substituted(PROTEIN, one) for one in VARIANTS]
    parameters = {"method": MARGINALS, "reference": PROTEIN, "overlong": "window"}
    actual = score(checkpoints["esm1b"], sequences, **parameters)
    expected = [marginals_by_hand(checkpoints["esm1b"], PROTEIN, one, LIMIT) for one in VARIANTS]
    assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_windows_and_whole_sequences_are_cached_apart(checkpoint, cache):
    expected = {window: by_hand(checkpoint, PROTEIN[:20], window) for window in (None, 8, 11)}
    for _ in range(2):
        for window, values in expected.items():
            parameters = {"method": OF_SEQUENCES, "overlong": "window", "max_length": window}
            actual = score(checkpoint, [PROTEIN[:20]], cache=cache, **parameters)
            assert_allclose(actual, [values], rtol=1e-5)


# the other policies for overlong sequences


def test_an_overlong_sequence_is_refused_with_its_row(checkpoints):
    for call in (scorer(checkpoints["esm1b"]).fit, scorer(checkpoints["esm1b"]).fit(["A"]).transform):
        with pytest.raises(
            ValueError, match=r"Sequence 1 \(MKTAY.*must have at most 40 residues for .*; got 90"
        ):
            call(["MKT", PROTEIN])


def test_an_overlong_reference_is_refused_as_such(checkpoints):
    parameters = {"method": MARGINALS, "reference": PROTEIN}
    with pytest.raises(ValueError, match=r"^reference must be a sequence of residues\. .*got 90"):
        score(checkpoints["esm1b"], [PROTEIN], **parameters)


def test_truncate_judges_the_beginning(checkpoints):
    actual = score(checkpoints["esm1b"], [PROTEIN, "MKT"], method=OF_SEQUENCES, overlong="truncate")
    expected = [by_hand(checkpoints["esm1b"], one) for one in (PROTEIN[:LIMIT], "MKT")]
    assert_allclose(actual, expected, rtol=1e-5)


def test_truncate_cuts_the_reference_too(checkpoints):
    substitutions = {3: "W", 39: "C"}
    variant = substituted(PROTEIN, {**substitutions, 40: "A", 70: "G"})
    parameters = {"method": MARGINALS, "reference": PROTEIN, "overlong": "truncate"}
    actual = score(checkpoints["esm1b"], [variant], **parameters)
    expected = marginals_by_hand(checkpoints["esm1b"], PROTEIN[:LIMIT], substitutions, None)
    assert_allclose(actual, [expected], rtol=1e-5, atol=1e-5)


# methods and references that cannot be used

REFUSED = [
    ({"method": "perplexity"}, "method must be 'pseudo-perplexity', "),
    (
        {"method": ["log-likelihood", 3]},
        "'masked-marginals' or 'wt-marginals', or a list of these; got 3.",
    ),
    ({"method": None}, "or a list of these; got None."),
    ({"method": []}, "method must not be empty; got []. Pass at least one method."),
    ({"method": ["log-likelihood"] * 2}, "method must not repeat a name; got "),
    *(
        (
            {"method": ["log-likelihood", one]},
            f"reference must be a sequence for method={one!r}; got None.",
        )
        for one in MARGINALS
    ),
    (
        {"method": "wt-marginals", "reference": "MK*A"},
        "reference must be a sequence of residues. Sequence 0 (MK*A) has '*' at position 3, which is "
        "not in ESM's",
    ),
    ({"method": "wt-marginals", "reference": ""}, "reference must be a sequence of residues. "),
    (
        {"method": "wt-marginals", "reference": "", "missing": "nan"},
        "reference must not be empty. Set it to the wild-type sequence, or to None.",
    ),
    ({"overlong": "cut"}, "overlong must be 'error', 'truncate' or 'window'; got 'cut'."),
    ({"invalid": "ignore"}, "invalid must be 'error', 'unknown', 'mask' or 'drop'; got 'ignore'."),
    ({"missing": "skip"}, "missing must be 'error' or 'nan'; got 'skip'."),
    ({"max_length": 0}, "max_length must be None or a positive integer; got 0."),
    ({"batch_tokens": 1.5}, "batch_tokens must be None or a positive integer; got 1.5."),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED)
def test_parameters_are_refused_when_fitting(checkpoint, parameters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        scorer(checkpoint, **parameters).fit(["MKTA"])


def test_a_reference_of_another_kind_is_refused(checkpoint):
    with pytest.raises(TypeError, match=r"^reference must be a sequence .*must be a string; got 7"):
        scorer(checkpoint, method="wt-marginals", reference=7).fit(["MKTA"])


# variants that cannot be used


@pytest.mark.parametrize("method", MARGINALS)
def test_a_variant_of_another_length_is_refused_with_its_row(checkpoint, method):
    fitted = scorer(checkpoint, method=method, reference=REFERENCE).fit([REFERENCE])
    for call in (fitted.transform, fitted.fit):
        with pytest.raises(ValueError, match="Sequence 2 ") as error:
            call([REFERENCE, "WKTAYIAKQR", "MKTAYIAKQ"])
        assert "Sequence 2 (MKTAYIAKQ) has 9 residues, and the reference has 10." in str(error.value)


@pytest.mark.parametrize(
    ("reference", "variant", "what"),
    [
        ("MKTAY", "MK<mask>AY", "Sequence 1 has <mask> at position 3, and the reference has 'T'"),
        ("MK<mask>AY", "MKTAY", "Sequence 1 has 'T' at position 3, and the reference has <mask>"),
    ],
)
def test_a_mask_on_one_side_is_refused_with_its_place(checkpoint, reference, variant, what):
    fitted = scorer(checkpoint, method="masked-marginals", reference=reference).fit([reference])
    for call in (fitted.transform, fitted.fit):
        with pytest.raises(ValueError, match=re.escape(f"{what}. <mask> has no likelihood: use")):
            call([reference, variant])


def test_a_variant_that_dropping_shortens_is_refused_with_its_row(checkpoint):
    parameters = {"method": MARGINALS, "reference": REFERENCE, "invalid": "drop"}
    with pytest.raises(ValueError, match=r"Sequence 1 .* has 9 residues, and the reference has 10"):
        score(checkpoint, [REFERENCE, "MKTA-IAKQR"], **parameters)


@pytest.mark.parametrize("policy", ["unknown", "drop"])
def test_an_invalid_character_is_scored_as_the_policy_reads_it(checkpoint, policy):
    read_as = {"unknown": "MKTXAYI", "drop": "MKTAYI"}[policy]
    actual = score(checkpoint, ["MKT*AYI"], method=OF_SEQUENCES, invalid=policy)
    assert_allclose(actual, [by_hand(checkpoint, read_as)], rtol=1e-5)


def test_a_reference_does_no_harm_to_methods_without_one(checkpoint):
    # a list of methods may be tuned while the reference stays
    actual = score(checkpoint, ["MKT", "A"], method="log-likelihood", reference=REFERENCE)
    assert_array_equal(actual, score(checkpoint, ["MKT", "A"], method="log-likelihood"))


# missing rows


def test_a_missing_row_is_nan_and_the_others_are_untouched(checkpoint):
    parameters = {"method": [*OF_SEQUENCES, *MARGINALS], "reference": REFERENCE, "missing": "nan"}
    variants = ["WKTAYIAKQR", REFERENCE, "MKTAYIAKQW"]
    actual = score(checkpoint, [None, variants[0], variants[1], "", variants[2]], **parameters)
    assert np.isnan(actual[[0, 3]]).all()
    assert_array_equal(actual[[1, 2, 4]], score(checkpoint, variants, **parameters))


def test_nothing_but_missing_rows_is_nan(checkpoint):
    parameters = {"method": [*OF_SEQUENCES, *MARGINALS], "reference": REFERENCE, "missing": "nan"}
    assert_array_equal(score(checkpoint, [None, float("nan")], **parameters), np.full((2, 4), np.nan))


def test_a_missing_row_is_an_error_by_default(checkpoint):
    with pytest.raises(ValueError, match="Sequence 1 is missing"):
        score(checkpoint, ["MKT", None])


# checkpoints


@pytest.mark.parametrize("family", ["esm2", "esm1"])  # their heads have other names
def test_a_checkpoint_without_a_head_is_refused_when_transforming(checkpoints, tmp_path, family):
    checkpoint = checkpoints[family]
    data = torch.load(checkpoint.path, weights_only=False)
    heads = ("lm_head.", "embed_out")
    data["model"] = {n: t for n, t in data["model"].items() if not any(head in n for head in heads)}
    headless = replace(checkpoint, path=tmp_path / "headless.pt")
    torch.save(data, headless.path)
    fitted = scorer(headless).fit(["MKT"])
    message = (
        rf"^{re.escape(str(headless.path))} must have a language-model head; got .* without '.*'\. "
    )
    with pytest.raises(ValueError, match=message + "Use the published file"):
        fitted.transform(["MKT"])
    # it is of use for all else
    means = ESMEmbeddingTransformer(headless.path, cache=None).fit_transform(["MKT"])
    assert_allclose(means[0], fair_esm_residues(checkpoint, ["MKT"], 3)[0].mean(0), rtol=1e-4, atol=1e-5)


def test_weights_that_changed_since_fitting_are_refused(checkpoints, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(checkpoints["esm1b"].path.read_bytes())
    fitted = ESMLikelihoodTransformer(path).fit(["MKT"])
    path.write_bytes(checkpoints["esm1v"].path.read_bytes())
    with pytest.raises(ValueError, match=r"The weights of 'a' .* must be those .* fitted with"):
        fitted.transform(["MKT"])


# memory


@pytest.fixture
def small_device(checkpoint, tmp_path, monkeypatch):
    """A copy of the checkpoint for which no batch was too large yet, on a device with little memory."""
    tried = []
    hidden_states = PackedModel.hidden_states

    def limited(most):
        def running(model, tokens, layers):
            tried.append(len(tokens.ids))
            if len(tokens.ids) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return hidden_states(model, tokens, layers)

        monkeypatch.setattr(PackedModel, "hidden_states", running)
        monkeypatch.setattr(_workers, "batches_at_a_time", lambda *_: 1)  # as on a GPU
        path = tmp_path / "fresh.pt"
        path.write_bytes(checkpoint.path.read_bytes())
        return replace(checkpoint, path=path), tried

    return limited


@pytest.mark.parametrize("window", [None, 12])
def test_fewer_masked_copies_run_at_a_time_where_memory_is_short(checkpoint, small_device, window):
    sequences = [PROTEIN[:20], PROTEIN[30:43], "MKT"]
    parameters = {"method": "pseudo-log-likelihood", "overlong": "window", "max_length": window}
    fresh, tried = small_device(60)
    with pytest.warns(RuntimeWarning, match="did not fit into the memory of cpu"):
        actual = score(fresh, sequences, batch_tokens=300, **parameters)
    expected = [[by_hand(checkpoint, sequence, window)[1]] for sequence in sequences]
    assert_allclose(actual, expected, rtol=1e-5)
    assert max(tried) > 60


def test_a_sequence_that_does_not_fit_alone_is_named_as_it_was_given(small_device):
    fresh, _ = small_device(30)
    with (
        pytest.warns(RuntimeWarning, match="did not fit"),
        pytest.raises(MemoryError, match=r"MKTAYIAKQRQISFVKS\.\.\. \(40 residues\) .*even alone"),
    ):
        score(fresh, [PROTEIN[:40]], method="pseudo-log-likelihood", batch_tokens=300)
