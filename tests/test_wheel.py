"""What is published: the archives are complete, and the wheel works where the source is not."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_esm import ESMEmbeddingTransformer, __version__
from sklearn_esm.datasets import load_gb1, load_peptides

pytest.importorskip("hatchling", reason="builds the archives")

ROOT = Path(__file__).parents[1]
SEQUENCES = ["GIGKFLHSAKKFGKAFVGEIMNS", "YGGFL"]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the unpacked sdist, as for PyPI."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The programs' folder of an environment that has the wheel, and sees what it depends on here."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    install = ["--isolated", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel]
    run(sys.executable, "-m", "pip", "--python", programs / "python", *install)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(programs / "python", "-c", where).strip())
    # A folder named so is searched, but what .pth files there name is not: an editable
    # installation of the source, which this process has, is out of sight.
    here = [folder for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))]
    (packages / "dependencies.pth").write_text("\n".join(here), encoding="utf-8")
    return programs


def build(target, source, folder):
    """The archive, built with what is installed; nothing is downloaded."""
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=source)
    (archive,) = folder.iterdir()
    return archive


def run(*command, cwd=None):
    """What a command prints; it fails the test if it fails."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(content):
    return hashlib.sha256(content).hexdigest()


def files_of_package():
    return {
        path.relative_to(ROOT).as_posix(): digest(path.read_bytes())
        for path in (ROOT / "sklearn_esm").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_sdist_has_the_package_whole_and_nothing_that_was_made(sdist):
    with tarfile.open(sdist) as archive:
        files = {
            member.name.partition("/")[2]: digest(archive.extractfile(member).read())
            for member in archive.getmembers()
            if member.isfile()
        }
    assert sdist.name == f"sklearn_esm-{__version__}.tar.gz"
    assert {name: files[name] for name in files if name.startswith("sklearn_esm/")} == files_of_package()
    assert {"LICENSE", "README.md", "pyproject.toml", "constraints.txt", "tests/conftest.py"} <= set(
        files
    )
    made = (".venv", "build/", "dist/", "docs/_build/", "docs/auto_examples/", "examples/output/")
    assert [name for name in files if name.startswith(made)] == []


def test_wheel_has_the_package_whole_and_nothing_else(wheel):
    about = f"sklearn_esm-{__version__}.dist-info/"
    with zipfile.ZipFile(wheel) as archive:
        files = {name: digest(archive.read(name)) for name in archive.namelist()}
        commands = archive.read(f"{about}entry_points.txt").decode()
    others = {name for name in files if not name.startswith(about)}
    assert {name: files[name] for name in others} == files_of_package()
    assert files[f"{about}licenses/LICENSE"] == digest((ROOT / "LICENSE").read_bytes())
    assert "sklearn-esm = sklearn_esm.cli:main" in commands


_USE = """
import json, sys
from importlib.resources import files
from pathlib import Path
import numpy as np
import sklearn_esm
from sklearn_esm import ESMEmbeddingTransformer
from sklearn_esm.datasets import load_gb1, load_peptides

embed = ESMEmbeddingTransformer("esm2_t6_1M_bundled", cache=None)
said = {
    "at_home": Path(sklearn_esm.__file__).is_relative_to(sys.prefix),
    "version": sklearn_esm.__version__,
    "typed": files(sklearn_esm).joinpath("py.typed").is_file(),
    "rows": embed.fit_transform(sys.argv[1:]).tolist(),
    "peptides": list(load_peptides(return_X_y=True)[0]),
    "gb1": len(load_gb1(return_X_y=True)[0]),
}
print(json.dumps(said))
"""


def test_installed_wheel_gives_the_same_values_and_data(environment, tmp_path):
    python = [environment / "python", "-I", "-W", "error"]  # -I: no folder of the source gets in
    said = json.loads(run(*python, "-c", _USE, *SEQUENCES, cwd=tmp_path))
    assert said["at_home"]
    assert said["typed"]
    assert said["version"] == __version__
    assert said["peptides"] == list(load_peptides(return_X_y=True)[0])
    assert said["gb1"] == len(load_gb1(return_X_y=True)[0])
    expected = ESMEmbeddingTransformer("esm2_t6_1M_bundled", cache=None).fit_transform(SEQUENCES)
    assert_allclose(np.array(said["rows"]), expected, rtol=1e-5, atol=1e-6)


def test_installed_wheel_brings_the_command(environment, tmp_path):
    pytest.importorskip("typer", reason="the command needs the extra cli")
    said = run(environment / "sklearn-esm", "models", cwd=tmp_path)
    assert "esm2_t6_1M_bundled" in said
    assert "esm2_t33_650M_UR50D" in said
