"""Time of each border kernel on a 512 x 512 x 100 label with a spleen-like ellipsoid (100 x 80 x 40 voxels).

    python Testing/Benchmarks/bench_borders.py

``soften`` is the array function; ``smooth_border``, the image function, spends most of its time on allocating a whole
float32 image (105 MB). The ratio is soften's time over that of scipy.ndimage.gaussian_filter, sigma (0, s, s), on the
whole array.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

MODULE = str(Path(__file__).resolve().parents[2] / "SpleenSmoothSeg")
if MODULE not in sys.path:
    sys.path.insert(0, MODULE)

from SpleenSmoothSegLib.border.kernels import Border, smooth_border, soften

SPACING = (2.5, 0.8, 0.8)  # slice, row, column in mm, as in an abdominal CT
BORDERS = (
    "none",
    "gaussian:1.5mm",
    "box:3px",
    "svls:1px",
    "boundary_uncertainty:1px",
    "signed_distance:4mm",
    "gaussian:1.5mm:3d",
    "box:3px:3d",
    "svls:1px:3d",
    "boundary_uncertainty:1px:3d",
    "signed_distance:4mm:3d",
)


def spleen_like() -> np.ndarray:
    slices, rows, columns = np.ogrid[:100, :512, :512]
    return ((slices - 50) / 20) ** 2 + ((rows - 250) / 40) ** 2 + ((columns - 350) / 50) ** 2 <= 1


def best_ms(work: Callable[[], object], times: int = 5) -> float:
    """Shortest of several runs in ms, which is least disturbed by other processes."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return 1000 * min(run() for _ in range(times))


def main() -> None:
    mask = spleen_like()
    label = sitk.GetImageFromArray(mask.astype(np.uint8))
    label.SetSpacing(SPACING[::-1])
    sigma = (0, 1.5 / SPACING[1], 1.5 / SPACING[2])
    whole = best_ms(lambda: ndimage.gaussian_filter(mask, sigma, output=np.float32), times=2)
    print(f"{'scipy gaussian_filter, whole array':36}{whole:8.1f} ms")
    print(f"{'border':36}{'soften':>11}{'ratio':>8}{'smooth_border':>17}")
    for border in map(Border.parse, BORDERS):
        array = best_ms(lambda border=border: soften(mask, SPACING, border))
        image = best_ms(lambda border=border: smooth_border(label, border))
        print(f"{str(border):36}{array:8.1f} ms{array / whole:8.3f}{image:14.1f} ms")


if __name__ == "__main__":
    main()
