"""Augmentation: the published list, CT and label transformed together, soft labels."""

import albumentations
import numpy as np
import pytest

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.augmentation import MAX_DISTANCE_FACTOR, MOTTLE_HU, ORGAN_HU, Augmentation

FLIPS = ["RandomRotate90", "HorizontalFlip", "VerticalFlip", "Transpose"]
BRIGHTNESS = ["RandomBrightnessContrast", "RandomGamma"]
GROUPS = ("flips", "brightness", "body", "intensity", "noise", "organ", "thickness")
SIZE = 64


def blob() -> np.ndarray:
    """A soft label (row, column) from 0 to 0.7 that no rotation or flip maps onto itself."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    near = np.hypot((rows - 22) / 1.5, columns - 35) < 9
    near |= np.hypot(rows - 34, (columns - 42) / 2) < 7
    soft = near.astype(np.float32)
    for _ in range(3):
        soft = (soft + np.roll(soft, 1, 0) + np.roll(soft, -1, 0) + np.roll(soft, 1, 1) + np.roll(soft, -1, 1)) / 5
    return np.float32(0.7) * soft


@pytest.fixture(scope="module")
def label() -> np.ndarray:
    return blob()


def ct_like(label: np.ndarray, channels: int = 1) -> np.ndarray:
    """A CT that is dark outside and bright inside the label, in every channel."""
    return np.repeat((0.2 + 0.6 * label / 0.7)[None], channels, axis=0)


def steps(name: str) -> list[str]:
    return [type(step).__name__ for step in Augmentation(name).steps.transforms]


def values(name: str, number: int = 60, channels: int = 1):
    """Augmented samples for that number of seeds."""
    augmentation, label = Augmentation(name), blob()
    return [augmentation(ct_like(label, channels), label, seed) for seed in range(number)]


# Published transforms.


def test_published_has_the_published_transforms():
    assert steps("published") == [*FLIPS, *BRIGHTNESS]
    assert steps("flips") == FLIPS and steps("brightness") == BRIGHTNESS


def test_published_uses_default_parameters():
    for step in Augmentation("published").steps.transforms:
        assert step.to_dict() == type(step)().to_dict()


def test_published_does_not_change_organ_or_channel_distance():
    augmentation = Augmentation("published")
    assert {augmentation.channel_distance(seed) for seed in range(50)} == {1.0}
    assert augmentation._organ_hu == 0


def test_flips_yield_every_rotation_and_flip():
    label = blob()
    eight = [np.rot90(each, times) for each in (label, label.T) for times in range(4)]
    came = {number for _, moved in values("flips", 150) for number in range(8) if np.array_equal(moved, eight[number])}
    assert came == set(range(8)), "the symmetries of a square"
    assert all(any(np.array_equal(moved, each) for each in eight) for _, moved in values("published"))


@pytest.mark.parametrize("channels", [1, 3])
def test_none_changes_nothing(label, channels):
    ct = ct_like(label, channels)
    same_ct, same_label = Augmentation("none")(ct, label, 5)
    assert np.array_equal(same_ct, ct) and np.array_equal(same_label, label)


# CT and label.


@pytest.mark.parametrize("channels", [1, 3, 5, 7])
@pytest.mark.parametrize("name", ["published", *GROUPS, "+".join(GROUPS)])
def test_augmentation_keeps_shape_type_and_value_range(name, channels):
    for ct, label in values(name, 8, channels):
        assert ct.shape == (channels, SIZE, SIZE) and label.shape == (SIZE, SIZE)
        assert ct.dtype == label.dtype == np.float32
        assert ct.min() >= 0 and ct.max() <= 1 and label.min() >= 0 and label.max() <= 1


@pytest.mark.parametrize("name", ["flips", "body"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ct_and_label_are_transformed_together(label, name, channels):
    augmentation = Augmentation(name)
    moved = 0
    for seed in range(40):
        ct, after = augmentation(np.repeat(label[None], channels, axis=0), label, seed)
        for channel in ct:
            np.testing.assert_allclose(channel, after, atol=1e-5)
        moved += not np.array_equal(after, label)
    assert moved > 25


def test_brightness_keeps_the_organ_brighter_than_its_surroundings():
    for name in ("published", "intensity+body"):
        for ct, label in values(name):
            assert np.median(ct[0][label > 0.6]) > np.median(ct[0][label == 0]) + 0.15


@pytest.mark.parametrize("name", ["published", "flips", "body"])
def test_geometric_transforms_keep_the_label_soft(label, name):
    for _, moved in values(name):
        assert moved.max() == pytest.approx(label.max(), abs=0.02)
        border = ((moved > 0.05) & (moved < 0.6)).sum()
        assert border == pytest.approx(((label > 0.05) & (label < 0.6)).sum(), rel=0 if name != "body" else 0.6)


@pytest.mark.parametrize("name", ["brightness", "intensity", "noise", "organ", "thickness"])
def test_intensity_transforms_do_not_change_the_label(label, name):
    assert all(np.array_equal(moved, label) for _, moved in values(name))


@pytest.mark.parametrize("name", ["brightness", "intensity", "noise", "organ"])
def test_intensity_transforms_apply_to_some_samples(label, name):
    changed = np.mean([not np.array_equal(ct, ct_like(label)) for ct, _ in values(name)])
    assert 0.3 < changed < 0.98


# Brightness of the organ, and the distance of the channels.


@pytest.mark.parametrize("channels", [1, 3])
def test_organ_changes_only_inside_the_label(label, channels):
    before = ct_like(label, channels)
    changes = [ct - before for ct, _ in values("organ", 60, channels)]
    assert all((change[:, label == 0] == 0).all() for change in changes)
    inside = [float(np.median(change[:, label > 0.65])) for change in changes]
    assert min(inside) < -0.03 and max(inside) > 0.03
    assert max(map(abs, inside)) <= (ORGAN_HU + MOTTLE_HU) / 400


def test_organ_change_scales_with_the_window(label):
    """The same change in HU is a smaller fraction of a wider window."""
    flat = np.full((1, SIZE, SIZE), 0.5, np.float32)
    narrow, wide = (
        [Augmentation("organ", width)(flat, label, seed)[0] - 0.5 for seed in range(20)] for width in (400.0, 800.0)
    )
    assert np.abs(narrow).max() > 0.03
    np.testing.assert_allclose(narrow, np.multiply(wide, 2), atol=1e-6)


def test_channel_distance_changes_in_half_of_the_samples():
    distances = [Augmentation("thickness").channel_distance(seed) for seed in range(300)]
    assert np.mean([distance != 1 for distance in distances]) == pytest.approx(0.5, abs=0.1)
    assert 1 / MAX_DISTANCE_FACTOR <= min(distances) < 0.7 and 1.4 < max(distances) <= MAX_DISTANCE_FACTOR


# The same seed.


@pytest.mark.parametrize("name", ["published", "+".join(GROUPS)])
def test_same_seed_gives_the_same_sample(label, name):
    ct = ct_like(label, 3)
    first, second = Augmentation(name), Augmentation(name)
    once = [first(ct, label, seed) for seed in range(12)]
    np.random.seed(1)
    again = [second(ct, label, seed) for seed in reversed(range(12))][::-1]
    for one, other in zip(once, again, strict=True):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    assert len({each[0].tobytes() for each in once}) > 8, "and another seed another one"


def test_input_is_not_modified(label):
    for name in ("published", "+".join(GROUPS)):
        ct = ct_like(label, 3)
        before, label_before = ct.copy(), label.copy()
        for seed in range(10):
            Augmentation(name)(ct, label, seed)
        assert np.array_equal(ct, before) and np.array_equal(label, label_before)


# Names.


def test_published_can_be_combined_with_other_groups():
    assert steps("published+noise") == [*FLIPS, *BRIGHTNESS, *steps("noise")]


@pytest.mark.parametrize("name", ["mixup", "flips+mixup", "", "flips+", "Published"])
def test_unknown_augmentation_raises_an_error(name):
    with pytest.raises(UserError, match="choose from: published, none, flips, brightness, body") as caught:
        Augmentation(name)
    assert "\n" not in str(caught.value)


def test_albumentations_does_not_check_for_updates():
    import os

    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1" and albumentations.__version__.startswith("2.0.")
