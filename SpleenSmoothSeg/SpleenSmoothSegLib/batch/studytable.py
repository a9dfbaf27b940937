"""The table of a study, ``results.csv``: a line a CT, added as it comes, so that it tells at any time what is done.

A line that was cut off (a full disk, no power) does not count. Of several lines of a CT the last one counts; `tidy`
leaves only that.
"""

import contextlib
import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import UserError
from ..io.atomic import atomic_write

TABLE_NAME = "results.csv"
DONE, FAILED = "done", "failed"
NUMBERS = ("volume_ml", "disagreement", "width_mm", "depth_mm", "height_mm", "longest_mm")
FACTS = ("seconds", "peak_memory_mb", "device", "worker", "segmentation", "ct_sha256", "config_sha256")
COLUMNS = ("ct", "state", "message", *NUMBERS, "fold_volumes_ml", *FACTS)


class StudyTable:
    """The table in the folder of a study's results.

    Raises:
        UserError: there is a file of that name that is no such table.
    """

    def __init__(self, folder: Path):
        self.path = Path(folder) / TABLE_NAME
        self._waiting = ""  # lines that could not be written yet
        if self.path.exists() and not self._is_one():
            raise UserError(
                f'"{self.path}" is no table of this program, or another program has saved it in another form; move it '
                "away, or choose another folder after -o."
            )

    def is_there(self) -> bool:
        return self.path.exists()

    def rows(self) -> dict[str, dict[str, str]]:
        """The last line of each CT, by the CT's path."""
        if not self.path.exists():
            return {}
        with self._open() as file:
            rows = [row for row in csv.DictReader(file) if row["state"] in (DONE, FAILED) and None not in row.values()]
        return {row["ct"]: row for row in rows}

    def check_free(self, jobs: Iterable) -> None:
        """Raise UserError where a job (`jobs.Job`) would replace the segmentation of another CT."""
        owners = {row["segmentation"]: ct for ct, row in self.rows().items() if row["state"] == DONE}
        for job in jobs:
            if owners.get(str(job.segmentation), str(job.ct)) != str(job.ct):
                raise UserError(
                    f'"{job.segmentation}" is the result of "{owners[str(job.segmentation)]}"; choose another folder '
                    f'after -o for "{job.ct}".'
                )

    def add(self, result: dict) -> str:
        """Add the line of a CT: "ct", "state" and, of `segmenter.Segmenter`'s numbers, what is known.

        Where it cannot be written, it waits for the next one or for `tidy`, and a sentence tells why; else "".
        """
        values = result | dict(zip(("width_mm", "depth_mm", "height_mm"), result.get("extent_mm", ()), strict=False))
        values["fold_volumes_ml"] = " ".join(map(str, result.get("fold_volumes_ml", ())))
        cells = ["" if values.get(name) is None else values[name] for name in COLUMNS]
        self._waiting += _line(cells)
        try:
            self._write_waiting()
        except OSError as error:
            return self._trouble(error)
        return ""

    def tidy(self) -> None:
        """Leave one line a CT, in the order of their paths; where the disk is full, all lines.

        Raises UserError where lines still cannot be written.
        """
        try:
            self._write_waiting()
        except OSError as error:
            raise UserError(self._trouble(error)) from error
        if rows := self.rows():
            with contextlib.suppress(UserError), atomic_write(self.path) as aside:
                lines = [_line(COLUMNS), *(_line(rows[ct].values()) for ct in sorted(rows))]
                aside.write_text("".join(lines), encoding="utf-8", newline="")

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            self._drop_what_was_cut_off(file)
            begin = "" if file.tell() else _line(COLUMNS)
            file.write((begin + self._waiting).encode())
            file.flush()
            os.fsync(file.fileno())
        self._waiting = ""

    def _trouble(self, error: OSError) -> str:
        reason = (error.strerror or str(error)).lower()
        return (
            f'"{self.path}" cannot be written ({reason}); close it in other programs, or free space there. What it '
            "lacks is added as soon as it can be."
        )

    def _open(self):
        """Spreadsheets mark UTF-8 at its begin, or write names in another encoding."""
        return open(self.path, newline="", encoding="utf-8-sig", errors="replace")

    def _is_one(self) -> bool:
        try:
            with self._open() as file:
                return tuple(next(csv.reader(file), COLUMNS)) == COLUMNS
        except (OSError, csv.Error):
            return False

    @staticmethod
    def _drop_what_was_cut_off(file) -> None:
        """After the last whole line; it may hold an opening quote, which would swallow all that comes."""
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
