"""The result of a comparison: the measures with their definitions, their values, and remarks on them."""

import math
from dataclasses import dataclass

from slicer.i18n import tr as _

TOLERANCE = 1e-3  # voxels
TIP = 0.25  # fraction of the height at the bottom and at the top, where the paper reports most errors


@dataclass(frozen=True)
class Measure:
    """One row of the results.

    Attributes:
        key: the attribute of ``SpleenSmoothSegLib.metrics.surface.Comparison``.
        decimals: number of decimals shown.
        needsPackage: whether it needs the Python package for surface distances.
    """

    key: str
    name: str
    unit: str
    decimals: int
    definition: str
    needsPackage: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name


def measures() -> list[Measure]:
    """All measures, in the order in which they are shown."""
    surfaceDice = _("Fraction of both surfaces within {tolerance} mm of the other (also called NSD). 1 is best.")
    return [
        Measure("dice", _("Dice"), "", 4, _("Twice the common volume divided by the sum of both volumes. 1 is best.")),
        Measure(
            "precision",
            _("Precision"),
            "",
            4,
            _("Fraction of the segment that is in the reference; false positives lower it. 1 is best."),
        ),
        Measure(
            "recall",
            _("Recall"),
            "",
            4,
            _("Fraction of the reference that is in the segment; false negatives lower it. 1 is best."),
        ),
        Measure(
            "hd95_mm",
            _("HD95"),
            "mm",
            2,
            _(
                "95th percentile of the Hausdorff distance: 95 % of each surface is within this distance of the other. "
                "0 is best."
            ),
            needsPackage=True,
        ),
        Measure(
            "assd_mm",
            _("ASSD"),
            "mm",
            2,
            _("Average symmetric surface distance: mean distance from each surface to the other. 0 is best."),
            needsPackage=True,
        ),
        Measure("surface_dice_1mm", _("Surface Dice at 1 mm"), "", 4, surfaceDice.format(tolerance=1), True),
        Measure("surface_dice_2mm", _("Surface Dice at 2 mm"), "", 4, surfaceDice.format(tolerance=2), True),
        Measure("volume_ml", _("Volume of the segment"), "mL", 2, _("On the grid of the segment.")),
        Measure("label_volume_ml", _("Volume of the reference"), "mL", 2, _("On the grid of the reference.")),
        Measure(
            "volume_difference_ml",
            _("Volume difference"),
            "mL",
            2,
            _("Volume of the segment minus volume of the reference."),
        ),
        Measure(
            "volume_difference_percent",
            _("Volume difference"),
            "%",
            2,
            _("Volume difference relative to the volume of the reference."),
        ),
    ]


@dataclass(frozen=True)
class Result:
    """Names of segment and reference, each measure with its value (None: not computed), and remarks, one per line."""

    segment: str
    reference: str
    values: list[tuple[Measure, float | None]]
    remarks: str

    def asTable(self) -> str:
        """The result to paste into a spreadsheet: a line per measure, with a tab between title and value."""
        rows = [(_("Segment"), self.segment), (_("Reference"), self.reference)]
        rows += [(measure.title, formatted(value)) for measure, value in self.values]
        return "\n".join("\t".join(row) for row in rows) + "\n"


def formatted(value: float | None) -> str:
    """The value for other programs; "" for None."""
    return "" if value is None else f"{value:.6g}"


def remarksOn(comparison, errors, isSameLattice: bool) -> str:
    """Remarks on a ``Comparison`` and its ``ErrorsByHeight``, one per line."""
    remarks = []
    missing = [m.title for m in measures() if m.needsPackage and getattr(comparison, m.key) is None]
    if missing:
        remarks.append(
            _("Not computed, because a Python package is not installed: {names}.").format(names=", ".join(missing))
        )
    if not isSameLattice:
        remarks.append(
            _("The grids differ; the segment was resampled to the grid of the reference (nearest neighbor).")
        )
    if comparison.dice == 0:
        remarks.append(_("Segment and reference do not overlap; check that both belong to the same CT."))
    else:
        remarks += _remarksOnHeight(errors)
    return "\n".join(remarks)


def isSameLattice(first, second) -> bool:
    """Whether the voxel centers of two images (``sitk.Image``) coincide, apart from the extent of the images."""
    if not math.isclose(math.prod(first.GetSpacing()), math.prod(second.GetSpacing()), rel_tol=TOLERANCE):
        return False
    for voxel in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        point = first.TransformContinuousIndexToPhysicalPoint([float(index) for index in voxel])
        index = second.TransformPhysicalPointToContinuousIndex(point)
        if any(abs(coordinate - round(coordinate)) > TOLERANCE for coordinate in index):
            return False
    return True


def _remarksOnHeight(errors) -> list[str]:
    """How much of the errors is at the bottom and the top of the reference, and beyond it."""
    slices = list(zip(errors.relative_height, errors.false_negative_ml, errors.false_positive_ml, strict=True))
    beyond = errors.false_positive_below_ml + errors.false_positive_above_ml
    total = beyond + sum(missing + extra for _height, missing, extra in slices)
    atTips = beyond + sum(missing + extra for height, missing, extra in slices if not TIP <= height <= 1 - TIP)
    remarks = []
    if total > 0:
        remarks.append(
            _("{percent} % of the errors are in or beyond the lowest and highest quarters of the reference.").format(
                percent=f"{100 * atTips / total:.0f}"
            )
        )
    if beyond > 0:
        remarks.append(
            _("{below} mL of the segment are below and {above} mL above the reference, outside the plot.").format(
                below=f"{errors.false_positive_below_ml:.2f}", above=f"{errors.false_positive_above_ml:.2f}"
            )
        )
    return remarks
