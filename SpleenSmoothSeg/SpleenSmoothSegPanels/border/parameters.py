"""The settings of the Soft border preview that are stored in the scene, and their texts in the panel."""

import enum
from typing import Annotated, Union

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

MAX_WIDTH = 10.0  # mm or px, of the slider


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
            Kernel.box: _("Box mean (box)"),
            Kernel.svls: _("Spatially varying label smoothing (svls)"),
            Kernel.boundary_uncertainty: _("Boundary uncertainty (boundary_uncertainty)"),
            Kernel.signed_distance: _("Signed distance (signed_distance)"),
            Kernel.none: _("No smoothing (none)"),
        }[self]

    def explanation(self) -> str:
        return {
            Kernel.gaussian: _("Gaussian filter. Width: standard deviation."),
            Kernel.box: _("Mean over a box. Width: full edge length of the box."),
            Kernel.svls: _(
                "Half the voxel's own value, half the Gaussian mean of its neighbors (Islam and Glocker 2021). Width: "
                "standard deviation."
            ),
            Kernel.boundary_uncertainty: _(
                "0.9 in an inner rim, 0.1 in an outer rim (Yeung et al. 2021). Width: thickness of one rim."
            ),
            Kernel.signed_distance: _("Logistic function of the distance to the border. Width: from 0.1 to 0.9."),
            Kernel.none: _("The label is not smoothed. The width is ignored."),
        }[self]


class Unit(enum.Enum):
    """The units of ``SpleenSmoothSegLib.border.kernels``, by name."""

    mm = 0
    px = 1

    def label(self) -> str:
        return {Unit.mm: _("mm"), Unit.px: _("voxels (px)")}[self]


class Plane(enum.Enum):
    """The planes of ``SpleenSmoothSegLib.border.kernels``, by value."""

    in_plane = "2d"
    through_plane = "3d"

    def label(self) -> str:
        return {Plane.in_plane: _("In-plane (2d)"), Plane.through_plane: _("In-plane and through-plane (3d)")}[self]


@parameterNodeWrapper
class BorderParameters:
    borderNode: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    borderId: str
    borderCtNode: vtkMRMLScalarVolumeNode
    borderKernel: Kernel = Kernel.gaussian
    borderWidth: Annotated[float, WithinRange(0, MAX_WIDTH)] = 1.5
    borderUnit: Unit = Unit.mm
    borderPlane: Plane = Plane.in_plane
    borderPreview: bool = False
    borderOpacity: Annotated[float, WithinRange(0, 1)] = 0.5
