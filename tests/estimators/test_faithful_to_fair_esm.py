"""Promise 1 and 2: fair-esm's numbers at every layer, whatever else is in the batch."""

import subprocess
import sys
import textwrap

import esm.data
import numpy as np
import pytest
import torch
from fair_esm_oracle import (
    FAMILIES,
    LAYERS,
    RandomCheckpoint,
    assert_faithful,
    fair_esm,
    fair_esm_residues,
    fair_esm_states,
    save_random_checkpoint,
)
from numpy.testing import assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._engine import PackedModel, hidden_states
from sklearn_esm._engine import _tokens as tokens_module
from sklearn_esm._sequences import MASK, RESIDUES, clean_sequences

pytestmark = pytest.mark.no_cover

SEQUENCES = [
    "MKT",
    "A",
    "ACDEFGHIKLMNPQRSTVWYBUZOX",
    "KA<mask>ISQ",
    "MKTAYI",
    "<mask><mask>L",
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPIL",
    "GLDALQITV",
    "<mask>",
    "QITVGLDAL",
    "LAGVSERTIDPKQNFYMHWC<mask>LAGV<mask>SERT",
]

POOLINGS = {
    "mean": lambda residues: residues.mean(0),
    "max": lambda residues: residues.max(0),
    "min": lambda residues: residues.min(0),
    "sum": lambda residues: residues.sum(0),
    "std": lambda residues: np.sqrt(((residues - residues.mean(0)) ** 2).mean(0)),
}


def embed(checkpoint, sequences, **parameters):
    return ESMEmbeddingTransformer(checkpoint.path, cache=None, **parameters).fit_transform(sequences)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_of_every_layer_equals_fair_esm(checkpoints, family):
    checkpoint = checkpoints[family]
    model = PackedModel(read_checkpoint(checkpoint.path), "cpu", "float32")
    clean = clean_sequences(SEQUENCES, invalid="error", missing="error")
    for layer in range(LAYERS + 1):
        expected = fair_esm_states(checkpoint, SEQUENCES, layer)
        row = 0
        for _, first, group in hidden_states(model, clean, [layer]):
            assert first == row
            for states in group:
                assert_faithful(states, expected[row])
                row += 1
        assert row == len(SEQUENCES)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_pooling_equals_fair_esm_pooled_by_hand(checkpoints, family):
    columns = [
        np.stack([pool(one.astype(np.float64)) for one in states])
        for states in (
            fair_esm_residues(checkpoints[family], SEQUENCES, layer) for layer in range(LAYERS + 1)
        )
        for pool in POOLINGS.values()
    ]
    expected = np.stack(columns, axis=1)  # (sequences, layers x poolings, width)
    actual = embed(checkpoints[family], SEQUENCES, layer="all", pooling=list(POOLINGS))
    assert actual.dtype == np.float32
    assert_faithful(actual.reshape(expected.shape), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_bos_and_eos_equal_fair_esm(checkpoints, family):
    states = fair_esm_states(checkpoints[family], SEQUENCES, LAYERS)
    ends = {"bos": 0, "eos": -1} if checkpoints[family].has_eos else {"bos": 0}
    for pooling, token in ends.items():
        expected = np.stack([s[token] for s in states])
        assert_faithful(embed(checkpoints[family], SEQUENCES, pooling=pooling), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_pooling_gives_fair_esm_residues(checkpoints, family):
    expected = [
        np.concatenate(layers, axis=1)
        for layers in zip(
            fair_esm_residues(checkpoints[family], SEQUENCES, LAYERS),
            fair_esm_residues(checkpoints[family], SEQUENCES, 0),
            strict=True,
        )
    ]
    actual = embed(checkpoints[family], SEQUENCES, layer=[-1, 0], pooling=None)
    assert actual.shape == (len(SEQUENCES),)
    assert actual.dtype == object
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == np.float32
        assert_faithful(one, other)


def test_esm1_keeps_its_last_residue(checkpoints):
    # ESM-1 has no EOS; code written for its successors cuts the last residue off
    (residues,) = embed(checkpoints["esm1"], ["MKTAYI"], pooling=None)
    (expected,) = fair_esm_states(checkpoints["esm1"], ["MKTAYI"], LAYERS)
    assert residues.shape[0] == 6
    assert_faithful(residues[-1], expected[-1])


def test_lists_of_layers_and_poolings_are_concatenated_in_order(checkpoints):
    states = {layer: fair_esm_residues(checkpoints["esm2"], SEQUENCES, layer) for layer in (3, 1)}
    expected = np.stack(
        [
            np.concatenate([f(states[layer][row]) for layer in (3, 1) for f in (np_max, np_mean)])
            for row in range(len(SEQUENCES))
        ]
    )
    actual = embed(checkpoints["esm2"], SEQUENCES, layer=[-1, 1], pooling=["max", "mean"])
    assert_faithful(actual, expected)


def np_max(residues):
    return residues.max(0)


def np_mean(residues):
    return residues.mean(0)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_files_equal_fair_esm(tmp_path, family):
    checkpoint = save_random_checkpoint(tmp_path / "half.pt", family, dtype=torch.float16)
    for layer in (0, LAYERS):
        expected = np.stack([s.mean(0) for s in fair_esm_residues(checkpoint, SEQUENCES, layer)])
        assert_faithful(embed(checkpoint, SEQUENCES, layer=layer), expected)


def test_the_bundled_model_equals_fair_esm():
    checkpoint = RandomCheckpoint(find_checkpoint("esm2_t6_1M_bundled"), "esm2")
    assert checkpoint.path.stat().st_size <= 4 * 2**20
    for layer in range(7):
        expected = np.stack([s.mean(0) for s in fair_esm_residues(checkpoint, SEQUENCES, layer)])
        assert_faithful(embed(checkpoint, SEQUENCES, layer=layer), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_legacy_files_equal_fair_esm(tmp_path, family):
    checkpoint = save_random_checkpoint(tmp_path / "old.pt", family, legacy=True)
    expected = np.stack([s.mean(0) for s in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)])
    assert_faithful(embed(checkpoint, SEQUENCES), expected)


@pytest.mark.parametrize("family", ["esm2", "esm1"])
def test_a_thousand_residues_equal_fair_esm(checkpoints, family):
    sequence = "".join(np.random.default_rng(1).choice(list("ACDEFGHIKLMNPQRSTVWY"), 1200))
    (expected,) = fair_esm_residues(checkpoints[family], [sequence], LAYERS)
    (actual,) = embed(checkpoints[family], [sequence], pooling=None)
    assert_faithful(actual, expected)


def test_rotary_frequencies_are_taken_from_the_file(checkpoints, tmp_path):
    data = torch.load(checkpoints["esm2"].path, weights_only=False)
    data["model"] = {
        name: tensor * 2 if name.endswith("inv_freq") else tensor
        for name, tensor in data["model"].items()
    }
    torch.save(data, tmp_path / "faster.pt")
    checkpoint = type(checkpoints["esm2"])(tmp_path / "faster.pt", "esm2")
    expected = np.stack([s.mean(0) for s in fair_esm_residues(checkpoint, SEQUENCES, LAYERS)])
    actual = embed(checkpoint, SEQUENCES)
    assert_faithful(actual, expected)
    assert np.abs(actual - embed(checkpoints["esm2"], SEQUENCES)).max() > 1e-2


# Rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_does_not_depend_on_its_batch(checkpoints, family):
    together = embed(checkpoints[family], SEQUENCES)
    for row, sequence in enumerate(SEQUENCES):
        assert_faithful(embed(checkpoints[family], [sequence])[0], together[row])


def test_rows_keep_their_order(checkpoints):
    order = np.random.default_rng(0).permutation(len(SEQUENCES))
    shuffled = embed(checkpoints["esm2"], [SEQUENCES[row] for row in order])
    assert_faithful(shuffled, embed(checkpoints["esm2"], SEQUENCES)[order])


def test_repeated_sequences_keep_their_rows(checkpoints):
    # a peer zipped de-duplicated vectors with the original rows
    once = embed(checkpoints["esm2"], ["MKT", "GIGKFLHSAKKF"])
    repeated = embed(checkpoints["esm2"], ["MKT", "MKT", "GIGKFLHSAKKF", "mkt ", "GIGKFLHSAKKF"])
    assert_array_equal(repeated, once[[0, 0, 1, 0, 1]])


# Tokens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_token_ids_are_those_of_fair_esm(checkpoints, family):
    _, converter = fair_esm(checkpoints[family])
    architecture = read_checkpoint(checkpoints[family].path).architecture
    clean = clean_sequences(SEQUENCES, invalid="error", missing="error")
    expected = [converter([("", sequence)])[2][0] for sequence in SEQUENCES]
    tokens = tokens_module.tokenise(clean, architecture)
    assert_array_equal(tokens.ids, torch.cat(expected))
    assert_array_equal(tokens.positions, np.concatenate([np.arange(len(ids)) for ids in expected]))


def test_token_ids_of_the_documented_example(checkpoints):
    architecture = read_checkpoint(checkpoints["esm2"].path).architecture
    (clean,) = clean_sequences(["ARNDCQGEGHILKMFPSTWYV<mask>"], invalid="error", missing="error")
    ids = [0, 5, 10, 17, 13, 23, 16, 6, 9, 6, 21, 12, 4, 15, 20, 18, 14, 8, 11, 22, 19, 7, 32, 2]
    assert tokens_module.tokenise([clean], architecture).ids.tolist() == ids


@pytest.mark.parametrize("alphabet", ["ESM-1", "ESM-1b"])
def test_token_table_equals_fair_esm(alphabet):
    expected = esm.data.Alphabet.from_architecture(alphabet)
    special = {MASK: expected.mask_idx, "^": expected.cls_idx, "$": expected.eos_idx}
    residues = {residue: expected.get_idx(residue) for residue in RESIDUES}
    table = np.full(256, expected.unk_idx)
    for character, token in (residues | special).items():
        table[ord(character)] = token
    assert_array_equal(tokens_module._token_table(alphabet), table)
    assert expected.unk_idx not in residues.values()


OTHER_ESM = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    from sklearn_esm import ESMEmbeddingTransformer
    vectors = ESMEmbeddingTransformer("esm2_t6_1M_bundled", cache=None).fit_transform(sys.argv[3:])
    import esm
    assert esm.is_another_package
    np.save(sys.argv[2], vectors)
"""


def test_another_package_of_the_name_esm_changes_nothing(tmp_path):
    # ESM3's package "esm" has the same import name as fair-esm
    (tmp_path / "esm").mkdir()
    (tmp_path / "esm" / "__init__.py").write_text("is_another_package = True")
    saved = tmp_path / "vectors.npy"
    command = [sys.executable, "-c", textwrap.dedent(OTHER_ESM), tmp_path, saved, *SEQUENCES]
    subprocess.run(command, check=True, timeout=120)
    assert_array_equal(
        np.load(saved),
        ESMEmbeddingTransformer("esm2_t6_1M_bundled", cache=None).fit_transform(SEQUENCES),
    )


# Work that is not asked for ----------------------------------------------------------------------


def test_blocks_above_the_highest_layer_are_not_run(checkpoints, monkeypatch):
    from sklearn_esm._engine import _blocks

    run = []
    forward = _blocks.Block.forward
    monkeypatch.setattr(_blocks.Block, "forward", lambda *a: (run.append(1), forward(*a))[1])
    embed(checkpoints["esm2"], ["MKTAYI"], layer=[0, 2])
    assert len(run) == 2
    embed(checkpoints["esm2"], ["MKTAYI"], layer=0)
    assert len(run) == 2


def test_no_token_is_padding(checkpoints, monkeypatch):
    from sklearn_esm._engine import _hidden_states

    lengths = []
    tokenise = _hidden_states.tokenise

    def counted(sequences, architecture):
        tokens = tokenise(sequences, architecture)
        lengths.append(len(tokens.ids))
        return tokens

    monkeypatch.setattr(_hidden_states, "tokenise", counted)
    embed(checkpoints["esm2"], SEQUENCES, batch_tokens=64)
    residues = sum(len(s.replace("<mask>", "#")) for s in SEQUENCES)
    assert sum(lengths) == residues + 2 * len(SEQUENCES)
    assert max(lengths) <= 64
