"""Dataset, splits, augmentation and loss of the training."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.preprocessing import SliceFormat
from SpleenSmoothSegTrainingLib.augmentation import augment, augmentation
from SpleenSmoothSegTrainingLib.dataset import cut_slices, read_decathlon
from SpleenSmoothSegTrainingLib.loss import dice_and_cross_entropy
from SpleenSmoothSegTrainingLib.splits import split_by_volume
from training_data import CASES, SAMPLE, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "Task")


def test_a_decathlon_folder_is_read_in_its_own_order(dataset):
    cases = read_decathlon(dataset)
    assert tuple(case.name for case in cases) == CASES
    assert all(case.spleen == 1 for case in cases)


def test_labels_written_the_other_way_round_are_understood(tmp_path):
    folder = write_dataset(tmp_path / "Task", labels={"background": 0, "liver": 1, "spleen": 2})
    assert read_decathlon(folder)[0].spleen == 2


def test_slices_keep_the_volume_of_the_label(dataset):
    case = read_decathlon(dataset)[1]
    cut = cut_slices(case, SliceFormat(size=256, spacing=1.5))
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(case.label)))
    assert cut.label.sum() * 1.5**2 == pytest.approx(label.sum() * 3.0**2, rel=0.03)
    assert cut.ct.dtype == np.float32 and cut.ct.min() >= 0 and cut.ct.max() <= 1


def _without_json(folder):
    (folder / "dataset.json").unlink()


def _garbled_json(folder):
    (folder / "dataset.json").write_text("{")


def _without_spleen(folder):
    _edit(folder, lambda description: description.update(labels={"0": "background", "1": "liver"}))


def _without_cases(folder):
    _edit(folder, lambda description: description.update(training=[]))


def _without_a_label(folder):
    (folder / "labelsTr" / "b.nii.gz").unlink()


def _with_a_case_twice(folder):
    _edit(folder, lambda description: description["training"].append(description["training"][0]))


def _edit(folder, change):
    path = folder / "dataset.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


DAMAGES = [_without_json, _garbled_json, _without_spleen, _without_cases, _without_a_label, _with_a_case_twice]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_dataset_is_refused_in_one_sentence(tmp_path, damage):
    folder = write_dataset(tmp_path / "Task")
    damage(folder)
    with pytest.raises(UserError) as caught:
        read_decathlon(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_label_on_another_grid_is_refused(tmp_path):
    folder = write_dataset(tmp_path / "Task")
    path = folder / "labelsTr" / "a.nii.gz"
    label = sitk.ReadImage(str(path))
    label.SetSpacing((3.0, 3.0, 2.0))
    sitk.WriteImage(label, str(path))
    with pytest.raises(UserError, match="different grids"):
        cut_slices(read_decathlon(folder)[0], SliceFormat())


def test_no_case_is_held_out_twice_and_every_case_once():
    held_out = split_by_volume({str(n): n for n in range(41)}, folds=5, seed=0)
    assert sorted(sum(held_out, [])) == sorted(map(str, range(41)))
    assert {len(fold) for fold in held_out} == {8, 9}


def test_folds_hold_about_as_many_slices_with_spleen():
    counts = {f"ct{n}": 10 + 7 * n % 50 for n in range(40)}
    sums = [sum(counts[name] for name in fold) for fold in split_by_volume(counts, folds=5, seed=0)]
    assert max(sums) - min(sums) <= 0.2 * max(sums)


def test_the_seed_decides_the_split():
    counts = {f"ct{n}": 20 for n in range(20)}
    assert split_by_volume(counts, 5, seed=1) == split_by_volume(counts, 5, seed=1)
    assert split_by_volume(counts, 5, seed=1) != split_by_volume(counts, 5, seed=2)


@pytest.fixture(scope="module")
def slice_and_soft_label(dataset):
    cut = cut_slices(read_decathlon(dataset)[1], SliceFormat(size=96, spacing=4.0))
    return cut.ct[4], cut.label[4] * np.float32(0.7)


def test_the_published_augmentation_is_the_published_list():
    names = [type(step).__name__ for step in augmentation("published").transforms]
    turns = ["RandomRotate90", "HorizontalFlip", "VerticalFlip", "Transpose"]
    assert names == [*turns, "RandomBrightnessContrast", "RandomGamma"]


@pytest.mark.parametrize("name", ["published", "anatomical"])
def test_slice_and_label_move_together_and_the_label_stays_soft(slice_and_soft_label, name):
    _, soft = slice_and_soft_label
    transform = augmentation(name)
    transform.set_random_seed(3)
    moved = 0
    for _ in range(20):
        bright, label = augment(transform, np.where(soft > 0, 0.9, 0.1).astype(np.float32), soft)
        moved += not np.array_equal(label, soft)
        assert label.dtype == np.float32 and label.shape == soft.shape
        assert label.max() == pytest.approx(0.7, abs=0.02), "brightness must not touch the label"
        inside, outside = bright[label > 0.6], bright[label == 0]
        assert np.median(inside) > np.median(outside) + 0.2
    assert moved > 10


def test_no_augmentation_changes_nothing(slice_and_soft_label):
    ct, soft = slice_and_soft_label
    same_ct, same_label = augment(augmentation("none"), ct, soft)
    assert np.array_equal(same_ct, ct) and np.array_equal(same_label, soft)


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(UserError, match="published"):
        augmentation("mixup")


def test_the_loss_of_a_sure_and_right_answer_is_nearly_zero():
    label = (torch.rand(2, 1, 16, 16) > 0.5).float()
    assert dice_and_cross_entropy((label - 0.5) * 40, label).item() < 1e-3


@pytest.mark.parametrize("soft", [0.2, 0.5, 0.8])
def test_the_loss_is_lowest_at_the_soft_label_itself(soft):
    label = torch.full((1, 1, 8, 8), soft)
    answers = torch.linspace(0.05, 0.95, 181)
    losses = [dice_and_cross_entropy(torch.logit(answer).expand_as(label), label).item() for answer in answers]
    assert answers[int(np.argmin(losses))].item() == pytest.approx(soft, abs=0.01)


def test_the_sample_is_real():
    ct, label = (sitk.ReadImage(str(SAMPLE / name)) for name in ("ct.nii.gz", "spleen.nii.gz"))
    assert ct.GetSize() == label.GetSize() == (122, 101, 112)
    assert sitk.GetArrayFromImage(label).sum() * 27 / 1000 == pytest.approx(261, abs=1)
