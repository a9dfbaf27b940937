"""Runs train.py as a child process, so that Slicer stays responsive, and collects its events."""

import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegPanels.shared.childprocess import COMMAND_LINE, PYTHON, ChildProcess
from SpleenSmoothSegPanels.shared.device import DeviceQuery
from SpleenSmoothSegPanels.shared.models import Models
from SpleenSmoothSegTrainingLib.outfolder import CONTROL, SMOOTHED, OutFolder

from .choices import TrainingChoices
from .curves import Epoch, TrainingCurves
from .packages import forTraining

TRAIN_SCRIPT = Path(__file__).resolve().parents[1] / "CommandLine" / "train.py"
GRACE_MS = 900  # for train.py to delete unfinished files


@dataclass(frozen=True)
class Trained:
    """Results of a completed training, and the folds that the model still lacks."""

    model: Path | None
    report: Path | None
    missingFolds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Callbacks:
    """Called while a training runs.

    Attributes:
        onProgress: with the fraction done, 0 to 1, the name of the step, and the seconds left or None.
        onEpoch: after an epoch is added to ``TrainingLogic.curves``.
        onWarning: with a sentence for the user.
        onEnd: once, with (Trained, "") or (None, error message).
    """

    onProgress: Callable[[float, str, float | None], None] = lambda fraction, step, remaining_s: None
    onEpoch: Callable[[], None] = lambda: None
    onWarning: Callable[[str], None] = lambda message: None
    onEnd: Callable[[Trained | None, str], None] = lambda trained, message: None


@dataclass
class _Run:
    """One running training."""

    choices: TrainingChoices
    callbacks: Callbacks
    last: str = ""  # the latest epoch, as text
    result: dict | None = None
    error: str = ""


class TrainingLogic:
    """Runs one training at a time, independent of the scene: closing the scene does not stop it.

    Args:
        script: ``train.py``, or another script with the same interface.
        python: the Python executable, on the PATH.
        neededPackages: packages that ``start`` installs.
        deviceScript: lists devices like ``segment.py --devices``.

    Attributes:
        curves: of the running or the latest training.
        log: stderr of the latest training; empty if it was stopped.
    """

    def __init__(
        self,
        script: Path | None = None,
        python: str = PYTHON,
        neededPackages=None,
        deviceScript: Path | None = None,
    ):
        self._script, self._python = script or TRAIN_SCRIPT, python
        self.packages = neededPackages or forTraining()
        self.models = Models()
        self.curves = TrainingCurves()
        self.log = ""
        self._run = None
        self._child = ChildProcess(self._onEvent, self._onChildEnd)
        self._deviceQuery = DeviceQuery(deviceScript or COMMAND_LINE / "segment.py", python)

    @property
    def running(self) -> TrainingChoices | None:
        """The choices of the running training."""
        return self._run.choices if self._run else None

    def isRunning(self) -> bool:
        return self._run is not None

    def start(self, choices: TrainingChoices, callbacks: Callbacks = Callbacks()) -> None:
        """Start a training, or resume the one in the results folder, and return while it runs.

        Raises:
            UserError: it cannot start (``packages.NotInstalled`` with a log). ``onEnd`` is not called.
        """
        if self.isRunning():
            raise UserError(_("A training is already running; stop it or wait until it ends."))
        self.log = ""
        choices.check()
        self.packages.ensure()
        self._deviceQuery.stop()
        curves = TrainingCurves.read(choices.out) if choices.isResumed() else TrainingCurves()
        self._child.start(self._script, ["--child", *choices.arguments()], self._python)
        self.curves = curves
        self._run = _Run(choices, callbacks)
        slicer.app.connect("aboutToQuit()", self.stop)

    def stop(self) -> None:
        """Stop the child process and its own children within a second; completed epochs are kept."""
        if self._run is not None:
            self._child.stop(GRACE_MS)
            self._endRun(None, self._stopMessage(), log="")

    def close(self) -> None:
        """Stop all child processes."""
        self.stop()
        self._deviceQuery.stop()

    def queryDevices(self, onDevices: Callable[[list[dict]], None]) -> None:
        """Query the devices that PyTorch can use, without blocking (``DeviceQuery.start``)."""
        if not self.isRunning() and not self.packages.missing():
            self._deviceQuery.start(onDevices)

    def readCurves(self, out: str) -> TrainingCurves:
        """Read ``curves`` from the results folder, unless a training is running."""
        if not self.isRunning():
            self.curves = TrainingCurves.read(out) if out else TrainingCurves()
        return self.curves

    def command(self, choices: TrainingChoices) -> str:
        """The equivalent command line, for a terminal or a cluster."""
        launcher = slicer.app.launcherExecutableFilePath
        return joinCommand([launcher, "--no-main-window", "--python-script", str(self._script), *choices.arguments()])

    def useModel(self, out: str) -> str:
        """Select the trained model in Segment Spleen and return its name; raises UserError if it is not usable."""
        from SpleenSmoothSeg import SpleenSmoothSegLogic
        from SpleenSmoothSegPanels.segment.panel import SegmentParameters

        entry = self.models.add(OutFolder(out).model)
        SegmentParameters(SpleenSmoothSegLogic().getParameterNode()).segmentModel = str(entry.folder)
        return entry.name

    def _onEvent(self, event: dict) -> None:
        run, kind, message = self._run, event["event"], event.get("message")
        if kind == "progress" and _isNumber(event.get("fraction")):
            left = event.get("remaining_s")
            fraction = min(max(event["fraction"], 0.0), 1.0)
            run.callbacks.onProgress(fraction, str(event.get("step", "")), left if _isNumber(left) else None)
        elif kind == "epoch" and (epoch := Epoch.fromValues(event)):
            run.last = _describe(epoch, self.curves.add(epoch))
            run.callbacks.onEpoch()
        elif kind == "warning" and message:
            run.callbacks.onWarning(str(message))
        elif kind == "error" and message:
            run.error = str(message)
        elif kind == "result":
            run.result = event

    def _onChildEnd(self) -> None:
        run, trained, message = self._run, None, ""
        if not self._child.wasStarted:
            message = _("Slicer's Python could not be started; restart or reinstall Slicer.")
        elif run.result is None:
            early = _("The training ended unexpectedly; click Resume, and close other programs if memory is low.")
            message = run.error or early
        else:
            files = [_file(run.result.get(name)) for name in ("model", "report")]
            trained = Trained(*files, tuple(run.result.get("missing_folds") or ()))
        self._endRun(trained, message, self._child.log)

    def _endRun(self, trained: Trained | None, message: str, log: str) -> None:
        run, self._run = self._run, None
        slicer.app.disconnect("aboutToQuit()", self.stop)
        self.log = log
        run.callbacks.onEnd(trained, message)

    def _stopMessage(self) -> str:
        if not self._run.choices.isResumed():
            return _("Stopped before the first epoch was completed.")
        if not self._run.last:
            return _("Stopped before another epoch was completed; Resume continues from the last one.")
        return _("Stopped after {epoch}; Resume continues from there.").format(epoch=self._run.last)


def joinCommand(words: list[str]) -> str:
    """A command line, quoted for the shell of this system."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _describe(epoch: Epoch, number: int) -> str:
    text = _("fold {fold}, epoch {epoch}").format(fold=epoch.fold, epoch=number)
    if epoch.variant == SMOOTHED:
        return text
    if epoch.variant == CONTROL:
        return _("{epoch} of the control").format(epoch=text)
    return _("{epoch} with {border}").format(epoch=text, border=epoch.variant)


def _file(path) -> Path | None:
    return Path(path) if isinstance(path, str) and path else None


def _isNumber(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
