"""The Segment section: segments the spleen with one click."""

import time
from pathlib import Path

import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError

from ..shared.device import Device, DeviceChoice
from ..shared.models import STARTER, describe
from ..shared.widgets import Message, RemainingTime, formatRemaining, messageOf
from .logic import Callbacks, SegmentRequest
from .resultpanel import ResultPanel

TICK_MS = 1000


@parameterNodeWrapper
class SegmentParameters:
    segmentInput: vtkMRMLScalarVolumeNode
    segmentOutput: vtkMRMLSegmentationNode
    segmentReplaceIn: vtkMRMLSegmentationNode  # its spleen segment may be replaced
    segmentModel: str = ""  # folder; "" is the Starter
    segmentDevice: Device = Device.auto
    segmentResult: str = ""  # PlacedResult.toText
    segmentResultVolume: vtkMRMLScalarVolumeNode
    segmentResultNode: vtkMRMLSegmentationNode
    segmentResultId: str = ""
    segmentUncertaintyMap: vtkMRMLScalarVolumeNode
    segmentShowUncertaintyMap: bool = False


class SegmentPanel(VTKObservationMixin):
    """The panel of a ``SegmentLogic``.

    Args:
        ui: the widget of Segment.ui.
        logic: the logic.
    """

    def __init__(self, ui, logic):
        super().__init__()
        self.ui = slicer.util.childWidgetVariables(ui)
        self.logic = logic
        self.results = ResultPanel(self.ui, logic)
        self.devices = DeviceChoice(self.ui.deviceComboBox, self.ui.deviceLabel)
        self._message = Message(self.ui)
        self.parameters, self._gui, self._isStarting = None, None, False
        self._entries = []
        self._warnings = []
        self._remaining, self._step = None, ""
        self._clock = qt.QTimer()
        self._clock.setInterval(TICK_MS)
        self._clock.connect("timeout()", self._tick)
        self.ui.segmentButton.connect("clicked()", self.onSegmentClicked)
        self.ui.replaceCheckBox.connect("clicked(bool)", self.onReplaceClicked)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self.onModelChosen)
        self.ui.addModelButton.connect("clicked()", self.onAddModel)
        self.ui.removeModelButton.connect("clicked()", self.onRemoveModel)
        self._show()

    # Called by the module widget

    def setModuleNode(self, node) -> None:
        """Show the choices and the result in this parameter node, and store them there; None: the scene is closing."""
        if node is None:
            self.logic.cancel()
        if self.parameters is not None:  # even for the same node: selectors lack its nodes while a scene is loaded
            self.parameters.disconnectGui(self._gui)
            self.removeObservers(self._show)
        self.parameters = SegmentParameters(node) if node else None
        self.results.setParameters(self.parameters)
        if node:
            self._gui = self.parameters.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._show)
        else:
            self._message.show("")
        self._show()

    def enter(self) -> None:
        if self.parameters and self.parameters.segmentInput is None:
            self.parameters.segmentInput = _activeVolume()
        self._listModels()
        self._queryDevices()
        self._show()

    def exit(self) -> None:
        """A running segmentation continues."""

    def cleanup(self) -> None:
        self.logic.close()
        self._clock.stop()
        self.setModuleNode(None)

    # Segmenting

    def onSegmentClicked(self) -> None:
        if self.logic.isRunning():
            self.logic.cancel()
            return
        self._warnings, self._isStarting = [], True
        self._message.show("")
        self._show()  # disables the button: the user can click while packages are installed
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            self.logic.start(self._request(), Callbacks(self.onProgress, self.onWarning, self.onEnd))
            self._remaining, self._step = None, _("Starting")
            self.ui.progressBar.value = 0
            self._tick()
            self._clock.start()
        except Exception as error:
            self._message.show(messageOf(error), getattr(error, "log", ""))
        finally:
            self._isStarting = False
            qt.QApplication.restoreOverrideCursor()
            self._show()

    def _request(self) -> SegmentRequest:
        chosen = self.parameters
        return SegmentRequest(
            chosen.segmentInput,
            chosen.segmentOutput,
            self._mayReplace(),
            Path(chosen.segmentModel or STARTER),
            chosen.segmentDevice.name,
        )

    def onProgress(self, fraction: float, step: str) -> None:
        self._step, now = step, time.monotonic()
        self._remaining = self._remaining or RemainingTime(now)
        self._remaining.update(fraction, now)
        self.ui.progressBar.value = round(100 * fraction)
        self._tick()

    def onWarning(self, message: str) -> None:
        self._warnings.append(message)
        self._message.show(" ".join(self._warnings))

    def onEnd(self, added, message: str) -> None:
        self._clock.stop()
        if added is None:
            messages = filter(None, [*self._warnings, message])
            self._message.show(" ".join(messages), self.logic.log if message else "")
        else:
            done = _('The spleen was added to "{name}".').format(name=added.segmentationNode.GetName())
            self._message.show(" ".join([done, *self._warnings]))
            self.results.setResult(added)
        if added or message:  # not canceled, as when Slicer quits
            self._queryDevices()
        self._show()

    def _tick(self) -> None:
        seconds = self._remaining.seconds(time.monotonic()) if self._remaining else None
        self.ui.stepLabel.text = self._step if seconds is None else f"{self._step}: {formatRemaining(seconds)}"

    # Choices

    def onReplaceClicked(self, isAllowed: bool) -> None:
        self.parameters.segmentReplaceIn = self.parameters.segmentOutput if isAllowed else None

    def onModelChosen(self, index: int) -> None:
        if self.parameters:
            self._choose(self._entries[index].folder)

    def onAddModel(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Add model folder"))
        if not folder:
            return
        try:
            entry = self.logic.models.add(Path(folder))
        except UserError as error:
            self._message.show(str(error))
            return
        self._message.show("")
        self._listModels()
        self._choose(entry.folder)

    def onRemoveModel(self) -> None:
        removed = self._entries[self.ui.modelComboBox.currentIndex].folder
        self._choose(STARTER)
        self.logic.models.remove(removed)
        self._listModels()

    def _choose(self, modelFolder: Path) -> None:
        self.parameters.segmentModel = "" if modelFolder == STARTER else str(modelFolder)

    def _mayReplace(self) -> bool:
        chosen = self.parameters
        return bool(chosen and chosen.segmentOutput and chosen.segmentReplaceIn is chosen.segmentOutput)

    def _queryDevices(self) -> None:
        if not self.devices.isKnown():
            self.logic.queryDevices(self.devices.setDevices)

    # Display

    def _show(self, _caller=None, _event=None) -> None:
        """Update everything that depends on more than one parameter."""
        chosen, isRunning = self.parameters, self.logic.isRunning()
        isReady = bool(chosen and chosen.segmentInput) and not self._isStarting
        self.ui.segmentButton.enabled = isReady or isRunning
        self.ui.segmentButton.text = _("Cancel") if isRunning else _("Segment Spleen")
        if isRunning:
            self.ui.segmentButton.toolTip = _("Cancel the segmentation. The scene is not changed.")
        elif isReady:
            self.ui.segmentButton.toolTip = _("Segment the spleen on this CT. Slicer can be used meanwhile.")
        else:
            self.ui.segmentButton.toolTip = _("Choose a CT first.")
        for name in ("inputSelector", "outputSelector", "replaceCheckBox", "modelComboBox", "deviceComboBox"):
            getattr(self.ui, name).enabled = bool(chosen) and not isRunning
        self.ui.addModelButton.enabled = bool(chosen) and not isRunning
        self.ui.progressBar.setVisible(isRunning)
        self.ui.stepLabel.setVisible(isRunning)
        self.ui.replaceCheckBox.setVisible(self.logic.hasSpleen(chosen.segmentOutput) if chosen else False)
        self.ui.replaceCheckBox.checked = self._mayReplace()
        self._showModel()
        self.devices.show()
        self.results.show()

    def _listModels(self) -> None:
        self._fillModels()
        self._showModel()

    def _fillModels(self) -> None:
        self._entries = self.logic.models.entries()
        comboBox = self.ui.modelComboBox
        comboBox.blockSignals(True)
        comboBox.clear()
        for entry in self._entries:
            comboBox.addItem(entry.name if entry.card else _("{name} (cannot be used)").format(name=entry.name))
        comboBox.blockSignals(False)

    def _showModel(self) -> None:
        if not (self.parameters and self._entries):
            return
        chosen = Path(self.parameters.segmentModel or STARTER)
        if chosen not in [entry.folder for entry in self._entries]:  # perhaps added by the training module
            self._fillModels()
        entry = next((entry for entry in self._entries if entry.folder == chosen), None)
        if entry is None:
            missing = _('The model folder "{folder}" was not found; the Starter model is used instead.')
            self._message.show(missing.format(folder=chosen))
            self._choose(STARTER)
            return
        self.ui.modelComboBox.setCurrentIndex(self._entries.index(entry))
        self.ui.cardLabel.text = entry.problem or describe(entry.card)
        self.ui.removeModelButton.enabled = not entry.isShipped and not self.logic.isRunning()


def _activeVolume():
    """The volume in the slice views; None without one, or if it is a labelmap."""
    selection = slicer.app.applicationLogic().GetSelectionNode()
    node = slicer.mrmlScene.GetNodeByID(selection.GetActiveVolumeID() or "") if selection else None
    return node if node and node.GetClassName() == "vtkMRMLScalarVolumeNode" else None
