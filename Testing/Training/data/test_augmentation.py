"""Augmentation: the published list as published, CT and label moved together, the label soft as before."""

import albumentations
import numpy as np
import pytest

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.augmentation import FARTHEST, MOTTLE_HU, ORGAN_HU, Augmentation

TURNS = ["RandomRotate90", "HorizontalFlip", "VerticalFlip", "Transpose"]
TONES = ["RandomBrightnessContrast", "RandomGamma"]
GROUPS = ("turns", "tones", "body", "intensity", "noise", "organ", "thickness")
SIZE = 64


def blob() -> np.ndarray:
    """A soft label (row, column) that no turn or flip maps onto itself, from 0 to 0.7."""
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
    """What comes out for so many seeds."""
    augmentation, label = Augmentation(name), blob()
    return [augmentation(ct_like(label, channels), label, seed) for seed in range(number)]


# What is published.


def test_the_published_augmentation_is_the_published_list():
    assert steps("published") == [*TURNS, *TONES]
    assert steps("turns") == TURNS and steps("tones") == TONES


def test_of_what_the_paper_does_not_state_the_published_list_has_albumentations_own():
    for step in Augmentation("published").steps.transforms:
        assert step.to_dict() == type(step)().to_dict()


def test_the_published_augmentation_moves_no_organ_and_no_channel():
    augmentation = Augmentation("published")
    assert {augmentation.channel_distance(seed) for seed in range(50)} == {1.0}
    assert augmentation._organ_hu == 0


def test_every_turn_and_flip_comes_up():
    label = blob()
    eight = [np.rot90(each, turns) for each in (label, label.T) for turns in range(4)]
    came = {number for _, moved in values("turns", 150) for number in range(8) if np.array_equal(moved, eight[number])}
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
def test_shapes_and_types_stay_and_values_stay_between_0_and_1(name, channels):
    for ct, label in values(name, 8, channels):
        assert ct.shape == (channels, SIZE, SIZE) and label.shape == (SIZE, SIZE)
        assert ct.dtype == label.dtype == np.float32
        assert ct.min() >= 0 and ct.max() <= 1 and label.min() >= 0 and label.max() <= 1


@pytest.mark.parametrize("name", ["turns", "body"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ct_and_label_move_together(label, name, channels):
    augmentation = Augmentation(name)
    moved = 0
    for seed in range(40):
        ct, after = augmentation(np.repeat(label[None], channels, axis=0), label, seed)
        for channel in ct:
            np.testing.assert_allclose(channel, after, atol=1e-5)
        moved += not np.array_equal(after, label)
    assert moved > 25


def test_a_change_of_brightness_keeps_the_label_brighter():
    for name in ("published", "intensity+body"):
        for ct, label in values(name):
            assert np.median(ct[0][label > 0.6]) > np.median(ct[0][label == 0]) + 0.15


@pytest.mark.parametrize("name", ["published", "turns", "body"])
def test_the_label_stays_as_soft_as_it_was(label, name):
    for _, moved in values(name):
        assert moved.max() == pytest.approx(label.max(), abs=0.02)
        border = ((moved > 0.05) & (moved < 0.6)).sum()
        assert border == pytest.approx(((label > 0.05) & (label < 0.6)).sum(), rel=0 if name != "body" else 0.6)


@pytest.mark.parametrize("name", ["tones", "intensity", "noise", "organ", "thickness"])
def test_what_changes_brightness_leaves_the_label_alone(label, name):
    assert all(np.array_equal(moved, label) for _, moved in values(name))


@pytest.mark.parametrize("name", ["tones", "intensity", "noise", "organ"])
def test_what_changes_brightness_changes_it_often_but_not_always(label, name):
    changed = np.mean([not np.array_equal(ct, ct_like(label)) for ct, _ in values(name)])
    assert 0.3 < changed < 0.98


# The organ's own brightness, and the distance of the channels.


@pytest.mark.parametrize("channels", [1, 3])
def test_the_organ_changes_only_inside_its_label(label, channels):
    before = ct_like(label, channels)
    changes = [ct - before for ct, _ in values("organ", 60, channels)]
    assert all((change[:, label == 0] == 0).all() for change in changes)
    inside = [float(np.median(change[:, label > 0.65])) for change in changes]
    assert min(inside) < -0.03 and max(inside) > 0.03
    assert max(map(abs, inside)) <= (ORGAN_HU + MOTTLE_HU) / 400


def test_hu_are_those_of_the_window(label):
    """The same change in HU is a smaller part of a wider window."""
    flat = np.full((1, SIZE, SIZE), 0.5, np.float32)
    narrow, wide = (
        [Augmentation("organ", width)(flat, label, seed)[0] - 0.5 for seed in range(20)] for width in (400.0, 800.0)
    )
    assert np.abs(narrow).max() > 0.03
    np.testing.assert_allclose(narrow, np.multiply(wide, 2), atol=1e-6)


def test_the_distance_of_the_channels_changes_in_every_other_sample():
    distances = [Augmentation("thickness").channel_distance(seed) for seed in range(300)]
    assert np.mean([distance != 1 for distance in distances]) == pytest.approx(0.5, abs=0.1)
    assert 1 / FARTHEST <= min(distances) < 0.7 and 1.4 < max(distances) <= FARTHEST


# The same seed.


@pytest.mark.parametrize("name", ["published", "+".join(GROUPS)])
def test_the_same_seed_gives_the_same_sample_whatever_came_before(label, name):
    ct = ct_like(label, 3)
    first, second = Augmentation(name), Augmentation(name)
    once = [first(ct, label, seed) for seed in range(12)]
    np.random.seed(1)
    again = [second(ct, label, seed) for seed in reversed(range(12))][::-1]
    for one, other in zip(once, again, strict=True):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    assert len({each[0].tobytes() for each in once}) > 8, "and another seed another one"


def test_what_comes_in_is_not_changed(label):
    for name in ("published", "+".join(GROUPS)):
        ct = ct_like(label, 3)
        before, label_before = ct.copy(), label.copy()
        for seed in range(10):
            Augmentation(name)(ct, label, seed)
        assert np.array_equal(ct, before) and np.array_equal(label, label_before)


# Names.


def test_published_can_be_added_to():
    assert steps("published+noise") == [*TURNS, *TONES, *steps("noise")]


@pytest.mark.parametrize("name", ["mixup", "turns+mixup", "", "turns+", "Published"])
def test_an_unknown_augmentation_is_refused_in_one_sentence(name):
    with pytest.raises(UserError, match="choose from: published, none, turns, tones, body") as caught:
        Augmentation(name)
    assert "\n" not in str(caught.value)


def test_albumentations_asks_no_server_for_its_newest_version():
    import os

    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1" and albumentations.__version__.startswith("2.0.")
