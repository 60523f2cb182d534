"""What a caller has set in torch changes no output, and is as it was afterwards."""

import os
import warnings

import numpy as np
import pytest
import torch
from fair_esm_oracle import (
    FAMILIES,
    LAYERS,
    assert_faithful,
    fair_esm_contacts,
    fair_esm_log_probability,
    fair_esm_residues,
    residues_of,
    rounding,
)
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_states import (
    ALONE,
    AS_IT_STARTS,
    IN_A_THREAD,
    LAYERS_READ,
    SEQUENCES,
    STATES,
    WITH_CONTACTS,
    outputs_of_a_new_process,
    state,
)

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel, _blocks, _isolation, hidden_states
from sklearn_esm._engine._isolation import isolation


@pytest.fixture(scope="module")
def run(checkpoints, new_process):
    folder = checkpoints["esm2"].path.parent
    return lambda name, path: outputs_of_a_new_process(new_process, name, folder, path)


@pytest.fixture(scope="module")
def undisturbed(run, tmp_path_factory):
    """The outputs of a new process in which nobody has set anything, and its states."""
    return run(AS_IT_STARTS, tmp_path_factory.mktemp("states") / "outputs.npz")


@pytest.fixture(scope="module")
def expected(checkpoints):
    """fair-esm's answers, by the name of the output."""
    answers = {}
    for family in FAMILIES:
        checkpoint = checkpoints[family]
        for kind, sequences in {"together": SEQUENCES, "alone": ALONE}.items():
            states = [
                fair_esm_residues(checkpoint, sequences, layer % (LAYERS + 1)) for layer in LAYERS_READ
            ]
            answers[f"{family} embeddings {kind}"] = np.stack(
                [np.stack([residues.mean(0) for residues in rows]) for rows in states], axis=1
            )  # (sequences, layers, width)
            scores = [
                (pseudo_perplexity(checkpoint, s), log_likelihood(checkpoint, s)) for s in sequences
            ]
            answers[f"{family} likelihoods {kind}"] = np.array(scores)
            if family in WITH_CONTACTS:
                contacts = fair_esm_contacts(checkpoint, sequences)
                answers[f"{family} contacts {kind}"] = np.concatenate([one.ravel() for one in contacts])
    return answers


def terms(checkpoint, sequence, masked):
    return [
        fair_esm_log_probability(checkpoint, sequence, position, masked=masked)
        for position, residue in enumerate(residues_of(sequence))
        if residue != "<mask>"
    ]


def log_likelihood(checkpoint, sequence):
    return np.sum(terms(checkpoint, sequence, masked=False))


def pseudo_perplexity(checkpoint, sequence):
    return np.exp(-np.mean(terms(checkpoint, sequence, masked=True)))


@pytest.mark.parametrize("name", STATES)
def test_outputs_are_the_same_in_every_state(checkpoints, run, undisturbed, expected, tmp_path, name):
    results, before, after = undisturbed
    if name != AS_IT_STARTS:
        results, before, after = run(name, tmp_path / "outputs.npz")
        assert before != undisturbed[1]
    assert before == after
    assert results.keys() == undisturbed[0].keys()
    for key, result in results.items():
        family, dtype, output, kind = key.split()
        if dtype == "int8" and name in IN_A_THREAD:
            continue  # sums of several threads differ in their last bit, which tips a rounding
        if dtype != "float32":
            assert_array_equal(result, undisturbed[0][key], err_msg=key)
            continue
        answer = expected[f"{family} {output} {kind}"]
        if output == "embeddings":
            assert_faithful(result.reshape(answer.shape), answer)
        elif output == "likelihoods":
            assert_allclose(result, answer, rtol=rounding(checkpoints[family]), err_msg=key)
        else:
            assert_allclose(result, answer, rtol=0, atol=1e-5, err_msg=key)


def test_cache_filled_under_autocast_serves_right_vectors(checkpoint, folder):
    embed = ESMEmbeddingTransformer(checkpoint.path, cache=folder).fit(SEQUENCES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embed.transform(ALONE)
    assert_faithful(embed.transform(SEQUENCES), means(checkpoint, SEQUENCES))


def means(checkpoint, sequences):
    return np.stack([states.mean(0) for states in fair_esm_residues(checkpoint, sequences, LAYERS)])


# within a pass, and around it


@pytest.fixture
def medium():
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(former)


@pytest.fixture
def precision_of_one_library():
    # after which torch refuses to give one precision for all
    products = torch.backends.mkldnn.matmul
    former = products.fp32_precision
    products.fp32_precision = "bf16"
    yield
    products.fp32_precision = former


@pytest.mark.parametrize("precision", ["medium", "precision_of_one_library"])
def test_state_is_set_within_a_pass_and_left_at_each_block_of_states(
    checkpoint, request, monkeypatch, precision
):
    request.getfixturevalue(precision)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    within = []
    forward = _blocks.Block.forward
    monkeypatch.setattr(
        _blocks.Block, "forward", lambda *given: (within.append(state()), forward(*given))
    )
    model = PackedModel(read_checkpoint(checkpoint.path), "cpu", "float32")
    with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        outside = state()
        at_blocks = [state() for _ in hidden_states(model, ALONE, [1, 2])]
        assert state() == outside
    assert at_blocks == [outside, outside]
    assert outside["precisions"][2] == "bf16"
    assert outside["oneDNN"] is False
    assert len(within) == 2
    for found in within:
        assert found["autocast"] == [False, False, False]
        assert found["inference"] is True
        assert set(found["precisions"][1:]) == {"ieee"}
        assert found["oneDNN"] is True
        assert found["attention"] == [True, True, True, True]


def test_tf32_of_gpus_is_off_within_a_pass_and_on_again_after_it():
    products = torch.backends.cuda.matmul
    former = torch.get_float32_matmul_precision(), products.fp32_precision
    products.allow_tf32 = True
    try:
        with isolation():
            assert (products.fp32_precision, products.allow_tf32) == ("ieee", False)
        assert (products.fp32_precision, products.allow_tf32) == ("tf32", True)
    finally:
        torch.set_float32_matmul_precision(former[0])
        products.fp32_precision = former[1]


@pytest.mark.usefixtures("medium")
def test_what_is_set_for_all_threads_is_put_back_by_the_last_one():
    settings = _isolation._settings
    settings.take("one thread")
    settings.take("another thread")
    settings.give_back("one thread")
    assert torch.get_float32_matmul_precision() == "highest"
    settings.give_back("another thread")
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.usefixtures("medium")
def test_what_another_thread_sets_during_a_pass_stays():
    with isolation():
        torch.set_float32_matmul_precision("high")
        with isolation():
            assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "high"
    with isolation():
        torch.set_float32_matmul_precision("medium")
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.usefixtures("medium")
def test_error_in_a_pass_puts_everything_back():
    former = state()
    with pytest.raises(KeyboardInterrupt), isolation():
        raise KeyboardInterrupt
    assert state() == former


@pytest.mark.usefixtures("medium")
def test_a_new_process_begins_with_what_the_caller_set():
    with warnings.catch_warnings(), isolation():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the threads that a fork ends
        child = os.fork()
        if not child:
            found = []
            try:
                found.append(torch.get_float32_matmul_precision())
                with isolation():
                    found.append(torch.get_float32_matmul_precision())
                found.append(torch.get_float32_matmul_precision())
            finally:  # whatever happens, the child must not go on with the tests
                os._exit(0 if found == ["medium", "highest", "medium"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.get_float32_matmul_precision() == "medium"
