"""The command line of train.py: every option also in a TOML file, and the command line takes precedence."""

import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.learning.encoderweights import find_weights
from SpleenSmoothSegTrainingLib.recipe.file import read_recipe, write_recipe_file
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from SpleenSmoothSegTrainingLib.recipe.variants import parse_sweep
from SpleenSmoothSegTrainingLib.run.options import SWEEP, Run, make_parser, read_run

# Another value than the default for each option: as on the command line and as in a TOML file.
OTHER = {
    "encoder": ("resnet18", "resnet18"),
    "encoder_weights": ("imagenet", "imagenet"),
    "decoder_reduction": ("6", 6),
    "image_size": ("192", 192),
    "spacing": ("2", 2),
    "window": ("-100,200.5", [-100, 200.5]),
    "channels": ("3", 3),
    "channel_spacing": ("4.5", 4.5),
    "border": ("box:3px:3d", "box:3px:3d"),
    "border_probability": ("0.5", 0.5),
    "split_by": ("slice", "slice"),
    "fold_count": ("3", 3),
    "test_part": ("0.2", 0.2),
    "augmentation": ("flips+noise", "flips+noise"),
    "epochs": ("10,2", [10, 2]),
    "adam_rate": ("1e-3", 1e-3),
    "plateau_patience": ("5", 5),
    "plateau_factor": ("0.1", 0.1),
    "sgd_base_rate": ("1e-6", 1e-6),
    "sgd_max_rate": ("1e-2", 1e-2),
    "sgd_momentum": ("0", 0),
    "sgd_cycle_epochs": ("2", 2),
    "batch_size": ("8", 8),
    "empty_slices": ("0.7", 0.7),
    "precision": ("full", "full"),
    "averaging": ("0.98", 0.98),
    "clip_gradient": ("1", 1),
    "threshold": ("0.4", 0.4),
    "seed": ("7", 7),
    "folds": ("0,2", [0, 2]),
    "test": ("spleen_9, spleen_7", ["spleen_9", "spleen_7"]),
    "segment": ("Milz", "Milz"),
    "device": ("cpu", "cpu"),
    "workers": ("2", 2),
    "scheduler": ("local:2", "local:2"),
    "sweep": ("box:1mm,2mm", "box:1mm,2mm"),
    "resume": (None, True),
    "compare": (None, True),
    "tensorboard": (None, True),
}
PATHS = ("splits", "cache")  # relative to the place where they are written
ONLY_THERE = ("card", "recipe", "json", "child", "debug")  # on the command line


def read(*arguments: str) -> Run:
    return read_run(make_parser("Trains."), ["data", "out", *map(str, arguments)])


def refusal(*arguments: str) -> str:
    """The error message of a command line, which must be one sentence."""
    with pytest.raises(UserError) as caught:
        read(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.fixture
def toml(tmp_path):
    """Writes a recipe file to a new folder and returns its path."""

    def write(text: str = "", **values) -> Path:
        path = tmp_path / "recipes" / "mine.toml"
        path.parent.mkdir(exist_ok=True)
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        path.write_text("\n".join([*lines, text]), encoding="utf-8")
        return path

    return write


def test_read_run_without_options_is_the_published_recipe():
    assert read() == Run(Path("data"), Path("out"))
    assert read().recipe == Recipe()


def test_parser_has_an_option_for_every_recipe_field_and_all_are_tested():
    parser = make_parser("Trains.")
    options = {action.dest for action in parser._actions if action.option_strings} - {"help"}
    assert options == {*OTHER, *PATHS, *ONLY_THERE}
    assert {field.name for field in fields(Recipe)} <= options
    text = parser.format_help()
    for name in options:
        assert option(name) in text


def test_help_describes_every_option_with_its_default():
    for action in make_parser("Trains.")._actions:
        assert action.help, action.dest
    text = " ".join(make_parser("Trains.").format_help().split())
    for words in ("(default: 100,20)", "(default: -150,250)", "(default: gaussian:1.5mm)", "(default: 0.0001)"):
        assert words in text
    assert f"(without a value: {SWEEP})" in text


@pytest.mark.parametrize("name", OTHER)
def test_recipe_file_accepts_every_option(toml, name):
    text, written = OTHER[name]
    from_line = read(option(name), *([] if text is None else [text]))
    assert from_line == read("--recipe", toml(**{name: written}))
    assert from_line == read("--recipe", toml(**{name.replace("_", "-"): written}))
    assert from_line != read(), "it does something"


@pytest.mark.parametrize("name", OTHER)
def test_command_line_overrides_the_file(toml, name):
    text, written = OTHER[name]
    if text is None:
        assert read("--recipe", toml(**{name: True}), f"--no-{name}") == read(f"--no-{name}")
        assert not getattr(read(f"--no-{name}"), name)
        return
    if name in (field.name for field in fields(Recipe)):
        other = Recipe().as_dict()[name]
    else:
        other = {"device": "auto", "workers": 0, "folds": [1], "test": ["z"]}.get(name, "other")
    assert read("--recipe", toml(**{name: other}), option(name), text) == read(option(name), text)


def test_file_sets_options_missing_on_the_command_line(toml):
    run = read("--recipe", toml(image_size=192, seed=3), "--seed", "4")
    assert (run.recipe.image_size, run.recipe.seed) == (192, 4)


def test_paths_in_a_file_are_relative_to_the_file(toml):
    path = toml(splits="my splits.json", cache="../cache")
    run = read("--recipe", path)
    assert run.splits == path.parent / "my splits.json"
    assert run.cache.resolve() == path.parent.parent / "cache"
    absolute = str(path.parent / "there.json")
    assert read("--recipe", toml(splits=absolute)).splits == Path(absolute)


def test_paths_on_the_command_line_are_relative_to_the_working_directory(toml):
    run = read("--recipe", toml(splits="theirs.json", cache="theirs"), "--splits", "mine.json", "--cache", "mine")
    assert (run.splits, run.cache) == (Path("mine.json"), Path("mine"))


def test_encoder_weights_are_relative_to_the_file_and_stored_absolute(toml, tmp_path, monkeypatch):
    path = toml(encoder_weights="weights/first.safetensors")
    weights = path.parent / "weights" / "first.safetensors"
    weights.parent.mkdir()
    weights.touch()
    monkeypatch.chdir(path.parent)
    recipe = read("--recipe", path.name).recipe
    assert read("--encoder-weights", "weights/first.safetensors").recipe == recipe
    write_recipe_file(tmp_path / "out" / "recipe.toml", recipe, {})
    monkeypatch.chdir(tmp_path)
    again = read("--recipe", tmp_path / "out" / "recipe.toml").recipe
    assert again == recipe and find_weights(again.encoder_weights).samefile(weights)


def test_encoder_weights_of_a_package_are_unchanged(toml):
    name = "some_package/weights.pth"
    assert read("--recipe", toml(encoder_weights=name)).recipe.encoder_weights == name
    assert read("--encoder-weights", name).recipe.encoder_weights == name


def test_written_recipe_file_reproduces_the_run(tmp_path):
    first = read("--border", "svls:1px", "--window", "-100,200", "--epochs", "3,1", "--split-by", "slice")
    write_recipe_file(tmp_path / "recipe.toml", first.recipe, {"name": "Ours"})
    again = read("--recipe", tmp_path / "recipe.toml")
    assert again.recipe == first.recipe and again.card == {"name": "Ours"}


def test_resume_repeats_the_options_of_the_training(tmp_path):
    out, begun = tmp_path / "out", read("--seed", "3", "--border", "box:3px")
    write_recipe_file(out / "recipe.toml", begun.recipe, {"name": "Ours"}, segment="Milz")
    run = read_run(make_parser(""), ["data", str(out), "--resume", "--folds", "1"])
    assert (run.recipe, run.card, run.segment) == (begun.recipe, {"name": "Ours"}, "Milz")
    assert (run.splits, run.folds) == (None, (1,)), "splits that are not given are those of the folder"
    assert read_recipe(out / "recipe.toml") == (begun.recipe, {"name": "Ours"})


def test_resume_keeps_other_options(tmp_path):
    """`reserve` reports contradictions."""
    write_recipe_file(tmp_path / "out" / "recipe.toml", Recipe(), {})
    run = read_run(make_parser(""), ["data", str(tmp_path / "out"), "--resume", "--seed", "3", "--test", "a"])
    assert (run.recipe.seed, run.test, run.splits) == (3, ("a",), None)


def test_resume_includes_an_existing_control(tmp_path):
    write_recipe_file(tmp_path / "recipe.toml", Recipe(), {})
    assert not read_run(make_parser(""), ["data", str(tmp_path), "--resume"]).compare
    write_recipe_file(tmp_path / "control" / "recipe.toml", Recipe(border=Border("none")), {})
    assert read_run(make_parser(""), ["data", str(tmp_path), "--resume"]).compare
    assert not read_run(make_parser(""), ["data", str(tmp_path), "--resume", "--no-compare"]).compare


def test_resume_repeats_the_requested_folds(tmp_path):
    write_recipe_file(tmp_path / "recipe.toml", Recipe(), {})
    assert read_run(make_parser(""), ["data", str(tmp_path), "--resume"]).folds == (), "all"
    for name in ("fold_1", "fold_3", "fold_x"):
        (tmp_path / name).mkdir()
    assert read_run(make_parser(""), ["data", str(tmp_path), "--resume"]).folds == (1, 3)
    assert read_run(make_parser(""), ["data", str(tmp_path), "--resume", "--folds", "all"]).folds == ()


def test_resume_includes_an_existing_sweep(tmp_path):
    borders = {"none", "gaussian:3px:3d", "box:1.5mm"}
    write_recipe_file(tmp_path / "recipe.toml", Recipe(), {})
    for border in borders:
        write_recipe_file(
            tmp_path / "sweep" / border.replace(":", "_") / "recipe.toml", Recipe(border=Border.parse(border)), {}
        )
    run = read_run(make_parser(""), ["data", str(tmp_path), "--resume"])
    assert {str(border) for border in parse_sweep(run.sweep)} == borders


@pytest.mark.parametrize("empty", ["", "  "])
def test_empty_path_raises_user_error(empty):
    """Such as an unset shell variable."""
    for arguments in (["data", empty], [empty, "out"]):
        with pytest.raises(UserError, match="the path is empty"):
            read_run(make_parser(""), arguments)


def test_resume_without_a_training_starts_a_new_run(tmp_path):
    (tmp_path / "splits.json").touch()
    run = read_run(make_parser(""), ["data", str(tmp_path), "--resume", "--seed", "3"])
    assert (run.recipe, run.splits, run.resume) == (Recipe(seed=3), None, True)


@pytest.mark.parametrize("window", [["--window", "-150,250"], ["--window=-150,250"], ["--window", "-1.5e2,2.5e2"]])
def test_window_accepts_negative_numbers(window):
    assert read(*window) == read()


def test_sweep_without_a_value_is_the_default_sweep(toml):
    assert read("--sweep").sweep == SWEEP == read("--recipe", toml(sweep=True)).sweep
    assert read("--recipe", toml(sweep=False)).sweep is None


def test_segment_accepts_a_number(toml):
    assert read("--recipe", toml(segment=3)).segment == "3" == read("--segment", "3").segment


def test_empty_test_option_means_no_test_cases(toml):
    assert read("--test=").test == () == read("--recipe", toml(test=[])).test


def test_splits_and_test_exclude_each_other(toml):
    assert "--splits" in refusal("--splits", "s.json", "--test", "a")
    assert "--splits" in refusal("--recipe", toml(splits="s.json", test=["a"]))
    run = read("--recipe", toml(splits="s.json"), "--test", "a")
    assert run.splits is None and run.test == ("a",), "the command line wins"
    run = read("--recipe", toml(test=["a"]), "--splits", "s.json")
    assert run.splits == Path("s.json") and run.test is None


# Invalid input.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--encodr", "resnet18"], "--encodr"),
        (["--image-siz", "192"], "--image-siz"),
        (["--image-size", "big"], "--image-size"),
        (["--image-size", "192.5"], "--image-size"),
        (["--image-size", "7"], "image_size"),
        (["--image-size"], "--image-size"),
        (["--epochs", "100"], "--epochs: '100' is invalid; give 2 numbers, such as 100,20"),
        (["--epochs", "100,20,3"], "--epochs"),
        (["--epochs", "a,b"], "--epochs"),
        (["--epochs", "0,0"], "epochs"),
        (["--window", "250,-150"], "window"),
        (["--adam-rate", "nan"], "adam_rate"),
        (["--border", "gaussian"], "gaussian"),
        (["--split-by", "patient"], "volume, slice"),
        (["--folds", "0;1"], "--folds"),
        (["--device", "gpu"], "--device"),
        (["--workers", "two"], "--workers"),
        (["--workers", "-3"], "-3 is negative"),
        (["--epochs", "1"], "--epochs: '1' is invalid; give 2 numbers, such as 100,20"),
        (["--window", "a,b"], "--window: 'a,b' is invalid; give 2 numbers, such as -150,250"),
        (["--seed", "-1"], "give 0 to 2147483648"),
        (["third"], "third"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_command_line_raises_user_error(arguments, words):
    assert words in refusal(*arguments)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("encodr = 'resnet18'", '"encodr", which is not an option'),
        ("[recipe]\nseed = 1", "recipe"),
        ("image_size = '192'", "image_size is '192'; give a value such as 256"),
        ("image_size = 192.0", "image_size"),
        ("image_size = true", "image_size"),
        ("encoder_weights = 3", "encoder_weights"),
        ("epochs = 100", "epochs"),
        ("epochs = [100, '20']", "epochs"),
        ("window = [250, -150]", "window"),
        ("adam_rate = nan", "adam_rate"),
        ("border = 'gauss:1mm'", "gauss"),
        ("folds = '0,1'", "folds"),
        ("folds = [0, true]", "folds"),
        ("folds = [0.0]", "folds"),
        ("test = 'spleen_9'", "test"),
        ("test = [9]", "test"),
        ("segment = true", "segment"),
        ("device = 'gpu'", "device"),
        ("device = []", "device"),
        ("workers = 'two'", "workers"),
        ("workers = 1.5", "workers"),
        ("compare = 'no'", "compare"),
        ("compare = 0", "compare"),
        ("resume = 'yes'", "resume"),
        ("tensorboard = 1", "tensorboard"),
        ("scheduler = 1", "scheduler"),
        ("sweep = ['box:1mm']", "sweep"),
        ("splits = 5", "splits"),
        ("cache = ['a']", "cache"),
        ("json = true", '"json", which is allowed on the command line only'),
        ("recipe = 'other.toml'", '"recipe", which is allowed on the command line only'),
        ("out = 'results'", '"out", which is allowed on the command line only'),
    ],
)
def test_invalid_recipe_file_raises_user_error(toml, line, words):
    assert words in refusal("--recipe", toml(line))


def test_missing_recipe_file_raises_user_error(tmp_path):
    assert "cannot be read; check the path" in refusal("--recipe", tmp_path / "none.toml")


def test_help_needs_no_dataset_and_out(capsys):
    with pytest.raises(SystemExit) as ended:
        read_run(make_parser("Trains."), ["--help"])
    assert ended.value.code == 0 and "Trains." in capsys.readouterr().out


def test_every_switch_can_be_negated():
    """Otherwise the command line could not override a file."""
    switches = [action for action in make_parser("")._actions if isinstance(action, argparse._StoreTrueAction)]
    assert {action.dest for action in switches} == {"json", "child", "debug"}
