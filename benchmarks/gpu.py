"""Speed, memory and errors on a GPU: this package beside transformers, fair-esm and the kernel floor.

Usage: ``python benchmarks/gpu.py [--device cuda] [--shapes 8M ...] [--workloads proteins peptides]
[--dtypes float32 tf32 bfloat16 float16] [--repeats 5] [--output gpu.json] [--dry-run]``. Random weights.
The contestants of a shape, workload and dtype run in turn, and medians are given. transformers runs at
the fastest of some numbers of tokens in a batch. ``tf32`` is float32 with TF32 allowed in torch; this
package computes in full float32 all the same. ``--dry-run`` runs everything on a CPU with tiny shapes,
and measures nothing worth quoting.
"""

import argparse
import importlib.util
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from contestants import Setting, fair_esm_snippet, forget_models, ours, transformers_sorted
from floor import Floor
from gpu_device import arithmetic, busy_share, clock, defaults, measured_peak, peak_mib
from proteins import natural_proteins, peptides
from shapes import SHAPES, Shape, random_checkpoint

from sklearn_esm._execution import _models

SHAPES["tiny"] = Shape("esm2", 2, 32, 4, 128)
SHAPES["ESMC-tiny"] = Shape("esmc", 2, 128, 2, 320)
TINY = ["tiny", "ESMC-tiny"]
DTYPES = ("float32", "tf32", "bfloat16", "float16")
MEASURED = ["8M", "150M", "650M", "3B", "ESMC-300M", "ESMC-600M"]
COUNTS = {"proteins": 1104, "peptides": 20_000}
BUDGETS = (4096, 8192, 16_384, 32_768, 65_536, 131_072)  # transformers' tokens in a batch
SEARCHED = 4  # of so many sequences one is in the search for the fastest budget
REFERENCES = 8  # sequences whose vectors are compared with float32 on a CPU
OURS, FLOOR, SNIPPET = "sklearn-esm", "kernel floor", "fair-esm, batches of 16"
ATTENTIONS = {"sdpa": "sdpa", "flash": "flash_attention_2"}
Run = Callable[..., Any]


def main() -> None:
    options = parse()
    if not options.dry_run and not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} finds no CUDA device. --dry-run works without.")
    card = "CPU, dry run" if options.dry_run else torch.cuda.get_device_name(options.device)
    report: dict[str, Any] = {"card": card, "torch": torch.__version__, "dry_run": options.dry_run}
    report["peaks"] = {dtype: measured_peak(options.device, dtype) for dtype in options.dtypes}
    report["races"] = []
    print(f"{card}, torch {torch.__version__}, medians of {options.repeats}")
    for dtype, peak in report["peaks"].items():
        print(f"largest product in {dtype}: {peak / 1e12:,.3g} TFLOP/s, the peak of the column below")
    for shape in options.shapes:
        with random_checkpoint(shape) as path:
            for workload in options.workloads:
                sequences, origin = load(workload, options)
                expected = on_cpu(path, sequences)
                for dtype in options.dtypes:
                    one = race(path, shape, sequences, expected, dtype, options)
                    one |= {"workload": workload, "origin": origin}
                    report["races"].append(one)
                    show(one, report["peaks"][dtype])
                    if options.output:  # after each, because a long run may end early
                        options.output.write_text(json.dumps(report, indent=1) + "\n")
    print("\n" + "\n".join(demands(report["races"])))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES)
    parser.add_argument("--workloads", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if options.dry_run:
        options.device = "cpu"
    options.shapes = options.shapes or (TINY if options.dry_run else MEASURED)
    options.repeats = options.repeats or (1 if options.dry_run else 5)
    options.budgets = BUDGETS[:2] if options.dry_run else BUDGETS
    return options


def load(workload: str, options: argparse.Namespace) -> tuple[list[str], str]:
    count = 2 * REFERENCES if options.dry_run else COUNTS[workload]
    if workload == "peptides":
        return peptides(count), "random"
    sequences, origin = natural_proteins(count, longest=100_000)
    return [sequence[:60] for sequence in sequences] if options.dry_run else sequences, origin


def on_cpu(path: Path, sequences: list[str]) -> np.ndarray:
    """The vectors of sequences of all lengths, in float32 on a CPU."""
    return ours(path, references(sequences), Setting())


def references(sequences: list[str]) -> list[str]:
    by_length = sorted(sequences, key=len)
    return [by_length[row] for row in np.linspace(0, len(sequences) - 1, REFERENCES).astype(int)]


def race(
    path: Path,
    shape: str,
    sequences: list[str],
    expected: np.ndarray,
    dtype: str,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Everything measured on one shape, workload and dtype, ready for JSON."""
    device = options.device
    with arithmetic(dtype) as kind:
        with defaults(device, kind):
            floor = Floor(SHAPES[shape], sequences)
        entries, budgets, absent = enter(path, shape, sequences, Setting(device, kind), options.budgets)
        runs = {name: partial(run, path, sequences) for name, run in entries.items()}
        runs[FLOOR] = floor.run
        memory = {
            name: attempt(partial(peak_mib, run, device), name, absent) for name, run in runs.items()
        }
        runs = {name: run for name, run in runs.items() if name not in absent}  # also warm now
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.repeats):
            for name, run in runs.items():
                seconds[name].append(clock(run, device)[0])
        few = references(sequences)
        errors = {name: compare(entries[name](path, few), expected) for name in runs if name != FLOOR}
        busy = busy_share(runs[OURS], device) if OURS in runs else {}
    drop_models()
    tokens = sum(len(sequence) + 2 for sequence in sequences)
    return {
        "shape": shape,
        "dtype": dtype,
        "residues": sum(map(len, sequences)),
        "tokens": tokens,
        "operations": operations(SHAPES[shape], sequences),
        "seconds": seconds,
        "peak_mib": memory,
        "errors": errors,
        "busy": busy,
        "budgets": budgets,
        "absent": absent,
    }


def enter(
    path: Path, shape: str, sequences: list[str], setting: Setting, budgets: tuple[int, ...]
) -> tuple[dict[str, Run], dict[str, dict[int, float]], dict[str, str]]:
    """The contestants by name; the seconds of transformers by its budget; and who is absent, and why."""
    entries: dict[str, Run] = {OURS: partial(ours, setting=setting)}
    tried: dict[str, dict[int, float]] = {}
    absent: dict[str, str] = {}
    if SHAPES[shape].family == "esm2":
        entries[SNIPPET] = partial(fair_esm_snippet, setting=setting)
    else:
        absent[SNIPPET] = "fair-esm has no ESM C"
    for name, run in entries.items():
        attempt(partial(run, path, sequences[:1]), name, absent)  # loads the model
    for short, attention in ATTENTIONS.items():
        name = f"transformers {short}, sorted"
        if short == "flash" and (reason := without_flash(setting)):
            absent[name] = reason
            continue
        run = partial(transformers_sorted, setting=setting._replace(attention=attention))
        tried[name] = {}
        for budget in budgets:
            attempt(partial(run, path, sequences[:1], budget), name, absent)  # loads the model
            timed = partial(clock, partial(run, path, sequences[::SEARCHED], budget), setting.device)
            if name in absent or (result := attempt(timed, name, absent)) is None:
                break
            tried[name][budget] = result[0]
        if tried[name]:
            absent.pop(name, None)  # only larger batches did not fit
            best = min(tried[name], key=tried[name].__getitem__)
            entries[name] = partial(run, budget=best)
    return {name: run for name, run in entries.items() if name not in absent}, tried, absent


def without_flash(setting: Setting) -> str | None:
    if torch.device(setting.device).type != "cuda":
        return "flash attention needs a GPU"
    if setting.dtype == "float32":
        return "flash attention has no float32"
    return None if importlib.util.find_spec("flash_attn") else "flash_attn is not installed"


def attempt(run: Callable[[], Any], name: str, absent: dict[str, str]) -> Any:
    """The result of a run, or None with the reason in ``absent`` if it cannot run on this card."""
    try:
        return run()
    except (torch.OutOfMemoryError, MemoryError):
        absent[name] = "out of memory"
    except (ImportError, RuntimeError, ValueError) as error:
        # flash attention built for another torch, or numbers outside of float16's range
        absent[name] = str(error)
    torch.cuda.empty_cache()
    return None


def drop_models() -> None:
    forget_models()
    _models._models.clear()
    torch.cuda.empty_cache()


def operations(shape: Shape, sequences: list[str]) -> int:
    """Multiplications and additions of all matrix products, attention included."""
    per_token = 2 * (4 * shape.width**2 + (shape.raised + 1) * shape.width * shape.feed_forward)
    lengths = [len(sequence) + 2 for sequence in sequences]
    attention = sum(4 * length**2 * shape.width for length in lengths)
    return shape.layers * (per_token * sum(lengths) + attention)


def compare(vectors: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """The largest error relative to the largest number of a row, and the least cosine."""
    errors = np.abs(vectors - expected).max(1) / np.abs(expected).max(1)  # (sequences,)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)  # (sequences,)
    cosines = (vectors * expected).sum(1) / lengths  # (sequences,)
    return {"error": float(errors.max()), "cosine": float(cosines.min())}


def show(race: dict[str, Any], peak: float) -> None:
    print(f"\n{race['shape']}, {race['workload']} ({race['origin']}), {race['dtype']}")
    floor = statistics.median(race["seconds"][FLOOR]) if FLOOR in race["seconds"] else None
    rows = {}
    for name, times in race["seconds"].items():
        seconds, error = statistics.median(times), race["errors"].get(name)
        mib = race["peak_mib"][name]
        rows[name] = {
            "seconds": f"{seconds:.3g}",
            "residues/s": f"{race['residues'] / seconds:,.0f}",
            "of the floor": f"{floor / seconds:.0%}" if floor else "n/a",
            "of the peak": f"{race['operations'] / seconds / peak:.0%}",
            "peak MiB": "n/a" if mib is None else f"{mib:,.0f}",
            "error": f"{error['error']:.1e}" if error else "",
            "least cosine": f"{error['cosine']:.6f}" if error else "",
        }
    print(pd.DataFrame.from_dict(rows, orient="index").to_string())
    for name, reason in race["absent"].items():
        print(f"{name}: absent, {reason}")
    for name, tried in race["budgets"].items():
        print(
            f"{name}, by tokens in a batch: " + ", ".join(f"{b:,}: {s:.3g} s" for b, s in tried.items())
        )
    for source, share in race["busy"].items():
        print(f"GPU busy by {source}: {'n/a' if share is None else f'{share:.0%}'}", flush=True)


def demands(races: list[dict[str, Any]]) -> list[str]:
    """Each demand on the speed and the errors, and whether it is met where it was measured."""
    lines = []
    for race in races:
        where = f"{race['shape']}, {race['workload']}, {race['dtype']}"
        medians = {name: statistics.median(times) for name, times in race["seconds"].items()}
        if OURS not in medians:
            lines.append(f"{where}: {OURS} is absent, {race['absent'][OURS]}")
            continue
        own, errors = medians[OURS], race["errors"][OURS]
        theirs = [seconds for name, seconds in medians.items() if name.startswith("transformers")]
        checks = []
        if theirs:
            checks.append(("times transformers' best, at least 1.3", min(theirs) / own, 1.3))
        if FLOOR in medians and (race["shape"], race["dtype"]) == ("650M", "bfloat16"):
            checks.append(("of the floor, at least 0.85", medians[FLOOR] / own, 0.85))
        for source, share in race["busy"].items():
            if share is not None:
                checks.append((f"busy by {source}, at least 0.95", share, 0.95))
        if race["dtype"] == "float32":
            checks.append(("error, at most 1e-05", -errors["error"], -1e-5))
        if race["dtype"] == "bfloat16":
            checks.append(("least cosine, at least 0.9999", errors["cosine"], 0.9999))
        for what, value, least in checks:
            lines.append(f"{where}: {abs(value):.6g} {what}: {'met' if value >= least else 'NOT met'}")
    return lines


if __name__ == "__main__":
    main()
