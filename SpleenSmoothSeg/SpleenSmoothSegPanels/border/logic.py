"""The soft border of a label: what it looks like, what it does to the label, and soft labels on disk."""

import math
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError

from .scene import BorderScene
from .softlabelfolder import SoftLabelFolder

WIDEST = 10.0  # mm or px: what the panel offers
SUFFIX = ".nii.gz"


class BorderLogic(VTKObservationMixin):
    """Previews and writes the soft label that training would make of a label. Label and CT are never changed.

    A label is a segmentation node and a segment id, or a labelmap volume node and "". The CT it lies on says on which
    grid it is softened; without one (None) that is the label's own. A border is text as train.py takes it, such as
    "gaussian:1.5mm". Every UserError says in one sentence what is wrong and what to do.
    """

    def __init__(self):
        super().__init__()
        self.onLabelChanged = lambda: None  # called when the label, or the place of its CT, has changed
        self.folder = SoftLabelFolder()
        self._scene = BorderScene()
        self._forget()

    # Preview

    def show(self, node, segmentId: str, ctNode, border: str, opacity: float) -> bool:
        """Lay the soft label over the slice views, with its 0.5 contour and that of the label itself.

        Returns whether the soft label is another than before. Raises UserError, and then nothing is shown; once the
        label has changed, it may be worth another try.
        """
        try:
            self._load(node, segmentId, ctNode)
            isNew = self._soften(border)
            self._scene.layOver(node, segmentId, opacity)
        except BaseException:
            self._forget()
            self._scene.remove()
            raise
        return isNew

    def hide(self) -> None:
        """Take the preview away, and show again what was there before it."""
        self.removeObservers()
        self._forget()
        self._scene.remove()

    def measure(self):
        """Draw the profile of the border that is shown, and measure what the border does to the label.

        Returns the numbers (``bordereffect.BorderEffect``) and sentences that say what they mean for training.
        """
        from SpleenSmoothSegLib.border.effect import describe_effect

        effect = self._preview.effect(self._border, self._soft)
        self._scene.updateProfile(str(self._border), *self._preview.profile(self._border, self._soft))
        return effect, describe_effect(effect, self._border)

    def showProfile(self) -> None:
        """Bring up Slicer's plot view with the profile that `measure` drew, until the preview is hidden."""
        self._scene.showProfile()

    # What the panel offers

    @staticmethod
    def borderText(kernel: str, width: float, unit: str, plane: str) -> str:
        """The border as ``train.py --border`` takes it; raises UserError for one that there is not."""
        from SpleenSmoothSegLib.border.kernels import Border

        return str(Border("none") if kernel == "none" else Border(kernel, width, unit, plane))

    @staticmethod
    def ctOf(node):
        """The CT on which a segmentation was drawn, or None."""
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) if isSegmentation else None

    # Files

    @staticmethod
    def saveSoftLabel(node, segmentId: str, ctNode, border: str, path: str) -> Path:
        """Write the soft label, float32 in [0, 1] on the whole grid of the CT; returns where, with a suffix.

        Raises UserError, and then nothing is written.
        """
        from SpleenSmoothSegLib.border.kernels import Border, smooth_border
        from SpleenSmoothSegLib.io.atomic import atomic_write
        from SpleenSmoothSegLib.io.writing import OUTPUT_SUFFIXES, SEGMENTATION_SUFFIX, write_image

        path = Path(path)
        if not path.suffix:  # a file dialog that does not add one has not asked about the file that there may be
            path = path.with_name(f"{path.name}{SUFFIX}")
            if path.exists():
                raise UserError(_('"{path}" is there already; give another name.').format(path=path))
        if not path.name.endswith(OUTPUT_SUFFIXES) or path.name.endswith(SEGMENTATION_SUFFIX):
            raise UserError(_('"{path}" is no volume by its name; use {suffix}.').format(path=path, suffix=SUFFIX))
        soft = smooth_border(_labelOn(node, segmentId, ctNode), Border.parse(border))
        with atomic_write(path) as aside:
            write_image(soft, aside)
        return path

    # The label that is shown

    def _load(self, node, segmentId: str, ctNode) -> None:
        from SpleenSmoothSegLib.border.effect import BorderPreview
        from SpleenSmoothSegLib.border.kernels import Border

        if (node, segmentId, ctNode) == self._source:
            return
        self._forget()
        self._scene.restore()
        self._observe({node, ctNode} - {None})
        self._preview = BorderPreview(_labelOn(node, segmentId, ctNode))
        self._scene.drawLabel(self._preview.soften(Border("none")))
        self._source = node, segmentId, ctNode

    def _soften(self, border: str) -> bool:
        from SpleenSmoothSegLib.border.kernels import Border

        if self._border == (border := Border.parse(border)):
            return False
        self._soft = self._preview.soften(border)
        self._scene.drawSoftLabel(self._soft)
        self._border = border
        return True

    def _observe(self, nodes) -> None:
        self.removeObservers()
        for node in nodes:
            for event in _changes(node):
                self.addObserver(node, event, self._onChange)

    def _onChange(self, _caller, _event) -> None:
        self._source = None
        self.onLabelChanged()

    def _forget(self) -> None:
        self._source = self._preview = self._border = self._soft = None


def _labelOn(node, segmentId: str, ctNode):
    """The label (``sitk.Image``, 0 and 1) on the grid of the CT, or on its own; raises UserError if that is empty."""
    from SpleenSmoothSegLib.mrml import labelImage

    label = labelImage(node, segmentId, ctNode)
    if _isEmpty(label):
        if ctNode is not None and not _isEmpty(labelImage(node, segmentId)):
            raise UserError(
                _('"{label}" lies outside of "{ct}"; choose the CT it was drawn on.').format(
                    label=node.GetName(), ct=ctNode.GetName()
                )
            )
        raise UserError(_('"{label}" is empty; choose another label.').format(label=node.GetName()))
    return _withRoom(label) if ctNode is None and segmentId else label


def _isEmpty(label) -> bool:
    import SimpleITK as sitk

    return not sitk.GetArrayViewFromImage(label).any()


def _withRoom(label):
    """A label that is cut to its segment, on a grid that the widest border stays within."""
    import SimpleITK as sitk

    from SpleenSmoothSegLib.border.kernels import REACH

    reach = WIDEST * max(REACH.values())
    room = [math.ceil(max(reach, reach / spacing)) for spacing in label.GetSpacing()]
    return sitk.ConstantPad(label, room, room)


def _changes(node) -> list:
    """The events that tell that a label is another, or lies elsewhere."""
    changes = [vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent]
    if node.IsA("vtkMRMLSegmentationNode"):
        return [*changes, slicer.vtkSegmentation.SourceRepresentationModified, slicer.vtkSegmentation.SegmentRemoved]
    return [*changes, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent]
