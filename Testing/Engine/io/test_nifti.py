"""Defects of NIfTI files that ITK does not report."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import small_ct, write
from SpleenSmoothSegLib.io import nifti


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return sitk.Cast(small_ct(), sitk.sitkFloat32)


def test_find_defect_in_both_nifti_versions_and_byte_orders(tmp_path, ct):
    little = gzip.decompress(write(ct, tmp_path / "ct.nii.gz").read_bytes())
    voxels = sitk.GetArrayFromImage(ct).astype(">f4")
    size = ct.GetSize()
    version1 = bytearray(352)
    struct.pack_into(">i", version1, 0, 348)
    struct.pack_into(">8h", version1, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into(">2h", version1, 70, 16, 32)
    struct.pack_into(">f", version1, 108, 352.0)
    version2 = bytearray(544)
    struct.pack_into(">i", version2, 0, 540)
    struct.pack_into(">2h", version2, 12, 16, 32)
    struct.pack_into(">8q", version2, 16, 3, *size, 1, 1, 1, 1)
    struct.pack_into(">q", version2, 168, 544)
    for data in (little, bytes(version1) + voxels.tobytes(), bytes(version2) + voxels.tobytes()):
        assert defect_of(tmp_path, data) is None
        assert defect_of(tmp_path, gzip.compress(data, 1)) is None
        assert defect_of(tmp_path, data[:-1]) == "incomplete"
        assert defect_of(tmp_path, gzip.compress(data[:-1], 1)) == "incomplete"
    voxels[1, 2, 3] = np.nan
    assert defect_of(tmp_path, bytes(version2) + voxels.tobytes()) == "not finite"
    assert defect_of(tmp_path, b"") == "not NIfTI"


def defect_of(folder, data: bytes) -> str | None:
    path = folder / "some.nii"
    path.write_bytes(data)
    return nifti.find_defect(path)


def test_find_defect_reads_beyond_the_first_chunk(tmp_path, monkeypatch, ct):
    monkeypatch.setattr(nifti, "_CHUNK", 1024)
    image = sitk.Image(ct)
    assert nifti.find_defect(write(image, tmp_path / "whole.nii.gz")) is None
    image[image.GetWidth() - 1, image.GetHeight() - 1, image.GetDepth() - 1] = float("nan")
    assert nifti.find_defect(write(image, tmp_path / "nan.nii.gz")) == "not finite"
