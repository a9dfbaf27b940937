"""Calling ITK: with names that it can take, and without its own words on the console."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk

from ..errors import UserError


def itk_name(path: Path | str) -> str:
    """The name as ITK takes it; raises UserError for one that is not valid text, on which ITK ends the program."""
    name = str(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = name.encode("utf-8", "replace").decode()
        raise UserError(f'"{shown}" has a name that is not valid text; rename it.') from error
    return name


@contextlib.contextmanager
def silence_itk() -> Iterator[None]:
    """Nothing that ITK and the libraries below it write to stderr is shown: a person gets our sentence instead.

    ITK's own warnings can be switched off, those of its NIfTI and MetaImage libraries only go with the whole stream.
    """
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with _no_stderr():
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):  # a program without a console has no stream 2
            if sys.stderr is not None:
                sys.stderr.flush()
            console = os.dup(2)
            undo.callback(os.close, console)
            with open(os.devnull, "wb") as nowhere:
                undo.callback(os.dup2, console, 2)
                os.dup2(nowhere.fileno(), 2)
        yield
