"""The table of a study, ``results.csv``: a line a CT, added as it comes, so that it tells at any time what is done.

A line that was cut off (a full disk, no power) does not count. Of several lines of a CT the last one counts; `tidy`
leaves only that.
"""

import contextlib
import csv
import os
from pathlib import Path

from .atomic import check_writable, written_aside
from .errors import UserError

TABLE_NAME = "results.csv"
DONE, FAILED = "done", "failed"
NUMBERS = ("volume_ml", "disagreement", "width_mm", "depth_mm", "height_mm", "longest_mm")
FACTS = ("seconds", "peak_memory_mb", "device", "worker", "segmentation", "ct_sha256", "way_sha256")
COLUMNS = ("ct", "state", "message", *NUMBERS, "fold_volumes_ml", *FACTS)


class StudyTable:
    """The table in the folder of a study's results.

    Raises:
        UserError: there is a file of that name that is no such table.
    """

    def __init__(self, folder: Path):
        self.path = Path(folder) / TABLE_NAME
        if self.path.exists() and not self._is_one():
            raise UserError(f'"{self.path}" is no table of this program; choose another folder after -o.')

    def is_there(self) -> bool:
        return self.path.exists()

    def rows(self) -> dict[str, dict[str, str]]:
        """The last line of each CT, by the CT's path."""
        if not self.path.exists():
            return {}
        with open(self.path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["state"] in (DONE, FAILED) and None not in row.values()]
        return {row["ct"]: row for row in rows}

    def add(self, result: dict) -> None:
        """Add the line of a CT: "ct", "state" and, of `segmenter.Segmenter`'s numbers, what is known.

        Raises UserError where it cannot be written.
        """
        values = result | dict(zip(("width_mm", "depth_mm", "height_mm"), result.get("extent_mm", ()), strict=False))
        values["fold_volumes_ml"] = " ".join(map(str, result.get("fold_volumes_ml", ())))
        line = {name: "" if values.get(name) is None else values[name] for name in COLUMNS}
        check_writable(self.path.parent)
        try:
            with open(self.path, "a+", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if file.tell() == 0:
                    writer.writeheader()
                elif not self._ends_with_a_line():
                    file.write("\r\n")
                writer.writerow(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f'"{self.path}" cannot be written ({error.strerror}); free space there.') from error

    def tidy(self) -> None:
        """Leave one line a CT, in the order of their paths; where the disk is full, all lines."""
        rows = self.rows()
        if not rows:
            return
        with (
            contextlib.suppress(UserError),
            written_aside(self.path) as aside,
            open(aside, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows[ct] for ct in sorted(rows))

    def _is_one(self) -> bool:
        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                return tuple(next(csv.reader(file), COLUMNS)) == COLUMNS
        except (OSError, ValueError, csv.Error):
            return False

    def _ends_with_a_line(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"
