"""Starting and resuming in OUT: same recipe and splits, no foreign files overwritten."""

import json
import sys
from pathlib import Path

import pytest

from inputs import everything_in
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.splits import split
from SpleenSmoothSegTrainingLib.outfolder import OutFolder
from SpleenSmoothSegTrainingLib.recipe.file import read_recipe
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from SpleenSmoothSegTrainingLib.run.reserve import check_free, reserve, rollback_unless_started, splits_of_training

RECIPE = Recipe(fold_count=2, border=Border("box", 3, "px"))
SPLITS = split({name: [True, False, True] for name in "abcde"}, "volume", 2, 0.2, seed=0)
BY_SLICE = split({name: [True, False, True] for name in "abcde"}, "slice", 2, 0.2, seed=0)
CARD = {"name": "Ours"}


def refusal(make, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        make(*arguments)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


@pytest.fixture
def out(tmp_path):
    """A folder reserved with RECIPE and SPLITS."""
    reserve(tmp_path / "out", RECIPE, CARD, SPLITS)
    return tmp_path / "out"


def write_state(out, number: int = 0) -> None:
    folder = OutFolder(out).fold(number)
    folder.mkdir(parents=True)
    (folder / "last.pt").write_bytes(b"somebody's")


@pytest.mark.parametrize("splits", [SPLITS, BY_SLICE], ids=["volume", "slice"])
def test_reserve_new_folder_writes_recipe_and_splits(tmp_path, splits):
    out = tmp_path / "not" / "there yet"
    check_free(out, RECIPE, resume=False)
    reserve(out, RECIPE, CARD, splits)
    assert everything_in(out) == ["recipe.toml", "splits.json"]
    assert read_recipe(out / "recipe.toml") == (RECIPE, CARD)
    assert splits_of_training(out) == splits


def test_reserve_twice_changes_nothing(out):
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(out.iterdir())]
    reserve(out, Recipe.from_dict(RECIPE.as_dict()), {}, SPLITS)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(out.iterdir())] == before


def test_check_free_existing_training_requires_resume(out):
    assert "add --resume" in refusal(check_free, out, RECIPE, False)
    check_free(out, RECIPE, resume=True)


def test_check_free_accepts_empty_folder_and_unrelated_files(tmp_path):
    check_free(tmp_path, RECIPE, resume=False)
    check_free(tmp_path, RECIPE, resume=True)
    (tmp_path / "thesis.docx").touch()
    (tmp_path / "fold_0").mkdir()
    check_free(tmp_path, RECIPE, resume=False)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["model", "report.md", "metrics.csv", "predictions"])
def test_check_free_foreign_results_raise_user_error(tmp_path, name, resume):
    (tmp_path / name).mkdir()
    assert "would be overwritten" in refusal(check_free, tmp_path, RECIPE, resume)


@pytest.mark.parametrize("resume", [False, True])
def test_check_free_folds_without_recipe_raise_user_error_and_are_kept(tmp_path, resume):
    write_state(tmp_path)
    assert "no recipe.toml" in refusal(check_free, tmp_path, RECIPE, resume)
    assert (tmp_path / "fold_0" / "last.pt").read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed is 0"),
        ({"border": Border("none")}, "border is box:3px"),
        ({"epochs": (10, 2)}, r"epochs is (100, 20)"),
        ({"encoder": "resnet18", "averaging": 0.9}, "encoder is se_resnext50_32x4d"),
    ],
    ids=str,
)
def test_reserve_other_recipe_raises_user_error_and_changes_nothing(out, changes, words):
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = RECIPE.with_changes(**changes)
    for sentence in (refusal(reserve, out, other, CARD, SPLITS), refusal(check_free, out, other, True)):
        assert f"has another recipe ({words})" in sentence and "remove that option" in sentence
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_reserve_other_splits_raise_user_error_and_change_nothing(out):
    before = (out / "splits.json").read_bytes()
    changed = split({**{name: [True, False, True] for name in "abcd"}, "e": [True] * 3}, "volume", 2, 0.2, seed=0)
    for splits in (changed, BY_SLICE, split({name: [True, False, True] for name in "abcdef"}, "volume", 2, 0.2, 0)):
        assert "has other splits" in refusal(reserve, out, RECIPE, CARD, splits)
    assert (out / "splits.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"split_by": "volume", "seed": 0, "test": 3, "folds": []}'])
def test_damaged_splits_raise_user_error(out, text):
    (out / "splits.json").write_text(text)
    assert "is damaged and cannot be read" in refusal(splits_of_training, out)
    assert "is damaged" in refusal(reserve, out, RECIPE, CARD, SPLITS)
    assert "is damaged" in refusal(check_free, out, RECIPE, True)


def test_missing_splits_raise_user_error(out):
    (out / "splits.json").unlink()
    refusal(splits_of_training, out)


@pytest.mark.parametrize("text", ["", "seed = 0\n[", "seed = '0'", "sede = 0"])
def test_reserve_damaged_recipe_raises_user_error(out, text):
    (out / "recipe.toml").write_text(text)
    refusal(reserve, out, RECIPE, CARD, SPLITS)


def test_reserve_accepts_equal_splits_without_a_recipe(out):
    """As after a power failure between writing the two; other splits may be foreign."""
    (out / "recipe.toml").unlink()
    before = (out / "splits.json").read_bytes()
    check_free(out, RECIPE, resume=True)
    assert "would be overwritten" in refusal(reserve, out, RECIPE, CARD, BY_SLICE)
    assert (out / "splits.json").read_bytes() == before
    reserve(out, RECIPE, CARD, SPLITS)
    assert (out / "recipe.toml").is_file() and splits_of_training(out) == SPLITS


def test_check_free_foreign_splits_file_raises_user_error(tmp_path):
    (tmp_path / "splits.json").write_text('{"train": ["a"], "val": ["b"]}')
    assert "would be overwritten" in refusal(check_free, tmp_path, RECIPE, False)
    assert "val" in (tmp_path / "splits.json").read_text()


def test_rollback_before_the_first_epoch_frees_the_folder(tmp_path):
    (tmp_path / "thesis.docx").touch()
    folders = [tmp_path, tmp_path / "control", tmp_path / "sweep" / "box_3px"]
    with pytest.raises(KeyboardInterrupt), rollback_unless_started(folders, [0, 1]):
        for folder in folders:
            reserve(folder, RECIPE, CARD, SPLITS, [0, 1])
        assert (tmp_path / "fold_1").is_dir(), "so that --resume knows which folds were requested"
        raise KeyboardInterrupt
    assert everything_in(tmp_path) == ["thesis.docx"]


def test_rollback_keeps_a_training_with_a_started_fold(tmp_path):
    folders = [tmp_path, tmp_path / "control"]
    with pytest.raises(KeyboardInterrupt), rollback_unless_started(folders, [0, 1]):
        for folder in folders:
            reserve(folder, RECIPE, CARD, SPLITS, [0, 1])
        (OutFolder(tmp_path).fold(0) / "last.pt").touch()
        raise KeyboardInterrupt
    assert (tmp_path / "recipe.toml").is_file() and (tmp_path / "control" / "recipe.toml").is_file()


def test_rollback_keeps_a_training_with_another_reserved_fold(tmp_path):
    """As on a cluster with one job per fold."""
    reserve(tmp_path, RECIPE, CARD, SPLITS, [0])
    with pytest.raises(KeyboardInterrupt), rollback_unless_started([tmp_path], [1]):
        reserve(tmp_path, RECIPE, CARD, SPLITS, [1])
        raise KeyboardInterrupt
    assert everything_in(tmp_path) == ["fold_0", "recipe.toml", "splits.json"]


def test_out_that_cannot_be_created_raises_user_error(tmp_path):
    (tmp_path / "file").touch()
    assert "is a file" in refusal(check_free, tmp_path / "file", RECIPE, False)
    assert "is a file" in refusal(check_free, tmp_path / "file" / "out", RECIPE, False)
    assert "cannot be written" in refusal(reserve, tmp_path / "file" / "out", RECIPE, CARD, SPLITS)


def test_splits_file_is_plain_json(out):
    assert json.loads((out / "splits.json").read_text()) == SPLITS.to_json()


def test_check_free_leaves_no_files(tmp_path):
    check_free(tmp_path / "new" / "out", RECIPE, resume=False)
    assert everything_in(tmp_path) == []
    if sys.platform == "linux":
        assert "cannot be written" in refusal(check_free, Path("/proc/out"), RECIPE, False)
