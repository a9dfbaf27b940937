"""The table of a study, ``results.csv``: one line per CT, added when the CT ends, so that it is always up to date.

An incomplete line (full disk, power failure) is ignored. Of several lines for one CT the last one counts; `tidy`
removes the others.
"""

import contextlib
import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import UserError, reason_of
from ..inference.result import SegmentationResult
from ..io.atomic import atomic_write
from .jobs import Job

TABLE_NAME = "results.csv"
DONE, FAILED = "done", "failed"
SCALARS = (
    *("volume_ml", "fold_agreement", "extent_rl_mm", "extent_ap_mm", "extent_si_mm", "longest_mm"),
    *("device", "dice", "seconds", "peak_memory_mb"),
)
COLUMNS = (
    *("ct", "state", "message", *SCALARS, "fold_volumes_ml"),
    *("worker", "segmentation", "ct_sha256", "config_sha256"),
)


class StudyTable:
    """The table in the output folder of a study.

    Raises:
        UserError: a file of that name exists that is not such a table.
    """

    def __init__(self, folder: Path):
        self.path = Path(folder) / TABLE_NAME
        self._pending = ""  # lines that could not be written yet
        if self.path.exists() and not self._is_study_table():
            raise UserError(
                f'"{self.path}" is not a table of this program, or was saved in another format; move it '
                "elsewhere, or choose another folder after -o."
            )

    def exists(self) -> bool:
        return self.path.exists()

    def rows(self) -> dict[str, dict[str, str]]:
        """The last line of each CT, by the CT's path."""
        if not self.path.exists():
            return {}
        with self._open() as file:
            rows = [row for row in csv.DictReader(file) if row["state"] in (DONE, FAILED) and None not in row.values()]
        return {row["ct"]: row for row in rows}

    def check_free(self, jobs: Iterable[Job]) -> None:
        """Raise UserError if a job would replace the segmentation of another CT."""
        owners = {row["segmentation"]: ct for ct, row in self.rows().items() if row["state"] == DONE}
        for job in jobs:
            if owners.get(str(job.segmentation), str(job.ct)) != str(job.ct):
                raise UserError(
                    f'"{job.segmentation}" is the segmentation of "{owners[str(job.segmentation)]}"; '
                    f'choose another folder after -o for "{job.ct}".'
                )

    def add_done(self, job: Job, result: SegmentationResult, facts: dict[str, str]) -> str:
        """Add the line of a segmented CT; `facts` are "worker", "ct_sha256" and "config_sha256". Returns as `add`."""
        values = result.to_dict()
        volumes = " ".join(map(str, values["fold_volumes_ml"]))
        paths = {"ct": str(job.ct), "segmentation": str(job.segmentation)}
        return self.add({**values, "fold_volumes_ml": volumes, **paths, "state": DONE, **facts})

    def add_failed(self, job: Job, message: str) -> str:
        """Add the line of a CT that could not be segmented. Returns as `add`."""
        return self.add({"ct": str(job.ct), "state": FAILED, "message": message})

    def add(self, values: dict[str, Any]) -> str:
        """Add the line of a CT, values by the names of `COLUMNS`.

        If it cannot be written, it is kept for the next call or `tidy`, and the reason is returned; else "".
        """
        cells = ["" if values.get(name) is None else values[name] for name in COLUMNS]
        self._pending += _line(cells)
        try:
            self._write_pending()
        except OSError as error:
            return self._problem(error)
        return ""

    def tidy(self) -> None:
        """Keep one line per CT, sorted by path; on a full disk, all lines.

        Raises UserError if lines still cannot be written.
        """
        try:
            self._write_pending()
        except OSError as error:
            raise UserError(self._problem(error)) from error
        if rows := self.rows():
            with contextlib.suppress(UserError), atomic_write(self.path) as temporary:
                lines = [_line(COLUMNS), *(_line(rows[ct].values()) for ct in sorted(rows))]
                temporary.write_text("".join(lines), encoding="utf-8", newline="")

    def _write_pending(self) -> None:
        if not self._pending:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            self._remove_incomplete_line(file)
            header = "" if file.tell() else _line(COLUMNS)
            file.write((header + self._pending).encode())
            file.flush()
            os.fsync(file.fileno())
        self._pending = ""

    def _problem(self, error: OSError) -> str:
        return (
            f'"{self.path}" cannot be written ({reason_of(error)}); close it in other programs, or free up disk space. '
            "Missing lines are added as soon as possible."
        )

    def _open(self):
        """Spreadsheets add a byte order mark, or write names in another encoding."""
        return open(self.path, newline="", encoding="utf-8-sig", errors="replace")

    def _is_study_table(self) -> bool:
        try:
            with self._open() as file:
                return tuple(next(csv.reader(file), COLUMNS)) == COLUMNS
        except (OSError, csv.Error):
            return False

    @staticmethod
    def _remove_incomplete_line(file) -> None:
        """An incomplete last line may hold an opening quote, which would swallow all lines after it."""
        if file.seek(0, os.SEEK_END) == 0:
            return
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return
        file.seek(0)
        whole = 0
        for line in file:
            whole += len(line) if line.endswith(b"\n") else 0
        file.truncate(whole)
        file.seek(whole)


def _line(cells: Iterable) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([str(cell).replace("\n", " ") for cell in cells])
    return text.getvalue()
