"""The measures of a model in ``metrics.csv``, a row per volume, and ``metrics_by_slice.csv``, a row per slice."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

from ..outfolder import METRICS_BY_SLICE_NAME, METRICS_NAME
from .casemetrics import SliceRow, VolumeRow

Name = TypeVar("Name")


@dataclass(frozen=True)
class Metrics:
    """All measures of a model."""

    volumes: tuple[VolumeRow, ...] = ()
    slices: tuple[SliceRow, ...] = ()

    def one_per_case(self) -> tuple[VolumeRow, ...]:
        """Each volume once: by the fold that held it out, or for a test case by the ensemble."""
        return tuple(row for row in self.volumes if row.set == "validation" or row.predicted_by == "ensemble")


def in_common(variants: Mapping[Name, Metrics]) -> dict[Name, Metrics]:
    """The rows of each variant that all variants have: the same cases by the same predictors."""

    def key(row: VolumeRow | SliceRow) -> tuple[str, str, str]:
        return row.set, row.predicted_by, row.case

    measured = [{key(row) for row in metrics.volumes} for metrics in variants.values()]
    shared = set.intersection(*measured) if measured else set()

    def common(rows: Iterable) -> tuple:
        return tuple(row for row in rows if key(row) in shared)

    return {name: Metrics(common(metrics.volumes), common(metrics.slices)) for name, metrics in variants.items()}


def write_metrics(folder: Path, metrics: Metrics) -> None:
    """Write both files to a folder; raises UserError if that fails."""
    _write(Path(folder) / METRICS_BY_SLICE_NAME, SliceRow, metrics.slices)
    _write(Path(folder) / METRICS_NAME, VolumeRow, metrics.volumes)


def read_metrics(folder: Path) -> Metrics:
    """Read what `write_metrics` wrote, with six digits; empty without files; raises UserError if a file is damaged."""
    return Metrics(_read(Path(folder) / METRICS_NAME, VolumeRow), _read(Path(folder) / METRICS_BY_SLICE_NAME, SliceRow))


def _write(path: Path, kind: type, rows: Iterable) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
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
        raise UserError(f'"{path}" is damaged; delete it and measure the model again.') from error


def _value(kind, cell: str):
    if kind is str:
        return str(cell)
    if kind is int:
        return int(cell)
    return float(cell) if cell else None
