"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError

_unfinished: set[Path] = set()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it to `path` at the end, or remove what was written on an error.

    Works for files and folders; what stood at `path` is replaced at the end only, but a folder never by a file.

    Raises:
        UserError: the place cannot be written to or is full.
    """
    path = Path(path)
    aside = _hidden_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _unfinished.add(aside)
        yield aside
        _replace(aside, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        _remove(aside)
        _unfinished.discard(aside)


def remove_unfinished() -> None:
    """Remove what is being written aside, for a program that ends at once, without leaving `atomic_write`."""
    for aside in tuple(_unfinished):
        _remove(aside)


def check_writable(folder: Path) -> None:
    """Raise UserError unless files can be put into `folder`, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise _cannot_write(folder, error) from error


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists; it may turn out to be a file."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _cannot_write(path: Path, error: OSError) -> UserError:
    reason = (error.strerror or str(error)).lower()
    return UserError(f'"{path}" cannot be written ({reason}); free space there or choose another place.')


def _hidden_name(path: Path) -> Path:
    """A new short name beside `path`; it ends as `path` does, because writers choose the format by that."""
    return path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name[-30:]}")


def _replace(aside: Path, path: Path) -> None:
    if aside.is_dir() and path.is_dir() and not path.is_symlink():
        # A folder cannot be renamed onto one that holds files, so the old one steps aside first.
        old = _hidden_name(path)
        os.rename(path, old)
        try:
            os.rename(aside, path)
        except BaseException:
            os.rename(old, path)
            raise
        _remove(old)
    else:
        os.replace(aside, path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # where it could not be made it cannot be removed either
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
