"""What every test stands on: no network, an empty cache, and a small random model of each family."""

import pytest
from fair_esm_oracle import FAMILIES, save_random_checkpoint
from known_vectors import FINGERPRINT

from sklearn_esm import _cache, engine


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """A random checkpoint of each family, by the family's name."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: save_random_checkpoint(folder / f"{family}.pt", family) for family in FAMILIES}


@pytest.fixture
def checkpoint(checkpoints):
    """The random checkpoint of ESM-2."""
    return checkpoints["esm2"]


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    # pytest-socket guards this process alone; worker processes inherit the variable
    monkeypatch.setenv("SKLEARN_ESM_OFFLINE", "1")


@pytest.fixture(autouse=True)
def home_of_torch(monkeypatch, tmp_path_factory):
    # downloads and notes about checkpoints go there, never into the home of whoever runs the tests
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "torch"))


@pytest.fixture(autouse=True)
def empty_cache():
    _cache.MEMORY_CACHE.prune(0)


@pytest.fixture
def folder(tmp_path):
    """A folder for a cache; nobody has made it yet."""
    return tmp_path / "folder"


@pytest.fixture
def opened(folder):
    """The cache in that folder, for the checkpoint of the known vectors."""
    with _cache.open_cache(folder, FINGERPRINT) as cache:
        yield cache


@pytest.fixture(params=["memory", "folder"])
def cache(request, folder):
    """Each kind of cache in turn, empty, as the parameter of that name takes it."""
    return "memory" if request.param == "memory" else folder


@pytest.fixture
def embedded(monkeypatch):
    """The sequences that reach the model in this process: a list that grows with every one."""
    sequences = []
    run_unit = engine.run_unit

    def counting(model, unit, *rest):
        sequences.extend(unit.sequences)
        return run_unit(model, unit, *rest)

    monkeypatch.setattr(engine, "run_unit", counting)
    return sequences
