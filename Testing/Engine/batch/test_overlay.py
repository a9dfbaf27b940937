"""The picture of a result: the right planes, the right way up, whatever the grid of the CT."""

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import small_ct
from phantoms import SOME_ORIENTATIONS, SPLEEN, in_ellipsoid, phantom, turned
from SpleenSmoothSegLib.batch import overlay
from SpleenSmoothSegLib.batch.overlay import CONTOUR_COLOR, write_overlay

GRID = {"extent": (220.0, 190.0, 110.0), "spacing": (2.0, 2.0, 5.0)}
CENTER = (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return small_ct(**GRID)


@pytest.fixture(scope="module")
def spleen() -> sitk.Image:
    return _spleen()


def _spleen(**grid) -> sitk.Image:
    return phantom(lambda points: in_ellipsoid(points, **SPLEEN).astype(np.uint8), **{**GRID, **grid})


@pytest.fixture
def draw(tmp_path):
    """Writes the picture and gives its pixels (row, column, color) in [0, 1]."""
    from matplotlib import image

    def written(ct, mask, title="ct.nii.gz: spleen 80 mL"):
        write_overlay(tmp_path / "overlay.png", ct, mask, title)
        return image.imread(tmp_path / "overlay.png")[..., :3]

    return written


def is_contour(pixels: np.ndarray) -> np.ndarray:
    return np.abs(pixels - CONTOUR_COLOR).max(axis=2) < 0.12


def panels(pixels: np.ndarray) -> list[np.ndarray]:
    """The three bodies: runs of columns with much gray in them, unlike letters."""
    gray = (np.ptp(pixels, axis=2) < 0.02) & (pixels[..., 0] > 0.3)
    edges = np.flatnonzero(np.diff(np.pad(gray.sum(axis=0) > 30, 1).astype(int)))
    return [pixels[:, left:right] for left, right in zip(edges[::2], edges[1::2], strict=True)]


def place(inside: np.ndarray) -> np.ndarray:
    """Middle (row, column) of true pixels, as parts of the picture."""
    return np.argwhere(inside).mean(axis=0) / inside.shape


# ---- the planes


def plane(ct, mask, axis):
    lowest, highest = overlay.bounds(ct)
    return overlay._plane(ct, mask, overlay._center(ct, mask), lowest, highest, axis)


@pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ct_stored_in_another_orientation_gives_the_same_picture(ct, spleen, orientation, axis):
    expected = plane(ct, spleen, axis)
    got = plane(*(sitk.DICOMOrient(image, orientation) for image in (ct, spleen)), axis)
    for one, other in zip(expected, got, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=0.1)


def test_an_oblique_ct_is_shown_in_the_patients_own_planes():
    direction = turned(15, -20, 10)
    fine = {"extent": 220.0, "spacing": (2.5, 2.5, 2.5), "direction": direction}
    hu, inside = plane(small_ct(**fine), _spleen(**fine), 2)
    assert (inside > 0.5).sum() == pytest.approx(np.pi * np.prod(SPLEEN["radii"][:2]), rel=0.03)
    assert hu[inside > 0.99].mean() == pytest.approx(150, abs=5)


def test_the_left_of_a_picture_is_the_patients_right_and_the_head_is_up(ct):
    marks = {"left": (60.0, 0.0, 0.0), "back": (0.0, 55.0, 0.0), "head": (0.0, 0.0, 35.0)}
    mark = {name: _ball(at) for name, at in marks.items()}
    lowest, highest = overlay.bounds(ct)
    for axis, name, row, column in (
        (2, "left", 0, 1),
        (2, "back", 1, 0),
        (1, "left", 0, 1),
        (1, "head", -1, 0),
        (0, "back", 0, 1),
        (0, "head", -1, 0),
    ):
        _, inside = overlay._plane(ct, mark[name], CENTER, lowest, highest, axis)
        offset = place(inside > 0.5) - 0.5
        assert np.sign(np.round(offset, 1)).tolist() == [row, column], (axis, name)


def _ball(at) -> sitk.Image:
    return phantom(lambda points: in_ellipsoid(points, at, (12.0,) * 3).astype(np.uint8), **GRID)


def test_planes_go_through_the_middle_of_the_spleen(ct, spleen):
    np.testing.assert_allclose(overlay._center(ct, spleen), SPLEEN["center"], atol=1)


def test_without_a_spleen_planes_go_through_the_middle_of_the_body(ct, spleen):
    np.testing.assert_allclose(overlay._center(ct, spleen * 0)[:2], CENTER[:2], atol=5)


# ---- what is shown of them


def test_the_picture_shows_the_body_and_not_the_table(ct, spleen):
    wide = {"extent": (500.0, 500.0, 60.0), "spacing": (2.0, 2.0, 10.0)}
    ct = small_ct(**wide)
    table = sitk.GetArrayFromImage(ct)
    table[:, 230:232, :] = 300
    image = sitk.GetImageFromArray(table)
    image.CopyInformation(ct)
    mask = _spleen(**wide)
    lowest, highest = overlay._field(image, mask, overlay._center(image, mask))
    np.testing.assert_allclose((lowest[:2], highest[:2]), ((-105, -90), (105, 90)), atol=8)


def test_a_mask_beyond_the_body_is_shown_all_the_same(ct):
    far = _ball((105.0, 0.0, 0.0))
    lowest, highest = overlay._field(ct, far, CENTER)
    assert highest[0] > 105


def test_of_a_whole_trunk_the_part_around_the_spleen_is_shown():
    tall = {"extent": (220.0, 190.0, 900.0), "spacing": (6.0, 6.0, 6.0)}
    ct, mask = small_ct(**tall), _spleen(**tall)
    lowest, highest = overlay._field(ct, mask, overlay._center(ct, mask))
    assert highest[2] - lowest[2] == pytest.approx(overlay.TALLEST_MM)
    assert lowest[2] < SPLEEN["center"][2] - 100
    assert highest[2] > SPLEEN["center"][2] + 100


# ---- the picture


def test_each_plane_has_the_contour_where_the_spleen_is(draw, ct, spleen):
    axial, coronal, sagittal = panels(draw(ct, spleen))
    assert place(is_contour(axial))[1] > 0.6  # the patient's left
    assert place(is_contour(coronal))[1] > 0.6
    assert place(is_contour(sagittal))[1] > 0.55  # the back


def test_without_a_spleen_there_is_no_contour(draw, ct, spleen):
    pixels = draw(ct, spleen * 0)
    assert not is_contour(pixels).any()
    assert len(panels(pixels)) == 3


def test_the_contour_closes_where_the_spleen_is_cut_off(draw, ct, spleen):
    assert is_contour(draw(ct, spleen * 0 + 1)).sum() > 2000


@pytest.mark.parametrize(
    "ct_and_mask",
    {
        "two slices": lambda ct, mask: (ct[:, :, 10:12], mask[:, :, 10:12]),
        "tiny": lambda ct, mask: (ct[70:80, 50:60, 8:12], mask[70:80, 50:60, 8:12]),
        "air": lambda ct, mask: (ct * 0 - 1000, mask * 0),
        "float": lambda ct, mask: (sitk.Cast(ct, sitk.sitkFloat64), mask),
    }.values(),
    ids=["two slices", "tiny", "air", "float"],
)
def test_odd_cts_have_a_picture_of_decent_size(draw, ct, spleen, ct_and_mask):
    height, width, _ = draw(*ct_and_mask(ct, spleen)).shape
    assert width == 1200
    assert 100 < height < 1600


def test_any_name_fits_over_the_picture(draw, ct, spleen, recwarn):
    plain = draw(ct, spleen, "x")
    for name in ("long" * 60, "$x_1^$ $", "脾臓", "\udce9", "two\nlines"):
        assert draw(ct, spleen, f"{name}.nii.gz: spleen 80 mL").shape == plain.shape
    assert not recwarn.list


def test_a_long_name_keeps_its_beginning_and_the_volume():
    title = overlay._printable("ct_" + "long" * 60 + ".nii.gz: spleen 80 mL")
    assert title.startswith("ct_long")
    assert title.endswith(".nii.gz: spleen 80 mL")
    assert len(title) < 120
