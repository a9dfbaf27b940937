"""The soft labels of a whole Decathlon folder, written by soften.py beside Slicer, which stays usable."""

import logging
import os
import shutil
import tempfile
from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

from ..shared.childprocess import COMMAND_LINE, ChildProcess

SOFTEN_SCRIPT = COMMAND_LINE / "soften.py"


class SoftLabelFolder:
    """Softens one folder at a time. One bad label never stops the others; what is written is whole.

    The child writes into a hidden folder, from which each finished file is moved: however it ends, no part of a file
    is left.
    """

    def __init__(self):
        self.onProgress = lambda fraction, step: None
        self.onEnd = lambda: None  # called when all is done, never after `cancel`
        self.total = 0
        self.written: list[Path] = []
        self.failures: list[str] = []  # a sentence each
        self._child = ChildProcess(self._onEvent, self._onChildEnd)
        self._out = self._aside = None

    def isRunning(self) -> bool:
        return self._child.isRunning()

    def start(self, dataset: str, out: str, border: str) -> None:
        """Write a soft label into the folder ``out`` for each label of ``dataset``; raises UserError."""
        from SpleenSmoothSegLib.io.atomic import check_writable
        from SpleenSmoothSegLib.io.decathlon import list_cases

        self._out = Path(out)
        names = [f"{case.name}.nii.gz" for case in list_cases(dataset)]
        for name in names:
            if (self._out / name).exists():
                raise UserError(
                    _('"{path}" is there already; choose an empty folder for the soft labels.').format(
                        path=self._out / name
                    )
                )
        check_writable(self._out)
        self.total, self.written, self.failures = len(names), [], []
        self._aside = Path(tempfile.mkdtemp(prefix=".soft-labels-", dir=self._out))
        try:
            self._child.start(SOFTEN_SCRIPT, [dataset, str(self._aside), "--border", border, "--child"])
        except UserError:
            self._tidy()
            raise

    def cancel(self) -> None:
        """End it now; what is written stays."""
        self._child.stop()
        self._tidy()

    def _onEvent(self, event: dict) -> None:
        if event["event"] == "progress":
            self.onProgress(event["fraction"], event["step"])
        elif event["event"] == "result":
            self._take(Path(event["soft_label"]))
        elif event["event"] == "error":
            self.failures.append(event["message"])

    def _take(self, finished: Path) -> None:
        path = self._out / finished.name
        try:
            os.replace(finished, path)
            self.written.append(path)
        except OSError as error:
            self.failures.append(_('"{path}" cannot be written ({reason}).').format(path=path, reason=error.strerror))

    def _onChildEnd(self) -> None:
        if len(self.written) + len(self.failures) < self.total and not self.failures:
            logging.error(self._child.log)
            self.failures.append(_("The program that softens labels has ended too early; see the error log."))
        self._tidy()
        self.onEnd()

    def _tidy(self) -> None:
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)
            self._aside = None
