"""Starting and resuming in OUT: a resumed training has the same recipe and splits, and other files are kept."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write, check_writable, nearest_existing

from ..data.splits import Splits, load_splits
from ..learning.state import is_started
from ..outfolder import RECIPE_NAME, OutFolder
from ..recipe.file import read_recipe, write_recipe_file
from ..recipe.recipe import Recipe


def check_free(out: Path, recipe: Recipe, resume: bool) -> None:
    """Raise UserError if a training with `recipe` can neither start in `out` nor resume what is there."""
    folder = OutFolder(out)
    _check_location(out)
    if folder.has_training():
        if not resume:
            raise UserError(
                f'"{out}" already contains a training; add --resume to continue it or choose another folder.'
            )
        _check_recipe(folder, recipe)
        splits_of_training(out)
        return
    if any(is_started(folder.fold(number)) for number in folder.folds()):
        raise UserError(f'"{out}" contains trained folds but no {RECIPE_NAME}; choose another folder.')
    if results := folder.existing_results():
        raise _foreign(results[0])
    if folder.splits.exists():  # after a power failure before the recipe was written, or foreign
        try:
            splits_of_training(out)
        except UserError as error:
            raise _foreign(folder.splits) from error


def reserve(
    out: Path, recipe: Recipe, card: dict, splits: Splits, folds: Sequence[int] = (), segment: str | None = None
) -> None:
    """Write the splits and the recipe with the labels' segment, or check that they equal those already in `out`.

    Creates the folder of each of `folds`, so that --resume knows which were requested.

    Raises:
        UserError: `out` has another recipe or other splits, or cannot be read or written.
    """
    folder = OutFolder(out)
    if folder.has_training():
        _check_recipe(folder, recipe)
        if splits_of_training(out) != splits:
            raise UserError(f'"{folder.splits}" has other splits; remove --splits and --test or choose another folder.')
    else:
        if folder.splits.exists() and splits_of_training(out) != splits:
            raise _foreign(folder.splits)
        with atomic_write(folder.splits) as temporary:
            temporary.write_text(json.dumps(splits.to_json(), indent=2) + "\n", encoding="utf-8")
        write_recipe_file(folder.recipe, recipe, card, segment)
    for number in folds:
        check_writable(folder.fold(number))


@contextlib.contextmanager
def rollback_unless_started(folders: Sequence[Path], folds: Sequence[int]) -> Iterator[None]:
    """Remove what `reserve` wrote if the block raises before any of `folds` has completed an epoch.

    The next start may then use other options. Folders with folds that another process is training are kept.
    """
    try:
        yield
    except BaseException:
        outs = [OutFolder(folder) for folder in folders]
        fold_folders = [out.fold(number) for out in outs for number in folds]
        if not any(map(is_started, fold_folders)):
            for folder in fold_folders:
                _remove_if_empty(folder)
            for out in reversed(outs):
                if not out.folds():
                    out.recipe.unlink(missing_ok=True)
                    out.splits.unlink(missing_ok=True)
                    if out is not outs[0]:
                        _remove_if_empty(out.path)
                        _remove_if_empty(out.path.parent)
        raise


def splits_of_training(out: Path) -> Splits:
    """The splits of the training in `out`; raises UserError if they cannot be read."""
    path = OutFolder(out).splits
    try:
        return load_splits(path)
    except UserError as error:
        raise UserError(f'"{path}" is damaged and cannot be read; choose another folder.') from error


def _check_location(out: Path) -> None:
    """Raise UserError if files cannot be created in `out`, which may not exist yet."""
    existing = nearest_existing(out)
    if not existing.is_dir():
        raise UserError(f'"{existing}" is a file; choose a folder for the results.')
    check_writable(existing)


def _check_recipe(folder: OutFolder, recipe: Recipe) -> None:
    old, new = read_recipe(folder.recipe)[0].as_dict(), recipe.as_dict()
    if changed := [name for name in new if old[name] != new[name]]:
        raise UserError(
            f'"{folder.recipe}" has another recipe ({changed[0]} is {old[changed[0]]}); '
            "remove that option or choose another folder."
        )


def _foreign(path: Path) -> UserError:
    return UserError(f'"{path}" does not belong to a training and would be overwritten; choose another folder.')


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()
