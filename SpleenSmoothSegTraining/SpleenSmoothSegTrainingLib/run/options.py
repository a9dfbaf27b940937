"""The command line of train.py: an option for every number of the recipe, and those for one run of it.

A TOML file (--recipe) may hold any of them by their names; the command line wins.
"""

import argparse
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from SpleenSmoothSegLib.batch.console import Parser
from SpleenSmoothSegLib.errors import UserError

from ..outfolder import PLAIN_NAME, RECIPE_NAME, claimed_folds, holds_training
from ..recipe.file import read_recipe_file
from ..recipe.recipe import Recipe
from ..recipe.variants import sweep_of

SWEEP = "gaussian,box:1mm,1.5mm,3mm"
DEVICES = ("auto", "cpu", "cuda", "mps")
NEGATIVE = re.compile(r"-\.?\d")


@dataclass(frozen=True)
class Run:
    """One run of train.py: what to train on, where to, by which recipe, and with what.

    Attributes:
        dataset, out: folders.
        recipe: every number of the training.
        card: "name", "description" and "data_license" for the model's card.
        folds: which folds to train now; none named means all.
        test: names of the cases for the test; None draws them.
        splits: file of splits to use again.
        segment: name or value of the spleen in the labels.
        device: "auto", "cpu", "cuda" or "mps".
        workers: processes that make batches beside each training; None chooses.
        cache: folder of cut slices; None is the user's own.
        resume: go on with what `out` holds.
        compare: train a control without border smoothing, too.
        sweep: kernels and widths to train as well, KERNEL,...:WIDTH,...
        scheduler: None, "local", "local:N" or the address of a Dask cluster.
        tensorboard: write its events.
        command: the command line, for the model's card where this run begins a training.
    """

    dataset: Path
    out: Path
    recipe: Recipe = Recipe()
    card: dict = field(default_factory=dict)
    folds: tuple[int, ...] = ()
    test: tuple[str, ...] | None = None
    splits: Path | None = None
    segment: str | None = None
    device: str = "auto"
    workers: int | None = None
    cache: Path | None = None
    resume: bool = False
    compare: bool = False
    sweep: str | None = None
    scheduler: str | None = None
    tensorboard: bool = False
    command: str = ""


def make_parser(description: str) -> Parser:
    """The parser of train.py; options that are not given are None."""
    parser = Parser("train.py", description)
    parser.add_argument("dataset", type=_folder, metavar="DATASET", help="folder of labeled CTs")
    parser.add_argument("out", type=_folder, metavar="OUT", help="folder for the results")
    _add_run_options(parser.add_argument_group("This run"))
    recipe = parser.add_argument_group(
        "Recipe", "Every number of the training, also as keys of a TOML file (image_size = 192) for --recipe."
    )
    for each in fields(Recipe):
        recipe.add_argument(
            _option(each.name),
            type=_reader(each.default),
            metavar=_metavar(each.default),
            help=f"{each.metadata['words']} (default: {_shown(each.default)})".replace("%", "%%"),
        )
    return parser


def _add_run_options(group) -> None:
    group.add_argument("--recipe", type=Path, metavar="FILE", help="TOML file of options; the command line wins")
    group.add_argument(
        "--card", type=Path, metavar="FILE", help="TOML file with a table [card]: words for the model's card"
    )
    yes_or_no = argparse.BooleanOptionalAction  # so that the command line wins over a file that says yes
    group.add_argument("--resume", action=yes_or_no, help="go on with what OUT holds, as it was begun")
    group.add_argument(
        "--compare",
        action=yes_or_no,
        help="train a control without border smoothing on the same splits and seeds, too, in OUT/plain",
    )
    group.add_argument(
        "--sweep",
        nargs="?",
        const=SWEEP,
        metavar="KERNELS:WIDTHS",
        help=f"train with each of these borders, too, in OUT/sweep; + joins several (without a value: {SWEEP})",
    )
    group.add_argument("--folds", type=_fold_numbers, metavar="0,1", help="folds to train now, or all (default)")
    group.add_argument("--test", type=_names, metavar="NAME,NAME", help="cases for the test (default: drawn by --seed)")
    group.add_argument("--splits", type=Path, metavar="FILE", help="use the splits.json of an earlier training again")
    group.add_argument("--segment", metavar="NAME", help="name, or value, of the spleen in labels that hold more")
    group.add_argument("--device", choices=DEVICES, help="(default: auto)")
    group.add_argument(
        "--workers", type=_count, metavar="N", help="processes that make batches (default: up to 8 with a GPU, else 0)"
    )
    group.add_argument("--cache", type=Path, metavar="FOLDER", help="cut slices (default: the user's cache folder)")
    group.add_argument(
        "--scheduler",
        metavar="WHERE",
        help="train folds side by side: local, local:N workers, or the address of a Dask cluster (tcp://host:8786)",
    )
    group.add_argument("--tensorboard", action=yes_or_no, help="write events beside each history.csv")
    group.add_argument("--json", action="store_true", default=None, help="JSON lines on stdout instead of words")
    group.add_argument("--child", action="store_true", default=None, help="--json for a program: ends with its stdin")
    group.add_argument("--debug", action="store_true", default=None, help="show where an error came from")


def read_run(parser: Parser, arguments: list[str]) -> Run:
    """What the command line, and the file of --recipe below it, say; raises UserError, or SystemExit after --help."""
    parsed = vars(parser.parse_args(_with_negative_numbers(arguments)))
    given = {name: value for name, value in parsed.items() if value is not None}
    if given.get("resume"):
        given = _of_training(given["out"]) | given
    values, card = read_recipe_file(given["recipe"]) if "recipe" in given else ({}, {})
    if "card" in given:
        card = read_recipe_file(given.pop("card"))[1]
    folder = given["recipe"].parent if "recipe" in given else Path()
    values = {name: _from_file(name, value, folder) for name, value in values.items()}
    if "test" in given:  # it says something else than the splits of the file, and the command line wins
        values.pop("splits", None)
    if "splits" in given:
        values.pop("test", None)
    values |= given
    if "test" in values and "splits" in values:
        raise UserError("--splits says which cases are for the test; leave --test out.")
    if "encoder_weights" in given:
        values["encoder_weights"] = _weights(given["encoder_weights"], Path())
    recipe_names = {each.name for each in fields(Recipe)}
    recipe = Recipe.from_dict({name: value for name, value in values.items() if name in recipe_names})
    names = {each.name for each in fields(Run)} - {"recipe", "card"}
    return Run(recipe=recipe, card=card, **{name: value for name, value in values.items() if name in names})


def _of_training(out: Path) -> dict:
    """The options that say again what the training in `out` was begun with, where it holds one."""
    if not holds_training(out):
        return {}
    own = {
        "recipe": out / RECIPE_NAME,
        "folds": tuple(claimed_folds(out)),
        "compare": holds_training(out / PLAIN_NAME),
        "sweep": sweep_of(out),
    }
    return {name: value for name, value in own.items() if value}


def _with_negative_numbers(arguments: list[str]) -> list[str]:
    """--window=-150,250 for --window -150,250, which argparse would take for two options."""
    joined: list[str] = []
    for argument in arguments:
        if NEGATIVE.match(argument) and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _from_file(name: str, value, folder: Path):
    """The value of an option in a file of `folder` as the command line gives it; raises UserError for no option."""
    if name == "encoder_weights" and isinstance(value, str):
        return _weights(value, folder)
    if name in {each.name for each in fields(Recipe)}:
        return value
    readers = {
        "folds": _list_of(int),
        "test": _list_of(str),
        "segment": lambda value: str(_of(str, int)(value)),
        "device": _device,
        "workers": lambda value: _count(_of(int)(value)),
        "scheduler": _of(str),
        "sweep": lambda value: {True: SWEEP, False: None}[value] if isinstance(value, bool) else _of(str)(value),
        "splits": folder.joinpath,
        "cache": folder.joinpath,
        "compare": _of(bool),
        "resume": _of(bool),
        "tensorboard": _of(bool),
    }
    if name in ("dataset", "out", "recipe", "card", "json", "child", "debug"):
        raise UserError(f'The recipe holds "{name}", which only the command line says; remove it.')
    if name not in readers:
        raise UserError(f'The recipe holds "{name}", which is no option of train.py; --help lists them.')
    try:
        return readers[name](value)
    except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
        raise UserError(f"The recipe's {name} is {value!r}, which is not understood; correct it.") from error


def _weights(name: str, folder: Path) -> str:
    """The whole path of a file of encoder weights, so that the recipe can be used from any folder; else `name`."""
    path = folder / name
    return str(path.resolve()) if path.is_file() else name


def _of(*kinds: type):
    def read(value):
        if type(value) not in kinds:  # True is no whole number here
            raise TypeError(value)
        return value

    return read


def _list_of(kind: type):
    def read(value) -> tuple:
        return tuple(map(_of(kind), _of(list)(value)))

    return read


def _device(value) -> str:
    if value not in DEVICES:
        raise ValueError(value)
    return value


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _reader(default):
    """Reads the text of an option of the recipe into the type of its default."""
    if not isinstance(default, tuple):
        return type(default)

    def read(text: str) -> tuple:
        try:
            values = tuple(type(default[0])(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != len(default):
            example = _shown(default)
            raise argparse.ArgumentTypeError(
                f"{text!r} is not understood; give {len(default)} numbers, as in {example}"
            )
        return values

    return read


def _metavar(default) -> str:
    return {str: "WORD", int: "N", float: "X", tuple: "A,B"}[type(default)]


def _shown(default) -> str:
    return ",".join(f"{value:g}" for value in default) if isinstance(default, tuple) else str(default)


def _folder(text: str) -> Path:
    if not text.strip():  # as of a variable of the shell that is not set; it would be the current folder
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


def _count(text: str | int) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{number} is less than none")
    return number


def _fold_numbers(text: str) -> tuple[int, ...]:
    """None named means all."""
    if text.strip().lower() == "all":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} are no whole numbers with commas between") from error


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
