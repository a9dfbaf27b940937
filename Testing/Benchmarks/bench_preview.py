"""Time of the soft border preview, and of a comparison, on a 512 x 512 x 100 label with a real spleen.

    python Testing/Benchmarks/bench_preview.py [LABEL]

LABEL is a label file whose nonzero voxels are the spleen; default: the spleen-like ellipsoid of bench_borders.py.
Columns are the soft label, computed while the slider is dragged, and its effect and profile, computed when the slider
is released. The first two lines are one-time costs of a label.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

TESTING = Path(__file__).resolve().parents[1]
for _folder in (str(TESTING), str(TESTING.parent / "SpleenSmoothSeg")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

from Benchmarks.bench_borders import SPACING, best_ms, spleen_like
from SpleenSmoothSegLib.border.effect import BorderPreview
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.metrics.surface import compare_masks, errors_by_height

SLICES = 100
BORDERS = (
    "none",
    "gaussian:1.5mm",
    "gaussian:4mm",
    "gaussian:10mm",
    "box:3px",
    "svls:1px",
    "boundary_uncertainty:1px",
    "signed_distance:4mm",
    "signed_distance:10mm",
    "gaussian:1.5mm:3d",
    "gaussian:4mm:3d",
    "gaussian:10mm:3d",
    "box:3px:3d",
    "svls:1px:3d",
    "boundary_uncertainty:1px:3d",
    "signed_distance:4mm:3d",
    "signed_distance:10mm:3d",
)


def read_label(path: str | None) -> sitk.Image:
    """The highest 100 slices of a label, or the ellipsoid."""
    if path:
        return sitk.ReadImage(path)[:, :, -SLICES:] != 0
    label = sitk.GetImageFromArray(spleen_like().astype(np.uint8))
    label.SetSpacing(SPACING[::-1])
    return label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("label", nargs="?", help="label file; default: an ellipsoid")
    label = read_label(parser.parse_args().label)
    preview = BorderPreview(label)
    print(f"{'new label':36}{best_ms(lambda: BorderPreview(label)):8.1f} ms")
    flat, deep = Border("gaussian", 1.5), Border("gaussian", 1.5, plane="3d")
    first = sum(
        best_ms(lambda border=border: preview.effect(border, preview.soften(border)), 1) for border in (flat, deep)
    )
    print(f"{'first effect, 2d and 3d':36}{first:8.1f} ms")
    print(f"{'border':36}{'soften':>11}{'effect':>11}{'profile':>11}")
    for border in map(Border.parse, BORDERS):
        soft = preview.soften(border)
        softened = best_ms(lambda border=border: preview.soften(border))
        effect = best_ms(lambda border=border, soft=soft: preview.effect(border, soft))
        profile = best_ms(lambda border=border, soft=soft: preview.profile(border, soft))
        print(f"{str(border):36}{softened:8.1f} ms{effect:8.1f} ms{profile:8.1f} ms")

    mask = sitk.BinaryThreshold(preview.soften(deep), 0.5, 1.0)
    for name, work in (
        ("compare_masks", lambda: compare_masks(mask, label)),
        ("errors_by_height", lambda: errors_by_height(mask, label)),
    ):
        print(f"{name:36}{best_ms(work, 3):8.1f} ms")


if __name__ == "__main__":
    main()
