"""Comparison of a segment with a reference: measures, errors by height, and surface distances."""

import csv
import math
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError

from ..shared.packages import forComparing
from ..shared.widgets import Label
from .result import Result, formatted, isSameLattice, measures, remarksOn
from .scene import CompareScene
from .surface import signedDistances, smoothSurface

ERRORS_BY_HEIGHT = "height_mm", "relative_height", "false_negative_ml", "false_positive_ml"


class CompareLogic(VTKObservationMixin):
    """Compares the two chosen labels, and stores the result in the scene.

    Args:
        packages: the ``Packages`` for surface distances; by default those of this module.
    """

    def __init__(self, packages=None):
        super().__init__()
        self.onChanged = lambda: None  # called when a chosen label has changed since the comparison
        self._packages = packages or forComparing()
        self._scene = CompareScene()
        self._labels = Label(), Label()
        self._voxelTimes = {}  # by volume node: modified time of its voxels

    def choose(self, segment: Label, reference: Label) -> None:
        """Set the labels to compare."""
        self._labels, self._voxelTimes = (segment, reference), {}
        self.removeObservers()
        for node in {label.node for label in self._labels} - {None}:
            self._observe(node)

    def obstacle(self) -> str:
        """Why the chosen labels cannot be compared; "" if they can."""
        for label in self._labels:
            if label.isInScene() and not label.exists():
                return _('"{name}" has no segment; choose another segmentation.').format(name=label.node.GetName())
        if not all(label.exists() for label in self._labels):
            return _("Choose a segment and a reference.")
        if self._labels[0] == self._labels[1]:
            return _("Segment and reference are the same; choose another segment or reference.")
        return ""

    # Comparing

    def missingPackages(self) -> list[str]:
        return self._packages.missing()

    def installPackages(self) -> None:
        """Install the packages for surface distances if the user agrees; raises UserError if still missing."""
        self._packages.ensure()

    def compare(self) -> None:
        """Compare the chosen labels; raises UserError, and then leaves the scene unchanged."""
        from SpleenSmoothSegLib.metrics.surface import compare_masks, errors_by_height

        if obstacle := self.obstacle():
            raise UserError(obstacle)
        segment, reference = self._labels
        mask, label = segment.image(), reference.image()
        comparison = compare_masks(mask, label)
        errors = errors_by_height(mask, label)
        remarks = remarksOn(comparison, errors, isSameLattice(mask, label))
        surface = smoothSurface(mask)
        distances = signedDistances(surface, smoothSurface(label))

        self._scene.storeErrors(errors.height_mm, errors.false_negative_ml, errors.false_positive_ml)
        self._scene.storeSurface(
            _("Distance of {segment} to {reference}").format(segment=segment.name, reference=reference.name),
            surface,
            distances,
            segment.node.GetParentTransformNode(),
        )
        values = [(measure.title, getattr(comparison, measure.key)) for measure in measures()]
        rows = [(title, math.nan if value is None else value) for title, value in values]
        self._scene.storeNumbers(self._labels, rows, remarks)

    def result(self) -> Result | None:
        """The result for the chosen labels; None if not compared, changed since then, or deleted."""
        if self.obstacle() or self._scene.errors() is None:
            return None
        kept = self._scene.numbersOf(self._labels)
        if kept is None or len(kept[0]) != len(measures()):  # in a scene saved by another version of this module
            return None
        numbers, remarks = kept
        values = [None if math.isnan(number) else number for number in numbers]
        names = [label.name for label in self._labels]
        return Result(*names, list(zip(measures(), values, strict=True)), remarks)

    def isOutdated(self) -> bool:
        """Whether the chosen labels have changed since they were compared."""
        return not self.obstacle() and self._scene.isOutdated(self._labels)

    # Views

    def showSurface(self, isShown: bool) -> None:
        """Show the colored surface in 3D instead of the surfaces of both segments, or restore these."""
        self._scene.showSurface(isShown)

    def hasSurface(self) -> bool:
        return self._scene.hasSurface()

    def centerOnSurface(self) -> None:
        self._scene.centerOnSurface()

    def showChart(self) -> None:
        """Show the errors of each slice in Slicer's plot view."""
        self._scene.showChart()

    # Files

    def saveCsv(self, path) -> tuple[Path, Path]:
        """Write the measures to ``path``, and the errors of each slice to a second file; returns both paths.

        Each row contains the names of segment and reference, so that files of many cases can be concatenated.
        Raises UserError if they cannot be written, and then keeps existing files.
        """
        from SpleenSmoothSegLib.io.atomic import atomic_write

        path = Path(path)
        pathByHeight = path.with_name(f"{path.stem}_by_height.csv")
        result = self.result()
        names = result.segment, result.reference
        numbers = [(*names, measure.key, formatted(value), measure.unit) for measure, value in result.values]
        errors = self._scene.errors()
        top = errors[-1][0] or 1.0
        slices = [(*names, *map(formatted, (height, height / top, *volumes))) for height, *volumes in errors]
        with atomic_write(path) as temporary, atomic_write(pathByHeight) as temporaryByHeight:
            _write(temporary, ("segment", "reference", "measure", "value", "unit"), numbers)
            _write(temporaryByHeight, ("segment", "reference", *ERRORS_BY_HEIGHT), slices)
        return path, pathByHeight

    # Changes of the labels

    def _observe(self, node) -> None:
        if node.IsA("vtkMRMLSegmentationNode"):
            self.addObserver(node, slicer.vtkSegmentation.SourceRepresentationModified, self._onVoxels)
            self.addObserver(node, slicer.vtkSegmentation.SegmentRemoved, self._onVoxels)
        else:
            self._voxelTimes[node] = _voxelTime(node)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onVolume)
        self.addObserver(node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._onTransform)

    def _onVoxels(self, _caller, _event) -> None:
        self._scene.outdate()
        self.onChanged()

    def _onVolume(self, node, event) -> None:
        """Ignores changes of other properties than the voxels, such as the name."""
        if _voxelTime(node) != self._voxelTimes[node]:
            self._voxelTimes[node] = _voxelTime(node)
            self._onVoxels(node, event)

    def _onTransform(self, node, event) -> None:
        """Ignores a transform that moves both labels."""
        parents = {label.node and label.node.GetParentTransformNode() for label in self._labels}
        if len(parents) > 1:
            self._onVoxels(node, event)


def _voxelTime(volumeNode) -> int:
    """The modified time of the voxels; 0 without any."""
    voxels = volumeNode.GetImageData()
    return voxels.GetMTime() if voxels else 0


def _write(path: Path, header, rows) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
