"""The ensembles to choose from: those shipped with the module, and those in folders that the user added."""

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
    """A model folder in the list. ``card`` is None if it cannot be used; ``problem`` is then the reason, a sentence."""

    folder: Path
    name: str
    card: dict | None
    problem: str = ""
    isShipped: bool = False


class Models:
    """The models to choose from; added folders are kept in Slicer's settings."""

    def entries(self) -> list[ModelEntry]:
        """The Starter, then other shipped models, then those in added folders that exist now."""
        shipped = sorted(modelFolders(SHIPPED), key=lambda folder: (folder != STARTER, folder.name))
        added = [model for folder in self.added() for model in modelFolders(folder)]
        entries = [_entry(folder, isShipped=True) for folder in shipped]
        return entries + [_entry(folder) for folder in dict.fromkeys(added) if folder not in shipped]

    def add(self, folder: Path) -> ModelEntry:
        """Add a model folder, or a folder of model folders; returns its first model.

        Raises UserError, and adds nothing, if it has no model that can be used.
        """
        from SpleenSmoothSegLib.model.folder import read_card

        folder = Path(folder).absolute()
        entries = [_entry(model) for model in modelFolders(folder)]
        usable = [entry for entry in entries if entry.card]
        if not usable:
            read_card(entries[0].folder if entries else folder)  # raises the reason
        self._save([*self.added(), folder])
        return usable[0]

    def remove(self, folder: Path) -> None:
        """Remove an added model, or the added folder that contains it, from the list; no file is deleted."""
        self._save([added for added in self.added() if folder not in (added, *modelFolders(added))])

    def added(self) -> list[Path]:
        try:
            return [Path(folder) for folder in json.loads(qt.QSettings().value(SETTING) or "[]")]
        except (TypeError, ValueError):  # not written by this class
            return []

    def _save(self, folders: list[Path]) -> None:
        # As JSON: Qt reads a list of one item back as a string.
        qt.QSettings().setValue(SETTING, json.dumps([str(folder) for folder in dict.fromkeys(folders)]))


def modelFolders(folder: Path) -> list[Path]:
    """The folder itself if it is a model, else the models directly in it."""
    if (folder / CARD).is_file():
        return [folder]
    try:
        return sorted(child for child in folder.iterdir() if (child / CARD).is_file())
    except OSError:  # removed, or on a disk that is not connected
        return []


def describe(card: dict) -> str:
    """The model card as plain text. It may be untrusted: any key may be missing."""
    training = _part(card, "training")
    data = _part(training, "data")
    folds = card.get("folds")
    lines = [
        card.get("description"),
        _("Trained on: {name} ({license})").format(
            name=data.get("name", _("not stated")), license=data.get("license", _("license not stated"))
        ),
        _accuracy(card),
        _("Border smoothing in training: {border}").format(border=card.get("border_smoothing") or _("none")),
        _("Folds: {count}").format(count=len(folds) if isinstance(folds, list) else "?"),
        _("Model license: {license}").format(license=card["license"]) if card.get("license") else None,
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
    """Mean Dice on CTs not used for training, of the ensemble and of single folds."""
    rows = card.get("metrics") if isinstance(card.get("metrics"), list) else []
    measured = [row for row in rows if isinstance(row, dict) and isinstance(row.get("dice"), int | float)]
    ofEnsemble = [row["dice"] for row in measured if row.get("predicted_by") == "ensemble"]
    ofFolds = [row["dice"] for row in measured if row.get("predicted_by") != "ensemble"]
    parts = []
    if ofEnsemble:
        parts.append(_("ensemble {dice:.2f} (CTs: {count})").format(dice=_mean(ofEnsemble), count=len(ofEnsemble)))
    if ofFolds:
        parts.append(_("single fold {dice:.2f} (CTs: {count})").format(dice=_mean(ofFolds), count=len(ofFolds)))
    return _("Dice on unseen CTs: {parts}").format(parts=", ".join(parts)) if parts else None


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _part(card: dict, key: str) -> dict:
    part = card.get(key)
    return part if isinstance(part, dict) else {}
