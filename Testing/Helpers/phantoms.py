"""Synthetic CTs and labels with known properties, on any grid."""

from collections.abc import Callable, Sequence
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
LEFT_HANDED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

# Every way to name the axes and their directions, 24 of them left-handed.
ALL_ORIENTATIONS = ["".join(letters) for axes in permutations(("RL", "AP", "IS")) for letters in product(*axes)]
# One for each order of the axes; the first three are right-handed, the others left-handed.
SOME_ORIENTATIONS = ["LSA", "ALS", "SPR", "RPS", "PIL", "IRA"]


def turned(x: float, y: float, z: float, direction: Sequence[float] = AXIAL) -> tuple[float, ...]:
    """`direction` rotated by degrees about each axis of the patient."""
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(*np.deg2rad([x, y, z]).tolist())
    return tuple((np.reshape(rotation.GetMatrix(), (3, 3)) @ np.reshape(direction, (3, 3))).ravel().tolist())


# Obliqueness up to 30 degrees, about each axis and mixed; a left-handed one; a coronal stack, tilted.
SOME_DIRECTIONS = {
    "axial": AXIAL,
    "x10": turned(10, 0, 0),
    "x30": turned(30, 0, 0),
    "y20": turned(0, 20, 0),
    "z25": turned(0, 0, 25),
    "mixed": turned(-14, 22, 17),
    "left-handed": turned(12, 0, -20, LEFT_HANDED),
    "coronal": turned(15, 0, 0, (1, 0, 0, 0, 0, 1, 0, -1, 0)),
}


def phantom(
    value_at: Callable[[np.ndarray], np.ndarray],
    extent: float | Sequence[float] = 120.0,
    spacing: Sequence[float] = (2.0, 2.0, 3.0),
    direction: Sequence[float] = AXIAL,
    center: Sequence[float] = (0.0, 0.0, 0.0),
) -> sitk.Image:
    """An image of about `extent` mm around `center` (LPS, mm); `value_at` gives its values at points (..., 3)."""
    size = [max(2, round(length / step)) for length, step in zip(np.broadcast_to(extent, 3), spacing, strict=True)]
    step = np.reshape(direction, (3, 3)) * spacing
    origin = center - step @ (np.array(size) - 1) / 2
    indices = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    image = sitk.GetImageFromArray(value_at(indices @ step.T + origin).transpose())
    image.SetOrigin(origin.tolist())
    image.SetSpacing([float(length) for length in spacing])
    image.SetDirection(direction)
    return image


def voxel_centers(image: sitk.Image) -> np.ndarray:
    """Coordinates (LPS, mm) of the voxel centers, (slice, row, column, 3)."""
    indices = np.moveaxis(np.indices(image.GetSize()[::-1]), 0, -1)[..., ::-1]
    step = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    return indices @ step.T + image.GetOrigin()


def in_ellipsoid(points: np.ndarray, center: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    return (((points - center) / radii) ** 2).sum(axis=-1) <= 1


def ellipsoid(center=(0.0, 0.0, 0.0), radii=(40.0, 25.0, 45.0), **grid) -> sitk.Image:
    """A label, 1 in the ellipsoid."""
    return phantom(lambda points: in_ellipsoid(points, center, radii).astype(np.uint8), **grid)


SPLEEN = {"center": (52.0, 30.0, 8.0), "radii": (26.0, 18.0, 40.0)}  # on the left, at the back
BONE = {"center": (0.0, 62.0, 0.0), "radii": (10.0, 10.0, 70.0)}
BODY = {"center": (0.0, 0.0, 0.0), "radii": (95.0, 80.0, 400.0)}


def trunk(noise: float = 0.0, extent=(220.0, 190.0, 110.0), **grid) -> sitk.Image:
    """A CT of a trunk: air -1000, soft tissue 40, spleen 150 and spine 600 HU."""

    def hu(points):
        values = np.full(points.shape[:-1], -1000.0)
        for part, value in ((BODY, 40), (BONE, 600), (SPLEEN, 150)):
            values[in_ellipsoid(points, **part)] = value
        return np.round(values + np.random.default_rng(0).normal(0, noise, values.shape)).astype(np.int16)

    return phantom(hu, extent, **grid)


def dice(first: sitk.Image, second: sitk.Image) -> float:
    """Dice of the nonzero voxels of two images of one grid."""
    a, b = (sitk.GetArrayFromImage(image) != 0 for image in (first, second))
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))
