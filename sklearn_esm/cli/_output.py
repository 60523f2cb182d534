"""Where embeddings are written: a file, a folder of parquet files, or standard output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from sklearn_esm.cli._drafts import draft_of
from sklearn_esm.cli._errors import discard_output
from sklearn_esm.cli._folders import Folder, LocalFolder, RemoteFolder, is_address
from sklearn_esm.cli._formats import FORMATS, Content, Format, Parts, load_part
from sklearn_esm.cli._options import check_other_file
from sklearn_esm.cli._parts import Embedded

_IN_FOLDER = ".parquet"


class Destination:
    """A file, a folder of parquet files, or standard output.

    Parameters
    ----------
    output : str
        Path whose suffix selects the format; an existing folder or a path that ends in ``/`` for one
        parquet file per part; or ``"-"``.
    sources : sequence of str, default=()
        Paths of the input files, or ``"-"``.

    Raises
    ------
    ValueError
        If the suffix is unknown, the output is a terminal, or the output is one of the sources.
    """

    def __init__(self, output: str, *sources: str) -> None:
        self.path: Path | None = None
        self.address: str | None = None
        self.is_folder = False
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if output == "-":
            if sys.stdout.isatty():
                raise ValueError("-o - writes binary data. Redirect it to a file or a pipe.")
            return
        if is_address(output):
            self.address, self.is_folder = output, True
            return
        # resolved, so that the target of a link is replaced and not the link
        self.path = Path(output).expanduser().resolve()
        unknown = self.path.suffix.lower() not in FORMATS
        self.is_folder = output.endswith(("/", os.sep)) or (unknown and self.path.is_dir())
        if unknown and not self.is_folder:
            raise ValueError(
                f"-o must end in one of {', '.join(FORMATS)}, or in / for a folder of parquet files; "
                f"got {output}. Pass another name, or - for npz on standard output."
            )
        check_other_file(output, *sources)

    def __str__(self) -> str:
        return self.address or ("standard output" if self.path is None else str(self.path))

    @property
    def suffix(self) -> str:
        """The suffix that selects the format."""
        if self.is_folder:
            return _IN_FOLDER
        return ".npz" if self.path is None else self.path.suffix.lower()

    @property
    def format(self) -> Format:
        """The format of the file, or of each file in the folder."""
        return FORMATS[self.suffix]

    @property
    def folder(self) -> Folder:
        """The folder of embedded parts: the output, or one beside the file until it is written."""
        return RemoteFolder(self.address) if self.address else LocalFolder(self._parts)

    @property
    def _parts(self) -> Path:
        if self.path is None:
            self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="sklearn-esm-")
            return Path(self._temporary.name)
        return self.path if self.is_folder else self.path.with_name(f"{self.path.name}.parts")

    def check(self) -> None:
        """Raise OSError or ImportError if nothing can be written, before anything is computed."""
        self.format.check()
        if self.path is None:
            return
        if not self.is_folder and self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder. Pass a file to -o.")
        probe = self.path / "probe" if self.is_folder and self.path.exists() else self.path
        with draft_of(probe) as draft:
            draft.touch()
            draft.unlink()

    def write(self, content: Content, parts: Parts) -> None:
        """Merge the parts into the file, atomically, or write them to standard output."""
        if self.path is not None:
            self._parts.mkdir(exist_ok=True)
            # the draft is among the parts, so that the next run removes that of a killed one
            with draft_of(self.path, self._parts) as draft:
                self.format.write(draft, content, parts)
            shutil.rmtree(self._parts)
            return
        try:
            self.format.write(sys.stdout.buffer, content, parts)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            discard_output()
            raise
        except OSError as error:
            discard_output()
            reason = f"{self} cannot be written: {error.strerror}."
            raise OSError(error.errno, reason) from error

    def read(self, name: str) -> Embedded:
        """Return a part that waits for being merged."""
        return load_part(self._parts / name)

    def check_holds(self, pooling: object, *, wide: bool) -> None:
        """Raise ValueError if the format cannot hold what is computed."""
        if pooling is None and not self.format.holds_residues:
            raise ValueError(
                "--pooling none must have an output of another format than npz, whose arrays have rows "
                f"of one length; got -o {self}. Pass .h5, .parquet or a folder."
            )
        if wide and (self.suffix != ".parquet" or pooling is None):
            raise ValueError(
                f"--wide must have a parquet output and pooled vectors; got -o {self}. Leave out --wide."
            )

    def after_stop(self) -> str:
        """Return a sentence about the parts that are kept; none if there are none."""
        if self.address is None and (self.path is None or not self._parts.is_dir()):
            return ""
        return f"Finished parts are kept in {self.address or self._parts}; rerun the command to resume."

    def close(self) -> None:
        """Remove temporary files."""
        if self._temporary is not None:
            self._temporary.cleanup()
