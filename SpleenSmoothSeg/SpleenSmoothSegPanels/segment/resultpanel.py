"""What a run of Segment found: its table, where the folds disagree, and the way to Segment Editor."""

import qt
import slicer
from slicer.i18n import tr as _

from ..shared import display
from .logic import toWorld
from .segmentresult import SegmentResult


class ResultPanel:
    """The lower half of Segment.ui; it shows what the parameter node holds, also of a scene saved long ago.

    Args:
        ui: the widgets of Segment.ui.
        logic: a ``SegmentLogic``, which has the disagreement map of its last run.
    """

    def __init__(self, ui, logic):
        self.ui, self.logic = ui, logic
        self.parameters = None
        self._shown, self._place = "", None
        ui.editButton.connect("clicked()", self.onEdit)
        ui.copyButton.connect("clicked()", self.onCopy)
        ui.disagreementCheckBox.connect("clicked(bool)", self.onDisagreementClicked)
        ui.uncertainButton.connect("clicked()", self.onNextUncertain)

    def setParameters(self, parameters) -> None:
        self.parameters = parameters

    def take(self, found) -> None:
        """Show and keep a new result (``segmentlogic.Found``)."""
        chosen = self.parameters
        if chosen.segmentDisagreement:
            display.hideOverlay(chosen.segmentDisagreement)
        with slicer.util.NodeModify(chosen):
            chosen.segmentShowDisagreement, chosen.segmentDisagreement = False, None
            chosen.segmentResultVolume, chosen.segmentResultNode = found.volumeNode, found.segmentationNode
            chosen.segmentResultId, chosen.segmentResult = found.segmentId, found.result.toText()
        _showBehind(found.volumeNode)
        display.showSurface(found.segmentationNode)
        display.centerOn(toWorld(found.volumeNode, found.result.center))

    def show(self) -> None:
        chosen, result = self.parameters, self._result()
        text = chosen.segmentResult if result else ""
        self.ui.resultFrame.setVisible(result is not None)
        if text != self._shown:
            self._shown, self._place = text, None
            self._fillTable(result)
        if result:
            hasVolume = chosen.segmentResultVolume is not None
            self.ui.editButton.enabled = hasVolume and chosen.segmentResultNode is not None
            isMap = chosen.segmentDisagreement is not None or self.logic.hasDisagreementMap()
            self.ui.disagreementCheckBox.enabled = hasVolume and isMap
            self.ui.uncertainButton.enabled = hasVolume and bool(result.uncertainPlaces)
            self._showPlace(result)

    def onEdit(self) -> None:
        chosen = self.parameters
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(chosen.segmentResultNode)
        editor.setSourceVolumeNode(chosen.segmentResultVolume)
        editor.setCurrentSegmentID(chosen.segmentResultId)

    def onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self._result().asTable())

    def onDisagreementClicked(self, isWanted: bool) -> None:
        chosen = self.parameters
        if chosen.segmentDisagreement is None:
            chosen.segmentDisagreement = self.logic.disagreementMap()
        (display.showOverlay if isWanted else display.hideOverlay)(chosen.segmentDisagreement)

    def onNextUncertain(self) -> None:
        """To the next place where the folds disagree, and from the last one back to the first."""
        result = self._result()
        self._place = 0 if self._place is None else (self._place + 1) % len(result.uncertainPlaces)
        display.centerOn(toWorld(self.parameters.segmentResultVolume, result.uncertainPlaces[self._place]))
        self._showPlace(result)

    def _result(self) -> SegmentResult | None:
        return SegmentResult.fromText(self.parameters.segmentResult) if self.parameters else None

    def _fillTable(self, result: SegmentResult | None) -> None:
        table, rows = self.ui.resultTable, result.rows() if result else []
        table.rowCount = len(rows)
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnToContents(0)
        table.resizeRowsToContents()
        table.setFixedHeight(table.verticalHeader().length() + 2 * table.frameWidth)

    def _showPlace(self, result: SegmentResult) -> None:
        count = len(result.uncertainPlaces)
        text = _("{count} places").format(count=count)
        if self._place is not None:
            text = _("{number} of {count}").format(number=self._place + 1, count=count)
        self.ui.uncertainLabel.text = text


def _showBehind(volumeNode) -> None:
    """Show the CT in the slice views, unless one of them does already."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    if volumeNode.GetID() not in [composite.GetBackgroundVolumeID() for composite in composites]:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
