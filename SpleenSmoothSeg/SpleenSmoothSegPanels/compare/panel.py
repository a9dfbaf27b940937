"""The Compare section of the panel."""

import re
from typing import Union

import qt
import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.util import VTKObservationMixin

from ..shared.widgets import LabelChoice, formatNumber, messageOf
from .result import Result, measures


@parameterNodeWrapper
class CompareParameters:
    compareSegmentNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    compareSegmentId: str
    compareReferenceNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    compareReferenceId: str
    compareShowSurface: bool = True


class ComparePanel(VTKObservationMixin):
    """Selects two labels, and shows the result of `CompareLogic`.

    Args:
        widget: the widget of Compare.ui.
        logic: a `CompareLogic`.
    """

    def __init__(self, widget, logic):
        super().__init__()
        self.widget, self.logic = widget, logic
        self.ui = ui = slicer.util.childWidgetVariables(widget)
        self.parameters = None
        self._guiTag = None
        self._shown = None  # the settings of the last update
        self._wasAsked = False  # whether to install packages
        self._segment = LabelChoice(ui.segmentSelector, "compareSegment")
        self._reference = LabelChoice(ui.referenceSegmentSelector, "compareReference")
        self._fillTitles()
        logic.onChanged = self._show
        ui.swapButton.connect("clicked()", self._onSwap)
        ui.compareButton.connect("clicked()", self._onCompare)
        ui.installButton.connect("clicked()", self._onInstall)
        ui.plotButton.connect("clicked()", logic.showChart)
        ui.copyButton.connect("clicked()", self._onCopy)
        ui.saveButton.connect("clicked()", self._onSave)
        self._show()

    def setModuleNode(self, node) -> None:
        """Store the settings in this parameter node; None before the scene is closed."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.removeObservers()
        self.parameters = CompareParameters(node) if node else None
        for choice in (self._segment, self._reference):
            choice.setParameters(self.parameters)
        if node:
            self._guiTag = self.parameters.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._choose()

    def enter(self) -> None:
        self._show()

    def exit(self) -> None:
        """The colored surface stays visible, as other models do."""

    def cleanup(self) -> None:
        self.setModuleNode(None)

    # Settings

    def _onParameters(self, _caller, _event) -> None:
        if not slicer.mrmlScene.IsImporting():  # the labels may be loaded after the parameter node
            self._choose()

    def _choose(self) -> None:
        """Update the panel if its own settings changed: the node also contains those of other panels."""
        self._segment.update()
        self._reference.update()
        isWanted = self.parameters is not None and self.parameters.compareShowSurface
        chosen = self._segment.label, self._reference.label, isWanted
        if chosen != self._shown:
            self._shown = chosen
            self.logic.choose(*chosen[:2])
            self._show()

    def _onSwap(self) -> None:
        segment, reference = self._segment.label, self._reference.label
        with slicer.util.NodeModify(self.parameters):
            self._segment.choose(reference)
            self._reference.choose(segment)

    # Comparing

    def _onCompare(self) -> None:
        isNew, problem = self.logic.result() is None and not self.logic.isOutdated(), ""
        self.ui.compareButton.enabled = False  # the user can click while packages are installed
        if not self._wasAsked and self.logic.missingPackages():
            self._wasAsked = True
            problem = _problemOf(self.logic.installPackages, showsWaitCursor=False)
        self._compare(problem)
        if isNew and self.logic.result():
            self.logic.showChart()
            self.logic.centerOnSurface()

    def _onInstall(self) -> None:
        self.ui.installButton.enabled = False
        self._compare(_problemOf(self.logic.installPackages, showsWaitCursor=False))

    def _compare(self, problem: str) -> None:
        problem = _problemOf(self.logic.compare) or problem
        self._show()
        if problem:
            self._showMessage(problem)

    def _onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self.logic.result().asTable())
        self._showMessage(_("Copied."))

    def _onSave(self) -> None:
        result = self.logic.result()
        names = [re.sub(r"[^\w.-]+", "_", name).strip("_") for name in (result.segment, result.reference)]
        path = qt.QFileDialog.getSaveFileName(
            self.widget, _("Save comparison"), f"{'_against_'.join(names)}.csv", _("Tables (*.csv)")
        )
        if path:
            written = []
            problem = _problemOf(lambda: written.extend(self.logic.saveCsv(path)))
            self._showMessage(problem or _("Saved {files}.").format(files=", ".join(f'"{file}"' for file in written)))

    # Result

    def _show(self) -> None:
        ui, obstacle = self.ui, self.logic.obstacle()
        result = self.logic.result()
        isChosen = self.parameters is not None
        ui.compareButton.enabled = isChosen and not obstacle
        ui.swapButton.enabled = isChosen
        ui.resultFrame.visible = result is not None
        self.logic.showSurface(result is not None and isChosen and self.parameters.compareShowSurface)
        if result is not None:
            self._fill(result)
        outdated = _("A label has changed since the comparison; click Compare again.")
        self._showMessage(obstacle or (outdated if self.logic.isOutdated() else ""))

    def _fillTitles(self) -> None:
        table = self.ui.resultTable
        table.rowCount = len(measures())
        for row, measure in enumerate(measures()):
            for column, text in enumerate((measure.title, "")):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(measure.definition)
                table.setItem(row, column, item)
        table.resizeColumnToContents(0)

    def _fill(self, result: Result) -> None:
        for row, (measure, value) in enumerate(result.values):
            self.ui.resultTable.item(row, 1).setText(formatNumber(value, measure.decimals))
        self.ui.namesLabel.text = _("{segment} compared with {reference}").format(
            segment=result.segment, reference=result.reference
        )
        self.ui.remarksLabel.text = result.remarks
        self.ui.remarksLabel.visible = bool(result.remarks)
        isMissing = any(measure.needsPackage and value is None for measure, value in result.values)
        self.ui.installButton.visible = self.ui.installButton.enabled = isMissing
        self.ui.surfaceCheckBox.enabled = self.logic.hasSurface()

    def _showMessage(self, message: str) -> None:
        self.ui.messageLabel.text = message
        self.ui.messageLabel.visible = bool(message)


def _problemOf(step, showsWaitCursor: bool = True) -> str:
    """Run the step; returns the error message, "" without an error."""
    try:
        with slicer.util.WaitCursor(showsWaitCursor):
            step()
    except Exception as error:
        return messageOf(error)
    return ""
