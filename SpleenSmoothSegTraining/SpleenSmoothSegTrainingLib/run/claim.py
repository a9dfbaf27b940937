"""The folder of one training: whose it is, and that a resumed run goes on with the same recipe and the same splits."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write, check_writable, nearest_existing

from ..data.splits import Splits, load_splits
from ..learning.state import is_begun
from ..outfolder import MODEL_NAME, RECIPE_NAME, SPLITS_NAME, claimed_folds, fold_folder, holds_training
from ..recipe.file import read_recipe, write_recipe_file
from ..recipe.recipe import Recipe

RESULTS = (MODEL_NAME, "report.md", "report.html", "metrics.csv", "metrics_by_slice.csv", "predictions")


def check_free(out: Path, recipe: Recipe, resume: bool) -> None:
    """Raise UserError where a training by `recipe` cannot begin in `out`, or go on with what it holds."""
    _check_place(out)
    if holds_training(out):
        if not resume:
            raise UserError(
                f'"{out}" already holds a training; add --resume to go on with it or choose another folder.'
            )
        _check_recipe(out, recipe)
        claimed_splits(out)
        return
    if any(is_begun(folder) for folder in out.glob("fold_*")):
        raise UserError(f'"{out}" holds folds but no {RECIPE_NAME} that tells how they came; choose another folder.')
    if others := [name for name in RESULTS if (out / name).exists()]:
        raise _foreign(out / others[0])
    if (out / SPLITS_NAME).exists():  # of a power failure before the recipe was written, or of somebody else
        try:
            claimed_splits(out)
        except UserError as error:
            raise _foreign(out / SPLITS_NAME) from error


def claim(
    out: Path, recipe: Recipe, card: dict, splits: Splits, folds: Sequence[int] = (), segment: str | None = None
) -> None:
    """Write the recipe, with the segment of the labels, and the splits, or check that they are those already in `out`.

    Each of `folds` gets its folder, so that --resume knows which were asked for.

    Raises:
        UserError: `out` holds a training of another recipe or other splits, or it cannot be read or written.
    """
    if holds_training(out):
        _check_recipe(out, recipe)
        if claimed_splits(out) != splits:
            raise UserError(
                f'"{out / SPLITS_NAME}" holds other splits; leave --splits and --test out or choose another folder.'
            )
    else:
        if (out / SPLITS_NAME).exists() and claimed_splits(out) != splits:
            raise _foreign(out / SPLITS_NAME)
        with atomic_write(out / SPLITS_NAME) as aside:
            aside.write_text(json.dumps(splits.to_json(), indent=2) + "\n", encoding="utf-8")
        write_recipe_file(out / RECIPE_NAME, recipe, card, segment)
    for number in folds:
        check_writable(fold_folder(out, number))


@contextlib.contextmanager
def rollback_unless_started(folders: Sequence[Path], folds: Sequence[int]) -> Iterator[None]:
    """What `claim` wrote is taken away where the trainings end before any of `folds` has been through an epoch.

    So the next start is free to differ. What holds folds of somebody else, who trains at the same time, stays.
    """
    try:
        yield
    except BaseException:
        own = [fold_folder(folder, number) for folder in folders for number in folds]
        if not any(map(is_begun, own)):
            for folder in own:
                _remove_if_empty(folder)
            for folder in reversed(folders):
                if not claimed_folds(folder):
                    for name in (RECIPE_NAME, SPLITS_NAME):
                        (folder / name).unlink(missing_ok=True)
                    if folder != folders[0]:
                        _remove_if_empty(folder)
                        _remove_if_empty(folder.parent)
        raise


def claimed_splits(out: Path) -> Splits:
    """The splits of the training in `out`; raises UserError where they cannot be read."""
    path = out / SPLITS_NAME
    try:
        return load_splits(path)
    except UserError as error:
        raise UserError(f'"{path}" is damaged and cannot be read; choose another folder.') from error


def _check_place(out: Path) -> None:
    """Raise UserError where no files can be put into `out`, which may not be there yet."""
    there = nearest_existing(out)
    if not there.is_dir():
        raise UserError(f'"{there}" is a file; choose a folder for the results.')
    check_writable(there)


def _check_recipe(out: Path, recipe: Recipe) -> None:
    old = read_recipe(out / RECIPE_NAME)[0]
    if old != recipe:
        name = next(name for name, value in recipe.as_dict().items() if getattr(old, name) != value)
        raise UserError(
            f'"{out / RECIPE_NAME}" holds another recipe ({name} is {getattr(old, name)}); '
            "leave that option out or choose another folder."
        )


def _foreign(path: Path) -> UserError:
    return UserError(f'"{path}" is of no training and would be overwritten; choose another folder.')


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it is not
        folder.rmdir()
