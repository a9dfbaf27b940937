"""What the results folder of a training holds, seen from outside: train.py alone writes into it."""

import json
from pathlib import Path


class ResultsFolder:
    """The folder OUT of train.py. Nothing raises where it is not there, as on a disk that was unplugged."""

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.recipe = self.path / "recipe.toml"
        self.model = self.path / "model"
        self.report = self.path / "report.html"

    def holdsTraining(self) -> bool:
        """Whether --resume has something to go on with."""
        return _isFile(self.recipe)

    def hasModel(self) -> bool:
        return _isFile(self.model / "model.json")

    def hasReport(self) -> bool:
        return _isFile(self.report)

    def hasControl(self) -> bool:
        """Whether a control without border smoothing was begun."""
        return _isFile(self.path / "plain" / "recipe.toml")

    def missingFolds(self) -> list[int]:
        """Those that the model in it lacks, as its card tells; none where there is no such card."""
        try:
            training = json.loads((self.model / "model.json").read_text(encoding="utf-8"))["training"]
            return [number for number in range(training["recipe"]["fold_count"]) if number not in training["folds"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def isTrained(self) -> bool:
        """Whether nothing but --compare would add to it."""
        return self.hasModel() and self.hasReport() and not self.missingFolds()


def _isFile(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a path that cannot be one, or that may not be looked at
        return False
