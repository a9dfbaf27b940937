"""What a run of Segment found: the numbers that the panel shows and that a saved scene keeps."""

import json
from dataclasses import asdict, dataclass

from slicer.i18n import tr as _


@dataclass(frozen=True)
class SegmentResult:
    """Attributes:
    ct: name of the CT.
    extent_mm: from right to left, from front to back, from bottom to top.
    longest_mm: the largest distance between two points of the spleen.
    agreement: mean Dice between the masks of two folds, 0 to 1.
    seconds: that the user waited.
    device: what the folds ran on.
    model: name of the ensemble.
    center: of the spleen, in the volume's own RAS (before its transforms), mm.
    uncertainPlaces: where the folds disagree, the worst first; points as ``center``.
    """

    ct: str
    volume_ml: float
    extent_mm: tuple[float, float, float]
    longest_mm: float
    agreement: float
    seconds: float
    device: str
    model: str
    center: tuple[float, float, float]
    uncertainPlaces: tuple[tuple[float, float, float], ...] = ()

    def toText(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def fromText(cls, text: str) -> "SegmentResult | None":
        """What ``toText`` gave; None for what is none, as in a scene that something else has written."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def rows(self) -> list[tuple[str, str]]:
        """For each line of the table what it tells, and the number."""
        across, deep, high = self.extent_mm
        return [
            (_("CT"), self.ct),
            (_("Volume (mL)"), f"{self.volume_ml:.1f}"),
            (_("Extent right to left (mm)"), f"{across:.1f}"),
            (_("Extent anterior to posterior (mm)"), f"{deep:.1f}"),
            (_("Extent inferior to superior (mm)"), f"{high:.1f}"),
            (_("Longest length (mm)"), f"{self.longest_mm:.1f}"),
            (_("Agreement of the folds (%)"), f"{100 * self.agreement:.1f}"),
            (_("Model"), self.model),
            (_("Device"), self.device.upper()),
            (_("Time (s)"), f"{self.seconds:.1f}"),
        ]

    def asTable(self) -> str:
        """The table as text that a spreadsheet takes: tabs between columns."""
        return "\n".join("\t".join(row) for row in self.rows())
