"""Reading and checking of a CT: every error is one sentence that includes a remedy."""

import io
import os
import struct
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import cut_short, small_ct, write, write_dicom
from phantoms import SOME_DIRECTIONS
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.io.images import check_ct, image_name, read_image

FORMATS = [".nii.gz", ".nii", ".nrrd", ".mha", ".nhdr", ".mhd"]


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return small_ct()


def as_float(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(image, sitk.sitkFloat32)


def refusal(image_or_path) -> str:
    """The message of the UserError for an image or a file."""
    with pytest.raises(UserError) as refused:
        if isinstance(image_or_path, sitk.Image):
            check_ct(image_or_path, "ct")
        else:
            check_ct(read_image(image_or_path), image_or_path)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


# ---- reading


@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_read_image_keeps_voxels_and_geometry_in_every_format(tmp_path, suffix, direction):
    ct = small_ct(direction=direction)
    read = read_image(write(ct, tmp_path / f"ct{suffix}"))
    assert same_grid(read, ct)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(ct))


def test_read_image_of_dicom_folder(tmp_path, ct):
    assert same_grid(read_image(write_dicom(ct, tmp_path / "dicom")), ct)


def test_read_image_drops_a_fourth_axis_of_length_1(tmp_path, ct):
    assert same_grid(read_image(write(sitk.JoinSeries([ct]), tmp_path / "ct.nii.gz")), ct)


def test_read_image_accepts_long_paths_with_spaces_and_accents(tmp_path, ct):
    folder = tmp_path / "Ä spaced påth – 脾臓" / ("long" * 50) / ("name" * 50)
    assert same_grid(read_image(write(ct, folder / "ct é $x_1$.nii.gz")), ct)


def test_read_image_suppresses_itk_output(tmp_path, ct, capfd):
    """MetaImage's library and ITK's warnings write to file descriptor 2 directly."""
    for path in (cut_short(write(ct, tmp_path / "ct.mha")), cut_short(write(ct, tmp_path / "ct.nrrd")), tmp_path):
        refusal(path)
    read_image(write_dicom(small_ct(spacing=(6.0, 6.0, 3.0)), tmp_path / "dicom", leave_out=[10]))
    assert capfd.readouterr() == ("", "")


# ---- unreadable files


def test_missing_file_raises_user_error(tmp_path):
    assert refusal(tmp_path / "ct.nii.gz").endswith("does not exist; check the path.")


def test_path_through_a_file_raises_user_error(tmp_path, ct):
    assert "cannot be opened (not a directory)" in refusal(write(ct, tmp_path / "ct.nii.gz") / "ct.nii.gz")


def test_too_long_name_raises_user_error(tmp_path):
    assert "cannot be opened (file name too long)" in refusal(tmp_path / ("long" * 100))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems enforce valid names")
def test_name_that_is_not_utf8_raises_user_error(tmp_path, ct):
    """ITK would crash."""
    path = tmp_path / os.fsdecode(b"ct_\xe9.nii.gz")
    write(ct, tmp_path / "ct.nii.gz").rename(path)
    assert "has a name that is not valid UTF-8; rename it." in refusal(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_empty_file_raises_user_error(tmp_path, suffix):
    path = tmp_path / f"ct{suffix}"
    path.touch()
    assert refusal(path).endswith("is empty; copy or export it again.")


@pytest.mark.parametrize("suffix", [*FORMATS, ".txt", ".dcm"])
@pytest.mark.parametrize("text", [b"hello\n", b"x" * 1000])
def test_text_file_with_image_suffix_raises_user_error(tmp_path, suffix, text):
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(text)
    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("part", [0.98, 0.5, 0.1])
def test_truncated_file_raises_user_error(tmp_path, ct, suffix, part):
    sentence = refusal(cut_short(write(ct, tmp_path / f"ct{suffix}"), part))
    assert "damaged" in sentence


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_header_without_data_file_raises_user_error(tmp_path, ct, suffix):
    path = write(ct, tmp_path / f"ct{suffix}")
    next(file for file in tmp_path.iterdir() if file != path).unlink()
    assert "cannot be read" in refusal(path)


def test_wrong_checksum_raises_user_error(tmp_path, ct):
    path = write(ct, tmp_path / "ct.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 255  # in the checksum
    path.write_bytes(data)
    assert "damaged or incomplete" in refusal(path)


def test_axes_that_are_not_perpendicular_raise_user_error(tmp_path, ct):
    path = write(ct, tmp_path / "ct.nii")
    data = bytearray(path.read_bytes())
    struct.pack_into("<2h", data, 252, 0, 1)  # a matrix instead of a quaternion,
    struct.pack_into("<4f", data, 280, 6.0, 3.0, 0.0, 0.0)  # with a shear in the first row
    path.write_bytes(data)
    assert "not perpendicular" in refusal(path)


# ---- invalid CTs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [sitk.sitkFloat32, sitk.sitkFloat64])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_nan_or_infinite_voxel_raises_user_error(tmp_path, ct, suffix, kind, value):
    """ITK reads NaN in NIfTI as 0, the value of water."""
    image = sitk.Cast(ct, kind)
    image[3, 4, 5] = float(value)
    assert "has NaN or infinite voxels; replace them" in refusal(write(image, tmp_path / f"ct{suffix}"))


def invalid_cts(ct: sitk.Image) -> dict[str, tuple[sitk.Image, str]]:
    gray = sitk.Cast(sitk.RescaleIntensity(ct), sitk.sitkUInt8)
    return {
        "2D": (ct[:, :, 5], "is not a 3D volume (2D)"),
        "4D": (sitk.JoinSeries([ct, ct]), "is not a 3D volume (4D)"),
        "one slice": (ct[:, :, 5:6], "has only one slice"),
        "one column": (ct[5:6], "has only one slice"),
        "color": (sitk.Compose(gray, gray, gray), "is a color or vector image"),
        "vector": (sitk.Compose(as_float(ct), as_float(ct)), "is a color or vector image"),
        "complex": (
            sitk.RealAndImaginaryToComplex(as_float(ct), as_float(ct)),
            "type complex of 32-bit float",
        ),
        "one value": (ct * 0, "has the value 0 in every voxel"),
        "MR": (sitk.RescaleIntensity(as_float(ct), 0, 1500), "does not look like a CT in Hounsfield units"),
        "z-scores": (sitk.Normalize(as_float(ct)), "does not look like a CT in Hounsfield units"),
        "label": (ct > 100, "does not look like a CT in Hounsfield units"),
        "offset": (ct + 1024, "does not look like a CT in Hounsfield units (values range from 24 to 1624)"),
        "unsigned": (sitk.Cast(ct + 1024, sitk.sitkUInt16), "use a CT with rescale slope and intercept applied"),
        "air": (sitk.Cast(sitk.AdditiveGaussianNoise(ct * 0 - 1000, 1.0), sitk.sitkInt16), "does not look like a CT"),
        "NaN": (sitk.Sqrt(as_float(ct)), "NaN or infinite"),
        "meters": (_spaced(ct, 0.006), "is 0.222 mm long, so its voxel spacing is wrong; correct it"),
        "micrometers": (_spaced(ct, 6000.0), "voxel spacing is wrong; correct it"),
    }


def _spaced(image: sitk.Image, spacing: float) -> sitk.Image:
    image = sitk.Image(image)
    image.SetSpacing([spacing] * 3)
    return image


@pytest.mark.parametrize("what", invalid_cts(small_ct()))
def test_check_ct_of_invalid_image_raises_user_error(ct, what):
    image, words = invalid_cts(ct)[what]
    assert words in refusal(image)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("what", ["2D", "4D", "one slice", "color", "vector", "MR", "offset"])
def test_check_ct_of_invalid_file_raises_user_error(tmp_path, ct, what, suffix):
    image, words = invalid_cts(ct)[what]
    assert words in refusal(write(image, tmp_path / f"image{suffix}"))


def test_check_ct_of_png_or_single_dicom_file_raises_user_error(tmp_path, ct):
    gray = sitk.Cast(sitk.RescaleIntensity(ct), sitk.sitkUInt8)
    assert "(2D)" in refusal(write(gray[:, :, 5], tmp_path / "picture.png"))
    one = min(write_dicom(ct, tmp_path / "dicom").iterdir())
    assert "has only one slice; use the whole CT series (for DICOM, its folder)" in refusal(one)


@pytest.mark.parametrize("kind", [sitk.sitkInt16, sitk.sitkInt32, sitk.sitkFloat32, sitk.sitkFloat64])
def test_check_ct_accepts_signed_pixel_types(ct, kind):
    check_ct(sitk.Cast(ct, kind))


def test_check_ct_accepts_padding_and_windowed_cts(ct):
    check_ct(sitk.Clamp(ct, sitk.sitkInt16, -160, 240))
    padded = sitk.Image(ct)
    padded[0, 0, 0] = -32768
    check_ct(padded)


# ---- names, memory, console


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/ct.nii.gz", "ct"),
        ("ct.NII.GZ", "ct"),
        ("ct.1.nrrd", "ct.1"),
        ("spleen.seg.nrrd", "spleen.seg"),
        ("folder.of/slices", "slices"),
        ("v1.2", "v1.2"),
        (".nii.gz", ".nii.gz"),
    ],
)
def test_image_name_removes_only_image_suffixes(tmp_path, path, name):
    assert image_name(tmp_path / path) == name


def test_itk_allocation_failure_raises_memory_error(tmp_path, ct, monkeypatch):
    def too_large(path):
        raise RuntimeError("Exception thrown: Failed to allocate memory for image.")

    path = write(ct, tmp_path / "ct.nrrd")
    monkeypatch.setattr(sitk, "ReadImage", too_large)
    with pytest.raises(MemoryError):
        read_image(path)


def test_read_image_without_stderr(tmp_path, ct, monkeypatch):
    path = write(ct, tmp_path / "ct.nrrd")
    monkeypatch.setattr(sys, "stderr", None)
    assert same_grid(read_image(path), ct)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert same_grid(read_image(path), ct)
