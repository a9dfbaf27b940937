"""Realistic inputs: DICOM folders, damaged files, a full disk."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from phantoms import trunk

ROOT_UID = "1.2.826.0.1.3680043.8.498"
CT_STORAGE, MR_STORAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
AXIAL, LOCALIZER = "ORIGINAL\\PRIMARY\\AXIAL", "ORIGINAL\\PRIMARY\\LOCALIZER"


def small_ct(**grid) -> sitk.Image:
    """A CT of a trunk with few voxels."""
    return trunk(**{"spacing": (6.0, 6.0, 6.0), **grid})


def write_dicom(
    image: sitk.Image,
    folder: Path,
    *,
    series: int = 1,
    study: int = 1,
    number: int | None = None,
    description: str = "",
    modality: str = "CT",
    image_type: str = AXIAL,
    names: Sequence[str] | None = None,
    leave_out: Sequence[int] = (),
    positions: np.ndarray | None = None,
    orientations: Sequence[Sequence[float]] | None = None,
) -> Path:
    """Write each slice of `image` (HU) as a DICOM file with an offset of 1024, as a scanner does.

    `positions` (slice, 3; mm) and `orientations` (slice, 6) replace those of the image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    axes = np.reshape(image.GetDirection(), (3, 3)).T
    orientation = [*axes[0], *axes[1]]
    for index in range(image.GetDepth()):
        if index in leave_out:
            continue
        position = image.TransformIndexToPhysicalPoint((0, 0, index)) if positions is None else positions[index]
        slice_ = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image)[index].astype(np.int16))
        slice_.SetSpacing(image.GetSpacing()[:2])
        tags = {
            "0008|0008": image_type,
            "0008|0016": MR_STORAGE if modality == "MR" else CT_STORAGE,
            "0008|0018": f"{ROOT_UID}.{study}.{series}.{index + 1}",
            "0008|0060": modality,
            "0008|103e": description,
            "0018|0050": str(image.GetSpacing()[2]),
            "0020|000d": f"{ROOT_UID}.{study}",
            "0020|000e": f"{ROOT_UID}.{study}.{series}",
            "0020|0011": str(series if number is None else number),
            "0020|0013": str(index + 1),
            "0020|0032": _multiple(position),
            "0020|0037": _multiple(orientation if orientations is None else orientations[index]),
            "0028|1052": "-1024",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            slice_.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        written = folder / f"{study}_{series}_{index:04d}.dcm"
        writer.SetFileName(str(written))
        writer.Execute(slice_)
        if names is not None:
            written.rename(folder / names[index])
    return folder


def _multiple(numbers) -> str:
    return "\\".join(f"{number:.6f}" for number in numbers)


def write(image: sitk.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def cut_short(path: Path, part: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextlib.contextmanager
def small_disk(folder: Path, options: str = "size=64k") -> Iterator[Path]:
    """Mount a separate disk at `folder`; skips the test where that is not possible."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to mount a small disk (root on Linux)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
