"""Whole trainings on a small dataset: through both phases, interrupted and resumed, into a model folder."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SpleenSmoothSegLib.borders import Border
from SpleenSmoothSegLib.ensemble import segment_image
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.modelfolder import load_model, read_card
from SpleenSmoothSegLib.preprocessing import SliceFormat
from SpleenSmoothSegTrainingLib.dataset import cut_slices, read_decathlon
from SpleenSmoothSegTrainingLib.fold import FoldTraining, soft_labels
from SpleenSmoothSegTrainingLib.recipe import Recipe
from SpleenSmoothSegTrainingLib.run import train
from training_data import SAMPLE, write_dataset

TRAIN = SAMPLE.parents[2] / "SpleenSmoothSegTraining" / "train.py"
SMALL = Recipe(
    encoder="tu-mobilenetv3_small_100",
    image_size=64,
    spacing=6.0,
    folds=3,
    adam_epochs=2,
    adam_rate=1e-3,
    sgd_epochs=1,
    batch_size=4,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "Task")


@pytest.fixture(scope="module")
def slices(dataset):
    return [cut_slices(case, SliceFormat(64, 6.0)) for case in read_decathlon(dataset)]


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Folder of a finished training that keeps case d for the test."""
    out = tmp_path_factory.mktemp("out") / "training"
    train(dataset, out, SMALL, test=("d",), device="cpu", say=lambda line: None)
    return out


def fold(recipe, slices, folder, report=lambda row: None):
    return FoldTraining(recipe, 0, slices[1:], slices[:1], folder, CPU, report)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_only_labels_to_learn_from_are_smoothed(slices, tmp_path):
    training = fold(SMALL.with_changes(border="gaussian:6mm"), slices, tmp_path)
    assert ((training.label > 0) & (training.label < 1)).any()
    assert all(case.label.dtype == bool for case in training.validation)


def test_without_a_border_labels_stay_hard(slices):
    assert set(np.unique(soft_labels(slices[1], Border.parse("none")))) == {0.0, 1.0}


def test_an_epoch_draws_every_slice_with_spleen_and_as_many_without(slices, tmp_path):
    training = fold(SMALL.with_changes(empty_slices=0.5), slices, tmp_path)
    drawn = training._draw_slices(np.random.default_rng(0))
    assert set(training.with_spleen) <= set(drawn)
    assert len(drawn) == len(training.with_spleen) + min(
        len(training.without_spleen), int(0.5 * len(training.with_spleen))
    )
    assert len(set(drawn)) == len(drawn)


def test_a_fold_learns(slices, tmp_path):
    rows = []
    recipe = SMALL.with_changes(adam_epochs=8, adam_rate=3e-3, sgd_epochs=0, augmentation="none")
    fold(recipe, slices, tmp_path, rows.append).run()
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_a_seed_fixes_the_training(slices, tmp_path):
    first = fold(SMALL, slices, tmp_path / "1").run()
    assert same(first, fold(SMALL, slices, tmp_path / "2").run())
    assert not same(first, fold(SMALL.with_changes(seed=1), slices, tmp_path / "3").run())


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("epochs_done", [1, 2, 3])
def test_a_fold_stopped_after_any_epoch_resumes_to_the_same_weights(slices, tmp_path, epochs_done, averaging):
    recipe = SMALL.with_changes(averaging=averaging, sgd_epochs=2)
    whole = fold(recipe, slices, tmp_path / "whole").run()

    class Stopped(Exception):
        pass

    rows = []

    def stop(row):
        rows.append(row)
        if len(rows) == epochs_done:
            raise Stopped

    with pytest.raises(Stopped):
        fold(recipe, slices, tmp_path / "halves", stop).run()
    later = []
    assert same(whole, fold(recipe, slices, tmp_path / "halves", later.append).run(resume=True))
    assert len(later) == 4 - epochs_done
    assert (tmp_path / "halves" / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()


def test_the_best_state_is_kept(slices, tmp_path):
    rows = []
    training = fold(SMALL.with_changes(adam_epochs=4), slices, tmp_path, rows.append)
    training.run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["best_dice"] == max(row["validation_dice"] for row in rows)


def test_a_damaged_state_is_told_in_one_sentence(slices, tmp_path):
    (tmp_path / "last.pt").write_bytes(b"not a state")
    with pytest.raises(UserError, match="damaged") as caught:
        fold(SMALL, slices, tmp_path).run(resume=True)
    assert "\n" not in str(caught.value)


def test_a_training_ends_in_a_model_folder_that_segments(trained):
    card = read_card(trained / "model")
    assert card["border_smoothing"] == SMALL.border
    assert Recipe.from_dict(card["training"]["recipe"]) == SMALL
    model = load_model(trained / "model")
    assert len(model.networks) == 3
    ct = sitk.ReadImage(str(SAMPLE / "ct.nii.gz"))
    assert segment_image(ct, model, "cpu").mask.GetSize() == ct.GetSize()


def test_every_case_is_measured_by_the_fold_that_did_not_learn_from_it(trained):
    splits = json.loads((trained / "splits.json").read_text())
    rows = list(csv.DictReader((trained / "metrics.csv").read_text().splitlines()))
    by_case = {row["case"]: row["predicted_by"] for row in rows}
    for number, names in enumerate(splits["folds"]):
        assert all(by_case[name] == f"fold {number}" for name in names)
    assert by_case["d"] == "ensemble" and splits["test"] == ["d"]
    assert read_card(trained / "model")["metrics"][0]["case"] == rows[0]["case"]


def test_a_training_that_is_there_already_is_not_overwritten(dataset, trained):
    with pytest.raises(UserError, match="--resume"):
        train(dataset, trained, SMALL, device="cpu")


def test_a_training_is_not_resumed_with_another_recipe(dataset, trained):
    with pytest.raises(UserError, match="another recipe"):
        train(dataset, trained, SMALL.with_changes(seed=5), test=("d",), device="cpu", resume=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": [7]}, "no fold 7"),
        ({"test": ("z",)}, 'no case "z"'),
        ({"recipe": SMALL.with_changes(folds=5)}, "at least as many"),
        ({"recipe": SMALL.with_changes(encoder="nonsense")}, "nonsense"),
        ({"dataset": Path("nowhere")}, "dataset.json"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_sentence(dataset, tmp_path, changes, words):
    with pytest.raises(UserError, match=words) as caught:
        train(**{"dataset": dataset, "out": tmp_path, "recipe": SMALL, "device": "cpu", "say": str, **changes})
    assert "\n" not in str(caught.value)


def test_a_training_is_not_resumed_on_a_dataset_that_has_changed(tmp_path):
    dataset, out = write_dataset(tmp_path / "Task"), tmp_path / "out"
    recipe = SMALL.with_changes(adam_epochs=1, sgd_epochs=0)
    train(dataset, out, recipe, folds=[0], device="cpu", say=str)
    before = (out / "splits.json").read_text()
    label = sitk.ReadImage(str(dataset / "labelsTr" / "b.nii.gz"))
    label[:, :, 0:4] = 0
    sitk.WriteImage(label, str(dataset / "labelsTr" / "b.nii.gz"))
    with pytest.raises(UserError, match="not those of"):
        train(dataset, out, recipe, device="cpu", resume=True, say=str)
    assert (out / "splits.json").read_text() == before


@pytest.mark.parametrize("resume", [False, True])
def test_folds_of_an_unknown_recipe_are_left_alone(dataset, tmp_path, resume):
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "last.pt").write_bytes(b"somebody's")
    with pytest.raises(UserError, match="no recipe.json"):
        train(dataset, tmp_path, SMALL, device="cpu", resume=resume)
    assert (tmp_path / "fold_0" / "last.pt").read_bytes() == b"somebody's"


def test_what_cannot_be_trained_leaves_the_folder_free_for_the_next_try(dataset, tmp_path):
    with pytest.raises(UserError):
        train(dataset, tmp_path, SMALL.with_changes(augmentation="mixup"), device="cpu", say=str)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_state_of_the_epoch_before(slices, tmp_path):
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


def test_evaluate_py_prints_the_table_of_a_trained_model(dataset, trained):
    command = [sys.executable, str(TRAIN.with_name("evaluate.py")), str(trained / "model"), str(dataset)]
    done = subprocess.run([*command, "--device", "cpu"], check=True, capture_output=True, text=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ") and "case" not in line]
    assert [row.split(" | ")[1] for row in rows][-1] == "ensemble" and len(rows) == 4
    assert "of the 3 cases that a fold had not learned from" in done.stdout


def _train_py(dataset, out, *options):
    small = ["--encoder", SMALL.encoder, "--image-size", "64", "--spacing", "6", "--batch-size", "4"]
    return [sys.executable, str(TRAIN), str(dataset), str(out), *small, "--epochs", "3,1", "--folds", "1", *options]


def test_a_killed_training_resumes_to_the_same_weights(dataset, tmp_path):
    whole = subprocess.run(_train_py(dataset, tmp_path / "whole", "--test="), capture_output=True, text=True)
    assert whole.returncode == 1 and "at least as many" in whole.stderr, "five folds of four cases cannot be"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[recipe]\nfolds = 3\nadam_rate = 1e-3\n")
    with_recipe = ("--recipe", str(recipe))
    subprocess.run(_train_py(dataset, tmp_path / "whole", *with_recipe), check=True, capture_output=True)
    killed = subprocess.Popen(_train_py(dataset, tmp_path / "halves", *with_recipe), stdout=subprocess.PIPE, text=True)
    for line in killed.stdout:
        if "adam   2" in line:
            killed.send_signal(signal.SIGKILL)
            break
    killed.communicate()
    resumed = subprocess.run(
        _train_py(dataset, tmp_path / "halves", *with_recipe, "--resume"), check=True, capture_output=True, text=True
    )
    assert "adam   1" not in resumed.stdout and "Folds still to train: 0, 2" in resumed.stdout
    states = [torch.load(tmp_path / name / "fold_1" / "last.pt", weights_only=True) for name in ("whole", "halves")]
    assert all(torch.equal(value, states[1]["network"][key]) for key, value in states[0]["network"].items())


@pytest.mark.parametrize(
    "arguments", [["nowhere", "out"], ["{dataset}", "/proc/out"], ["{dataset}", "out", "--border", "x"]]
)
def test_train_py_tells_what_is_wrong_without_a_traceback(dataset, tmp_path, arguments):
    arguments = [argument.replace("{dataset}", str(dataset)) for argument in arguments]
    done = subprocess.run([sys.executable, str(TRAIN), *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
