"""Parameters that are wrong, by message, and those that must not change the numbers, by value."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fair_esm_oracle import FAMILIES, LAYERS, WIDTH, assert_faithful, save_random_checkpoint
from joblib import parallel_config
from numpy.testing import assert_array_equal

from sklearn_esm import ESMEmbeddingTransformer, _engine, _pooling
from sklearn_esm._cache import MEMORY_CACHE

SEQUENCES = [
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPIL",
    "A",
    "KA<mask>ISQ",
    "GLDALQITV",
    "QITVGLDAL",
    "GIGKFLHSAKKFGKAFVGEIMNS",
]


def embed(path, sequences=SEQUENCES, **parameters):
    return ESMEmbeddingTransformer(path, **{"cache": None, **parameters}).fit_transform(sequences)


# wrong ones

LAYERS_OF_THREE = "layer must be 0 to 3, or -1 to -4 from the end, because the model has 3 blocks; got"
LAYER = "layer must be an integer, a list of integers or 'all'; got"
POOLINGS = (
    "pooling must be None, a callable, 'mean', 'max', 'min', 'sum', 'std', 'bos' or 'eos', or a list of "
    "these; got"
)
CPUS = "dtype='int8' runs on CPUs only; got device="


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"layer": 4}, f"{LAYERS_OF_THREE} 4."),
        ({"layer": -5}, f"{LAYERS_OF_THREE} -5."),
        ({"layer": [0, 7]}, f"{LAYERS_OF_THREE} 7."),
        ({"layer": [True]}, f"{LAYERS_OF_THREE} True."),
        ({"layer": [1, 1]}, "layer must not repeat a layer; got [1, 1], which repeats 1."),
        ({"layer": [-1, 3]}, "layer must not repeat a layer; got [-1, 3], which repeats 3."),
        ({"layer": "first"}, f"{LAYER} 'first'."),
        ({"layer": True}, f"{LAYER} True."),
        ({"layer": 1.0}, f"{LAYER} 1.0."),
        ({"layer": []}, f"{LAYER} []."),
        ({"layer": None}, f"{LAYER} None."),
        ({"pooling": "avg"}, f"{POOLINGS} 'avg'."),
        ({"pooling": ["max", "avg"]}, f"{POOLINGS} 'avg'."),
        ({"pooling": ["max", None]}, f"{POOLINGS} None."),
        ({"pooling": 3}, f"{POOLINGS} 3."),
        ({"pooling": []}, "pooling must not be empty; got []. Pass None for the states of residues."),
        (
            {"pooling": ["max", "max"]},
            "pooling must not repeat a name, because features are named by it; got ['max', 'max'], "
            "which repeats 'max'.",
        ),
        ({"batch_tokens": 0}, "batch_tokens must be None or a positive integer; got 0."),
        ({"batch_tokens": True}, "batch_tokens must be None or a positive integer; got True."),
        ({"max_length": 0}, "max_length must be None or a positive integer; got 0."),
        ({"max_length": -3}, "max_length must be None or a positive integer; got -3."),
        ({"max_length": 10.0}, "max_length must be None or a positive integer; got 10.0."),
        (
            {"dtype": "int4"},
            "dtype must be 'float32', 'bfloat16', 'float16' or 'int8'; got 'int4'.",
        ),
        ({"dtype": "int8", "device": "cuda:1"}, f"{CPUS}'cuda:1'. Pass device='cpu', or dtype="),
        ({"dtype": "int8", "device": "mps"}, f"{CPUS}'mps'. Pass device='cpu', or dtype="),
        ({"overlong": "cut"}, "overlong must be 'error', 'truncate' or 'window'; got 'cut'."),
        ({"invalid": "X"}, "invalid must be 'error', 'unknown', 'mask' or 'drop'; got 'X'."),
        ({"missing": "drop"}, "missing must be 'error' or 'nan'; got 'drop'."),
        ({"missing": np.nan}, "missing must be 'error' or 'nan'; got nan."),
        ({"cache": ""}, "cache must be None, 'memory' or the path of a folder; got ''."),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_parameter_is_refused_when_fitting(checkpoints, parameters, message):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, **parameters)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        transformer.fit(["MKT"])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("model", [3, None, b"esm2_t6_8M_UR50D"])
def test_a_model_that_is_no_name_is_refused(model):
    with pytest.raises(TypeError, match="Pass a model's name, or the path of a checkpoint") as error:
        ESMEmbeddingTransformer(model).fit(["MKT"])
    assert str(error.value).startswith(f"model must be a str or path-like; got {model!r}. ")


@pytest.mark.parametrize("cache", [3, False, ["memory"]])
def test_a_cache_that_is_no_folder_is_refused(checkpoints, cache):
    message = f"cache must be None, 'memory' or the path of a folder; got {cache!r}."
    with pytest.raises(TypeError, match=re.escape(message)):
        ESMEmbeddingTransformer(checkpoints["esm2"].path, cache=cache).fit(["MKT"])


def test_a_missing_checkpoint_is_named_when_fitting(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be the path of an existing file") as error:
        ESMEmbeddingTransformer(tmp_path / "absent.pt").fit(["MKT"])
    assert str(tmp_path / "absent.pt") in str(error.value)


@pytest.mark.parametrize("pooling", ["eos", ["mean", "eos"]])
def test_esm1_has_no_eos_to_pool(checkpoints, pooling):
    with pytest.raises(ValueError, match="pooling must not be 'eos', because ESM-1 has no") as error:
        embed(checkpoints["esm1"].path, pooling=pooling)
    assert "Pass 'bos' or 'mean'." in str(error.value)


def test_a_parameter_set_wrong_after_fit_is_refused(checkpoints):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path).fit(["MKT"])
    with pytest.raises(ValueError, match=r"dtype must be .* got 'int4'"):
        transformer.set_params(dtype="int4").transform(["MKT"])


@pytest.mark.parametrize(
    "layer", [[1, 3], (1, 3), range(1, 4, 2), np.array([1, 3]), [-3, -1], [np.int64(1), 3]], ids=repr
)
def test_layers_come_as_any_list_of_integers(checkpoints, layer):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, layer=layer, cache=None)
    expected = np.hstack([embed(checkpoints["esm2"].path, layer=number) for number in (1, 3)])
    assert_faithful(transformer.fit_transform(SEQUENCES), expected)
    assert transformer.layers_ == [1, 3]


def test_all_layers_are_those_from_0_to_the_last(checkpoints):
    path = checkpoints["esm2"].path
    expected = np.hstack([embed(path, layer=layer) for layer in range(LAYERS + 1)])
    assert_faithful(embed(path, layer="all"), expected)


# arithmetic


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2e-2), ("float16", 5e-3)])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_width_arithmetic_is_near_float32(checkpoints, family, dtype, tolerance):
    exact = embed(checkpoints[family].path, layer="all")
    actual = embed(checkpoints[family].path, layer="all", dtype=dtype)
    assert actual.dtype == np.float32
    difference = np.linalg.norm(actual - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert (difference < tolerance).all()
    assert (difference > 1e-5).all()  # or else it was float32 after all


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_sums_of_half_width_blocks_are_float32(checkpoints, dtype):
    # every block adds to the token embeddings: rounded themselves, they would lose in each block
    for family in FAMILIES:
        path = checkpoints[family].path
        assert_array_equal(embed(path, layer=0, dtype=dtype), embed(path, layer=0))


def test_half_width_arithmetic_takes_mask_and_windows(checkpoints):
    parameters = {"overlong": "window", "max_length": 7, "layer": "all"}
    exact = embed(checkpoints["esm1b"].path, **parameters)
    actual = embed(checkpoints["esm1b"].path, dtype="bfloat16", **parameters)
    assert np.linalg.norm(actual - exact) < 2e-2 * np.linalg.norm(exact)


@pytest.fixture
def immense(tmp_path):
    """A model whose states are beyond float16 within its first block."""
    path = save_random_checkpoint(tmp_path / "immense.pt", "esm2").path
    contents = torch.load(path, weights_only=False)
    for name, tensor in contents["model"].items():
        if ".fc1." in name or ".fc2." in name:
            tensor *= 1000
    path.unlink()  # its tensors may be mapped
    torch.save(contents, path)
    return path


@pytest.mark.parametrize("pooling", ["mean", "max", "std", None])
def test_an_overflow_of_float16_names_the_sequence_and_the_way_out(immense, pooling):
    with pytest.raises(ValueError, match="are not finite in float16") as error:
        embed(immense, SEQUENCES[:2], dtype="float16", layer=[0, 1], pooling=pooling)
    assert str(error.value) == (
        "The states of MKTAYIAKQRQISFVKS... (37 residues) at layer 1 are not finite in float16. "
        "Set dtype='bfloat16' or 'float32', which have a larger range."
    )


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("token", [0, 3, -1])
@pytest.mark.parametrize("pooling", _pooling.POOLINGS)
def test_a_state_that_is_not_finite_is_an_error_for_every_pooling(
    checkpoint, bad, token, pooling, monkeypatch
):
    # a maximum hides -inf, and poolings over residues hide BOS and EOS
    hidden_states = _engine.hidden_states

    def damaged(*arguments):
        for layer, first, states in hidden_states(*arguments):
            states[-1, token, 1] = bad
            yield layer, first, states

    monkeypatch.setattr(_engine, "hidden_states", damaged)
    with pytest.raises(ValueError, match=r"^The states of MKT \(3 residues\) at layer 3 are not finite"):
        embed(checkpoint.path, ["MKT"], pooling=pooling)


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_finite_states_with_an_immense_sum_are_no_error(checkpoint, pooling, monkeypatch):
    largest = np.finfo(np.float32).max

    def hidden_states(model, sequences, layers):
        yield 3, 0, np.full((1, 5, WIDTH), largest, dtype=np.float32)

    monkeypatch.setattr(_engine, "hidden_states", hidden_states)
    assert_array_equal(embed(checkpoint.path, ["MKT"], pooling=pooling), np.full((1, WIDTH), largest))


def test_what_overflows_is_not_cached(immense):
    with pytest.raises(ValueError, match="not finite"):
        embed(immense, dtype="float16", cache="memory", layer=[0, 1])
    assert MEMORY_CACHE.bytes == 0


@pytest.mark.parametrize(("dtype", "layer"), [("bfloat16", -1), ("float32", -1), ("float16", 0)])
def test_wider_numbers_and_lower_layers_do_not_overflow(immense, dtype, layer):
    exact = embed(immense, layer=layer)
    actual = embed(immense, layer=layer, dtype=dtype)
    assert np.linalg.norm(actual - exact) < 5e-2 * np.linalg.norm(exact)


# what must not change the numbers


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_tokens_do_not_change_the_values(checkpoints, family):
    path = checkpoints[family].path
    expected = np.vstack([embed(path, [sequence], layer="all") for sequence in SEQUENCES])
    for batch_tokens in (1, 10, 45, 10**6):
        assert_faithful(embed(path, layer="all", batch_tokens=batch_tokens), expected)


@pytest.fixture
def one_thread(one_thread):
    """In every worker, too."""
    with parallel_config("loky", inner_max_num_threads=1):
        yield


@pytest.mark.usefixtures("one_thread")
def test_two_workers_give_the_values_of_one_to_the_bit(checkpoints):
    path = checkpoints["esm1b"].path
    sequences = [*SEQUENCES, 3 * SEQUENCES[0]]
    for pooling in (["mean", "std"], None):
        parameters = {"pooling": pooling, "batch_tokens": 30, "overlong": "window", "layer": [0, 3]}
        one = embed(path, sequences, **parameters)
        two = embed(path, sequences, n_jobs=2, **parameters)
        for actual, expected in zip(two, one, strict=True):
            assert_array_equal(actual, expected)


@pytest.mark.usefixtures("one_thread")
def test_a_function_of_the_users_own_reaches_the_workers(checkpoints):
    path = checkpoints["esm2"].path
    parameters = {"pooling": lambda residues: residues[-1, :3], "batch_tokens": 30}
    assert_array_equal(embed(path, n_jobs=2, **parameters), embed(path, **parameters))


@pytest.mark.usefixtures("one_thread")
def test_what_workers_computed_is_cached_here(checkpoints, embedded):
    path = checkpoints["esm2"].path
    first = embed(path, n_jobs=2, batch_tokens=30, cache="memory")
    assert_array_equal(embed(path, cache="memory"), first)
    assert embedded == []


# the progress bar


def test_verbose_shows_a_progress_bar_on_stderr(checkpoints, capsys):
    embed(checkpoints["esm2"].path, ["MKTAYI", "GLDALQITV"], verbose=True)
    out, err = capsys.readouterr()
    assert "Running the model: 100%" in err
    assert out == ""


def test_nothing_is_shown_by_default(checkpoints, capsys):
    embed(checkpoints["esm2"].path)
    assert capsys.readouterr() == ("", "")


def test_nothing_is_shown_where_all_is_cached(checkpoints, capsys):
    embed(checkpoints["esm2"].path, cache="memory")
    embed(checkpoints["esm2"].path, cache="memory", verbose=True)
    assert capsys.readouterr().err == ""


# precompute


@pytest.mark.parametrize(
    ("parameters", "poolings"),
    [
        ({"cache": None}, "['mean']"),
        ({"pooling": None}, "[]"),
        ({"pooling": ["mean", max]}, "['mean', 'max']"),
    ],
)
def test_precompute_refuses_where_nothing_would_be_kept(checkpoints, parameters, poolings):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, **parameters)
    with pytest.raises(ValueError, match="precompute must have a cache") as error:
        transformer.precompute(SEQUENCES)
    assert f"and poolings {poolings}. Set" in str(error.value)
    assert "Set cache='memory' and poolings such as ['mean', 'max']." in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 4}, "layer must be 0 to 3, .* got 4"),
        ({"layers": "most"}, "layer must be .* got 'most'"),
        ({"poolings": "avg"}, "pooling must be .* got 'avg'"),
        ({"poolings": []}, "pooling must not be empty"),
    ],
)
def test_precompute_refuses_wrong_layers_and_poolings(checkpoints, arguments, message):
    with pytest.raises(ValueError, match=message):
        ESMEmbeddingTransformer(checkpoints["esm2"].path).precompute(SEQUENCES, **arguments)


def test_precompute_warns_where_the_memory_cache_is_too_small(checkpoints, monkeypatch):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path)
    transformer.precompute(SEQUENCES, poolings=["mean", "max"])
    needed = MEMORY_CACHE.bytes
    assert needed > 4 * len(SEQUENCES) * (LAYERS + 1) * 2 * 32
    monkeypatch.setattr(MEMORY_CACHE, "max_bytes", needed - 1)
    with pytest.warns(
        UserWarning, match="Set cache to a folder, or use fewer sequences, layers or poolings"
    ) as warned:
        transformer.precompute(SEQUENCES, poolings=["mean", "max"])
    assert Path(warned[0].filename) == Path(__file__)
    monkeypatch.setattr(MEMORY_CACHE, "max_bytes", needed)
    assert transformer.precompute(SEQUENCES, poolings=["mean", "max"]) is transformer


@pytest.mark.parametrize("cache", ["memory", None])
def test_no_cache_can_be_pruned_to_less_than_nothing(checkpoints, cache):
    transformer = ESMEmbeddingTransformer(checkpoints["esm2"].path, cache=cache)
    with pytest.raises(
        ValueError, match=r"max_bytes must be at least 0; got -1\. Set 0 to remove every vector\."
    ):
        transformer.prune_cache(-1)
