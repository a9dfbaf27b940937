"""Jobs run serially, by processes on this computer and by a cluster; dying processes and interruptions."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import dask
import psutil
import pytest

import scheduling_jobs
from scheduling_jobs import SOON, Job, count, kill_process, meet, report_until_canceled
from segment_children import gone
from SpleenSmoothSegLib.batch import cluster
from SpleenSmoothSegLib.batch.process import interrupted
from SpleenSmoothSegLib.batch.scheduling import Outcome, check_scheduler, raise_failures, run_jobs
from SpleenSmoothSegLib.errors import UserError

ENGINE = Path(cluster.__file__).resolve().parents[2]
HELPERS = Path(scheduling_jobs.__file__).parent


def worker_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]


class Recorder:
    """Records events."""

    def __init__(self):
        self.events: list[tuple[str, dict]] = []

    def __call__(self, job: Job, event: dict) -> None:
        self.events.append((job.title, event))

    def of(self, title: str) -> list[dict]:
        return [event for name, event in self.events if name == title]


# ---- serial


def test_jobs_without_scheduler_run_serially_in_this_process(tmp_path):
    recorder = Recorder()
    jobs = [Job("first", tmp_path / "1", epochs=2), Job("second", tmp_path / "2", epochs=1)]
    assert list(run_jobs(count, jobs, on_event=recorder)) == [Outcome(jobs[0], 2), Outcome(jobs[1], 1)]
    here = {"pid": os.getpid()}
    assert recorder.events == [
        ("first", here),
        ("first", {"epoch": 0}),
        ("first", {"epoch": 1}),
        ("second", here),
        ("second", {"epoch": 0}),
    ]


def test_failing_job_does_not_stop_the_next(tmp_path):
    jobs = [Job("failing", tmp_path / "1"), Job("fine", tmp_path / "2", partner=tmp_path / "2")]
    with pytest.MonkeyPatch.context() as patch:
        for name in cluster.THREADS:
            patch.setenv(name, "1")
        failing, fine = run_jobs(meet, jobs)
    assert isinstance(failing.error, UserError) and failing.result is None
    assert fine.error is None and fine.result


def test_broken_pipe_in_on_event_stops_the_jobs(tmp_path):
    def broken_pipe(job, event):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        list(run_jobs(count, [Job("first", tmp_path / "1")], on_event=broken_pipe))


def test_raise_failures_raises_one_error_unchanged_and_joins_several():
    error = UserError("The CT is empty; give another one.")
    first, second, third = (Job(title, Path()) for title in ("Fold 0", "Fold 1", "Fold 2"))
    raise_failures([Outcome(first, 1)])
    with pytest.raises(UserError) as caught:
        raise_failures([Outcome(first, error=error), Outcome(second, 1)])
    assert caught.value is error
    with pytest.raises(UserError, match=r"2 of 3 jobs failed. Fold 0: The CT is empty; .* Fold 2: Not enough memory"):
        raise_failures([Outcome(first, error=error), Outcome(second, 1), Outcome(third, error=MemoryError())])


# ---- schedulers


@pytest.mark.parametrize("scheduler", ["slurm", "local:0", "local:x", "localhost", "http://host", "tcp://"])
def test_invalid_scheduler_raises_user_error_before_any_job(tmp_path, scheduler):
    with pytest.raises(UserError, match="is not a scheduler; give local, local:4"):
        run_jobs(count, [Job("first", tmp_path / "1")], scheduler)
    assert not list(tmp_path.iterdir())


def test_missing_dask_raises_user_error_with_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    check_scheduler(None)
    with pytest.raises(UserError, match=r'is not installed; run pip install "dask\[distributed\]".$'):
        check_scheduler("local")


def test_scheduler_that_does_not_answer_raises_user_error(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with pytest.raises(UserError, match="^No dask scheduler answers at tcp://127.0.0.1:9; check the address"):
        list(run_jobs(count, [Job("first", tmp_path / "1")], "tcp://127.0.0.1:9"))
    with pytest.raises(UserError, match="^tls:// needs certificates"):
        list(run_jobs(count, [Job("first", tmp_path / "1")], "tls://127.0.0.1:9"))
    assert capfd.readouterr() == ("", "")


def test_neither_dask_nor_torch_is_imported_without_a_scheduler():
    heavy = ("dask", "distributed", "numpy", "torch")
    code = f"import sys, SpleenSmoothSegLib.batch.scheduling; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ENGINE, capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("[]\n", "")


# ---- processes on this computer


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two jobs that wait for each other and two that fail, run by two processes."""
    folder, recorder, listening_addresses = tmp_path_factory.mktemp("together"), Recorder(), []
    one, two = folder / "one", folder / "two"
    jobs = [Job("failing", one), Job("one", one, partner=two), Job("broken", one), Job("two", two, partner=one)]

    def record(job, event):
        recorder(job, event)
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            connections = process.net_connections()
            listening_addresses.extend(each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN)

    with pytest.MonkeyPatch.context() as patch:
        for name in cluster.THREADS:
            patch.setenv(name, "7")  # as a user may have set it
        before = dict(os.environ)
        outcomes = {outcome.job.title: outcome for outcome in run_jobs(meet, jobs, "local:2", record)}
        after = dict(os.environ)
    left = worker_processes()
    return SimpleNamespace(**locals())


def test_two_processes_run_jobs_at_the_same_time(together):
    assert len({together.recorder.of(title)[0]["pid"] for title in ("one", "two")} - {os.getpid()}) == 2
    assert not together.outcomes["one"].error and not together.outcomes["two"].error


def test_processes_share_the_cores(together):
    from dask.system import CPU_COUNT

    assert together.outcomes["one"].result == dict.fromkeys(cluster.THREADS, str(max(1, CPU_COUNT // 2)))


def test_exception_in_a_worker_is_returned_unchanged_and_other_jobs_continue(together):
    assert len(together.outcomes) == 4
    error = together.outcomes["failing"].error
    assert type(error) is UserError and str(error) == "The CT is empty; give another one."
    assert isinstance(together.outcomes["broken"].error, ZeroDivisionError)
    assert together.outcomes["broken"].error.__traceback__ is not None


def test_local_cluster_listens_on_loopback_only(together):
    assert set(together.listening_addresses) == {"127.0.0.1"}


def test_processes_and_environment_variables_are_cleaned_up(together):
    names = {"PYTHONHASHSEED", "DASK_LOGGING__DISTRIBUTED", *cluster.THREADS}
    assert not names & {name for name, _ in together.after.items() ^ together.before.items()}
    assert not together.left


def test_job_of_a_killed_process_resumes_from_its_last_epoch(tmp_path, capfd):
    recorder, killed = Recorder(), []

    def kill(job, event):
        recorder(job, event)
        if job.title == "long" and event.get("epoch") == 5:
            killed.append(recorder.of("long")[0]["pid"])
            os.kill(killed[0], signal.SIGKILL)

    jobs = [Job("long", tmp_path / "long", epochs=12), Job("short", tmp_path / "short", epochs=2)]
    outcomes = list(run_jobs(count, jobs, "local:2", kill))
    assert {outcome.job.title: (outcome.result, outcome.error) for outcome in outcomes} == {
        "long": (12, None),
        "short": (2, None),
    }
    epochs, pids = zip(*(line.split(":") for line in (tmp_path / "long").read_text().split()), strict=True)
    assert list(map(int, epochs)) == list(range(12)), "no epoch is skipped or repeated"
    assert pids[0] == pids[5] == str(killed[0]) != pids[-1]
    epochs_reported = [event["epoch"] for event in recorder.of("long") if "epoch" in event]
    assert epochs_reported == sorted(epochs_reported) and epochs_reported[-1] == 11
    assert capfd.readouterr() == ("", "")


def test_job_that_kills_every_worker_fails_and_the_others_complete(tmp_path, capfd):
    recorder, workers = Recorder(), []

    def record(job, event):
        recorder(job, event)
        workers.append(len(worker_processes()))

    jobs = [Job(title, tmp_path / title, epochs=1) for title in ("deadly", "second", "third")]
    # As on a busy computer, where a process takes longer to start than dask waits by default.
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "10ms"}):
        outcomes = {outcome.job.title: outcome for outcome in run_jobs(kill_process, jobs, "local:1", record)}
    assert max(workers) == 1
    assert str(outcomes["deadly"].error).startswith("deadly failed because its process died 3 times")
    assert len(recorder.of("deadly")) == 3
    assert outcomes["second"].result == outcomes["third"].result == 1
    assert capfd.readouterr() == ("", "")


# ---- interruptions


@pytest.fixture
def start(tmp_path):
    """Starts a program with two jobs that write; returns it and the events of its jobs. Kills leftover processes."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        sys.path[:0] = [{str(ENGINE)!r}, {str(HELPERS)!r}]
        from SpleenSmoothSegLib.batch.console import TerminalConsole, exit_code
        from SpleenSmoothSegLib.batch.process import exit_process, exit_with_parent, stop_on_signals

        def work():
            if "--child" in sys.argv:
                exit_with_parent()
            from SpleenSmoothSegLib.batch.scheduling import run_jobs
            from scheduling_jobs import Job, write_slowly
            print("starting", flush=True)
            jobs = [Job(str(number), Path("out", str(number))) for number in range(3)]
            list(run_jobs(write_slowly, jobs, "local:2", lambda job, event: print(event["pid"], flush=True)))
            return 0

        if __name__ == "__main__":
            stop_on_signals()
            exit_process(exit_code(work, TerminalConsole(False)))
        """)
    )
    processes = []

    def begin(lines: int, *arguments: str):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, program, *arguments]
        process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)
        processes.append(psutil.Process(process.pid))
        for _ in range(lines):
            assert process.stdout.readline()
        if lines == 1:
            time.sleep(1.0)  # during the start
        processes.extend(processes[0].children(recursive=True))
        return process, processes

    yield begin
    for process in processes:
        if process.is_running():
            process.kill()


def test_exceptions_of_finalizers_are_printed_only_before_an_interrupt(tmp_path):
    """A connection that was interrupted while it was built fails again when it is garbage collected."""
    code = f"""if True:
        import signal, sys
        sys.path.insert(0, {str(ENGINE)!r})
        from SpleenSmoothSegLib.batch.process import stop_on_signals

        class Connection:
            def __del__(self):
                raise OSError("not connected")

        stop_on_signals()
        Connection()
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            Connection()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and done.stderr.count("not connected") == 1


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("lines", [1, 3], ids=["at the start", "at work"])
def test_ctrl_c_leaves_no_process_no_file_and_no_traceback(start, tmp_path, lines):
    process, processes = start(lines)
    os.killpg(process.pid, signal.SIGINT)  # to all processes, as a terminal does
    _, err = process.communicate(timeout=SOON)
    assert (process.returncode, err) == (130, "Canceled; no partial files are left.\n")
    assert gone(processes, SOON)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("end", ["its stdin is closed", "it is killed"])
def test_processes_exit_with_their_parent_and_leave_no_file(start, tmp_path, end):
    process, processes = start(3, "--child")
    if end == "it is killed":
        process.kill()
    process.communicate(timeout=SOON)  # closes its stdin
    assert len(processes) >= 3
    assert gone(processes, SOON)
    assert not list(tmp_path.glob("out/*"))


def test_interrupt_that_python_ignored_stops_before_the_next_job(tmp_path, monkeypatch):
    """In a finalizer, for example, Python only prints KeyboardInterrupt."""
    jobs = [Job(str(number), tmp_path / str(number), epochs=1) for number in range(3)]
    outcomes = run_jobs(count, jobs)
    assert next(outcomes) == Outcome(jobs[0], 1)
    monkeypatch.setattr(interrupted, "is_set", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert not jobs[1].file.exists()


# ---- a cluster


def test_cluster_runs_the_jobs_and_stays_up(address, tmp_path):
    for run in ("first", "second"):
        recorder = Recorder()
        jobs = [Job(str(number), tmp_path / f"{run}{number}", epochs=2) for number in range(4)]
        outcomes = list(run_jobs(count, jobs, address, recorder))
        assert Counter(outcomes) == Counter(Outcome(job, 2) for job in jobs)
        for job in jobs:
            assert [event.get("epoch") for event in recorder.of(job.title)] == [None, 0, 1]
        pids = {event["pid"] for _, event in recorder.events if "pid" in event}
        assert len(pids) == 2 and all(map(psutil.pid_exists, pids))


def test_job_on_a_cluster_stops_when_the_iterator_is_closed(address, tmp_path):
    quick, endless = Job("quick", tmp_path / "quick"), Job("endless", tmp_path / "endless")
    with closing(run_jobs(report_until_canceled, [endless, quick], address)) as outcomes:
        assert next(outcomes).job == quick
        assert not endless.file.exists()
    end = time.monotonic() + SOON
    while not endless.file.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


class Workers:
    """A stand-in for a dask client whose workers differ from this process."""

    def __init__(self, python: str, error: Exception | None):
        self._python, self._error = python, error

    def get_versions(self) -> dict:
        return {"workers": {"tcp://1.2.3.4:5": {"host": {"python": f"{self._python}.1.final.0"}}}}

    def run(self, function, *arguments, on_error: str) -> dict:
        return {"tcp://1.2.3.4:5": self._error}


@pytest.mark.parametrize(
    ("python", "error", "words"),
    [
        ("3.1", None, "run Python 3.1; start them with Python 3"),
        ("{}.{}".format(*sys.version_info), ModuleNotFoundError("No module"), r'\(No module\); make "/here" readable'),
    ],
)
def test_workers_that_cannot_import_this_program_raise_user_error(python, error, words):
    with pytest.raises(UserError, match=f"^The workers of tcp://a:1 .*{words}"):
        cluster._check_workers(Workers(python, error), "tcp://a:1", ["/here"])
