"""Layout of the results folder of a training."""

import json

import pytest

from SpleenSmoothSegTrainingLib.outfolder import OutFolder


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folds_are_numbered_folders_in_numeric_order(tmp_path):
    for name in ("fold_10", "fold_2", "fold_x", "fold_"):
        (tmp_path / name).mkdir()
    touch(tmp_path / "fold_3")
    assert OutFolder(tmp_path).folds() == [2, 10]


def test_histories_are_those_of_folds_with_an_epoch(tmp_path):
    (tmp_path / "fold_0").mkdir()
    touch(tmp_path / "fold_1" / "history.csv", tmp_path / "fold_x" / "history.csv")
    assert OutFolder(tmp_path).histories() == {1: tmp_path / "fold_1" / "history.csv"}


def test_control_and_sweep_have_the_same_layout(tmp_path):
    out = OutFolder(tmp_path)
    touch(out.recipe, out.control.recipe, out.sweep_point("box_3px").recipe)
    (tmp_path / "sweep" / "without_recipe").mkdir()
    assert out.has_training() and out.has_control()
    assert {name: point.path for name, point in out.sweep_points().items()} == {
        "box_3px": tmp_path / "sweep" / "box_3px"
    }


@pytest.mark.parametrize(("folds", "missing"), [([0], [1, 2]), ([0, 1, 2], [])])
def test_training_is_complete_with_all_folds_and_a_report(tmp_path, folds, missing):
    out = OutFolder(tmp_path)
    touch(out.model_card, out.report)
    out.model_card.write_text(json.dumps({"training": {"recipe": {"fold_count": 3}, "folds": folds}}))
    assert out.missing_folds() == missing and out.is_complete() == (not missing)


@pytest.mark.parametrize("path", ["", "no such folder", "a\0b"])
def test_missing_or_invalid_path_has_nothing(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = OutFolder(path)
    assert not (out.has_training() or out.has_model() or out.has_report() or out.has_control())
    assert (out.folds(), out.histories(), out.sweep_points(), out.missing_folds()) == ([], {}, {}, [])
