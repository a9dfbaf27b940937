"""Segments the spleen in a child process, so that Slicer stays usable, and puts what comes back into the scene."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

from ..shared import packages
from ..shared.childfiles import ChildFiles
from ..shared.childprocess import COMMAND_LINE, PYTHON, ChildProcess
from ..shared.device import DeviceQuestion
from ..shared.models import STARTER, Models
from .segmentresult import SegmentResult
from .uncertaintymap import DisagreementMap

SEGMENT_SCRIPT = COMMAND_LINE / "segment.py"
REUSED_SECONDS = 240.0  # after a run its child waits for the next; a minute longer than we count on it


@dataclass(frozen=True)
class Found:
    """What a run has put into the scene."""

    volumeNode: object
    segmentationNode: object
    segmentId: str
    result: SegmentResult


@dataclass
class _Run:
    """One press of the button, until it is done."""

    volumeNode: object
    segmentationNode: object
    replaceSpleen: bool
    modelName: str
    way: tuple
    files: ChildFiles
    onProgress: Callable[[float, str], None]
    onWarning: Callable[[str], None]
    onEnd: Callable[[Found | None, str], None]
    started: float = field(default_factory=time.monotonic)
    result: dict | None = None
    error: str = ""


class SegmentLogic:
    """Runs one segmentation at a time, and leaves the scene as it was wherever one does not come to its end.

    Args:
        script: ``segment.py``, or another script that speaks as it does.
        python: the program that runs it, on the PATH.
        neededPackages: what the script needs, which ``start`` makes sure of.
    """

    def __init__(self, script: Path | None = None, python: str = PYTHON, neededPackages=None):
        self._script, self._python = script or SEGMENT_SCRIPT, python
        self.packages = neededPackages or packages.forSegmenting()
        self.models = Models()
        self.log = ""
        self._run = None
        self._waiting = None, 0.0  # in which way the child is ready to do the next run, and until when
        self._child = ChildProcess(self._onEvent, self._onChildEnd)
        self._question = DeviceQuestion(self._script, python)
        self._disagreement = None

    def isRunning(self) -> bool:
        return self._run is not None

    def start(
        self,
        volumeNode,
        segmentationNode=None,
        replaceSpleen: bool = False,
        modelFolder: Path = STARTER,
        device: str = "auto",
        onProgress=lambda fraction, step: None,
        onWarning=lambda sentence: None,
        onEnd=lambda found, sentence: None,
    ) -> None:
        """Begin to segment, and return while it goes on.

        Args:
            volumeNode: the CT; not changed.
            segmentationNode: receives the segment beside those it has; a new one is made without it.
            replaceSpleen: its segment that is a spleen by terminology goes when the new one comes.
            modelFolder: a trained ensemble.
            device: "auto", "cpu", "cuda" or "mps".
            onProgress: called with the fraction done, 0 to 1, and the name of the step.
            onWarning: called with a sentence that the user should see, such as that the CPU does the work.
            onEnd: called once, with (Found, "") or (None, one sentence that says why), the sentence empty where the
                user has cancelled it.

        Raises:
            UserError: it cannot begin, in one sentence (``packages.NotInstalled`` with a log). ``onEnd`` is not called.
        """
        from SpleenSmoothSegLib.io.images import check_ct
        from SpleenSmoothSegLib.model.folder import read_card
        from SpleenSmoothSegLib.mrml import imageFromVolumeNode

        if self.isRunning():
            raise UserError(_("A segmentation runs already; cancel it or wait for its end."))
        self.log = ""
        if volumeNode is None:
            raise UserError(_("There is no CT; load one and choose it above."))
        ct = imageFromVolumeNode(volumeNode)
        check_ct(ct, volumeNode.GetName())
        card = read_card(modelFolder)
        self.packages.ensure()
        self._question.stop()
        files = ChildFiles(ct, volumeNode.GetName())
        try:
            arguments = ["--child", str(files.ct), "-o", str(files.mask), "--model", str(modelFolder)]
            arguments += ["--device", device, "--disagreement", "--cropped", "--uncompressed", "--no-overlay", "--stay"]
            way = modelFolder, device, card  # the card tells the checksums of the weights
            self._begin(arguments, way)
        except UserError:
            files.remove()
            raise
        modelName = str(card.get("name") or Path(modelFolder).name)
        self._run = _Run(
            volumeNode, segmentationNode, replaceSpleen, modelName, way, files, onProgress, onWarning, onEnd
        )
        slicer.app.connect("aboutToQuit()", self.cancel)

    def _begin(self, arguments: list[str], way: tuple) -> None:
        """Give the run to the child that waits with its networks loaded, if it does, or else to a new one."""
        isWaiting = self._waiting[0] == way and time.monotonic() < self._waiting[1] and self._child.isRunning()
        self._waiting = None, 0.0
        if isWaiting:
            self._child.tell(json.dumps(arguments))
        else:
            self._child.start(self._script, arguments, self._python)

    def cancel(self, sentence: str = "") -> None:
        """End the run within a second, with all that the child has started; the scene is as it was."""
        if self._run is not None:
            self._child.stop()
            self._endRun(None, sentence)

    def close(self) -> None:
        """Leave nothing behind that runs."""
        self.cancel()
        self._child.stop()
        self._question.stop()

    def askDevices(self, onDevices: Callable[[list[dict]], None]) -> None:
        """Ask, without waiting, what PyTorch can compute on.

        ``onDevices`` is called once with a list of {"name", "usable", "reason"}, but not where nobody can tell, and
        not where a segmentation begins before the answer.
        """
        if not self.packages.missing():
            self._question.ask(onDevices)

    def hasSpleen(self, segmentationNode) -> bool:
        """Whether a segment of it is a spleen by terminology, which a new one could replace."""
        if segmentationNode is None:
            return False
        from SpleenSmoothSegLib.mrml import findSpleenSegment

        return findSpleenSegment(segmentationNode) is not None

    def hasDisagreementMap(self) -> bool:
        """Whether the folds of the last run disagree anywhere, and its CT is still there."""
        return self._disagreement is not None and _isThere(self._disagreement.volumeNode)

    def disagreementMap(self):
        """A volume node of where the folds of the last run disagree, made when first asked for; None without one."""
        return self._disagreement.node() if self.hasDisagreementMap() else None

    def _onEvent(self, event: dict) -> None:
        run, kind, message = self._run, event["event"], event.get("message")
        if run is None:  # it waits for the next
            return
        if missing := _whatIsMissing(run):
            self.cancel(missing)
        elif kind == "ready":
            self._waiting = run.way, time.monotonic() + REUSED_SECONDS
            self._onRunDone()
        elif kind == "progress" and isinstance(event.get("fraction"), int | float):
            run.onProgress(min(max(event["fraction"], 0.0), 1.0), str(event.get("step", "")))
        elif kind == "warning" and message:
            run.onWarning(run.files.withoutPaths(str(message)))
        elif kind == "error" and message:
            run.error = run.files.withoutPaths(str(message))
        elif kind == "result":
            run.result = event

    def _onChildEnd(self) -> None:
        if self._run is not None:  # else it has waited long enough
            self._onRunDone()

    def _onRunDone(self) -> None:
        run, found, sentence = self._run, None, ""
        try:
            found = self._putIntoScene(run)
        except UserError as error:
            sentence = str(error)
        except Exception as error:
            sentence = run.files.withoutPaths(unexpected(error))
        self._endRun(found, sentence)

    def _endRun(self, found: Found | None, sentence: str) -> None:
        run, self._run = self._run, None
        slicer.app.disconnect("aboutToQuit()", self.cancel)
        self.log = self._child.log
        run.files.remove()
        run.onEnd(found, sentence)

    def _putIntoScene(self, run: _Run) -> Found:
        """Add the segment; raises UserError, and the scene is as it was, where there is none to add."""
        from SpleenSmoothSegLib.metrics.shape import reaches_edge
        from SpleenSmoothSegLib.mrml import addSpleenSegment, findSpleenSegment

        if not self._child.wasStarted:
            raise UserError(_("Slicer's own Python could not be started; restart Slicer, or install it again."))
        if run.result is None:
            early = _(
                "The segmentation ended before it was done; close other programs if memory is short, and try again."
            )
            raise UserError(run.error or early)
        if missing := _whatIsMissing(run):
            raise UserError(missing)
        if not run.result["volume_ml"]:
            nothing = _('No spleen was found in "{name}", and nothing was added; choose a CT that shows the spleen.')
            raise UserError(nothing.format(name=run.volumeNode.GetName()))
        # All that can fail comes before the scene changes.
        mask = run.files.read(run.files.mask)
        map_ = run.files.read(Path(run.result["disagreement_map"]))
        firstVoxel = mask.TransformPhysicalPointToIndex(map_.GetOrigin())  # the map is a part of the mask's grid
        disagreement = DisagreementMap(map_, run.volumeNode, firstVoxel)
        result = _result(run)
        replacedId = findSpleenSegment(run.segmentationNode) if run.replaceSpleen and run.segmentationNode else None
        segmentationNode, segmentId = addSpleenSegment(mask, run.volumeNode, run.segmentationNode, replacedId)
        self._disagreement = None if disagreement.isEmpty else disagreement
        if reaches_edge(mask):
            run.onWarning(_("The spleen reaches the edge of the CT: volume and lengths are those of the part in view."))
        return Found(run.volumeNode, segmentationNode, segmentId, result)


def unexpected(error: Exception) -> str:
    """One sentence for an error that should not have been possible; Slicer's log gets the rest."""
    logging.error("Segment", exc_info=error)
    if isinstance(error, MemoryError):
        return _("The memory is not enough for this CT; close other data or programs, and try again.")
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return _("Something went wrong that should not ({what}); please report it with Slicer's log.").format(what=what)


def toWorld(volumeNode, point) -> list[float]:
    """A point of a ``SegmentResult`` in world RAS, also after the volume was moved."""
    moved = [0.0, 0.0, 0.0]
    volumeNode.TransformPointToWorld(list(point), moved)
    return moved


def _result(run: _Run) -> SegmentResult:
    told = run.result

    def local(pointLps) -> tuple[float, float, float]:
        point = [0.0, 0.0, 0.0]
        run.volumeNode.TransformPointFromWorld([-pointLps[0], -pointLps[1], pointLps[2]], point)
        return tuple(point)

    return SegmentResult(
        ct=run.volumeNode.GetName(),
        volume_ml=told["volume_ml"],
        extent_mm=tuple(told["extent_mm"]),
        longest_mm=told["longest_mm"],
        agreement=1 - told["disagreement"],
        seconds=time.monotonic() - run.started,
        device=str(told["device"]),
        model=run.modelName,
        center=local(told["center_lps"]),
        uncertainPlaces=tuple(local(place["point_lps"]) for place in told["uncertain_places"]),
    )


def _whatIsMissing(run: _Run) -> str:
    """One sentence if a node of the run has left the scene, else nothing."""
    if not _isThere(run.volumeNode):
        return _("The CT was removed while it was segmented; nothing was added.")
    if run.segmentationNode is not None and not _isThere(run.segmentationNode):
        return _("The segmentation that was to take the spleen was removed meanwhile; nothing was added.")
    return ""


def _isThere(node) -> bool:
    return bool(slicer.mrmlScene.IsNodePresent(node))
