"""Jobs for the tests of the scheduler, where worker processes can import them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.batch.cluster import THREADS
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

SOON = 60.0  # seconds; generous, for a busy computer


@dataclass(frozen=True)
class Job:
    title: str
    file: Path
    epochs: int = 4
    partner: Path | None = None


def count(job: Job, on_event) -> int:
    """Append epochs to a file, starting after its last one; a stand-in for a training."""
    on_event({"pid": os.getpid()})
    done = len(job.file.read_text().split()) if job.file.exists() else 0
    for epoch in range(done, job.epochs):
        with open(job.file, "a") as file:
            file.write(f"{epoch}:{os.getpid()} ")
        on_event({"epoch": epoch})
        time.sleep(0.1)
    return job.epochs


def meet(job: Job, on_event) -> dict:
    """Wait until the partner runs, too; or fail according to the title."""
    on_event({"pid": os.getpid()})
    if job.title == "failing":
        raise UserError("The CT is empty; give another one.")
    if job.title == "broken":
        raise ZeroDivisionError("seven by zero")
    job.file.touch()
    end = time.monotonic() + SOON
    while not job.partner.exists():
        assert time.monotonic() < end, "the jobs do not run at the same time"
        time.sleep(0.01)
    return {name: os.environ[name] for name in THREADS}


def kill_process(job: Job, on_event) -> int:
    if job.title == "deadly":
        on_event({"pid": os.getpid()})
        time.sleep(0.1)  # until the event has been sent
        os.kill(os.getpid(), signal.SIGKILL)
    return count(job, on_event)


def write_slowly(job: Job, on_event) -> None:
    """Keep a temporary file open for a minute."""
    with atomic_write(job.file) as temporary:
        temporary.write_text("half")
        on_event({"pid": os.getpid()})
        time.sleep(60)


def report_until_canceled(job: Job, on_event) -> None:
    """Report events until canceled, then create a file. The job "quick" returns immediately."""
    if job.title == "quick":
        return
    try:
        while True:
            on_event({"pid": os.getpid()})
            time.sleep(0.02)
    finally:
        job.file.touch()
