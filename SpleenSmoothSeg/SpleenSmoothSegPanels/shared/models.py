"""Which ensembles there are to choose from: those that ship with the module, and those in folders the user added."""

import json
from dataclasses import dataclass
from pathlib import Path

import qt
from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

SHIPPED = Path(__file__).resolve().parents[2] / "Resources" / "Models"
STARTER = SHIPPED / "Starter"
SETTING = "SpleenSmoothSeg/modelFolders"
CARD = "model.json"


@dataclass(frozen=True)
class ModelEntry:
    """A model folder in the list. ``card`` is None where ``trouble``, one sentence, says why it cannot be used."""

    folder: Path
    name: str
    card: dict | None
    trouble: str = ""
    isShipped: bool = False


class Models:
    """The models to choose from; the folders that were added are remembered in Slicer's settings."""

    def entries(self) -> list[ModelEntry]:
        """The Starter first, then other shipped ones, then those in added folders that are there today."""
        shipped = sorted(modelFolders(SHIPPED), key=lambda folder: (folder != STARTER, folder.name))
        added = [model for folder in self.added() for model in modelFolders(folder)]
        entries = [_entry(folder, isShipped=True) for folder in shipped]
        return entries + [_entry(folder) for folder in dict.fromkeys(added) if folder not in shipped]

    def add(self, folder: Path) -> ModelEntry:
        """Remember a model folder, or a folder of them; the first model in it.

        Raises UserError, and remembers nothing, where there is no model that can be used.
        """
        from SpleenSmoothSegLib.model.folder import read_card

        folder = Path(folder).absolute()
        entries = [_entry(model) for model in modelFolders(folder)]
        usable = [entry for entry in entries if entry.card]
        if not usable:
            read_card(entries[0].folder if entries else folder)  # says why
        self._remember([*self.added(), folder])
        return usable[0]

    def remove(self, folder: Path) -> None:
        """Forget an added model, or the folder of models that it lies in; its files stay where they are."""
        self._remember([added for added in self.added() if folder not in (added, *modelFolders(added))])

    def added(self) -> list[Path]:
        try:
            return [Path(folder) for folder in json.loads(qt.QSettings().value(SETTING) or "[]")]
        except (TypeError, ValueError):  # somebody else has written it
            return []

    def _remember(self, folders: list[Path]) -> None:
        # As text: Qt reads a list of one back as no list.
        qt.QSettings().setValue(SETTING, json.dumps([str(folder) for folder in dict.fromkeys(folders)]))


def modelFolders(folder: Path) -> list[Path]:
    """The folder itself where it is a model, else the models that lie directly in it."""
    if (folder / CARD).is_file():
        return [folder]
    try:
        return sorted(child for child in folder.iterdir() if (child / CARD).is_file())
    except OSError:  # it has gone, or is on a disk that is not here today
        return []


def describe(card: dict) -> str:
    """What a person should know of a model before using it, as plain text; a card may come from a stranger."""
    training = _part(card, "training")
    data = _part(training, "data")
    folds = card.get("folds")
    lines = [
        card.get("description"),
        _("Trained on: {name} ({license})").format(
            name=data.get("name", _("not stated")), license=data.get("license", _("license not stated"))
        ),
        _accuracy(card),
        _("Soft border in training: {border}").format(border=card.get("border_smoothing") or _("none")),
        _("Folds: {count}").format(count=len(folds) if isinstance(folds, list) else "?"),
        _("License of the model: {license}").format(license=card["license"]) if card.get("license") else None,
    ]
    return "\n".join(str(line) for line in lines if line)


def _entry(folder: Path, isShipped: bool = False) -> ModelEntry:
    from SpleenSmoothSegLib.model.folder import read_card

    try:
        card = read_card(folder)
    except UserError as error:
        return ModelEntry(folder, folder.name, None, str(error), isShipped)
    return ModelEntry(folder, str(card.get("name") or folder.name), card, isShipped=isShipped)


def _accuracy(card: dict) -> str | None:
    """Mean Dice on CTs that the predictor had not seen, of single folds and of the ensemble."""
    rows = card.get("metrics") if isinstance(card.get("metrics"), list) else []
    measured = [row for row in rows if isinstance(row, dict) and isinstance(row.get("dice"), int | float)]
    together = [row["dice"] for row in measured if row.get("predicted_by") == "ensemble"]
    alone = [row["dice"] for row in measured if row.get("predicted_by") != "ensemble"]
    parts = []
    if together:
        parts.append(_("{dice:.2f} by the ensemble (CTs: {count})").format(dice=_mean(together), count=len(together)))
    if alone:
        parts.append(_("{dice:.2f} by one fold alone (CTs: {count})").format(dice=_mean(alone), count=len(alone)))
    return _("Dice on CTs not trained on: {parts}").format(parts=", ".join(parts)) if parts else None


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _part(card: dict, key: str) -> dict:
    part = card.get(key)
    return part if isinstance(part, dict) else {}
