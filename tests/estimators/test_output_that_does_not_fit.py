"""An output that is larger than the free memory is refused before the model runs."""

import re

import pytest
from fair_esm_oracle import WIDTH

from sklearn_esm import ESMContactTransformer, ESMEmbeddingTransformer, _available_memory
from sklearn_esm._available_memory import available_memory

GIB = 2**30
MEMINFO = "MemTotal:       24667560 kB\nMemFree:        1 kB\nMemAvailable:   {} kB\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Write the files in which Linux says what memory is free: by path, below /proc or cgroups."""
    monkeypatch.setattr(_available_memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(_available_memory, "_CGROUPS", tmp_path / "cgroup")

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


# What is free


def test_a_system_without_these_files_says_nothing(system):
    assert available_memory() is None


def test_this_machine_says_a_plausible_number():
    if not _available_memory._PROC.joinpath("meminfo").exists():
        pytest.skip("not Linux")
    assert 2**20 < available_memory() < 2**50


GROUP_2 = {
    "cgroup/job/step/memory.max": f"{4 * GIB}\n",
    "cgroup/job/step/memory.current": f"{3 * GIB}\n",
    "cgroup/job/step/memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 7\n",
    "proc/self/cgroup": "0::/job/step\n",
}
GROUP_1 = {
    "cgroup/memory/job/memory.limit_in_bytes": f"{4 * GIB}\n",
    "cgroup/memory/job/memory.usage_in_bytes": f"{3 * GIB}\n",
    "cgroup/memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
    "proc/self/cgroup": "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n",
}


@pytest.mark.parametrize("group", [GROUP_2, GROUP_1], ids=["version 2", "version 1"])
@pytest.mark.parametrize(
    ("machine", "expected"), [(8, 1.5), (1, 1.0)], ids=["the group has less", "the machine has less"]
)
def test_the_smaller_of_machine_and_group(system, group, machine, expected):
    system({"proc/meminfo": MEMINFO.format(machine * GIB // 1024), **group})
    assert available_memory() == expected * GIB


def test_the_group_above_has_the_limit(system):
    files = {
        **GROUP_2,
        "cgroup/job/step/memory.max": "max\n",
        "cgroup/job/memory.max": f"{2 * GIB}\n",
        "cgroup/job/memory.current": f"{GIB}\n",
    }
    system({"proc/meminfo": MEMINFO.format(8 * GIB // 1024), **files})
    assert available_memory() == GIB


def test_a_group_without_a_limit_leaves_the_machine(system):
    files = {**GROUP_2, "cgroup/job/step/memory.max": "max\n"}
    system({"proc/meminfo": MEMINFO.format(8 * GIB // 1024), **files})
    assert available_memory() == 8 * GIB


def test_a_group_over_its_limit_has_nothing(system):
    files = {**GROUP_2, "cgroup/job/step/memory.current": f"{5 * GIB}\n"}
    system({"proc/meminfo": MEMINFO.format(8 * GIB // 1024), **files})
    assert available_memory() == 0


# What is refused

PROTEIN = "ACDEFGHIKLMNPQRSTVWY" * 50  # 1,000 residues
COLUMNS = (ESMEmbeddingTransformer, {"layer": "all", "pooling": ["mean", "max"]})
TOO_LARGE = {
    "matrix": (*COLUMNS, ["MKT"] * 300_000, 300_000 * 4 * 2 * WIDTH * 4, "sklearn-esm embed"),
    "residues": (
        *(ESMEmbeddingTransformer, {"pooling": None, "layer": [0, 3]}),
        *([PROTEIN] * 2000, 2000 * 1000 * 2 * WIDTH * 4, "set a pooling"),
    ),
    "maps": (
        *(ESMContactTransformer, {}),
        *([PROTEIN] * 100, 100 * 1000**2 * 4, "output='features'"),
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_both_sizes_and_the_fix_are_named_and_nothing_is_run(checkpoint, name, runs, monkeypatch):
    kind, parameters, sequences, size, fix = TOO_LARGE[name]
    free = GIB // 8
    monkeypatch.setattr(_available_memory, "available_memory", lambda: free)
    estimator = kind(checkpoint.path, cache=None, **parameters).fit(sequences)
    message = (
        f"must fit into the free memory; it needs {size / GIB:.1f} GiB, and 0.1 GiB are available. "
        "Transform fewer rows at a time"
    )
    with pytest.raises(MemoryError, match=re.escape(message)) as error:
        estimator.transform(sequences)
    assert fix in str(error.value)
    assert not any(runs.values())


@pytest.mark.parametrize("free", [None, 2**40])
def test_an_output_that_fits_is_not_refused(checkpoint, free, monkeypatch):
    monkeypatch.setattr(_available_memory, "available_memory", lambda: free)
    embed = ESMEmbeddingTransformer(checkpoint.path, layer="all", pooling=["mean", "max"], cache=None)
    assert embed.fit_transform(["MKT"] * 80_000).nbytes == 80_000 * 4 * 2 * WIDTH * 4 > 2**26


def test_a_small_output_is_not_checked(checkpoint, monkeypatch):
    # the limits are approximate, and reading them takes longer than a transform from the cache
    monkeypatch.setattr(_available_memory, "available_memory", lambda: 0)
    assert ESMEmbeddingTransformer(checkpoint.path).fit_transform(["MKT"]).shape == (1, WIDTH)
