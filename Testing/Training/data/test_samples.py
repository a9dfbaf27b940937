"""Samples and batches: which slices are drawn, and reproducibility for any number of workers."""

import gc
import time
from multiprocessing import active_children

import numpy as np
import pytest
import torch

from SpleenSmoothSegLib.geometry.slices import with_neighbors
from SpleenSmoothSegTrainingLib.data.samples import Batches, Samples
from SpleenSmoothSegTrainingLib.data.slicecache import Slices
from SpleenSmoothSegTrainingLib.learning.fold import dice_of_case
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe

SIZE = 64
EVERYTHING = "published+body+intensity+organ+noise+thickness"
forks = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # which Linux does until Python 3.14
BASE = Recipe(augmentation="none", image_size=SIZE, batch_size=4, empty_slices=1.0)


def case(name: str, spleen: str, seed: int = 0) -> Slices:
    """Slices of noise with spleen where `spleen` has an x; the soft label is 0.25 outside of the label."""
    generator = np.random.default_rng(seed)
    label = np.zeros((len(spleen), SIZE, SIZE), bool)
    label[[each == "x" for each in spleen], 20:40, 24:44] = True
    soft = np.where(label, 1, 0.25).astype(np.float16)
    return Slices(name, (2.5, 1.5, 1.5), generator.random(label.shape).astype(np.float16), label, soft)


CASES = [case("a", "..xxxx..", 1), case("b", ".xxx....", 2), case("c", "xxxxx.....", 3)]
PARTS = [(each, range(len(each.ct))) for each in CASES]


def samples(recipe: Recipe = BASE, parts=PARTS) -> Samples:
    return Samples(recipe, parts)


def place_of(sample: Samples, ct: torch.Tensor) -> tuple[int, int]:
    """The case and the slice of a sample without augmentation."""
    middle = ct[len(ct) // 2].numpy()
    (found,) = [place for place in sample.places if np.array_equal(sample.cases[place[0]].ct[place[1]], middle)]
    return found


def equal(one, other) -> bool:
    return len(one) == len(other) and all(
        torch.equal(first, second) for pair in zip(one, other, strict=True) for first, second in zip(*pair, strict=True)
    )


# One sample.


@pytest.mark.parametrize("channels", [1, 3])
def test_sample_is_the_slice_with_its_neighbors_and_its_label(channels):
    made = samples(BASE.with_changes(channels=channels, border_probability=0.0))
    for place, (number, index) in enumerate(made.places):
        ct, label = made[place, 5]
        expected = with_neighbors(CASES[number].ct, [index], channels, 5.0 / 2.5)[0]
        assert ct.dtype == label.dtype == torch.float32
        assert ct.shape == (channels, SIZE, SIZE) and label.shape == (1, SIZE, SIZE)
        np.testing.assert_array_equal(ct.numpy(), expected)
        np.testing.assert_array_equal(label[0].numpy(), CASES[number].label[index])


def test_channel_distance_follows_the_augmentation():
    made = samples(BASE.with_changes(channels=3, augmentation="thickness"))
    distances = set()
    for seed in range(12):
        distance = made.augmentation.channel_distance(seed)
        expected = with_neighbors(CASES[0].ct, [4], 3, distance * 5.0 / 2.5)[0]
        np.testing.assert_array_equal(made[4, seed][0].numpy(), expected)
        distances.add(distance)
    assert len(distances) > 3


@pytest.mark.parametrize(("probability", "lowest", "highest"), [(0.0, 0, 0), (0.5, 0.4, 0.6), (1.0, 1, 1)])
def test_fraction_of_smoothed_labels_follows_the_recipe(probability, lowest, highest):
    made = samples(BASE.with_changes(border_probability=probability))
    smoothed = []
    for seed in range(300):
        label = made[seed % len(made), seed][1]
        assert label.min() in (0, 0.25), "the label is smoothed completely or not at all"
        smoothed.append(label.min() == 0.25)
    assert lowest <= np.mean(smoothed) <= highest


def test_smoothing_changes_only_the_labels():
    """Smoothed training and control differ only in the labels."""
    draws = samples().draw(3)
    for augmentation in ("published", "body+noise+thickness"):
        recipe = BASE.with_changes(augmentation=augmentation, channels=3)
        smoothed, control = (samples(recipe.with_changes(border_probability=each)) for each in (1.0, 0.0))
        assert smoothed.draw(3) == control.draw(3) == draws
        assert all(torch.equal(smoothed[draw][0], control[draw][0]) for draw in draws)


def test_sample_depends_only_on_place_and_seed():
    recipe = BASE.with_changes(augmentation=EVERYTHING, channels=3, border_probability=0.5)
    made = samples(recipe)
    first = [made[draw] for draw in made.draw(1)]
    again = samples(recipe)
    for draw in again.draw(2):
        again[draw]  # what came before does not matter
    np.random.seed(9)
    torch.manual_seed(9)
    backwards = [again[draw] for draw in reversed(made.draw(1))]
    assert equal(first, backwards[::-1])
    place, seed = made.draw(1)[0]
    assert not torch.equal(made[place, seed][0], made[place, seed + 1][0])


# One epoch.


@pytest.mark.parametrize("empty", [0.0, 0.5, 1.0, 1000.0])
def test_draw_has_every_slice_with_spleen_and_the_requested_number_without(empty):
    made = samples(BASE.with_changes(empty_slices=empty))
    places = [place for place, _ in made.draw(0)]
    spleen = {place for place, (number, i) in enumerate(made.places) if CASES[number].with_spleen[i]}
    assert len(spleen) == 12 and spleen <= set(places)
    assert len(set(places)) == len(places) == made.per_epoch
    assert len(places) - 12 == min(14, int(12 * empty))


def test_epochs_draw_different_empty_slices():
    made = samples(BASE.with_changes(empty_slices=0.25))
    assert {place for seed in range(60) for place, _ in made.draw(seed)} == set(range(len(made)))


def test_draw_uses_only_the_slices_of_the_fold():
    parts = [(CASES[0], (1, 2, 5)), (CASES[2], (0, 9))]
    made = samples(BASE.with_changes(empty_slices=1000.0), parts)
    shown = {place_of(made, made[draw][0]) for draw in made.draw(0)}
    assert shown == {(0, 1), (0, 2), (0, 5), (1, 0), (1, 9)}


def test_order_and_seeds_differ_between_epochs():
    made = samples()
    assert made.draw(1) == made.draw(1)
    assert made.draw(1) != made.draw(2)
    places, seeds = zip(*made.draw(1), strict=True)
    spleen = [place in made.with_spleen for place in places]
    assert not all(spleen[:12]) and any(spleen[:6]) and any(spleen[-6:]), "slices with spleen and without are mixed"
    assert len(set(seeds)) == len(seeds)


# Batches.


@forks
def test_same_seed_gives_the_same_batches_for_any_number_of_workers():
    recipe = BASE.with_changes(augmentation=EVERYTHING, channels=3, border_probability=0.5)
    alone, with_workers = (Batches(samples(recipe), 4, workers) for workers in (0, 2))
    expected = {seed: list(alone.epoch(seed)) for seed in (7, 8, 9)}
    for seed in (9, 7, 8):
        np.random.seed(seed)
        torch.manual_seed(seed)
        assert equal(list(with_workers.epoch(seed)), expected[seed])


@forks
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_change_the_global_random_state(workers):
    """Otherwise dropout would differ after --resume, or with another number of workers."""
    batches = Batches(samples(), 4, workers)
    state = torch.get_rng_state()
    for seed in (1, 2):
        list(batches.epoch(seed))
        assert torch.equal(torch.get_rng_state(), state)


@forks
def test_workers_end_when_the_batches_are_deleted():
    """Without waiting for the garbage collector, when each worker takes five seconds to end."""
    others, batches = set(active_children()), Batches(samples(), 4, workers=2)
    list(batches.epoch(1))
    list(batches.epoch(2))
    assert len(set(active_children()) - others) == 2
    gc.disable()
    try:
        start = time.monotonic()
        del batches
        assert not set(active_children()) - others
        assert time.monotonic() - start < 5
    finally:
        gc.enable()


def test_batches_keep_the_order_of_the_draw():
    made = samples()
    batches = list(Batches(made, 4).epoch(3))
    cts, labels = (torch.cat(each) for each in zip(*batches, strict=True))
    for draw, ct, label in zip(made.draw(3), cts, labels, strict=True):
        assert torch.equal(made[draw][0], ct) and torch.equal(made[draw][1], label)


def test_incomplete_last_batch_is_dropped():
    made = samples()
    assert made.per_epoch == 24
    for size, count in ((4, 6), (5, 4), (7, 3), (24, 1)):
        batches = Batches(made, size)
        assert [len(ct) for ct, _ in batches.epoch(0)] == [size] * count and len(batches) == count


def test_fewer_samples_than_a_batch_make_one_batch():
    batches = Batches(samples(), 100)
    assert [len(ct) for ct, _ in batches.epoch(0)] == [24] and len(batches) == 1


@pytest.mark.parametrize("size", [4, 8, 10, 100])
def test_batches_of_two_processes_together_equal_those_of_one(size):
    made = samples(BASE.with_changes(augmentation="published", border_probability=0.5))
    whole = list(Batches(made, size).epoch(5))
    halves = [list(Batches(made, size, rank=rank, ranks=2).epoch(5)) for rank in (0, 1)]
    assert len(whole) == len(halves[0]) == len(halves[1]) > 0
    for number, both in enumerate(whole):
        for kind, everything in enumerate(both):
            first, second = (half[number][kind] for half in halves)
            assert len(first) == len(second) == len(everything) / 2
            assert torch.equal(everything[0::2], first) and torch.equal(everything[1::2], second)


# Validation.


@pytest.mark.parametrize("channels", [1, 3])
def test_validation_is_neither_augmented_nor_smoothed(channels):
    seen = []

    class CopyInput(torch.nn.Module):
        def forward(self, slices):
            seen.append(slices.clone())
            return torch.where(torch.zeros(SIZE, SIZE) > 0, 1.0, -1.0).expand(len(slices), 1, SIZE, SIZE)

    recipe = BASE.with_changes(augmentation=EVERYTHING, channels=channels, border_probability=1.0)
    held_out = CASES[0]
    assert dice_of_case(CopyInput(), (held_out, (1, 2, 3, 6, 7)), torch.device("cpu"), recipe, mixed=False) == 0
    expected = with_neighbors(held_out.ct, (1, 2, 3, 6, 7), channels, 5.0 / 2.5)
    np.testing.assert_array_equal(torch.cat(seen).numpy(), expected)


def test_validation_dice_uses_the_hard_label():
    class KnowsLabel(torch.nn.Module):
        """Predicts the label, which the noise of the slices does not reveal."""

        def forward(self, slices):
            logits = torch.full((len(slices), 1, SIZE, SIZE), -1.0)
            logits[:, :, 20:40, 24:44] = 1.0
            return logits

    dice = [
        dice_of_case(KnowsLabel(), (CASES[0], indices), torch.device("cpu"), BASE, mixed=False)
        for indices in ((2, 3, 4, 5), (1, 2))
    ]
    assert dice == [1.0, pytest.approx(2 / 3)]
