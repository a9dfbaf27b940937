"""Layout of OUT, the folder of a training: paths, and what is already there.

Standard library only, because Slicer's panel uses it as well as train.py.
"""

import json
import re
from pathlib import Path

SMOOTHED, CONTROL = "smoothed", "control"  # variants; the points of a sweep are named after their border
RECIPE_NAME, SPLITS_NAME = "recipe.toml", "splits.json"
HISTORY_NAME, CURVE_NAME, STATE_NAME = "history.csv", "curve.png", "last.pt"
METRICS_NAME, METRICS_BY_SLICE_NAME = "metrics.csv", "metrics_by_slice.csv"


class OutFolder:
    """The results folder of one training.

    The control and the points of a sweep have folders of the same layout inside it. Predicates are False for a path
    that does not exist, cannot be read or is invalid, as on a disconnected drive.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.recipe = self.path / RECIPE_NAME
        self.splits = self.path / SPLITS_NAME
        self.data_check = self.path / "dataset_check.txt"
        self.model = self.path / "model"
        self.model_card = self.model / "model.json"
        self.metrics = self.path / METRICS_NAME
        self.metrics_by_slice = self.path / METRICS_BY_SLICE_NAME
        self.predictions = self.path / "predictions"
        self.report = self.path / "report.html"
        self.report_markdown = self.path / "report.md"
        self.report_figures = self.path / "figures"

    @property
    def control(self) -> "OutFolder":
        """The training without border smoothing that --compare adds."""
        return OutFolder(self.path / CONTROL)

    def sweep_point(self, name: str) -> "OutFolder":
        """One border of --sweep."""
        return OutFolder(self.path / "sweep" / name)

    def sweep_points(self) -> dict[str, "OutFolder"]:
        """The trainings of --sweep that have been started, by name."""
        return {path.parent.name: OutFolder(path.parent) for path in _glob(self.path, f"sweep/*/{RECIPE_NAME}")}

    def fold(self, number: int) -> Path:
        """Folder of a fold's state, history and curve."""
        return self.path / f"fold_{number}"

    def folds(self) -> list[int]:
        """Numbers of the folds that were requested."""
        return sorted(
            int(path.name.removeprefix("fold_"))
            for path in _glob(self.path, "fold_*")
            if re.fullmatch(r"fold_\d+", path.name) and path.is_dir()
        )

    def histories(self) -> dict[int, Path]:
        """The history of each fold that has completed an epoch, by fold."""
        paths = {number: self.fold(number) / HISTORY_NAME for number in self.folds()}
        return {number: path for number, path in paths.items() if _is_file(path)}

    def existing_results(self) -> list[Path]:
        """What the end of a training writes and is already there."""
        written = (self.model, self.report_markdown, self.report, self.metrics, self.metrics_by_slice, self.predictions)
        return [path for path in written if path.exists()]

    def has_training(self) -> bool:
        """Whether a training was started here, so that --resume can continue it."""
        return _is_file(self.recipe)

    def has_model(self) -> bool:
        return _is_file(self.model_card)

    def has_report(self) -> bool:
        return _is_file(self.report)

    def has_control(self) -> bool:
        return self.control.has_training()

    def missing_folds(self) -> list[int]:
        """Folds that the model lacks, according to its card; empty if there is no readable card."""
        try:
            training = json.loads(self.model_card.read_text(encoding="utf-8"))["training"]
            return [number for number in range(training["recipe"]["fold_count"]) if number not in training["folds"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def is_complete(self) -> bool:
        """Whether the model has all folds and the report is written; only --compare or --sweep could add to it."""
        return self.has_model() and self.has_report() and not self.missing_folds()


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except (OSError, ValueError):
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
