"""The trainings of one run: smoothed, its control, the points of a sweep."""

from pathlib import Path

import pytest

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from SpleenSmoothSegTrainingLib.recipe.variants import list_variants, parse_sweep, sweep_in
from SpleenSmoothSegTrainingLib.run.options import SWEEP

OUT = Path("out")
SMOOTHED = Recipe(border=Border("gaussian", 1.5), seed=7)


def refusal(make, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        make(*arguments, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def names(text: str) -> list[str]:
    return [str(border) for border in parse_sweep(text)]


def test_list_variants_by_default_is_the_smoothed_training_only():
    (variant,) = list_variants(OUT, SMOOTHED)
    assert (variant.name, variant.folder, variant.recipe) == ("smoothed", OUT, SMOOTHED)


@pytest.mark.parametrize("border", ["none", "gaussian:0mm", "none:3px"])
def test_list_variants_without_smoothing_is_named_control(border):
    (variant,) = list_variants(OUT, SMOOTHED.with_changes(border=Border.parse(border)))
    assert (variant.name, variant.folder) == ("control", OUT)


def test_list_variants_compare_adds_a_control_that_differs_in_the_border_only():
    smoothed, control = list_variants(OUT, SMOOTHED, compare=True)
    assert (control.name, control.folder) == ("control", OUT / "control")
    assert control.recipe == smoothed.recipe.with_changes(border=Border("none"))


@pytest.mark.parametrize(
    "changes",
    [
        {"border": Border("none")},
        {"border": Border("box", 0, "px")},
        {"border": Border("none", 2)},
        {"border_probability": 0.0},
    ],
    ids=str,
)
def test_list_variants_compare_without_smoothing_is_refused(changes):
    assert "--compare needs border smoothing" in refusal(list_variants, OUT, SMOOTHED.with_changes(**changes), True)


def test_parse_sweep_combines_every_kernel_with_every_width_and_adds_none():
    assert names("gaussian,box:1mm,2mm") == ["none", "gaussian:1mm", "gaussian:2mm", "box:1mm", "box:2mm"]
    assert names("gaussian:1mm,3px:3d") == ["none", "gaussian:1mm:3d", "gaussian:3px:3d"]
    assert names("gaussian:1mm,2mm+box:3px") == ["none", "gaussian:1mm", "gaussian:2mm", "box:3px"]
    assert len(parse_sweep(SWEEP)) == 7


def test_sweep_in_reproduces_the_sweep_of_a_folder(tmp_path):
    assert sweep_in(tmp_path) is None
    for variant in (variants := list_variants(tmp_path, SMOOTHED, sweep="gaussian,box:1mm,3px:3d")):
        write_recipe_file(variant.folder / "recipe.toml", variant.recipe, {})
    again = list_variants(tmp_path, SMOOTHED, sweep=sweep_in(tmp_path))
    assert {variant.folder for variant in again} == {variant.folder for variant in variants}


@pytest.mark.parametrize("text", ["Gaussian,BOX:1MM,2mm:3D", " gaussian , box : 1mm , 2 mm :3d"])
def test_parse_sweep_ignores_case_and_spaces(text):
    assert names(text) == ["none", "gaussian:1mm:3d", "gaussian:2mm:3d", "box:1mm:3d", "box:2mm:3d"]


def test_equal_borders_are_trained_once():
    assert names("gaussian,none:0mm,1mm,1.0mm,1") == ["none", "gaussian:1mm"]
    variants = list_variants(OUT, SMOOTHED, compare=True, sweep="gaussian:1.5mm,3mm")
    assert [variant.name for variant in variants] == ["smoothed", "control", "gaussian_3mm"]
    control = list_variants(OUT, SMOOTHED.with_changes(border=Border("box", 0)), sweep="gaussian:3mm")
    assert [variant.name for variant in control] == ["control", "gaussian_3mm"]


def test_each_point_of_a_sweep_has_a_folder_named_after_its_border():
    variants = list_variants(OUT, SMOOTHED, sweep="gaussian:1.5mm,3px:3d")
    assert [variant.folder for variant in variants] == [
        OUT,
        OUT / "sweep" / "none",
        OUT / "sweep" / "gaussian_1.5mm_3d",
        OUT / "sweep" / "gaussian_3px_3d",
    ]
    for variant in variants:
        assert variant.recipe == SMOOTHED.with_changes(border=variant.recipe.border)
        name = str(variant.recipe.border).replace(":", "_")
        assert variant.folder == OUT or variant.folder.name == variant.name == name


@pytest.mark.parametrize(
    "text",
    ["gaussian", "gaussian:", ":1mm", "gaussian:1mm:4d", "gaussian:wide", "hat:1mm", "gaussian:1mm,,2mm", "none"],
)
def test_parse_sweep_invalid_text_raises_user_error(text):
    refusal(parse_sweep, text)
