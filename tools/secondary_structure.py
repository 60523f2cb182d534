"""Build ``secondary_structure.csv`` from a folder of PDB entries in the PDB file format.

Usage: ``python tools/secondary_structure.py FOLDER > secondary_structure.csv``.
Sequences come from the SEQRES records, and labels from the HELIX and SHEET records. A chain is left out
if it has residues other than the standard 20, fewer than 30 or more than 300 residues, no label at all,
less than 80 % of its residues in the structure, or residue numbers that do not agree with SEQRES. One
chain is kept of each group of relatives, which have at least 30 % identity over half of both chains:
X-ray before NMR, then the better resolution, then the first entry and chain.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import NamedTuple

from Bio.Data.IUPACData import protein_letters_3to1

from sklearn_esm.model_selection import identity_groups

LETTERS = {name.upper(): letter for name, letter in protein_letters_3to1.items()}
LENGTHS, RESOLVED = range(30, 301), 0.8
IDENTITY, COVERAGE = 0.3, 0.5
Number = tuple[int, str]  # number and insertion code of a residue


class Chain(NamedTuple):
    """A chain, with what decides which of its relatives is kept first."""

    resolution: float  # infinite for NMR
    pdb: str
    chain: str
    name: str
    sequence: str
    structure: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with files named *.pdb or *.ent")
    options = parser.parse_args()

    files = [path for path in options.folder.iterdir() if path.suffix in (".pdb", ".ent")]
    chains = sorted(
        {chain for path in files for chain in chains_of(path.read_text("latin-1").splitlines())}
    )
    groups = identity_groups([chain.sequence for chain in chains], IDENTITY, COVERAGE).tolist()
    best = dict(zip(reversed(groups), reversed(chains), strict=True))  # the first of each group

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["pdb", "chain", "name", "sequence", "structure"])
    writer.writerows(sorted(chain[1:] for chain in best.values()))


def chains_of(lines: list[str]) -> list[Chain]:
    """Return the chains of an entry that have the sequence, the labels and the residues wanted."""
    pdb = next((line[62:66] for line in lines if line.startswith("HEADER")), "").strip()
    resolutions = [
        float(line.split("ANGSTROMS")[0][22:])
        for line in lines
        if line.startswith("REMARK   2 RESOLUTION.") and "ANGSTROMS" in line
    ]
    chains = []
    for chain in dict.fromkeys(line[11] for line in lines if line.startswith("SEQRES")):
        seqres = [
            name
            for line in lines
            if line.startswith("SEQRES") and line[11] == chain
            for name in line[19:].split()
        ]
        atoms, missing = residues(lines, chain)
        numbers = sorted(atoms | missing)
        helix = labelled(lines, "HELIX", (19, 21, 33), chain, numbers)
        strand = labelled(lines, "SHEET", (21, 22, 33), chain, numbers)
        sequence = "".join(LETTERS.get(name, "?") for name in seqres)
        structure = "".join(
            "-" if number not in atoms else "H" if number in helix else "E" if number in strand else "C"
            for number in numbers
        )
        if (
            pdb
            and "?" not in sequence
            and len(sequence) in LENGTHS
            and helix | strand
            and [(atoms | missing)[number] for number in numbers] == seqres
            and len(atoms) >= RESOLVED * len(sequence)
        ):
            resolution = min(resolutions, default=float("inf"))
            chains.append(Chain(resolution, pdb, chain, molecule(lines, chain), sequence, structure))
    return chains


def residues(lines: list[str], chain: str) -> tuple[dict[Number, str], dict[Number, str]]:
    """Return the names of the residues that have coordinates, and of those of REMARK 465, by number."""
    atoms: dict[Number, str] = {}
    missing: dict[Number, str] = {}
    for line in lines:
        if line.startswith(("ENDMDL", f"TER   {line[6:11]}      {line[17:20]} {chain}")):
            break  # what follows the end of the chain are its ligands, or other models
        if line.startswith("ATOM") and line[21] == chain:
            atoms.setdefault((int(line[22:26]), line[26]), line[17:20])
        elif line.startswith("REMARK 465") and line[19:20] == chain and line[15:18] in LETTERS:
            missing[int(line[21:26]), line[26:27] or " "] = line[15:18]
    return atoms, missing


def labelled(
    lines: list[str], record: str, columns: tuple[int, int, int], chain: str, numbers: list[Number]
) -> set[Number]:
    """Return the residues of a chain in HELIX or SHEET records, whose columns differ."""
    of_chain, first, last = columns
    found: set[Number] = set()
    for line in lines:
        if line.startswith(record) and line[of_chain] == chain:
            start, stop = ((int(line[at : at + 4]), line[at + 4]) for at in (first, last))
            found.update(number for number in numbers if start <= number <= stop)
    return found


def molecule(lines: list[str], chain: str) -> str:
    """Return the name of a chain's molecule."""
    text = "".join(line[10:80].rstrip() for line in lines if line.startswith("COMPND"))
    for entity in text.split("MOL_ID:"):
        fields = dict(field.strip().split(": ", 1) for field in entity.split(";") if ": " in field)
        if chain in fields.get("CHAIN", "").replace(" ", "").split(","):
            return fields["MOLECULE"].lower()
    return ""


if __name__ == "__main__":
    main()
