"""The benchmark of GPUs runs on a CPU up to its report, and computes its shares correctly."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

transformers = pytest.importorskip(
    "transformers"
)  # not in the environment of the oldest supported versions
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# two drivers: other widths of columns, and a GPU that does not report its share
DMON = """\
# gpu   pwr gtemp mtemp    sm   mem   enc   dec  mclk  pclk
# Idx     W     C     C     %     %     %     %   MHz   MHz
    0    31    34     -     0     0     0     0   715  1189
    1   270    53     -    98    63     0     0  7000  1875
    0    32    34     -     3     0     0     0   715  1189
    1   274    55     -   100    63     0     0  7000  1875
# gpu     sm    mem    enc    dec    jpg    ofa
# Idx      %      %      %      %      %      %
    0      -      -      -      -      -      -
    1     96     40      0      0      0      0
"""


@pytest.fixture
def benchmark(monkeypatch):
    """Import a script of the folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    verbosity = transformers.logging.get_verbosity()
    yield importlib.import_module
    # the scripts silence it
    transformers.logging.set_verbosity(verbosity)
    transformers.logging.enable_progress_bar()


def test_dry_run_reports_every_contestant(benchmark, monkeypatch, tmp_path, capsys):
    gpu, output = benchmark("gpu"), tmp_path / "gpu.json"
    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--dry-run", "--workloads", "proteins", "--output", str(output)]
    )
    gpu.main()
    printed, report = capsys.readouterr().out, json.loads(output.read_text())
    assert "CPU, dry run" in printed
    assert "transformers flash, sorted: absent, flash attention needs a GPU" in printed
    assert "GPU busy by dmon: n/a" in printed
    races = {(race["shape"], race["dtype"]): race for race in report["races"]}
    assert list(races) == [(shape, dtype) for shape in gpu.TINY for dtype in gpu.DTYPES]
    for (shape, dtype), race in races.items():
        snippet = [gpu.SNIPPET] if shape == "tiny" else []
        run = [gpu.OURS, *snippet, "transformers sdpa, sorted", gpu.FLOOR]
        assert list(race["seconds"]) == run
        assert list(race["errors"]) == run[:-1]
        least, most = {"bfloat16": (0.99, 3e-2), "float16": (0.9999, 1e-2)}.get(dtype, (0.99999, 1e-5))
        assert race["errors"][gpu.OURS]["error"] <= most
        assert race["errors"]["transformers sdpa, sorted"]["cosine"] >= least
        assert set(race["peak_mib"].values()) == {None}
        assert len(race["budgets"]["transformers sdpa, sorted"]) == 2


def test_a_card_is_required_without_dry_run(benchmark, monkeypatch):
    gpu = benchmark("gpu")
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA device"):
        gpu.main()


def test_operations_are_those_of_the_products(benchmark):
    gpu = benchmark("gpu")
    # 3 tokens: Q, K, V and output 4 x 32 x 32, network 2 x 32 x 128; attention 2 x 3 x 3 x 32, times 2
    assert gpu.operations(gpu.SHAPES["tiny"], ["A"]) == 2 * 2 * (3 * (4096 + 8192) + 2 * 288)


def test_a_contestant_that_does_not_fit_is_absent(benchmark):
    gpu, absent = benchmark("gpu"), {}

    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert gpu.attempt(fail, "large", absent) is None
    assert absent == {"large": "out of memory"}


def test_demands_are_compared_with_medians(benchmark):
    gpu = benchmark("gpu")
    race = {
        "shape": "650M",
        "workload": "proteins",
        "dtype": "bfloat16",
        "seconds": {
            gpu.OURS: [1.0, 1.0, 9.0],
            "transformers sdpa, sorted": [1.5, 1.5, 1.5],
            "transformers flash, sorted": [1.2, 1.2, 1.2],
            gpu.FLOOR: [0.9, 0.9, 0.9],
        },
        "errors": {gpu.OURS: {"error": 1e-2, "cosine": 0.99995}},
        "busy": {"profiler": 0.5, "dmon": None},
    }
    assert gpu.demands([race]) == [
        "650M, proteins, bfloat16: 1.2 times transformers' best, at least 1.3: NOT met",
        "650M, proteins, bfloat16: 0.9 of the floor, at least 0.85: met",
        "650M, proteins, bfloat16: 0.5 busy by profiler, at least 0.95: NOT met",
        "650M, proteins, bfloat16: 0.99995 least cosine, at least 0.9999: met",
    ]


@pytest.mark.parametrize(("gpu", "shares"), [(0, [0.0, 0.03]), (1, [0.98, 1.0, 0.96]), (2, [])])
def test_shares_are_read_from_the_output_of_dmon(benchmark, gpu, shares):
    assert benchmark("gpu_device").sm_shares(DMON, gpu) == shares


@pytest.mark.parametrize(
    ("ranges", "length"), [([], 0), ([(0, 2), (5, 6)], 3), ([(1, 4), (0, 9), (2, 3), (8, 10)], 10)]
)
def test_kernels_that_overlap_count_once(benchmark, ranges, length):
    assert benchmark("gpu_device").covered(ranges) == length


def test_floor_on_a_gpu_makes_one_attention_call_for_a_batch(benchmark, monkeypatch):
    floor, calls = benchmark("floor"), []

    def kernel(q, k, v, starts, key_starts, longest, longest_keys):
        calls.append((len(q), len(starts), longest))
        assert {tensor.device.type for tensor in (q, k, v, starts, key_starts)} == {"meta"}
        return torch.empty_like(q)

    # a device without data in place of the GPU
    monkeypatch.setitem(floor.BATCH_TOKENS, "meta", 60)
    monkeypatch.setattr(floor, "find_kernel", lambda *_: kernel)
    with benchmark("gpu_device").defaults("meta", "bfloat16"):
        planned = floor.Floor(benchmark("gpu").SHAPES["tiny"], ["A" * 28, "A" * 18, "A" * 8])
    planned.run()
    assert calls == [(60, 4, 30)] * 2  # layers


def test_tf32_ends_with_the_contestants(benchmark):
    with benchmark("gpu_device").arithmetic("tf32") as dtype:
        assert (dtype, torch.get_float32_matmul_precision()) == ("float32", "high")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_counted_for_the_smallest_model(benchmark, dtype):
    memory = benchmark("gpu_memory")
    weights, during = memory.counted(memory.CATALOG["esm2_t6_8M_UR50D"], dtype, ["A" * 300] * 10)
    size = {"float32": 4, "bfloat16": 2}[dtype]
    assert weights * 2**30 == pytest.approx(7.4e6 * size, rel=0.01)
    # states in float32, and four times as much for the feed-forward network
    assert during * 2**30 >= 3020 * 320 * (4 + 4 * size)


NAMES = {
    "ESM-2 8M": "esm2_t6_8M_UR50D",
    "ESM-2 150M": "esm2_t30_150M_UR50D",
    "ESM-2 650M": "esm2_t33_650M_UR50D",
    "ESM-2 3B": "esm2_t36_3B_UR50D",
    "ESM-2 15B": "esm2_t48_15B_UR50D",
    "ESM C 300M": "esmc_300m",
    "ESM C 600M": "esmc_600m",
}


def test_the_page_has_the_memory_that_is_counted(benchmark):
    memory = benchmark("gpu_memory")
    page = (BENCHMARKS.parent / "docs" / "user_guide" / "gpus.md").read_text(encoding="utf-8")
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ESM")]
    assert [name for name, *_ in lines] == list(NAMES)
    for name, *cells in lines:
        model = {**memory.CATALOG, **memory.ESMC}[NAMES[name]]
        counted = [memory.counted(model, dtype, memory.full()) for dtype in ("float32", "bfloat16")]
        assert cells == [f"{size:.2f}" for sizes in counted for size in sizes]
