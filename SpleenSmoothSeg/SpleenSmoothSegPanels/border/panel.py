"""The Soft border preview section of the panel."""

import contextlib
import re

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..shared.display import VIRIDIS
from ..shared.widgets import LabelChoice, formatNumber, messageOf
from .parameters import BorderParameters, Kernel, Unit
from .scene import HARD_COLOR, SOFT_COLOR

REST_MS = 200  # the preview is measured when its settings have not changed for this long


class BorderPanel(VTKObservationMixin):
    """Selects a label and a border, and shows the preview of `BorderLogic` while the section is open.

    Args:
        widget: the widget of SoftBorder.ui.
        logic: a `BorderLogic`.
    """

    def __init__(self, widget, logic):
        super().__init__()
        self.widget, self.logic = widget, logic
        self.ui = slicer.util.childWidgetVariables(widget)
        self.parameters = None
        self._guiTag = None
        self._isOpen = False
        self._node = None  # the label's node, for which the CT was selected
        self._choice = LabelChoice(self.ui.segmentSelector, "border")
        self._updateTimer = self._timer(0, self._update)  # one update for all pending events, as of a dragged slider
        self._restTimer = self._timer(REST_MS, self._measure)
        self.ui.legend.text = _legend()
        self._showFolder()
        logic.onLabelChanged = self._updateTimer.start
        logic.folder.onProgress = self._showProgress
        logic.folder.onEnd = self._showFolderEnd
        self.ui.previewButton.connect("clicked()", self._chooseFirst)
        self.ui.profileButton.connect("clicked()", self._onProfile)
        self.ui.useButton.connect("clicked()", self._onUse)
        self.ui.saveButton.connect("clicked()", self._onSave)
        self.ui.folderButton.connect("clicked()", self._onFolder)

    def setModuleNode(self, node) -> None:
        """Store the settings in this parameter node; None before the scene is closed."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.removeObservers()
        self._hide()
        self.parameters = BorderParameters(node) if node else None
        self._choice.setParameters(self.parameters)
        self._node = self._choice.label.node
        if node:
            self._guiTag = self.parameters.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParameters)
            self._onParameters()

    def enter(self) -> None:
        self._isOpen = True
        self._chooseFirst()
        self._updateTimer.start()

    def exit(self) -> None:
        self._isOpen = False
        self._hide()

    def cleanup(self) -> None:
        self.logic.folder.cancel()
        self.setModuleNode(None)

    # Settings

    def _onParameters(self, _caller=None, _event=None) -> None:
        if slicer.mrmlScene.IsImporting():  # the label may be loaded after the parameter node
            return
        if self._choice.label.node is not self._node:
            self._node = self._choice.label.node
            self.parameters.borderCtNode = self.logic.ctOf(self._node)
        self._choice.update()
        self._showSettings()
        self._updateTimer.start()

    def _showSettings(self) -> None:
        chosen, ui = self.parameters, self.ui
        ui.previewButton.text = _("Hide preview") if chosen.borderPreview else _("Show preview")
        ui.kernelExplanation.text = chosen.borderKernel.explanation()
        ui.widthSlider.suffix = f" {chosen.borderUnit.name}"
        for control in (ui.widthSlider, ui.unitSelector, ui.planeSelector):
            control.enabled = chosen.borderKernel is not Kernel.none
        ui.saveButton.enabled = self._node is not None

    def _chooseFirst(self) -> None:
        """Select the first segmentation if no label is selected."""
        if self.parameters is not None and self.parameters.borderNode is None:
            self.parameters.borderNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")

    def _border(self):
        from SpleenSmoothSegLib.border.kernels import Border

        chosen = self.parameters
        if chosen.borderKernel is Kernel.none:
            return Border("none")
        width = round(chosen.borderWidth, 3)  # sliders add rounding errors
        return Border(chosen.borderKernel.name, width, chosen.borderUnit.name, chosen.borderPlane.value)

    # Preview

    def _update(self) -> None:
        chosen = self.parameters
        if chosen is None or not self._isOpen or not chosen.borderPreview:
            self._hide()
            return
        isNew = None
        with _errorsShown(self.ui.previewMessage):
            isNew = self.logic.show(self._choice.label, chosen.borderCtNode, self._border(), chosen.borderOpacity)
        if isNew is None:
            self._clearNumbers()
        elif isNew:
            self._restTimer.start()

    def _hide(self) -> None:
        self.logic.hide()
        self._clearNumbers()
        _showMessage(self.ui.previewMessage, "")

    def _measure(self) -> None:
        with _errorsShown(self.ui.previewMessage):
            self._showNumbers(*self.logic.measure())

    def _showNumbers(self, effect, remarks: list[str]) -> None:
        ui = self.ui
        ui.shiftValue.text = _("{mean} mm (95th percentile: {p95} mm)").format(
            mean=formatNumber(effect.contour_shift_mean_mm, 2), p95=formatNumber(effect.contour_shift_p95_mm, 2)
        )
        ui.volumeValue.text = _("{soft} mL ({change:+.1f} mL, {percent:+.1f} %)").format(
            soft=formatNumber(effect.soft_volume_ml, 1),
            change=effect.volume_change_ml,
            percent=effect.volume_change_percent,
        )
        ui.bandValue.text = _("{width} mm from 0.05 to 0.95").format(width=formatNumber(effect.band_mm, 1))
        tips = _("{volume} mL in 1 part") if effect.tips_lost_parts == 1 else _("{volume} mL in {count} parts")
        ui.tipsValue.text = tips.format(volume=formatNumber(effect.tips_lost_ml, 2), count=effect.tips_lost_parts)
        ui.remarks.text = "\n".join(remarks)
        ui.profileButton.enabled = True

    def _clearNumbers(self) -> None:
        self._restTimer.stop()
        for label in (self.ui.shiftValue, self.ui.volumeValue, self.ui.bandValue, self.ui.tipsValue):
            label.text = formatNumber(None)
        self.ui.remarks.text = ""
        self.ui.profileButton.enabled = False

    def _onProfile(self) -> None:
        with _errorsShown(self.ui.previewMessage):
            self.logic.showProfile()

    # Training and files

    def _onUse(self) -> None:
        with _errorsShown(self.ui.fileMessage):
            border = self._border()
            option = f"--border {border}"
            slicer.app.clipboard().setText(option)
            message = _("Copied for train.py: {option}").format(option=option)
            if border.unit == Unit.px.name:
                message += "\n" + _("In training, px are pixels of the resampled slices, not voxels of this CT.")
            _showMessage(self.ui.fileMessage, message)

    def _onSave(self) -> None:
        name = re.sub(r"[^\w.-]+", "_", self._node.GetName())
        path = qt.QFileDialog.getSaveFileName(
            self.widget, _("Save soft label"), f"{name}_soft.nii.gz", _("Volumes (*.nii.gz *.nrrd *.nii *.mha)")
        )
        if not path:
            return
        with _errorsShown(self.ui.fileMessage), slicer.util.WaitCursor():
            label, ctNode = self._choice.label, self.parameters.borderCtNode
            path = self.logic.saveSoftLabel(label, ctNode, self._border(), path)
            _showMessage(self.ui.fileMessage, _('Saved "{path}".').format(path=path))

    def _onFolder(self) -> None:
        folder = self.logic.folder
        if folder.isRunning():
            folder.cancel()
            self._showFolderEnd()
            return
        dataset = qt.QFileDialog.getExistingDirectory(self.widget, _("Choose the folder that contains dataset.json"))
        out = dataset and qt.QFileDialog.getExistingDirectory(self.widget, _("Choose a folder for the soft labels"))
        if not out:
            return
        with _errorsShown(self.ui.fileMessage):
            folder.start(dataset, out, self._border())
        self._showFolder()

    def _showProgress(self, fraction: float, step: str) -> None:
        self.ui.progressBar.value = round(100 * fraction)
        _showMessage(self.ui.fileMessage, step)

    def _showFolder(self) -> None:
        isRunning = self.logic.folder.isRunning()
        self.ui.folderButton.text = _("Cancel") if isRunning else _("Save soft labels of a Decathlon dataset...")
        self.ui.progressBar.visible = isRunning
        self.ui.progressBar.value = 0

    def _showFolderEnd(self) -> None:
        self._showFolder()
        folder = self.logic.folder
        saved = _("Saved {count} of {total} soft labels.").format(count=len(folder.written), total=folder.total)
        _showMessage(self.ui.fileMessage, "\n".join([saved, *folder.failures]))

    def _timer(self, milliseconds: int, onTimeout):
        timer = qt.QTimer(self.widget)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.connect("timeout()", onTimeout)
        return timer


@contextlib.contextmanager
def _errorsShown(label):
    """Clears the label, and shows an error raised in the block in it."""
    _showMessage(label, "")
    try:
        yield
    except Exception as error:
        _showMessage(label, messageOf(error))


def _showMessage(label, message: str) -> None:
    label.text = message
    label.visible = bool(message)


def _legend() -> str:
    """Rich text: the color bar of the overlay, and the colors of the contours on a dark background, as over a CT."""
    bar = "".join(f'<td width="16" bgcolor="{_html(color)}">&nbsp;</td>' for color in VIRIDIS)
    contours = ((HARD_COLOR, _("border of the label")), (SOFT_COLOR, _("0.5 contour of the soft label")))
    lines = "".join(
        f'<tr><td bgcolor="#404040"><font color="{_html(color)}"><b>&nbsp;&mdash;&mdash;&nbsp;</b></font></td>'
        f"<td>&nbsp;{text}</td></tr>"
        for color, text in contours
    )
    return f'<table cellspacing="0"><tr><td>0&nbsp;</td>{bar}<td>&nbsp;1</td></tr></table><table>{lines}</table>'


def _html(color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
