"""Options of train.py: one for every number of the recipe, and those of a single run.

A TOML file (--recipe) may set any of them by name; the command line takes precedence.
"""

import argparse
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from SpleenSmoothSegLib.batch.console import Parser, add_console_options
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError

from ..outfolder import OutFolder
from ..recipe.file import read_recipe_file
from ..recipe.recipe import Recipe
from ..recipe.variants import sweep_in

SWEEP = "gaussian,box:1mm,1.5mm,3mm"
DEVICES = ("auto", "cpu", "cuda", "mps")
NEGATIVE = re.compile(r"-\.?\d")


@dataclass(frozen=True)
class Run:
    """One run of train.py: the data, the results folder, the recipe and where to compute.

    Attributes:
        dataset, out: folders.
        recipe: every number of the training.
        card: "name", "description" and "data_license" for the model card.
        folds: folds to train now; empty means all.
        test: names of the test cases; None draws them at random.
        splits: file of splits to reuse.
        segment: name or value of the spleen in the labels.
        device: "auto", "cpu", "cuda" or "mps".
        workers: processes that load batches for each training; None chooses.
        cache: folder for cached slices; None is the user's cache folder.
        resume: continue the training in `out`.
        compare: also train a control without border smoothing.
        sweep: kernels and widths to train as well, KERNEL,...:WIDTH,...
        scheduler: None, "local", "local:N" or the address of a Dask cluster.
        tensorboard: write TensorBoard events.
        command: the command line, for the model card of a new training.
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
    """The parser of train.py; omitted options are None."""
    parser = Parser("train.py", description)
    parser.add_argument("dataset", type=_folder, metavar="DATASET", help="folder of labeled CTs")
    parser.add_argument("out", type=_folder, metavar="OUT", help="folder for the results")
    add_console_options(parser)
    _add_run_options(parser.add_argument_group("This run"))
    recipe = parser.add_argument_group(
        "Recipe", "Every number of the training. A TOML file for --recipe may set them, too (image_size = 192)."
    )
    for each in fields(Recipe):
        recipe.add_argument(
            _option(each.name),
            type=_reader(each.default),
            metavar=_metavar(each.default),
            help=f"{each.metadata['help']} (default: {_shown(each.default)})".replace("%", "%%"),
        )
    return parser


def _add_run_options(group) -> None:
    group.add_argument(
        "--recipe", type=Path, metavar="FILE", help="TOML file of options; the command line takes precedence"
    )
    group.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="TOML file with a table [card]: name, description and license for the model card",
    )
    yes_or_no = argparse.BooleanOptionalAction  # so that the command line can undo what the file sets
    group.add_argument("--resume", action=yes_or_no, help="continue the training in OUT with its own options")
    group.add_argument(
        "--compare",
        action=yes_or_no,
        help="also train a control without border smoothing, with the same splits and seeds, in OUT/control",
    )
    group.add_argument(
        "--sweep",
        nargs="?",
        const=SWEEP,
        metavar="KERNELS:WIDTHS",
        help=f"also train with each of these borders, in OUT/sweep; + joins several (without a value: {SWEEP})",
    )
    group.add_argument("--folds", type=_parse_folds, metavar="0,1", help="folds to train now, or all (default)")
    group.add_argument("--test", type=_parse_names, metavar="NAME,NAME", help="test cases (default: random)")
    group.add_argument("--splits", type=Path, metavar="FILE", help="reuse the splits.json of another training")
    group.add_argument("--segment", metavar="NAME", help="name or value of the spleen in labels with several segments")
    group.add_argument("--device", choices=DEVICES, help="where to compute (default: auto)")
    group.add_argument(
        "--workers", type=_count, metavar="N", help="processes that load batches (default: up to 8 with a GPU, else 0)"
    )
    group.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="folder for cached slices (default: the user's cache folder)"
    )
    group.add_argument(
        "--scheduler",
        metavar="WHERE",
        help="train folds in parallel: local, local:N (N workers), or the address of a Dask cluster (tcp://host:8786)",
    )
    group.add_argument("--tensorboard", action=yes_or_no, help="write TensorBoard events next to each history.csv")


def read_run(parser: Parser, arguments: list[str]) -> Run:
    """The run of a command line and its --recipe file; raises UserError, or SystemExit after --help."""
    parsed = vars(parser.parse_args(_with_negative_numbers(arguments)))
    given = {name: value for name, value in parsed.items() if value is not None}
    if given.get("resume"):
        given = _options_of_training(given["out"]) | given
    values, card = read_recipe_file(given["recipe"]) if "recipe" in given else ({}, {})
    if "card" in given:
        card = read_recipe_file(given.pop("card"))[1]
    folder = given["recipe"].parent if "recipe" in given else Path()
    values = {name: _from_file(name, value, folder) for name, value in values.items()}
    if "test" in given:  # contradicts splits of the file; the command line takes precedence
        values.pop("splits", None)
    if "splits" in given:
        values.pop("test", None)
    values |= given
    if "test" in values and "splits" in values:
        raise UserError("--splits already defines the test cases; remove --test.")
    if "encoder_weights" in given:
        values["encoder_weights"] = _resolve_weights(given["encoder_weights"], Path())
    recipe_names = {each.name for each in fields(Recipe)}
    recipe = Recipe.from_dict({name: value for name, value in values.items() if name in recipe_names})
    names = {each.name for each in fields(Run)} - {"recipe", "card"}
    return Run(recipe=recipe, card=card, **{name: value for name, value in values.items() if name in names})


def _options_of_training(out: Path) -> dict:
    """The options that repeat the training in `out`; empty if there is none."""
    folder = OutFolder(out)
    if not folder.has_training():
        return {}
    options = {
        "recipe": folder.recipe,
        "folds": tuple(folder.folds()),
        "compare": folder.has_control(),
        "sweep": sweep_in(out),
    }
    return {name: value for name, value in options.items() if value}


def _with_negative_numbers(arguments: list[str]) -> list[str]:
    """--window=-150,250 for --window -150,250, which argparse would read as two options."""
    joined: list[str] = []
    for argument in arguments:
        if NEGATIVE.match(argument) and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _from_file(name: str, value, folder: Path):
    """The value of an option in a file in `folder`, converted as on the command line.

    Raises UserError for an unknown option or an invalid value.
    """
    if name == "encoder_weights" and isinstance(value, str):
        return _resolve_weights(value, folder)
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
        raise UserError(f'The recipe sets "{name}", which is allowed on the command line only; remove it.')
    if name not in readers:
        raise UserError(f'The recipe sets "{name}", which is not an option of train.py; --help lists them.')
    try:
        return readers[name](value)
    except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
        raise UserError(f"The recipe's {name} is {value!r}, which is invalid; correct it.") from error


def _resolve_weights(name: str, folder: Path) -> str:
    """The absolute path of a file of encoder weights, so that the recipe works from any folder; otherwise `name`."""
    path = folder / name
    return str(path.resolve()) if path.is_file() else name


def _of(*kinds: type):
    def read(value):
        if type(value) not in kinds:  # bool is not accepted as int
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
    """Returns a function that converts the text of a recipe option to the type of its default."""
    if isinstance(default, Border):
        return Border.parse
    if not isinstance(default, tuple):
        return type(default)

    def read(text: str) -> tuple:
        try:
            values = tuple(type(default[0])(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != len(default):
            example = _shown(default)
            raise argparse.ArgumentTypeError(f"{text!r} is invalid; give {len(default)} numbers, such as {example}")
        return values

    return read


def _metavar(default) -> str:
    return {str: "TEXT", int: "N", float: "X", tuple: "A,B", Border: "BORDER"}[type(default)]


def _shown(default) -> str:
    return ",".join(f"{value:g}" for value in default) if isinstance(default, tuple) else str(default)


def _folder(text: str) -> Path:
    if not text.strip():  # such as an unset shell variable; Path would make it the current folder
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _count(text: str | int) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{number} is negative")
    return number


def _parse_folds(text: str) -> tuple[int, ...]:
    """Fold numbers; empty for "all"."""
    if text.strip().lower() == "all":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid; give fold numbers, such as 0,1") from error


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
