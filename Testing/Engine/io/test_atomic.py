"""Atomic output of files and folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from locations import REPOSITORY
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write, check_writable, remove_unfinished

LIBRARY = REPOSITORY / "SpleenSmoothSeg"


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a separate disk with room for one small file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to mount a small disk (root on Linux)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_write_of_file_appears_at_the_end(tmp_path):
    path = tmp_path / "result.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["result.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UserError])
def test_atomic_write_keeps_the_old_file_on_error(tmp_path, error):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["result.txt"]


def test_atomic_write_keeps_the_old_folder_on_error(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    with pytest.raises(ValueError), atomic_write(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("half")
        raise ValueError
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["old"]


def test_atomic_write_replaces_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    with atomic_write(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["new"]


def test_atomic_write_restores_the_old_folder_if_rename_fails(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    rename = os.rename

    def refuse_the_second(source, target, calls=[]):  # noqa: B006
        calls.append(source)
        if len(calls) == 2:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    with pytest.raises(UserError, match="permission denied"), atomic_write(tmp_path / "folder") as temporary:
        temporary.mkdir()
        monkeypatch.setattr(os, "rename", refuse_the_second)
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["old"]


def test_atomic_write_never_replaces_a_folder_by_a_file(tmp_path):
    (tmp_path / "ct.nii.gz").mkdir()
    (tmp_path / "ct.nii.gz" / "precious").write_text("old")
    with pytest.raises(UserError, match="cannot be written"), atomic_write(tmp_path / "ct.nii.gz") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["ct.nii.gz"]
    assert names(tmp_path / "ct.nii.gz") == ["precious"]


def test_atomic_write_never_replaces_a_file_by_a_folder(tmp_path):
    (tmp_path / "model").write_text("old")
    with pytest.raises(UserError, match="cannot be written"), atomic_write(tmp_path / "model") as temporary:
        temporary.mkdir()
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model").read_text() == "old"


def test_atomic_write_creates_parent_folders(tmp_path):
    with atomic_write(tmp_path / "a" / "b" / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b" / "file").read_text() == "new"


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nii.gz", ".png", ""])
def test_atomic_write_temporary_name_keeps_the_suffix(tmp_path, suffix):
    with atomic_write(tmp_path / f"scan 1.2.840{suffix}") as temporary:
        temporary.write_text("new")
        assert temporary.name.endswith(suffix)
        assert temporary.parent == tmp_path


@pytest.mark.parametrize("name", ["a" * 250, "é" * 120 + ".seg.nrrd", "Ärzte & Söhne $1 'x'.nii.gz", "日本 ct.nrrd"])
def test_atomic_write_accepts_any_file_name(tmp_path, name):
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert len(names(tmp_path)) == 1
    assert (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize("place", ["file/below", "file/far/below", "n" * 300, "n" * 300 + "/below"])
def test_atomic_write_to_impossible_path_raises_user_error(tmp_path, place):
    (tmp_path / "file").write_text("old")
    with (
        pytest.raises(UserError, match=r'^".*" cannot be written \(.+\); .+\.$'),
        atomic_write(tmp_path / place) as to,
    ):
        to.write_text("new")
    assert names(tmp_path) == ["file"]


def test_atomic_write_on_full_disk_keeps_the_old_file(full_disk):
    path = full_disk / "result.bin"
    path.write_bytes(b"old")
    with pytest.raises(UserError, match="no space left on device.*free up disk space"), atomic_write(path) as temporary:
        temporary.write_bytes(bytes(1_000_000))
    assert names(full_disk) == ["result.bin"]
    assert path.read_bytes() == b"old"


def test_killed_process_keeps_the_old_file(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    die = "import os, sys; from SpleenSmoothSegLib.io.atomic import atomic_write\n"
    die += "with atomic_write(sys.argv[1]) as temporary: temporary.write_text('half'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", die, str(path)], cwd=LIBRARY).returncode == 9
    assert path.read_text() == "old"


def test_remove_unfinished_before_immediate_exit(tmp_path):
    end = """
import os, sys
from pathlib import Path
from SpleenSmoothSegLib.io.atomic import remove_unfinished, atomic_write
with atomic_write(sys.argv[1] + "/done") as temporary: temporary.write_text("whole")
with atomic_write(sys.argv[1] + "/file") as one, atomic_write(sys.argv[1] + "/folder") as other:
    one.write_text("half")
    other.mkdir()
    (other / "part").write_text("half")
    remove_unfinished()
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", end, str(tmp_path)], cwd=LIBRARY).returncode == 9
    assert names(tmp_path) == ["done"]


def test_remove_unfinished_keeps_finished_files(tmp_path):
    with atomic_write(tmp_path / "result.txt") as temporary:
        temporary.write_text("whole")
    temporary.write_text("of another program")
    remove_unfinished()
    assert names(tmp_path) == sorted([temporary.name, "result.txt"])


def test_check_writable_creates_an_empty_folder(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert names(tmp_path / "new" / "folder") == []


def test_check_writable_of_a_file_raises_user_error(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "file")


def test_check_writable_on_full_disk_raises_user_error(full_disk):
    (full_disk / "filler").write_bytes(bytes(64 * 1024))
    with pytest.raises(UserError, match="no space left"):
        check_writable(full_disk)
