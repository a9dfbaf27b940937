"""A connection to dask workers: processes on this computer that end with this one, or an existing cluster.

The workers of a cluster are started by its owner, by hand (``dask worker tcp://host:8786 --nthreads 1``) or through
dask-jobqueue. They need the same Python with the same packages, and one thread each; OMP_NUM_THREADS in their
environment sets the number of cores per job. For tls:// the certificates are set in dask's own configuration.

On this computer dask listens on the loopback interface only; as always with dask, other users who are logged in on the
same computer could connect there.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import NoReturn

from ..errors import UserError
from ..io.atomic import remove_unfinished

CONNECT_SECONDS = CLOSE_SECONDS = 10.0
BYTES_PER_JOB = 4e9  # of memory, to choose how many jobs run at a time
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
STOP_SIGNALS = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}


def is_scheduler(scheduler: str) -> bool:
    """Whether it is "local", "local:4" or an address."""
    return re.fullmatch(r"local(:0*[1-9]\d*)?|(tcp|tls)://\S+", scheduler) is not None


@contextlib.contextmanager
def connected(scheduler: str, count: int, folders: list[str], debug: bool = False) -> Iterator:
    """A dask client for `count` jobs; jobs still running at exit are canceled.

    Args:
        scheduler: as `is_scheduler` takes it.
        count: number of jobs.
        folders: from which workers must be able to import this program.
        debug: let dask log to stderr.

    Raises:
        UserError: no process can be started, the scheduler does not answer, or its workers cannot run this program.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet(debug))
        if scheduler.startswith("local"):
            workers = int(scheduler.partition(":")[2] or 0) or _workers_for(count)
            client = stack.enter_context(_client(stack.enter_context(_local_cluster(workers, debug))))
        else:
            client = stack.enter_context(_client(scheduler))
            _check_workers(client, scheduler, folders)
        yield client


def source_folders(*modules: str) -> list[str]:
    """The folders from which these modules are imported."""
    folders = []
    for package in (sys.modules[module.partition(".")[0]] for module in modules):
        if file := getattr(package, "__file__", None):  # an interactive __main__ has none
            folders.append(str(Path(file).resolve().parents[1 if hasattr(package, "__path__") else 0]))
    return list(dict.fromkeys(folders))


def _client(address):
    from distributed import Client
    from distributed.security import Security

    try:
        if str(address).startswith("tls://") and not Security().get_connection_args("client")["ssl_context"]:
            raise UserError("tls:// needs certificates; name them in dask's configuration, distributed.comm.tls.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other package versions on workers
            return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No dask scheduler answers at {address}; check the address and that the scheduler is running."
        ) from error


def _check_workers(client, scheduler: str, folders: list[str]) -> None:
    """Raise UserError if an existing worker cannot run this program."""
    here = "{}.{}".format(*sys.version_info)
    for worker in client.get_versions()["workers"].values():
        there = ".".join(worker["host"]["python"].split(".")[:2])
        if there != here:
            raise UserError(f"The workers of {scheduler} run Python {there}; start them with Python {here} instead.")

    def load(name: str) -> None:  # a nested function is pickled by value, not imported by name
        sys.path[:0] = [folder for folder in folders if folder not in sys.path]
        importlib.import_module(name)

    for error in filter(None, client.run(load, __name__, on_error="return").values()):
        raise UserError(
            f'The workers of {scheduler} cannot import this program ({error}); make "{folders[0]}" readable to them.'
        ) from error


def _workers_for(count: int) -> int:
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    return max(1, min(count, CPU_COUNT, int(MEMORY_LIMIT / BYTES_PER_JOB)))


@contextlib.contextmanager
def _local_cluster(workers: int, debug: bool) -> Iterator:
    """`workers` processes, which share the cores of this computer."""
    import dask
    from dask.system import CPU_COUNT
    from distributed import LocalCluster

    environment = dask.config.get("distributed.nanny.pre-spawn-environ")
    environment = environment | dict.fromkeys(THREADS, str(max(1, CPU_COUNT // workers)))
    if not debug:
        environment["DASK_LOGGING__DISTRIBUTED"] = "CRITICAL"
    settings = {
        "distributed.nanny.pre-spawn-environ": environment,  # set before numerical libraries are loaded
        "distributed.deploy.lost-worker-timeout": "1000d",  # replacing a dead process may take long
        "distributed.scheduler.allowed-failures": 2,
        "distributed.scheduler.worker-ttl": None,  # a job may keep its process from answering
        "distributed.worker.daemon": False,  # a job may start child processes
        "distributed.worker.preload": [__name__],  # calls dask_setup
        "distributed.worker.profile.enabled": False,
    }
    with dask.config.set(settings), _restored([*environment, "PYTHONHASHSEED"]):
        os.environ.update({name: environment[name] for name in THREADS})  # dask prefers existing values
        try:
            with _signals_blocked():
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=0,  # no limit: a job is not killed for the memory that it needs
                    worker_dashboard_address=None,
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                )
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"No processes can be started here ({error}); run without a scheduler, one job after another."
            ) from error
        try:
            yield cluster
        finally:
            for nanny in cluster.workers.values():
                nanny.close_gracefully()  # do not restart the worker
                with contextlib.suppress(OSError, TypeError):  # no process at the moment
                    os.kill(nanny.pid, signal.SIGTERM)
            # Versions before 2026 wait forever for a process that was just starting.
            with contextlib.suppress(asyncio.TimeoutError):
                cluster.close(timeout=CLOSE_SECONDS)


def dask_setup(worker) -> None:
    """Prepare a process of this computer; dask calls this in its main thread."""
    exit_immediately = os._exit

    def tidy_and_exit(status: int) -> NoReturn:
        remove_unfinished()
        exit_immediately(status)

    os._exit = tidy_and_exit  # dask calls this when the parent has died
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent decides
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Postpone signals, because a half-started cluster could not be closed; its processes inherit the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing's own process; starting it unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _restored(variables: list[str]) -> Iterator[None]:
    """Restore environment variables: dask sets those for its processes in this process, too."""
    before = {name: os.environ.get(name) for name in variables}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    importlib.import_module("distributed")  # sets the levels of its loggers
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "tornado.application")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logger.level if debug else logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
