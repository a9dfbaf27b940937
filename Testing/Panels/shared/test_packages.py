"""Python packages of Segment and Compare: installed on first use, after a question; the installers are stand-ins."""

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
    """A Python without some packages, Slicer's three installers, and a user who answers the question."""

    def __init__(self, monkeypatch):
        import slicer

        self.installed, self.answer, self.questions = dict(SHIPPED), True, []
        self.installers, self.pins, self.failing = [], [], {}
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
        assert not askConfirmation, "a second question"
        assert versions == {"torchVersionRequirement": ">=2.4", "torchvisionVersionRequirement": ">=0.19"}
        self.install("PyTorchUtils", TORCH)

    def pipEnsure(self, requirements, prompt_install=True, **options):
        assert not prompt_install, "a second question"
        self.install("pip_ensure", {name: OTHERS.get(name, "1.0") for name in map(nameOf, requirements)})

    def pipInstall(self, requirements):
        self.install("pip_install", {name: OTHERS.get(name, "1.0") for name in map(nameOf, requirements)})

    def install(self, installer, packages):
        self.installers.append(installer)
        self.pins.append(pinned())
        print(f"Collecting {', '.join(packages)}")
        if installer in self.failing:
            raise self.failing[installer]
        self.installed.update(packages)


def nameOf(requirement):
    return re.match(r"[\w-]+", requirement).group()


def pinned():
    """The constraints that a pip started now would read."""
    address = os.environ["PIP_CONSTRAINT"]
    assert " " not in address, "pip would split it"
    return Path(urllib.request.url2pathname(urllib.parse.urlparse(address).path)).read_text(encoding="utf-8").split()


@pytest.fixture
def python(slicer_app, monkeypatch):
    return SlicersPython(monkeypatch)


@pytest.fixture
def segmenting(python):
    from SpleenSmoothSegPanels.shared.packages import forSegmenting

    return forSegmenting()


@pytest.fixture
def failed_ensure(segmenting):
    """Calls ensure(), which must raise; returns the error."""
    from SpleenSmoothSegPanels.shared.packages import NotInstalled

    def ensure():
        with pytest.raises(NotInstalled, match=r"^[^\n]+\.$") as raised:
            segmenting.ensure()
        return raised.value

    return ensure


def test_installed_packages_need_no_question_and_no_network(python, segmenting, offline):
    python.installed.update(TORCH | OTHERS)

    segmenting.ensure()

    assert segmenting.missing() == []
    assert not python.questions and not python.installers


def test_question_lists_packages_purpose_and_size_before_the_installation(python, failed_ensure):
    python.answer = False

    sentence = str(failed_ensure())

    assert "Nothing was installed" in sentence
    assert not python.installers
    (question,) = python.questions
    for word in ("torch", "torchvision", "segmentation-models-pytorch", "safetensors", "GB", "NVIDIA", "not changed"):
        assert word in question


def test_torch_is_installed_by_the_pytorch_extension_and_the_rest_by_slicer(python, segmenting):
    segmenting.ensure()

    assert python.installers == ["PyTorchUtils", "pip_ensure"]
    assert len(python.questions) == 1
    assert segmenting.missing() == []


def test_installed_torch_is_not_installed_again(python, segmenting):
    python.installed.update(TORCH)

    segmenting.ensure()

    assert python.installers == ["pip_ensure"]


def test_slicer_without_packaging_uses_pip_install(python, segmenting, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)  # its import fails

    segmenting.ensure()

    assert python.installers == ["PyTorchUtils", "pip_install"]


def test_missing_pytorch_extension_is_named_with_the_remedy(python, failed_ensure, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)

    sentence = str(failed_ensure())

    assert "Extensions Manager" in sentence and "PyTorch extension" in sentence
    assert not python.questions and not python.installers


def test_old_torch_is_named_and_not_replaced(python, failed_ensure):
    python.installed.update({"torch": "1.13.1", "torchvision": "0.14.1"})

    sentence = str(failed_ensure())

    assert "1.13.1" in sentence and "uninstall" in sentence
    assert not python.installers


def test_nothing_is_asked_or_installed_during_tests(python, failed_ensure, monkeypatch):
    import slicer

    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda application: True)

    assert "torch" in str(failed_ensure())
    assert not python.questions and not python.installers


def test_every_installer_is_constrained_to_the_installed_versions(python, segmenting):
    segmenting.ensure()

    for pins in python.pins:
        assert {"SimpleITK==2.5.7", "numpy==2.4.6", "scipy==1.17.1"} <= set(pins)
        assert not any(pin.startswith("pip==") for pin in pins)  # light-the-torch needs its own version
    assert "torch==2.9.0+cu130" in python.pins[1]  # the second installer must not replace it
    assert "PIP_CONSTRAINT" not in os.environ


def test_constraints_of_the_user_are_kept(python, segmenting, monkeypatch):
    monkeypatch.setenv("PIP_CONSTRAINT", "/of/the/user.txt")
    seen = []
    monkeypatch.setattr(
        python, "install", lambda installer, packages: seen.append(os.environ["PIP_CONSTRAINT"].split())
    )

    with pytest.raises(Exception, match="could not be installed"):
        segmenting.ensure()

    assert all(constraints[0] == "/of/the/user.txt" and len(constraints) == 2 for constraints in seen)
    assert os.environ["PIP_CONSTRAINT"] == "/of/the/user.txt"


def test_broken_distribution_is_not_pinned(python, segmenting):
    python.installed.update({"broken": None, "odd": "no version"})

    segmenting.ensure()

    assert not any("broken" in pin or "odd" in pin for pin in python.pins[0])


@pytest.mark.parametrize("installer", ["PyTorchUtils", "pip_ensure"])
def test_failing_installer_gives_an_error_with_its_log(python, failed_ensure, installer):
    python.failing[installer] = subprocess.CalledProcessError(1, "pip")

    error = failed_ensure()

    assert "could not be installed" in str(error)
    assert "Collecting" in error.log and "CalledProcessError" in error.log
    assert "PIP_CONSTRAINT" not in os.environ


def test_other_packages_are_not_installed_without_torch(python, failed_ensure):
    python.failing["PyTorchUtils"] = RuntimeError("no network")

    failed_ensure()

    assert python.installers == ["PyTorchUtils"]
    assert python.installed == SHIPPED


def test_torch_that_fails_to_import_in_slicer_counts_as_installed(python, segmenting):
    def install_and_fail(installer, packages, install=python.install):
        install(installer, packages)
        if installer == "PyTorchUtils":
            raise ImportError("DLL load failed")

    python.install = install_and_fail

    segmenting.ensure()

    assert python.installers == ["PyTorchUtils", "pip_ensure"]


def test_comparing_needs_only_the_surface_distance_package(python):
    from SpleenSmoothSegPanels.shared.packages import forComparing

    comparing = forComparing()
    assert comparing.missing() == ["surface-distance-based-measures"]

    comparing.ensure()

    assert python.installers == ["pip_ensure"]
    assert "torch" not in python.questions[0]


def test_requirements_have_no_pins(slicer_app):
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


def test_pip_keeps_the_installed_numpy(slicer_app, tmp_path):
    """Real pip, without a network: the constraints must reach it."""
    from SpleenSmoothSegPanels.shared.packages import _pinned

    wheel(tmp_path, "greedy", "1.0", ["numpy<1"])
    wheel(tmp_path, "numpy", "0.1")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--find-links", tmp_path, "greedy"]

    free = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    with _pinned():
        bound = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert free.returncode == 0 and "numpy-0.1" in free.stdout
    assert bound.returncode != 0 and "constraint" in (bound.stdout + bound.stderr).lower()
