"""Evaluation of a model: which fold measures which case, saved masks, and evaluate.py."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from locations import TRAINING_MODULE
from phantoms import SPLEEN, ellipsoid, trunk
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import SliceFormat, axial_grid
from SpleenSmoothSegLib.inference.devices import prepare_for
from SpleenSmoothSegLib.inference.ensemble import segment_image
from SpleenSmoothSegLib.io.decathlon import Case, list_cases
from SpleenSmoothSegLib.model.folder import load_model, read_card, save_model
from SpleenSmoothSegTrainingLib.data.splits import Splits
from SpleenSmoothSegTrainingLib.measuring import evaluation
from SpleenSmoothSegTrainingLib.measuring.casemetrics import RowKey, measure_slices, measure_volume
from SpleenSmoothSegTrainingLib.measuring.evaluation import (
    EvaluationOptions,
    evaluate,
    list_measurements,
    splits_of_model,
)
from SpleenSmoothSegTrainingLib.measuring.metricsfile import read_metrics

CPU, ON_CPU = torch.device("cpu"), EvaluationOptions("cpu")
BY_VOLUME = Splits("volume", 0, {"d": None}, ({"a": None}, {"b": None, "c": None}), {})
EVALUATE = TRAINING_MODULE / "CommandLine" / "evaluate.py"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Four small phantoms in Decathlon layout."""
    folder = tmp_path_factory.mktemp("data") / "Task"
    for number, name in enumerate("abcd"):
        grid = {"spacing": (4.0, 4.0, 8.0), "extent": (220.0, 190.0, 80.0 + 8 * number)}
        for kind, image in (("imagesTr", trunk(**grid)), ("labelsTr", ellipsoid(**SPLEEN, **grid))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(folder / kind / f"{name}.nii.gz"))
    listed = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in "abcd"]
    (folder / "dataset.json").write_text(json.dumps({"labels": {"1": "spleen"}, "training": listed}))
    return {case.name: case for case in list_cases(folder)}


@pytest.fixture
def no_prediction(monkeypatch):
    """Returns a function that makes further predictions fail."""

    def refuse(*arguments, **options):
        raise AssertionError("predicted again")

    return lambda: monkeypatch.setattr(evaluation, "segment_image", refuse)


# --- which fold measures which case ----------------------------------------------------------------------


def test_list_measurements_uses_held_out_folds_and_all_for_test_cases():
    measurements = list_measurements(BY_VOLUME, [0, 1])
    assert [(*each.key, each.networks) for each in measurements] == [
        ("validation", "fold 0", "a", (0,)),
        ("validation", "fold 1", "b", (1,)),
        ("validation", "fold 1", "c", (1,)),
        ("test", "fold 0", "d", (0,)),
        ("test", "fold 1", "d", (1,)),
        ("test", "ensemble", "d", (0, 1)),
    ]


def test_list_measurements_of_one_fold_includes_the_ensemble():
    measurements = list_measurements(BY_VOLUME, [1])
    assert [(*each.key, each.networks) for each in measurements] == [
        ("validation", "fold 1", "b", (0,)),
        ("validation", "fold 1", "c", (0,)),
        ("test", "fold 1", "d", (0,)),
        ("test", "ensemble", "d", (0,)),
    ]


def test_evaluate_equals_segment_image(cases, model_folder):
    rows = []
    metrics = evaluate(model_folder, cases, BY_VOLUME, ON_CPU, rows.append)
    assert list(metrics.volumes) == rows and len(rows) == 6
    ct, label = cases["d"].read()
    together = segment_image(ct, load_model(model_folder, prepare=prepare_for(CPU)), "cpu").mask
    expected, slices = measure_volume(RowKey("test", "ensemble", "d"), together, label == 1)
    assert expected in metrics.volumes and expected.predicted_ml > 0
    assert slices == [row for row in metrics.slices if (row.predicted_by, row.case) == ("ensemble", "d")]
    assert [row.case for row in metrics.one_per_case()] == ["a", "b", "c", "d"]
    alone = segment_image(ct, load_model(model_folder, [1], prepare_for(CPU)), "cpu").mask
    assert measure_volume(RowKey("test", "fold 1", "d"), alone, label == 1)[0] in metrics.volumes


def test_evaluate_reads_each_ct_once(cases, model_folder, monkeypatch):
    read = []
    original = Case.read
    monkeypatch.setattr(Case, "read", lambda case: read.append(case.name) or original(case))
    evaluate(model_folder, cases, BY_VOLUME, ON_CPU)
    assert sorted(read) == ["a", "b", "c", "d"]


def test_evaluate_uses_saved_masks(cases, model_folder, tmp_path, no_prediction):
    first = evaluate(model_folder, cases, BY_VOLUME, EvaluationOptions("cpu", tmp_path / "predictions"))
    names = sorted(path.name for path in (tmp_path / "predictions").iterdir())
    assert names == [f"{name}.nii.gz" for name in ("a_fold_0", "b_fold_1", "c_fold_1")] + [
        f"d_{predictor}.nii.gz" for predictor in ("ensemble", "fold_0", "fold_1")
    ]
    no_prediction()
    assert evaluate(model_folder, cases, BY_VOLUME, EvaluationOptions("cpu", tmp_path / "predictions")) == first


def test_saved_masks_do_not_depend_on_descriptive_card_fields(cases, model_folder, tmp_path, no_prediction):
    first = evaluate(model_folder, cases, BY_VOLUME, EvaluationOptions("cpu", tmp_path))
    card = read_card(model_folder)
    save_model(model_folder, {**card, "metrics": [1], "name": "New"}, load_model(model_folder).networks)
    no_prediction()
    assert evaluate(model_folder, cases, BY_VOLUME, EvaluationOptions("cpu", tmp_path)) == first


@pytest.mark.parametrize("change", ["weights", "threshold", "ct", "damage"])
def test_saved_masks_of_another_model_or_ct_are_replaced(cases, model_folder, tmp_path, monkeypatch, change):
    splits = Splits("volume", 0, {}, ({"a": None}, {}), {})
    predicted = []

    def predict(*arguments):
        predicted.append(segment_image(*arguments))
        return predicted[-1]

    monkeypatch.setattr(evaluation, "segment_image", predict)
    evaluate(model_folder, cases, splits, EvaluationOptions("cpu", tmp_path / "kept"))
    model = load_model(model_folder)
    if change == "weights":
        save_model(model_folder, model.card, model.networks[::-1])
    elif change == "threshold":
        save_model(model_folder, {**model.card, "threshold": 0.3}, model.networks)
    elif change == "ct":
        ct, _ = cases["a"].read()
        sitk.WriteImage(ct - 40, str(tmp_path / "ct.nii.gz"))
        cases = {**cases, "a": dataclasses.replace(cases["a"], image=tmp_path / "ct.nii.gz")}
    else:
        (tmp_path / "kept" / "a_fold_0.nii.gz").write_bytes(b"damaged")
    for _ in range(2):
        row = evaluate(model_folder, cases, splits, EvaluationOptions("cpu", tmp_path / "kept")).volumes[0]
        assert len(predicted) == 2
        assert row.predicted_ml == pytest.approx(predicted[1].result.volume_ml)


def test_evaluate_of_a_split_by_slice_uses_only_held_out_slices(cases, model_folder):
    splits = Splits("slice", 0, {"a": (1, 4)}, ({"a": (0, 5)}, {"a": (2, 3)}), {})
    metrics = evaluate(model_folder, cases, splits, ON_CPU)
    seen = {(row.set, row.predicted_by): set() for row in metrics.volumes}
    for row in metrics.slices:
        seen[row.set, row.predicted_by].add(row.slice)
    allowed = {
        ("validation", "fold 0"): {0, 5},
        ("validation", "fold 1"): {2, 3},
        ("test", "fold 0"): {1, 4},
        ("test", "fold 1"): {1, 4},
        ("test", "ensemble"): {1, 4},
    }
    assert seen.keys() == allowed.keys() and all(seen[each] <= allowed[each] for each in seen)
    ct, label = cases["a"].read()
    model = load_model(model_folder, prepare=prepare_for(CPU))
    grid = axial_grid(ct, SliceFormat(64, 6.0))
    expected, _ = measure_slices(
        RowKey("test", "ensemble", "a"), segment_image(ct, model, "cpu").mask, label == 1, grid, [1, 4]
    )
    assert expected in metrics.volumes


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (Splits("volume", 0, {"d": None}, ({"a": None},), {}), "has 2 folds, but its splits have 1"),
        (Splits("volume", 0, {"z": None}, ({"a": None}, {"b": None}), {}), 'lacks the case "z"'),
    ],
)
def test_mismatch_of_model_splits_and_cases_raises_an_error(cases, model_folder, splits, words):
    with pytest.raises(UserError, match=words) as caught:
        evaluate(model_folder, cases, splits, ON_CPU)
    assert "\n" not in str(caught.value)


# --- evaluate.py ------------------------------------------------------------------------------------------

CARD = {"splits": BY_VOLUME.to_json(), "folds": [0, 1]}


def with_training(model_folder: Path, training) -> Path:
    card = read_card(model_folder)
    (model_folder / "model.json").write_text(json.dumps({**card, "training": training}))
    return model_folder


def test_splits_of_model_reads_the_card(model_folder):
    splits, folds = splits_of_model(with_training(model_folder, CARD))
    assert (splits.test, splits.folds) == (BY_VOLUME.test, BY_VOLUME.folds)
    assert folds == [0, 1]


@pytest.mark.parametrize("training", [None, {}, 3, {"data": {"test": 1}}, {"splits": {}}])
def test_card_without_splits_raises_an_error(model_folder, training):
    with pytest.raises(UserError, match="has no splits"):
        splits_of_model(with_training(model_folder, training))


def test_evaluate_py_prints_a_table_and_writes_metrics(cases, model_folder, tmp_path):
    dataset = cases["a"].image.parents[1]
    command = [
        sys.executable,
        str(EVALUATE),
        str(with_training(model_folder, CARD)),
        str(dataset),
        "--device",
        "cpu",
    ]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], check=True, capture_output=True, encoding="utf-8")
    lines = done.stdout.splitlines()
    assert lines[0] == "| case | predicted by | Dice | precision | recall | predicted mL | label mL |"
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][1:]
    assert [row[:2] for row in rows][:3] == [["a", "fold 0"], ["b", "fold 1"], ["c", "fold 1"]]
    assert rows[-1][:2] == ["d", "ensemble"]
    metrics = read_metrics(tmp_path / "out")
    assert [f"{row.dice:.3f}" for row in metrics.volumes] == [row[2] for row in rows]
    assert metrics.slices and (tmp_path / "out" / "predictions" / "d_ensemble.nii.gz").is_file()
    assert "Mean validation Dice (3 cases): " in done.stdout


def test_evaluate_py_prints_an_error_without_traceback(model_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EVALUATE), str(model_folder), str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1 and "has no splits" in done.stderr and done.stderr.count("\n") == 1


def test_evaluate_py_rejects_child(tmp_path):
    command = [sys.executable, str(EVALUATE), str(tmp_path), str(tmp_path), "--child"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, encoding="utf-8") as child:  # its stdin stays open
        assert child.wait(timeout=60) == 1
        assert "unrecognized arguments: --child" in child.stderr.read()
