"""The panel of the training module: what to train on, start and stop, curves, and what came out."""

import enum
import time

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegPanels.shared.device import Device, DeviceChoice
from SpleenSmoothSegPanels.shared.widgets import Message, formatRemaining

from . import charts
from .choices import TrainingChoices
from .logic import joined, unexpected
from .resultsfolder import ResultsFolder

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


class Recipe(enum.Enum):
    """Where the numbers of the training come from, by the names of ``TrainingChoices``."""

    published = 0
    starter = 1
    own = 2

    def label(self) -> str:
        return {
            Recipe.published: _("Published recipe"),
            Recipe.starter: _("Starter recipe"),
            Recipe.own: _("A recipe file of your own"),
        }[self]

    def explanation(self) -> str:
        return {
            Recipe.published: _("The recipe of the paper in full length; it wants a graphics card."),
            Recipe.starter: _("The recipe of the model that ships with the extension: small enough for a CPU."),
            Recipe.own: _("A TOML file with options of train.py, such as the recipe.toml of an earlier training."),
        }[self]


@parameterNodeWrapper
class TrainingParameters:
    trainingDataset: str = ""
    trainingOut: str = ""
    trainingRecipe: Recipe = Recipe.published
    trainingRecipeFile: str = ""
    trainingBorder: str = ""  # "" is that of the recipe
    trainingCompare: bool = False
    trainingDevice: Device = Device.auto
    trainingEpochs: str = ""
    trainingFolds: str = ""
    trainingOptions: str = ""


# connectGui ties no path and no editable list to a text; these are tied here.
PATHS = {"datasetPath": "trainingDataset", "outPath": "trainingOut", "recipePath": "trainingRecipeFile"}
RECIPE_WIDGETS = ("recipeComboBox", "recipePath", "borderComboBox", "epochsText")  # rest where a training goes on
OTHER_WIDGETS = ("datasetPath", "outPath", "compareCheckBox", "deviceComboBox", "foldsText", "optionsText")


class TrainingPanel(VTKObservationMixin):
    """Shows a ``TrainingLogic``.

    Args:
        widget: the widget of SpleenSmoothSegTraining.ui.
        logic: does the work.
    """

    def __init__(self, widget, logic):
        super().__init__()
        self.ui = ui = slicer.util.childWidgetVariables(widget)
        self.logic = logic
        self.devices = DeviceChoice(ui.deviceComboBox, ui.deviceLabel)
        self._say = Message(ui).show
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
            getattr(ui, name).connect("validInputChanged(bool)", self._onTyped)  # all that an emptied one says
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
        """Keep in ``node`` what the user chooses, and show what it holds; None: the scene is closing.

        A training that runs goes on: it belongs to no scene. The next one is told what was chosen for it.
        """
        if self.parameters is not None:
            self.parameters.disconnectGui(self._gui)
            self.removeObservers(self._show)
        self.parameters = TrainingParameters(node) if node else None
        if node:
            if self.logic.isRunning():
                self._keep(self.logic.running)
            self._gui = self.parameters.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._show)
        self._show()

    def enter(self) -> None:
        self._isOpen = True
        self._askDevices()
        self._show()

    def exit(self) -> None:
        """A training that runs goes on."""
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
        self._say("")
        self._show()  # clicks get through while packages are installed
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            self.logic.start(self._choices(), self.onProgress, self.onEpoch, self.onWarning, self.onEnd)
            self._step, self._end, self._hasShownCurves = _("Starting"), None, False
            self.ui.progressBar.value = 0
            self._tick()
            self._clock.start()
            if self.logic.curves:
                self.onEpoch()
        except UserError as error:
            self._say(str(error), getattr(error, "log", ""))
        except Exception as error:
            self._say(unexpected(error))
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
        """Draw what was trained; the plot view is opened once, and only for somebody who looks at this module."""
        if self.parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        if self._isOpen and not self._hasShownCurves:
            self._hasShownCurves = True
            charts.showCurves(charts.DICE, self.logic.curves)
            self._show()
        else:
            charts.updateCharts(self.logic.curves)

    def onWarning(self, sentence: str) -> None:
        self._warnings.append(sentence)
        self._sayWithWarnings("", "")

    def onEnd(self, trained, sentence: str) -> None:
        self._clock.stop()
        if trained is None:
            self._sayWithWarnings(sentence, self.logic.log)
        else:
            self._sayWithWarnings(_whatCameOut(trained), "")
            if trained.report and self._isOpen:
                _open(trained.report)
            self._askDevices()  # now that its packages are there
        self._show()

    def _tick(self) -> None:
        left = "" if self._end is None else f": {formatRemaining(self._end - time.monotonic())}"
        self.ui.stepLabel.text = self._step + left

    def _askDevices(self) -> None:
        if not self.devices.isKnown():
            self.logic.askDevices(self.devices.setDevices)

    # Choices and results

    def onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self.logic.command(self._choices()))
        self._say(_("The command is copied: paste it into a terminal, or into the script of a cluster."))

    def onDice(self) -> None:
        charts.showCurves(charts.DICE, self.logic.readCurves(self.parameters.trainingOut))

    def onLoss(self) -> None:
        charts.showCurves(charts.LOSS, self.logic.readCurves(self.parameters.trainingOut))

    def onReport(self) -> None:
        report = ResultsFolder(self.parameters.trainingOut).report
        if not report.is_file() or not _open(report):
            self._say(_('The report "{path}" cannot be opened; look for it there.').format(path=report))

    def onUse(self) -> None:
        out = self.parameters.trainingOut
        try:
            name = self.logic.useModel(out)
        except UserError as error:
            self._say(str(error))
            return
        except Exception as error:
            self._say(unexpected(error))
            return
        done = _('Segment Spleen uses the model "{name}" from now on; it stays in "{folder}", so keep that folder.')
        self._say(done.format(name=name, folder=ResultsFolder(out).model))

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
        if self.parameters.trainingOut != wasOut and ResultsFolder(self.parameters.trainingOut).hasControl():
            self.parameters.trainingCompare = True  # so that its control goes on, too

    def _choices(self) -> TrainingChoices:
        chosen = self.parameters
        if chosen is None:
            return self.logic.running or TrainingChoices()
        return TrainingChoices(
            dataset=chosen.trainingDataset,
            out=chosen.trainingOut,
            recipe=chosen.trainingRecipe.name,
            recipeFile=chosen.trainingRecipeFile,
            border=chosen.trainingBorder,
            isCompared=chosen.trainingCompare,
            device=chosen.trainingDevice.name,
            epochs=chosen.trainingEpochs,
            folds=chosen.trainingFolds,
            options=chosen.trainingOptions,
        )

    def _keep(self, choices: TrainingChoices) -> None:
        with slicer.util.NodeModify(self.parameters):
            self.parameters.trainingDataset, self.parameters.trainingOut = choices.dataset, choices.out
            self.parameters.trainingRecipe = Recipe[choices.recipe]
            self.parameters.trainingRecipeFile = choices.recipeFile
            self.parameters.trainingBorder, self.parameters.trainingCompare = choices.border, choices.isCompared
            self.parameters.trainingDevice = Device[choices.device]
            self.parameters.trainingEpochs, self.parameters.trainingFolds = choices.epochs, choices.folds
            self.parameters.trainingOptions = choices.options

    # What is shown

    def _show(self, _caller=None, _event=None) -> None:
        """Bring what depends on several choices up to date with them."""
        ui, choices, isRunning = self.ui, self._choices(), self.logic.isRunning()
        folder = ResultsFolder(choices.out)
        isResumed = choices.isResumed()
        self._showTyped(choices, hidesBorder=isResumed and not isRunning)
        self._showButton(choices, isResumed)
        isFree = self.parameters is not None and not isRunning and not self._isStarting
        for name in OTHER_WIDGETS:
            getattr(ui, name).enabled = isFree
        for name in RECIPE_WIDGETS:
            getattr(ui, name).enabled = isFree and not isResumed
        isOwn = choices.recipe == Recipe.own.name
        ui.recipePath.setVisible(isOwn)
        ui.recipeComboBox.toolTip = Recipe[choices.recipe].explanation()
        ui.stateLabel.text = _state(folder) if isResumed and not isRunning else ""
        ui.stateLabel.setVisible(bool(ui.stateLabel.text))
        border = choices.recipeBorder()
        inWords = _("As in the recipe: {border}").format(border=border) if border else _("As in the recipe")
        ui.borderComboBox.lineEdit().placeholderText = inWords
        if not isRunning:  # what runs stays to be seen
            ui.commandText.text = joined(["train.py", *choices.arguments()])
            ui.commandText.cursorPosition = 0
        ui.copyButton.enabled = not isRunning
        ui.progressBar.setVisible(isRunning)
        ui.stepLabel.setVisible(isRunning)
        hasCurves = isResumed or (isRunning and bool(self.logic.curves))
        ui.diceButton.enabled = ui.lossButton.enabled = self.parameters is not None and hasCurves
        ui.reportButton.enabled = self.parameters is not None and folder.hasReport()
        ui.useButton.enabled = self.parameters is not None and folder.hasModel()
        self.devices.show()

    def _showTyped(self, choices: TrainingChoices, hidesBorder: bool) -> None:
        self._isShowing = True  # while some still show what was chosen before
        shown = {"datasetPath": choices.dataset, "outPath": choices.out, "recipePath": choices.recipeFile}
        for name, path in shown.items():
            if getattr(self.ui, name).currentPath != path:
                getattr(self.ui, name).currentPath = path
        border = "" if hidesBorder else choices.border  # a training that goes on has its own
        if self.ui.borderComboBox.currentText != border:
            self.ui.borderComboBox.setEditText(border)
        self._isShowing = False

    def _showButton(self, choices: TrainingChoices, isResumed: bool) -> None:
        button, isRunning = self.ui.trainButton, self.logic.isRunning()
        isReady = bool(self.parameters and choices.dataset and choices.out) and not self._isStarting
        button.enabled = isReady or isRunning
        if isRunning:
            button.text = _("Stop")
            button.toolTip = _("Stop it. What was trained stays; Resume goes on from the last epoch.")
            return
        button.text = _("Resume training") if isResumed else _("Start training")
        if isReady:
            button.toolTip = _("Train beside Slicer, which stays usable. Quitting Slicer stops it.")
        else:
            button.toolTip = _("Choose the folder of labeled CTs and a folder for the results first.")

    def _sayWithWarnings(self, sentence: str, log: str) -> None:
        """One warning stands beside the sentence; many, as of a large dataset, are counted there and in the log."""
        warnings = self._warnings
        if len(warnings) > 1:
            log = "\n".join([*warnings, log])
            warnings = [_("There are {count} warnings; the log lists them.").format(count=len(warnings))]
        self._say(" ".join(filter(None, [sentence, *warnings])), log)


def _state(folder: ResultsFolder) -> str:
    if folder.isTrained():
        return _("This folder holds a training that is done.")
    return _("This folder holds a training; Resume goes on with it, by its own recipe and border.")


def _whatCameOut(trained) -> str:
    if missing := ", ".join(map(str, trained.missingFolds)):
        return _(
            "These folds are trained and can be tried; to train fold {missing}, too, empty Folds and click Resume."
        ).format(missing=missing)
    return _("The model is trained; read the report, then let Segment Spleen use the model.")


def _open(report) -> bool:
    """Show a page in the user's browser; whether there is one."""
    return bool(qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(report))))
