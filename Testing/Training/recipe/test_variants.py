"""The trainings of one run: smoothed, its plain control, the points of a sweep. They differ in the border alone."""

from pathlib import Path

import pytest

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from SpleenSmoothSegTrainingLib.recipe.variants import list_variants, parse_sweep, sweep_of
from SpleenSmoothSegTrainingLib.run.options import SWEEP

OUT = Path("out")
SMOOTHED = Recipe(border="gaussian:1.5mm", seed=7)


def refusal(make, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        make(*arguments, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def names(text: str) -> list[str]:
    return [str(border) for border in parse_sweep(text)]


def test_a_training_is_alone_in_its_folder():
    (variant,) = list_variants(OUT, SMOOTHED)
    assert (variant.name, variant.folder, variant.recipe) == ("smoothed", OUT, SMOOTHED)


@pytest.mark.parametrize("border", ["none", "gaussian:0mm", "none:3px"])
def test_a_training_without_a_border_is_plain(border):
    (variant,) = list_variants(OUT, SMOOTHED.with_changes(border=border))
    assert (variant.name, variant.folder) == ("plain", OUT)


def test_the_control_differs_in_nothing_but_the_border():
    smoothed, plain = list_variants(OUT, SMOOTHED, compare=True)
    assert (plain.name, plain.folder) == ("plain", OUT / "plain")
    assert plain.recipe == smoothed.recipe.with_changes(border="none")


@pytest.mark.parametrize(
    "changes", [{"border": "none"}, {"border": "box:0px"}, {"border": "none:2mm"}, {"border_probability": 0.0}], ids=str
)
def test_plain_is_not_compared_with_plain(changes):
    assert "--compare needs a soft border" in refusal(list_variants, OUT, SMOOTHED.with_changes(**changes), True)


def test_a_sweep_has_every_kernel_with_every_width_and_none():
    assert names("gaussian,box:1mm,2mm") == ["none", "gaussian:1mm", "gaussian:2mm", "box:1mm", "box:2mm"]
    assert names("gaussian:1mm,3px:3d") == ["none", "gaussian:1mm:3d", "gaussian:3px:3d"]
    assert names("gaussian:1mm,2mm+box:3px") == ["none", "gaussian:1mm", "gaussian:2mm", "box:3px"]
    assert len(parse_sweep(SWEEP)) == 7


def test_the_sweep_of_a_folder_is_known_again(tmp_path):
    assert sweep_of(tmp_path) is None
    for variant in (variants := list_variants(tmp_path, SMOOTHED, sweep="gaussian,box:1mm,3px:3d")):
        write_recipe_file(variant.folder / "recipe.toml", variant.recipe, {})
    again = list_variants(tmp_path, SMOOTHED, sweep=sweep_of(tmp_path))
    assert {variant.folder for variant in again} == {variant.folder for variant in variants}


@pytest.mark.parametrize("text", ["Gaussian,BOX:1MM,2mm:3D", " gaussian , box : 1mm , 2 mm :3d"])
def test_capitals_and_spaces_do_not_matter_in_a_sweep(text):
    assert names(text) == ["none", "gaussian:1mm:3d", "gaussian:2mm:3d", "box:1mm:3d", "box:2mm:3d"]


def test_what_is_the_same_border_is_trained_once():
    assert names("gaussian,none:0mm,1mm,1.0mm,1") == ["none", "gaussian:1mm"]
    variants = list_variants(OUT, SMOOTHED, compare=True, sweep="gaussian:1.5mm,3mm")
    assert [variant.name for variant in variants] == ["smoothed", "plain", "gaussian_3mm"]
    plain = list_variants(OUT, SMOOTHED.with_changes(border="box:0px"), sweep="gaussian:3mm")
    assert [variant.name for variant in plain] == ["plain", "gaussian_3mm"]


def test_each_point_of_a_sweep_has_a_folder_of_its_name():
    variants = list_variants(OUT, SMOOTHED, sweep="gaussian:1.5mm,3px:3d")
    assert [variant.folder for variant in variants] == [
        OUT,
        OUT / "sweep" / "none",
        OUT / "sweep" / "gaussian_1.5mm_3d",
        OUT / "sweep" / "gaussian_3px_3d",
    ]
    for variant in variants:
        assert variant.recipe == SMOOTHED.with_changes(border=variant.recipe.border)
        assert variant.folder == OUT or variant.folder.name == variant.name == variant.recipe.border.replace(":", "_")


@pytest.mark.parametrize(
    "text",
    ["gaussian", "gaussian:", ":1mm", "gaussian:1mm:4d", "gaussian:wide", "hat:1mm", "gaussian:1mm,,2mm", "none"],
)
def test_a_sweep_that_is_none_is_refused_in_one_sentence(text):
    refusal(parse_sweep, text)
