"""DICOM folders: choice of the series, and correction of slice positions."""

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import LOCALIZER, cut_short, small_ct, write_dicom
from phantoms import SOME_DIRECTIONS, turned
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.io.dicom import MAX_GAP_MM, ct_folders, find_series, read_ct_series
from SpleenSmoothSegLib.io.images import read_image


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return small_ct()


@pytest.fixture
def warnings() -> list[str]:
    """Messages that the reader passed to `warn`."""
    return []


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def assert_same(first: sitk.Image, second: sitk.Image) -> None:
    assert same_grid(first, second)
    np.testing.assert_array_equal(voxels(first), voxels(second))


def on_grid_of(image: sitk.Image, reference: sitk.Image) -> np.ndarray:
    return voxels(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, -1000.0, sitk.sitkFloat32))


# ---- slice positions


@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_read_ct_series_keeps_hu_and_position(tmp_path, warnings, direction):
    written = small_ct(direction=direction)
    image = read_ct_series(write_dicom(written, tmp_path / "dicom"), warnings.append)
    np.testing.assert_allclose(on_grid_of(image, written), voxels(written), atol=1)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1)
    assert not warnings


def test_read_ct_series_ignores_file_names(tmp_path, warnings, ct):
    order = np.random.default_rng(0).permutation(ct.GetDepth())
    names = [f"IM{number:05d}" for number in order]  # and no extension
    assert_same(read_ct_series(write_dicom(ct, tmp_path / "dicom", names=names), warnings.append), ct)
    assert not warnings


def test_read_ct_series_ignores_other_files(tmp_path, warnings, ct):
    folder = write_dicom(ct, tmp_path / "dicom")
    (folder / "DICOMDIR").write_bytes(b"no directory")
    (folder / "report.txt").write_text("no image")
    assert_same(read_ct_series(folder, warnings.append), ct)


@pytest.mark.parametrize("degrees", [-20, 15])
def test_gantry_tilt_is_corrected_with_a_warning(tmp_path, warnings, degrees):
    """The slice normal is rotated, but the table moves along the patient's axis."""
    direction = turned(degrees, 0, 0)
    square = small_ct(direction=direction, spacing=(3.0, 3.0, 3.0), extent=(220, 260, 200))
    table = np.array([0.0, 0.0, 5.0])
    first = np.array(square.TransformContinuousIndexToPhysicalPoint((0, 0, 15)))
    positions = first + np.arange(20)[:, None] * table
    slices = [_slice_at(square, position) for position in positions]
    stack = sitk.JoinSeries(slices)
    stack.SetSpacing([3.0, 3.0, 5.0])
    stack.SetDirection(direction)

    image = read_ct_series(write_dicom(stack, tmp_path / "dicom", positions=positions), warnings.append)

    assert warnings == [f'"{tmp_path / "dicom"}" has a gantry tilt; its slices were shifted to their true positions.']
    expected = on_grid_of(square, image)
    inside = voxels(image) > -1024
    assert inside.mean() > 0.5
    assert np.abs(expected - voxels(image))[inside].mean() < 15
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1)
    assert image.GetSpacing()[2] == pytest.approx(5 * np.cos(np.deg2rad(degrees)))


def _slice_at(image: sitk.Image, origin: np.ndarray) -> sitk.Image:
    size = [*image.GetSize()[:2], 1]
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, origin.tolist(), image.GetSpacing(), image.GetDirection(), -1000
    )[:, :, 0]


def test_missing_slices_are_interpolated_with_a_warning(tmp_path, warnings):
    ct = small_ct(spacing=(6.0, 6.0, 3.0))
    folder = write_dicom(ct, tmp_path / "dicom", leave_out=[10, 11])
    image = read_ct_series(folder, warnings.append)
    assert same_grid(image, ct)
    there = np.setdiff1d(np.arange(ct.GetDepth()), [10, 11])
    np.testing.assert_array_equal(voxels(image)[there], voxels(ct)[there])
    between = voxels(ct)[9] * 2 / 3 + voxels(ct)[12] / 3
    np.testing.assert_allclose(voxels(image)[10], between, atol=1e-3)
    assert warnings == [f'"{folder}" has slices 3 to 9 mm apart, so slices may be missing; the gaps were interpolated.']


def test_variable_slice_spacing_is_resampled_with_a_warning(tmp_path, warnings):
    ct = small_ct(spacing=(6.0, 6.0, 2.0))
    folder = write_dicom(ct, tmp_path / "dicom", leave_out=range(1, 20, 2))
    image = read_ct_series(folder, warnings.append)
    assert image.GetSpacing()[2] == pytest.approx(2)
    assert np.abs(on_grid_of(image, ct) - voxels(ct)).mean() < 10
    assert len(warnings) == 1


def test_wide_gap_raises_user_error(tmp_path, warnings, ct):
    folder = write_dicom(ct, tmp_path / "dicom", leave_out=[8])
    assert 2 * ct.GetSpacing()[2] > MAX_GAP_MM
    with pytest.raises(UserError, match=r"has missing slices \(a gap of 12 mm\); export the CT again"):
        read_ct_series(folder, warnings.append)


def test_thick_slices_are_not_a_gap(tmp_path, warnings):
    ct = small_ct(spacing=(6.0, 6.0, 12.0))
    assert_same(read_ct_series(write_dicom(ct, tmp_path / "dicom"), warnings.append), ct)
    assert not warnings


def test_rounded_positions_do_not_count_as_gap_or_tilt(tmp_path, warnings, ct):
    positions = np.array([ct.TransformIndexToPhysicalPoint((0, 0, index)) for index in range(ct.GetDepth())])
    rounded = positions + np.random.default_rng(0).uniform(-0.05, 0.05, positions.shape)
    image = read_ct_series(write_dicom(ct, tmp_path / "dicom", positions=rounded), warnings.append)
    assert image.GetSize() == ct.GetSize()
    assert not warnings


def test_duplicate_slice_positions_raise_user_error(tmp_path, warnings, ct):
    positions = np.array([ct.TransformIndexToPhysicalPoint((0, 0, index // 2)) for index in range(ct.GetDepth())])
    folder = write_dicom(ct, tmp_path / "dicom", positions=positions)
    with pytest.raises(UserError, match="several slices at the same position"):
        read_ct_series(folder, warnings.append)


def test_mixed_orientations_raise_user_error(tmp_path, warnings, ct):
    axial, coronal = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)
    orientations = [coronal, *[axial] * (ct.GetDepth() - 1)]
    folder = write_dicom(ct, tmp_path / "dicom", orientations=orientations)
    with pytest.raises(UserError, match="have different orientations"):
        read_ct_series(folder, warnings.append)


def test_mixed_slice_sizes_raise_user_error(tmp_path, ct):
    folder = write_dicom(ct[:, :, :5], tmp_path / "dicom")
    for file in write_dicom(small_ct(spacing=(9.0, 9.0, 6.0))[:, :, 5:10], tmp_path / "other").iterdir():
        file.rename(folder / f"other_{file.name}")
    with pytest.raises(UserError, match="cannot be read"):
        read_image(folder)


@pytest.mark.parametrize("part", [0.98, 0.6, 0.1])
def test_damaged_dicom_file_raises_user_error(tmp_path, ct, part):
    folder = write_dicom(ct, tmp_path / "dicom")
    cut_short(sorted(folder.iterdir())[5], part)
    with pytest.raises(UserError, match="cannot be read; if it is damaged, copy it again|missing slices"):
        read_image(folder)


def test_multi_frame_file_is_one_series(tmp_path, warnings, ct):
    image = sitk.Cast(ct, sitk.sitkInt16)
    for tag, value in {"0008|0060": "CT", "0020|000e": "1.2.3"}.items():
        image.SetMetaData(tag, value)
    (tmp_path / "dicom").mkdir()
    sitk.WriteImage(image, str(tmp_path / "dicom" / "frames.dcm"))
    assert read_ct_series(tmp_path / "dicom", warnings.append).GetSize() == ct.GetSize()


# ---- which series


def test_scout_is_ignored(tmp_path, warnings, ct):
    folder = write_dicom(ct, tmp_path / "dicom")
    write_dicom(ct[:, :, :2], folder, series=2, image_type=LOCALIZER)
    assert_same(read_ct_series(folder, warnings.append), ct)
    assert not warnings


def test_longest_ct_series_is_chosen_with_a_warning(tmp_path, warnings, ct):
    folder = write_dicom(ct[:, :, ::2], tmp_path / "dicom", series=1, description="thick")
    write_dicom(ct, folder, series=2, description="thin")
    assert_same(read_ct_series(folder, warnings.append), ct)
    assert warnings == [
        f'"{folder}" contains 2 CT series; using the one with the most slices ("thin", {ct.GetDepth()} slices); '
        "to use another, copy it into a separate folder."
    ]


def test_lowest_series_number_is_chosen_among_equal_lengths(tmp_path, warnings, ct):
    folder = write_dicom(ct + 100, tmp_path / "dicom", series=1, number=7)
    write_dicom(ct, folder, series=2, number=3)
    assert_same(read_ct_series(folder, warnings.append), ct)


def test_cts_of_several_studies_raise_user_error(tmp_path, warnings, ct):
    folder = write_dicom(ct, tmp_path / "dicom", study=1)
    write_dicom(ct, folder, study=2)
    with pytest.raises(UserError, match="several studies; move each into a separate folder"):
        read_ct_series(folder, warnings.append)


@pytest.mark.parametrize(
    ("slices", "tags", "words"),
    [
        (2, {"image_type": LOCALIZER}, "contains a scout but no CT series"),
        (1, {}, "contains a single slice but no CT series"),
        (9, {"modality": "MR"}, "contains MR but no CT series"),
        (9, {"modality": "PT"}, "contains PT but no CT series"),
    ],
)
def test_folder_without_ct_series_raises_user_error_with_its_content(tmp_path, warnings, ct, slices, tags, words):
    folder = write_dicom(ct[:, :, :slices], tmp_path / "dicom", **tags)
    with pytest.raises(UserError, match=words):
        read_ct_series(folder, warnings.append)
    assert not any(series.is_ct for series in find_series(folder))


def test_folder_without_dicom_files_raises_user_error(tmp_path, warnings):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match="contains no CT"):
        read_ct_series(tmp_path, warnings.append)


def test_ct_folders_finds_nested_ct_series(tmp_path, ct):
    deep = write_dicom(ct[:, :, :3], tmp_path / "study" / "DICOM" / "ST0" / "SE1")
    thick = write_dicom(ct[:, :, :2], tmp_path / "study" / "a")
    write_dicom(ct[:, :, :1], tmp_path / "study" / "scout", image_type=LOCALIZER)
    write_dicom(ct[:, :, :3], tmp_path / "study" / ".hidden")
    write_dicom(ct[:, :, :3], tmp_path / "study" / "mr", modality="MR")
    assert ct_folders(tmp_path / "study") == [deep, thick]
