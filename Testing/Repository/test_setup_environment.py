"""Setup of .venv by `make`: choice of Python, installed groups, interruptions and error messages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import setup_environment
from locations import REPOSITORY

ROOT = REPOSITORY
pytestmark = pytest.mark.skipif(os.name == "nt", reason="make is supported on Linux and macOS only")


# ---- find_python.sh


def find_python(folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run find_python.sh with ``folder`` as the only one on the PATH."""
    environment = {"PATH": str(folder), **variables}
    script = ROOT / "Testing" / "find_python.sh"
    return subprocess.run(["/bin/sh", script], cwd=folder, env=environment, capture_output=True, encoding="utf-8")


def put_python(folder: Path, name: str, version=(3, 12), complete: bool = True, works: bool = True) -> None:
    """A script that answers find_python.sh like a Python of that version."""
    old, bare = int(version < (3, 10)), int(not complete)
    folder.mkdir(exist_ok=True)
    command = folder / name
    command.write_text(f"""#!/bin/sh
[ {int(works)} = 1 ] || {{ echo "pyenv: {name}: command not found" >&2; exit 127; }}
case "$2" in
  *print*) echo "Python {version[0]}.{version[1]} at $0" ;;
  *ensurepip*) exit {old or bare} ;;
  *version_info*) exit {old} ;;
esac
""")
    command.chmod(0o755)


def test_python_3_12_is_preferred_and_broken_commands_are_skipped(tmp_path):
    put_python(tmp_path, "python3", (3, 11))
    assert find_python(tmp_path).stdout == "python3\n"
    put_python(tmp_path, "python3.13", (3, 13))
    assert find_python(tmp_path).stdout == "python3.13\n"
    put_python(tmp_path, "python3.12", works=False)
    assert find_python(tmp_path).stdout == "python3.13\n"
    put_python(tmp_path, "python3.12")
    assert find_python(tmp_path).stdout == "python3.12\n"


def test_python_variable_is_used_even_with_spaces_in_its_path(tmp_path):
    put_python(tmp_path, "python3.12")
    put_python(tmp_path / "my own", "python")
    named = str(tmp_path / "my own" / "python")
    assert find_python(tmp_path, PYTHON=named).stdout == f"{named}\n"


@pytest.mark.parametrize(
    ("pythons", "variables", "words"),
    [
        ([], {}, "needs Python 3.10 or newer, but none was found"),
        ([("python3", (3, 8), True)], {}, "found only Python 3.8 at"),
        ([("python3", (3, 11), False)], {}, "sudo apt install python3.11-venv"),
        ([("python3", (3, 12), True)], {"PYTHON": "/no/such/python"}, "does not run"),
    ],
)
def test_unusable_python_prints_one_line(tmp_path, pythons, variables, words):
    for name, version, complete in pythons:
        put_python(tmp_path, name, version, complete)
    result = find_python(tmp_path, **variables)
    assert result.returncode == 1 and result.stdout == ""
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


# ---- setup_environment.py


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty checkout whose commands are recorded in a list instead of run; the list is returned."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    environment = tmp_path / ".venv"
    monkeypatch.setattr(setup_environment, "ROOT", tmp_path)
    monkeypatch.setattr(setup_environment, "ENVIRONMENT", environment)
    monkeypatch.setattr(setup_environment, "STATE_FILE", environment / "SpleenSmoothSeg.json")
    monkeypatch.setattr(setup_environment, "LOG", environment / "setup.log")
    monkeypatch.setattr(setup_environment, "TORCH_GB", 0)
    monkeypatch.setattr(setup_environment, "LIGHT_GB", {"lint": 0, "slicer": 0})
    commands = []
    monkeypatch.setattr(setup_environment.Steps, "run", lambda self, what, command: commands.append(command))
    return commands


def groups(commands: list[list[str]]) -> list[str]:
    return [command[-1].rpartition(":")[2] for command in commands if "--group" in command]


def interrupt(group: str, log: str) -> None:
    """Create the state of a run that was killed while installing ``group``."""
    setup_environment.write_state({**setup_environment.read_state(), "in_progress": group})
    setup_environment.LOG.write_text(log)


def test_purpose_installs_its_groups_once(checkout):
    setup_environment.main("lint")
    assert groups(checkout) == ["lint"]
    setup_environment.main("lint")
    assert groups(checkout) == ["lint"]
    setup_environment.main("test")
    assert groups(checkout) == ["lint", "test", "slicer"]
    assert sum("venv" in command for command in checkout) == 1


def test_changed_pyproject_is_installed_into_the_same_environment(checkout):
    setup_environment.main("lint")
    with open(setup_environment.ROOT / "pyproject.toml", "a") as file:
        file.write("\n# changed\n")
    setup_environment.main("lint")
    assert groups(checkout) == ["lint", "lint"]
    assert sum("venv" in command for command in checkout) == 1


def test_another_python_creates_a_new_environment(checkout, monkeypatch):
    setup_environment.main("lint")
    monkeypatch.setattr(setup_environment, "python_version", lambda: "3.99")
    setup_environment.main("lint")
    assert sum("venv" in command for command in checkout) == 2


@pytest.mark.parametrize("purpose", ["lint", "segment"])
def test_environment_interrupted_while_installing_is_recreated(checkout, purpose):
    setup_environment.main("lint")
    interrupt("segment", "Collecting torch\nInstalling collected packages: torch\n")
    setup_environment.main(purpose)
    assert groups(checkout) == ["lint", purpose]
    assert sum("venv" in command for command in checkout) == 2
    assert setup_environment.read_state()["in_progress"] is None


def test_environment_interrupted_while_downloading_is_kept(checkout):
    setup_environment.main("lint")
    interrupt("segment", "Collecting torch\n  Downloading torch.whl\n")
    setup_environment.main("lint")
    setup_environment.main("segment")
    assert groups(checkout) == ["lint", "segment"]
    assert sum("venv" in command for command in checkout) == 1


def test_venv_not_created_by_make_is_not_changed(checkout):
    setup_environment.ENVIRONMENT.mkdir()
    (setup_environment.ENVIRONMENT / "precious").touch()
    with pytest.raises(setup_environment.SetupError, match="not created by `make`"):
        setup_environment.main("lint")
    assert (setup_environment.ENVIRONMENT / "precious").exists()


def test_low_disk_space_is_reported_before_any_change(checkout, monkeypatch):
    monkeypatch.setattr(setup_environment, "TORCH_GB", 1e9)
    with pytest.raises(setup_environment.SetupError, match="free up disk space"):
        setup_environment.main("segment")
    assert not setup_environment.ENVIRONMENT.exists()


def test_missing_slicer_core_is_reported_once_and_the_rest_is_installed(checkout, monkeypatch, capsys):
    def run(self, what, command):
        checkout.append(command)
        setup_environment.LOG.write_text("ERROR: No matching distribution found for slicer-core==5.12.4.0\n")
        if command[-1].endswith(":slicer"):
            raise setup_environment.SetupError("pip failed")

    monkeypatch.setattr(setup_environment.Steps, "run", run)
    setup_environment.main("test")
    assert "will be skipped" in capsys.readouterr().out
    setup_environment.main("test")
    assert groups(checkout) == ["test", "slicer"]


def test_slicer_core_without_system_libraries_is_reported_and_the_rest_is_installed(checkout, monkeypatch, capsys):
    def run(self, what, command):
        checkout.append(command)
        if "import slicer" in command:
            setup_environment.LOG.write_text("ImportError: libEGL.so.1: cannot open shared object file\n")
            raise setup_environment.SetupError("failed")

    monkeypatch.setattr(setup_environment.Steps, "run", run)
    setup_environment.main("test")
    output = capsys.readouterr().out
    assert "libEGL.so.1" in output and "sudo apt install libegl1" in output
    assert groups(checkout) == ["test", "slicer"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("Temporary failure in name resolution", "check network and proxy"),
        ("something new", "see the last lines"),
    ],
)
def test_failing_step_prints_its_cause_and_its_log(tmp_path, monkeypatch, output, words):
    monkeypatch.setattr(setup_environment, "ROOT", tmp_path)
    monkeypatch.setattr(setup_environment, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(setup_environment, "LOG", tmp_path / "setup.log")
    command = [sys.executable, "-c", f"import sys; print({output!r}); sys.exit(1)"]
    with pytest.raises(setup_environment.SetupError) as error:
        setup_environment.Steps(1).run("installing ruff", command)
    sentence, _, log = str(error.value).partition("\n")
    assert words in sentence and str(tmp_path / "setup.log") in sentence
    assert log == output


def test_state_file_is_written_atomically(checkout):
    setup_environment.main("lint")
    assert json.loads(setup_environment.STATE_FILE.read_text())["in_progress"] is None
    assert not list(setup_environment.ENVIRONMENT.glob("*.new"))
