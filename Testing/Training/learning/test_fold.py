"""Training of one fold: data, progress, reproducibility and resuming."""

import signal

import numpy as np
import pytest
import torch

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from SpleenSmoothSegTrainingLib.data.prepare import slice_format
from SpleenSmoothSegTrainingLib.data.slicecache import SliceCache
from SpleenSmoothSegTrainingLib.learning.fold import ComputeConfig, FoldData, FoldTraining
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from training_data import write_dataset

SMALL = Recipe(
    encoder="tu-mobilenetv3_small_050",
    image_size=64,
    spacing=6.0,
    fold_count=3,
    epochs=(2, 1),
    adam_rate=1e-3,
    batch_size=4,
    border=Border("gaussian", 6),
)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    dataset = open_dataset(write_dataset(tmp_path_factory.mktemp("data") / "Task"))
    cache = SliceCache(tmp_path_factory.mktemp("cache"))
    return [cache.slices(case, slice_format(SMALL), SMALL.border) for case in dataset.cases]


CPU = ComputeConfig()


def fold(recipe, slices, folder, on_epoch=lambda row: None, config=CPU):
    first, *rest = [(case, range(len(case.ct))) for case in slices]
    return FoldTraining(recipe, FoldData(0, rest, [first]), folder, config, on_epoch)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_only_training_labels_are_smoothed(slices, tmp_path):
    training = fold(SMALL, slices, tmp_path)
    _, label = training.samples[training.samples.draw(0)[0]]
    soft = torch.cat([training.samples[draw][1] for draw in training.samples.draw(0)])
    assert ((soft > 0) & (soft < 1)).any() and label.dtype == torch.float32
    assert all(case.label.dtype == bool for case, _ in training.validation)


@pytest.mark.parametrize("channels", [1, 3])
def test_loss_decreases(slices, tmp_path, channels):
    rows = []
    recipe = SMALL.with_changes(epochs=(8, 0), adam_rate=3e-3, augmentation="none", channels=channels)
    fold(recipe, slices, tmp_path, rows.append).run()
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_same_seed_gives_the_same_weights(slices, tmp_path):
    first = fold(SMALL, slices, tmp_path / "1").run()
    assert same(first, fold(SMALL, slices, tmp_path / "2").run())
    assert not same(first, fold(SMALL.with_changes(seed=1), slices, tmp_path / "3").run())


def test_workers_do_not_change_the_weights(slices, tmp_path):
    alone = fold(SMALL, slices, tmp_path / "alone").run()
    assert same(alone, fold(SMALL, slices, tmp_path / "helped", config=ComputeConfig(workers=2)).run())


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_fold_stopped_after_any_epoch_resumes_to_the_same_weights(slices, tmp_path, epochs_done, averaging):
    recipe = SMALL.with_changes(averaging=averaging, epochs=(2, 2))
    rows = []
    whole = fold(recipe, slices, tmp_path / "whole", rows.append).run()

    class Stopped(Exception):
        pass

    earlier = []

    def stop(row):
        earlier.append(row)
        if len(earlier) == epochs_done:
            raise Stopped

    with pytest.raises(Stopped):
        fold(recipe, slices, tmp_path / "halves", stop).run()
    later = []
    assert same(whole, fold(recipe, slices, tmp_path / "halves", later.append).run(resume=True))
    assert [_without_seconds(row) for row in earlier + later] == [_without_seconds(row) for row in rows]


def _without_seconds(row):
    return {name: value for name, value in row.items() if name != "seconds"}


def test_best_dice_of_all_epochs_is_kept(slices, tmp_path):
    rows = []
    fold(SMALL.with_changes(epochs=(4, 1)), slices, tmp_path, rows.append).run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["best_dice"] == max(row["validation_dice"] for row in rows)


def test_gradient_clipping_applies_only_below_the_norm(slices, tmp_path):
    # SGD, because Adam is almost invariant to the norm of the gradient.
    free, generous, short = (
        fold(SMALL.with_changes(epochs=(0, 1), clip_gradient=norm), slices, tmp_path / str(norm)).run()
        for norm in (0.0, 1e6, 1e-3)
    )
    assert same(free, generous) and not same(free, short)


def test_nan_loss_raises_an_error_and_keeps_the_last_state(slices, tmp_path):
    training = fold(SMALL, slices, tmp_path)

    def insert_nan(row):
        with torch.no_grad():
            training.network.head.bias.fill_(float("nan"))

    training.on_epoch = insert_nan
    with pytest.raises(UserError, match="lower learning rate"):
        training.run()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 0


def test_fold_without_spleen_raises_an_error(slices, tmp_path):
    empty = [(case, np.flatnonzero(~case.with_spleen)) for case in slices[1:]]
    with pytest.raises(UserError, match="no training slice with spleen"):
        FoldTraining(SMALL, FoldData(0, empty, [(slices[0], range(8))]), tmp_path)


def test_damaged_state_raises_an_error(slices, tmp_path):
    (tmp_path / "last.pt").write_bytes(b"not a state")
    with pytest.raises(UserError, match="damaged") as caught:
        fold(SMALL, slices, tmp_path).run(resume=True)
    assert "\n" not in str(caught.value)


def test_full_disk_keeps_the_previous_state(slices, tmp_path):
    resource = pytest.importorskip("resource", reason="Windows cannot limit the size of files")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill_the_disk(row):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))

    try:
        with pytest.raises(UserError, match="cannot be written"):
            fold(SMALL, slices, tmp_path, fill_the_disk).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "last.pt"]
