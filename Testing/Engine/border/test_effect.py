"""Preview of a soft border: equal to the training label, and its effect on shapes with a known result."""

import re
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import special

from phantoms import turned
from SpleenSmoothSegLib.border.effect import BorderPreview, describe_effect
from SpleenSmoothSegLib.border.kernels import KERNELS, Border, smooth_border
from SpleenSmoothSegLib.errors import UserError

every_kernel = pytest.mark.parametrize("kernel", KERNELS)
either_plane = pytest.mark.parametrize("plane", ["2d", "3d"])

# Distance from 0.05 to 0.95 across a straight border, in widths.
BAND = {
    "gaussian": 2 * special.ndtri(0.95),
    "box": 0.9,
    "boundary_uncertainty": 2,
    "signed_distance": np.log(19) / np.log(9),
}


def image(mask: np.ndarray, spacing=(1.0, 1.0, 1.0), direction=None, origin=(0.0, 0.0, 0.0)) -> sitk.Image:
    """A label image of a (slice, row, column) mask; spacing is (column, row, slice)."""
    label = sitk.GetImageFromArray(np.asarray(mask, np.uint8))
    label.SetSpacing(spacing)
    label.SetOrigin(origin)
    if direction is not None:
        label.SetDirection(direction)
    return label


def blob(shape=(20, 30, 30), part=(slice(5, 14), slice(8, 21), slice(7, 23))) -> np.ndarray:
    """A ragged label without symmetry."""
    mask = np.zeros(shape, bool)
    mask[part] = np.random.default_rng(5).random(mask[part].shape) < 0.8
    return mask


def ball(radius: float, size: int = 0, axes=(0, 1, 2)) -> np.ndarray:
    """A ball around the center of a cube, or a cylinder along the omitted axis."""
    size = size or int(2 * radius + 31)
    index = np.indices((size,) * 3) - size // 2 + 0.2
    return sum(index[axis] ** 2 for axis in axes) <= radius**2


def preview_of(label: sitk.Image, text: str):
    """Preview, border, soft label and effect."""
    preview, border = BorderPreview(label), Border.parse(text)
    soft = preview.soften(border)
    return preview, border, soft, preview.effect(border, soft)


def effect_of(label: sitk.Image, text: str):
    return preview_of(label, text)[-1]


def description_of(label: sitk.Image, text: str) -> str:
    return " ".join(describe_effect(effect_of(label, text), Border.parse(text)))


def shrinkage(radius: float, sigma: float, dimensions: int) -> float:
    """Theoretical inward shift of the 0.5 contour of a disc or ball under a Gaussian filter."""
    at = np.linspace(0, radius, 1001)
    rho = np.linspace(max(radius - 2 * sigma, 0.01), radius, 201)[:, None]
    if dimensions == 2:
        bell = np.exp(-((at - rho) ** 2) / (2 * sigma**2)) * special.ive(0, at * rho / sigma**2) * at / sigma**2
    else:
        bell = np.exp(-((at - rho) ** 2) / (2 * sigma**2)) - np.exp(-((at + rho) ** 2) / (2 * sigma**2))
        bell = bell * at / (rho * sigma * np.sqrt(2 * np.pi))
    values = np.trapezoid(bell, at, axis=1)  # decreasing in rho
    return radius - float(np.interp(-0.5, -values, rho[:, 0]))


# --- soft label --------------------------------------------------------------------------------------


def assert_preview_equals_training_label(label: sitk.Image, border: Border):
    soft = BorderPreview(label).soften(border)
    whole = smooth_border(label, border)
    corner = whole.TransformPhysicalPointToIndex(soft.GetOrigin())
    np.testing.assert_allclose(whole.TransformIndexToPhysicalPoint(corner), soft.GetOrigin(), atol=1e-6)
    assert (soft.GetSpacing(), soft.GetDirection()) == (whole.GetSpacing(), whole.GetDirection())
    assert soft.GetPixelID() == whole.GetPixelID()
    region = tuple(slice(start, start + size) for start, size in zip(corner, soft.GetSize(), strict=True))[::-1]
    pasted = np.zeros(whole.GetSize()[::-1], np.float32)
    pasted[region] = sitk.GetArrayViewFromImage(soft)
    np.testing.assert_array_equal(pasted, sitk.GetArrayViewFromImage(whole))


CUTS = {
    "whole": (slice(None),) * 3,
    "at the first slice": (slice(8, None), slice(None), slice(None)),
    "at the last row": (slice(None), slice(None, 15), slice(None)),
    "at every edge": (slice(8, 12), slice(10, 18), slice(9, 20)),
    "one slice": (slice(9, 10), slice(None), slice(None)),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("unit", ["mm", "px"])
@either_plane
@every_kernel
def test_preview_equals_training_label_for_truncated_labels(kernel, plane, unit, cut):
    label = image(blob()[cut], (0.8, 0.9, 2.5), turned(10, 20, 30), (-40, 50, 600))
    for width in (0, 0.7, 2.6, 6):
        assert_preview_equals_training_label(label, Border(kernel, width, unit, plane))


@either_plane
@every_kernel
def test_preview_equals_training_label_for_real_spleen(kernel, plane, sample_label):
    assert_preview_equals_training_label(sample_label, Border(kernel, 4, plane=plane))


def test_preview_equals_training_label_for_truncated_spleen(shared_case):
    _, label = shared_case("spleen_2")
    for text in ("gaussian:3mm", "gaussian:3mm:3d", "signed_distance:4mm:3d"):
        assert_preview_equals_training_label(label, Border.parse(text))


def test_preview_ignores_later_changes_to_the_label():
    label = image(blob())
    preview, border = BorderPreview(label), Border("gaussian", 1.5)
    before = sitk.GetArrayFromImage(preview.soften(border))
    label[5:20, 5:20, 5:20] = 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(preview.soften(border)), before)


def test_effect_accepts_an_uncropped_soft_label():
    label = image(blob(), (0.8, 0.9, 2.5))
    for text in ("gaussian:1.5mm", "gaussian:1.5mm:3d"):
        preview, border, _, effect = preview_of(label, text)
        of_whole = preview.effect(border, smooth_border(label, border))
        assert of_whole.contour_shift_mean_mm == pytest.approx(effect.contour_shift_mean_mm, abs=1e-6)
        assert of_whole == replace(effect, contour_shift_mean_mm=of_whole.contour_shift_mean_mm)


@pytest.mark.parametrize("unfit", [sitk.Image(8, 8, sitk.sitkUInt8), sitk.Image([4, 4, 4], sitk.sitkUInt8)])
def test_preview_of_invalid_label_raises_user_error(unfit):
    with pytest.raises(UserError, match=r"^[^.]+; choose a labelmap volume\.$|^[^.]+; choose another label\.$"):
        BorderPreview(unfit)


# --- contour shift ----------------------------------------------------------------------------


@either_plane
@every_kernel
def test_width_0_has_no_effect(kernel, plane):
    effect = effect_of(image(blob(), (0.8, 0.9, 2.5)), str(Border(kernel, 0, plane=plane)))
    assert (effect.contour_shift_mean_mm, effect.contour_shift_p95_mm, effect.band_mm) == (0, 0, 0)
    assert (effect.volume_change_ml, effect.volume_change_percent) == (0, 0)
    assert (effect.tips_lost_ml, effect.tips_lost_parts) == (0, 0)
    assert effect.volume_ml == pytest.approx(np.count_nonzero(blob()) * 0.8 * 0.9 * 2.5 / 1000)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kernel", sorted(KERNELS.keys() - {"none"}))
def test_straight_border_keeps_its_position_and_has_the_kernels_band(kernel, axis):
    spacing = (0.5, 0.6, 0.7)
    mask = np.zeros((60, 60, 60), bool)
    np.moveaxis(mask, axis, 0)[30:] = True  # the other sides are the edges of the image
    effect = effect_of(image(mask, spacing), f"{kernel}:4mm:3d")
    assert effect.contour_shift_p95_mm < 1e-5
    assert effect.volume_change_ml == 0
    if kernel in BAND:
        assert effect.band_mm == pytest.approx(4 * BAND[kernel], abs=0.5)  # some kernels round to whole voxels


@pytest.mark.parametrize(("radius", "sigma"), [(20, 1), (20, 2), (20, 4), (10, 2), (10, 3)])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_round_border_shrinks_by_the_theoretical_amount(dimensions, radius, sigma):
    axes = (0, 1, 2) if dimensions == 3 else (1, 2)
    effect = effect_of(image(ball(radius, axes=axes)), f"gaussian:{sigma}px:{dimensions}d")
    moved = shrinkage(radius, sigma, dimensions)
    assert effect.contour_shift_mean_mm == pytest.approx(moved, abs=0.15)
    assert effect.contour_shift_p95_mm < moved + 0.6
    expected = 100 * ((1 - moved / radius) ** dimensions - 1)
    assert effect.volume_change_percent == pytest.approx(expected, abs=1.2)
    assert effect.tips_lost_parts == 0


def test_2d_border_shifts_in_plane_only_and_3d_through_plane_too():
    spacing = (1.0, 1.0, 4.0)
    mask = np.zeros((15, 41, 41), bool)
    mask[5:10] = ball(12, 41, axes=(1, 2))[0]  # a cylinder of five slices
    flat, deep = (effect_of(image(mask, spacing), f"gaussian:3mm{plane}") for plane in ("", ":3d"))
    alone = effect_of(image(mask[7:8], spacing), "gaussian:3mm")
    assert flat.contour_shift_mean_mm == pytest.approx(alone.contour_shift_mean_mm, abs=1e-6)
    assert flat.band_mm == pytest.approx(alone.band_mm, abs=1e-6)
    assert deep.contour_shift_p95_mm > flat.contour_shift_p95_mm + 0.3  # at the rims of the flat ends
    assert (flat.voxel_mm, flat.slice_mm) == (1.0, 4.0)


def test_border_preserving_kernels_do_not_shift_a_real_border(sample_label):
    for text in ("svls:1px", "boundary_uncertainty:1px", "signed_distance:6mm"):
        effect = effect_of(sample_label, text)
        assert effect.contour_shift_mean_mm < 0.1 * effect.voxel_mm
        assert effect.volume_change_ml == 0
    assert effect_of(sample_label, "gaussian:6mm").contour_shift_mean_mm > 0.1 * effect.voxel_mm


def test_truncated_side_of_a_label_does_not_count_as_shift():
    truncated = ball(20)[:, :, 25:]  # not through the center of the ball
    whole, part = (effect_of(image(mask), "gaussian:3px:3d") for mask in (ball(20), truncated))
    assert part.contour_shift_p95_mm == pytest.approx(whole.contour_shift_p95_mm, abs=0.1)


def test_contours_of_levels_that_are_not_reached_are_none():
    thin = np.zeros((9, 41, 41), bool)
    thin[:, 5:36, 19:22] = True
    blurred, gone = (effect_of(image(thin), f"gaussian:{width}px") for width in (1.7, 6))
    assert (blurred.band_mm, blurred.contour_shift_mean_mm is None) == (None, False)
    assert (gone.band_mm, gone.contour_shift_mean_mm, gone.contour_shift_p95_mm) == (None, None, None)
    assert (gone.soft_volume_ml, gone.volume_change_percent, gone.tips_lost_parts) == (0, -100, 1)
    assert gone.tips_lost_ml == pytest.approx(gone.volume_ml)


def test_shift_is_weighted_by_border_length():
    mask = np.zeros((2, 20, 80), bool)
    mask[0, :, 32:48] = True  # two borders of 40 mm with a shift, on 20 rows each
    mask[1, 10:] = True  # one border of 40 mm without a shift, on 80 columns
    both, moving = (effect_of(image(part, (0.5, 2.0, 3.0)), "gaussian:5mm") for part in (mask, mask[:1]))
    assert moving.contour_shift_mean_mm > 0.2
    assert both.contour_shift_mean_mm == pytest.approx(2 / 3 * moving.contour_shift_mean_mm)
    assert both.contour_shift_p95_mm == pytest.approx(moving.contour_shift_p95_mm)


# --- tips ------------------------------------------------------------------------------------------------


def with_spikes() -> np.ndarray:
    """A block with two spikes of 2 x 2 x 12 voxels, one in-plane and one through-plane."""
    mask = np.zeros((60, 60, 60), bool)
    mask[20:40, 20:40, 20:40] = True
    mask[29:31, 29:31, 40:52] = True
    mask[40:52, 29:31, 29:31] = True
    return mask


def test_thin_spikes_are_counted_as_lost_tips():
    label = image(with_spikes(), (1.0, 1.0, 1.0))
    effect = effect_of(label, "gaussian:1.5px:3d")
    assert effect.tips_lost_parts == 2
    assert 2 * 4 * 9 / 1000 < effect.tips_lost_ml <= 2 * 4 * 12 / 1000


def test_2d_border_loses_a_through_plane_spike_as_one_part():
    effect = effect_of(image(with_spikes()), "gaussian:2.5px")
    across_slices = 12 * 4 / 1000  # it disappears from each of its slices
    assert effect.tips_lost_parts == 2
    assert across_slices < effect.tips_lost_ml <= 2 * across_slices


def test_narrow_border_loses_no_tips():
    assert effect_of(image(with_spikes()), "gaussian:0.5px:3d").tips_lost_parts == 0


@either_plane
def test_tips_match_a_brute_force_search(plane):
    mask = blob((12, 16, 16), (slice(2, 10), slice(2, 14), slice(2, 14)))
    _, _, soft, effect = preview_of(image(mask), f"gaussian:1.2px:{plane}")
    kept = np.zeros(mask.shape, bool)
    corner = soft.TransformContinuousIndexToPhysicalPoint([0.0] * 3)[::-1]
    region = tuple(slice(int(c), int(c) + n) for c, n in zip(corner, soft.GetSize()[::-1], strict=True))
    kept[region] = sitk.GetArrayFromImage(soft) >= 0.5
    lost = {tuple(voxel) for voxel in np.argwhere(mask & ~kept)}

    def neighbors(voxel):
        steps = np.ndindex((3, 3, 3) if plane == "3d" else (1, 3, 3))
        middle = (1, 1, 1) if plane == "3d" else (0, 1, 1)
        return {tuple(np.add(voxel, step) - middle) for step in steps}

    left = {tuple(voxel) for voxel in np.argwhere(mask & kept)}
    deep = {voxel for voxel in lost if not neighbors(voxel) & left}
    tips = {voxel for voxel in lost if neighbors(voxel) & deep}
    assert tips
    assert effect.tips_lost_ml == pytest.approx(len(tips) / 1000)


# --- profile -----------------------------------------------------------------------------------------


def test_profile_of_straight_border_matches_the_kernel():
    mask = np.zeros((4, 40, 60), bool)
    mask[:, :, 30:] = True
    spacing = (0.5, 0.5, 2.0)
    preview, border, soft, _ = preview_of(image(mask, spacing), "gaussian:2mm")
    distances, values = preview.profile(border, soft)
    np.testing.assert_allclose(values, special.ndtr(distances / 2), atol=0.01)
    assert distances.min() < -5 < 5 < distances.max()
    assert np.all(np.diff(distances) > 0.2)


@pytest.mark.parametrize("plane", ["2d", "3d"])
def test_profile_of_round_border_matches_shift_and_band(plane):
    axes = (0, 1, 2) if plane == "3d" else (1, 2)
    preview, border, soft, effect = preview_of(image(ball(15, axes=axes)), f"gaussian:3px:{plane}")
    distances, values = preview.profile(border, soft)
    assert np.all(np.diff(values) > -0.01)
    assert np.interp(0.5, values, distances) == pytest.approx(effect.contour_shift_mean_mm, abs=0.25)
    band = np.interp([0.05, 0.95], values, distances)
    assert np.ptp(band) == pytest.approx(effect.band_mm, abs=0.4)


def test_profile_of_hard_border_is_a_step():
    preview, border, soft, _ = preview_of(image(blob(), (0.8, 0.9, 2.5)), "none")
    distances, values = preview.profile(border, soft)
    np.testing.assert_array_equal(values, distances > 0)
    assert distances.min() < 0 < distances.max()


@pytest.mark.parametrize("text", ["gaussian:2mm", "gaussian:2mm:3d", "box:3px", "signed_distance:4mm:3d"])
def test_profile_of_real_spleen_is_increasing(text, shared_case):
    _, label = shared_case("spleen_5")
    preview, border, soft, _ = preview_of(label, text)
    distances, values = preview.profile(border, soft)
    assert (values[0], values[-1]) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.02))
    assert np.interp(0, distances, values) == pytest.approx(0.5, abs=0.05)
    assert np.diff(values).min() > -0.05


# --- description --------------------------------------------------------------------------------------------


def test_describe_effect_returns_one_to_four_sentences(sample_label):
    for kernel in KERNELS:
        for width in (0, 1, 5, 20):
            for plane in ("2d", "3d"):
                border = Border(kernel, width, plane=plane)
                preview = BorderPreview(sample_label)
                sentences = describe_effect(preview.effect(border, preview.soften(border)), border)
                assert 1 <= len(sentences) <= 4
                for sentence in sentences:
                    assert sentence[0].isupper() or sentence[0].isdigit()
                    assert sentence.endswith(".")
                    assert "None" not in sentence
                    assert "nan" not in sentence


def test_describe_effect_of_hard_border():
    label = image(ball(15))
    assert description_of(label, "none") == "The border stays hard: training would use the label as drawn."
    assert "too small for voxels of 1 mm" in description_of(label, "svls:0.4px")


def test_describe_effect_of_contour_shift():
    label = image(ball(12))
    assert "the shape is kept" in description_of(label, "gaussian:1px:3d")
    moved = description_of(label, "gaussian:4px:3d")
    shift = float(re.search(r"moves by ([0-9.]+) mm on average", moved)[1])
    assert shift == pytest.approx(shrinkage(12, 4, 3), abs=0.25)
    assert "learn a different shape; a narrower or 2D border keeps the shape" in moved
    assert "shrinks by" in moved


def test_describe_effect_through_plane():
    label = image(ball(12), (0.8, 0.8, 5.0))
    assert "a 2D border does not smooth across slices, which are 5 mm apart" in description_of(label, "gaussian:2mm")
    assert "less than the slice spacing of 5 mm" in description_of(label, "gaussian:1mm:3d")
    assert "in-plane and across slices, which are 5 mm apart" in description_of(label, "gaussian:3mm:3d")


def test_describe_effect_of_lost_tips():
    description = description_of(image(with_spikes(), (2.0, 2.0, 2.0)), "gaussian:3mm:3d")
    assert "0.7 mL in 2 parts" in description  # 2 x 12 x 4 voxels of 8 mm3, minus the bases
    assert "a narrower or 2D border keeps more of them" in description


def test_describe_effect_of_levels_that_are_not_reached():
    thin = np.zeros((9, 41, 41), bool)
    thin[:, 5:36, 19:22] = True
    assert description_of(image(thin), "gaussian:6px").startswith("The soft label does not reach 0.5")
    assert "The soft label does not reach 0.95" in description_of(image(thin), "gaussian:1.7px")


def test_describe_effect_of_label_that_fills_the_image():
    label = image(np.ones((5, 5, 5), bool))
    assert description_of(label, "gaussian:2px") == (
        "The border of the label is outside the image, so there is nothing to smooth."
    )
