"""Parameters that every estimator refuses before it looks at a sequence or at the model."""

import re

import numpy as np
import pytest

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer

MODEL = "esm2_t6_1M_bundled"
KINDS = [ESMEmbeddingTransformer, ESMLikelihoodTransformer, ESMContactTransformer]

each_kind = pytest.mark.parametrize("kind", KINDS)


def assert_refused(estimator, error, message):
    """Assert that fitting and each look at the cache ends with a message, and that X is not seen."""
    for call in (lambda: estimator.fit(None), estimator.cache_info, estimator.prune_cache):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            call()


# device


@each_kind
@pytest.mark.parametrize(
    "device",
    [
        "gpu",
        "cuda:x",
        "",
        "CPU",
        "cpu:0",
        "mps:0",
        "cuda:",
        "cuda:-1",
        " cuda",
        "cuda\n",
        "xpu",
        0,
        b"cpu",
    ],
)
def test_what_is_no_device_is_refused(kind, device):
    message = f"device must be None, 'cpu', 'cuda', 'cuda:N' or 'mps'; got {device!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        kind(MODEL, device=device).fit(None)


@each_kind
@pytest.mark.parametrize("number", ["01", "00", "128", "256", "1000", "٣", "1.0", "1 "])
def test_a_number_that_is_no_device_of_torch_is_refused(kind, number):
    message = (
        f"device must be None, 'cpu', 'cuda', 'cuda:N' or 'mps'; got 'cuda:{number}'. "
        "N must be a number from 0 to 127 without leading zeros."
    )
    assert_refused(kind(MODEL, device=f"cuda:{number}"), ValueError, message)


@each_kind
@pytest.mark.parametrize("device", ["cuda", *(f"cuda:{number}" for number in (0, 9, 10, 99, 127))])
def test_a_device_that_may_be_elsewhere_is_accepted_by_fit(kind, device):
    kind(MODEL, device=device).fit(["MKT"])


# cache


@pytest.fixture
def paths(tmp_path):
    """Paths that no folder can have, and why, by what is wrong with them."""
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "circle").symlink_to("circle")
    return {
        "no home": ("~no-such-user/c", "Could not determine home directory"),
        "long name": (tmp_path / "new" / ("x" * 256) / "c", "File name too long"),
        "long last name": (tmp_path / ("x" * 256), "File name too long"),
        "long path": (tmp_path.joinpath(*["x" * 200] * 30), "File name too long"),
        "room for no file": ("/" + "/".join(["x" * 200] * 20 + ["y" * 70]), "File name too long"),
        "NUL": (f"{tmp_path}/a\0b", "embedded null byte"),
        "surrogate": (f"{tmp_path}/\ud800", "surrogates not allowed"),
        "a file": (file, f"{file} is a file"),
        "below a file": (file / "a" / "c", f"{file} is a file"),
        "circle": (tmp_path / "circle" / "c", "Too many levels of symbolic links"),
    }


PATHS = [
    *("no home", "long name", "long last name", "long path", "room for no file", "NUL", "surrogate"),
    *("a file", "below a file", "circle"),
]


@each_kind
@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_no_folder_can_have_is_refused(kind, paths, tmp_path, name):
    cache, reason = paths[name]
    before = sorted(tmp_path.iterdir())
    estimator = kind(MODEL, cache=cache)
    for call in (lambda: estimator.fit(None), estimator.cache_info, estimator.prune_cache):
        with pytest.raises(
            ValueError, match=r"^cache must be None, 'memory' or the path of a f"
        ) as error:
            call()
        shown = repr(str(cache))[1:80]
        assert f"folder; got '{shown}" in str(error.value)
        assert reason in str(error.value)
        assert len(str(error.value)) < 500
    assert sorted(tmp_path.iterdir()) == before


@each_kind
def test_a_path_that_a_folder_can_have_is_accepted(kind, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "target").mkdir()
    for cache in (tmp_path / "new" / "folder", f"{tmp_path}/x/../y", tmp_path / "link", "a\udcff", "~"):
        kind(MODEL, cache=cache).fit(["MKT"])


def test_a_cache_in_bytes_is_refused(tmp_path):
    class Place:
        def __fspath__(self):
            return b"/tmp"

    for cache in (b"/tmp", Place()):
        with pytest.raises(
            TypeError, match=r"^cache must be None, 'memory' or the path of a folder; got "
        ):
            ESMEmbeddingTransformer(MODEL, cache=cache).fit(["MKT"])


# verbose and n_jobs


@each_kind
@pytest.mark.parametrize("verbose", [None, "yes", 1.0, [], np.nan])
def test_verbose_must_be_a_bool_or_an_integer(kind, verbose):
    message = f"verbose must be a bool or an integer; got {verbose!r}."
    assert_refused(kind(MODEL, verbose=verbose), TypeError, message)


@each_kind
def test_a_missing_value_of_pandas_is_refused_for_every_parameter(kind):
    pd = pytest.importorskip("pandas")
    for name in set(kind().get_params()) - {"reference"}:  # which is read like a row
        with pytest.raises((ValueError, TypeError), match=rf"^{name}\b"):
            kind(**{"model": MODEL, name: pd.NA}).fit(["MKT"])


@each_kind
@pytest.mark.parametrize("verbose", [True, False, 0, 2, np.True_, np.int64(0)])
def test_verbose_may_be_any_integer(kind, verbose):
    kind(MODEL, verbose=verbose).fit(["MKT"])


@each_kind
@pytest.mark.parametrize("n_jobs", ["2", 2.0, True, np.nan, [1]])
def test_n_jobs_must_be_an_integer(kind, n_jobs):
    message = f"n_jobs must be None or an integer other than 0; got {n_jobs!r}."
    assert_refused(kind(MODEL, n_jobs=n_jobs), TypeError, message)


@each_kind
def test_n_jobs_must_not_be_0(kind):
    message = "n_jobs must be None or an integer other than 0; got 0."
    assert_refused(kind(MODEL, n_jobs=0), ValueError, message)


@each_kind
@pytest.mark.parametrize("n_jobs", [None, 1, -1, -2, 4, np.int64(2)])
def test_n_jobs_may_be_any_other_integer(kind, n_jobs):
    kind(MODEL, n_jobs=n_jobs).fit(["MKT"])
