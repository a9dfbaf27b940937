"""The recipe: published defaults, validation, and the round trip through its file."""

import dataclasses
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CyclicLR, ReduceLROnPlateau

from locations import TRAINING_MODULE
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.model.network import PUBLISHED_ENCODER
from SpleenSmoothSegTrainingLib.data.prepare import slice_format
from SpleenSmoothSegTrainingLib.data.splits import Splits
from SpleenSmoothSegTrainingLib.learning.phases import phases
from SpleenSmoothSegTrainingLib.recipe.file import read_recipe, read_recipe_file, write_recipe_file
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

STARTER = TRAINING_MODULE / "Resources" / "Recipes" / "starter.toml"
PUBLISHED = {
    "encoder": "se_resnext50_32x4d",
    "fold_count": 5,
    "test_part": 0.1,
    "augmentation": "published",
    "epochs": (100, 20),
    "adam_rate": 1e-4,
    "sgd_base_rate": 5e-7,
    "sgd_max_rate": 1e-3,
}
OFF = {"averaging": 0.0, "clip_gradient": 0.0, "channels": 1, "encoder_weights": "none", "border_probability": 1.0}


def refusal(make, *arguments, **options) -> str:
    """The error message, which must be one sentence."""
    with pytest.raises(UserError) as caught:
        make(*arguments, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".") and len(sentence) > 20
    return sentence


# Every number of a training.


def test_default_recipe_has_every_published_number():
    recipe = Recipe().as_dict()
    assert {name: recipe[name] for name in PUBLISHED} == PUBLISHED
    assert recipe["encoder"] == PUBLISHED_ENCODER
    assert Border.parse(recipe["border"]).kernel != "none", "labels are smoothed, which is the paper's idea"


def test_options_beyond_the_paper_are_off_by_default():
    recipe = Recipe().as_dict()
    assert {name: recipe[name] for name in OFF} == OFF


def test_default_split_keeps_each_patient_on_one_side():
    assert Recipe().split_by == "volume"


@pytest.mark.parametrize("field", dataclasses.fields(Recipe), ids=lambda field: field.name)
def test_every_field_has_help_that_marks_published_values(field):
    words = field.metadata["help"]
    assert words and "\n" not in words
    assert ("published" in words) == (field.name in PUBLISHED)


def test_slice_format_has_the_values_of_the_recipe():
    recipe = Recipe(image_size=192, spacing=2.0, window=(-100.0, 200.0), channels=3, channel_spacing=4.0)
    cut = slice_format(recipe)
    assert (cut.size, cut.spacing, cut.window, cut.channels, cut.channel_spacing) == (192, 2.0, (-100.0, 200.0), 3, 4.0)


def test_with_changes_ignores_none():
    assert Recipe().with_changes(seed=None, border=Border.parse("box:3px")) == Recipe(border=Border.parse("box:3px"))


# The two phases.


def test_phases_have_the_published_lengths_and_order():
    assert [(phase.name, phase.epochs) for phase in phases(Recipe())] == [("adam", 100), ("sgd", 20)]


def test_phase_1_is_adam_with_a_learning_rate_reduced_on_plateau():
    phase = phases(Recipe(plateau_patience=1))[0]
    optimizer = phase.optimizer(nn.Linear(1, 1).parameters())
    scheduler = phase.scheduler(optimizer, 10)
    assert isinstance(optimizer, Adam) and isinstance(scheduler, ReduceLROnPlateau)
    for dice in (0.5, 0.6, 0.6):
        scheduler.step(dice)
    assert optimizer.param_groups[0]["lr"] == 1e-4
    scheduler.step(0.6)
    assert optimizer.param_groups[0]["lr"] == 5e-5


def test_phase_2_is_sgd_with_a_cyclic_learning_rate_between_the_published_bounds():
    phase = phases(Recipe())[1]
    optimizer = phase.optimizer(nn.Linear(1, 1).parameters())
    scheduler = phase.scheduler(optimizer, 10)
    assert isinstance(optimizer, SGD) and isinstance(scheduler, CyclicLR) and phase.steps_each_batch
    rates = []
    for _ in range(80):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert min(rates) == pytest.approx(5e-7) and max(rates) == pytest.approx(1e-3)
    assert rates[0] == rates[40] == pytest.approx(5e-7), "a cycle is four epochs"
    assert rates[20] == pytest.approx(1e-3)


# Validation.


@pytest.mark.parametrize(
    "changes",
    [
        {"border": "gaussian:1mm"},
        {"border": 3},
        {"border_probability": 1.1},
        {"batch_size": 0},
        {"batch_size": 1},
        {"epochs": (0, 0)},
        {"epochs": (-1, 20)},
        {"epochs": (100,)},
        {"epochs": (100, 20.0)},
        {"epochs": 100},
        {"spacing": -1.0},
        {"spacing": "1.5"},
        {"window": (5.0, 5.0)},
        {"window": (250.0, -150.0)},
        {"window": (1.0, 2.0, 3.0)},
        {"window": (float("nan"), 250.0)},
        {"window": (-150.0, float("inf"))},
        {"channels": 2},
        {"channels": 33},
        {"channels": 3.0},
        {"channel_spacing": 0.0},
        {"seed": 1.5},
        {"seed": -1},
        {"seed": True},
        {"encoder": 5},
        {"split_by": "patient"},
        {"precision": "half"},
        {"threshold": 1.5},
        {"averaging": 2.0},
        {"averaging": 1.0},
        {"clip_gradient": -1.0},
        {"empty_slices": float("nan")},
        {"sgd_base_rate": 0.5},
        {"fold_count": 1},
        {"test_part": 1.0},
        {"image_size": 16},
    ],
    ids=str,
)
def test_recipe_invalid_value_raises_user_error(changes):
    assert next(iter(changes)).split("_")[0] in refusal(Recipe().with_changes, **changes)


@settings(max_examples=100, deadline=None)
@given(low=st.floats(), high=st.floats())
def test_every_valid_window_is_accepted_by_slice_format(low, high):
    try:
        recipe = Recipe(window=(low, high))
    except UserError:
        return
    assert slice_format(recipe).window == (low, high)


def test_from_dict_unknown_key_raises_user_error():
    assert '"encodr"' in refusal(Recipe.from_dict, {"encodr": "resnet18"})


@pytest.mark.parametrize("border", ["gaussian", "mexican_hat:1mm"])
def test_from_dict_invalid_border_raises_user_error(border):
    assert border.split(":")[0] in refusal(Recipe.from_dict, {"border": border})


# The recipe file.


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
recipes = st.builds(
    Recipe,
    encoder=texts,
    encoder_weights=texts,
    spacing=st.floats(0.1, 20) | st.integers(1, 20),
    window=st.tuples(st.floats(-1000, 0), st.floats(1, 3000)),
    channels=st.sampled_from([1, 3, 31]),
    border=st.sampled_from(["none", "gaussian:1.5mm", "box:3px:3d"]).map(Border.parse),
    split_by=st.sampled_from(["volume", "slice"]),
    epochs=st.tuples(st.integers(0, 100_000), st.integers(1, 100_000)),
    adam_rate=st.floats(1e-12, 1),
    seed=st.integers(0, 2**31),
)


@settings(max_examples=100, deadline=None)
@given(recipe=recipes, words=texts)
def test_written_recipe_equals_the_recipe_read_again(tmp_path_factory, recipe, words):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    card = {"name": words, "data_license": "CC BY"} if words else {}
    write_recipe_file(path, recipe, card)
    assert read_recipe(path) == (recipe, card)


def test_written_recipe_contains_every_field(tmp_path):
    path = tmp_path / "recipe.toml"
    write_recipe_file(path, Recipe(), {})
    values, card = read_recipe_file(path)
    assert list(values) == [field.name for field in dataclasses.fields(Recipe)] and card == {}
    assert [each.name for each in tmp_path.iterdir()] == ["recipe.toml"]


def test_from_dict_inverts_as_dict():
    recipe = Recipe(border=Border.parse("box:3px"), empty_slices=1000.0, window=(-100.0, 200.0))
    assert Recipe.from_dict(recipe.as_dict()) == recipe


def test_read_recipe_file_accepts_hyphens_and_underscores(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("image-size = 128\nbatch_size = 4\n[card]\nname = 'Ours'\n")
    assert read_recipe_file(path) == ({"image_size": 128, "batch_size": 4}, {"name": "Ours"})


def test_read_recipe_file_accepts_byte_order_mark_and_crlf(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("image_size = 128\r\n[card]\r\nname = 'Größe'\r\n", encoding="utf-8-sig")
    assert read_recipe_file(path) == ({"image_size": 128}, {"name": "Größe"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[recipe", "not valid TOML"),
        (b"encoder = resnet18", "not valid TOML"),
        (b"seed = 1\nseed = 2", "not valid TOML"),
        (b"name = '\xff'", "not valid TOML"),
        (b"[card]\ntitle = 'x'", r"\[card\] .* is invalid; it may hold the texts name, description"),
        (b"[card]\nname = 5", r"\[card\]"),
        (b"card = 'x'", r"\[card\]"),
        (None, "cannot be read; check the path"),
    ],
)
def test_read_recipe_file_missing_or_invalid_raises_user_error(tmp_path, text, words):
    path = tmp_path / "recipe.toml"
    if text is not None:
        path.write_bytes(text)
    sentence = refusal(read_recipe_file, path)
    assert re.search(words, sentence) and str(path) in sentence


@pytest.mark.parametrize("text", ["encodr = 'resnet18'", "[recipe]\nseed = 1", "seed = '1'", "test = ['a']"])
def test_read_recipe_damaged_file_raises_user_error(tmp_path, text):
    (tmp_path / "recipe.toml").write_text(text)
    refusal(read_recipe, tmp_path / "recipe.toml")


# The recipe of the shipped starter.


def test_starter_recipe_card_and_splits_are_valid():
    without_card = read_run(make_parser(""), ["data", "out", "--recipe", str(STARTER)])
    assert without_card.card == {}, "a model that others train with this recipe is not the starter"
    card = STARTER.with_name("starter-card.toml")
    run = read_run(make_parser(""), ["data", "out", "--recipe", str(STARTER), "--card", str(card)])
    assert "not a clinical model" in run.card["description"] and run.card["data_license"]
    splits = Splits.from_json(json.loads(STARTER.with_name("starter-splits.json").read_text()))
    assert len(splits.folds) == run.recipe.fold_count == 5
    assert "spleen_9" in splits.test, "it ships as the sample CT"
