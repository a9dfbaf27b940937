"""What Segment and Compare need of Python: told, asked for and installed on first use, on stand-ins of pip's doors."""

import importlib.metadata
import os
import re
import subprocess
import sys
import types
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")

pytestmark = pytest.mark.slicer

SHIPPED = {"SimpleITK": "2.5.7", "numpy": "2.4.6", "scipy": "1.17.1", "pip": "26.1.1"}  # with Slicer 5.12
TORCH = {"torch": "2.9.0+cu130", "torchvision": "0.24.0"}
OTHERS = {"segmentation-models-pytorch": "0.6.0", "safetensors": "0.8.0"}


class SlicersPython:
    """A Python in which packages are missing, the doors through which Slicer installs some, and a user who answers."""

    def __init__(self, monkeypatch):
        import slicer

        self.installed, self.answer, self.questions = dict(SHIPPED), True, []
        self.doors, self.pins, self.failing = [], [], {}
        monkeypatch.setattr(importlib.metadata, "version", self.version)
        monkeypatch.setattr(importlib.metadata, "distributions", self.distributions)
        monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda application: False)
        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", self.confirm)
        monkeypatch.setattr(slicer.util, "pip_install", self.pipInstall)
        self.offer(monkeypatch, "slicer.packaging", pip_ensure=self.pipEnsure)
        self.offer(monkeypatch, "PyTorchUtils", PyTorchUtilsLogic=lambda: self)

    @staticmethod
    def offer(monkeypatch, name, **content):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    def version(self, name):
        if name not in self.installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.installed[name]

    def distributions(self):
        return [types.SimpleNamespace(metadata={"Name": name}, version=v) for name, v in self.installed.items()]

    def confirm(self, text, *title, **options):
        self.questions.append(text)
        return self.answer

    def installTorch(self, askConfirmation=True, **versions):
        assert not askConfirmation, "the user would be asked twice"
        assert versions == {"torchVersionRequirement": ">=2.4", "torchvisionVersionRequirement": ">=0.19"}
        self.open("PyTorchUtils", TORCH)

    def pipEnsure(self, requirements, prompt_install=True, **options):
        assert not prompt_install, "the user would be asked twice"
        self.open("pip_ensure", {name: OTHERS.get(name, "1.0") for name in map(nameOf, requirements)})

    def pipInstall(self, requirements):
        self.open("pip_install", {name: OTHERS.get(name, "1.0") for name in map(nameOf, requirements)})

    def open(self, door, packages):
        self.doors.append(door)
        self.pins.append(pinned())
        print(f"Collecting {', '.join(packages)}")
        if door in self.failing:
            raise self.failing[door]
        self.installed.update(packages)


def nameOf(requirement):
    return re.match(r"[\w-]+", requirement).group()


def pinned():
    """The constraints that any pip would read that is started now."""
    address = os.environ["PIP_CONSTRAINT"]
    assert " " not in address, "pip would take it for two"
    return Path(urllib.request.url2pathname(urllib.parse.urlparse(address).path)).read_text(encoding="utf-8").split()


@pytest.fixture
def python(slicer_app, monkeypatch):
    return SlicersPython(monkeypatch)


@pytest.fixture
def segmenting(python):
    from SpleenSmoothSegPanels.shared.packages import forSegmenting

    return forSegmenting()


@pytest.fixture
def refused(segmenting):
    """Ensures the packages, which must fail; the error."""
    from SpleenSmoothSegPanels.shared.packages import NotInstalled

    def ensure():
        with pytest.raises(NotInstalled, match=r"^[^\n]+\.$") as refusal:
            segmenting.ensure()
        return refusal.value

    return ensure


def test_nobody_is_asked_and_no_network_is_used_when_all_is_there(python, segmenting, offline):
    python.installed.update(TORCH | OTHERS)

    segmenting.ensure()

    assert segmenting.missing() == []
    assert not python.questions and not python.doors


def test_one_question_says_what_why_and_how_large_before_anything_is_installed(python, refused):
    python.answer = False

    sentence = str(refused())

    assert "Nothing was installed" in sentence
    assert not python.doors
    (question,) = python.questions
    for word in ("torch", "torchvision", "segmentation-models-pytorch", "safetensors", "GB", "NVIDIA", "not changed"):
        assert word in question


def test_torch_comes_through_the_pytorch_extension_and_the_rest_through_slicer(python, segmenting):
    segmenting.ensure()

    assert python.doors == ["PyTorchUtils", "pip_ensure"]
    assert len(python.questions) == 1
    assert segmenting.missing() == []


def test_a_torch_that_is_there_is_not_downloaded_again(python, segmenting):
    python.installed.update(TORCH)

    segmenting.ensure()

    assert python.doors == ["pip_ensure"]


def test_an_older_slicer_installs_through_pip_install(python, segmenting, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)  # its import fails

    segmenting.ensure()

    assert python.doors == ["PyTorchUtils", "pip_install"]


def test_without_the_pytorch_extension_the_user_is_told_how_to_get_it(python, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)

    sentence = str(refused())

    assert "Extensions Manager" in sentence and "PyTorch extension" in sentence
    assert not python.questions and not python.doors


def test_a_torch_that_is_too_old_is_left_alone_and_named(python, refused):
    python.installed.update({"torch": "1.13.1", "torchvision": "0.14.1"})

    sentence = str(refused())

    assert "1.13.1" in sentence and "uninstall" in sentence
    assert not python.doors


def test_tests_never_ask_and_never_install(python, refused, monkeypatch):
    import slicer

    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda application: True)

    assert "torch" in str(refused())
    assert not python.questions and not python.doors


def test_every_installer_is_bound_to_the_versions_that_are_there(python, segmenting):
    segmenting.ensure()

    for pins in python.pins:
        assert {"SimpleITK==2.5.7", "numpy==2.4.6", "scipy==1.17.1"} <= set(pins)
        assert not any(pin.startswith("pip==") for pin in pins)  # light-the-torch brings its own
    assert "torch==2.9.0+cu130" in python.pins[1]  # the second one must not exchange what the first has brought
    assert "PIP_CONSTRAINT" not in os.environ


def test_the_constraints_of_the_user_hold_too(python, segmenting, monkeypatch):
    monkeypatch.setenv("PIP_CONSTRAINT", "/of/the/user.txt")
    seen = []
    monkeypatch.setattr(python, "open", lambda door, packages: seen.append(os.environ["PIP_CONSTRAINT"].split()))

    with pytest.raises(Exception, match="could not be installed"):
        segmenting.ensure()

    assert all(constraints[0] == "/of/the/user.txt" and len(constraints) == 2 for constraints in seen)
    assert os.environ["PIP_CONSTRAINT"] == "/of/the/user.txt"


def test_a_broken_distribution_is_not_pinned(python, segmenting):
    python.installed.update({"broken": None, "odd": "no version"})

    segmenting.ensure()

    assert not any("broken" in pin or "odd" in pin for pin in python.pins[0])


@pytest.mark.parametrize("door", ["PyTorchUtils", "pip_ensure"])
def test_a_failing_installer_gives_a_sentence_and_its_log(python, refused, door):
    python.failing[door] = subprocess.CalledProcessError(1, "pip")

    error = refused()

    assert "could not be installed" in str(error)
    assert "Collecting" in error.log and "CalledProcessError" in error.log
    assert "PIP_CONSTRAINT" not in os.environ


def test_without_torch_the_rest_is_not_installed(python, refused):
    python.failing["PyTorchUtils"] = RuntimeError("no network")

    refused()

    assert python.doors == ["PyTorchUtils"]
    assert python.installed == SHIPPED


def test_a_torch_that_only_slicer_itself_cannot_import_counts_as_installed(python, segmenting):
    def installs_and_fails(door, packages, open_=python.open):
        open_(door, packages)
        if door == "PyTorchUtils":
            raise ImportError("DLL load failed")

    python.open = installs_and_fails

    segmenting.ensure()

    assert python.doors == ["PyTorchUtils", "pip_ensure"]


def test_comparing_needs_only_what_measures_surfaces(python):
    from SpleenSmoothSegPanels.shared.packages import forComparing

    comparing = forComparing()
    assert comparing.missing() == ["surface-distance-based-measures"]

    comparing.ensure()

    assert python.doors == ["pip_ensure"]
    assert "torch" not in python.questions[0]


def test_the_requirements_pin_nothing(slicer_app):
    from SpleenSmoothSegPanels.shared.packages import RESOURCES

    for path in RESOURCES.glob("requirements*.txt"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert lines
        assert all(re.fullmatch(r"[\w-]+(>=[\d.]+)?", line) for line in lines)


def wheel(folder, name, version, requires=()):
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def test_pip_itself_keeps_numpy_where_a_package_wants_another(slicer_app, tmp_path):
    """Real pip, without a network: the constraints must reach it, and it must heed them."""
    from SpleenSmoothSegPanels.shared.packages import _nothingReplaced

    wheel(tmp_path, "greedy", "1.0", ["numpy<1"])
    wheel(tmp_path, "numpy", "0.1")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--find-links", tmp_path, "greedy"]

    free = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    with _nothingReplaced():
        bound = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert free.returncode == 0 and "numpy-0.1" in free.stdout
    assert bound.returncode != 0 and "constraint" in (bound.stdout + bound.stderr).lower()
