"""What PyTorch can compute on here, asked of a child process: in Slicer itself nothing imports torch."""

import logging
from collections.abc import Callable
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError

from .childprocess import ChildProcess


class DeviceQuestion:
    """Asks one question at a time.

    Args:
        script: ``segment.py``, or another script that answers ``--devices`` as it does.
        python: the program that runs it, on the PATH.
    """

    def __init__(self, script: Path, python: str):
        self._script, self._python = script, python
        self._child = ChildProcess(self._onAnswer, onEnd=lambda: None)
        self._onDevices = None

    def ask(self, onDevices: Callable[[list[dict]], None]) -> None:
        """Ask, without waiting.

        ``onDevices`` is called once with a list of {"name", "usable", "reason"}, but not where nobody can tell, and
        not after ``stop``.
        """
        if self._child.isRunning():
            return
        self._onDevices = onDevices
        try:
            self._child.start(self._script, ["--devices"], self._python)
        except UserError as error:  # the button will say so, too, to somebody who wants to know
            logging.info(str(error))

    def stop(self) -> None:
        self._child.stop()

    def _onAnswer(self, event: dict) -> None:
        if event["event"] == "devices":
            self._onDevices(event["devices"])
