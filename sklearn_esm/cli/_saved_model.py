"""Save a fitted pipeline, load it again, and read the record beside it."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import joblib

from sklearn_esm._optional_dependencies import import_extra
from sklearn_esm.cli._drafts import draft_of

SUFFIXES = (".skops", ".joblib")

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip archive can hold
_KERNELS = (
    "CompoundKernel",
    "ConstantKernel",
    "DotProduct",
    "Exponentiation",
    "ExpSineSquared",
    "Matern",
    "Product",
    "RBF",
    "RationalQuadratic",
    "Sum",
    "WhiteKernel",
)
# What skops 0.11 to 0.16 do not trust of the pipelines that `train` builds. Classes are named one by
# one, because with a whole module its functions would be trusted, too.
TRUSTED = (
    "sklearn_esm._contacts.ESMContactTransformer",
    "sklearn_esm._embedding.ESMEmbeddingTransformer",
    "sklearn_esm._likelihood.ESMLikelihoodTransformer",
    "sklearn_esm.baselines._composition.ResidueComposition",
    "sklearn_esm.baselines._one_hot.OneHotResidues",
    "sklearn_esm.variants._transformer.MutationsToSequences",
    *(f"sklearn.gaussian_process.kernels.{kernel}" for kernel in _KERNELS),
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    # scikit-learn follows the indices in these trees without checks: a forged file cannot run code,
    # but it can crash the process
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)


def save_pipeline(pipeline: Any, path: str | os.PathLike[str]) -> list[str]:
    """Write a fitted pipeline to a ``.skops`` or ``.joblib`` file, atomically.

    Parameters
    ----------
    pipeline : estimator
        Fitted pipeline. Its transformers should have ``cache=None``, because a folder of this machine
        means nothing on another.
    path : str or path-like
        Output file, whose suffix is the format.

    Returns
    -------
    types : list of str
        What ``skops.io.load`` needs as ``trusted``; empty for joblib.

    Raises
    ------
    ValueError
        If the suffix is another one, or if `load_pipeline` would refuse the file.
    OSError
        If the file cannot be written.
    """
    path = Path(path).expanduser()
    check_model_path(path)
    if path.suffix == ".joblib":
        with draft_of(path) as draft:
            joblib.dump(pipeline, draft)
        return []
    skops_io = _skops_io()
    data = _repeatable(skops_io.dumps(pipeline))
    types: list[str] = skops_io.get_untrusted_types(data=data)
    _check_types(types, path)
    with draft_of(path) as draft:
        draft.write_bytes(data)
    return types


def load_pipeline(path: str | os.PathLike[str]) -> Any:
    """Return the pipeline in a file that `save_pipeline` wrote.

    A ``.skops`` file is read only if each type in it is in a list of this package or of skops. A
    ``.joblib`` file can run any code.

    Raises
    ------
    ValueError
        If the suffix is another one, the file is damaged, or it holds a type that is not trusted.
    OSError
        If the file cannot be opened.
    """
    path = Path(path).expanduser()
    check_model_path(path)
    if not path.is_file():
        code = errno.EISDIR if path.is_dir() else errno.ENOENT
        raise OSError(code, os.strerror(code), str(path))
    if path.suffix == ".joblib":
        return _undamaged(path, lambda: joblib.load(path))
    skops_io = _skops_io()
    data = path.read_bytes()  # so that the types that are checked are those that are loaded
    types = _undamaged(path, lambda: skops_io.get_untrusted_types(data=data))
    _check_types(types, path)
    return _undamaged(path, lambda: skops_io.loads(data, trusted=types))


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the record that ``train`` writes beside a pipeline: ``model.json`` for ``model.skops``.

    Raises
    ------
    ValueError
        If the file is damaged, or was written with another pipeline, as after a stop between the two.
    OSError
        If there is none.
    """
    path = Path(path).expanduser()
    record = path.with_suffix(".json")
    if not record.is_file():
        raise FileNotFoundError(
            f"{record} must lie beside {path.name}; it names the column of the sequences. Copy both "
            "files that `train` wrote."
        )
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        digest = content["pipeline_sha256"]
        _check_record(content)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} must be the JSON that `train` wrote; got {error!r}.") from error
    if digest != sha256(path.read_bytes()).hexdigest():
        raise ValueError(
            f"{record} must have been written with {path.name}; its SHA-256 is that of another file. "
            "Copy both files again, or train again."
        )
    return dict(content)


def _check_record(record: dict[str, Any]) -> None:
    """Raise KeyError or TypeError if an entry that `predict` or `suggest` reads is invalid."""
    given, measured = record["input"], record["measured"]
    entries = [
        *((given[name], str) for name in ("kind", "column", "target")),
        (given["reference"], str if given["kind"] == "mutations" else str | None),
        (given["first_position"], int),
        *((value, str) for value in measured["digests"]),
        *((measured[name], float | int | None) for name in ("highest", "lowest")),
    ]
    for value, kind in entries:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is not {kind}")


def check_model_path(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if the suffix of a path is that of no format."""
    if Path(path).suffix not in SUFFIXES:
        raise ValueError(f"The model file must end in {' or '.join(SUFFIXES)}; got {os.fspath(path)}.")


def _check_types(types: list[str], path: Path) -> None:
    foreign = sorted(set(types) - set(TRUSTED))
    if foreign:
        raise ValueError(
            f"{path} must hold only types of scikit-learn and sklearn-esm known to this "
            f"version; got {', '.join(foreign)}. Use a .joblib file if you trust whoever wrote it."
        )


def _repeatable(archive: bytes) -> bytes:
    """Return skops' zip archive with numbers and a date that do not change from run to run.

    skops names an object, and the file of an array, after its address in memory.
    """
    numbers: dict[str, str] = {}

    def renumbered(found: re.Match[str]) -> str:
        return numbers.setdefault(found[0], str(len(numbers) + 1))

    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(content, "w") as new:
        schema = old.read("schema.json").decode()
        schema = re.sub(r'(?<="__id__": )\d+|(?<=")\d+(?=\.npy")', renumbered, schema)
        new.writestr(zipfile.ZipInfo("schema.json", _EARLIEST), schema)
        files = {re.sub(r"^\d+", renumbered, name): name for name in old.namelist()}
        for name in sorted(set(files) - {"schema.json"}):
            new.writestr(zipfile.ZipInfo(name, _EARLIEST), old.read(files[name]))
    return content.getvalue()


def _undamaged(path: Path, read: Any) -> Any:
    try:
        return read()
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # of zipfile, json, numpy, pickle or scikit-learn
        raise ValueError(
            f"{path} is damaged or was written by other versions ({type(error).__name__}: {error}). "
            "Copy it again, or train again."
        ) from error


def _skops_io() -> Any:
    return import_extra("skops.io", of="A .skops file", extra="train")
