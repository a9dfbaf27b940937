"""The user's choices in the panel, as the command line of train.py."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.outfolder import OutFolder
from SpleenSmoothSegTrainingLib.recipe.tomlfile import read_toml

PUBLISHED_RECIPE, STARTER_RECIPE, CUSTOM_RECIPE = "published", "starter", "custom"
PUBLISHED_BORDER = "gaussian:1.5mm"  # default of recipe.Recipe, which imports SimpleITK
STARTER_FILE = Path(__file__).resolve().parents[1] / "Resources" / "Recipes" / "starter.toml"


@dataclass(frozen=True)
class TrainingChoices:
    """The user's choices.

    Attributes:
        dataset: folder of labeled CTs.
        out: folder for the results; a training in it is resumed with its own recipe and border.
        recipe: "published", "starter" or "custom".
        recipeFile: the TOML file of the custom recipe.
        border: of the training labels, as text for ``Border.parse``; "" is that of the recipe.
        isCompared: whether to also train a control without border smoothing.
        device: "auto", "cpu", "cuda" or "mps".
        epochs: of the two phases, such as "100,20"; "" is the recipe's.
        folds: to train now, such as "0,1"; "" is all.
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
        return bool(self.out) and OutFolder(self.out).has_training()

    def recipePath(self) -> Path | None:
        """The recipe file in use; None for the published recipe, which is the default of train.py."""
        if self.isResumed():
            return OutFolder(self.out).recipe
        if self.recipe == CUSTOM_RECIPE:
            return Path(self.recipeFile).expanduser()
        return STARTER_FILE if self.recipe == STARTER_RECIPE else None

    def recipeBorder(self) -> str | None:
        """The border of the recipe, regardless of the chosen one; None if the recipe cannot be read."""
        return readBorder(self.recipePath())

    def borderText(self) -> str:
        """The chosen border, without the option name that the soft border preview copies along with it."""
        return self.border.strip().removeprefix("--border").strip()

    def arguments(self) -> list[str]:
        """Arguments for train.py; DATASET, OUT and FILE are placeholders for missing choices."""
        words = [_path(self.dataset) or "DATASET", _path(self.out) or "OUT"]
        if self.isResumed():
            words += ["--resume"]
        else:
            path = self.recipePath()
            words += ["--recipe", str(path) if path != Path() else "FILE"] if path else []
            words += _option("--border", self.borderText()) + _option("--epochs", self.epochs)
        # --resume alone would continue only the folds that were requested before.
        words += _option("--folds", self.folds or ("all" if self.isResumed() else ""))
        words += ["--compare"] if self.isCompared else []
        if self.isResumed() and not self.isCompared and OutFolder(self.out).has_control():
            words += ["--no-compare"]  # --resume continues the control by default
        words += ["--device", self.device] if self.device != "auto" else []
        return words + _split(self.options)

    def check(self) -> None:
        """Raise UserError for obvious mistakes; train.py checks the rest."""
        if not self.dataset or not _isDir(self.dataset):
            raise UserError(
                _('The folder of labeled CTs "{path}" does not exist; choose another.').format(path=self.dataset)
            )
        if not self.out:
            raise UserError(_("No results folder is selected; choose one."))
        try:
            shlex.split(self.options)
        except ValueError as error:
            raise UserError(_("A quotation mark is missing in More options; add it.")) from error
        if not re.fullmatch(r"(\d+(\s*,\s*\d+)*)?", self.folds.strip()):
            raise UserError(_('"{folds}" is not a list of folds; enter numbers such as 0,1.').format(folds=self.folds))
        if not self.isResumed():
            self._checkRecipe()

    def _checkRecipe(self) -> None:
        from SpleenSmoothSegLib.border.kernels import Border

        if self.recipe == CUSTOM_RECIPE and not self.recipePath().is_file():
            raise UserError(_('The recipe file "{path}" does not exist; choose another.').format(path=self.recipeFile))
        if not re.fullmatch(r"(\d+\s*,\s*\d+)?", self.epochs.strip()):
            raise UserError(
                _('Epochs "{epochs}" is invalid; enter two numbers such as 100,20.').format(epochs=self.epochs)
            )
        text = self.borderText() or self.recipeBorder()
        if text is None:  # train.py reports what is wrong with the recipe
            return
        if Border.parse(text) == Border("none") and self.isCompared:
            raise UserError(_("A comparison needs border smoothing; choose a soft border or uncheck the control."))


def _option(name: str, text: str) -> list[str]:
    text = re.sub(r"\s+", "", text)
    return [name, text] if text else []


def _path(text: str) -> str:
    return str(Path(text).expanduser()) if text else ""


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # the user is still typing
        return text.split()


def _isDir(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, ValueError):
        return False


def readBorder(recipeFile: Path | None) -> str | None:
    """The border in a recipe file, or the published one; None if the file cannot be read."""
    if recipeFile is None:
        return PUBLISHED_BORDER
    try:
        return str(read_toml(recipeFile).get("border", PUBLISHED_BORDER))
    except UserError:
        return None
