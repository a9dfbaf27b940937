"""The CTs of the benchmark, created once per run in a folder that all measurements read.

standard, 512 x 512 x 78 with slices of 2.5 mm: 60 patches for nnU-Net, 32 windows for MONAI; large, 512 x 512 x
125; tall, 512 x 512 x 600.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "SpleenSmoothSeg" / "Resources" / "SampleData"
SAMPLE_CT, SAMPLE_LABEL = SAMPLE / "ct.nii.gz", SAMPLE / "spleen.nii.gz"
SHARED = REPOSITORY.parent / "shared" / "data" / "Task09_SpleenOpen"
STANDARD_CASE, LARGE_CASE = "spleen_4", "spleen_3"
STANDARD_SLICES, LARGE_SLICES, TALL_SLICES = 78, 125, 600
AIR_HU = -1024


def prepare(folder: str) -> dict:
    """Write standard.mha, its label standard_label.mha, large.mha and tall.mha into `folder`.

    Returns a sentence on each CT ("sentences"), and the paths of all available CTs ("all_cts").
    """
    (standard, label), standard_made = _pair(STANDARD_CASE, STANDARD_SLICES, slice_spacing=2.5)
    (large, _), large_made = _pair(LARGE_CASE, LARGE_SLICES, slice_spacing=1.25)
    tall = with_slices(large, TALL_SLICES)
    held = np.count_nonzero(sitk.GetArrayFromImage(label).any(axis=(1, 2)))
    sitk.WriteImage(sitk.Cast(label, sitk.sitkUInt8), str(Path(folder) / "standard_label.mha"))
    sentences = {
        "standard": f"{standard_made}; {held} slices with spleen",
        "large": large_made,
        "tall": f"the large CT, padded to {TALL_SLICES} slices by mirroring",
    }
    for name, ct in {"standard": standard, "large": large, "tall": tall}.items():
        sitk.WriteImage(sitk.Cast(ct, sitk.sitkInt16), str(Path(folder) / f"{name}.mha"))
        size, spacing = (" x ".join(f"{n:.3g}" for n in numbers) for numbers in (ct.GetSize(), ct.GetSpacing()))
        sentences[name] += f"; {size} voxels of {spacing} mm"
    return {"sentences": sentences, "all_cts": [str(path) for path in every_ct()]}


def every_ct() -> list[Path]:
    """All available CTs: the ten of the shared data, or else the sample CT."""
    shared = sorted((SHARED / "imagesTr").glob("*.nii.gz"), key=lambda path: (len(path.name), path.name))
    return shared or [SAMPLE_CT]


def with_slices(image: sitk.Image, count: int, mirror: bool = True) -> sitk.Image:
    """The image with `count` slices: its middle ones, or all of them padded with mirrored (else empty) ones."""
    missing = count - image.GetDepth()
    if missing <= 0:
        first = -missing // 2
        return image[:, :, first : first + count]
    before = missing // 2
    margins = ((before, missing - before), (0, 0), (0, 0))
    padded = sitk.GetImageFromArray(
        np.pad(sitk.GetArrayFromImage(image), margins, mode="symmetric" if mirror else "constant")
    )
    padded.SetSpacing(image.GetSpacing())
    padded.SetDirection(image.GetDirection())
    padded.SetOrigin(image.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, float(-before))))
    return padded


def _pair(case: str, slices: int, slice_spacing: float) -> tuple[tuple[sitk.Image, sitk.Image], str]:
    """CT and label with `slices` slices of 512 x 512, from a shared case or else from the sample; and a sentence."""
    paths = [SHARED / kind / f"{case}.nii.gz" for kind in ("imagesTr", "labelsTr")]
    if all(path.is_file() for path in paths):
        ct, label = (sitk.ReadImage(str(path)) for path in paths)
        made = f"{case} of {SHARED.name}"
        if ct.GetDepth() != slices:
            made += f", its {ct.GetDepth()} slices and {slices - ct.GetDepth()} mirrored ones"
        return (with_slices(ct, slices), with_slices(label, slices, mirror=False)), made
    ct, label = (sitk.ReadImage(str(path)) for path in (SAMPLE_CT, SAMPLE_LABEL))
    grid = _grid_around(label, (512, 512, slices), (0.7, 0.7, slice_spacing))
    resampled = (
        sitk.Resample(ct, grid, sitk.Transform(), sitk.sitkLinear, AIR_HU),
        sitk.Resample(label, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0),
    )
    return resampled, "the sample CT, resampled"


def _grid_around(label: sitk.Image, size: tuple[int, int, int], spacing: tuple[float, float, float]) -> sitk.Image:
    """An empty image over the middle of the label's rows and columns, and over the label's own middle slice."""
    held = np.flatnonzero(sitk.GetArrayFromImage(label).any(axis=(1, 2)))
    middle = [(label.GetWidth() - 1) / 2, (label.GetHeight() - 1) / 2, float(held.mean())]
    center = label.TransformContinuousIndexToPhysicalPoint(middle)
    axes = np.reshape(label.GetDirection(), (3, 3))
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetDirection(label.GetDirection())
    grid.SetOrigin((center - axes @ (np.multiply(spacing, np.subtract(size, 1)) / 2)).tolist())
    return grid
