"""Runs independent jobs: one after another in this process, or several at a time by dask.distributed.

``function(job, on_event)`` does a job, reports by ``on_event(event)`` and returns the result. Called again for the same
job, it must resume, because that is what happens after a worker dies. Function, job, events and result are pickled,
and workers must see the same files as this process, under the same paths.
"""

import importlib
import pickle
import queue
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..errors import UserError, explain
from .cluster import connected, is_scheduler, source_folders
from .process import raise_if_interrupted

AHEAD = 1000  # limit of jobs submitted to dask at a time
ATTEMPTS = 3  # starts of a job whose worker dies each time
STARTED, EVENT, RESULT, ENDED = "started", "event", "result", "ended"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its `result`, or the `error` that stopped it."""

    job: Any
    result: Any = None
    error: Exception | None = None


def run_jobs(
    function: Callable[[Any, Callable[[Any], None]], Any],
    jobs: Iterable[Any],
    scheduler: str | None = None,
    on_event: Callable[[Any, Any], None] = lambda job, event: None,
    debug: bool = False,
) -> Iterator[Outcome]:
    """Run the jobs and yield the outcome of each as it ends; one that fails does not stop the others.

    A job whose worker dies is started at most three times, by another worker or its replacement. The jobs stop when
    the iterator is closed (an exception, Ctrl-C): on this computer immediately, on a cluster at their next event.

    Args:
        function: of an importable module; see the docstring of this module.
        jobs: each with a `title` for messages.
        scheduler: None for one job after another; "local" or "local:4" for that many processes on this computer; or the
            address of a dask scheduler, such as "tcp://host:8786".
        on_event: called in this thread with a job and each of its events, in order, before its outcome.
        debug: let dask log to stderr.

    Raises:
        UserError: not a scheduler, a missing package, no connection, or workers that cannot run this program.
    """
    check_scheduler(scheduler)
    jobs = list(jobs)
    if scheduler is None or not jobs:
        return _run_serially(function, jobs, on_event)
    return _run_with_dask(function, jobs, scheduler, on_event, debug)


def check_scheduler(scheduler: str | None) -> None:
    """Raise UserError unless `scheduler` is valid for `run_jobs`; starts and connects to nothing."""
    if scheduler is None:
        return
    if not is_scheduler(scheduler):
        raise UserError(
            f'"{scheduler}" is not a scheduler; give local, local:4 (processes) or an address such as tcp://host:8786.'
        )
    try:
        importlib.import_module("distributed")
    except ImportError as error:
        raise UserError(
            'Several jobs at a time need dask, which is not installed; run pip install "dask[distributed]".'
        ) from error


def raise_failures(outcomes: list[Outcome]) -> None:
    """Raise the error of the one job that failed, or one UserError that lists all failures; nothing if none failed."""
    failed = [(outcome.job, outcome.error) for outcome in outcomes if outcome.error is not None]
    if len(failed) == 1:
        raise failed[0][1]
    if failed:
        messages = " ".join(f"{job.title}: {explain(error)}" for job, error in failed)
        raise UserError(f"{len(failed)} of {len(outcomes)} jobs failed. {messages}")


def _run_serially(function, jobs: list, on_event) -> Iterator[Outcome]:
    for job in jobs:
        raise_if_interrupted()
        try:
            outcome = Outcome(job, function(job, lambda event, job=job: on_event(job, event)))
        except BrokenPipeError:  # the reader has closed the pipe
            raise
        except Exception as error:
            outcome = Outcome(job, error=error)
        yield outcome


def _run_with_dask(function, jobs: list, scheduler: str, on_event, debug: bool) -> Iterator[Outcome]:
    from distributed import KilledWorker

    folders = source_folders(__name__, function.__module__)
    with connected(scheduler, len(jobs), folders, debug) as client:
        tasks = DaskQueue(client, function, jobs, folders)
        open_jobs = set(range(len(jobs)))
        started: Counter[int] = Counter()
        blamed: Counter[int] = Counter()
        waiting = iter(range(len(jobs)))
        for number in islice(waiting, AHEAD):
            tasks.submit(number)
        while open_jobs:
            number, what, value = tasks.next_event()
            if number not in open_jobs:
                continue
            job, outcome = jobs[number], None
            if what == STARTED:
                started[number] += 1
            elif what == EVENT:
                on_event(job, value)
            elif what == RESULT:
                outcome = Outcome(job, value)
            elif value.status == "cancelled":
                raise UserError(f"The connection to {scheduler} was lost; run the same command again to resume.")
            elif not isinstance(error := value.exception(), KilledWorker):
                outcome = Outcome(job, error=error.with_traceback(value.traceback()))
            else:
                # dask also blames jobs that were only queued on a worker that died; count those separately.
                blamed[number] += 1
                if max(started[number], blamed[number]) < ATTEMPTS:
                    tasks.submit(number)
                else:
                    outcome = Outcome(job, error=_worker_died(job))
            if outcome:
                open_jobs.remove(number)
                tasks.discard(number)
                for another in islice(waiting, 1):
                    tasks.submit(another)
                yield outcome


def _worker_died(job) -> UserError:
    return UserError(
        f"{job.title} failed because its process died {ATTEMPTS} times, perhaps out of memory; use fewer processes "
        "and run the same command again to resume."
    )


class DaskQueue:
    """Submits jobs to dask and receives their events.

    Events and result of a job take the same channel and so keep their order. The result is not left to dask's future,
    which keeps it in the worker: it would be lost, and computed again, if that died.
    """

    def __init__(self, client, function, jobs: list, folders: list[str]):
        self._client, self._function, self._jobs, self._folders = client, function, jobs, folders
        self._topic = f"jobs-{uuid.uuid4().hex}"
        self._futures: dict = {}
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        client.subscribe_topic(self._topic, lambda message: self._events.put(pickle.loads(message[1])))

    def submit(self, number: int) -> None:
        import cloudpickle

        folders = self._folders

        def work(pickled: bytes) -> None:  # a nested function is pickled by value, not imported by name
            sys.path[:0] = [folder for folder in folders if folder not in sys.path]
            run, *arguments = pickle.loads(pickled)
            run(*arguments)

        pickled = cloudpickle.dumps((_run_in_worker, self._function, self._jobs[number], number, self._topic))
        self._futures[number] = future = self._client.submit(work, pickled, pure=False)
        future.add_done_callback(lambda future: self._events.put((number, ENDED, future)))

    def next_event(self) -> tuple[int, str, Any]:
        """Wait for the number of a job, STARTED, EVENT, RESULT or ENDED, and the event, result or future."""
        while True:
            raise_if_interrupted()
            with suppress(queue.Empty):
                return self._events.get(timeout=1)  # lets Windows handle Ctrl-C

    def discard(self, number: int) -> None:
        del self._futures[number]


def _run_in_worker(function, job, number: int, topic: str) -> None:
    """Run a job in a worker and send its events."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def send(what: str, value=None) -> None:
        worker.log_event(topic, pickle.dumps((number, what, value)))

    def on_event(event) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":  # the client has stopped or died
            raise CancelledError(f"{job.title} was canceled")
        send(EVENT, event)

    send(STARTED)
    send(RESULT, function(job, on_event))
