"""The folder of a training: whose it is, and that nobody goes on in it with something else."""

import json
import sys
from pathlib import Path

import pytest

from inputs import everything_in
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.splits import split
from SpleenSmoothSegTrainingLib.outfolder import fold_folder
from SpleenSmoothSegTrainingLib.recipe.file import read_recipe
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from SpleenSmoothSegTrainingLib.run.claim import check_free, claim, claimed_splits, rollback_unless_started

RECIPE = Recipe(fold_count=2, border="box:3px")
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
    """A folder that RECIPE and SPLITS have claimed."""
    claim(tmp_path / "out", RECIPE, CARD, SPLITS)
    return tmp_path / "out"


def put_state(out, number: int = 0) -> None:
    folder = fold_folder(out, number)
    folder.mkdir(parents=True)
    (folder / "last.pt").write_bytes(b"somebody's")


@pytest.mark.parametrize("splits", [SPLITS, BY_SLICE], ids=["volume", "slice"])
def test_a_new_folder_gets_the_recipe_and_the_splits(tmp_path, splits):
    out = tmp_path / "not" / "there yet"
    check_free(out, RECIPE, resume=False)
    claim(out, RECIPE, CARD, splits)
    assert everything_in(out) == ["recipe.toml", "splits.json"]
    assert read_recipe(out / "recipe.toml") == (RECIPE, CARD)
    assert claimed_splits(out) == splits


def test_claiming_it_again_changes_nothing(out):
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(out.iterdir())]
    claim(out, Recipe.from_dict(RECIPE.as_dict()), {}, SPLITS)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(out.iterdir())] == before


def test_a_training_that_is_there_is_not_overwritten(out):
    assert "add --resume" in refusal(check_free, out, RECIPE, False)
    check_free(out, RECIPE, resume=True)


def test_an_empty_folder_and_one_with_other_files_are_free(tmp_path):
    check_free(tmp_path, RECIPE, resume=False)
    check_free(tmp_path, RECIPE, resume=True)
    (tmp_path / "thesis.docx").touch()
    (tmp_path / "fold_0").mkdir()
    check_free(tmp_path, RECIPE, resume=False)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["model", "report.md", "metrics.csv", "predictions"])
def test_results_of_somebody_else_are_refused_before_anything_is_trained(tmp_path, name, resume):
    (tmp_path / name).mkdir()
    assert "would be overwritten" in refusal(check_free, tmp_path, RECIPE, resume)


@pytest.mark.parametrize("resume", [False, True])
def test_folds_of_an_unknown_recipe_are_left_alone(tmp_path, resume):
    put_state(tmp_path)
    assert "no recipe.toml" in refusal(check_free, tmp_path, RECIPE, resume)
    assert (tmp_path / "fold_0" / "last.pt").read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed is 0"),
        ({"border": "none"}, "border is box:3px"),
        ({"epochs": (10, 2)}, r"epochs is (100, 20)"),
        ({"encoder": "resnet18", "averaging": 0.9}, "encoder is se_resnext50_32x4d"),
    ],
    ids=str,
)
def test_the_recipe_of_another_training_is_refused_and_nothing_changes(out, changes, words):
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = RECIPE.with_changes(**changes)
    for sentence in (refusal(claim, out, other, CARD, SPLITS), refusal(check_free, out, other, True)):
        assert f"holds another recipe ({words})" in sentence and "leave that option out" in sentence
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_other_splits_are_refused_and_nothing_changes(out):
    before = (out / "splits.json").read_bytes()
    changed = split({**{name: [True, False, True] for name in "abcd"}, "e": [True] * 3}, "volume", 2, 0.2, seed=0)
    for splits in (changed, BY_SLICE, split({name: [True, False, True] for name in "abcdef"}, "volume", 2, 0.2, 0)):
        assert "holds other splits" in refusal(claim, out, RECIPE, CARD, splits)
    assert (out / "splits.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"split_by": "volume", "seed": 0, "test": 3, "folds": []}'])
def test_damaged_splits_are_told_in_one_sentence(out, text):
    (out / "splits.json").write_text(text)
    assert "is damaged and cannot be read" in refusal(claimed_splits, out)
    assert "is damaged" in refusal(claim, out, RECIPE, CARD, SPLITS)
    assert "is damaged" in refusal(check_free, out, RECIPE, True)


def test_splits_that_are_gone_are_told_in_one_sentence(out):
    (out / "splits.json").unlink()
    refusal(claimed_splits, out)


@pytest.mark.parametrize("text", ["", "seed = 0\n[", "seed = '0'", "sede = 0"])
def test_a_damaged_recipe_is_told_in_one_sentence(out, text):
    (out / "recipe.toml").write_text(text)
    refusal(claim, out, RECIPE, CARD, SPLITS)


def test_splits_without_a_recipe_are_taken_over_if_they_are_the_same(out):
    """As after a power failure between the two; others may be somebody's own."""
    (out / "recipe.toml").unlink()
    before = (out / "splits.json").read_bytes()
    check_free(out, RECIPE, resume=True)
    assert "would be overwritten" in refusal(claim, out, RECIPE, CARD, BY_SLICE)
    assert (out / "splits.json").read_bytes() == before
    claim(out, RECIPE, CARD, SPLITS)
    assert (out / "recipe.toml").is_file() and claimed_splits(out) == SPLITS


def test_splits_that_are_none_are_somebody_elses(tmp_path):
    (tmp_path / "splits.json").write_text('{"train": ["a"], "val": ["b"]}')
    assert "would be overwritten" in refusal(check_free, tmp_path, RECIPE, False)
    assert "val" in (tmp_path / "splits.json").read_text()


def test_a_training_that_ends_before_its_first_epoch_leaves_the_folder_free(tmp_path):
    (tmp_path / "thesis.docx").touch()
    folders = [tmp_path, tmp_path / "plain", tmp_path / "sweep" / "box_3px"]
    with pytest.raises(KeyboardInterrupt), rollback_unless_started(folders, [0, 1]):
        for folder in folders:
            claim(folder, RECIPE, CARD, SPLITS, [0, 1])
        assert (tmp_path / "fold_1").is_dir(), "so that --resume knows what was asked for"
        raise KeyboardInterrupt
    assert everything_in(tmp_path) == ["thesis.docx"]


def test_a_training_of_which_one_fold_is_begun_stays(tmp_path):
    folders = [tmp_path, tmp_path / "plain"]
    with pytest.raises(KeyboardInterrupt), rollback_unless_started(folders, [0, 1]):
        for folder in folders:
            claim(folder, RECIPE, CARD, SPLITS, [0, 1])
        (fold_folder(tmp_path, 0) / "last.pt").touch()
        raise KeyboardInterrupt
    assert (tmp_path / "recipe.toml").is_file() and (tmp_path / "plain" / "recipe.toml").is_file()


def test_a_training_in_which_somebody_else_trains_another_fold_stays(tmp_path):
    """As on a cluster, one fold a job."""
    claim(tmp_path, RECIPE, CARD, SPLITS, [0])
    with pytest.raises(KeyboardInterrupt), rollback_unless_started([tmp_path], [1]):
        claim(tmp_path, RECIPE, CARD, SPLITS, [1])
        raise KeyboardInterrupt
    assert everything_in(tmp_path) == ["fold_0", "recipe.toml", "splits.json"]


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    assert "is a file" in refusal(check_free, tmp_path / "file", RECIPE, False)
    assert "is a file" in refusal(check_free, tmp_path / "file" / "out", RECIPE, False)
    assert "cannot be written" in refusal(claim, tmp_path / "file" / "out", RECIPE, CARD, SPLITS)


def test_the_splits_of_the_folder_can_be_read_by_anyone(out):
    assert json.loads((out / "splits.json").read_text()) == SPLITS.to_json()


def test_a_place_is_checked_without_a_trace(tmp_path):
    check_free(tmp_path / "new" / "out", RECIPE, resume=False)
    assert everything_in(tmp_path) == []
    if sys.platform == "linux":
        assert "cannot be written" in refusal(check_free, Path("/proc/out"), RECIPE, False)
