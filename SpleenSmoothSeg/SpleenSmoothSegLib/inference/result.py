"""What the ensemble found on one CT: the same numbers under the same names in JSON, CSV, the panel and Python."""

from dataclasses import asdict, dataclass, fields
from typing import Any

DIGITS = 4  # of a number in a file
MEASURES = ("volume_ml", "extent_rl_mm", "extent_ap_mm", "extent_si_mm", "longest_mm")


@dataclass(frozen=True)
class UncertainPlace:
    """An axial slice to review.

    Attributes:
        point_lps: center of the uncertainty on the slice (LPS, mm).
        area_mm2: area of this slice on which two folds are expected to differ.
    """

    point_lps: tuple[float, float, float]
    area_mm2: float


@dataclass(frozen=True)
class SegmentationResult:
    """Measures of one segmentation. Points are LPS in mm.

    Attributes:
        volume_ml: of the mask.
        fold_volumes_ml: of the masks of the folds.
        fold_agreement: mean pairwise Dice of the folds' masks, 0 to 1; None for a model of one fold.
        extent_rl_mm, extent_ap_mm, extent_si_mm: from right to left, anterior to posterior, inferior to superior.
        longest_mm: the largest distance between two points of the surface.
        center_lps: centroid of the mask; None where it is empty.
        uncertain_places: where the folds disagree, the most uncertain first.
        device: name of the device used.
        dice: Dice against a given label; None without one.
        seconds: from reading the CT to files written; None where nothing was written.
        peak_memory_mb: peak memory of the process; None where the system does not report it.
    """

    volume_ml: float
    fold_volumes_ml: tuple[float, ...]
    fold_agreement: float | None
    extent_rl_mm: float
    extent_ap_mm: float
    extent_si_mm: float
    longest_mm: float
    center_lps: tuple[float, float, float] | None
    uncertain_places: tuple[UncertainPlace, ...]
    device: str
    dice: float | None = None
    seconds: float | None = None
    peak_memory_mb: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values by the names of the attributes, numbers rounded to `DIGITS`."""
        return _rounded(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SegmentationResult":
        """The result of `to_dict`, also after a round trip through JSON.

        Raises ValueError where a value is missing, unknown or of another kind.
        """
        if set(values) != {field.name for field in fields(cls)}:
            raise ValueError(f"not the fields of a result: {sorted(values)}")
        try:
            places = tuple(
                UncertainPlace(_point(place["point_lps"]), float(place["area_mm2"]))
                for place in values["uncertain_places"]
            )
            center = values["center_lps"]
            return cls(
                **{
                    **values,
                    **{name: float(values[name]) for name in MEASURES},
                    "fold_volumes_ml": tuple(map(float, values["fold_volumes_ml"])),
                    "center_lps": None if center is None else _point(center),
                    "uncertain_places": places,
                }
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a result: {error}") from error


def _point(values) -> tuple[float, float, float]:
    x, y, z = map(float, values)
    return x, y, z


def _rounded(value):
    """The value with its floats rounded, as JSON writes it: tuples become lists."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
