"""What a person chose in the panel, as the command line of train.py."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

from .recipefile import STARTER, borderOf
from .resultsfolder import ResultsFolder

PUBLISHED_RECIPE, STARTER_RECIPE, OWN_RECIPE = "published", "starter", "own"


@dataclass(frozen=True)
class TrainingChoices:
    """Attributes:
    dataset: folder of labeled CTs.
    out: folder for the results; where it holds a training, that one goes on, by its own recipe and border.
    recipe: "published", "starter" or "own".
    recipeFile: the TOML file of one's own.
    border: of the training labels, as ``Border.parse`` reads it; "" is that of the recipe.
    isCompared: whether a control without border smoothing is trained, too.
    device: "auto", "cpu", "cuda" or "mps".
    epochs: of the two phases, as "100,20"; "" is the recipe's.
    folds: to train now, as "0,1"; "" is all.
    options: further options of train.py, as in a shell.
    """

    dataset: str = ""
    out: str = ""
    recipe: str = PUBLISHED_RECIPE
    recipeFile: str = ""
    border: str = ""
    isCompared: bool = False
    device: str = "auto"
    epochs: str = ""
    folds: str = ""
    options: str = ""

    def isResumed(self) -> bool:
        return bool(self.out) and ResultsFolder(self.out).holdsTraining()

    def recipePath(self) -> Path | None:
        """The recipe file that is used; None where train.py knows the recipe by itself."""
        if self.isResumed():
            return ResultsFolder(self.out).recipe
        if self.recipe == OWN_RECIPE:
            return Path(self.recipeFile).expanduser()
        return STARTER if self.recipe == STARTER_RECIPE else None

    def recipeBorder(self) -> str | None:
        """The soft border of the recipe, without the one that was chosen beside it; None where nobody can tell."""
        return borderOf(self.recipePath())

    def borderText(self) -> str:
        """The border that was chosen; one that the soft border preview has copied begins with the option's name."""
        return self.border.strip().removeprefix("--border").strip()

    def arguments(self) -> list[str]:
        """For train.py; DATASET, OUT and FILE stand for what is not chosen yet."""
        words = [_path(self.dataset) or "DATASET", _path(self.out) or "OUT"]
        if self.isResumed():
            words += ["--resume"]
        else:
            path = self.recipePath()
            words += ["--recipe", str(path) if path != Path() else "FILE"] if path else []
            words += _option("--border", self.borderText()) + _option("--epochs", self.epochs)
        words += _option("--folds", self.folds or ("all" if self.isResumed() else ""))  # by itself: those of before
        words += ["--compare"] if self.isCompared else []
        if self.isResumed() and not self.isCompared and ResultsFolder(self.out).hasControl():
            words += ["--no-compare"]  # train.py by itself goes on with the control, too
        words += ["--device", self.device] if self.device != "auto" else []
        return words + _split(self.options)

    def check(self) -> None:
        """Raise UserError for what is wrong at first sight; train.py checks the rest."""
        if not self.dataset or not _isDir(self.dataset):
            raise UserError(
                _('The folder of labeled CTs "{path}" is not there; choose another.').format(path=self.dataset)
            )
        if not self.out:
            raise UserError(_("There is no folder for the results; choose a new one."))
        try:
            shlex.split(self.options)
        except ValueError as error:
            raise UserError(_("A quotation mark is missing in More options; add it.")) from error
        if not re.fullmatch(r"(\d+(\s*,\s*\d+)*)?", self.folds.strip()):
            raise UserError(_('"{folds}" are no folds; write numbers, as in 0,1.').format(folds=self.folds))
        if not self.isResumed():
            self._checkRecipe()

    def _checkRecipe(self) -> None:
        from SpleenSmoothSegLib.border.kernels import Border

        if self.recipe == OWN_RECIPE and not self.recipePath().is_file():
            raise UserError(_('The recipe file "{path}" is not there; choose one.').format(path=self.recipeFile))
        if not re.fullmatch(r"(\d+\s*,\s*\d+)?", self.epochs.strip()):
            raise UserError(_('"{epochs}" are no epochs; write two numbers, as in 100,20.').format(epochs=self.epochs))
        text = self.borderText() or self.recipeBorder()
        if text is None:  # train.py will say what is wrong with the recipe
            return
        if Border.parse(text) == Border("none") and self.isCompared:
            raise UserError(
                _("There is nothing to compare, for the border is none; choose a soft border, or do not compare.")
            )


def _option(name: str, text: str) -> list[str]:
    text = re.sub(r"\s+", "", text)
    return [name, text] if text else []


def _path(text: str) -> str:
    return str(Path(text).expanduser()) if text else ""


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # it is being written
        return text.split()


def _isDir(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, ValueError):
        return False
