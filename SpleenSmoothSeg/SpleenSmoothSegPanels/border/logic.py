"""Preview of the soft label of one label, its effect in numbers, and soft labels on disk."""

import math
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError

from ..shared.widgets import Label
from .parameters import MAX_WIDTH
from .scene import BorderScene
from .softlabelfolder import SoftLabelFolder

SUFFIX = ".nii.gz"


class BorderLogic(VTKObservationMixin):
    """Previews and writes the soft label that training would use. Label and CT are never changed.

    The soft label is computed on the grid of ``ctNode``, or on the label's own grid if that is None. Borders are
    ``SpleenSmoothSegLib.border.kernels.Border``.
    """

    def __init__(self):
        super().__init__()
        self.onLabelChanged = lambda: None  # called when the previewed label changes, or it or its CT moves
        self.folder = SoftLabelFolder()
        self._scene = BorderScene()
        self._discard()

    # Preview

    def show(self, label: Label, ctNode, border, opacity: float) -> bool:
        """Show the soft label over the slice views, with its 0.5 contour and the border of the label.

        Returns whether the soft label was recomputed. Raises UserError, and then removes the preview.
        """
        try:
            self._load(label, ctNode)
            isNew = self._soften(border)
            self._scene.show(label, opacity)
        except BaseException:
            self._discard()
            self._scene.remove()
            raise
        return isNew

    def hide(self) -> None:
        """Remove the preview, and restore the views."""
        self.removeObservers()
        self._discard()
        self._scene.remove()

    def measure(self):
        """Plot the profile of the current preview, and measure the effect on the label.

        Returns a ``BorderEffect``, and sentences on what it means for training.
        """
        from SpleenSmoothSegLib.border.effect import describe_effect

        effect = self._preview.effect(self._border, self._soft)
        self._scene.updateProfile(str(self._border), *self._preview.profile(self._border, self._soft))
        return effect, describe_effect(effect, self._border)

    def showProfile(self) -> None:
        """Show the profile plotted by `measure` in Slicer's plot view, until the preview is hidden."""
        self._scene.showProfile()

    @staticmethod
    def ctOf(node):
        """The CT on which a segmentation was drawn; None if unknown."""
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) if isSegmentation else None

    # Files

    @staticmethod
    def saveSoftLabel(label: Label, ctNode, border, path: str) -> Path:
        """Write the soft label, float32 in [0, 1], on the whole grid of the CT.

        Returns the path, with SUFFIX added if it had no suffix. Raises UserError, and then writes nothing.
        """
        from SpleenSmoothSegLib.border.kernels import smooth_border
        from SpleenSmoothSegLib.io.atomic import atomic_write
        from SpleenSmoothSegLib.io.writing import OUTPUT_SUFFIXES, SEGMENTATION_SUFFIX, write_image

        path = Path(path)
        if not path.suffix:
            path = path.with_name(f"{path.name}{SUFFIX}")
            if path.exists():  # the file dialog, which adds no suffix on some systems, did not ask about this file
                raise UserError(_('"{path}" already exists; choose another name.').format(path=path))
        if not path.name.endswith(OUTPUT_SUFFIXES) or path.name.endswith(SEGMENTATION_SUFFIX):
            raise UserError(_('"{path}" is not a volume file name; use {suffix}.').format(path=path, suffix=SUFFIX))
        soft = smooth_border(_labelOnGrid(label, ctNode), border)
        with atomic_write(path) as temporary:
            write_image(soft, temporary)
        return path

    # State of the preview

    def _load(self, label: Label, ctNode) -> None:
        from SpleenSmoothSegLib.border.effect import BorderPreview
        from SpleenSmoothSegLib.border.kernels import Border

        if (label, ctNode) == self._source:
            return
        self._discard()
        self._scene.restore()
        self._observe({label.node, ctNode} - {None})
        self._preview = BorderPreview(_labelOnGrid(label, ctNode))
        self._scene.drawLabel(self._preview.soften(Border("none")))
        self._source = label, ctNode

    def _soften(self, border) -> bool:
        if self._border == border:
            return False
        self._soft = self._preview.soften(border)
        self._scene.drawSoftLabel(self._soft)
        self._border = border
        return True

    def _observe(self, nodes) -> None:
        self.removeObservers()
        for node in nodes:
            for event in _changeEvents(node):
                self.addObserver(node, event, self._onChange)

    def _onChange(self, _caller, _event) -> None:
        self._source = None
        self.onLabelChanged()

    def _discard(self) -> None:
        self._source = self._preview = self._border = self._soft = None


def _labelOnGrid(label: Label, ctNode):
    """The label (``sitk.Image``, 0 and 1) on the grid of the CT, or on its own; raises UserError if it is empty."""
    from SpleenSmoothSegLib.mrml import labelImage

    image = labelImage(*label, ctNode)
    if _isEmpty(image):
        name = label.node.GetName()
        if ctNode is not None and not _isEmpty(labelImage(*label)):
            raise UserError(
                _('"{label}" lies outside of "{ct}"; choose the CT on which it was drawn.').format(
                    label=name, ct=ctNode.GetName()
                )
            )
        raise UserError(_('"{label}" is empty; choose another label.').format(label=name))
    return _padded(image) if ctNode is None and label.isSegment() else image


def _isEmpty(image) -> bool:
    import SimpleITK as sitk

    return not sitk.GetArrayViewFromImage(image).any()


def _padded(image):
    """A segment, which comes cropped to its extent, with room for the widest border."""
    import SimpleITK as sitk

    from SpleenSmoothSegLib.border.kernels import REACH

    reach = MAX_WIDTH * max(REACH.values())
    margin = [math.ceil(max(reach, reach / spacing)) for spacing in image.GetSpacing()]
    return sitk.ConstantPad(image, margin, margin)


def _changeEvents(node) -> list:
    """The events after which a label or its position may differ."""
    events = [vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent]
    if node.IsA("vtkMRMLSegmentationNode"):
        return [*events, slicer.vtkSegmentation.SourceRepresentationModified, slicer.vtkSegmentation.SegmentRemoved]
    return [*events, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent]
