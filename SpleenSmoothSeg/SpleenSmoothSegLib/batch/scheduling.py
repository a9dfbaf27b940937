"""Independent jobs: one after another in this process, or several at a time by dask.distributed.

A job is done by ``function(job, say)``, which says how far it is by ``say(event)``, and returns its result. Done once
more, it must go on where it stopped, for that is what happens after its worker died. Function, job, events and result
are pickled, and workers see the same files as this process, under the same paths.
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

AHEAD = 1000  # so many jobs lie with dask at a time, however many there are
ATTEMPTS = 3  # so often a job may begin whose worker dies each time
BEGUN, EVENT, RESULT, ENDED = "begun", "event", "result", "ended"


@dataclass(frozen=True)
class Outcome:
    """What came of a job: its `result`, or the `error` that ended it."""

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
    """Do the jobs and yield what came of each as it comes; one that fails does not stop the others.

    A job whose worker dies is begun again, three times at most, by another worker or the one that takes its place. The
    jobs stop when nobody asks for more outcomes (an exception, Ctrl-C): those on this computer at once, those on a
    cluster when they next say something.

    Args:
        function: of a module that can be imported; see the top of this file.
        jobs: each with a `title`, by which a person knows it.
        scheduler: None for one job after another; "local" or "local:4" for so many processes on this computer; or the
            address of a dask scheduler, such as "tcp://host:8786".
        on_event: called in this thread with a job and what it said, in its order, before its outcome.
        debug: let dask say on stderr what it does.

    Raises:
        UserError: no scheduler, a package is missing, it cannot be reached, or its workers cannot run this program.
    """
    check_scheduler(scheduler)
    jobs = list(jobs)
    if scheduler is None or not jobs:
        return _one_after_another(function, jobs, on_event)
    return _at_the_same_time(function, jobs, scheduler, on_event, debug)


def check_scheduler(scheduler: str | None) -> None:
    """Raise UserError unless `scheduler` may be given to `run_jobs`; nothing is started or connected to."""
    if scheduler is None:
        return
    if not is_scheduler(scheduler):
        raise UserError(
            f'"{scheduler}" is no scheduler; give local, local:4 (processes) or an address such as tcp://host:8786.'
        )
    try:
        importlib.import_module("distributed")
    except ImportError as error:
        raise UserError(
            'Several jobs at a time need dask, which this Python lacks; pip install "dask[distributed]" gets it.'
        ) from error


def raise_failures(outcomes: list[Outcome]) -> None:
    """Raise the error of the one job that failed, or one UserError that tells of all that did; nothing if none did."""
    failed = [(outcome.job, outcome.error) for outcome in outcomes if outcome.error is not None]
    if len(failed) == 1:
        raise failed[0][1]
    if failed:
        told = " ".join(f"{job.title}: {explain(error)}" for job, error in failed)
        raise UserError(f"{len(failed)} of {len(outcomes)} jobs failed. {told}")


def _one_after_another(function, jobs: list, on_event) -> Iterator[Outcome]:
    for job in jobs:
        try:
            outcome = Outcome(job, function(job, lambda event, job=job: on_event(job, event)))
        except BrokenPipeError:  # nobody hears the events any more
            raise
        except Exception as error:
            outcome = Outcome(job, error=error)
        yield outcome


def _at_the_same_time(function, jobs: list, scheduler: str, on_event, debug: bool) -> Iterator[Outcome]:
    from distributed import KilledWorker

    folders = source_folders(__name__, function.__module__)
    with connected(scheduler, len(jobs), folders, debug) as client:
        desk = Desk(client, function, jobs, folders)
        open_jobs = set(range(len(jobs)))
        begun: Counter[int] = Counter()
        blamed: Counter[int] = Counter()
        waiting = iter(range(len(jobs)))
        for number in islice(waiting, AHEAD):
            desk.submit(number)
        while open_jobs:
            number, what, value = desk.news()
            if number not in open_jobs:
                continue
            job, outcome = jobs[number], None
            if what == BEGUN:
                begun[number] += 1
            elif what == EVENT:
                on_event(job, value)
            elif what == RESULT:
                outcome = Outcome(job, value)
            elif value.status == "cancelled":
                raise UserError(f"The connection to {scheduler} is lost; start the same again to go on.")
            elif not isinstance(error := value.exception(), KilledWorker):
                outcome = Outcome(job, error=error.with_traceback(value.traceback()))
            else:
                # A job that only waited for a worker that died is blamed, too; it must not suffer for another one.
                blamed[number] += 1
                if max(begun[number], blamed[number]) < ATTEMPTS:
                    desk.submit(number)
                else:
                    outcome = Outcome(job, error=_given_up(job))
            if outcome:
                open_jobs.remove(number)
                desk.forget(number)
                for another in islice(waiting, 1):
                    desk.submit(another)
                yield outcome


def _given_up(job) -> UserError:
    return UserError(
        f"{job.title} was given up, for its process died time after time, perhaps for want of memory; take fewer "
        "processes and start the same again to go on."
    )


class Desk:
    """Hands jobs to dask and hears of them.

    What a job says and its result come as events, which take the same way and so keep their order. The result is not
    left to dask's future, which keeps it in the worker: it would be lost, and computed again, if that died.
    """

    def __init__(self, client, function, jobs: list, folders: list[str]):
        self._client, self._function, self._jobs, self._folders = client, function, jobs, folders
        self._topic = f"jobs-{uuid.uuid4().hex}"
        self._futures: dict = {}
        self._news: queue.SimpleQueue = queue.SimpleQueue()
        client.subscribe_topic(self._topic, lambda said: self._news.put(pickle.loads(said[1])))

    def submit(self, number: int) -> None:
        import cloudpickle

        folders = self._folders

        def work(pickled: bytes) -> None:  # defined in here, it travels as code, not as a name to be imported
            sys.path[:0] = [folder for folder in folders if folder not in sys.path]
            do, *arguments = pickle.loads(pickled)
            do(*arguments)

        pickled = cloudpickle.dumps((_do, self._function, self._jobs[number], number, self._topic))
        self._futures[number] = future = self._client.submit(work, pickled, pure=False)
        future.add_done_callback(lambda future: self._news.put((number, ENDED, future)))

    def news(self) -> tuple[int, str, Any]:
        """Wait for the next: a job's number, BEGUN, EVENT, RESULT or ENDED, and the event, result or future."""
        while True:
            with suppress(queue.Empty):
                return self._news.get(timeout=1)  # in between, Windows hears Ctrl-C

    def forget(self, number: int) -> None:
        del self._futures[number]


def _do(function, job, number: int, topic: str) -> None:
    """Do a job in a worker."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def tell(what: str, value=None) -> None:
        worker.log_event(topic, pickle.dumps((number, what, value)))

    def say(event) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":  # who asked for it has stopped or died
            raise CancelledError(f"{job.title} is not asked for any more")
        tell(EVENT, event)

    tell(BEGUN)
    tell(RESULT, function(job, say))
