"""Measurements in separate processes: clock and memory inside (see child.py), and the call from outside."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

CHILD = Path(__file__).resolve().parent / "child.py"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


class Skip(Exception):
    """A measurement is impossible here; the message gives the reason."""


class Clock:
    """Seconds of each stage of the work."""

    def __init__(self):
        self.stages: dict[str, float] = {}
        self._stage, self._since = None, 0.0

    def stage(self, name: str | None) -> None:
        """Start the stage `name`; None ends the current one."""
        now = time.perf_counter()
        if self._stage is not None:
            self.stages[self._stage] = self.stages.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = name, now

    def stop(self) -> dict:
        self.stage(None)
        return {"seconds": sum(self.stages.values()), "stages": self.stages}


def peak_gb() -> float | None:
    """Peak memory of this process in GB; None where the system does not report it.

    Uses /proc on Linux, where getrusage of a child includes the peak of its parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def all_threads() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measured(work: str, threads: int, **settings) -> dict:
    """What `work` ("peers.monai") returns with these settings in a new process with this number of threads.

    At least "seconds", "stages" and "peak_gb" if it succeeded; or "skipped" or "failed" with a reason.
    """
    environment = os.environ | dict.fromkeys(THREADS, str(threads))
    command = [sys.executable, str(CHILD), work, json.dumps(settings)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if run.returncode == 0:
        return json.loads(run.stdout.splitlines()[-1])
    errors = run.stderr.strip().splitlines()
    return {"failed": errors[-1] if errors else f"the process ended with {run.returncode}"}
