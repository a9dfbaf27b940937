"""Wrappers for calls to ITK: file names that it accepts, and no output on the console."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk

from ..errors import UserError


def itk_name(path: Path | str) -> str:
    """The file name as text for ITK; raises UserError if it is not valid UTF-8, which would crash ITK."""
    name = str(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = name.encode("utf-8", "replace").decode()
        raise UserError(f'"{shown}" has a name that is not valid UTF-8; rename it.') from error
    return name


@contextlib.contextmanager
def silence_itk() -> Iterator[None]:
    """Suppress everything that ITK and its libraries write to stderr; our own messages replace it.

    ITK's warnings can be turned off, but its NIfTI and MetaImage libraries write to file descriptor 2 directly.
    """
    display = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with _no_stderr():
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(display)


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):  # a program without a console has no file descriptor 2
            if sys.stderr is not None:
                sys.stderr.flush()
            console = os.dup(2)
            undo.callback(os.close, console)
            with open(os.devnull, "wb") as null:
                undo.callback(os.dup2, console, 2)
                os.dup2(null.fileno(), 2)
        yield
