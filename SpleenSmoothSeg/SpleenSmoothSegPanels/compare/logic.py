"""How a segment differs from a reference: in numbers, over the height of the organ, and on its surface."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SpleenSmoothSegLib.errors import UserError

from ..shared.packages import forComparing
from ..shared.widgets import Label
from .measures import Measure, measures
from .notes import notesOn, shareLattice
from .scene import CompareScene
from .surface import signedDistances, surface

ERRORS_BY_HEIGHT = "height_mm", "relative_height", "false_negative_ml", "false_positive_ml"


@dataclass(frozen=True)
class Result:
    """Names of the two labels, each measure with its value (None: not computed), and what is to be said about them."""

    segment: str
    reference: str
    values: list[tuple[Measure, float | None]]
    notes: str


class CompareLogic(VTKObservationMixin):
    """Compares the two labels that were chosen, and keeps what it finds in the scene.

    Args:
        packages: what of Python the distances between surfaces need; the ``Packages`` of this module without it.
    """

    def __init__(self, packages=None):
        super().__init__()
        self.onChanged = lambda: None  # called when what was chosen is no longer what was compared
        self._packages = packages or forComparing()
        self._scene = CompareScene()
        self._labels = Label(), Label()
        self._voxelsOf = {}  # by volume node, when its voxels were written

    def choose(self, segment: Label, reference: Label) -> None:
        """Take what is judged and what it is compared with."""
        self._labels, self._voxelsOf = (segment, reference), {}
        self.removeObservers()
        for node in {label.node for label in self._labels} - {None}:
            self._watch(node)

    def obstacle(self) -> str:
        """Why the labels that are chosen cannot be compared, in a sentence; "" if they can."""
        for label in self._labels:
            if label.isInScene() and not label.exists():
                return _('"{name}" has no segment; choose another segmentation.').format(name=label.node.GetName())
        if not all(label.exists() for label in self._labels):
            return _("Choose a segment, and the reference to compare it with.")
        if self._labels[0] == self._labels[1]:
            return _("This compares a segment with itself; choose another segment or reference.")
        return ""

    # Comparing

    def missingPackages(self) -> list[str]:
        return self._packages.missing()

    def installPackages(self) -> None:
        """Ask the user and install what the distances between surfaces need; raises UserError where it is not there."""
        self._packages.ensure()

    def compare(self) -> None:
        """Compute all that can be computed; raises UserError, and then the scene is as it was."""
        from SpleenSmoothSegLib.metrics.surface import compare_masks, errors_by_height

        if obstacle := self.obstacle():
            raise UserError(obstacle)
        segment, reference = self._labels
        mask, label = segment.image(), reference.image()
        comparison = compare_masks(mask, label)
        errors = errors_by_height(mask, label)
        measured = surface(mask)
        distances = signedDistances(measured, surface(label))

        values = [(measure, getattr(comparison, measure.key)) for measure in measures()]
        notes = notesOn(comparison, errors, values, shareLattice(mask, label))
        self._scene.keepErrors(errors.height_mm, errors.false_negative_ml, errors.false_positive_ml)
        self._scene.keepSurface(
            _("Distance of {segment} to {reference}").format(segment=segment.name, reference=reference.name),
            measured,
            distances,
            segment.node.GetParentTransformNode(),
        )
        rows = [(measure.title, math.nan if value is None else value) for measure, value in values]
        self._scene.keepNumbers(self._labels, rows, notes)

    def result(self) -> Result | None:
        """What was found of the chosen labels; None where nothing was, they have changed since, or it is deleted."""
        if self.obstacle() or self._scene.errors() is None:
            return None
        found = self._scene.numbersOf(self._labels)
        if found is None or len(found[0]) != len(measures()):  # another version of this module may have written it
            return None
        numbers, notes = found
        values = [None if math.isnan(number) else number for number in numbers]
        names = [label.name for label in self._labels]
        return Result(*names, list(zip(measures(), values, strict=True)), notes)

    def isOutdated(self) -> bool:
        """Whether these labels were compared, and have changed since."""
        return not self.obstacle() and self._scene.isOutdated(self._labels)

    # What is shown

    def showSurface(self, isShown: bool) -> None:
        """Show the colored surface in 3D in place of the two segments, or these again."""
        self._scene.showSurface(isShown)

    def hasSurface(self) -> bool:
        return self._scene.hasSurface()

    def centerOnSurface(self) -> None:
        self._scene.centerOnSurface()

    def showChart(self) -> None:
        """Bring up Slicer's plot view with the errors of each slice."""
        self._scene.showChart()

    # Text

    def asText(self) -> str:
        """The result as a spreadsheet takes it: a line for each measure, a tab between title and value."""
        result = self.result()
        rows = [(_("Segment"), result.segment), (_("Reference"), result.reference)]
        rows += [(measure.title, _number(value)) for measure, value in result.values]
        return "\n".join("\t".join(row) for row in rows) + "\n"

    def saveCsv(self, path) -> tuple[Path, Path]:
        """Write the measures to ``path`` and the errors of each slice beside it; returns the paths of both.

        Both have a header, and name segment and reference in each line, so that files of many cases can be joined.
        Raises UserError where they cannot be written; then whatever stood there before still does.
        """
        from SpleenSmoothSegLib.io.atomic import atomic_write

        path = Path(path)
        beside = path.with_name(f"{path.stem}_by_height.csv")
        result = self.result()
        names = result.segment, result.reference
        numbers = [(*names, measure.key, _number(value), measure.unit) for measure, value in result.values]
        errors = self._scene.errors()
        top = errors[-1][0] or 1.0
        slices = [(*names, *map(_number, (height, height / top, *volumes))) for height, *volumes in errors]
        with atomic_write(path) as aside, atomic_write(beside) as asideToo:
            _write(aside, ("segment", "reference", "measure", "value", "unit"), numbers)
            _write(asideToo, ("segment", "reference", *ERRORS_BY_HEIGHT), slices)
        return path, beside

    # Changes

    def _watch(self, node) -> None:
        if node.IsA("vtkMRMLSegmentationNode"):
            self.addObserver(node, slicer.vtkSegmentation.SourceRepresentationModified, self._onVoxels)
            self.addObserver(node, slicer.vtkSegmentation.SegmentRemoved, self._onVoxels)
        else:
            self._voxelsOf[node] = _modifiedTime(node)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onVolume)
        self.addObserver(node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._onTransform)

    def _onVoxels(self, _caller, _event) -> None:
        self._scene.outdate()
        self.onChanged()

    def _onVolume(self, node, event) -> None:
        """Its voxels are others, or only its name or its file."""
        if _modifiedTime(node) != self._voxelsOf[node]:
            self._voxelsOf[node] = _modifiedTime(node)
            self._onVoxels(node, event)

    def _onTransform(self, node, event) -> None:
        """Two that are moved as one differ as before."""
        parents = {label.node and label.node.GetParentTransformNode() for label in self._labels}
        if len(parents) > 1:
            self._onVoxels(node, event)


def _modifiedTime(volumeNode) -> int:
    """When voxels were written last; 0 without any."""
    voxels = volumeNode.GetImageData()
    return voxels.GetMTime() if voxels else 0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _write(path: Path, header, rows) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
