"""The measures of a comparison: what each is called, what it means, and how it is written."""

from dataclasses import dataclass

from slicer.i18n import tr as _


@dataclass(frozen=True)
class Measure:
    """One line of the results.

    Attributes:
        key: its attribute of ``SpleenSmoothSegLib.metrics.surface.Comparison``.
        decimals: with which it is shown.
        isOfSurface: whether only the library for distances between surfaces can compute it.
    """

    key: str
    name: str
    unit: str
    decimals: int
    meaning: str
    isOfSurface: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def text(self, value: float | None) -> str:
        return "-" if value is None else f"{value:.{self.decimals}f}"


def measures() -> list[Measure]:
    """All, in the order in which they are shown."""
    return [
        Measure("dice", _("Dice"), "", 4, _("Overlap: twice the common volume over the sum of both. 1 is best.")),
        Measure(
            "precision",
            _("Precision"),
            "",
            4,
            _("Part of the segment that lies in the reference; false positives lower it. 1 is best."),
        ),
        Measure(
            "recall",
            _("Recall"),
            "",
            4,
            _("Part of the reference that the segment covers; false negatives lower it. 1 is best."),
        ),
        Measure(
            "hd95_mm",
            _("HD95"),
            "mm",
            2,
            _(
                "95th percentile of the Hausdorff distance: 95 % of either surface is no farther from the other. "
                "0 is best."
            ),
            isOfSurface=True,
        ),
        Measure(
            "assd_mm",
            _("ASSD"),
            "mm",
            2,
            _("Average symmetric surface distance: the mean distance from one surface to the other. 0 is best."),
            isOfSurface=True,
        ),
        Measure(
            "surface_dice_1mm",
            _("Surface Dice at 1 mm"),
            "",
            4,
            _("Part of both surfaces that lies within 1 mm of the other (also called NSD). 1 is best."),
            isOfSurface=True,
        ),
        Measure(
            "surface_dice_2mm",
            _("Surface Dice at 2 mm"),
            "",
            4,
            _("Part of both surfaces that lies within 2 mm of the other (also called NSD). 1 is best."),
            isOfSurface=True,
        ),
        Measure("volume_ml", _("Volume of the segment"), "mL", 2, _("Volume of what is judged.")),
        Measure("label_volume_ml", _("Volume of the reference"), "mL", 2, _("Volume of what it is compared with.")),
        Measure(
            "volume_difference_ml",
            _("Volume difference"),
            "mL",
            2,
            _("Volume of the segment minus that of the reference."),
        ),
        Measure(
            "volume_difference_percent",
            _("Volume difference"),
            "%",
            2,
            _("Volume difference as a part of the volume of the reference."),
        ),
    ]
