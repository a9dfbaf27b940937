"""The CMake files name every file of both modules, so that an installed extension misses nothing.

The first half reads the files as text; in the second, CMake configures and installs the extension against
``stub_slicer``.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from locations import REPOSITORY

ROOT = REPOSITORY
STUB = ROOT / "Testing" / "stub_slicer"
MODULES = ["SpleenSmoothSeg", "SpleenSmoothSegTraining"]
COMMAND_LINE_FOLDER = "CommandLine"
# The first is read by CMake; the second links to files that an installed extension does not have.
NOT_INSTALLED = {"CMakeLists.txt", "README.md"}
INSTALLED = "lib/Slicer-stub/qt-scripted-modules"
ICONS = ["Resources/SpleenSmoothSeg.png", *(f"{module}/Resources/Icons/{module}.png" for module in MODULES)]
PUBLISHED_FILES = "https://raw.githubusercontent.com/SpleenSmoothSeg/SpleenSmoothSeg/main/"


# ---- read as text


@pytest.mark.parametrize("module", MODULES)
def test_every_file_of_a_module_is_listed_in_its_cmake_file(module):
    unlisted = files_of(ROOT / module) - listed_files(ROOT / module)
    assert not unlisted, f"add to {module}/CMakeLists.txt: {sorted(unlisted)}"


@pytest.mark.parametrize("module", MODULES)
def test_every_file_listed_for_a_module_exists(module):
    missing = listed_files(ROOT / module) - files_of(ROOT / module)
    assert not missing, f"{module}/CMakeLists.txt lists missing or ignored files: {sorted(missing)}"


@pytest.mark.parametrize("module", MODULES)
def test_module_folder_has_no_other_script_that_slicer_would_load(module):
    """Slicer loads every .py file directly in a module folder, in the source tree and when installed."""
    assert {path.name for path in (ROOT / module).glob("*.py")} == {f"{module}.py"}


def test_new_and_deleted_files_are_detected(tmp_path):
    module = copy_of_repository(tmp_path) / "SpleenSmoothSeg"
    assert files_of(module) == listed_files(module)
    (module / "SpleenSmoothSegLib" / "brand_new.py").touch()
    assert files_of(module) - listed_files(module) == {"SpleenSmoothSegLib/brand_new.py"}
    (module / "SpleenSmoothSegLib" / "errors.py").unlink()
    assert listed_files(module) - files_of(module) == {"SpleenSmoothSegLib/errors.py"}


@pytest.mark.parametrize("icon", ICONS)
def test_icons_are_128_pixels_wide_and_high(icon):
    header = (ROOT / icon).read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (128, 128)


# ---- run by CMake


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The build folder of the extension, configured against the stub and installed into ``installed``."""
    folder = tmp_path_factory.mktemp("build")
    configured = cmake("-S", ROOT, "-B", folder, f"-DSlicer_DIR={STUB}", "-DBUILD_TESTING=ON")
    assert configured.returncode == 0, configured.stdout
    assert "CMake Warning" not in configured.stdout, configured.stdout
    installed = cmake("--install", folder, "--prefix", folder / "installed")
    assert installed.returncode == 0, installed.stdout
    return folder


@pytest.mark.slow
def test_extension_metadata_is_complete(build):
    extension = description(build)
    assert extension["NAME"] == "SpleenSmoothSeg"
    assert extension["CATEGORY"] == "Segmentation"
    assert extension["DEPENDS"] == "PyTorch"
    assert extension["HOMEPAGE"] == "https://github.com/SpleenSmoothSeg/SpleenSmoothSeg"
    assert extension["modules"] == ";".join(MODULES)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["ICONURL", "SCREENSHOTURLS"])
def test_pictures_of_the_extensions_catalog_are_in_the_repository(build, field):
    for url in description(build)[field].split():
        assert url.startswith(PUBLISHED_FILES)
        assert (ROOT / url.removeprefix(PUBLISHED_FILES)).is_file(), url


@pytest.mark.slow
def test_every_module_file_registers_its_test(build):
    expected = [f"{module}.py" for module in MODULES if (ROOT / module / f"{module}.py").exists()]
    assert description(build)["unittests"] == ";".join(expected)


@pytest.mark.slow
def test_installed_extension_has_every_file(build):
    expected = {file for module in MODULES for file in files_of(ROOT / module)}
    assert files_of(build / "installed" / INSTALLED) == expected


@pytest.mark.slow
@pytest.mark.parametrize("script", ["segment.py", "train.py"])
def test_installed_command_line_finds_its_libraries(build, script):
    result = run_installed(build, script, "--help")
    assert result.returncode == 0, result.stderr
    assert "usage" in result.stdout.lower()


@pytest.mark.slow
def test_installed_extension_segments_with_its_model(build):
    ct = ROOT / "SpleenSmoothSeg" / "Resources" / "SampleData" / "ct.nii.gz"
    result = run_installed(build, "segment.py", ct, "-o", "spleen.nii.gz", "--device", "cpu", "--no-overlay")
    assert result.returncode == 0, result.stderr
    assert (build / "spleen.nii.gz").is_file()


@pytest.mark.slow
def test_configure_fails_if_a_listed_file_is_missing(tmp_path):
    copy = copy_of_repository(tmp_path / "repository")
    (copy / "SpleenSmoothSeg" / "SpleenSmoothSegLib" / "errors.py").unlink()
    result = cmake("-S", copy, "-B", tmp_path / "build", f"-DSlicer_DIR={STUB}")
    assert result.returncode != 0
    assert "SpleenSmoothSegLib/errors.py" in result.stdout


# ---- helpers


def listed_files(module: Path) -> set[str]:
    """The files that a module's CMakeLists.txt names, relative to the module."""
    lists = cmake_lists((module / "CMakeLists.txt").read_text())
    names = [name for variable, values in lists.items() if variable != "MODULE_NAME" for name in values]
    assert len(names) == len(set(names)), "a file is listed twice"
    return set(names)


def cmake_lists(text: str) -> dict[str, list[str]]:
    """The ``set(VARIABLE value ...)`` of a CMake file, with ``${MODULE_NAME}`` replaced."""
    code = re.sub(r"#.*", "", text)
    lists = {name: values.split() for name, values in re.findall(r"\bset\(\s*(\w+)\s+([^)]*)\)", code)}
    [module_name] = lists["MODULE_NAME"]
    return {name: [value.replace("${MODULE_NAME}", module_name) for value in values] for name, values in lists.items()}


def files_of(folder: Path) -> set[str]:
    """The files under a folder that git has or would add (without git: all files), less NOT_INSTALLED."""
    command = ["git", "-C", folder, "ls-files", "-z", "-co", "--exclude-standard"]
    git = subprocess.run(command, capture_output=True, encoding="utf-8")
    if git.returncode == 0:
        names = [name for name in git.stdout.split("\0") if name and (folder / name).exists()]
    else:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return {name for name in names if "__pycache__" not in name} - NOT_INSTALLED


def copy_of_repository(folder: Path) -> Path:
    """The CMake files and both modules, as links, in another folder outside of any repository."""
    for module in MODULES:
        for file in [*files_of(ROOT / module), "CMakeLists.txt"]:
            copy = folder / module / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(ROOT / module / file)
    shutil.copy(ROOT / "CMakeLists.txt", folder)
    return folder


def description(build: Path) -> dict[str, str]:
    lines = (build / "extension.txt").read_text().splitlines()
    return {field: value for field, _, value in (line.partition(" ") for line in lines)}


def run_installed(build: Path, script: str, *arguments) -> subprocess.CompletedProcess:
    """Run a command line of the installed extension, without access to the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, build / "installed" / INSTALLED / COMMAND_LINE_FOLDER / script, *arguments]
    return subprocess.run(command, cwd=build, env=environment, capture_output=True, encoding="utf-8")


def cmake(*arguments) -> subprocess.CompletedProcess:
    """Run CMake, that of the environment if it has one; ``stdout`` includes its errors."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("cmake", path=folders)
    if program is None:
        pytest.skip("cmake is not installed")
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        pytest.skip("CMake configures an extension only where there is a C++ compiler")
    command, both = [program, *map(str, arguments)], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, encoding="utf-8", **both)
