"""The measures of a model on disk: ``metrics.csv``, one row a volume, and ``metrics_by_slice.csv``, one row a slice."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

from .casemetrics import SliceRow, VolumeRow

VOLUMES_NAME, SLICES_NAME = "metrics.csv", "metrics_by_slice.csv"


@dataclass(frozen=True)
class Metrics:
    """All that was measured of a model."""

    volumes: tuple[VolumeRow, ...] = ()
    slices: tuple[SliceRow, ...] = ()

    def best_known(self) -> tuple[VolumeRow, ...]:
        """Each volume once: by the fold that had not learned from it, or as a test case by the ensemble."""
        return tuple(row for row in self.volumes if row.set == "validation" or row.predicted_by == "ensemble")


def in_common(variants: Mapping[str, Metrics]) -> dict[str, Metrics]:
    """Of each variant only what all of them measured: the same cases by the same predictors."""

    def who(row: VolumeRow | SliceRow) -> tuple[str, str, str]:
        return row.set, row.predicted_by, row.case

    measured = [{who(row) for row in metrics.volumes} for metrics in variants.values()]
    shared = set.intersection(*measured) if measured else set()

    def kept(rows: Iterable) -> tuple:
        return tuple(row for row in rows if who(row) in shared)

    return {name: Metrics(kept(metrics.volumes), kept(metrics.slices)) for name, metrics in variants.items()}


def write_metrics(folder: Path, metrics: Metrics) -> None:
    """Both files, into a folder; raises UserError where they cannot be written."""
    _write(Path(folder) / SLICES_NAME, SliceRow, metrics.slices)
    _write(Path(folder) / VOLUMES_NAME, VolumeRow, metrics.volumes)


def read_metrics(folder: Path) -> Metrics:
    """What `write_metrics` wrote, to six digits, or nothing without files; raises UserError for damaged ones."""
    return Metrics(_read(Path(folder) / VOLUMES_NAME, VolumeRow), _read(Path(folder) / SLICES_NAME, SliceRow))


def _write(path: Path, kind: type, rows: Iterable) -> None:
    with atomic_write(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in asdict(row).items()} for row in rows)


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read(path: Path, kind: type) -> tuple:
    if not path.is_file():
        return ()
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        return tuple(
            kind(**{field.name: _value(field.type, line[field.name]) for field in fields(kind)}) for line in lines
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f'"{path}" is damaged and cannot be read; delete it and measure the model again.') from error


def _value(kind, cell: str):
    if kind is str:
        return str(cell)
    if kind is int:
        return int(cell)
    return float(cell) if cell else None
