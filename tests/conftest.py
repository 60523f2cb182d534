"""What every test stands on: no network, an empty cache, and a small random model of each family."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fair_esm_oracle import FAMILIES, save_random_checkpoint, save_random_regression
from known_vectors import FINGERPRINT
from sklearn.utils import Bunch
from three_estimators import CASES
from warm_process import warm_process

from sklearn_esm import _cache, _engine, datasets
from sklearn_esm._background import Stop
from sklearn_esm._execution import _results, _workers

pytest_plugins = ["hub_fixtures"]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """A random checkpoint of each family, by the family's name; a contact regression beside it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    saved = {family: save_random_checkpoint(folder / f"{family}.pt", family) for family in FAMILIES}
    for family, checkpoint in saved.items():
        if family != "esm1v":  # none was published for it
            save_random_regression(checkpoint)
    return saved


@pytest.fixture(scope="session")
def new_process():
    """A function that runs code in a new process, without the seconds that imports take."""
    with warm_process() as run:
        yield run


@pytest.fixture
def checkpoint(checkpoints):
    """The random checkpoint of ESM-2."""
    return checkpoints["esm2"]


@pytest.fixture(params=CASES)
def case(request):
    """Each public estimator in turn, and each kind of output that one has."""
    return CASES[request.param]


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


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def one_thread(monkeypatch):
    """One thread of torch, here and in new processes: how many share a sum changes its last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def in_this_thread(monkeypatch):
    """Run every pass in the thread of the test, where torch can be watched."""
    monkeypatch.setattr(_results, "iterate_in_background", lambda produce: produce(Stop()))
    monkeypatch.setattr(
        _workers, "run_side_by_side", lambda run, batches, *_: ((batch, run(batch)) for batch in batches)
    )


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
def runs(monkeypatch):
    """What reaches the model in this process, by the function of the engine: lists that grow."""
    texts = {"hidden_states": [], "log_probabilities": [], "contact_map": []}
    for name in texts:
        _watch(monkeypatch, name, texts[name])
    return texts


@pytest.fixture
def embedded(runs):
    """The sequences whose states are computed in this process: a list that grows with every one."""
    return runs["hidden_states"]


def _watch(monkeypatch, name, texts):
    run = getattr(_engine, name)

    def counting(model, given, *rest):
        texts.extend([given] if isinstance(given, str) else given)
        return run(model, given, *rest)

    monkeypatch.setattr(_engine, name, counting)


@pytest.fixture
def third_of_the_data(monkeypatch):
    """Have documentation run on every third sample of the data that come with the package."""

    def third_of(load):
        def load_some(return_X_y=False):
            loaded = load()
            arrays = {name: value for name, value in loaded.items() if isinstance(value, np.ndarray)}
            columns = {name: value for name, value in arrays.items() if len(value) == len(loaded.data)}
            few = Bunch(**{**loaded, **{name: column[::3] for name, column in columns.items()}})
            return (few.data, few.target) if return_X_y else few

        return load_some

    for name in ("load_peptides", "load_gb1"):
        monkeypatch.setattr(datasets, name, third_of(getattr(datasets, name)))


@pytest.fixture
def during_a_pass(monkeypatch):
    """Have something happen while the first batch runs."""

    def during_a_pass(happen):
        hidden_states = _engine.hidden_states

        def running(*arguments):
            monkeypatch.setattr(_engine, "hidden_states", hidden_states)
            yield from hidden_states(*arguments)
            happen()

        monkeypatch.setattr(_engine, "hidden_states", running)

    return during_a_pass


@pytest.fixture
def output_of(tmp_path, monkeypatch, capsys):
    """A function that runs an example as a script, looks at its picture, and gives its output."""
    pytest.importorskip("matplotlib").use("agg")

    def run(name, **constants):
        text = (Path(__file__).parents[1] / "examples" / f"{name}.py").read_text(encoding="utf-8")
        for constant, value in constants.items():  # to be quick
            text, found = re.subn(
                rf"\b{constant}((?:, \w+)*) = .*", rf"{constant}\1 = {value}", text, count=1
            )
            assert found == 1
        script = tmp_path / f"{name}.py"  # a copy, beside which the picture goes
        script.write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", [str(script)])
        # not in a process of its own, which would take longer to import torch than to run most of them
        runpy.run_path(str(script), run_name="__main__")
        picture = (tmp_path / "output" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 20_000
        return capsys.readouterr().out

    return run
