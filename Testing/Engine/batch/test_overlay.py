"""The overlay picture: planes and orientation for any grid of the CT."""

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
    """Writes the picture and returns its pixels (row, column, color) in [0, 1]."""
    from matplotlib import image

    def written(ct, mask, title="ct.nii.gz: spleen 80 mL"):
        write_overlay(tmp_path / "overlay.png", ct, mask, title)
        return image.imread(tmp_path / "overlay.png")[..., :3]

    return written


def is_contour(pixels: np.ndarray) -> np.ndarray:
    return np.abs(pixels - CONTOUR_COLOR).max(axis=2) < 0.12


def panels(pixels: np.ndarray) -> list[np.ndarray]:
    """The three planes: runs of columns with much gray in them, unlike letters."""
    gray = (np.ptp(pixels, axis=2) < 0.02) & (pixels[..., 0] > 0.3)
    edges = np.flatnonzero(np.diff(np.pad(gray.sum(axis=0) > 30, 1).astype(int)))
    return [pixels[:, left:right] for left, right in zip(edges[::2], edges[1::2], strict=True)]


def place(inside: np.ndarray) -> np.ndarray:
    """Center (row, column) of the true pixels, as fractions of the picture."""
    return np.argwhere(inside).mean(axis=0) / inside.shape


# ---- the planes


def plane(ct, mask, axis):
    lowest, highest = overlay.bounds(ct)
    return overlay._plane(ct, mask, overlay._center(ct, mask), lowest, highest, axis)


@pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_overlay_does_not_depend_on_stored_orientation(ct, spleen, orientation, axis):
    expected = plane(ct, spleen, axis)
    got = plane(*(sitk.DICOMOrient(image, orientation) for image in (ct, spleen)), axis)
    for one, other in zip(expected, got, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=0.1)


def test_overlay_of_oblique_ct_shows_the_patients_planes():
    direction = turned(15, -20, 10)
    fine = {"extent": 220.0, "spacing": (2.5, 2.5, 2.5), "direction": direction}
    hu, inside = plane(small_ct(**fine), _spleen(**fine), 2)
    assert (inside > 0.5).sum() == pytest.approx(np.pi * np.prod(SPLEEN["radii"][:2]), rel=0.03)
    assert hu[inside > 0.99].mean() == pytest.approx(150, abs=5)


def test_overlay_has_the_patients_right_on_the_left_and_the_head_up(ct):
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


def test_planes_pass_through_the_center_of_the_spleen(ct, spleen):
    np.testing.assert_allclose(overlay._center(ct, spleen), SPLEEN["center"], atol=1)


def test_planes_without_spleen_pass_through_the_center_of_the_body(ct, spleen):
    np.testing.assert_allclose(overlay._center(ct, spleen * 0)[:2], CENTER[:2], atol=5)


# ---- field of view


def test_overlay_is_cropped_to_the_body_without_the_table(ct, spleen):
    wide = {"extent": (500.0, 500.0, 60.0), "spacing": (2.0, 2.0, 10.0)}
    ct = small_ct(**wide)
    table = sitk.GetArrayFromImage(ct)
    table[:, 230:232, :] = 300
    image = sitk.GetImageFromArray(table)
    image.CopyInformation(ct)
    mask = _spleen(**wide)
    lowest, highest = overlay._field(image, mask, overlay._center(image, mask))
    np.testing.assert_allclose((lowest[:2], highest[:2]), ((-105, -90), (105, 90)), atol=8)


def test_mask_outside_the_body_is_shown(ct):
    far = _ball((105.0, 0.0, 0.0))
    lowest, highest = overlay._field(ct, far, CENTER)
    assert highest[0] > 105


def test_tall_ct_is_cropped_around_the_spleen():
    tall = {"extent": (220.0, 190.0, 900.0), "spacing": (6.0, 6.0, 6.0)}
    ct, mask = small_ct(**tall), _spleen(**tall)
    lowest, highest = overlay._field(ct, mask, overlay._center(ct, mask))
    assert highest[2] - lowest[2] == pytest.approx(overlay.MAX_HEIGHT_MM)
    assert lowest[2] < SPLEEN["center"][2] - 100
    assert highest[2] > SPLEEN["center"][2] + 100


# ---- the picture


def test_each_plane_shows_the_contour_at_the_spleen(draw, ct, spleen):
    axial, coronal, sagittal = panels(draw(ct, spleen))
    assert place(is_contour(axial))[1] > 0.6  # the patient's left
    assert place(is_contour(coronal))[1] > 0.6
    assert place(is_contour(sagittal))[1] > 0.55  # the back


def test_empty_mask_has_no_contour(draw, ct, spleen):
    pixels = draw(ct, spleen * 0)
    assert not is_contour(pixels).any()
    assert len(panels(pixels)) == 3


def test_contour_of_truncated_spleen_is_closed(draw, ct, spleen):
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
def test_ct_of_unusual_shape_has_an_overlay_of_usual_size(draw, ct, spleen, ct_and_mask):
    height, width, _ = draw(*ct_and_mask(ct, spleen)).shape
    assert width == 1200
    assert 100 < height < 1600


def test_title_of_any_characters_is_drawn(draw, ct, spleen, recwarn):
    plain = draw(ct, spleen, "x")
    for name in ("long" * 60, "$x_1^$ $", "脾臓", "\udce9", "two\nlines"):
        assert draw(ct, spleen, f"{name}.nii.gz: spleen 80 mL").shape == plain.shape
    assert not recwarn.list


def test_long_title_keeps_its_beginning_and_the_volume():
    title = overlay._printable("ct_" + "long" * 60 + ".nii.gz: spleen 80 mL")
    assert title.startswith("ct_long")
    assert title.endswith(".nii.gz: spleen 80 mL")
    assert len(title) < 120
