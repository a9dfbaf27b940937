"""The panel of the training module: choices, start and stop, curves, and results."""

import time

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SpleenSmoothSegPanels.shared.device import DeviceChoice
from SpleenSmoothSegPanels.shared.widgets import Message, formatRemaining, messageOf
from SpleenSmoothSegTrainingLib.outfolder import OutFolder

from . import charts
from .choices import TrainingChoices
from .logic import Callbacks, joinCommand
from .parameters import Recipe, TrainingParameters, readChoices, storeChoices

TICK_MS = 1000
BORDERS = (
    "none",
    "gaussian:1.5mm",
    "gaussian:3mm",
    "box:3px",
    "svls:1px",
    "boundary_uncertainty:1px",
    "signed_distance:4mm",
)


# connectGui supports neither path widgets nor editable combo boxes; they are connected here.
PATHS = {"datasetPath": "trainingDataset", "outPath": "trainingOut", "recipePath": "trainingRecipeFile"}
RECIPE_WIDGETS = ("recipeComboBox", "recipePath", "borderComboBox", "epochsText")  # disabled when resuming
OTHER_WIDGETS = ("datasetPath", "outPath", "compareCheckBox", "deviceComboBox", "foldsText", "optionsText")


class TrainingPanel(VTKObservationMixin):
    """Shows a ``TrainingLogic``.

    Args:
        widget: the widget of SpleenSmoothSegTraining.ui.
        logic: runs the training.
    """

    def __init__(self, widget, logic):
        super().__init__()
        self.ui = ui = slicer.util.childWidgetVariables(widget)
        self.logic = logic
        self.devices = DeviceChoice(ui.deviceComboBox, ui.deviceLabel)
        self._showMessage = Message(ui).show
        self.parameters, self._gui, self._isStarting, self._isOpen = None, None, False, False
        self._isShowing, self._warnings = False, []
        self._step, self._end, self._hasShownCurves = "", None, False
        self._clock = qt.QTimer()
        self._clock.setInterval(TICK_MS)
        self._clock.connect("timeout()", self._tick)
        ui.borderComboBox.addItems(BORDERS)
        ui.borderComboBox.setCurrentIndex(-1)
        for name in PATHS:
            getattr(ui, name).connect("currentPathChanged(QString)", self._onTyped)
            getattr(ui, name).connect("validInputChanged(bool)", self._onTyped)  # the only signal of a cleared path
        ui.borderComboBox.connect("currentTextChanged(QString)", self._onTyped)
        ui.copyButton.connect("clicked()", self.onCopy)
        ui.trainButton.connect("clicked()", self.onTrainClicked)
        ui.diceButton.connect("clicked()", self.onDice)
        ui.lossButton.connect("clicked()", self.onLoss)
        ui.reportButton.connect("clicked()", self.onReport)
        ui.useButton.connect("clicked()", self.onUse)
        self._show()

    # What the module widget calls

    def setModuleNode(self, node) -> None:
        """Connect the panel to the parameter node; None while the scene is closing.

        A running training continues, and its choices are copied to the node of the next scene.
        """
        if self.parameters is not None:
            self.parameters.disconnectGui(self._gui)
            self.removeObservers(self._show)
        self.parameters = TrainingParameters(node) if node else None
        if node:
            if self.logic.isRunning():
                storeChoices(self.parameters, self.logic.running)
            self._gui = self.parameters.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._show)
        self._show()

    def enter(self) -> None:
        self._isOpen = True
        self._queryDevices()
        self._show()

    def exit(self) -> None:
        """A running training continues."""
        self._isOpen = False

    def cleanup(self) -> None:
        self.logic.close()
        self._clock.stop()
        self.setModuleNode(None)

    # Training

    def onTrainClicked(self) -> None:
        if self.logic.isRunning():
            self.logic.stop()
            return
        self._warnings, self._isStarting = [], True
        self._showMessage("")
        self._show()  # clicks are processed while packages are being installed
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            callbacks = Callbacks(self.onProgress, self.onEpoch, self.onWarning, self.onEnd)
            self.logic.start(self._choices(), callbacks)
            self._step, self._end, self._hasShownCurves = _("Starting"), None, False
            self.ui.progressBar.value = 0
            self._tick()
            self._clock.start()
            if self.logic.curves:
                self.onEpoch()
        except Exception as error:
            self._showMessage(messageOf(error), getattr(error, "log", ""))
        finally:
            self._isStarting = False
            qt.QApplication.restoreOverrideCursor()
            self._show()

    def onProgress(self, fraction: float, step: str, remaining_s: float | None) -> None:
        self._step = step
        self._end = None if remaining_s is None else time.monotonic() + remaining_s
        self.ui.progressBar.value = round(100 * fraction)
        self._tick()

    def onEpoch(self) -> None:
        """Update the charts; show the plot view once, and only while this module is open."""
        if self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        if self._isOpen and not self._hasShownCurves:
            self._hasShownCurves = True
            charts.showCurves(charts.DICE, self.logic.curves)
            self._show()
        else:
            charts.updateCharts(self.logic.curves)

    def onWarning(self, message: str) -> None:
        self._warnings.append(message)
        self._showMessageWithWarnings("", "")

    def onEnd(self, trained, message: str) -> None:
        self._clock.stop()
        if trained is None:
            self._showMessageWithWarnings(message, self.logic.log)
        else:
            self._showMessageWithWarnings(_resultMessage(trained), "")
            if trained.report and self._isOpen:
                _open(trained.report)
            self._queryDevices()  # its packages are installed now
        self._show()

    def _tick(self) -> None:
        left = "" if self._end is None else f": {formatRemaining(self._end - time.monotonic())}"
        self.ui.stepLabel.text = self._step + left

    def _queryDevices(self) -> None:
        if not self.devices.isKnown():
            self.logic.queryDevices(self.devices.setDevices)

    # Choices and results

    def onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self.logic.command(self._choices()))
        self._showMessage(_("Command copied. Paste it into a terminal or a cluster script."))

    def onDice(self) -> None:
        charts.showCurves(charts.DICE, self.logic.readCurves(self.parameters.trainingOut))

    def onLoss(self) -> None:
        charts.showCurves(charts.LOSS, self.logic.readCurves(self.parameters.trainingOut))

    def onReport(self) -> None:
        report = OutFolder(self.parameters.trainingOut).report
        if not report.is_file() or not _open(report):
            self._showMessage(_('The report "{path}" cannot be opened; open it in a web browser.').format(path=report))

    def onUse(self) -> None:
        out = self.parameters.trainingOut
        try:
            name = self.logic.useModel(out)
        except Exception as error:
            self._showMessage(messageOf(error))
            return
        text = _('Segment Spleen now uses the model "{name}". Keep its folder "{folder}".')
        self._showMessage(text.format(name=name, folder=OutFolder(out).model))

    def _onTyped(self, _value=None) -> None:
        if self.parameters is None or self._isShowing:
            return
        values = {parameter: getattr(self.ui, name).currentPath for name, parameter in PATHS.items()}
        if self.ui.borderComboBox.enabled:
            values["trainingBorder"] = self.ui.borderComboBox.currentText
        wasOut = self.parameters.trainingOut
        for parameter, value in values.items():
            if self.parameters.getValue(parameter) != value:
                self.parameters.setValue(parameter, value)
        if self.parameters.trainingOut != wasOut and OutFolder(self.parameters.trainingOut).has_control():
            self.parameters.trainingCompare = True  # so that the control is resumed as well

    def _choices(self) -> TrainingChoices:
        chosen = self.parameters
        if chosen is None:
            return self.logic.running or TrainingChoices()
        return readChoices(chosen)

    # What is shown

    def _show(self, _caller=None, _event=None) -> None:
        """Update everything that depends on several choices."""
        ui, choices, isRunning = self.ui, self._choices(), self.logic.isRunning()
        folder = OutFolder(choices.out)
        isResumed = choices.isResumed()
        self._showTyped(choices, hidesBorder=isResumed and not isRunning)
        self._showButton(choices, isResumed)
        isFree = self.parameters is not None and not isRunning and not self._isStarting
        for name in OTHER_WIDGETS:
            getattr(ui, name).enabled = isFree
        for name in RECIPE_WIDGETS:
            getattr(ui, name).enabled = isFree and not isResumed
        isCustom = choices.recipe == Recipe.custom.name
        ui.recipePath.setVisible(isCustom)
        ui.recipeComboBox.toolTip = Recipe[choices.recipe].explanation()
        ui.stateLabel.text = _state(folder) if isResumed and not isRunning else ""
        ui.stateLabel.setVisible(bool(ui.stateLabel.text))
        border = choices.recipeBorder()
        placeholder = _("From the recipe: {border}").format(border=border) if border else _("From the recipe")
        ui.borderComboBox.lineEdit().placeholderText = placeholder
        if not isRunning:  # keep showing the command that is running
            ui.commandText.text = joinCommand(["train.py", *choices.arguments()])
            ui.commandText.cursorPosition = 0
        ui.copyButton.enabled = not isRunning
        ui.progressBar.setVisible(isRunning)
        ui.stepLabel.setVisible(isRunning)
        hasCurves = isResumed or (isRunning and bool(self.logic.curves))
        ui.diceButton.enabled = ui.lossButton.enabled = self.parameters is not None and hasCurves
        ui.reportButton.enabled = self.parameters is not None and folder.has_report()
        ui.useButton.enabled = self.parameters is not None and folder.has_model()
        self.devices.show()

    def _showTyped(self, choices: TrainingChoices, hidesBorder: bool) -> None:
        self._isShowing = True  # ignore signals while only some widgets are updated
        shown = {"datasetPath": choices.dataset, "outPath": choices.out, "recipePath": choices.recipeFile}
        for name, path in shown.items():
            if getattr(self.ui, name).currentPath != path:
                getattr(self.ui, name).currentPath = path
        border = "" if hidesBorder else choices.border  # a resumed training has its own
        if self.ui.borderComboBox.currentText != border:
            self.ui.borderComboBox.setEditText(border)
        self._isShowing = False

    def _showButton(self, choices: TrainingChoices, isResumed: bool) -> None:
        button, isRunning = self.ui.trainButton, self.logic.isRunning()
        isReady = bool(self.parameters and choices.dataset and choices.out) and not self._isStarting
        button.enabled = isReady or isRunning
        if isRunning:
            button.text = _("Stop")
            button.toolTip = _("Stop the training. Completed epochs are kept; Resume continues from the last one.")
            return
        button.text = _("Resume training") if isResumed else _("Start training")
        if isReady:
            button.toolTip = _("Train in the background. Exiting Slicer stops the training.")
        else:
            button.toolTip = _("First choose the folder of labeled CTs and a folder for the results.")

    def _showMessageWithWarnings(self, message: str, log: str) -> None:
        """A single warning is appended to the message; several are counted there and listed in the log."""
        warnings = self._warnings
        if len(warnings) > 1:
            log = "\n".join([*warnings, log])
            warnings = [_("There were {count} warnings; see the log.").format(count=len(warnings))]
        self._showMessage(" ".join(filter(None, [message, *warnings])), log)


def _state(folder: OutFolder) -> str:
    if folder.is_complete():
        return _("This folder contains a completed training.")
    return _("This folder contains a training; Resume continues it with its own recipe and border.")


def _resultMessage(trained) -> str:
    if missing := ", ".join(map(str, trained.missingFolds)):
        return _(
            "The requested folds are trained. To train the missing folds ({missing}), clear Folds and click Resume."
        ).format(missing=missing)
    return _("Training is complete. Read the report, then click Use this model.")


def _open(report) -> bool:
    """Open a page in the user's browser; returns whether that worked."""
    return bool(qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(report))))
