"""The lower half of the Segment section: table, uncertainty map, uncertain slices, and Segment Editor."""

import qt
import slicer
from slicer.i18n import tr as _

from ..shared import display
from .placedresult import PlacedResult


class ResultPanel:
    """Shows the result in the parameter node, which may come from a saved scene.

    Args:
        ui: the widgets of Segment.ui.
        logic: a ``SegmentLogic``, which has the uncertainty map of its last run.
    """

    def __init__(self, ui, logic):
        self.ui, self.logic = ui, logic
        self.parameters = None
        self._shownText, self._place = "", None
        ui.editButton.connect("clicked()", self.onEdit)
        ui.copyButton.connect("clicked()", self.onCopy)
        ui.uncertaintyMapCheckBox.connect("clicked(bool)", self.onUncertaintyMapClicked)
        ui.nextUncertainButton.connect("clicked()", self.onNextUncertain)

    def setParameters(self, parameters) -> None:
        self.parameters = parameters

    def setResult(self, added) -> None:
        """Show and keep a new result (``logic.AddedSegment``)."""
        chosen = self.parameters
        if chosen.segmentUncertaintyMap:
            display.hideOverlay(chosen.segmentUncertaintyMap)
        with slicer.util.NodeModify(chosen):
            chosen.segmentShowUncertaintyMap, chosen.segmentUncertaintyMap = False, None
            chosen.segmentResultVolume, chosen.segmentResultNode = added.volumeNode, added.segmentationNode
            chosen.segmentResultId, chosen.segmentResult = added.segmentId, added.placed.toText()
        _showInBackground(added.volumeNode)
        display.showSurface(added.segmentationNode)
        display.centerOn(added.placed.worldPoint(added.volumeNode, added.placed.result.center_lps))

    def show(self) -> None:
        chosen, placed = self.parameters, self._placed()
        text = chosen.segmentResult if placed else ""
        self.ui.resultFrame.setVisible(placed is not None)
        if text != self._shownText:
            self._shownText, self._place = text, None
            self._fillTable(placed)
        if placed:
            hasVolume = chosen.segmentResultVolume is not None
            self.ui.editButton.enabled = hasVolume and chosen.segmentResultNode is not None
            hasMap = chosen.segmentUncertaintyMap is not None or self.logic.hasUncertaintyMap()
            self.ui.uncertaintyMapCheckBox.enabled = hasVolume and hasMap
            self.ui.nextUncertainButton.enabled = hasVolume and bool(placed.result.uncertain_places)
            self._showPlace(placed)

    def onEdit(self) -> None:
        chosen = self.parameters
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(chosen.segmentResultNode)
        editor.setSourceVolumeNode(chosen.segmentResultVolume)
        editor.setCurrentSegmentID(chosen.segmentResultId)

    def onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self._placed().asTable())

    def onUncertaintyMapClicked(self, isShown: bool) -> None:
        chosen = self.parameters
        if chosen.segmentUncertaintyMap is None:
            chosen.segmentUncertaintyMap = self.logic.uncertaintyMap()
        (display.showOverlay if isShown else display.hideOverlay)(chosen.segmentUncertaintyMap)

    def onNextUncertain(self) -> None:
        """Center the views on the next uncertain place; the first follows the last."""
        placed = self._placed()
        places = placed.result.uncertain_places
        self._place = 0 if self._place is None else (self._place + 1) % len(places)
        display.centerOn(placed.worldPoint(self.parameters.segmentResultVolume, places[self._place].point_lps))
        self._showPlace(placed)

    def _placed(self) -> PlacedResult | None:
        return PlacedResult.fromText(self.parameters.segmentResult) if self.parameters else None

    def _fillTable(self, placed: PlacedResult | None) -> None:
        table, rows = self.ui.resultTable, placed.rows() if placed else []
        table.rowCount = len(rows)
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnToContents(0)
        table.resizeRowsToContents()
        table.setFixedHeight(table.verticalHeader().length() + 2 * table.frameWidth)

    def _showPlace(self, placed: PlacedResult) -> None:
        count = len(placed.result.uncertain_places)
        text = _("{count} slices").format(count=count)
        if self._place is not None:
            text = _("{number} of {count}").format(number=self._place + 1, count=count)
        self.ui.uncertainPlaceLabel.text = text


def _showInBackground(volumeNode) -> None:
    """Show the CT in the slice views, unless it is the background of one already."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    if volumeNode.GetID() not in [composite.GetBackgroundVolumeID() for composite in composites]:
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
