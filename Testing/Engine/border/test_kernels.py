"""Border kernels: published profiles, and invariants that every kernel preserves."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from locations import SAMPLE_DATA
from SpleenSmoothSegLib.border.kernels import KERNELS, MAX_WIDTH, REACH, Border, smooth_border, soften
from SpleenSmoothSegLib.errors import UserError

SAMPLE = SAMPLE_DATA / "spleen.nii.gz"
ISOTROPIC = (1.0, 1.0, 1.0)
LINEAR = ("gaussian", "box", "svls")
SMOOTHING = (*LINEAR, "boundary_uncertainty", "signed_distance")

every_kernel = pytest.mark.parametrize("kernel", SMOOTHING)
linear_kernel = pytest.mark.parametrize("kernel", LINEAR)
either_plane = pytest.mark.parametrize("plane", ["2d", "3d"])
a_few_times = settings(max_examples=12, deadline=None)

widths = st.floats(0, 5)
spacings = st.tuples(st.floats(1.5, 5), st.floats(0.6, 1.2), st.floats(0.6, 1.2))


@st.composite
def blobs(draw, shape=(7, 15, 17)) -> np.ndarray:
    """Ragged labels anywhere in the array, including its edges; sometimes empty or full."""
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, draw(st.floats(0, 2)))
    return smooth > np.quantile(smooth, draw(st.floats(0, 1)))


def centered(mask: np.ndarray, margin: int = 25) -> np.ndarray:
    """The mask padded so far that no kernel reaches the edge of the array."""
    return np.pad(mask, margin)


def straight_edge(length: int = 40) -> np.ndarray:
    """Background in the first half of the columns, label in the second half."""
    mask = np.zeros((5, 9, length), bool)
    mask[:, :, length // 2 :] = True
    return mask


def profile(text: str, axis: int = 2, spacing=ISOTROPIC) -> np.ndarray:
    """Values across a straight edge perpendicular to ``axis``, from outside to inside."""
    mask = np.moveaxis(np.broadcast_to(np.arange(40) >= 20, (9, 9, 40)), 2, axis)
    soft = np.moveaxis(soften(mask, spacing, Border.parse(text)), axis, 2)
    assert np.ptp(soft, axis=(0, 1)).max() < 1e-6, "a straight edge must stay straight"
    return soft[4, 4]


def slope(text: str, **options) -> np.ndarray:
    """The part of the profile that is neither 0 nor 1."""
    values = profile(text, **options)
    return values[(values > 0) & (values < 1)]


def image(mask: np.ndarray, spacing=(0.8, 0.8, 2.5)) -> sitk.Image:
    label = sitk.GetImageFromArray(mask.astype(np.uint8))
    label.SetSpacing(spacing)
    return label


# --- published profiles ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("box:3px", [1 / 3, 2 / 3]),
        ("box:5px", [0.2, 0.4, 0.6, 0.8]),
        ("box:2px", [0.25, 0.75]),
        ("svls:1px", [0.1722, 0.8278]),
        ("svls:1px:3d", [0.1510, 0.8490]),
        ("boundary_uncertainty:1px", [0.1, 0.9]),
        ("boundary_uncertainty:2px", [0.1, 0.1, 0.9, 0.9]),
    ],
)
def test_profile_of_straight_edge_matches_publication(text, expected):
    np.testing.assert_allclose(slope(text), expected, atol=5e-5)


def test_gaussian_profile_matches_publication():
    np.testing.assert_allclose(profile("gaussian:1px")[18:22], [0.06, 0.30, 0.70, 0.94], atol=0.005)


def test_signed_distance_rises_from_01_to_09_over_its_width():
    values = profile("signed_distance:5px")
    np.testing.assert_allclose([values[17], values[22]], [0.1, 0.9], atol=1e-6)  # centers 2.5 from the border
    np.testing.assert_allclose(np.interp([17.5 - 0.5, 22.5 - 0.5], range(40), values), [0.1, 0.9], atol=1e-6)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_svls_matches_published_kernel_of_size_3_and_sigma_1(dimensions):
    offsets = np.stack(np.meshgrid(*[[-1, 0, 1]] * dimensions, indexing="ij"))
    kernel = np.exp(-0.5 * (offsets**2).sum(0))
    kernel[(1,) * dimensions] = kernel.sum() - 1  # the center weighs as much as its neighbors together
    mask = np.random.default_rng(0).random((6, 12, 13)) < 0.4
    published = ndimage.convolve(mask.astype(float), (kernel / kernel.sum()).reshape((-1, 3, 3)), mode="nearest")
    plane = {2: "2d", 3: "3d"}[dimensions]
    np.testing.assert_allclose(soften(mask, ISOTROPIC, Border("svls", 1, "px", plane)), published, atol=1e-6)


def test_boundary_uncertainty_matches_published_erosion_and_dilation():
    mask = np.zeros((1, 9, 9), bool)
    mask[0, 3:6, 3:6] = True
    expected = np.zeros((9, 9), np.float32)
    expected[2:7, 2:7], expected[3:6, 3:6], expected[4, 4] = 0.1, 0.9, 1
    soft = soften(mask, ISOTROPIC, Border("boundary_uncertainty", 1, "px"))
    np.testing.assert_array_equal(soft[0], expected)


@given(mask=blobs((5, 8, 9)), spacing=spacings, width=st.floats(0.1, 8))
@a_few_times
def test_signed_distance_matches_brute_force_distance_to_faces(mask, spacing, width):
    points, size = np.argwhere(np.ones_like(mask)), np.array(spacing)
    steps = np.abs(points[:, None] - points[None])
    lengths = np.linalg.norm(np.maximum(steps - 0.5, 0) * size, axis=2)
    lengths[mask.ravel()[:, None] == mask.ravel()[None]] = np.inf
    depth = lengths.min(axis=1).reshape(mask.shape) * np.where(mask, 1, -1)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-2 * np.log(9) * depth / width))
    soft = soften(mask, spacing, Border("signed_distance", width, plane="3d"))
    np.testing.assert_allclose(soft, expected, atol=2e-4)  # error of clipping at 2 widths


# --- invariants -----------------------------------------------------------------------------


@every_kernel
@given(mask=blobs(), spacing=spacings, width=widths, unit=st.sampled_from(["mm", "px"]))
@a_few_times
def test_values_are_float32_between_0_and_1(kernel, mask, spacing, width, unit):
    for plane in ("2d", "3d"):
        soft = soften(mask, spacing, Border(kernel, width, unit, plane))
        assert soft.dtype == np.float32
        assert soft.shape == mask.shape
        assert soft.min() >= 0
        assert soft.max() <= 1


@every_kernel
@given(mask=blobs(), spacing=spacings, width=widths)
@a_few_times
def test_soft_label_of_complement_is_complement(kernel, mask, spacing, width):
    for plane in ("2d", "3d"):
        border = Border(kernel, width, plane=plane)
        soft, complement = soften(mask, spacing, border), soften(~mask, spacing, border)
        np.testing.assert_allclose(complement, 1 - soft, atol=1e-6)


@linear_kernel
@given(mask=blobs((3, 9, 10)), width=widths)
@a_few_times
def test_linear_kernels_preserve_volume(kernel, mask, width):
    for plane in ("2d", "3d"):
        soft = soften(centered(mask), ISOTROPIC, Border(kernel, width, plane=plane))
        assert soft.sum(dtype=float) == pytest.approx(mask.sum(), rel=1e-5)


@every_kernel
@given(width=widths, unit=st.sampled_from(["mm", "px"]))
@a_few_times
def test_straight_edge_is_monotonic_and_crosses_05_in_place(kernel, width, unit):
    values = profile(str(Border(kernel, width, unit, "3d")), spacing=(2.5, 0.9, 0.8))
    assert (np.diff(values) >= -1e-6).all()
    assert values[19] < 0.5 < values[20]
    np.testing.assert_allclose(values + values[::-1], 1, atol=1e-6)


@every_kernel
@given(mask=blobs((4, 13, 13)), width=widths)
@a_few_times
def test_smoothing_commutes_with_flips_and_90_degree_rotations(kernel, mask, width):
    for plane in ("2d", "3d"):
        border = Border(kernel, width, plane=plane)
        soft = soften(mask, (3, 0.8, 0.8), border)
        for move in (
            lambda volume: volume[::-1],
            lambda volume: volume[:, ::-1],
            lambda volume: volume[:, :, ::-1],
            lambda volume: np.rot90(volume, 1, (1, 2)),
            lambda volume: np.rot90(volume, 2, (1, 2)),
            lambda volume: volume.transpose(0, 2, 1),
        ):
            np.testing.assert_allclose(soften(move(mask), (3, 0.8, 0.8), border), move(soft), atol=1e-6)


@every_kernel
@given(mask=blobs(), spacing=spacings, width=widths)
@a_few_times
def test_bounding_box_result_equals_whole_array_result(kernel, mask, spacing, width):
    for plane in ("2d", "3d"):
        border = Border(kernel, width, plane=plane)
        in_voxels = [width / size for size in spacing]
        in_voxels[0] *= plane == "3d"
        small = np.pad(mask[2:5, 4:11, 5:9], ((2, 2), (4, 4), (5, 8)))
        whole = KERNELS[kernel](small, in_voxels)
        np.testing.assert_allclose(soften(small, spacing, border), whole, atol=1e-6)


@every_kernel
@either_plane
@pytest.mark.parametrize("width", [1, 1.5, 2.3, 4])
def test_voxels_beyond_reach_are_exactly_0(kernel, plane, width):
    mask = np.zeros((60, 61, 62), bool)
    mask[30, 30, 30] = True
    reached = np.argwhere(soften(mask, ISOTROPIC, Border(kernel, width, "px", plane)))
    assert np.abs(reached - 30).max() <= REACH[kernel] * width + 1


@pytest.mark.parametrize("kernel", KERNELS)
@either_plane
@pytest.mark.parametrize("unit", ["mm", "px"])
def test_width_0_returns_the_hard_label(kernel, plane, unit):
    mask = np.random.default_rng(1).random((5, 9, 8)) < 0.5
    soft = soften(mask, (5, 0.7, 0.7), Border(kernel, 0, unit, plane))
    np.testing.assert_array_equal(soft, mask.astype(np.float32))


@pytest.mark.parametrize("text", ["svls:0.49px:3d", "boundary_uncertainty:0.49px", "box:1px:3d", "none:3mm"])
def test_width_below_voxel_size_returns_the_hard_label(text):
    mask = np.random.default_rng(1).random((5, 9, 8)) < 0.5
    np.testing.assert_array_equal(soften(mask, ISOTROPIC, Border.parse(text)), mask.astype(np.float32))


@every_kernel
@either_plane
def test_empty_and_full_labels_are_unchanged(kernel, plane):
    border = Border(kernel, 2, plane=plane)
    for mask in (np.zeros((4, 7, 8), bool), np.ones((4, 7, 8), bool), np.ones((1, 1, 1), bool)):
        np.testing.assert_array_equal(soften(mask, (2, 1, 1), border), mask.astype(np.float32))


@every_kernel
def test_core_is_exactly_1(kernel):
    soft = soften(straight_edge(), ISOTROPIC, Border(kernel, 2.3, "px", "3d"))
    assert (soft[:, :, 32:] == 1).all()
    assert (soft[:, :, :8] == 0).all()


@every_kernel
@either_plane
def test_label_at_array_edge_is_not_smoothed_there(kernel, plane):
    mask = np.zeros((6, 20, 20), bool)
    mask[:, :, 10:] = True  # truncated at the last column, the rows and the slices
    soft = soften(mask, ISOTROPIC, Border(kernel, 2, plane=plane))
    assert (soft[:, :, -1] == 1).all()
    assert np.ptp(soft, axis=(0, 1)).max() == 0


# --- planes, units and spacing ---------------------------------------------------------------------------


@every_kernel
def test_2d_smooths_in_plane_only_and_3d_through_plane_too(kernel):
    mask = np.zeros((17, 21, 21), bool)
    mask[4:13, 6:15, 6:15] = True
    flat, deep = (soften(mask, ISOTROPIC, Border(kernel, 2, "px", plane)) for plane in ("2d", "3d"))
    assert 0 < deep[3, 10, 10] < 0.5 < deep[4, 10, 10] < 1
    assert not flat[:4].any()
    assert not flat[13:].any()
    one_by_one = [soften(slice_[None], ISOTROPIC, Border(kernel, 2, "px"))[0] for slice_ in mask]
    np.testing.assert_array_equal(flat, one_by_one)


@every_kernel
def test_width_in_mm_scales_with_spacing_of_each_axis(kernel):
    for axis, spacing in enumerate((5.0, 2.0, 0.5)):
        in_mm = profile(f"{kernel}:4mm:3d", axis=axis, spacing=np.roll((spacing, 1e6, 1e6), axis))
        in_voxels = profile(f"{kernel}:{4 / spacing}px:2d", spacing=ISOTROPIC)
        if kernel == "svls":  # not separable by axis
            np.testing.assert_array_equal(in_mm > 0.5, in_voxels > 0.5)
        else:
            np.testing.assert_allclose(in_mm, in_voxels, atol=1e-6)


def test_gaussian_covers_half_as_many_rows_at_double_spacing():
    fine = slope("gaussian:2mm", axis=1, spacing=(5, 1, 3))
    coarse = slope("gaussian:2mm", axis=1, spacing=(5, 2, 3))
    assert fine.size == 2 * coarse.size == 16
    np.testing.assert_allclose(coarse, slope("gaussian:1px"), atol=1e-6)


@every_kernel
def test_3d_width_far_below_slice_spacing_leaves_slices_separate(kernel):
    mask = np.zeros((5, 21, 21), bool)
    mask[2, 5:16, 5:16] = True
    soft = soften(mask, (5, 0.8, 0.8), Border(kernel, 1, plane="3d"))
    assert soft[[0, 1, 3, 4]].max() < 1e-4
    assert 0 < soft[2, 10, 4] < 0.5


@pytest.mark.parametrize("width", [1.1, 1.9, 2.0, 2.5, 3.4, 4.0])
def test_box_of_fractional_width_weights_partly_covered_voxels(width):
    distance = np.arange(-19.5, 20)  # from each voxel's center to the edge
    covered = np.clip(distance / width + 0.5, 0, 1)
    np.testing.assert_allclose(profile(f"box:{width}px"), covered, atol=1e-6)


# --- images ----------------------------------------------------------------------------------------------


def test_smooth_border_keeps_oblique_geometry():
    label = image(np.random.default_rng(2).random((6, 8, 9)) < 0.5)
    turn = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.3, 0.4)
    label.SetDirection(turn.GetMatrix())
    label.SetOrigin((-120.5, 33.25, 1000))
    soft = smooth_border(label, Border("gaussian", 1.5))
    assert soft.GetPixelID() == sitk.sitkFloat32
    for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(soft, geometry)() == getattr(label, geometry)()


@pytest.mark.parametrize("pixel", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkUInt32, sitk.sitkFloat64])
def test_smooth_border_selects_one_label_value(pixel):
    values = np.zeros((4, 12, 14), np.uint8)
    values[1:3, 2:7, 2:7] = 1
    values[1:3, 2:7, 7:12] = 3
    label = sitk.Cast(image(values), pixel)
    border = Border("box", 3, "px")
    for value in (1, 3):
        soft = sitk.GetArrayFromImage(smooth_border(label, border, value))
        np.testing.assert_array_equal(soft, soften(values == value, ISOTROPIC, border))
    both = sum(sitk.GetArrayFromImage(smooth_border(label, border, value)) for value in (1, 3))
    np.testing.assert_allclose(both, soften(values > 0, ISOTROPIC, border), atol=1e-6)
    assert not sitk.GetArrayFromImage(smooth_border(label, border, 2)).any()


@either_plane
@every_kernel
def test_smooth_border_equals_soften(kernel, plane):
    rng = np.random.default_rng(3)
    for shape in ((6, 9, 11), (1, 9, 11), (6, 1, 11), (5, 6, 1), (1, 1, 1)):
        mask = rng.random(shape) < 0.5
        border = Border(kernel, 1.7, plane=plane)
        soft = sitk.GetArrayFromImage(smooth_border(image(mask, (0.7, 0.9, 2.5)), border))
        np.testing.assert_array_equal(soft, soften(mask, (2.5, 0.9, 0.7), border))


def test_smooth_border_does_not_modify_its_input():
    label = image(straight_edge())
    before = sitk.Hash(label)
    smooth_border(label, Border("gaussian", 2))
    assert sitk.Hash(label) == before


@every_kernel
def test_real_spleen_keeps_core_and_volume(kernel):
    label = sitk.ReadImage(str(SAMPLE))
    mask = sitk.GetArrayViewFromImage(label) == 1
    soft = sitk.GetArrayFromImage(smooth_border(label, Border(kernel, 4)))
    assert mask.any()
    assert soft.max() == 1
    assert ((soft > 0) & (soft < 1)).any()
    assert soft[mask].min() >= 0.1
    assert soft.sum(dtype=float) == pytest.approx(mask.sum(), rel=0.05)
    overlap = 2 * ((soft > 0.5) & mask).sum() / ((soft > 0.5).sum() + mask.sum())
    assert overlap > 0.95


@pytest.mark.parametrize(
    "unfit",
    [sitk.Image(8, 8, sitk.sitkUInt8), sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3)],
    ids=["2D", "RGB"],
)
def test_smooth_border_of_non_scalar_3d_image_raises_user_error(unfit):
    with pytest.raises(UserError, match=r"^[^.]*3D image[^.]*\.$"):
        smooth_border(unfit, Border("gaussian", 1))


@pytest.mark.parametrize(
    ("mask", "spacing"),
    [(np.ones((3, 3)), ISOTROPIC), (np.ones((3, 3, 3)), (1, 1)), (np.ones((3, 3, 3)), (1, 0, 1))],
)
def test_soften_of_invalid_mask_or_spacing_raises_value_error(mask, spacing):
    with pytest.raises(ValueError, match="3D mask and three positive spacings"):
        soften(mask, spacing, Border("gaussian", 1))


# --- text --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "border"),
    [
        ("none", Border("none")),
        ("gaussian:1.5mm", Border("gaussian", 1.5, "mm", "2d")),
        ("gaussian:1.5", Border("gaussian", 1.5, "mm", "2d")),
        ("box:3px", Border("box", 3, "px", "2d")),
        ("svls:1px:3d", Border("svls", 1, "px", "3d")),
        (" Signed_Distance : 4 MM : 2D ", Border("signed_distance", 4, "mm", "2d")),
        ("boundary_uncertainty:0mm", Border("boundary_uncertainty")),
    ],
)
def test_parse_accepts_all_forms(text, border):
    assert Border.parse(text) == border


@pytest.mark.parametrize("text", ["none", "gaussian:1.5mm", "box:3px", "svls:1px:3d", "signed_distance:4mm"])
def test_parse_and_str_round_trip_examples(text):
    assert str(Border.parse(text)) == text


@given(
    border=st.builds(
        Border,
        st.sampled_from(list(KERNELS)),
        st.floats(0, MAX_WIDTH) | st.integers(0, int(MAX_WIDTH)),
        st.sampled_from(["mm", "px"]),
        st.sampled_from(["2d", "3d"]),
    )
)
@settings(max_examples=50, deadline=None)
def test_str_and_parse_round_trip_any_border(border):
    assert Border.parse(str(border)) == border


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "kernel ''"),
        ("blur:2mm", "choose one of none, gaussian, box, svls, boundary_uncertainty, signed_distance"),
        ("gaussian", "no width"),
        ("gaussian:3d", "no width"),
        ("gaussian:", "not a number"),
        ("gaussian:wide", "not a number"),
        ("gaussian:3cm", "not a number"),
        ("gaussian:1,5mm", "not a number"),
        ("gaussian:-1mm", "-1.0 mm is out of range"),
        ("gaussian:nan", "nan mm is out of range"),
        ("gaussian:infmm", "inf mm is out of range"),
        ("box:1500px", "1500.0 px is out of range"),
        ("gaussian:1mm:4d", "is not a border"),
        ("gaussian:1mm:3d:2d", "is not a border"),
    ],
)
def test_parse_of_invalid_text_raises_one_sentence(text, names):
    with pytest.raises(UserError) as refused:
        Border.parse(text)
    sentence = str(refused.value)
    assert names in sentence
    assert sentence.endswith(".")
    assert ". " not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "parts", [("blur", 1), ("box", -1), ("box", float("nan")), ("box", 1, "cm"), ("box", 1, "mm", "4d")]
)
def test_border_with_invalid_fields_raises_user_error(parts):
    with pytest.raises(UserError):
        Border(*parts)
