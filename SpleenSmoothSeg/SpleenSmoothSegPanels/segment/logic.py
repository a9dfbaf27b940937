"""Segments the spleen in a child process, so that Slicer stays responsive, and adds the result to the scene."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegLib.callbacks import Progress, Warn
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.inference.result import SegmentationResult

from ..shared import packages
from ..shared.childfiles import ChildFiles
from ..shared.childprocess import COMMAND_LINE, PYTHON, ChildProcess
from ..shared.device import DeviceQuery
from ..shared.models import STARTER, Models
from ..shared.widgets import messageOf
from .placedresult import PlacedResult, lpsToIjk
from .uncertaintymap import UncertaintyMap

SEGMENT_SCRIPT = COMMAND_LINE / "segment.py"
OPTIONS = ("--uncertainty", "--cropped", "--uncompressed", "--no-overlay", "--stay")
REUSE_SECONDS = 240.0  # a child waits a minute longer than this for its next run
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class SegmentRequest:
    """What to segment.

    Attributes:
        volumeNode: the CT; not changed.
        segmentationNode: the segment is added to it; None: to a new one.
        replaceSpleen: its segment whose terminology is spleen is removed once the new one was added.
        modelFolder: a trained ensemble.
        device: "auto", "cpu", "cuda" or "mps".
    """

    volumeNode: object
    segmentationNode: object = None
    replaceSpleen: bool = False
    modelFolder: Path = STARTER
    device: str = "auto"


@dataclass(frozen=True)
class AddedSegment:
    """A run's segment in the scene, and its result."""

    volumeNode: object
    segmentationNode: object
    segmentId: str
    placed: PlacedResult


@dataclass(frozen=True)
class Callbacks:
    """Called while a run goes on.

    Attributes:
        onProgress: with the fraction done, 0 to 1, and the name of the step.
        onWarning: with a sentence for the user, as when the CPU replaces a GPU.
        onEnd: once, with (AddedSegment, "") or (None, the reason in a sentence, "" if the user has canceled).
    """

    onProgress: Progress = lambda fraction, step: None
    onWarning: Warn = lambda message: None
    onEnd: Callable[[AddedSegment | None, str], None] = lambda added, message: None


@dataclass
class _Run:
    request: SegmentRequest
    callbacks: Callbacks
    card: dict
    files: ChildFiles
    event: dict | None = None  # the child's result
    error: str = ""

    @property
    def config(self) -> tuple:
        """Runs of equal configuration can share a child; the card has the checksums of the weights."""
        return self.request.modelFolder, self.request.device, self.card


class SegmentLogic:
    """Runs one segmentation at a time; unless it succeeds, the scene is unchanged.

    Args:
        script: ``segment.py``, or another script that prints the same events.
        python: the program that runs it, on the PATH.
        neededPackages: the packages that the script needs; ``start`` installs them.
    """

    def __init__(self, script: Path | None = None, python: str = PYTHON, neededPackages=None):
        self._script, self._python = script or SEGMENT_SCRIPT, python
        self.packages = neededPackages or packages.forSegmenting()
        self.models = Models()
        self.log = ""
        self._run = None
        self._idleConfig, self._idleUntil = None, 0.0  # of the child that waits for its next run
        self._child = ChildProcess(self._onEvent, self._onChildEnd)
        self._deviceQuery = DeviceQuery(self._script, python)
        self._map = None

    def isRunning(self) -> bool:
        return self._run is not None

    def start(self, request: SegmentRequest, callbacks: Callbacks) -> None:
        """Start to segment, and return at once.

        Raises:
            UserError: it cannot start (``packages.NotInstalled``, with a log). ``onEnd`` is not called.
        """
        from SpleenSmoothSegLib.io.images import check_ct
        from SpleenSmoothSegLib.model.folder import read_card
        from SpleenSmoothSegLib.mrml import imageFromVolumeNode

        if self.isRunning():
            raise UserError(_("A segmentation is already running; cancel it or wait until it is done."))
        self.log = ""
        if request.volumeNode is None:
            raise UserError(_("No CT is selected; load a CT and choose it."))
        name = request.volumeNode.GetName()
        ct = imageFromVolumeNode(request.volumeNode)
        check_ct(ct, name)
        card = read_card(request.modelFolder)
        self.packages.ensure()
        self._deviceQuery.stop()
        run = _Run(request, callbacks, card, ChildFiles(ct, name))
        try:
            self._startChild(run)
        except UserError:
            run.files.remove()
            raise
        self._run = run
        slicer.app.connect("aboutToQuit()", self.cancel)

    def segment(self, request: SegmentRequest, onProgress: Progress = lambda fraction, step: None) -> AddedSegment:
        """Segment, and return when it is done; Qt's event loop runs meanwhile.

        Raises:
            UserError: in one sentence. The scene is unchanged.
        """
        ends = []
        self.start(request, Callbacks(onProgress, logging.warning, lambda *end: ends.append(end)))
        try:
            while not ends:
                slicer.app.processEvents()
                time.sleep(POLL_SECONDS)
        finally:
            self.cancel()  # after Ctrl+C
        ((added, message),) = ends
        if added is None:
            raise UserError(message or _("The segmentation was canceled."))
        return added

    def _startChild(self, run: _Run) -> None:
        """Use the idle child, which has the networks loaded, if it fits; else start a new one."""
        arguments = ["--child", str(run.files.ct), "-o", str(run.files.mask), "--model", str(run.request.modelFolder)]
        arguments += ["--device", run.request.device, *OPTIONS]
        isIdle = self._idleConfig == run.config and time.monotonic() < self._idleUntil and self._child.isRunning()
        self._idleConfig = None
        if isIdle:
            self._child.send(json.dumps(arguments))
        else:
            self._child.start(self._script, arguments, self._python)

    def cancel(self, message: str = "") -> None:
        """End the run, with all processes of the child, within a second; the scene is unchanged."""
        if self._run is not None:
            self._child.stop()
            self._endRun(None, message)

    def close(self) -> None:
        """End all processes."""
        self.cancel()
        self._child.stop()
        self._deviceQuery.stop()

    def queryDevices(self, onDevices: Callable[[list[dict]], None]) -> None:
        """Find the devices that PyTorch can use, without waiting.

        ``onDevices`` is called once with a list of {"name", "usable", "reason"}, but not if the query fails or a
        segmentation starts first.
        """
        if not self.packages.missing():
            self._deviceQuery.start(onDevices)

    def hasSpleen(self, segmentationNode) -> bool:
        """Whether it has a segment whose terminology is spleen."""
        if segmentationNode is None:
            return False
        from SpleenSmoothSegLib.mrml import findSpleenSegment

        return findSpleenSegment(segmentationNode) is not None

    def hasUncertaintyMap(self) -> bool:
        """Whether the map of the last run is not empty, and its CT is still in the scene."""
        return self._map is not None and _isInScene(self._map.volumeNode)

    def uncertaintyMap(self):
        """The volume node of the last run's uncertainty map, created when first needed; None without one."""
        return self._map.node() if self.hasUncertaintyMap() else None

    def _onEvent(self, event: dict) -> None:
        run, kind, message = self._run, event["event"], event.get("message")
        if run is None:  # an idle child
            return
        if missing := _missingNode(run.request):
            self.cancel(missing)
        elif kind == "ready":
            self._idleConfig, self._idleUntil = run.config, time.monotonic() + REUSE_SECONDS
            self._onRunDone()
        elif kind == "progress" and isinstance(event.get("fraction"), int | float):
            run.callbacks.onProgress(min(max(event["fraction"], 0.0), 1.0), str(event.get("step", "")))
        elif kind == "warning" and message:
            run.callbacks.onWarning(run.files.withoutPaths(str(message)))
        elif kind == "error" and message:
            run.error = run.files.withoutPaths(str(message))
        elif kind == "result":
            run.event = event

    def _onChildEnd(self) -> None:
        if self._run is not None:  # else it was idle for too long
            self._onRunDone()

    def _onRunDone(self) -> None:
        run, added, message = self._run, None, ""
        try:
            added = self._addToScene(run)
        except Exception as error:
            message = run.files.withoutPaths(messageOf(error))
        self._endRun(added, message)

    def _endRun(self, added: AddedSegment | None, message: str) -> None:
        run, self._run = self._run, None
        slicer.app.disconnect("aboutToQuit()", self.cancel)
        self.log = self._child.log
        run.files.remove()
        run.callbacks.onEnd(added, message)

    def _addToScene(self, run: _Run) -> AddedSegment:
        """Add the segment; if anything is raised, the scene is unchanged. UserError: there is none to add."""
        from SpleenSmoothSegLib.metrics.shape import reaches_edge
        from SpleenSmoothSegLib.mrml import addSpleenSegment, findSpleenSegment

        result = self._result(run)
        request, volumeNode, target = run.request, run.request.volumeNode, run.request.segmentationNode
        # All that can fail comes before the scene changes.
        mask = run.files.read(run.files.mask)
        image = run.files.read(Path(run.event["files"]["uncertainty_map"]))
        firstVoxel = mask.TransformPhysicalPointToIndex(image.GetOrigin())  # the map covers a part of the CT
        map_ = UncertaintyMap(image, volumeNode, firstVoxel)
        modelName = str(run.card.get("name") or Path(request.modelFolder).name)
        placed = PlacedResult(result, volumeNode.GetName(), modelName, lpsToIjk(mask, volumeNode))
        replacedId = findSpleenSegment(target) if request.replaceSpleen and target else None
        segmentationNode, segmentId = addSpleenSegment(mask, volumeNode, target, replacedId)
        self._map = None if map_.isEmpty else map_
        if reaches_edge(mask):
            run.callbacks.onWarning(
                _("The spleen is truncated by the edge of the CT: volume and lengths are those of the part in view.")
            )
        return AddedSegment(volumeNode, segmentationNode, segmentId, placed)

    def _result(self, run: _Run) -> SegmentationResult:
        """The child's result; raises UserError if there is none, it is empty, or its nodes are gone."""
        if not self._child.wasStarted:
            raise UserError(_("Slicer's Python could not be started; restart or reinstall Slicer."))
        if run.event is None:
            early = _("The segmentation ended unexpectedly; close other programs if memory is low, and try again.")
            raise UserError(run.error or early)
        if missing := _missingNode(run.request):
            raise UserError(missing)
        result = SegmentationResult.from_dict(run.event["result"])
        if not result.volume_ml:
            empty = _('No spleen was found in "{name}", and no segment was added; choose a CT that shows the spleen.')
            raise UserError(empty.format(name=run.request.volumeNode.GetName()))
        return result


def _missingNode(request: SegmentRequest) -> str:
    """A sentence if a node of the request was removed from the scene, else ""."""
    if not _isInScene(request.volumeNode):
        return _("The CT was removed during segmentation; no segment was added.")
    if request.segmentationNode is not None and not _isInScene(request.segmentationNode):
        return _("The output segmentation was removed during segmentation; no segment was added.")
    return ""


def _isInScene(node) -> bool:
    return bool(slicer.mrmlScene.IsNodePresent(node))
