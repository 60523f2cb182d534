"""Estimators on models of a Hub: what each step downloads, and the numbers of the same files."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from hashlib import sha256

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("transformers")
from esmc_oracle import as_hub_layout, save_layout, save_random_esmc
from hugging_face_oracle import LAYERS, SEQUENCES, save_random_model, transformers_states
from transformers import EsmForMaskedLM

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, ESMLikelihoodTransformer
from sklearn_esm._background import Stop, StoppedError
from sklearn_esm._checkpoints import _hub
from sklearn_esm._checkpoints._hub import Repository, repository_of
from sklearn_esm._checkpoints._locate import find_checkpoint
from sklearn_esm._execution import _workers

KINDS = [ESMEmbeddingTransformer, ESMLikelihoodTransformer, ESMContactTransformer]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model as transformers saves it."""
    return save_random_model(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def commit(hub, folder):
    """The commit under which it is published as ``me/model``."""
    return hub.publish("me/model", folder)


def embed(model="me/model", **parameters):
    return ESMEmbeddingTransformer(model, **{"cache": None, **parameters})


# Numbers


@pytest.mark.parametrize("revision", ["", "@main", "@commit"])
def test_a_repository_has_the_numbers_of_its_files(commit, folder, revision):
    model = f"me/model{revision.replace('commit', commit)}"
    actual = embed(model, layer="all").fit_transform(SEQUENCES)
    assert_array_equal(actual, embed(folder, layer="all").fit_transform(SEQUENCES))
    states = [transformers_states(EsmForMaskedLM.from_pretrained(folder), one) for one in SEQUENCES]
    expected = np.stack([one[:, 1:-1].mean(1).ravel() for one in states])
    assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The contact regression")
@pytest.mark.parametrize("kind", KINDS)
def test_each_estimator_reads_a_repository(commit, folder, kind):
    actual = kind("me/model", cache=None).fit_transform(SEQUENCES)
    for one, other in zip(actual, kind(folder, cache=None).fit_transform(SEQUENCES), strict=True):
        assert_array_equal(one, other)


def test_esmc_has_the_numbers_of_its_files(hub, tmp_path, monkeypatch):
    saved = save_random_esmc(tmp_path / "esmc")
    tensors = saved.tensors()
    save_layout(saved.file, as_hub_layout(tensors))
    repository = repository_of("esmc_300m")
    hub.publish(repository.name, saved.folder)
    files = hub.files[repository.name, hub.branches[repository.name, "main"]]
    hub.files[repository.name, repository.revision] = files
    monkeypatch.setitem(_hub._PINNED, repository, sha256(files["model.safetensors"]).hexdigest())
    # the architecture of the catalog is not that of the small model
    expected = embed(saved.folder, layer=-2).fit_transform(SEQUENCES)
    assert_array_equal(embed("esmc_300m", layer=-2).fit_transform(SEQUENCES), expected)
    assert_array_equal(embed(repository.name, layer=-2).fit_transform(SEQUENCES), expected)
    names = embed("esmc_300m").fit(["M"]).get_feature_names_out()
    assert names[0] == f"esmc_300m_L{LAYERS}_mean_0000"


def test_features_are_named_by_the_repository_alone(commit):
    for model in ("me/model", f"me/model@{commit}"):
        names = embed(model).fit(["M"]).get_feature_names_out()
        assert names[0] == f"model_L{LAYERS}_mean_0000"


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Could not find a config file")  # of peft
def test_an_adapter_of_a_repository_is_merged(hub, commit, folder, tmp_path, monkeypatch):
    peft = pytest.importorskip("peft")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # peft looks for the base on the Hub to save an adapter
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False)
    model = peft.get_peft_model(EsmForMaskedLM.from_pretrained(folder), config)
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = "me/model"
    model.save_pretrained(tmp_path / "adapter")
    hub.publish("me/adapter", tmp_path / "adapter")
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    estimator = embed("me/adapter").fit(SEQUENCES)
    assert "model.safetensors" not in hub.downloads
    expected = embed(tmp_path / "merged").fit_transform(SEQUENCES)
    assert_allclose(estimator.transform(SEQUENCES), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(expected - embed(folder).fit_transform(SEQUENCES)).max() > 0.01


# What is downloaded when


@pytest.mark.parametrize("kind", [ESMEmbeddingTransformer, ESMLikelihoodTransformer])
def test_fit_downloads_the_settings_alone(hub, commit, kind):
    estimator = kind("me/model", cache=None).fit(SEQUENCES)
    assert hub.downloads == ["config.json"]
    assert estimator.model_fingerprint_ == sha256(f"me/model@{commit}".encode()).hexdigest()
    estimator.transform(SEQUENCES)
    assert hub.downloads == ["config.json", "model.safetensors"]
    estimator.fit(SEQUENCES).transform(SEQUENCES)
    assert hub.downloads == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("parameters", "X", "message"),
    [
        ({}, ["MKT", "MKT*"], "Sequence 1 (MKT*) has '*' at position 4"),
        ({}, ["MKT", None], "Sequence 1 is missing: found None."),
        ({}, [], "Found array with 0 sample(s)"),
        ({"max_length": 5}, ["MKTAYI"], "Sequence 0 (MKTAYI) must have at most 5 residues for model"),
        ({"dtype": "x"}, ["MKT"], "dtype must be"),
        ({"device": "x"}, ["MKT"], "device must be None"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_downloads_no_weights(hub, commit, kind, parameters, X, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        kind("me/model", **parameters).fit(X)
    needs_settings = "max_length" in parameters
    assert hub.downloads == ["config.json"] * needs_settings
    assert needs_settings or hub.requests == []


def test_bad_input_of_transform_downloads_no_weights(hub, commit):
    estimator = embed().fit(SEQUENCES)
    with pytest.raises(ValueError, match=r"^Sequence 1 "):
        estimator.transform(["MKT", "MKT*"])
    assert hub.downloads == ["config.json"]


def test_what_is_wrong_for_this_model_needs_the_settings_alone(hub, commit):
    with pytest.raises(ValueError, match=r"^layer must be 0 to 3, .* the model has 3 blocks; got 4"):
        embed(layer=4).fit(SEQUENCES)
    assert hub.downloads == ["config.json"]


@pytest.mark.parametrize(
    ("model", "parameters", "X", "message"),
    [
        ("esmc_600m", {}, ["MKT*"], "Sequence 0 (MKT*) has '*'"),
        ("esmc_600m", {"layer": 37}, ["MKT"], "layer must be 0 to 36, or -1 to -37 from the end"),
        (
            "esmc_6b",
            {"max_length": 2},
            ["MKT"],
            "Sequence 0 (MKT) must have at most 2 residues for esmc_6b",
        ),
        ("facebook/esmfold_v1", {}, ["MKT"], "model must be a sequence model"),
    ],
)
def test_what_the_catalog_says_needs_no_request(hub, model, parameters, X, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        embed(model, **parameters).fit(X)
    assert hub.requests == []


def test_what_is_cached_needs_no_weights(commit, hub_cache, forget_hub, tmp_path):
    estimator = embed(cache=tmp_path / "vectors")
    expected = estimator.fit_transform(SEQUENCES)
    shutil.rmtree(hub_cache / "models--me--model" / "blobs")
    forget_hub()
    assert_array_equal(estimator.fit(SEQUENCES).transform(SEQUENCES), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 446}, "SaProt"),
        ({"model_type": "t5"}, "ProtT5 or Ankh"),
        ({"is_folding_model": True}, "ESMFold"),
    ],
)
def test_other_models_are_refused_by_their_settings(hub, folder, tmp_path, changes, message):
    settings = {**json.loads((folder / "config.json").read_text()), **changes}
    commit = hub.publish("me/other", {"config.json": json.dumps(settings).encode()})
    with pytest.raises(ValueError, match=rf"^me/other@{commit}: config\.json: .*{message}"):
        embed("me/other").fit(SEQUENCES)


# Branches that move, and files that change


def test_a_moved_branch_is_refused_until_it_is_fitted_again(hub, commit, forget_hub, tmp_path):
    estimator = embed()
    former = estimator.fit_transform(SEQUENCES)
    other = hub.publish("me/model", save_random_model(tmp_path / "other", seed=1))
    assert_array_equal(estimator.transform(SEQUENCES), former)  # this process has the former commit
    forget_hub()
    with pytest.raises(
        ValueError, match=f"me/model@{other} must be those this estimator was fitted"
    ) as e:
        estimator.transform(SEQUENCES)
    assert f"of me/model@{commit}. Fit again, or set model='me/model@{commit}'" in str(e.value)
    estimator.set_params(model=f"me/model@{commit}")
    assert_array_equal(estimator.transform(SEQUENCES), former)
    estimator.set_params(model="me/model").fit(SEQUENCES)
    expected = embed(tmp_path / "other").fit_transform(SEQUENCES)
    assert_array_equal(estimator.transform(SEQUENCES), expected)


def test_offline_a_branch_is_its_cached_commit(hub, commit, forget_hub, monkeypatch, tmp_path):
    expected = embed().fit_transform(SEQUENCES)
    hub.publish("me/model", save_random_model(tmp_path / "other", seed=1))
    forget_hub()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert_array_equal(embed().fit_transform(SEQUENCES), expected)


def test_workers_get_the_commit(commit, monkeypatch):
    names = []
    run_batch = _workers.run_batch

    def watched(requested, batch):
        names.append(requested.request.model_name)
        return run_batch(requested, batch)

    monkeypatch.setattr(_workers, "run_batch", watched)
    embed().fit_transform(SEQUENCES)
    assert set(names) == {f"me/model@{commit}"}


def test_changed_files_are_noticed(commit, tmp_path):
    estimator = embed().fit(SEQUENCES)
    estimator.transform(SEQUENCES)
    other = save_random_model(tmp_path / "other", seed=1)
    weights = find_checkpoint("me/model") / "model.safetensors"
    weights.unlink()
    shutil.copy(other / "model.safetensors", weights)
    with pytest.raises(ValueError, match=f"The files of me/model@{commit} in .* must not change"):
        estimator.transform(SEQUENCES)


def test_a_worker_finds_the_commit_in_its_cache(commit, hub_cache, monkeypatch, tmp_path):
    task = []
    monkeypatch.setattr(_workers, "run_batch", lambda *arguments: task.append(arguments) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        embed().fit(SEQUENCES).transform(SEQUENCES[:1])
    monkeypatch.undo()
    (tmp_path / "task").write_bytes(pickle.dumps(task[0]))
    code = """
import pickle, sys
import numpy as np
from sklearn_esm._execution._workers import run_batch
with open(sys.argv[1], "rb") as file:
    (result,) = run_batch(*pickle.load(file))
np.save(sys.argv[2], result.values[0])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "task"), str(tmp_path / "row.npy")]
    snapshot = hub_cache / "models--me--model" / "snapshots" / commit
    environment = {**os.environ, "HF_HUB_CACHE": str(hub_cache), "HF_HUB_OFFLINE": "1"}
    refused = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True)
    assert f"me/model@{commit} is not complete in the Hugging Face cache" in refused.stderr
    saved = save_random_model(tmp_path / "saved")
    shutil.copy(saved / "model.safetensors", snapshot)
    subprocess.run(command, env=environment, check=True, timeout=300)
    expected = embed(saved).fit_transform(SEQUENCES[:1])[0]
    assert_allclose(np.load(tmp_path / "row.npy"), expected, rtol=1e-5, atol=1e-5)


# Interrupts


def test_a_transform_that_is_stopped_does_not_wait_for_the_download(hub, commit, monkeypatch):
    requested = threading.Event()

    def stopped():
        if any(file == "model.safetensors" for file in hub.downloads):
            requested.set()
            raise StoppedError

    hub.gate.clear()
    estimator = embed().fit(SEQUENCES)
    monkeypatch.setattr(Stop, "check", lambda self: stopped())
    with pytest.raises(StoppedError):
        estimator.transform(SEQUENCES)
    hub.gate.set()
    assert requested.is_set()


# The command line


@pytest.fixture
def command():
    return pytest.importorskip("command_line")


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_the_command_embeds_with_a_repository(hub, commit, folder, command, tmp_path, options):
    fasta = tmp_path / "proteins.fasta"
    fasta.write_text("".join(f">{row}\n{one}\n" for row, one in enumerate(("MKTAYI", "LAGV"))))
    result = command.run("embed", fasta, "-o", tmp_path / "out.npz", "--model", "me/model", *options)
    assert result.exit_code == 0
    assert not options or result.stderr == ""
    with np.load(tmp_path / "out.npz") as arrays:
        assert_array_equal(arrays["embeddings"], embed(folder).fit_transform(["MKTAYI", "LAGV"]))


def test_the_command_downloads_nothing_for_a_bad_record(hub, commit, command, tmp_path):
    fasta = tmp_path / "proteins.fasta"
    fasta.write_text(">a\nMKT*\n")
    result = command.run("embed", fasta, "-o", tmp_path / "out.npz", "--model", "me/model")
    assert (result.exit_code, hub.downloads) == (1, [])
    assert f"{fasta}: record 1, 'a' (MKT*) has '*' at position 4" in result.stderr


def test_the_command_downloads_a_repository(hub, commit, command):
    result = command.run("download", "me/model")
    assert (result.exit_code, result.stdout) == (0, f"{find_checkpoint('me/model')}\n")
    assert hub.downloads == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        (
            "me/nothing",
            1,
            "Error: --model must be an existing folder or a repository of the Hugging Face",
        ),
        ("me/model@v7", 1, "Error: me/model has no revision 'v7'"),
        ("facebook/esmfold_v1", 2, "an ESMFold model, which predicts structures. It is not supported."),
        ("esmc_700m", 2, "Did you mean 'esmc_"),
    ],
)
def test_the_command_says_what_cannot_be_downloaded(hub, commit, command, model, code, message):
    result = command.run("download", model)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_the_command_lists_what_is_in_the_cache(hub_cache, command):
    (line,) = (one for one in command.run("models").stdout.splitlines() if "esmc_6b" in one)
    assert line.split()[-1] == "no"
    snapshot = hub_cache / "models--biohub--ESMC-6B" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (hub_cache / "models--biohub--ESMC-6B" / "refs").mkdir()
    (hub_cache / "models--biohub--ESMC-6B" / "refs" / "main").write_text("0" * 40)
    (snapshot / "model.safetensors").write_bytes(bytes(3000))
    (line,) = (one for one in command.run("models").stdout.splitlines() if "esmc_6b" in one)
    assert line.rstrip().endswith("3.0 kB")
    assert Repository("biohub/ESMC-6B") == repository_of("esmc_6b")
