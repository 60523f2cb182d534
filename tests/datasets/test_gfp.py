"""The variants of green fluorescent protein: how they get here, what is in them, and their example."""

import gzip
import hashlib
import re
import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from mirror import Mirror
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge

from sklearn_esm.datasets import _gfp, fetch_gfp

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "avgfp"

# made up, but for the wild type
TABLE = """\
variant\tnum_mutations\tscore\tscore_wt_norm
A108D\t1\t1.5\t-2.2192121319
S0G,G2*,K236M\t3\t3.25\t-0.4692121319
T61S,Y64W\t2\t3.71921213190\t0.0
E3A\t1\t4.0\t0.2807878681
"""
CONTENTS = {"avgfp.tsv": TABLE, "avgfp_train.txt": "3\n0\n", "avgfp_stest.txt": "2\n"}
PATHS = ["data/avgfp/avgfp.tsv", "pub/splits/avgfp/main/train.txt", "pub/splits/avgfp/main/stest.txt"]


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def publish(monkeypatch):
    """A function that has the fetcher expect other contents."""

    def expect(contents):
        files = {
            name: (path, sha256(content.encode()))
            for path, (name, content) in zip(PATHS, contents.items(), strict=True)
        }
        monkeypatch.setattr(_gfp, "FILES", files)
        return {f"/{path}": contents[name].encode() for name, (path, _) in files.items()}

    return expect


@pytest.fixture
def mirror(monkeypatch, publish):
    """A server of the made-up files, in place of the published ones."""
    for variable in ("SKLEARN_ESM_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with Mirror() as server:
        server.files = publish(CONTENTS)
        monkeypatch.setattr(_gfp, "REPOSITORY", server.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path):
    """Where the files belong in the data home of this test, not there yet."""
    return tmp_path / "sklearn_esm"


def put(folder, contents):
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_text(content)


def asked(mirror):
    return [path for path, *_ in mirror.requests]


# Files from a server on this machine


def test_fetched_variants_are_the_files(mirror, tmp_path, folder):
    gfp = fetch_gfp(data_home=tmp_path)
    wild_type = gfp.reference
    assert len(wild_type) == 237
    assert wild_type[63:66] == "SYG"  # the chromophore, 65 to 67 with the start methionine
    assert gfp.data.tolist() == [
        wild_type[:108] + "D" + wild_type[109:],
        "GK*" + wild_type[3:236] + "M",
        wild_type[:61] + "S" + wild_type[62:64] + "W" + wild_type[65:],
        wild_type[:3] + "A" + wild_type[4:],
    ]
    assert gfp.data.dtype == gfp.mutations.dtype == object
    assert gfp.mutations.tolist() == ["A109D", "S1G,G3*,K237M", "T62S,Y65W", "E4A"]
    assert gfp.n_mutations.tolist() == [1, 3, 2, 1]
    assert gfp.target.tolist() == [1.5, 3.25, 3.7192121319, 4.0]
    assert gfp.feature_names == ["sequence"]
    assert gfp.frame is None
    assert gfp.filename == str(folder / "avgfp.tsv")
    assert gfp.split_filenames == [str(folder / "avgfp_train.txt"), str(folder / "avgfp_stest.txt")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(CONTENTS)


def test_split_is_the_files_and_what_they_leave(mirror, tmp_path):
    gfp = fetch_gfp(data_home=tmp_path)
    assert gfp.train.tolist() == [3, 0]  # in the file's order
    assert gfp.test.tolist() == [2]
    assert gfp.tune.tolist() == [1]
    assert {gfp[name].dtype.kind for name in ("train", "tune", "test")} == {"i"}


def test_data_and_target_alone_ask_for_one_file(mirror, tmp_path):
    X, y = fetch_gfp(data_home=tmp_path, return_X_y=True)
    assert len(X) == 4
    assert y.tolist() == [1.5, 3.25, 3.7192121319, 4.0]
    assert asked(mirror) == ["/data/avgfp/avgfp.tsv"]


def test_as_frame(mirror, tmp_path):
    pytest.importorskip("pandas")
    gfp = fetch_gfp(data_home=tmp_path, as_frame=True)
    assert gfp.frame.columns.tolist() == ["sequence", "target", "mutations", "n_mutations"]
    assert gfp.frame.iloc[3, 1:].tolist() == [4.0, "E4A", 1]
    assert gfp.data.columns.tolist() == ["sequence"]
    X, y = fetch_gfp(data_home=tmp_path, as_frame=True, return_X_y=True)
    assert X.equals(gfp.data)
    assert y.equals(gfp.target)


def test_second_time_nothing_is_asked_for(mirror, tmp_path):
    first = fetch_gfp(data_home=tmp_path)
    second = fetch_gfp(data_home=str(tmp_path))
    assert_array_equal(first.data, second.data)
    assert_array_equal(first.train, second.train)
    assert asked(mirror) == [f"/{path}" for path in PATHS]


@pytest.mark.parametrize("setting", ["download_if_missing=False", "SKLEARN_ESM_OFFLINE"])
def test_files_put_there_by_hand_are_used_offline(mirror, tmp_path, folder, monkeypatch, setting):
    if setting == "SKLEARN_ESM_OFFLINE":
        monkeypatch.setenv(setting, "1")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    put(folder, CONTENTS)
    gfp = fetch_gfp(download_if_missing=setting == "SKLEARN_ESM_OFFLINE")
    assert len(gfp.data) == 4
    assert mirror.requests == []


@pytest.mark.parametrize("name", CONTENTS)
def test_damaged_file_is_fetched_again_and_no_other(mirror, tmp_path, folder, name):
    put(folder, CONTENTS | {name: "3"})
    with pytest.warns(UserWarning, match=rf"{re.escape(name)} .* differs from expected"):
        gfp = fetch_gfp(data_home=tmp_path)
    assert gfp.train.tolist() == [3, 0]
    assert (folder / name).read_text() == CONTENTS[name]
    assert asked(mirror) == [f"/{PATHS[list(CONTENTS).index(name)]}"]


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("setting", ["download_if_missing=False", "SKLEARN_ESM_OFFLINE"])
def test_forbidden_download_names_the_file_and_what_to_do(
    mirror, tmp_path, folder, monkeypatch, setting, name
):
    if setting == "SKLEARN_ESM_OFFLINE":
        monkeypatch.setenv(setting, "1")
    put(folder, {other: content for other, content in CONTENTS.items() if other != name})
    with pytest.raises(OSError, match="Or copy the file") as caught:
        fetch_gfp(data_home=tmp_path, download_if_missing=setting == "SKLEARN_ESM_OFFLINE")
    path, checksum = _gfp.FILES[name]
    assert f"{folder / name} does not exist, and {setting} forbids the download" in str(caught.value)
    assert f"{mirror.url}/{path}" in str(caught.value)
    assert checksum in str(caught.value)
    assert mirror.requests == []


def test_failed_download_is_tried_again_so_often(mirror, tmp_path):
    mirror.status = 503
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns at every try
        with pytest.raises(ConnectionError, match="503"):
            fetch_gfp(data_home=tmp_path, n_retries=2, delay=0.0)
    assert asked(mirror) == [f"/{PATHS[0]}"] * 3


@pytest.mark.parametrize("substitution", ["D108A", "A237D", "A109D"])
def test_substitution_that_does_not_fit_the_wild_type_is_refused(
    tmp_path, folder, publish, substitution
):
    contents = CONTENTS | {"avgfp.tsv": TABLE.replace("A108D", substitution)}
    publish(contents)
    put(folder, contents)
    with pytest.raises(
        ValueError, match=f"must match the wild type, counted from 0; got {substitution} in"
    ):
        fetch_gfp(data_home=tmp_path)


def test_addresses_are_of_one_commit():
    assert re.fullmatch(
        r"https://raw\.githubusercontent\.com/gitter-lab/nn4dms/[0-9a-f]{40}", _gfp.REPOSITORY
    )
    assert [path for path, _ in _gfp.FILES.values()] == PATHS
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for _, checksum in _gfp.FILES.values())


# The variants as published


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A data home with the published files."""
    if not PUBLISHED.is_dir():
        pytest.skip(f"{PUBLISHED.name} is not beside this checkout")
    home = tmp_path_factory.mktemp("home")
    folder = home / "sklearn_esm"
    folder.mkdir()
    (folder / "avgfp.tsv").write_bytes(gzip.decompress((PUBLISHED / "avgfp.tsv.gz").read_bytes()))
    for name in ("avgfp_train.txt", "avgfp_stest.txt"):
        shutil.copy(PUBLISHED / name, folder)
    return home


@pytest.fixture(scope="module")
def gfp(home):
    return fetch_gfp(data_home=home, download_if_missing=False)


def test_published_variants_are_the_wild_type_with_their_substitutions(gfp, home):
    assert gfp.data.shape == gfp.target.shape == gfp.mutations.shape == (54024,)
    lines = (home / "sklearn_esm" / "avgfp.tsv").read_text().splitlines()[1:]
    listed, counts, scores, _ = zip(*(line.split("\t") for line in lines), strict=True)
    letters = np.array(gfp.data.tolist())[:, None].view("U1")
    wild_type = np.array(list(gfp.reference))
    rows, where = np.nonzero(letters != wild_type)
    found = list(zip(wild_type[where], where, letters[rows, where], strict=True))
    # the file counts from 0, and so does numpy
    assert ",".join(listed).split(",") == [f"{old}{at}{new}" for old, at, new in found]
    assert ",".join(gfp.mutations).split(",") == [f"{old}{at + 1}{new}" for old, at, new in found]
    assert [len(mutations.split(",")) for mutations in gfp.mutations] == np.bincount(rows).tolist()
    assert_array_equal(gfp.n_mutations, np.array(counts, dtype=int))
    assert_array_equal(gfp.n_mutations, np.bincount(rows))
    assert_array_equal(gfp.target, np.array(scores, dtype=float))


def test_published_variants_are_as_described(gfp):
    assert len(set(gfp.data)) == 54024
    assert gfp.reference not in set(gfp.data)
    assert np.bincount(gfp.n_mutations)[:4].tolist() == [0, 1114, 13010, 12683]
    assert (gfp.n_mutations.max(), np.median(gfp.n_mutations)) == (15, 4)
    listed = [mutations.split(",") for mutations in gfp.mutations]
    different = {mutation for some in listed for mutation in some}
    assert len(different) == 1879
    assert len({mutation[1:-1] for mutation in different}) == 233
    assert_allclose([gfp.target.min(), gfp.target.max()], [1.283, 4.123], atol=5e-4)
    assert ((gfp.target < 1.5).sum(), (gfp.target > 3).sum()) == (16075, 30123)
    stops = np.array(["*" in sequence for sequence in gfp.data])
    assert (stops.sum(), (gfp.target[stops] > 3).sum()) == (2310, 559)
    assert [stops[gfp[name]].sum() for name in ("train", "tune", "test")] == [1879, 208, 223]
    alone = gfp.target[stops & (gfp.n_mutations == 1)]
    assert (len(alone), (alone > 2.5).sum()) == (30, 25)
    bright = [(gfp.target[gfp.n_mutations == count] > 3).mean() for count in (1, 4, 8)]
    assert_allclose(bright, [0.91, 0.52, 0.04], atol=0.006)
    assert "559 of them" in " ".join(gfp.DESCR.split())
    assert _gfp.REPOSITORY.rpartition("/")[2] in gfp.DESCR


def test_published_split_is_that_of_the_three_files(gfp):
    for name, published in [("train", "train"), ("tune", "tune"), ("test", "stest")]:
        rows = np.loadtxt(PUBLISHED / f"avgfp_{published}.txt", dtype=int)
        assert_array_equal(gfp[name], np.sort(rows) if name == "tune" else rows)
    together = np.concatenate([gfp.train, gfp.tune, gfp.test])
    assert_array_equal(np.sort(together), np.arange(54024))


def test_scores_of_the_description(gfp):
    test = gfp.test
    assert spearmanr(-gfp.n_mutations[test], gfp.target[test]).statistic == pytest.approx(
        0.53, abs=0.006
    )
    present = CountVectorizer(token_pattern=r"[^,]+", lowercase=False).fit_transform(gfp.mutations)
    additive = Ridge(alpha=3).fit(present[gfp.train], gfp.target[gfp.train])
    predicted = additive.predict(present[test])
    assert spearmanr(predicted, gfp.target[test]).statistic == pytest.approx(0.858, abs=0.002)
    seen = np.asarray(present[gfp.train].sum(axis=0)).ravel() > 0
    assert (present[test][:, ~seen].sum(axis=1) == 0).mean() == pytest.approx(0.994, abs=0.0005)
