"""The file of a contact regression: found beside a checkpoint, downloaded by name, or refused."""

import os
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from fair_esm_oracle import (
    HEADS,
    LAYERS,
    fair_esm_contacts,
    regression_path,
    save_random_regression,
)
from mirror import Mirror
from numpy.testing import assert_allclose

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer
from sklearn_esm._checkpoints import _download

NAME = "esm2_t6_8M_UR50D"
SEQUENCES = ["MKTAYIAKQRQISFVKSH", "GLDALQITV"]
WEIGHT, BIAS = "contact_head.regression.weight", "contact_head.regression.bias"


@pytest.fixture
def own(checkpoint, tmp_path):
    """A copy of the checkpoint, without a regression so far."""
    path = tmp_path / "own.pt"
    path.write_bytes(checkpoint.path.read_bytes())
    return replace(checkpoint, path=path)


def contacts(checkpoint, sequences=SEQUENCES, **parameters):
    return ESMContactTransformer(checkpoint.path, **{"cache": None, **parameters}).fit_transform(
        sequences
    )


def assert_contacts(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert_allclose(one, other, rtol=0, atol=1e-5)


def spoil(checkpoint, **changes):
    """Save a regression of which some tensors are others, or, where None, missing."""
    path = save_random_regression(checkpoint)
    tensors = torch.load(path, weights_only=True)["model"]
    tensors.update({{"weight": WEIGHT, "bias": BIAS}[name]: new for name, new in changes.items()})
    torch.save({"model": {name: tensor for name, tensor in tensors.items() if tensor is not None}}, path)
    return path


def refusal(checkpoint):
    """The message with which the regression of a checkpoint is refused; it begins with the file."""
    path = regression_path(checkpoint)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}[: ]") as error:
        ESMContactTransformer(checkpoint.path).fit(["MKT"])
    return str(error.value)


def refusal_of(checkpoint, **changes):
    """The message with which a regression with other tensors is refused."""
    path = spoil(checkpoint, **changes)
    message = refusal(checkpoint)
    assert message.startswith(f"{path}: ")
    assert message.endswith("Download or copy its own file.")
    return message


# beside a checkpoint


def test_the_file_beside_the_checkpoint_is_read(own):
    save_random_regression(own, 5)
    assert_contacts(contacts(own), fair_esm_contacts(own, SEQUENCES))


def test_the_same_weights_with_another_regression_predict_otherwise(own):
    save_random_regression(own, 5)
    before = contacts(own)
    save_random_regression(own, 6)
    after = contacts(own)
    assert np.abs(before[0] - after[0]).max() > 0.1
    assert_contacts(after, fair_esm_contacts(own, SEQUENCES))


def test_a_half_precision_regression_equals_fair_esm(own):
    path = save_random_regression(own)
    tensors = torch.load(path, weights_only=True)["model"]
    torch.save({"model": {name: tensor.half() for name, tensor in tensors.items()}}, path)
    assert_contacts(contacts(own), fair_esm_contacts(own, SEQUENCES))


def test_a_regression_in_the_old_format_is_read(own):
    path = save_random_regression(own)
    data = torch.load(path, weights_only=True)
    torch.save(data, path, _use_new_zipfile_serialization=False)
    assert_contacts(contacts(own), fair_esm_contacts(own, SEQUENCES))


def test_a_missing_regression_is_named(own):
    with pytest.raises(FileNotFoundError, match=re.escape(str(regression_path(own)))) as error:
        ESMContactTransformer(own.path).fit(SEQUENCES)
    assert f"The contact regression {regression_path(own)} does not exist." in str(error.value)
    assert "Copy the one of this model there" in str(error.value)


def test_a_regression_that_is_gone_since_fitting_is_named(own):
    save_random_regression(own)
    transformer = ESMContactTransformer(own.path).fit(SEQUENCES)
    regression_path(own).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(regression_path(own)))):
        transformer.transform(SEQUENCES)


def test_embeddings_need_no_regression(own):
    # fair-esm's own loader of local files does
    assert np.isfinite(ESMEmbeddingTransformer(own.path, cache=None).fit_transform(SEQUENCES)).all()


# files that cannot be used


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>403</html>", b"PK\x03\x04 and no more"], ids=repr
)
def test_another_kind_of_file_is_refused(own, content):
    regression_path(own).write_bytes(content)
    message = refusal(own)
    assert "Download or copy the file again." in message or "Get the file from a source" in message


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_refused(own, share):
    path = save_random_regression(own)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refusal(own)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_missing_tensor_is_named(own, name):
    spoil(own, **{name: None})
    message = refusal(own)
    assert "must be a contact regression in fair-esm's format" in message
    assert "Download or copy the file again." in message


@pytest.mark.parametrize("data", [{}, [], {"model": None}, {"model": []}, torch.zeros(3)], ids=repr)
def test_other_data_saved_by_torch_are_refused(own, data):
    torch.save(data, regression_path(own))
    assert "must be a contact regression in fair-esm's format" in refusal(own)


@pytest.mark.parametrize("maps", [1, LAYERS * HEADS - 1, LAYERS * HEADS + 1, 0])
def test_the_regression_of_another_model_is_refused(own, maps):
    path = save_random_regression(own, maps=maps)
    assert refusal(own) == (
        f"{path}: {WEIGHT} must have shape (1, {LAYERS * HEADS}); got (1, {maps}). The model has "
        f"{LAYERS} layers of {HEADS} attention heads. Download or copy its own file."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.zeros(12)}, f"{WEIGHT} must have shape (1, 12); got (12,)"),
        ({"weight": torch.zeros(12, 1)}, f"{WEIGHT} must have shape (1, 12); got (12, 1)"),
        ({"weight": torch.zeros(())}, f"{WEIGHT} must have shape (1, 12); got ()"),
        ({"bias": torch.zeros(2)}, f"{BIAS} must have shape (1,); got (2,)"),
        ({"bias": torch.zeros(0)}, f"{BIAS} must have shape (1,); got (0,)"),
        ({"bias": torch.zeros(())}, f"{BIAS} must have shape (1,); got ()"),
        ({"bias": torch.zeros(1, 1)}, f"{BIAS} must have shape (1,); got (1, 1)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_shape_is_refused(own, changes, message):
    assert f": {message}. " in refusal_of(own, **changes)


KIND = "must be a dense floating-point CPU tensor of shape"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": "text"}, f"{WEIGHT} {KIND} (1, 12); got str"),
        ({"weight": [0.5] * 12}, f"{WEIGHT} {KIND} (1, 12); got list"),
        ({"bias": 0.5}, f"{BIAS} {KIND} (1,); got float"),
        ({"bias": [0.5]}, f"{BIAS} {KIND} (1,); got list"),
        ({"weight": torch.zeros(1, 12, device="meta")}, f"{WEIGHT} {KIND} (1, 12); got shape (1, 12), "),
        ({"weight": torch.ones(1, 12).to_sparse()}, f"{WEIGHT} {KIND} (1, 12); got shape (1, 12), "),
        ({"weight": torch.ones(1, 12) > 0}, f"{WEIGHT} {KIND} (1, 12); got shape (1, 12), bool, "),
        ({"weight": torch.zeros(1).expand(1, 12)}, f"{WEIGHT} {KIND} (1, 12); got shape (1, 12) with "),
        ({"weight": torch.ones(1, 12, dtype=torch.complex64)}, f"{WEIGHT} {KIND} (1, 12); got shape"),
        ({"bias": torch.ones(1, dtype=torch.int64)}, f"{BIAS} {KIND} (1,); got shape (1,), int64, "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_kind_of_tensor_is_refused(own, changes, message):
    assert f": {message}" in refusal_of(own, **changes)


@pytest.mark.parametrize(
    ("name", "bad"), [("weight", float("nan")), ("weight", -float("inf")), ("bias", float("inf"))]
)
def test_numbers_that_are_not_finite_are_refused(own, name, bad):
    tensor = torch.zeros(1, LAYERS * HEADS) if name == "weight" else torch.zeros(1)
    tensor.view(-1)[-1] = bad
    spoil(own, **{name: tensor})
    message = refusal(own)
    assert "must hold finite numbers; got NaN or infinity. Download or copy it again." in message


class Hostile:
    """Unpickles by running a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize(
    ("place", "legacy"),
    [("whole", False), ("model", False), ("tensor", False), ("extra", False), ("tensor", True)],
)
def test_a_hostile_file_is_refused_and_does_not_run(own, tmp_path, place, legacy):
    victim = tmp_path / "victim"
    hostile = Hostile(f'touch "{victim}"')
    path = save_random_regression(own)
    tensors = torch.load(path, weights_only=True)["model"]
    spoilt = {
        "whole": hostile,
        "model": {"model": hostile},
        "tensor": {"model": {**tensors, BIAS: hostile}},
        "extra": {"model": tensors, "optimizer": [hostile]},
    }[place]
    torch.save(spoilt, path, _use_new_zipfile_serialization=not legacy)
    message = refusal(own)
    assert f"got a reference to {os.system.__module__}.system. Nothing in it was run." in message
    assert not victim.exists()
    # the counter-check: without it this test could pass by a mistake in the pickle
    torch.load(path, weights_only=False)
    assert victim.exists()


# by name


@pytest.fixture
def mirror(monkeypatch):
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        for variable in ("SKLEARN_ESM_OFFLINE", "http_proxy", "HTTP_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("SKLEARN_ESM_MIRROR", server.url)
        monkeypatch.setattr(_download, "_PAUSE", 0.0)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Torch hub's folder of checkpoints for this test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_weights_and_regression_are_downloaded_by_name(own, mirror, hub):
    regression = save_random_regression(own)
    addresses = [f"/models/{NAME}.pt", f"/regression/{NAME}-contact-regression.pt"]
    mirror.files = dict(zip(addresses, (own.path.read_bytes(), regression.read_bytes()), strict=True))
    transformer = ESMContactTransformer(NAME, cache=None)
    assert_contacts(transformer.fit_transform(SEQUENCES), fair_esm_contacts(own, SEQUENCES))
    assert [path for path, _, _ in mirror.requests] == addresses
    downloaded = hub / f"{NAME}-contact-regression.pt"
    assert downloaded.read_bytes() == regression.read_bytes()
    # once: they are found there from now on
    transformer.fit_transform(SEQUENCES)
    assert len(mirror.requests) == 2


def test_files_that_fair_esm_downloaded_are_found(own, hub):
    (hub / f"{NAME}.pt").write_bytes(own.path.read_bytes())
    downloaded = hub / f"{NAME}-contact-regression.pt"
    downloaded.write_bytes(save_random_regression(own).read_bytes())
    transformer = ESMContactTransformer(NAME, cache=None)
    assert_contacts(transformer.fit_transform(SEQUENCES), fair_esm_contacts(own, SEQUENCES))


def test_offline_the_missing_regression_is_named_with_its_address(own, hub):
    (hub / f"{NAME}.pt").write_bytes(own.path.read_bytes())
    with pytest.raises(FileNotFoundError, match="SKLEARN_ESM_OFFLINE") as error:
        ESMContactTransformer(NAME).fit(SEQUENCES)
    assert f"{hub / NAME}-contact-regression.pt does not exist" in str(error.value)
    assert f"/fair-esm/regression/{NAME}-contact-regression.pt" in str(error.value)


def test_a_regression_that_the_server_lacks_is_named_with_its_address(own, hub, mirror):
    (hub / f"{NAME}.pt").write_bytes(own.path.read_bytes())
    mirror.status = 404
    with pytest.raises(FileNotFoundError, match="answered HTTP 404") as error:
        ESMContactTransformer(NAME).fit(SEQUENCES)
    assert f"{mirror.url}/regression/{NAME}-contact-regression.pt" in str(error.value)


def test_a_damaged_download_is_named(own, hub):
    (hub / f"{NAME}.pt").write_bytes(own.path.read_bytes())
    downloaded = hub / f"{NAME}-contact-regression.pt"
    downloaded.write_bytes(b"half a file")
    with pytest.raises(ValueError, match=f"^{re.escape(str(downloaded))} "):
        ESMContactTransformer(NAME).fit(SEQUENCES)


def test_a_download_asks_for_no_regression_where_embeddings_are_wanted(own, hub, mirror):
    mirror.payload = own.path.read_bytes()
    ESMEmbeddingTransformer(NAME, cache=None).fit(SEQUENCES)
    assert [path for path, _, _ in mirror.requests] == [f"/models/{NAME}.pt"]


@pytest.mark.parametrize("name", ["esm1v_t33_650M_UR90S_3", "esm1v_t33_650M_UR90S"])
def test_esm1v_is_refused_before_anything_is_downloaded(mirror, hub, name):
    with pytest.raises(ValueError, match=f"must have a contact regression; got {name}[.]") as error:
        ESMContactTransformer(name).fit(SEQUENCES)
    assert "Meta published the ESM-1v models without one." in str(error.value)
    assert "Pass an ESM-2, ESM-1b or ESM-1 model." in str(error.value)
    assert mirror.requests == []


def test_esm1v_is_refused_offline_for_the_same_reason():
    with pytest.raises(ValueError, match="must have a contact regression"):
        ESMContactTransformer("esm1v_t33_650M_UR90S_1").fit(SEQUENCES)
