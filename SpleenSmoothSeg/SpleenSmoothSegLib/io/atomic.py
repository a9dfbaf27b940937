"""Atomic output: files and folders appear complete or not at all."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError, reason_of

_unfinished: set[Path] = set()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` on success, remove it on an error.

    Works for files and folders. An existing `path` is replaced only at the end; a folder is never replaced by a file.

    Raises:
        UserError: the location is not writable or the disk is full.
    """
    path = Path(path)
    temporary = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _unfinished.add(temporary)
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        _remove(temporary)
        _unfinished.discard(temporary)


def remove_unfinished() -> None:
    """Remove the temporary paths of every open `atomic_write`, for a process that is about to exit without cleanup."""
    for temporary in tuple(_unfinished):
        _remove(temporary)


def check_writable(folder: Path) -> None:
    """Create `folder` if needed; raise UserError unless files can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise _write_error(folder, error) from error


def nearest_existing(folder: Path) -> Path:
    """`folder`, or its nearest existing parent, which may be a file."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _write_error(path: Path, error: OSError) -> UserError:
    return UserError(f'"{path}" cannot be written ({reason_of(error)}); free up disk space or choose another location.')


def _temporary_name(path: Path) -> Path:
    """A new short hidden name next to `path`, with the same suffix because writers choose the format by it."""
    return path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name[-30:]}")


def _replace(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.is_dir() and not path.is_symlink():
        # A folder cannot be renamed onto a non-empty one, so the old one is renamed first.
        old = _temporary_name(path)
        os.rename(path, old)
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(old, path)
            raise
        _remove(old)
    else:
        os.replace(temporary, path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # if it could not be created, it cannot be removed either
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
