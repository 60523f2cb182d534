"""Translate the errors of huggingface_hub: what is wrong with a repository, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sklearn_esm._checkpoints._catalog import suggestion
from sklearn_esm._optional_dependencies import import_extra

if TYPE_CHECKING:
    from sklearn_esm._checkpoints._hub import Repository

_LOG_IN = "Log in with `hf auth login` or set HF_TOKEN, to the token of an account with access."


class MissingFileError(FileNotFoundError):
    """A file that is not in the cache, and may not be downloaded."""

    @classmethod
    def offline(cls, repository: Repository) -> MissingFileError:
        """Return the error for a repository of which the cache lacks something."""
        constants: Any = import_extra("huggingface_hub.constants", of=str(repository), extra="hub")
        variable = "HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "SKLEARN_ESM_OFFLINE"
        return cls(
            f"{repository} is not complete in the Hugging Face cache {constants.HF_HUB_CACHE}, and "
            f"{variable} forbids the download. Unset {variable}, or run `sklearn-esm download "
            f"{repository}` on a machine with internet and copy its cache folder."
        )


@contextmanager
def explained(repository: Repository, hub: Any) -> Iterator[None]:
    """Raise a built-in error that says what to do for each error of the library.

    A file that a repository does not have is left to the caller.
    """
    errors = hub.errors
    # of the HTTP library, and of hf_xet, whose class older versions of the library do not have
    others = (errors.HTTPError, getattr(errors, "XetDownloadError", RuntimeError))
    try:
        yield
    except errors.RemoteEntryNotFoundError:
        raise
    except errors.LocalEntryNotFoundError as error:  # not in the cache, and the Hub did not answer
        raise _translated(repository, hub, error.__cause__ or error) from error
    except (OSError, RuntimeError, *others) as error:
        raise _translated(repository, hub, error) from error


def _translated(repository: Repository, hub: Any, error: BaseException) -> Exception:
    errors, endpoint = hub.errors, hub.constants.ENDPOINT
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.GatedRepoError):
        return PermissionError(
            f"{repository} is gated: its owner decides who may read it. Request access at "
            f"{endpoint}/{repository.name}. {_LOG_IN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return FileNotFoundError(
            f"{repository.name} has no revision {repository.revision!r}. Pass a branch, a tag or a "
            "whole commit hash after the '@'."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return FileNotFoundError(
            "model must be an existing folder or a repository of the Hugging Face Hub; got "
            f"'{repository}', which is neither, or is private. {suggestion(repository.name)} For a "
            f"private repository: {_LOG_IN}"
        )
    if status in (401, 403):
        return PermissionError(f"{repository} cannot be read with this login (HTTP {status}). {_LOG_IN}")
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return OSError(
            error.errno,
            f"{repository} cannot be written to the Hugging Face cache {hub.constants.HF_HUB_CACHE}: "
            f"{error}. Free some space, or set HF_HOME to a writable folder on another disk.",
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return ConnectionError(
        f"The download of {repository} from {endpoint} failed ({reason}). Files that are complete are "
        "kept. Run this again, or set HF_ENDPOINT to a mirror."
    )
