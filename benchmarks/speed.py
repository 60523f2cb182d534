"""Seconds and memory to embed proteins: this package beside fair-esm, transformers and the kernel floor.

Usage: ``python benchmarks/speed.py [--model esm2] [--shapes 8M 35M 150M] [--proteins 150 60 20]
[--repeats 3] [--without NAME...] [--no-memory] [--json FILE] [--plot FILE.png]``. On random weights, the
same for all; fair-esm runs ESM-2 only. The contestants run in turn in one process, and medians are
given. What each took over its loaded weights is measured in a process of its own, and so is the snippet
with contact maps, which exhausts memory.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import memory
import numpy as np
import pandas as pd
import torch
from contestants import BUDGET, CONTESTANTS, contestants_of, forget_models, transformers_sorted
from floor import Floor
from proteins import natural_proteins
from shapes import SHAPES, random_checkpoint

PROTEINS = {"8M": 150, "35M": 60, "150M": 20, "650M": 20, "ESMC-300M": 20, "ESMC-600M": 20}
DEFAULT_SHAPES = {"esm2": ["8M", "35M", "150M"], "esmc": ["ESMC-300M"]}
BUDGETS = (512, 1024, 2048, 4096, 8192)  # tokens in a batch, among them transformers' best
OURS = "sklearn-esm"
TITLES = {
    "snippet": "fair-esm, batches of 16",
    "contacts": "fair-esm, batches of 16, contacts",
    "sorted": f"fair-esm, sorted, {BUDGET:,} tokens",
    "transformers": "transformers sdpa, sorted, {:,} tokens",
}
COLOURS = {"sklearn-esm": "#D55E00", "fair-esm": "#0072B2", "transformers": "#56B4E9"}  # Okabe and Ito's


def main() -> None:
    options = parse()
    print(
        f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32, medians "
        f"of {options.repeats}. share: seconds of the kernel floor over its own",
        flush=True,
    )
    races = []
    for shape, count in zip(options.shapes, options.proteins, strict=True):
        races.append(race(shape, count, options))
        show(races[-1])
    if options.json:
        facts = {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        options.json.write_text(json.dumps({**facts, "races": races}, indent=1) + "\n")
    if options.plot:
        plot(races, options.plot)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=DEFAULT_SHAPES, default="esm2")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="instead of those of --model")
    parser.add_argument("--proteins", nargs="+", type=int, help="how many, one number for each shape")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without", nargs="+", choices=TITLES, default=[], metavar="NAME")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.shapes = options.shapes or DEFAULT_SHAPES[options.model]
    options.proteins = options.proteins or [PROTEINS[shape] for shape in options.shapes]
    if len(options.proteins) != len(options.shapes):
        parser.error("--proteins takes one number for each of the --shapes")
    return options


def race(shape: str, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Everything measured on one shape, ready for JSON."""
    sequences, origin = natural_proteins(count)
    with random_checkpoint(shape) as path:
        floor = Floor(SHAPES[shape], sequences)
        floor.warm_up()
        absent = {*TITLES} - {*contestants_of(shape)}
        entries, tried = enter(path, sequences, [*options.without, *absent])
        seconds: dict[str, list[float]] = {name: [] for name in [*entries, "floor"]}
        means = {}
        for _ in range(options.repeats):
            seconds["floor"].append(clock(floor.run)[0])
            for name, (_, run) in entries.items():
                taken, means[name] = clock(partial(run, path, sequences))
                seconds[name].append(taken)
        forget_models()
        del floor
        peaks = {}
        if options.memory:
            peaks = measure_memory(path, sequences, entries, [*options.without, *absent])
    tokens = sum(len(sequence) + 2 for sequence in sequences)
    theirs = [title for title in means if title != OURS]
    reference = means[theirs[0]] if theirs else None  # fair-esm's, or else transformers'
    if (contacts := peaks.get(TITLES["contacts"])) and contacts.proteins == count:
        seconds[TITLES["contacts"]] = [contacts.seconds]
    return {
        "shape": shape,
        "proteins": count,
        "residues": sum(map(len, sequences)),
        "origin": origin,
        "tokens": tokens,
        "repeats": options.repeats,
        "transformers_budgets": tried,
        "floor": {"seconds": seconds["floor"], "tokens_per_second": speed(tokens, seconds["floor"])},
        "contestants": {
            name: {
                "seconds": times,
                "tokens_per_second": speed(tokens, times),
                "times_slower": ratio(times, seconds[OURS]),
                "share_of_floor": ratio(seconds["floor"], times),
                "error": largest_error(means.get(name), reference),
            }
            for name, times in seconds.items()
            if name != "floor"
        },
        "memory": {name: peak._asdict() for name, peak in peaks.items()},
    }


Entries = dict[str, tuple[str, Callable[..., np.ndarray]]]


def enter(path: Path, sequences: list[str], without: list[str]) -> tuple[Entries, dict[int, float]]:
    """The contestants by their titles, warmed up; and the seconds of transformers by its budget."""
    warm_up = [sequence[:50] for sequence in sequences[:2]]
    entries: Entries = {OURS: ("ours", CONTESTANTS["ours"])}
    for name in ("snippet", "sorted"):
        if name not in without:
            entries[TITLES[name]] = (name, CONTESTANTS[name])
    tried: dict[int, float] = {}
    if "transformers" not in without:
        transformers_sorted(path, warm_up)
        for budget in BUDGETS:
            tried[budget], _ = clock(partial(transformers_sorted, path, sequences, budget))
        for budget in sorted({BUDGET, min(tried, key=tried.__getitem__)}):
            run = partial(transformers_sorted, budget=budget)
            entries[TITLES["transformers"].format(budget)] = ("transformers", run)
    for _, run in entries.values():
        run(path, warm_up)
    return entries, tried


def measure_memory(
    path: Path, sequences: list[str], entries: Entries, without: list[str]
) -> dict[str, memory.Measured]:
    peaks = {}
    for title, (name, run) in entries.items():
        settings = run.keywords if isinstance(run, partial) else {}
        peaks[title] = memory.measure(name, path, sequences, **settings)
    if "contacts" not in without:
        peaks[TITLES["contacts"]] = memory.measure("contacts", path, sequences)
    return peaks


def clock(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def speed(tokens: int, seconds: list[float]) -> float:
    return tokens / statistics.median(seconds)


def ratio(seconds: list[float], others: list[float]) -> float:
    """The median of the ratios within each repeat; of the medians for what ran once, in a child."""
    if len(seconds) != len(others):
        return statistics.median(seconds) / statistics.median(others)
    return statistics.median(a / b for a, b in zip(seconds, others, strict=True))


def largest_error(means: np.ndarray | None, reference: np.ndarray | None) -> float | None:
    """The largest deviation from the reference, against the largest number of the row."""
    if means is None or reference is None or means is reference:
        return None
    return float((np.abs(means - reference).max(1) / np.abs(reference).max(1)).max())


def show(race: dict[str, Any]) -> None:
    print(
        f"\n{race['shape']} shape, {race['proteins']} proteins, {race['residues']:,} residues "
        f"({race['origin']})"
    )
    rows = {}
    for name, result in race["contestants"].items():
        peak = race["memory"].get(name)
        rows[name] = {
            "seconds": f"{statistics.median(result['seconds']):.2f}",
            "tokens/s": f"{result['tokens_per_second']:,.0f}",
            f"slower than {OURS}": f"{result['times_slower']:.2f} x",
            "share": f"{result['share_of_floor']:.0%}",
            "peak MiB": f"{peak['mib']:,.0f}" if peak else "",
            "error": f"{result['error']:.1e}" if result["error"] is not None else "",
        }
    rows["kernel floor"] = {
        "seconds": f"{statistics.median(race['floor']['seconds']):.2f}",
        "tokens/s": f"{race['floor']['tokens_per_second']:,.0f}",
    }
    print(pd.DataFrame.from_dict(rows, orient="index").fillna("").to_string())
    for name, peak in race["memory"].items():
        if name not in race["contestants"]:
            print(f"{name}: {memory.describe(memory.Measured(**peak), race['proteins'])}")
    if tried := race["transformers_budgets"]:
        each = ", ".join(f"{budget:,}: {seconds:.2f} s" for budget, seconds in tried.items())
        print(f"transformers by tokens in a batch, once each: {each}")
    share = race["contestants"][OURS]["share_of_floor"]
    print(f"{OURS} runs at {share:.0%} of the floor's speed", flush=True)


def plot(races: list[dict[str, Any]], path: Path) -> None:
    """Horizontal bars of tokens a second, a panel for each shape; the floor is a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 2.2 * len(races)), layout="constrained")
    panels = figure.subplots(len(races), squeeze=False)[:, 0]
    for axes, race in zip(panels, races, strict=True):
        names = list(race["contestants"])
        speeds = [race["contestants"][name]["tokens_per_second"] for name in names]
        colours = [COLOURS[name.replace(",", " ").split()[0]] for name in names]
        bars = axes.barh(names, speeds, color=colours)
        # on white, for the line may run through a number
        white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.bar_label(bars, fmt="{:,.0f}", padding=4, fontsize=9, bbox=white)
        floor = race["floor"]["tokens_per_second"]
        axes.axvline(floor, color="black", linestyle="--")
        above = axes.get_xaxis_transform()  # x in tokens a second, y in heights of the panel
        axes.text(floor, 1.02, f"kernel floor, {floor:,.0f}", transform=above, ha="center", fontsize=9)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.15 * max(floor, *speeds))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(f"{race['shape']} shape, {race['proteins']} proteins", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("tokens a second")
    figure.suptitle(f"{processor()}, {torch.get_num_threads()} threads", fontsize=9)
    figure.savefig(path, dpi=150)


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
