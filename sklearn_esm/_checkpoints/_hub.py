"""Find the files of a repository of the Hugging Face Hub in its cache, or download them.

Only what the numbers depend on is downloaded: the settings, and one layout of the weights.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sklearn_esm._checkpoints._catalog import ESMC
from sklearn_esm._checkpoints._download import offline
from sklearn_esm._checkpoints._hub_checksum import check_sha256
from sklearn_esm._checkpoints._hub_errors import MissingFileError, explained
from sklearn_esm._checkpoints._layout import ADAPTER_WEIGHTS, CONFIG, WEIGHTS, read_index
from sklearn_esm._checkpoints._lora import ADAPTER_CONFIG
from sklearn_esm._optional_dependencies import import_extra

T = TypeVar("T")

_FORM = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w][\w./-]*))?", re.ASCII)
_WAKE_UP = 0.2  # seconds


@dataclass(frozen=True)
class Repository:
    """A model's repository on the Hub, and a branch, tag or commit of it; None is the default branch."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


_PINNED = {
    Repository(model.hub.repository, model.hub.commit): model.hub.sha256
    for model in ESMC.values()
    if model.hub is not None and model.hub.sha256 is not None
}
_of_thread = threading.local()
# what was found in this process: the commit of a revision, and the files of a commit
_commits: dict[tuple[str, str, Repository], Repository] = {}
_files: dict[tuple[str, Repository], list[Path]] = {}


def repository_of(text: str) -> Repository | None:
    """Return the repository that a model's name refers to, None for a name of another form."""
    if text in ESMC:
        source = ESMC[text].hub
        return None if source is None else Repository(source.repository, source.commit)
    found = _FORM.fullmatch(text)
    # the Hub has no such names, and its client refuses them
    if found is None or len(found[1]) > 96 or re.search(r"--|\.\.|\.git(@|$)", text):
        return None
    return Repository(found[1], found[2])


def at_commit(repository: Repository) -> Repository:
    """Return a repository at the commit of its revision, looked up once in a process.

    The settings are downloaded if they are not in the cache.

    Raises
    ------
    ImportError
        If the extra ``hub`` is not installed.
    FileNotFoundError
        If there is no such repository or revision, or if it is not in the cache and downloads are
        forbidden.
    PermissionError
        If the repository can be read only after a login.
    ConnectionError
        If the Hub cannot be reached.
    ValueError
        If the repository has no settings.
    """
    hub = _client(repository)
    key = (hub.constants.HF_HUB_CACHE, hub.constants.ENDPOINT, repository)
    if key not in _commits:
        # the name of a snapshot's folder is its commit, also offline
        _commits[key] = Repository(repository.name, settings_file(repository).parent.name)
    return _commits[key]


def settings_file(repository: Repository) -> Path:
    """Return ``config.json``, or the ``adapter_config.json`` of a LoRA adapter; see `at_commit`."""
    for name in (CONFIG, ADAPTER_CONFIG):
        path = _file(repository, name, cached_only=False)
        if path is not None:
            return path
    if _is_offline(repository):
        raise MissingFileError.offline(repository)
    raise ValueError(
        f"model must be a repository in transformers' or peft's format; got {repository}, which has no "
        f"{CONFIG}. Pass another repository, or the path of a checkpoint."
    )


def snapshot_folder(repository: Repository) -> Path:
    """Return the folder in the cache with the settings and weights of a repository at a commit.

    Raises
    ------
    ValueError
        If the repository has no weights that can be read, or if they are not those of a pinned commit.
    FileNotFoundError, PermissionError, ConnectionError, ImportError
        As for `at_commit`.
    """
    key = (_client(repository).constants.HF_HUB_CACHE, repository)
    files = _files.get(key, [])
    if not files or not all(path.is_file() for path in files):
        files = _files[key] = _stoppable(lambda: _download(repository))
    if repository in _PINNED:
        check_sha256(files[1], _PINNED[repository], str(repository))
    return files[0].parent


def hub_cache() -> Path | None:
    """Return the folder of the Hub's cache, None if the extra ``hub`` is not installed."""
    try:
        return Path(_client(Repository("")).constants.HF_HUB_CACHE)
    except ImportError:
        return None


def cached_weights(repository: Repository) -> list[Path]:
    """Return the weights of a repository that are in the cache, without asking the Hub."""
    for name in (*WEIGHTS, *ADAPTER_WEIGHTS):
        weights = _weights(repository, name, cached_only=True)
        if weights:
            return weights
    return []


@contextmanager
def progress_hidden() -> Iterator[None]:
    """Hide the progress bars of downloads from the Hub."""
    utils = import_extra("huggingface_hub.utils", of="The Hugging Face Hub", extra="hub")
    if utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def cached_commits(name: str) -> list[str]:
    """Return the commits of a repository that the cache has something of."""
    cache = Path(_client(Repository(name)).constants.HF_HUB_CACHE)
    return [path.name for path in cache.glob(f"models--{name.replace('/', '--')}/snapshots/*")]


def _download(repository: Repository) -> list[Path]:
    """Return the settings file and the weights, from the cache if it has every file of a layout."""
    settings = settings_file(repository)
    adapter = settings.name == ADAPTER_CONFIG
    names = ADAPTER_WEIGHTS if adapter else WEIGHTS
    for cached_only in (True,) if _is_offline(repository) else (True, False):
        for name in names:
            weights = _weights(repository, name, cached_only)
            if weights:
                return [settings, *weights]
    if _is_offline(repository):
        raise MissingFileError.offline(repository)
    raise ValueError(
        f"model must have weights in {' or '.join(names)}, whole or sharded; got {repository}, which "
        "has neither. Convert it with transformers' save_pretrained, and pass the folder."
    )


def _weights(repository: Repository, name: str, cached_only: bool) -> list[Path]:
    """Return the files of one layout, an index included; an empty list if there is no such layout."""
    whole = _file(repository, name, cached_only)
    if whole is not None:
        return [whole]
    index = _file(repository, f"{name}.index.json", cached_only)
    if index is None:
        return []
    shards = {
        name: _file(repository, name, cached_only) for name in sorted({*read_index(index).values()})
    }
    missing = [name for name, path in shards.items() if path is None]
    if missing and not cached_only:
        raise ValueError(
            f"{repository} must have every file that {index.name} lists; {missing[0]} is missing. Pass "
            "another revision."
        )
    return [] if missing else [index, *(path for path in shards.values() if path is not None)]


def _file(repository: Repository, name: str, cached_only: bool) -> Path | None:
    """Return a file in the cache, downloaded if needed; None if there is none of this name."""
    hub = _client(repository)
    local = cached_only or _is_offline(repository)
    try:
        with explained(repository, hub):
            path: str = hub.hf_hub_download(
                repository.name, name, revision=repository.revision, local_files_only=local
            )
    except hub.errors.RemoteEntryNotFoundError:
        return None
    except ConnectionError:
        if local:
            return None
        raise
    return Path(path)


def _is_offline(repository: Repository) -> bool:
    return offline() or bool(_client(repository).constants.HF_HUB_OFFLINE)


def _client(repository: Repository) -> Any:
    for module in ("huggingface_hub.constants", "huggingface_hub.errors", "huggingface_hub"):
        hub = import_extra(module, of=str(repository), extra="hub", library="huggingface-hub")
    return hub


@contextmanager
def downloads_stopped_by(check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` while this thread waits for a download. It raises to stop waiting."""
    _of_thread.check = check
    try:
        yield
    finally:
        del _of_thread.check


def _stoppable(function: Callable[[], T]) -> T:
    """Return ``function()``, called in a thread of its own if this one can be stopped.

    Python does not wait for that thread, so a process that ends after Ctrl-C does not first complete a
    download of gigabytes.
    """
    check = getattr(_of_thread, "check", None)
    if check is None:
        return function()
    results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((function(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, name="sklearn-esm-download", daemon=True).start()
    while True:
        check()
        try:
            value, error = results.get(timeout=_WAKE_UP)
        except Empty:
            continue
        if error is not None:
            raise error
        result: T = value
        return result
