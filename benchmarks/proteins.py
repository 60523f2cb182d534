"""The sequences that the benchmarks run on: from files beside the checkout, or made up without them."""

from pathlib import Path

import numpy as np
from Bio import SeqIO

DATA = Path(__file__).parents[2] / "shared" / "data"
LONGEST = 1022  # what every ESM model takes
RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def natural_proteins(count: int, longest: int = LONGEST) -> tuple[list[str], str]:
    """Proteins of natural lengths, at most ``longest`` residues, and where they are from."""
    file = DATA / "proteome_bench.fasta"
    if not file.exists():
        return log_normal_proteins(count), "log-normal lengths"
    proteins = [protein for protein in read_fasta(file) if len(protein) <= longest]
    if count > len(proteins):
        raise ValueError(f"{file.name} has {len(proteins)} proteins to run on, not {count}.")
    return proteins[:count], file.name


def log_normal_proteins(count: int) -> list[str]:
    """Random sequences whose lengths are spread as in a proteome, 30 to 1,022 residues."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.6, 0.6, count), 30, LONGEST).astype(int)
    return [random_protein(rng, length) for length in lengths]


def peptides(count: int) -> list[str]:
    """Random sequences of 10 to 40 residues."""
    rng = np.random.default_rng(0)
    return [random_protein(rng, length) for length in rng.integers(10, 41, count)]


def titin_half() -> str:
    """Human titin, 34,350 residues."""
    file = DATA / "nasty" / "titin_twice.fasta"
    if not file.exists():
        return random_protein(np.random.default_rng(0), 34_350)
    (twice,) = read_fasta(file)
    return twice[: len(twice) // 2]


def read_fasta(file: Path) -> list[str]:
    with file.open() as lines:
        return [str(record.seq) for record in SeqIO.parse(lines, "fasta")]


def random_protein(rng: np.random.Generator, length: int) -> str:
    return "".join(rng.choice(RESIDUES, length))
