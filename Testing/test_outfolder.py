"""The folder of a training: whose it is, and that nobody goes on in it with something else."""

import json

import pytest

from inputs import everything_in
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.splits import split
from SpleenSmoothSegTrainingLib.outfolder import check_free, claim, claimed_splits, fold_folder
from SpleenSmoothSegTrainingLib.recipe import Recipe
from SpleenSmoothSegTrainingLib.recipefile import read_recipe

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
    check_free(out, resume=False)
    claim(out, RECIPE, CARD, splits)
    assert everything_in(out) == ["recipe.toml", "splits.json"]
    assert read_recipe(out / "recipe.toml") == (RECIPE, CARD)
    assert claimed_splits(out) == splits


def test_claiming_it_again_changes_nothing(out):
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(out.iterdir())]
    claim(out, Recipe.from_dict(RECIPE.as_dict()), {}, SPLITS)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(out.iterdir())] == before


def test_a_training_that_is_there_is_not_overwritten(out):
    assert "add --resume" in refusal(check_free, out, False)
    check_free(out, resume=True)


def test_an_empty_folder_and_one_with_other_files_are_free(tmp_path):
    check_free(tmp_path, resume=False)
    check_free(tmp_path, resume=True)
    (tmp_path / "thesis.docx").touch()
    (tmp_path / "fold_0").mkdir()
    check_free(tmp_path, resume=False)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["model", "report.md", "metrics.csv", "predictions"])
def test_results_of_somebody_else_are_refused_before_anything_is_trained(tmp_path, name, resume):
    (tmp_path / name).mkdir()
    assert "would be overwritten" in refusal(check_free, tmp_path, resume)


@pytest.mark.parametrize("resume", [False, True])
def test_folds_of_an_unknown_recipe_are_left_alone(tmp_path, resume):
    put_state(tmp_path)
    assert "no recipe.toml" in refusal(check_free, tmp_path, resume)
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
    sentence = refusal(claim, out, RECIPE.with_changes(**changes), CARD, SPLITS)
    assert f"holds another recipe ({words})" in sentence and "leave that option out" in sentence
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_other_splits_are_refused_and_nothing_changes(out):
    before = (out / "splits.json").read_bytes()
    changed = split({**{name: [True, False, True] for name in "abcd"}, "e": [True] * 3}, "volume", 2, 0.2, seed=0)
    for splits in (changed, BY_SLICE, split({name: [True, False, True] for name in "abcdef"}, "volume", 2, 0.2, 0)):
        assert "are not those of" in refusal(claim, out, RECIPE, CARD, splits)
    assert (out / "splits.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"split_by": "volume", "seed": 0, "test": 3, "folds": []}'])
def test_damaged_splits_are_told_in_one_sentence(out, text):
    (out / "splits.json").write_text(text)
    assert "is damaged and cannot be read" in refusal(claimed_splits, out)
    assert "is damaged" in refusal(claim, out, RECIPE, CARD, SPLITS)


def test_splits_that_are_gone_are_told_in_one_sentence(out):
    (out / "splits.json").unlink()
    refusal(claimed_splits, out)


@pytest.mark.parametrize("text", ["", "seed = 0\n[", "seed = '0'", "sede = 0"])
def test_a_damaged_recipe_is_told_in_one_sentence(out, text):
    (out / "recipe.toml").write_text(text)
    refusal(claim, out, RECIPE, CARD, SPLITS)


def test_splits_without_a_recipe_are_nobodys(out):
    """As after a power failure between the two."""
    (out / "recipe.toml").unlink()
    check_free(out, resume=True)
    claim(out, RECIPE, CARD, BY_SLICE)
    assert claimed_splits(out) == BY_SLICE


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be written" in refusal(claim, tmp_path / "file" / "out", RECIPE, CARD, SPLITS)


def test_the_splits_of_the_folder_can_be_read_by_anyone(out):
    assert json.loads((out / "splits.json").read_text()) == SPLITS.to_json()
