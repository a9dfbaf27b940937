"""The part of the module in which a person compares two segments."""

import logging
import re
from typing import Union

import qt
import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError

from ..shared.widgets import LabelChoice
from .measures import measures


@parameterNodeWrapper
class CompareParameters:
    compareSegmentNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    compareSegmentId: str
    compareReferenceNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    compareReferenceId: str
    compareShowSurface: bool = True


class ComparePanel(VTKObservationMixin):
    """Lets a person choose two labels, and shows what `CompareLogic` finds.

    Args:
        widget: the widget of Compare.ui.
        logic: does the work.
    """

    def __init__(self, widget, logic):
        super().__init__()
        self.widget, self.logic = widget, logic
        self.ui = ui = slicer.util.childWidgetVariables(widget)
        self.parameters = None
        self._guiTag = None
        self._shown = None  # what was chosen when the panel was brought up to date
        self._wasAsked = False  # whether packages may be installed
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
        """Keep what the user chooses in the module's node; None before the scene is closed."""
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
        """The colored surface stays, as other models do."""

    def cleanup(self) -> None:
        self.setModuleNode(None)

    # Choices

    def _onParameters(self, _caller, _event) -> None:
        if not slicer.mrmlScene.IsImporting():  # else the nodes that it refers to may come after the module's node
            self._choose()

    def _choose(self) -> None:
        """Bring the panel up to date, if the user chose anything: other panels' parameters are in the same node."""
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
        isNew, trouble = self.logic.result() is None and not self.logic.isOutdated(), ""
        self.ui.compareButton.enabled = False  # a second click gets through while packages are installed
        if not self._wasAsked and self.logic.missingPackages():
            self._wasAsked = True
            trouble = _attempt(self.logic.installPackages, isWaitedFor=False)
        self._compare(trouble)
        if isNew and self.logic.result():
            self.logic.showChart()
            self.logic.centerOnSurface()

    def _onInstall(self) -> None:
        self.ui.installButton.enabled = False
        self._compare(_attempt(self.logic.installPackages, isWaitedFor=False))

    def _compare(self, trouble: str) -> None:
        trouble = _attempt(self.logic.compare) or trouble
        self._show()
        if trouble:
            self._say(trouble)

    def _onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self.logic.asText())
        self._say(_("Copied."))

    def _onSave(self) -> None:
        result = self.logic.result()
        names = [re.sub(r"[^\w.-]+", "_", name).strip("_") for name in (result.segment, result.reference)]
        path = qt.QFileDialog.getSaveFileName(
            self.widget, _("Save comparison"), f"{'_against_'.join(names)}.csv", _("Tables (*.csv)")
        )
        if path:
            written = []
            trouble = _attempt(lambda: written.extend(self.logic.saveCsv(path)))
            self._say(trouble or _("Written: {files}").format(files=", ".join(f'"{file}"' for file in written)))

    # What is shown

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
        outdated = _("A label has changed since it was compared; click Compare again.")
        self._say(obstacle or (outdated if self.logic.isOutdated() else ""))

    def _fillTitles(self) -> None:
        table = self.ui.resultTable
        table.rowCount = len(measures())
        for row, measure in enumerate(measures()):
            for column, text in enumerate((measure.title, "")):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(measure.meaning)
                table.setItem(row, column, item)
        table.resizeColumnToContents(0)

    def _fill(self, result) -> None:
        for row, (measure, value) in enumerate(result.values):
            self.ui.resultTable.item(row, 1).setText(measure.text(value))
        self.ui.namesLabel.text = _("{segment} against {reference}").format(
            segment=result.segment, reference=result.reference
        )
        self.ui.notesLabel.text = result.notes
        self.ui.notesLabel.visible = bool(result.notes)
        isMissing = any(measure.isOfSurface and value is None for measure, value in result.values)
        self.ui.installButton.visible = self.ui.installButton.enabled = isMissing
        self.ui.surfaceCheckBox.enabled = self.logic.hasSurface()

    def _say(self, sentence: str) -> None:
        self.ui.messageLabel.text = sentence
        self.ui.messageLabel.visible = bool(sentence)


def _attempt(step, isWaitedFor: bool = True) -> str:
    """Do it, with a wait cursor unless it asks the user something; returns what went wrong, in a sentence."""
    try:
        with slicer.util.WaitCursor(isWaitedFor):
            step()
    except UserError as error:
        return str(error)
    except MemoryError:
        return _("The memory is not enough for these labels; close other data first.")
    except Exception:
        logging.exception("Compare")
        return _("Unexpected error; your data is as it was, see the Python console.")
    return ""
