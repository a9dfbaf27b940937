"""The result of a run as the panel shows it and a saved scene keeps it."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import vtk
from slicer.i18n import tr as _

from SpleenSmoothSegLib.inference.result import SegmentationResult

from ..shared.widgets import formatNumber


@dataclass(frozen=True)
class PlacedResult:
    """A result, and where it was measured.

    Attributes:
        result: the measures; its points refer to the position of the CT at that time.
        ct: name of the CT.
        model: name of the ensemble.
        lpsToIjk: 4 x 4 matrix from these points (world LPS, mm) to the CT's (column, row, slice).
    """

    result: SegmentationResult
    ct: str
    model: str
    lpsToIjk: list[list[float]]

    def toText(self) -> str:
        return json.dumps({**asdict(self), "result": self.result.to_dict()})

    @classmethod
    def fromText(cls, text: str) -> "PlacedResult | None":
        """The inverse of ``toText``; None for any other text, as from another version."""
        try:
            values = json.loads(text)
            return cls(**{**values, "result": SegmentationResult.from_dict(values["result"])})
        except (ValueError, TypeError, KeyError):
            return None

    def worldPoint(self, volumeNode, pointLps) -> list[float]:
        """World RAS (mm) of a point of the result, also after the CT was moved."""
        ijkToRas, world = vtk.vtkMatrix4x4(), [0.0, 0.0, 0.0]
        volumeNode.GetIJKToRASMatrix(ijkToRas)
        local = ijkToRas.MultiplyPoint(np.array(self.lpsToIjk) @ [*pointLps, 1])[:3]
        volumeNode.TransformPointToWorld(local, world)
        return world

    def rows(self) -> list[tuple[str, str]]:
        """Title and value of each row of the table."""
        result = self.result
        agreement = None if result.fold_agreement is None else 100 * result.fold_agreement
        return [
            (_("CT"), self.ct),
            (_("Volume (mL)"), formatNumber(result.volume_ml)),
            (_("Extent right to left (mm)"), formatNumber(result.extent_rl_mm)),
            (_("Extent anterior to posterior (mm)"), formatNumber(result.extent_ap_mm)),
            (_("Extent inferior to superior (mm)"), formatNumber(result.extent_si_mm)),
            (_("Longest diameter (mm)"), formatNumber(result.longest_mm)),
            (_("Fold agreement (%)"), formatNumber(agreement)),
            (_("Model"), self.model),
            (_("Device"), result.device.upper()),
            (_("Time (s)"), formatNumber(result.seconds)),
        ]

    def asTable(self) -> str:
        """The rows as text for a spreadsheet, with tabs between the columns."""
        return "\n".join("\t".join(row) for row in self.rows())


def lpsToIjk(image, volumeNode) -> list[list[float]]:
    """From world LPS to the volume's (column, row, slice), for an image (SimpleITK) of all its voxels."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    ijk = np.linalg.inv(matrix)
    ijk[:3, 3] += volumeNode.GetImageData().GetExtent()[::2]  # a volume need not count from 0
    return ijk.tolist()
