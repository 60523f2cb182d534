"""Files of the repository that repeat a fact: each must repeat it rightly."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def lower_bounds(requirements):
    parts = [(one.name, part) for one in map(Requirement, requirements) for part in one.specifier]
    return {name: part.version for name, part in parts if part.operator == ">="}


def lines(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_citation_names_the_version_of_the_package():
    assert f"version: {PROJECT['version']}" in lines("CITATION.cff")


def test_the_oldest_versions_tested_are_the_lower_bounds():
    extras = PROJECT["optional-dependencies"]
    tested = ["plot", "pandas", "polars", "dask", "hub", "cli", "groups", "test"]
    bounds = lower_bounds([*PROJECT["dependencies"], *(one for name in tested for one in extras[name])])
    pins = dict(line.split("==") for line in lines("constraints-oldest.txt"))
    del bounds["torch"]  # one version for every developer, see constraints-oldest.txt
    different = {
        name: (bound, pins.get(name))
        for name, bound in bounds.items()
        if not f"{pins.get(name)}.".startswith(f"{bound}.")
    }
    assert different == {}


def test_every_supported_python_is_tested():
    prefix = "Programming Language :: Python :: "
    named = [name.removeprefix(prefix) for name in PROJECT["classifiers"] if name.startswith(prefix)]
    supported = [version for version in named if re.fullmatch(r"3\.\d+", version)]
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    matrices = re.findall(r"^ +python: \[(.*)\]$", text, re.MULTILINE)
    assert PROJECT["requires-python"] == f">={supported[0]}"
    assert [re.findall(r'"([^"]+)"', matrix) for matrix in matrices] == [supported, supported]


def test_every_action_is_pinned_to_a_commit_and_names_its_version():
    used = [
        line.split("uses: ")[1]
        for path in WORKFLOWS
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses: " in line and "uses: ./" not in line
    ]
    assert used
    assert [
        line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)
    ] == []


def test_benchmarks_find_the_helpers_of_the_tests():
    # nothing else runs them before a release
    found = re.search(r"^TESTS = (.+)$", (ROOT / "benchmarks" / "shapes.py").read_text(), re.MULTILINE)
    folder = eval(found[1], {"Path": Path, "__file__": str(ROOT / "benchmarks" / "shapes.py")})
    assert (folder / "fair_esm_oracle.py").is_file()
