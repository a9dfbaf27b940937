"""A CT from a folder of DICOM files: which series, and where its slices lie."""

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import LOCALIZER, cut_short, small_ct, write_dicom
from phantoms import SOME_DIRECTIONS, turned
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.io.dicom import WIDEST_GAP_MM, ct_folders, find_series, read_ct_series
from SpleenSmoothSegLib.io.images import read_image


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return small_ct()


@pytest.fixture
def told() -> list[str]:
    """What the reader warned of."""
    return []


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def assert_same(first: sitk.Image, second: sitk.Image) -> None:
    assert same_grid(first, second)
    np.testing.assert_array_equal(voxels(first), voxels(second))


def on_grid_of(image: sitk.Image, reference: sitk.Image) -> np.ndarray:
    return voxels(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear, -1000.0, sitk.sitkFloat32))


# ---- where the slices lie


@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_a_series_is_read_in_hounsfield_units_where_it_lies(tmp_path, told, direction):
    written = small_ct(direction=direction)
    image = read_ct_series(write_dicom(written, tmp_path / "dicom"), told.append)
    np.testing.assert_allclose(on_grid_of(image, written), voxels(written), atol=1)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1)
    assert not told


def test_neither_the_names_of_the_files_nor_their_order_matter(tmp_path, told, ct):
    order = np.random.default_rng(0).permutation(ct.GetDepth())
    names = [f"IM{number:05d}" for number in order]  # and no extension
    assert_same(read_ct_series(write_dicom(ct, tmp_path / "dicom", names=names), told.append), ct)
    assert not told


def test_other_files_in_the_folder_do_not_matter(tmp_path, told, ct):
    folder = write_dicom(ct, tmp_path / "dicom")
    (folder / "DICOMDIR").write_bytes(b"no directory")
    (folder / "report.txt").write_text("no image")
    assert_same(read_ct_series(folder, told.append), ct)


@pytest.mark.parametrize("degrees", [-20, 15])
def test_the_slices_of_a_tilted_gantry_are_moved_to_where_they_were_taken(tmp_path, told, degrees):
    """The planes look along a turned axis, but the table moves along the patient's."""
    direction = turned(degrees, 0, 0)
    square = small_ct(direction=direction, spacing=(3.0, 3.0, 3.0), extent=(220, 260, 200))
    table = np.array([0.0, 0.0, 5.0])
    first = np.array(square.TransformContinuousIndexToPhysicalPoint((0, 0, 15)))
    positions = first + np.arange(20)[:, None] * table
    slices = [_slice_at(square, position) for position in positions]
    stack = sitk.JoinSeries(slices)
    stack.SetSpacing([3.0, 3.0, 5.0])
    stack.SetDirection(direction)

    image = read_ct_series(write_dicom(stack, tmp_path / "dicom", positions=positions), told.append)

    assert told == [
        f'"{tmp_path / "dicom"}" was taken with a tilted gantry; its slices were moved to where they belong.'
    ]
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


def test_missing_slices_are_interpolated_and_told(tmp_path, told):
    ct = small_ct(spacing=(6.0, 6.0, 3.0))
    folder = write_dicom(ct, tmp_path / "dicom", leave_out=[10, 11])
    image = read_ct_series(folder, told.append)
    assert same_grid(image, ct)
    there = np.setdiff1d(np.arange(ct.GetDepth()), [10, 11])
    np.testing.assert_array_equal(voxels(image)[there], voxels(ct)[there])
    between = voxels(ct)[9] * 2 / 3 + voxels(ct)[12] / 3
    np.testing.assert_allclose(voxels(image)[10], between, atol=1e-3)
    assert told == [
        f'"{folder}" has slices 3 to 9 mm apart, so that some may be missing; those between were interpolated.'
    ]


def test_slices_that_lie_closer_from_somewhere_on_are_brought_to_one_spacing(tmp_path, told):
    ct = small_ct(spacing=(6.0, 6.0, 2.0))
    folder = write_dicom(ct, tmp_path / "dicom", leave_out=range(1, 20, 2))
    image = read_ct_series(folder, told.append)
    assert image.GetSpacing()[2] == pytest.approx(2)
    assert np.abs(on_grid_of(image, ct) - voxels(ct)).mean() < 10
    assert len(told) == 1


def test_a_wide_gap_is_refused(tmp_path, told, ct):
    folder = write_dicom(ct, tmp_path / "dicom", leave_out=[8])
    assert 2 * ct.GetSpacing()[2] > WIDEST_GAP_MM
    with pytest.raises(UserError, match=r"misses slices: 12 mm lie between two of them; export the CT again"):
        read_ct_series(folder, told.append)


def test_thick_slices_are_no_gap(tmp_path, told):
    ct = small_ct(spacing=(6.0, 6.0, 12.0))
    assert_same(read_ct_series(write_dicom(ct, tmp_path / "dicom"), told.append), ct)
    assert not told


def test_rounded_positions_are_neither_gap_nor_tilt(tmp_path, told, ct):
    positions = np.array([ct.TransformIndexToPhysicalPoint((0, 0, index)) for index in range(ct.GetDepth())])
    rounded = positions + np.random.default_rng(0).uniform(-0.05, 0.05, positions.shape)
    image = read_ct_series(write_dicom(ct, tmp_path / "dicom", positions=rounded), told.append)
    assert image.GetSize() == ct.GetSize()
    assert not told


def test_several_images_at_one_place_are_refused(tmp_path, told, ct):
    positions = np.array([ct.TransformIndexToPhysicalPoint((0, 0, index // 2)) for index in range(ct.GetDepth())])
    folder = write_dicom(ct, tmp_path / "dicom", positions=positions)
    with pytest.raises(UserError, match="several slices at one place"):
        read_ct_series(folder, told.append)


def test_slices_that_look_different_ways_are_refused(tmp_path, told, ct):
    axial, coronal = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)
    orientations = [coronal, *[axial] * (ct.GetDepth() - 1)]
    folder = write_dicom(ct, tmp_path / "dicom", orientations=orientations)
    with pytest.raises(UserError, match="look different ways"):
        read_ct_series(folder, told.append)


def test_slices_of_different_sizes_are_refused_in_a_sentence(tmp_path, ct):
    folder = write_dicom(ct[:, :, :5], tmp_path / "dicom")
    for file in write_dicom(small_ct(spacing=(9.0, 9.0, 6.0))[:, :, 5:10], tmp_path / "other").iterdir():
        file.rename(folder / f"other_{file.name}")
    with pytest.raises(UserError, match="cannot be read"):
        read_image(folder)


@pytest.mark.parametrize("part", [0.98, 0.6, 0.1])
def test_a_damaged_file_is_told_in_a_sentence(tmp_path, ct, part):
    folder = write_dicom(ct, tmp_path / "dicom")
    cut_short(sorted(folder.iterdir())[5], part)
    with pytest.raises(UserError, match="cannot be read; copy it again if it is damaged|misses slices"):
        read_image(folder)


def test_a_file_of_many_frames_is_one_series(tmp_path, told, ct):
    image = sitk.Cast(ct, sitk.sitkInt16)
    for tag, value in {"0008|0060": "CT", "0020|000e": "1.2.3"}.items():
        image.SetMetaData(tag, value)
    (tmp_path / "dicom").mkdir()
    sitk.WriteImage(image, str(tmp_path / "dicom" / "frames.dcm"))
    assert read_ct_series(tmp_path / "dicom", told.append).GetSize() == ct.GetSize()


# ---- which series


def test_a_scout_beside_the_ct_is_left_out(tmp_path, told, ct):
    folder = write_dicom(ct, tmp_path / "dicom")
    write_dicom(ct[:, :, :2], folder, series=2, image_type=LOCALIZER)
    assert_same(read_ct_series(folder, told.append), ct)
    assert not told


def test_of_several_ct_series_the_one_with_the_most_slices_is_taken_and_told(tmp_path, told, ct):
    folder = write_dicom(ct[:, :, ::2], tmp_path / "dicom", series=1, description="thick")
    write_dicom(ct, folder, series=2, description="thin")
    assert_same(read_ct_series(folder, told.append), ct)
    assert told == [
        f'"{folder}" holds 2 CT series; the one with the most slices ("thin", {ct.GetDepth()} slices) is segmented; '
        "to segment another, copy it into a folder of its own."
    ]


def test_of_two_series_with_as_many_slices_the_first_is_taken(tmp_path, told, ct):
    folder = write_dicom(ct + 100, tmp_path / "dicom", series=1, number=7)
    write_dicom(ct, folder, series=2, number=3)
    assert_same(read_ct_series(folder, told.append), ct)


def test_cts_of_several_studies_are_refused(tmp_path, told, ct):
    folder = write_dicom(ct, tmp_path / "dicom", study=1)
    write_dicom(ct, folder, study=2)
    with pytest.raises(UserError, match="several studies; put each into a folder of its own"):
        read_ct_series(folder, told.append)


@pytest.mark.parametrize(
    ("slices", "tags", "words"),
    [
        (2, {"image_type": LOCALIZER}, "holds a scout and no CT series"),
        (1, {}, "holds a single slice and no CT series"),
        (9, {"modality": "MR"}, "holds MR and no CT series"),
        (9, {"modality": "PT"}, "holds PT and no CT series"),
    ],
)
def test_a_folder_without_a_ct_series_says_what_it_holds(tmp_path, told, ct, slices, tags, words):
    folder = write_dicom(ct[:, :, :slices], tmp_path / "dicom", **tags)
    with pytest.raises(UserError, match=words):
        read_ct_series(folder, told.append)
    assert not any(series.is_ct for series in find_series(folder))


def test_a_folder_without_dicom_files_is_told(tmp_path, told):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match="holds no CT"):
        read_ct_series(tmp_path, told.append)


def test_folders_with_a_ct_series_are_found_however_deep(tmp_path, ct):
    deep = write_dicom(ct[:, :, :3], tmp_path / "study" / "DICOM" / "ST0" / "SE1")
    thick = write_dicom(ct[:, :, :2], tmp_path / "study" / "a")
    write_dicom(ct[:, :, :1], tmp_path / "study" / "scout", image_type=LOCALIZER)
    write_dicom(ct[:, :, :3], tmp_path / "study" / ".hidden")
    write_dicom(ct[:, :, :3], tmp_path / "study" / "mr", modality="MR")
    assert ct_folders(tmp_path / "study") == [deep, thick]
