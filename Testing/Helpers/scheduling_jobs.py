"""Jobs for the tests of the scheduler, where worker processes can import them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.batch.cluster import THREADS
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

SOON = 60.0  # seconds; generous, for a machine that is busy


@dataclass(frozen=True)
class Job:
    title: str
    file: Path
    epochs: int = 4
    partner: Path | None = None


def count(job: Job, say) -> int:
    """Add an epoch after another to a file, from the last one that it holds; a stand-in for a training."""
    say({"pid": os.getpid()})
    done = len(job.file.read_text().split()) if job.file.exists() else 0
    for epoch in range(done, job.epochs):
        with open(job.file, "a") as file:
            file.write(f"{epoch}:{os.getpid()} ")
        say({"epoch": epoch})
        time.sleep(0.1)
    return job.epochs


def meet(job: Job, say) -> dict:
    """Wait until the partner is at work, too; or fail as the title says."""
    say({"pid": os.getpid()})
    if job.title == "unlucky":
        raise UserError("The CT is empty; give another one.")
    if job.title == "broken":
        raise ZeroDivisionError("seven by zero")
    job.file.touch()
    end = time.monotonic() + SOON
    while not job.partner.exists():
        assert time.monotonic() < end, "the other job is not done at the same time"
        time.sleep(0.01)
    return {name: os.environ[name] for name in THREADS}


def perish(job: Job, say) -> int:
    if job.title == "deadly":
        say({"pid": os.getpid()})
        time.sleep(0.1)  # for that to be heard
        os.kill(os.getpid(), signal.SIGKILL)
    return count(job, say)


def write_slowly(job: Job, say) -> None:
    """Write a file aside for a minute."""
    with atomic_write(job.file) as aside:
        aside.write_text("half")
        say({"pid": os.getpid()})
        time.sleep(60)


def go_on(job: Job, say) -> None:
    """Say something for ever; when that is not wanted any more, leave a file. The quick one does nothing."""
    if job.title == "quick":
        return
    try:
        while True:
            say({"pid": os.getpid()})
            time.sleep(0.02)
    finally:
        job.file.touch()
