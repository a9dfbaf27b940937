"""Time of one update of the soft border preview while its slider is dragged, on the label of bench_borders.py.

    python Testing/Benchmarks/bench_preview_update.py

Needs slicer-core and PyQt5. An update is everything before the views render: soft label, volume node, 0.5 contour,
slice views. The ratio is its time over that of the same on the whole 512 x 512 x 100 grid. "Numbers" are computed when
the slider rests.
"""

import sys
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
for _folder in (str(TESTING), str(TESTING / "Helpers"), str(TESTING.parent / "SpleenSmoothSeg")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

import standin

standin.start()
standin.newScene()

import SimpleITK as sitk
import slicer

from Benchmarks.bench_borders import SPACING, best_ms, spleen_like
from slicer_scene import add_volume
from SpleenSmoothSegLib.border.kernels import Border, smooth_border
from SpleenSmoothSegLib.mrml import addSpleenSegment, setVoxels, surfaceOf
from SpleenSmoothSegPanels.border.logic import BorderLogic
from SpleenSmoothSegPanels.shared.widgets import Label

KERNELS = ("gaussian", "box", "svls", "boundary_uncertainty", "signed_distance")
WIDTHS = (1.5, 4.0, 10.0)  # mm
SMALLEST_STEP = 1e-6  # mm: a different border with the same work


def main() -> None:
    label = sitk.GetImageFromArray(spleen_like().astype("uint8"))
    label.SetSpacing(SPACING[::-1])
    ct = add_volume(slicer.mrmlScene, sitk.Cast(label, sitk.sitkInt16))
    segment = Label(*addSpleenSegment(label, ct))
    logic = BorderLogic()
    overlay = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    contour = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")

    def update(border: Border, step: int) -> None:
        another = Border(border.kernel, border.width - step * SMALLEST_STEP, border.unit, border.plane)
        logic.show(segment, ct, another, 0.5)

    def update_whole(border: Border) -> None:
        soft = smooth_border(label, border)
        setVoxels(overlay, soft)
        contour.SetAndObservePolyData(surfaceOf(soft))

    print(f"{'border':32}{'update':>11}{'whole grid':>14}{'ratio':>8}{'numbers':>11}")
    for kernel in KERNELS:
        for plane in ("2d", "3d"):
            for width in WIDTHS:
                border = Border(kernel, width, "mm", plane)
                steps = iter(range(100))
                ours = best_ms(lambda border=border, steps=steps: update(border, next(steps)))
                numbers = best_ms(logic.measure, times=2)
                whole = best_ms(lambda border=border: update_whole(border), times=2)
                print(f"{str(border):32}{ours:8.0f} ms{whole:11.0f} ms{ours / whole:8.3f}{numbers:8.0f} ms", flush=True)


if __name__ == "__main__":
    main()
