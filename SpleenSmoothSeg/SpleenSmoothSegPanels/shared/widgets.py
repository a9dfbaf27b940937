"""Parts that several panels share: the message line, the remaining time, numbers, the choice of a label."""

import logging
from typing import NamedTuple

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError, explain


class Message:
    """A message with an optional log, hidden while empty.

    Args:
        ui: has ``messageLabel``, ``logButton`` and ``logText``.
    """

    def __init__(self, ui):
        self._label, self._button, self._log = ui.messageLabel, ui.logButton, ui.logText
        self._button.connect("toggled(bool)", self._log.setVisible)
        self.show("")

    def show(self, message: str, log: str = "") -> None:
        """Show the message, and the button that opens the log if there is one."""
        self._label.text = message
        self._label.setVisible(bool(message))
        self._log.setPlainText(log)
        self._button.checked = False
        self._button.setVisible(bool(log))
        self._log.setVisible(False)


def messageOf(error: Exception) -> str:
    """The sentence for the user; Slicer's log gets the traceback of an unexpected error."""
    if not isinstance(error, UserError):
        logging.error("Unexpected error", exc_info=error)
    return explain(error)


SMOOTHING = 0.25  # share of the difference to the newest estimate that the shown one moves each second
MIN_FRACTION = 0.05  # no estimate before


class RemainingTime:
    """Seconds left, from the fraction done; counts down with the clock and moves smoothly to new estimates.

    ``now`` is the time of any monotonic clock, in seconds.
    """

    def __init__(self, now: float):
        self._started = self._ticked = now
        self._estimatedEnd = self._shownEnd = None

    def update(self, fraction: float, now: float) -> None:
        """``fraction`` (0 to 1) is done; the rest is expected at the same speed."""
        if fraction >= MIN_FRACTION:
            self._estimatedEnd = now + (now - self._started) * (1 - fraction) / fraction

    def seconds(self, now: float) -> int | None:
        """Whole seconds left, at least 1; None while unknown."""
        if self._estimatedEnd is None:
            return None
        if self._shownEnd is None:
            self._shownEnd = self._estimatedEnd
        share = 1 - (1 - SMOOTHING) ** (now - self._ticked)
        self._shownEnd += share * (self._estimatedEnd - self._shownEnd)
        self._ticked = now
        return max(1, round(self._shownEnd - now))


def formatRemaining(seconds: float) -> str:
    """For example "about 12 min left"."""
    seconds = max(1, round(seconds))
    if seconds < 100:
        return _("about {seconds} s left").format(seconds=seconds)
    minutes = round(seconds / 60)
    if minutes < 100:
        return _("about {minutes} min left").format(minutes=minutes)
    return _("about {hours} h {minutes} min left").format(hours=minutes // 60, minutes=minutes % 60)


def formatNumber(value: float | None, decimals: int = 1) -> str:
    """The number with these decimals; a dash if it was not measured."""
    return "–" if value is None else f"{value:.{decimals}f}"


class Label(NamedTuple):
    """A segment of a segmentation node, or the voxels other than 0 of a labelmap volume node."""

    node: object = None
    segmentId: str = ""

    def exists(self) -> bool:
        return self.isInScene() and (not self.isSegment() or self._segment() is not None)

    def isInScene(self) -> bool:
        return self.node is not None and self.node.GetScene() is not None

    def isSegment(self) -> bool:
        return self.node.IsA("vtkMRMLSegmentationNode")

    @property
    def name(self) -> str:
        return f"{self._segment().GetName()} ({self.node.GetName()})" if self.isSegment() else self.node.GetName()

    def image(self):
        """The label in world coordinates (``sitk.Image``, 0 and 1), cropped to its bounding box.

        Raises UserError if it is empty.
        """
        import SimpleITK as sitk

        from SpleenSmoothSegLib.geometry.box import bounding_box
        from SpleenSmoothSegLib.mrml import labelImage

        image = labelImage(self.node, self.segmentId)
        sides = bounding_box(sitk.GetArrayViewFromImage(image))[::-1]
        if any(side.start == side.stop for side in sides):
            raise UserError(_('"{name}" is empty; choose another label.').format(name=self.name))
        return image[sides]

    def _segment(self):
        return self.node.GetSegmentation().GetSegment(self.segmentId)


def likelySegment(node) -> str:
    """ID of the segment whose terminology is spleen, else of the first segment; "" without segments."""
    from SpleenSmoothSegLib.mrml import findSpleenSegment

    if node is None or not node.IsA("vtkMRMLSegmentationNode") or not node.GetSegmentation().GetNumberOfSegments():
        return ""
    return findSpleenSegment(node) or node.GetSegmentation().GetNthSegmentID(0)


class LabelChoice:
    """A label kept in two parameters: ``<name>Node``, which the .ui file connects to a node selector, and ``<name>Id``.

    Args:
        segmentSelector: a qMRMLSegmentSelectorWidget without a node selector of its own.
    """

    def __init__(self, segmentSelector, name: str):
        self._selector, self._name = segmentSelector, name
        self._parameters = None
        self._node = None  # the node of the chosen segment
        self._shownNode = None  # the node whose segments the selector shows
        segmentSelector.connect("currentSegmentChanged(QString)", self._onSegment)

    def setParameters(self, parameters) -> None:
        """Use these parameters from now on; None: no label is chosen."""
        self._parameters = parameters
        self._node = self.label.node

    @property
    def label(self) -> Label:
        if self._parameters is None:
            return Label()
        node = getattr(self._parameters, f"{self._name}Node")
        return Label(node, getattr(self._parameters, f"{self._name}Id"))

    def choose(self, label: Label) -> None:
        self._node = label.node
        setattr(self._parameters, f"{self._name}Node", label.node)
        setattr(self._parameters, f"{self._name}Id", label.segmentId)

    def update(self) -> None:
        """Show the node's segments, and choose one if the node has changed."""
        node, segmentId = self.label
        if node is not self._node:
            segmentId = likelySegment(node)
            self.choose(Label(node, segmentId))
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        wasBlocked = self._selector.blockSignals(True)
        self._selector.setCurrentNode(node if isSegmentation else None)
        self._selector.setCurrentSegmentID(segmentId)
        self._selector.blockSignals(wasBlocked)
        self._selector.visible = isSegmentation
        self._shownNode = node

    def _onSegment(self, segmentId: str) -> None:
        """Ignores what the selector emits for another node than ours, as while a scene is loaded."""
        if self._parameters is not None and self._shownNode is self.label.node:
            setattr(self._parameters, f"{self._name}Id", segmentId)
