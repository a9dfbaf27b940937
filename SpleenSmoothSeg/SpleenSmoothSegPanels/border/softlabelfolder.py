"""Soft labels of a whole Decathlon dataset, written by soften.py in a child process."""

import logging
import os
import shutil
import tempfile
from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError, reason_of

from ..shared.childprocess import COMMAND_LINE, ChildProcess

SOFTEN_SCRIPT = COMMAND_LINE / "soften.py"


class SoftLabelFolder:
    """Writes the soft labels of one dataset at a time. An invalid label does not stop the others.

    The child writes into a hidden temporary folder inside the output folder. Each finished file is moved from there,
    so that the output folder never contains incomplete files.
    """

    def __init__(self):
        self.onProgress = lambda fraction, step: None
        self.onEnd = lambda: None  # not called after `cancel`
        self.total = 0
        self.written: list[Path] = []
        self.failures: list[str] = []  # one message per label
        self._child = ChildProcess(self._onEvent, self._onChildEnd)
        self._out = self._temporary = None

    def isRunning(self) -> bool:
        return self._child.isRunning()

    def start(self, dataset: str, out: str, border) -> None:
        """Write a soft label into the folder ``out`` for each label of ``dataset``.

        Raises UserError if the dataset is invalid, ``out`` is not writable, or a file in it would be replaced.
        """
        from SpleenSmoothSegLib.io.atomic import check_writable
        from SpleenSmoothSegLib.io.decathlon import list_cases

        self._out = Path(out)
        paths = [self._out / f"{case.name}.nii.gz" for case in list_cases(dataset)]
        for path in paths:
            if path.exists():
                raise UserError(_('"{path}" already exists; choose an empty folder.').format(path=path))
        check_writable(self._out)
        self.total, self.written, self.failures = len(paths), [], []
        self._temporary = Path(tempfile.mkdtemp(prefix=".soft-labels-", dir=self._out))
        try:
            self._child.start(SOFTEN_SCRIPT, [dataset, str(self._temporary), "--border", str(border), "--child"])
        except UserError:
            self._removeTemporary()
            raise

    def cancel(self) -> None:
        """Stop now; files written so far are kept."""
        self._child.stop()
        self._removeTemporary()

    def _onEvent(self, event: dict) -> None:
        if event["event"] == "progress":
            self.onProgress(event["fraction"], event["step"])
        elif event["event"] == "result":
            self._moveToOut(Path(event["soft_label"]))
        elif event["event"] == "error":
            self.failures.append(event["message"])

    def _moveToOut(self, finished: Path) -> None:
        path = self._out / finished.name
        try:
            os.replace(finished, path)
            self.written.append(path)
        except OSError as error:
            self.failures.append(_('"{path}" cannot be written ({reason}).').format(path=path, reason=reason_of(error)))

    def _onChildEnd(self) -> None:
        if len(self.written) + len(self.failures) < self.total and not self.failures:
            logging.error(self._child.log)
            self.failures.append(_("soften.py ended unexpectedly; see Slicer's log."))
        self._removeTemporary()
        self.onEnd()

    def _removeTemporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
