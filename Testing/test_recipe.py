import pytest
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CyclicLR, ReduceLROnPlateau

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.phases import phases
from SpleenSmoothSegTrainingLib.recipe import Recipe, read_recipe_file
from training_data import SAMPLE

STARTER = SAMPLE.parents[2] / "SpleenSmoothSegTraining" / "Resources" / "Recipes" / "starter.toml"


def test_the_default_recipe_holds_the_published_numbers():
    recipe = Recipe()
    assert (recipe.encoder, recipe.folds) == ("se_resnext50_32x4d", 5)
    assert (recipe.adam_epochs, recipe.adam_rate) == (100, 1e-4)
    assert (recipe.sgd_epochs, recipe.sgd_base_rate, recipe.sgd_max_rate) == (20, 5e-7, 1e-3)
    assert recipe.augmentation == "published"
    assert recipe.averaging == 0, "what the paper does not have is off"


def test_phase_1_is_adam_with_a_rate_that_falls_on_a_plateau_of_the_validation_dice():
    phase = phases(Recipe(plateau_patience=1))[0]
    optimizer = phase.optimizer(nn.Linear(1, 1).parameters())
    scheduler = phase.scheduler(optimizer, 10)
    assert isinstance(optimizer, Adam) and isinstance(scheduler, ReduceLROnPlateau)
    for dice in (0.5, 0.6, 0.6):
        scheduler.step(dice)
    assert optimizer.param_groups[0]["lr"] == 1e-4
    scheduler.step(0.6)
    assert optimizer.param_groups[0]["lr"] == 5e-5


def test_phase_2_is_sgd_whose_rate_cycles_between_the_published_bounds():
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


def test_a_recipe_survives_its_dictionary():
    recipe = Recipe(border="box:3px", empty_slices=1000.0, window=(-100.0, 200.0))
    assert Recipe.from_dict(recipe.as_dict()) == recipe


def test_the_starter_recipe_is_valid_and_keeps_the_sample_for_the_test():
    recipe, test, card = read_recipe_file(STARTER)
    assert test == ("spleen_9",)
    assert recipe.folds == 5
    assert "no clinical model" in card["description"]


@pytest.mark.parametrize(
    "changes",
    [
        {"border": "gaussian"},
        {"batch_size": 0},
        {"adam_epochs": 0, "sgd_epochs": 0},
        {"spacing": -1.0},
        {"window": (5.0, 5.0)},
        {"seed": 1.5},
        {"window": (1.0, 2.0, 3.0)},
        {"encoder": 5},
        {"threshold": 1.5},
        {"averaging": 2.0},
        {"empty_slices": float("nan")},
        {"sgd_base_rate": 0.5},
    ],
)
def test_a_value_that_no_training_can_have_is_refused_in_one_sentence(changes):
    with pytest.raises(UserError) as caught:
        Recipe().with_changes(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[recipe]\nencodr = 'resnet18'", "encoder = 'resnet18'", "test = 'a'", "[recipe", None]
)
def test_a_recipe_file_that_is_missing_or_wrong_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "recipe.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_recipe_file(path)
    assert "\n" not in str(caught.value)
