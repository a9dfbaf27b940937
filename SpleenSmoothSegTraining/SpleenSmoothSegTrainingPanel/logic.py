"""Runs train.py as a child process, so that Slicer stays usable, and keeps what it tells."""

import logging
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

from .choices import TrainingChoices
from .curves import PLAIN, SMOOTHED, Epoch, TrainingCurves
from .packages import forTraining
from .resultsfolder import ResultsFolder

TRAIN_SCRIPT = Path(__file__).resolve().parents[1] / "CommandLine" / "train.py"
GRACE_MS = 900  # for train.py to take away what it has half written


@dataclass(frozen=True)
class Trained:
    """What a training that came to its end has made, and which folds the model still lacks."""

    model: Path | None
    report: Path | None
    missingFolds: tuple[int, ...] = ()


@dataclass
class _Run:
    """One press of the button, until it is done."""

    choices: TrainingChoices
    onProgress: Callable[[float, str, float | None], None]
    onEpoch: Callable[[], None]
    onWarning: Callable[[str], None]
    onEnd: Callable[[Trained | None, str], None]
    last: str = ""  # where the newest epoch was, in words
    result: dict | None = None
    error: str = ""


class TrainingLogic:
    """Runs one training at a time. It belongs to no scene: closing one does not end it.

    Args:
        script: ``train.py``, or another script that speaks as it does.
        python: the program that runs it, on the PATH.
        neededPackages: what the script needs, which ``start`` makes sure of.
        deviceScript: says what PyTorch can compute on, as ``segment.py --devices`` does.

    Attributes:
        curves: of the training that runs, or ran last.
        log: what the one that ended last said besides; nothing of one that was stopped.
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
        """What the training that runs was started with."""
        return self._run.choices if self._run else None

    def isRunning(self) -> bool:
        return self._run is not None

    def start(
        self,
        choices: TrainingChoices,
        onProgress=lambda fraction, step, remaining_s: None,
        onEpoch=lambda: None,
        onWarning=lambda sentence: None,
        onEnd=lambda trained, sentence: None,
    ) -> None:
        """Begin to train, or go on with what the results folder holds, and return while it runs.

        Args:
            choices: what to train on, where to, and how.
            onProgress: called with the fraction done, 0 to 1, the name of the step, and the seconds left or None.
            onEpoch: called when ``curves`` has one more.
            onWarning: called with a sentence that the user should see.
            onEnd: called once, with (Trained, "") or (None, one sentence that says why).

        Raises:
            UserError: it cannot begin, in one sentence (``packages.NotInstalled`` with a log). ``onEnd`` is not called.
        """
        if self.isRunning():
            raise UserError(_("A training runs already; stop it or wait for its end."))
        self.log = ""
        choices.check()
        self.packages.ensure()
        self._deviceQuery.stop()
        curves = TrainingCurves.read(choices.out) if choices.isResumed() else TrainingCurves()
        self._child.start(self._script, ["--child", *choices.arguments()], self._python)
        self.curves = curves
        self._run = _Run(choices, onProgress, onEpoch, onWarning, onEnd)
        slicer.app.connect("aboutToQuit()", self.stop)

    def stop(self) -> None:
        """End the run within a second, with all that the child has started; what was trained stays."""
        if self._run is not None:
            self._child.stop(GRACE_MS)
            self._endRun(None, self._whereStopped(), log="")

    def close(self) -> None:
        """Leave nothing behind that runs."""
        self.stop()
        self._deviceQuery.stop()

    def askDevices(self, onDevices: Callable[[list[dict]], None]) -> None:
        """Ask, without waiting, what PyTorch can compute on (``DeviceQuery.start``)."""
        if not self.isRunning() and not self.packages.missing():
            self._deviceQuery.start(onDevices)

    def readCurves(self, out: str) -> TrainingCurves:
        """The curves of what the results folder holds, which become those of this logic."""
        if not self.isRunning():
            self.curves = TrainingCurves.read(out) if out else TrainingCurves()
        return self.curves

    def command(self, choices: TrainingChoices) -> str:
        """The command line that does the same, here or on a cluster, without a window."""
        launcher = slicer.app.launcherExecutableFilePath
        return joined([launcher, "--no-main-window", "--python-script", str(self._script), *choices.arguments()])

    def useModel(self, out: str) -> str:
        """Let Segment Spleen use the trained model; its name. Raises UserError where there is none that can be used."""
        from SpleenSmoothSeg import SpleenSmoothSegLogic
        from SpleenSmoothSegPanels.segment.panel import SegmentParameters

        entry = self.models.add(ResultsFolder(out).model)
        SegmentParameters(SpleenSmoothSegLogic().getParameterNode()).segmentModel = str(entry.folder)
        return entry.name

    def _onEvent(self, event: dict) -> None:
        run, kind, message = self._run, event["event"], event.get("message")
        if kind == "progress" and _isNumber(event.get("fraction")):
            left = event.get("remaining_s")
            fraction = min(max(event["fraction"], 0.0), 1.0)
            run.onProgress(fraction, str(event.get("step", "")), left if _isNumber(left) else None)
        elif kind == "epoch" and (epoch := Epoch.fromValues(event)):
            run.last = _inWords(epoch, self.curves.add(epoch))
            run.onEpoch()
        elif kind == "warning" and message:
            run.onWarning(str(message))
        elif kind == "error" and message:
            run.error = str(message)
        elif kind == "result":
            run.result = event

    def _onChildEnd(self) -> None:
        run, trained, sentence = self._run, None, ""
        if not self._child.wasStarted:
            sentence = _("Slicer's own Python could not be started; restart Slicer, or install it again.")
        elif run.result is None:
            early = _(
                "The training ended before it was done; click Resume, with other programs closed if memory is short."
            )
            sentence = run.error or early
        else:
            made = [_file(run.result.get(name)) for name in ("model", "report")]
            trained = Trained(*made, tuple(run.result.get("missing_folds") or ()))
        self._endRun(trained, sentence, self._child.log)

    def _endRun(self, trained: Trained | None, sentence: str, log: str) -> None:
        run, self._run = self._run, None
        slicer.app.disconnect("aboutToQuit()", self.stop)
        self.log = log
        run.onEnd(trained, sentence)

    def _whereStopped(self) -> str:
        if not self._run.choices.isResumed():
            return _("Stopped before anything was trained.")
        if not self._run.last:
            return _("Stopped before another epoch was done; Resume goes on from the last one.")
        return _("Stopped after {where}; Resume goes on from there.").format(where=self._run.last)


def joined(words: list[str]) -> str:
    """A command line for the shell of this system."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def unexpected(error: Exception) -> str:
    """One sentence for an error that should not have been possible; Slicer's log gets the rest."""
    logging.error("Training", exc_info=error)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return _("Something went wrong that should not ({what}); please report it with Slicer's log.").format(what=what)


def _inWords(epoch: Epoch, number: int) -> str:
    where = _("fold {fold}, epoch {epoch}").format(fold=epoch.fold, epoch=number)
    if epoch.variant == SMOOTHED:
        return where
    if epoch.variant == PLAIN:
        return _("{where} of the control").format(where=where)
    return _("{where} with {border}").format(where=where, border=epoch.variant)


def _file(path) -> Path | None:
    return Path(path) if isinstance(path, str) and path else None


def _isNumber(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
