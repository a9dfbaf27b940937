"""A study: many CTs segmented in parallel by dask, with a table of results from which a second run resumes."""

import functools
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..callbacks import Callbacks
from ..errors import explain
from ..inference.result import SegmentationResult
from ..io.digest import chunks_of, sha256_of
from ..model.folder import CARD_NAME
from .jobs import Job
from .runner import Segmenter, Settings, SetupError
from .scheduling import Outcome, run_jobs
from .studytable import DONE, TABLE_NAME, StudyTable

HEADERS = (".mhd", ".nhdr")  # of images whose voxels are in another file
OnEvent = Callable[[Job, dict[str, Any]], None]


@dataclass(frozen=True)
class StudyTask:
    """One CT of a study; paths are absolute, because workers may start in any folder.

    Attributes:
        job: the CT and its files.
        settings: the same for all CTs.
        config_sha256: of all that determines the result besides the CT.
        done_sha256: of the CT from which the existing files were made with this configuration; else "".
    """

    job: Job
    settings: Settings
    config_sha256: str
    done_sha256: str

    @property
    def title(self) -> str:
        return self.job.title


@dataclass(frozen=True)
class Segmented:
    """The result of one CT, the worker (host:process), and the digest of the CT."""

    result: SegmentationResult
    worker: str
    ct_sha256: str


@dataclass
class Counts:
    """Number of CTs of a study; `already_done` are those of `done` that an earlier run had done."""

    done: int = 0
    already_done: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Study:
    """The CTs and how to segment them; paths are absolute.

    Attributes:
        jobs: one per CT.
        settings: the same for all.
        table: where the results are recorded.
        overwrite: segment also the CTs that are already done.
    """

    jobs: list[Job]
    settings: Settings
    table: StudyTable
    overwrite: bool = False


def segment_study(
    study: Study, scheduler: str, on_event: OnEvent = lambda job, event: None, debug: bool = False
) -> Counts:
    """Segment the CTs of a study that are not done yet, several at a time; each is recorded in the table at once.

    A CT that fails does not stop the others. One whose worker dies is retried by another. Networks are loaded once
    per worker, which holds one CT at a time.

    Args:
        study: what to segment.
        scheduler: as for `scheduling.run_jobs`.
        on_event: called with a job and its event: {"event": "step", "step", "worker"}, "warning" with "message"; last
            "result" with "result" (`SegmentationResult`), "already_done" if an earlier run had done it, or
            "error" with "error", the exception.
        debug: let dask log to stderr.

    Raises:
        UserError: the scheduler, model or device cannot be used, so that no CT could be segmented; or the table could
            not be written. Completed results are kept.
    """
    config, rows = config_sha256_of(study.settings), {} if study.overwrite else study.table.rows()
    tasks = [StudyTask(job, study.settings, config, _done_sha256(rows.get(str(job.ct)), config)) for job in study.jobs]
    counts = Counts()
    try:
        for outcome in run_jobs(segment_one, tasks, scheduler, lambda task, event: on_event(task.job, event), debug):
            if isinstance(outcome.error, SetupError):
                raise outcome.error
            _record(outcome, study.table, counts, on_event)
    finally:
        study.table.tidy()
    return counts


def _record(outcome: Outcome, table: StudyTable, counts: Counts, on_event: OnEvent) -> None:
    """Count the outcome of a task, add it to the table and report it."""
    task, done = outcome.job, outcome.result
    if outcome.error:
        counts.failed += 1
        problem = table.add_failed(task.job, explain(outcome.error))
        event = {"event": "error", "error": outcome.error}
    elif done is None:
        counts.done += 1
        counts.already_done += 1
        problem, event = "", {"event": "already_done"}
    else:
        counts.done += 1
        facts = {"worker": done.worker, "ct_sha256": done.ct_sha256, "config_sha256": task.config_sha256}
        problem = table.add_done(task.job, done.result, facts)
        event = {"event": "result", "result": done.result}
    if problem:
        on_event(task.job, {"event": "warning", "message": problem})
    on_event(task.job, event)


def segment_one(task: StudyTask, on_event: Callable[[dict], None]) -> Segmented | None:
    """Segment a CT in a worker; None if its files exist, made from the same CT with the same configuration."""
    digest = digest_of(task.job)
    if digest and digest == task.done_sha256 and all(path.is_file() for path in task.job.outputs):
        return None
    worker, steps = f"{socket.gethostname()}:{os.getpid()}", set()

    def progress(fraction: float, step: str) -> None:
        if step not in steps:  # each step once, because one process receives the events of all workers
            steps.add(step)
            on_event({"event": "step", "step": step, "worker": worker})

    def warn(message: str) -> None:
        on_event({"event": "warning", "message": message})

    return Segmented(_segmenter(task.settings)(task.job, Callbacks(progress, warn)), worker, digest)


@functools.lru_cache(maxsize=1)
def _segmenter(settings: Settings) -> Segmenter:
    """The segmenter of this process, with its networks."""
    return Segmenter(settings)


def _done_sha256(row: dict[str, str] | None, config: str) -> str:
    return row["ct_sha256"] if row and row["state"] == DONE and row["config_sha256"] == config else ""


def config_sha256_of(settings: Settings) -> str:
    """SHA-256 of the model's card, which holds those of its weights, and of the settings that change a mask."""
    card = (settings.model / CARD_NAME).read_bytes()
    return sha256_of([card, repr((settings.largest_component, settings.exhaustive)).encode()])


def digest_of(job: Job) -> str:
    """SHA-256 of the CT's file, or of the names and bytes of its files; "" if one cannot be read.

    For a folder these are its files except hidden ones and results; for a header, the files of the same stem.
    """

    def chunks() -> Iterator[bytes]:
        for path in _files(job):
            yield b"" if path == job.ct else path.name.encode()
            yield from chunks_of(path)

    try:
        return sha256_of(chunks())
    except OSError:
        return ""  # reported where the CT is read


def _files(job: Job) -> list[Path]:
    ct, results = job.ct, {*(path.name for path in job.outputs), TABLE_NAME}
    if ct.is_dir():
        inside = (path for path in ct.iterdir() if path.is_file() and path.name not in results)
        return sorted(path for path in inside if not path.name.startswith("."))
    if ct.name.lower().endswith(HEADERS):
        return sorted(path for path in ct.parent.iterdir() if path.is_file() and path.name.startswith(ct.stem + "."))
    return [ct]
