"""The part of the module in which a person sees the soft border of a label."""

import contextlib
import enum
import logging
import re
from typing import Annotated, Union

import qt
import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError

from ..shared.display import VIRIDIS
from ..shared.widgets import LabelChoice
from .logic import WIDEST
from .scene import HARD_COLOR, SOFT_COLOR

REST_MS = 200  # after which a slider has come to rest
NOTHING = "-"


class Kernel(enum.Enum):
    """The kernels of ``SpleenSmoothSegLib.border.kernels``, by name."""

    gaussian = 0
    box = 1
    svls = 2
    boundary_uncertainty = 3
    signed_distance = 4
    none = 5

    def label(self) -> str:
        return {
            Kernel.gaussian: _("Gaussian (gaussian)"),
            Kernel.box: _("Mean over a box (box)"),
            Kernel.svls: _("Spatially varying label smoothing (svls)"),
            Kernel.boundary_uncertainty: _("Two rims (boundary_uncertainty)"),
            Kernel.signed_distance: _("Distance to the border (signed_distance)"),
            Kernel.none: _("Hard border (none)"),
        }[self]

    def explanation(self) -> str:
        return {
            Kernel.gaussian: _("The width is the Gaussian's standard deviation."),
            Kernel.box: _("The width is the whole edge of the box."),
            Kernel.svls: _(
                "Half the voxel, half its neighbors (Islam and Glocker 2021); the width is the standard deviation of "
                "their weights."
            ),
            Kernel.boundary_uncertainty: _(
                "0.9 in the inner, 0.1 in the outer rim (Yeung 2021); the width is that of one rim."
            ),
            Kernel.signed_distance: _(
                "A logistic curve over the distance; the width is that of the band from 0.1 to 0.9."
            ),
            Kernel.none: _("The label as it is; the width means nothing."),
        }[self]


class Unit(enum.Enum):
    mm = 0
    px = 1

    def label(self) -> str:
        return {Unit.mm: _("mm"), Unit.px: _("voxels (px)")}[self]


class Plane(enum.Enum):
    in_plane = "2d"
    through_plane = "3d"

    def label(self) -> str:
        return {Plane.in_plane: _("within each slice (2d)"), Plane.through_plane: _("in 3D (3d)")}[self]


@parameterNodeWrapper
class BorderParameters:
    borderNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    borderId: str
    borderReference: vtkMRMLScalarVolumeNode
    borderKernel: Kernel = Kernel.gaussian
    borderWidth: Annotated[float, WithinRange(0, WIDEST)] = 1.5
    borderUnit: Unit = Unit.mm
    borderPlane: Plane = Plane.in_plane
    borderPreview: bool = False
    borderOpacity: Annotated[float, WithinRange(0, 1)] = 0.5


class BorderPanel(VTKObservationMixin):
    """Lets a person choose a label and a border, and shows what `BorderLogic` makes of them while it is open."""

    def __init__(self, widget, logic):
        super().__init__()
        self.widget, self.logic = widget, logic
        self.ui = slicer.util.childWidgetVariables(widget)
        self.parameters = None
        self._guiTag = None
        self._isOpen = False
        self._node = None  # the label's, for which the CT was chosen
        self._choice = LabelChoice(self.ui.segmentSelector, "border")
        self._updateTimer = self._timer(0, self._update)  # one update for all events that wait, as of a dragged slider
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
        """Keep what the user chooses in the module's node; None before the scene is closed."""
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

    # Choices

    def _onParameters(self, _caller=None, _event=None) -> None:
        if slicer.mrmlScene.IsImporting():  # the label may come after the module's node
            return
        if self._choice.label.node is not self._node:
            self._node = self._choice.label.node
            self.parameters.borderReference = self.logic.ctOf(self._node)
        self._choice.update()
        self._showChoices()
        self._updateTimer.start()

    def _showChoices(self) -> None:
        chosen, ui = self.parameters, self.ui
        ui.previewButton.text = _("Hide preview") if chosen.borderPreview else _("Show preview")
        ui.kernelExplanation.text = chosen.borderKernel.explanation()
        ui.widthSlider.suffix = f" {chosen.borderUnit.name}"
        for control in (ui.widthSlider, ui.unitSelector, ui.planeSelector):
            control.enabled = chosen.borderKernel is not Kernel.none
        ui.saveButton.enabled = self._node is not None

    def _chooseFirst(self) -> None:
        """Where no label is chosen, take the first segmentation that there is."""
        if self.parameters is not None and self.parameters.borderNode is None:
            self.parameters.borderNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")

    def _label(self) -> tuple:
        return *self._choice.label, self.parameters.borderReference

    def _border(self) -> str:
        chosen = self.parameters
        kernel, unit, plane = chosen.borderKernel.name, chosen.borderUnit.name, chosen.borderPlane.value
        return self.logic.borderText(kernel, round(chosen.borderWidth, 3), unit, plane)

    # Preview

    def _update(self) -> None:
        if self.parameters is None or not self._isOpen or not self.parameters.borderPreview:
            self._hide()
            return
        isNew = None
        with _explained(self.ui.previewMessage):
            isNew = self.logic.show(*self._label(), self._border(), self.parameters.borderOpacity)
        if isNew is None:
            self._clearNumbers()
        elif isNew:
            self._restTimer.start()

    def _hide(self) -> None:
        self.logic.hide()
        self._clearNumbers()
        _say(self.ui.previewMessage, "")

    def _measure(self) -> None:
        with _explained(self.ui.previewMessage):
            self._showNumbers(*self.logic.measure())

    def _showNumbers(self, effect, words: list[str]) -> None:
        ui = self.ui
        ui.shiftValue.text = _("{mean} mm (95th percentile {p95} mm)").format(
            mean=_rounded(effect.contour_shift_mean_mm, 2), p95=_rounded(effect.contour_shift_p95_mm, 2)
        )
        ui.volumeValue.text = _("{soft} mL, that is {change:+.1f} mL ({percent:+.1f} %)").format(
            soft=_rounded(effect.soft_volume_ml, 1),
            change=effect.volume_change_ml,
            percent=effect.volume_change_percent,
        )
        ui.bandValue.text = _("{width} mm from 0.05 to 0.95").format(width=_rounded(effect.band_mm, 1))
        tips = _("{volume} mL in one part") if effect.tips_lost_parts == 1 else _("{volume} mL in {count} parts")
        ui.tipsValue.text = tips.format(volume=_rounded(effect.tips_lost_ml, 2), count=effect.tips_lost_parts)
        ui.words.text = "\n".join(words)
        ui.profileButton.enabled = True

    def _clearNumbers(self) -> None:
        self._restTimer.stop()
        for label in (self.ui.shiftValue, self.ui.volumeValue, self.ui.bandValue, self.ui.tipsValue):
            label.text = NOTHING
        self.ui.words.text = ""
        self.ui.profileButton.enabled = False

    def _onProfile(self) -> None:
        with _explained(self.ui.previewMessage):
            self.logic.showProfile()

    # Training and files

    def _onUse(self) -> None:
        with _explained(self.ui.fileMessage):
            line = f"--border {self._border()}"
            slicer.app.clipboard().setText(line)
            isInPixels = self.parameters.borderUnit is Unit.px and self.parameters.borderKernel is not Kernel.none
            sentence = (
                _("Copied for train.py: {line} (there px are pixels of the resampled slices, not of this CT)")
                if isInPixels
                else _("Copied for train.py: {line}")
            )
            _say(self.ui.fileMessage, sentence.format(line=line))

    def _onSave(self) -> None:
        name = re.sub(r"[^\w.-]+", "_", self._node.GetName())
        path = qt.QFileDialog.getSaveFileName(
            self.widget, _("Save soft label"), f"{name}_soft.nii.gz", _("Volumes (*.nii.gz *.nrrd *.nii *.mha)")
        )
        if not path:
            return
        with _explained(self.ui.fileMessage), slicer.util.WaitCursor():
            path = self.logic.saveSoftLabel(*self._label(), self._border(), path)
            _say(self.ui.fileMessage, _('Written: "{path}"').format(path=path))

    def _onFolder(self) -> None:
        folder = self.logic.folder
        if folder.isRunning():
            folder.cancel()
            self._showFolderEnd()
            return
        dataset = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder with dataset.json"))
        out = dataset and qt.QFileDialog.getExistingDirectory(self.widget, _("Folder for the soft labels"))
        if not out:
            return
        with _explained(self.ui.fileMessage):
            folder.start(dataset, out, self._border())
        self._showFolder()

    def _showProgress(self, fraction: float, step: str) -> None:
        self.ui.progressBar.value = round(100 * fraction)
        _say(self.ui.fileMessage, step)

    def _showFolder(self) -> None:
        isRunning = self.logic.folder.isRunning()
        self.ui.folderButton.text = _("Cancel") if isRunning else _("Save soft labels of a Decathlon folder...")
        self.ui.progressBar.visible = isRunning
        self.ui.progressBar.value = 0

    def _showFolderEnd(self) -> None:
        self._showFolder()
        folder = self.logic.folder
        written = _("{count} of {total} soft labels are written.").format(count=len(folder.written), total=folder.total)
        _say(self.ui.fileMessage, "\n".join([written, *folder.failures]))

    def _timer(self, milliseconds: int, do):
        timer = qt.QTimer(self.widget)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.connect("timeout()", do)
        return timer


@contextlib.contextmanager
def _explained(label):
    """What is raised within is a sentence in the label, which is empty without it."""
    _say(label, "")
    try:
        yield
    except UserError as error:
        _say(label, str(error))
    except ImportError as error:
        _say(label, _("The Python package {name} is missing; install it first.").format(name=error.name))
    except MemoryError:
        _say(label, _("The memory is not enough for this label; close other data first."))
    except Exception:
        logging.exception("Soft border")
        _say(label, _("Unexpected error; your data is as it was, see the Python console."))


def _say(label, sentence: str) -> None:
    label.text = sentence
    label.visible = bool(sentence)


def _rounded(number: float | None, decimals: int) -> str:
    """The number in digits; NOTHING where there is none, as of a contour that is not there."""
    return NOTHING if number is None else f"{number:.{decimals}f}"


def _legend() -> str:
    """Rich text: the color bar of the overlay and the colors of the two contours, on dark as over a CT."""
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
