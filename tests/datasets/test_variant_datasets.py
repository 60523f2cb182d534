"""The tables of variants: what is in them, and how the one that is not bundled gets here."""

import hashlib
import shutil
import socket
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from mirror import Mirror
from numpy.testing import assert_array_equal

from sklearn_esm.datasets import _beta_lactamase, fetch_beta_lactamase, load_gb1

RESIDUES = set("ACDEFGHIKLMNPQRSTVWY")
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "beta_lactamase_P62593.fasta"

GB1 = load_gb1()

# made up: the reference MSIQ, once with another codon only
FASTA = """\
>0|beta-lactamase_I3I|1.25
MSIQ
>1|beta-lactamase_S2K|0.5
MKIQ
>2|beta-lactamase_Q4P|-0.008
MSIP"""


def substituted(reference, mutation):
    """Return the sequence that a mutation such as A24Y makes, after a look at what it replaces."""
    residues, index = list(reference), int(mutation[1:-1]) - 1
    assert residues[index] == mutation[0], mutation
    residues[index] = mutation[-1]
    return "".join(residues)


# GB1


def test_gb1_is_every_substitution_but_of_the_first_residue():
    expected = {
        f"{old}{position}{new}"
        for position, old in enumerate(GB1.reference, start=1)
        for new in RESIDUES - {old}
        if position > 1
    }
    assert len(GB1.reference) == 56
    assert len(GB1.mutations) == len(expected) == 1045
    assert set(GB1.mutations) == expected


def test_gb1_sequences_are_the_reference_with_one_substitution():
    assert GB1.data.dtype == object
    assert GB1.data.tolist() == [substituted(GB1.reference, mutation) for mutation in GB1.mutations]


def test_gb1_positions_count_from_one():
    assert_array_equal(GB1.positions, np.repeat(np.arange(2, 57), 19))
    assert all(
        GB1.reference[position - 1] == mutation[0]
        for position, mutation in zip(GB1.positions, GB1.mutations, strict=True)
    )


@pytest.mark.parametrize(
    ("mutation", "effect"),
    [
        # ln of (selected / input) over that of the wild type, 3041819 / 1759616
        ("Q2A", np.log(38476 / 14663 / (3041819 / 1759616))),
        ("E56Y", np.log(5434 / 16560 / (3041819 / 1759616))),
        ("A24Y", 1.613801262),
    ],
)
def test_gb1_effects_are_logarithms_of_relative_fitness(mutation, effect):
    (row,) = np.flatnonzero(GB1.mutations == mutation)
    assert GB1.target[row] == pytest.approx(effect, abs=0.0006)


def test_gb1_range_and_floor():
    assert GB1.target.dtype == np.float64
    assert (GB1.target.min(), GB1.target.max()) == (-4.605, 1.614)
    assert (GB1.target == round(np.log(0.01), 3)).sum() == 126
    assert (GB1.target > 0).sum() == 367
    assert (GB1.target[GB1.positions == 27] == -4.605).all()


def test_gb1_has_three_decimals():
    assert_array_equal(GB1.target, GB1.target.round(3))


def test_gb1_travels_with_its_licence_and_origin():
    assert "Copyright (c) 2020 Ammar Tareen, Justin B. Kinney" in GB1.DESCR
    assert "Permission is hereby granted, free of charge" in GB1.DESCR
    assert "github.com/jbkinney/mavenn" in GB1.DESCR
    assert "Current Biology 24" in GB1.DESCR
    assert "126 variants at -4.605" in GB1.DESCR
    assert Path(GB1.filename).with_name("README.md").is_file()
    assert Path(GB1.filename).read_text(encoding="utf-8").count("\n") == 1046


def test_gb1_data_and_target_alone():
    X, y = load_gb1(return_X_y=True)
    assert_array_equal(X, GB1.data)
    assert_array_equal(y, GB1.target)


def test_gb1_as_frame():
    bunch = load_gb1(as_frame=True)
    assert bunch.frame.columns.tolist() == ["sequence", "target", "mutation", "position"]
    assert bunch.data.columns.tolist() == bunch.feature_names == ["sequence"]
    assert_array_equal(bunch.data["sequence"], GB1.data)
    assert_array_equal(bunch.target, GB1.target)
    assert_array_equal(bunch.frame["mutation"], GB1.mutations)
    assert_array_equal(bunch.frame["position"], GB1.positions)
    X, y = load_gb1(return_X_y=True, as_frame=True)
    assert X.equals(bunch.data)
    assert y.equals(bunch.target)


def test_gb1_comes_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert load_gb1().frame is None
    with pytest.raises(ImportError, match=r"load_gb1.* pip install \"sklearn-esm\[pandas\]\""):
        load_gb1(as_frame=True)


# Beta-lactamase, from a server on this machine


@pytest.fixture
def mirror(monkeypatch):
    """A server of the made-up file, in place of the published one."""
    for variable in ("SKLEARN_ESM_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with Mirror() as server:
        server.payload = FASTA.encode()
        monkeypatch.setattr(_beta_lactamase, "URL", f"{server.url}/esm/P62593.fasta")
        monkeypatch.setattr(_beta_lactamase, "SHA256", hashlib.sha256(server.payload).hexdigest())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def file(tmp_path):
    """Where the file belongs in the data home of this test, not there yet."""
    return tmp_path / "sklearn_esm" / "P62593.fasta"


def put(file, content):
    file.parent.mkdir()
    file.write_bytes(content)


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_fetched_records_are_the_files(mirror, tmp_path, file):
    bunch = fetch_beta_lactamase(data_home=tmp_path)
    assert bunch.data.tolist() == ["MSIQ", "MKIQ", "MSIP"]
    assert bunch.data.dtype == object
    assert bunch.target.tolist() == [1.25, 0.5, -0.008]
    assert bunch.mutations.tolist() == ["I3I", "S2K", "Q4P"]
    assert bunch.positions.tolist() == [3, 2, 4]
    assert bunch.reference == "MSIQ"
    assert bunch.feature_names == ["sequence"]
    assert bunch.frame is None
    assert bunch.filename == str(file)
    assert "199 records are one and the same protein" in bunch.DESCR
    assert files_in(tmp_path) == ["P62593.fasta"]


def test_reference_does_not_depend_on_which_record_is_first(mirror, tmp_path, monkeypatch):
    lines = FASTA.splitlines()
    mirror.payload = "\n".join(lines[2:] + lines[:2]).encode()
    monkeypatch.setattr(_beta_lactamase, "SHA256", hashlib.sha256(mirror.payload).hexdigest())
    assert fetch_beta_lactamase(data_home=tmp_path).reference == "MSIQ"


def test_fetched_data_and_target_alone_and_as_frame(mirror, tmp_path):
    X, y = fetch_beta_lactamase(data_home=tmp_path, return_X_y=True)
    assert X.tolist() == ["MSIQ", "MKIQ", "MSIP"]
    assert y.tolist() == [1.25, 0.5, -0.008]
    bunch = fetch_beta_lactamase(data_home=tmp_path, as_frame=True)
    assert bunch.frame.columns.tolist() == ["sequence", "target", "mutation", "position"]
    assert bunch.data["sequence"].tolist() == X.tolist()
    assert bunch.target.tolist() == y.tolist()


def test_second_time_nothing_is_asked_for(mirror, tmp_path):
    first = fetch_beta_lactamase(data_home=tmp_path)
    second = fetch_beta_lactamase(data_home=str(tmp_path))
    assert_array_equal(first.data, second.data)
    assert [path for path, *_ in mirror.requests] == ["/esm/P62593.fasta"]


def test_data_home_is_that_of_scikit_learn(mirror, tmp_path, monkeypatch, file):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    assert fetch_beta_lactamase().filename == str(file)


@pytest.mark.parametrize("download_if_missing", [True, False])
def test_file_put_there_by_hand_is_used_offline(
    mirror, tmp_path, file, monkeypatch, download_if_missing
):
    monkeypatch.setenv("SKLEARN_ESM_OFFLINE", "1")
    put(file, FASTA.encode())
    bunch = fetch_beta_lactamase(data_home=tmp_path, download_if_missing=download_if_missing)
    assert bunch.mutations.tolist() == ["I3I", "S2K", "Q4P"]
    assert mirror.requests == []


def test_damaged_file_is_fetched_again(mirror, tmp_path, file):
    put(file, FASTA[:50].encode())
    with pytest.warns(UserWarning, match=r"P62593\.fasta .* differs from expected"):
        bunch = fetch_beta_lactamase(data_home=tmp_path)
    assert len(bunch.data) == 3
    assert file.read_text() == FASTA


@pytest.mark.parametrize("content", [None, b"damaged"])
@pytest.mark.parametrize("setting", ["download_if_missing=False", "SKLEARN_ESM_OFFLINE"])
def test_forbidden_download_says_what_to_do(mirror, tmp_path, file, monkeypatch, setting, content):
    if content is not None:
        put(file, content)
    if setting == "SKLEARN_ESM_OFFLINE":
        monkeypatch.setenv(setting, "1")
    with pytest.raises(OSError, match="Or copy the file") as caught:
        fetch_beta_lactamase(data_home=tmp_path, download_if_missing=setting == "SKLEARN_ESM_OFFLINE")
    message = str(caught.value)
    state = "does not exist" if content is None else "is damaged"
    assert f"{file} {state}, and {setting} forbids the download of {mirror.url}" in message
    assert _beta_lactamase.SHA256 in message
    assert mirror.requests == []
    assert file.exists() == (content is not None)


def test_another_file_is_refused_and_not_kept(mirror, tmp_path, file):
    mirror.payload = b"<html>please log in</html>"
    with pytest.raises(OSError, match=r"SHA256 checksum of P62593\.fasta") as caught:
        fetch_beta_lactamase(data_home=tmp_path)
    assert not isinstance(caught.value, ConnectionError)
    for part in (mirror.url, str(file), _beta_lactamase.SHA256, "Or copy the file"):
        assert part in str(caught.value)
    assert files_in(tmp_path) == []


def test_without_a_server_the_error_names_address_place_and_remedy(tmp_path, file, monkeypatch):
    monkeypatch.delenv("SKLEARN_ESM_OFFLINE", raising=False)
    with socket.socket() as bound:  # a port where nothing listens
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/P62593.fasta"
        monkeypatch.setattr(_beta_lactamase, "URL", url)
        with pytest.raises(ConnectionError, match="Check the network and try again") as caught:
            fetch_beta_lactamase(data_home=tmp_path, n_retries=0)
    for part in (url, str(file), _beta_lactamase.SHA256, "Or copy the file"):
        assert part in str(caught.value)
    assert files_in(tmp_path) == []


def test_failed_download_is_tried_again_so_often(mirror, tmp_path):
    mirror.status = 503
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns at every try
        with pytest.raises(ConnectionError, match="503"):
            fetch_beta_lactamase(data_home=tmp_path, n_retries=2, delay=0.0)
    assert len(mirror.requests) == 3
    assert files_in(tmp_path) == []


def test_broken_connection_leaves_nothing(mirror, tmp_path):
    mirror.break_after = [40]
    with pytest.raises(ConnectionError, match="Or copy the file"):
        fetch_beta_lactamase(data_home=tmp_path, n_retries=0)
    assert files_in(tmp_path) == []


def test_folder_that_is_none_is_explained(mirror, tmp_path):
    (tmp_path / "sklearn_esm").write_text("in the way")
    with pytest.raises(OSError, match="pass a writable data_home"):
        fetch_beta_lactamase(data_home=tmp_path)


# Beta-lactamase, as published


@pytest.fixture
def published(tmp_path, file, monkeypatch):
    if not PUBLISHED.is_file():
        pytest.skip(f"{PUBLISHED.name} is not beside this checkout")
    monkeypatch.setenv("SKLEARN_ESM_OFFLINE", "1")
    file.parent.mkdir()
    shutil.copy(PUBLISHED, file)
    return fetch_beta_lactamase(data_home=tmp_path)


def test_published_variants_are_as_described(published):
    assert published.data.shape == published.target.shape == published.positions.shape == (5397,)
    assert len(published.reference) == 286
    assert published.data.tolist() == [
        substituted(published.reference, mutation) for mutation in published.mutations
    ]
    assert set("".join(set(published.data))) == RESIDUES
    assert len(set(published.mutations)) == 5397
    assert set(published.positions) == set(range(1, 287))
    assert (published.target.min().round(3), published.target.max().round(3)) == (-0.008, 1.581)
    assert (published.target == published.target.min()).sum() == 119
    assert (np.diff(published.target) <= 0).all()


def test_published_variants_hold_the_wild_type_many_times(published):
    wild_type = published.data == published.reference
    assert wild_type.sum() == 199
    assert [mutation[0] == mutation[-1] for mutation in published.mutations] == wild_type.tolist()
    assert np.ptp(published.target[wild_type]) > 1.5
    assert len(set(published.data[~wild_type])) == 5198
    assert published.target[~wild_type].max() < 1.15


def test_published_active_site_is_where_the_description_says(published):
    at_serine = published.target[[mutation.startswith("S68") for mutation in published.mutations]]
    assert np.median(at_serine) < 0.01
