"""A study: many CTs by the processes of dask, and a table of what came of each, from which a second start goes on."""

import functools
import hashlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import explain
from ..model.folder import CARD_NAME
from .jobs import Job
from .runner import Segmenter, Settings, SetupError
from .scheduling import run_jobs
from .studytable import DONE, FAILED, TABLE_NAME, StudyTable

HEADERS = (".mhd", ".nhdr")  # of images whose voxels are in another file


@dataclass(frozen=True)
class StudyJob:
    """One CT of a study; paths are absolute, for workers may start anywhere.

    Attributes:
        job: the CT and its files.
        settings: the same for all.
        way: digest of all that decides the result beside the CT.
        before: digest of the CT of which, in this way, the files were made that are there; or "".
    """

    job: Job
    settings: Settings
    way: str
    before: str

    @property
    def title(self) -> str:
        return self.job.title


@dataclass
class Counts:
    """How many CTs of a study came out how; `before` are those of `done` that an earlier start had done."""

    done: int = 0
    before: int = 0
    failed: int = 0


def segment_study(
    jobs: list[Job],
    settings: Settings,
    table: StudyTable,
    scheduler: str,
    hear: Callable[[Job, dict], None] = lambda job, event: None,
    again: bool = False,
    debug: bool = False,
) -> Counts:
    """Segment the CTs of a study that are not done yet, several at a time; what comes of each is in the table at once.

    A CT that cannot be segmented stops no other. One whose worker dies is begun again by another. Networks are loaded
    once a worker, which holds one CT at a time.

    Args:
        jobs: one a CT; with absolute paths.
        settings: with an absolute path, too.
        table: of this study.
        scheduler: as for `scheduling.run_jobs`.
        hear: told events of a CT: {"event": "step", "step", "worker"}, "warning" with a "message"; and how it ended:
            "result" with the numbers of `Segmenter`, "before" where an earlier start had done it, "error" with it.
        again: do also what is done already.
        debug: let dask say on stderr what it does.

    Raises:
        UserError: the scheduler, or the model or device: then no CT could be segmented; or lines of the table could not
            be written. What is done is done.
    """
    way, rows, counts = config_sha256_of(settings), {} if again else table.rows(), Counts()
    todo = [StudyJob(job, settings, way, _digest_before(rows.get(str(job.ct)), way)) for job in jobs]
    try:
        for outcome in run_jobs(segment_one, todo, scheduler, lambda one, event: hear(one.job, event), debug):
            if isinstance(outcome.error, SetupError):
                raise outcome.error
            _take(outcome, table, counts, hear)
    finally:
        table.tidy()
    return counts


def _take(outcome, table: StudyTable, counts: Counts, hear: Callable[[Job, dict], None]) -> None:
    job = outcome.job.job
    if outcome.error:
        counts.failed += 1
        _add(table, {"ct": str(job.ct), "state": FAILED, "message": explain(outcome.error)}, job, hear)
        hear(job, {"event": "error", "error": outcome.error})
        return
    counts.done += 1
    if outcome.result is None:
        counts.before += 1
        hear(job, {"event": "before"})
    else:
        _add(table, outcome.result | {"state": DONE, "config_sha256": outcome.job.way}, job, hear)
        hear(job, {"event": "result", **outcome.result})


def _add(table: StudyTable, result: dict, job: Job, hear: Callable[[Job, dict], None]) -> None:
    if trouble := table.add(result):
        hear(job, {"event": "warning", "message": trouble})


def segment_one(one: StudyJob, say: Callable[[dict], None]) -> dict | None:
    """Segment a CT in a worker; None where its files are there already, made of the same CT in the same way."""
    digest = digest_of(one.job)
    if digest and digest == one.before and all(path.is_file() for path in one.job.outputs):
        return None
    worker, steps = f"{socket.gethostname()}:{os.getpid()}", set()

    def tell(fraction: float, step: str) -> None:
        if step not in steps:  # each step once, for a thousand workers talk to one listener
            steps.add(step)
            say({"event": "step", "step": step, "worker": worker})

    found = _segmenter(one.settings)(one.job, tell, lambda sentence: say({"event": "warning", "message": sentence}))
    return found | {"ct_sha256": digest, "worker": worker}


@functools.lru_cache(maxsize=1)
def _segmenter(settings: Settings) -> Segmenter:
    """The one of this process, with its networks."""
    return Segmenter(settings)


def _digest_before(row: dict | None, way: str) -> str:
    return row["ct_sha256"] if row and row["state"] == DONE and row["config_sha256"] == way else ""


def config_sha256_of(settings: Settings) -> str:
    """SHA-256 of the model's card, which holds those of its weights, and of the settings that change a mask."""
    digest = hashlib.sha256((settings.model / CARD_NAME).read_bytes())
    digest.update(repr((settings.largest_component, settings.plain)).encode())
    return digest.hexdigest()


def digest_of(job: Job) -> str:
    """SHA-256 of the CT's file, or of the names and bytes of its files; "" where one cannot be read.

    Its files are those of a folder, but for hidden ones and results, and those beside a header that share its name.
    """
    digest, ct = hashlib.sha256(), job.ct
    try:
        for path in _files(job):
            digest.update(b"" if path == ct else path.name.encode())
            with open(path, "rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
    except OSError:
        return ""  # the one who reads the CT says why
    return digest.hexdigest()


def _files(job: Job) -> list[Path]:
    ct, results = job.ct, {*(path.name for path in job.outputs), TABLE_NAME}
    if ct.is_dir():
        inside = (path for path in ct.iterdir() if path.is_file() and path.name not in results)
        return sorted(path for path in inside if not path.name.startswith("."))
    if ct.name.lower().endswith(HEADERS):
        return sorted(path for path in ct.parent.iterdir() if path.is_file() and path.name.startswith(ct.stem + "."))
    return [ct]
