"""Files that claim more than they hold are refused by arithmetic; all others are mapped or read."""

import argparse
import io
import pickle
import re
import sys
import textwrap
import time
import zipfile
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fair_esm_oracle import FAMILIES, save_random_checkpoint

from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm._checkpoints._reader import read_checkpoint
from sklearn_esm._checkpoints._torch_file import load_weights_only
from sklearn_esm._engine import PackedModel

TERABYTES = 2**42


@dataclass
class Storage:
    """What a pickle says of a storage, true or not."""

    numbers: int
    key: str = "0"
    kind: type = torch.FloatStorage


class Rebuilt:
    """Pickled as a call of a function of torch's that makes a tensor, or of any other."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def tensor(storage, size, stride, offset=0):
    return Rebuilt(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


class _Pickler(pickle.Pickler):
    legacy = False

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            pid = ("storage", obj.kind, obj.key, "cpu", obj.numbers)
            return (*pid, None) if self.legacy else pid
        return None


def pickled(contents, legacy=False):
    file = io.BytesIO()
    pickler = _Pickler(file, protocol=2)
    pickler.legacy = legacy
    pickler.dump(contents)
    return file.getvalue()


def write_zip(path, contents, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", pickled(contents))
        archive.writestr("a/version", b"3\n")
        archive.writestr("a/byteorder", b"little")
        for key, content in records.items():
            archive.writestr(f"a/data/{key}", content)


def write_legacy(path, contents, records):
    parts = [torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}]
    data = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    data += pickled(contents, legacy=True) + pickle.dumps(list(records), protocol=2)
    for content in records.values():
        data += (len(content) // 4).to_bytes(8, "little") + content
    path.write_bytes(data)


WRITERS = {"zip": write_zip, "legacy": write_legacy}


@pytest.fixture
def never_loaded(monkeypatch):
    """Fail where torch is given the file: it would allocate what the file claims."""

    def loaded(*args, **kwargs):
        pytest.fail("torch.load was called")  # which no handler of errors catches

    monkeypatch.setattr(torch, "load", loaded)


def refusal(path):
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} ") as error:
        read_checkpoint(path)
    return str(error.value)


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """A function that writes a file by hand in either container, and gives its path."""

    def write(contents, records):
        path = tmp_path / "written.pt"
        WRITERS[request.param](path, contents, records)
        return path

    return write


# claims


def test_a_file_written_by_hand_is_read(write):
    # without it the tests below could pass by a mistake in the writers
    numbers = np.arange(6, dtype=np.float32)
    path = write({"x": tensor(Storage(6), (2, 3), (3, 1))}, {"0": numbers.tobytes()})
    assert torch.equal(load_weights_only(path)["x"], torch.from_numpy(numbers).view(2, 3))


def test_a_storage_larger_than_the_file_is_refused(write, never_loaded):
    path = write({"model": {"x": tensor(Storage(TERABYTES), (4,), (1,))}}, {"0": bytes(16)})
    message = refusal(path)
    assert re.search(r"claims? 17,592,186,044,4\d\d bytes", message)
    assert "Download or copy the file again." in message


def test_many_storages_that_together_are_larger_than_the_file_are_refused(write, never_loaded):
    # each alone would fit
    storages = {str(key): Storage(25_000, str(key)) for key in range(20)}
    contents = {"model": {key: tensor(storage, (1,), (1,)) for key, storage in storages.items()}}
    path = write(contents, {"0": bytes(100_000), **dict.fromkeys(list(storages)[1:], b"")})
    assert "claim" in refusal(path)


def test_a_storage_that_reaches_into_the_next_record_is_refused(write, never_loaded):
    contents = {"model": {key: tensor(Storage(12, key), (12,), (1,)) for key in "01"}}
    assert "claim" in refusal(write(contents, {"0": bytes(16), "1": bytes(48)}))


@pytest.mark.parametrize("numbers", [-1, -TERABYTES])
def test_a_storage_of_negative_size_is_refused(write, never_loaded, numbers):
    contents = {
        "model": {"x": tensor(Storage(numbers), (0,), (1,)), "y": tensor(Storage(4, "1"), (4,), (1,))}
    }
    assert "got a damaged" in refusal(write(contents, {"0": b"", "1": bytes(16)}))


def test_a_storage_that_is_not_in_the_file_is_refused(write, never_loaded):
    contents = {"model": {key: tensor(Storage(4, key), (4,), (1,)) for key in "01"}}
    assert "got a damaged" in refusal(write(contents, {"0": bytes(16)}))


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((2**20, 2**20), (2**20, 1), 0),
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2,), (2**62,), 0),
        ((2,), (2**64,), 0),  # no number of torch's
        ((4,), (-1,), 3),
    ],
)
def test_a_tensor_that_does_not_fit_into_its_storage_is_refused(
    write, never_loaded, size, stride, offset
):
    # torch makes a storage of the old format as large as the tensor
    path = write({"model": {"x": tensor(Storage(4), size, stride, offset)}}, {"0": bytes(16)})
    assert "got a damaged" in refusal(path)


def test_a_parameter_that_is_set_to_a_larger_tensor_is_refused(write, never_loaded):
    class Parameter:
        def __reduce__(self):
            state = (Storage(4), 0, (TERABYTES,), (1,))
            return (
                torch._utils._rebuild_parameter,
                (tensor(Storage(4), (4,), (1,)), False, OrderedDict()),
                state,
            )

    assert "got a damaged" in refusal(write({"model": {"x": Parameter()}}, {"0": bytes(16)}))


@pytest.mark.parametrize(
    "bomb",
    [
        Rebuilt(bytearray, TERABYTES),
        Rebuilt(torch.FloatTensor, TERABYTES),
        Rebuilt(torch.UntypedStorage, TERABYTES),
        Rebuilt(torch._tensor._rebuild_from_type_v2, torch.FloatTensor, torch.Tensor, (TERABYTES,), {}),
    ],
    ids=["bytearray", "tensor", "storage", "subclass"],
)
def test_a_call_that_makes_terabytes_is_refused(write, never_loaded, bomb):
    assert "Nothing in it was run." in refusal(write({"model": {"x": bomb}}, {}))


@pytest.mark.parametrize("legacy", [False, True])
def test_expanded_tensors_of_a_model_of_terabytes_are_refused(tmp_path, legacy):
    saved = save_random_checkpoint(tmp_path / "a.pt", "esm2", layers=1)
    contents = torch.load(saved.path, weights_only=False)
    width, heads = 2**20, 4
    contents["cfg"]["model"].encoder_embed_dim = width
    for name, old in contents["model"].items():
        shape = [{32: width, 128: 4 * width, 4: width // heads // 2}.get(n, n) for n in old.shape]
        contents["model"][name] = torch.zeros(1).expand(shape)
    path = tmp_path / "terabytes.pt"
    torch.save(contents, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(path))}: embed_tokens.weight must be a dense"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize("settings", [{}, {"encoder_layers": 10**9}, {"encoder_layers": None}])
@pytest.mark.parametrize("number", ["999999999", "9" * 5000])
def test_a_tensor_of_the_billionth_block_is_refused_at_once(tmp_path, number, settings):
    saved = save_random_checkpoint(tmp_path / "a.pt", "esm2", layers=1)
    contents = torch.load(saved.path, weights_only=False)
    contents["model"][f"encoder.sentence_encoder.layers.{number}.fc1.weight"] = torch.zeros(3)
    settings = {**vars(contents["cfg"]["model"]), **settings}
    settings = {name: value for name, value in settings.items() if value is not None}
    contents["cfg"]["model"] = argparse.Namespace(**settings)
    path = tmp_path / "billion.pt"
    torch.save(contents, path)
    started = time.monotonic()
    assert "must be a complete checkpoint of an ESM sequence model" in refusal(path)
    assert time.monotonic() - started < 5


# archives


def rewritten(path, target, compressed):
    """Copy an archive, with some of its records compressed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for record in old.infolist():
            kind = zipfile.ZIP_DEFLATED if compressed(record.filename) else zipfile.ZIP_STORED
            new.writestr(record.filename, old.read(record), compress_type=kind)
    return target


def vectors(path):
    embed = ESMEmbeddingTransformer(path, layer="all", cache=None)
    return embed.fit_transform(["MKTAYIAKQR", "<mask>LAGV"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_compressed_archive_gives_the_same_vectors(tmp_path, family):
    saved = save_random_checkpoint(tmp_path / "a.pt", family, layers=1, width=8, heads=2)
    path = rewritten(saved.path, tmp_path / "deflated.pt", lambda name: True)
    assert np.array_equal(vectors(path), vectors(saved.path))


def test_an_archive_with_any_one_record_compressed_gives_the_same_weights(tmp_path):
    saved = save_random_checkpoint(tmp_path / "a.pt", "esm2", layers=1, width=8, heads=2)
    expected = read_checkpoint(saved.path).weights
    with zipfile.ZipFile(saved.path) as archive:
        names = archive.namelist()
    assert len(names) > 25
    for number, name in enumerate(names):
        path = rewritten(saved.path, tmp_path / f"{number}.pt", lambda other, name=name: other == name)
        weights = read_checkpoint(path).weights
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected), name


def test_an_archive_that_unpacks_to_far_more_than_itself_is_refused(tmp_path, never_loaded):
    path = tmp_path / "bomb.pt"
    numbers = 2**24
    contents = {"model": {"x": tensor(Storage(numbers), (numbers,), (1,))}}
    write_zip(path, contents, {"0": bytes(4 * numbers)}, zipfile.ZIP_DEFLATED)
    assert re.search(r"its records claim [\d,]{10,} bytes, but the file has [\d,]{6}\b", refusal(path))


def test_a_record_that_claims_more_than_the_file_is_refused(tmp_path, never_loaded):
    path = tmp_path / "written.pt"
    write_zip(path, {"model": {"x": tensor(Storage(4), (4,), (1,))}}, {"0": b"sixteen bytes..."})
    content = path.read_bytes()
    sizes = (16).to_bytes(4, "little") * 2
    claimed = content.replace(sizes, (2**31).to_bytes(4, "little") * 2)
    assert claimed != content
    path.write_bytes(claimed)
    assert "its records claim 2,147,4" in refusal(path)


def test_two_records_of_one_name_are_refused(tmp_path, never_loaded):
    path = tmp_path / "written.pt"
    write_zip(path, {"model": {"x": tensor(Storage(4), (4,), (1,))}}, {"0": bytes(16)})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a/data/0", bytes(16))
    assert "two of its records have the same name" in refusal(path)


def test_an_old_file_that_holds_an_archive_is_read(tmp_path):
    # its last bytes look like the end of an archive, and mapping it would fail
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as inner:
        inner.writestr("a", "b")
    path = tmp_path / "written.pt"
    content = archive.getvalue() + b"\0" * (-len(archive.getvalue()) % 4)
    write_legacy(path, {"x": tensor(Storage(len(content) // 4), (2,), (1,))}, {"0": content})
    assert load_weights_only(path)["x"].shape == (2,)


# mapping


OVERWRITTEN = """
    import os, sys
    import torch
    from pathlib import Path
    from sklearn_esm._checkpoints._reader import read_checkpoint
    from sklearn_esm._engine import PackedModel
    from sklearn_esm._engine._tokens import tokenise

    path = Path(sys.argv[1])
    model = PackedModel(read_checkpoint(path), "cpu", "float32")
    tokens = tokenise(["MKTAYIAKQR"], model.architecture)
    layers = set(range(model.architecture.layers + 1))
    before = [states.clone() for _, states in model.hidden_states(tokens, layers)]
    os.truncate(path, 0)
    after = [states.clone() for _, states in model.hidden_states(tokens, layers)]
    print(all(map(torch.equal, before, after)))
"""


@pytest.fixture
def run_truncated(new_process):
    return lambda path: new_process(textwrap.dedent(OVERWRITTEN), path)


def test_weights_that_are_not_mapped_survive_what_happens_to_the_file(
    tmp_path, monkeypatch, run_truncated
):
    saved = save_random_checkpoint(tmp_path / "a.pt", "esm2")
    monkeypatch.setenv("SKLEARN_ESM_MMAP", "0")
    result = run_truncated(saved.path)
    assert (result.stdout, result.stderr, result.returncode) == ("True\n", "", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a mapped file cannot be cut, or not so")
def test_mapped_weights_do_not(tmp_path, run_truncated):
    # what the documentation warns of; without it the test above could pass by a mistake in the code
    saved = save_random_checkpoint(tmp_path / "a.pt", "esm2")
    assert run_truncated(saved.path).returncode != 0


@pytest.mark.parametrize("value", ["0", "1"])
def test_mapped_or_not_the_vectors_are_the_same(checkpoints, monkeypatch, value):
    expected = [vectors(checkpoints[family].path) for family in FAMILIES]
    monkeypatch.setenv("SKLEARN_ESM_MMAP", value)
    for family, one in zip(FAMILIES, expected, strict=True):
        model = PackedModel(read_checkpoint(checkpoints[family].path), "cpu", "float32")
        assert model.architecture.layers == 3
        assert np.array_equal(vectors(checkpoints[family].path), one)
