"""Set up the virtual environment .venv for one purpose; does nothing if it is up to date.

    python Testing/setup_environment.py lint|segment|train|starter|bench|test

Each purpose installs only its dependency groups of pyproject.toml: linting needs no torch, segmenting no pytest.
``.venv/SpleenSmoothSeg.json`` records the installed groups and the hash of pyproject.toml; an installation that was
interrupted is detected and repeated. Standard library only, because this runs before anything is installed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STATE_FILE = ENVIRONMENT / "SpleenSmoothSeg.json"
LOG = ENVIRONMENT / "setup.log"
GROUPS = {
    "lint": ["lint"],
    "segment": ["segment"],
    "train": ["train"],
    "starter": ["starter"],
    "bench": ["bench", "slicer"],
    "test": ["test", "slicer"],
}
CONTENTS = {
    "lint": "ruff and mypy",
    "segment": "torch and the packages for segmenting",
    "train": "torch and the packages for training",
    "starter": "torch and the packages for training the starter",
    "bench": "torch, MONAI and the packages for the benchmarks",
    "test": "torch and the packages for the tests",
    "slicer": "slicer-core, Slicer's own MRML libraries",
}
# Measured: the Linux build of torch includes NVIDIA's libraries, 6.3 GB in total; while pip installs, 2.8 GB of
# downloads are on disk as well, and again in its cache.
TORCH_GB = 12.0 if sys.platform == "linux" else 4.0
LIGHT_GB = {"lint": 0.2, "slicer": 2.0}
INSTALL_STARTED = "Installing collected packages"  # printed by pip before it changes files
NO_WHEEL = "No matching distribution found for slicer-core"
SLICER_LIBRARIES = "libegl1 libgl1 libgl1-mesa-dri libosmesa6"
CAUSES = {
    "No space left on device": "the disk is full; free up disk space",
    "Temporary failure in name resolution": "the package index cannot be reached; check network and proxy",
    "Failed to establish a new connection": "the package index cannot be reached; check network and proxy",
    "Network is unreachable": "the package index cannot be reached; check network and proxy",
    "timed out": "the package index does not answer; check network and proxy",
}


class SetupError(Exception):
    """An error that ``make`` prints as one sentence."""


def main(purpose: str) -> None:
    """Set up .venv for ``purpose``, a key of GROUPS.

    Raises:
        SetupError: too little disk space, a .venv that was not created by this script, or pip failed.
    """
    if missing_groups(purpose, read_state()):
        with exclusive_lock():
            set_up(purpose)


def set_up(purpose: str) -> None:
    if ENVIRONMENT.exists() and not STATE_FILE.exists():
        raise SetupError(f"{ENVIRONMENT} was not created by `make`; move it elsewhere, or delete it with `make clean`.")
    state = read_state()
    if state and (is_broken(state) or state["python"] != python_version()):
        shutil.rmtree(ENVIRONMENT)
        state = {}
    missing = missing_groups(purpose, state)
    check_disk_space(missing, state)
    steps = Steps(len(missing) + (0 if state else 2) + ("slicer" in missing))
    if not state:
        create_environment(steps)
    for group in missing:
        install(group, steps)


def create_environment(steps: "Steps") -> None:
    ENVIRONMENT.mkdir()
    write_state({"python": python_version(), "installed": {}, "in_progress": "environment"})
    base = getattr(sys, "_base_executable", None) or sys.executable
    steps.run(f"creating .venv with Python {python_version()}", [base, "-m", "venv", str(ENVIRONMENT)])
    # --group of pip install is new in 25.1
    steps.run("updating pip", [*pip(), "install", "--upgrade", "pip>=25.1"])
    write_state({**read_state(), "in_progress": None})


def install(group: str, steps: "Steps") -> None:
    state = read_state()
    write_state({**state, "in_progress": group})
    requirements = f"{ROOT / 'pyproject.toml'}:{group}"
    try:
        steps.run(f"installing {CONTENTS[group]}", [*pip(), "install", "--group", requirements])
        if group == "slicer":
            try_slicer(steps)
    except SetupError:
        if NO_WHEEL not in LOG.read_text(errors="replace"):
            raise
        print("      not available for this Python or system; tests marked slicer will be skipped")
    state["installed"][group] = requirements_hash()
    write_state({**state, "in_progress": None})


def try_slicer(steps: "Steps") -> None:
    try:
        steps.run("importing slicer-core", [python(), "-I", "-c", "import slicer"])
    except SetupError:
        print(f"      import failed ({last_lines(1)}); on Debian or Ubuntu: sudo apt install {SLICER_LIBRARIES}")


def missing_groups(purpose: str, state: dict) -> list[str]:
    """The groups still to install, in order: all of them if the environment must be recreated."""
    usable = state.get("python") == python_version() and not is_broken(state)
    installed = state["installed"] if usable else {}
    wanted = requirements_hash()
    return [group for group in GROUPS[purpose] if installed.get(group) != wanted]


def is_broken(state: dict) -> bool:
    """Whether the last run was interrupted while files were being installed; before that, nothing is changed."""
    if state.get("in_progress") in (None, "environment"):
        return bool(state.get("in_progress"))
    return not LOG.exists() or INSTALL_STARTED in LOG.read_text(errors="replace")


def check_disk_space(missing: list[str], state: dict) -> None:
    has_torch = {"segment", "train", "starter", "bench", "test"} & set(state.get("installed", {}))
    needed = sum(LIGHT_GB.get(group, 1.0 if has_torch else TORCH_GB) for group in missing)
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < needed:
        raise SetupError(
            f"Installing into {ENVIRONMENT} needs about {needed:.1f} GB of free disk space, but only "
            f"{free:.1f} GB are free; free up disk space, then run the same command again."
        )


def python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def requirements_hash() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def read_state() -> dict:
    try:
        return json.loads(STATE_FILE.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"python": None}


def write_state(state: dict) -> None:
    temporary = STATE_FILE.with_suffix(".new")
    temporary.write_text(json.dumps(state, indent=1))
    temporary.replace(STATE_FILE)


def python() -> str:
    return str(ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def pip() -> list[str]:
    return [python(), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]


class Steps:
    """Runs commands with numbered progress lines; their output goes to LOG."""

    def __init__(self, total: int):
        self.total = total
        self.number = 0

    def run(self, what: str, command: list[str]) -> None:
        self.number += 1
        line = f"[{self.number}/{self.total}] {what} ..."
        print(line, end="", flush=True)
        start = time.monotonic()
        # pip unpacks gigabytes into TMPDIR, and /tmp is often a small RAM disk.
        scratch = ENVIRONMENT / "tmp"
        scratch.mkdir(exist_ok=True)
        try:
            with open(LOG, "w") as log:
                process = subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    env={**os.environ, "TMPDIR": str(scratch)},
                )  # fmt: skip
                watch(process, line, start)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if process.returncode:
            print()
            raise SetupError(explain(what))
        print(f" {time.monotonic() - start:.0f} s", flush=True)


def watch(process: subprocess.Popen, line: str, start: float) -> None:
    """Wait for the process; on a terminal, append the elapsed time and the last line of its output."""
    try:
        while process.poll() is None:
            time.sleep(0.1)
            if sys.stdout.isatty():
                now = f"{line} {time.monotonic() - start:.0f} s: {last_lines(1)}"
                print(f"\r{now[: shutil.get_terminal_size().columns - 1]}\x1b[K", end="", flush=True)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if sys.stdout.isatty():
        print(f"\r{line}\x1b[K", end="")


def explain(what: str) -> str:
    text = LOG.read_text(errors="replace")
    cause = next((cause for words, cause in CAUSES.items() if words in text), "see the last lines of the log")
    sentence = f"{what[0].upper() + what[1:]} failed: {cause}, then run the same command again."
    return f"{sentence} The log, {LOG}, ends:\n{last_lines(8)}"


def last_lines(count: int) -> str:
    lines = [line.strip() for line in LOG.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(line[:160] for line in lines[-count:])


@contextmanager
def exclusive_lock():
    """Make concurrent `make` commands wait for each other, where the system supports file locks."""
    with open(ROOT / "pyproject.toml") as lock:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: run the same command again to resume.")
