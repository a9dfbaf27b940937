"""Python packages that a part of the module needs: told, asked for and installed on first use, never at the start."""

import contextlib
import importlib
import importlib.metadata
import os
import re
import sys
import tempfile
import traceback
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

RESOURCES = Path(__file__).resolve().parents[2] / "Resources"
TORCH = {"torch": ">=2.4", "torchvision": ">=0.19"}  # from one build: installed together or not at all
TOOLS = ("pip", "setuptools", "wheel")  # they install, and nothing in Slicer runs on them


class NotInstalled(UserError):
    """Packages are missing still; ``log`` is what the installer said, "" if it was not started."""

    def __init__(self, sentence: str, log: str = ""):
        super().__init__(sentence)
        self.log = log


class Packages:
    """What one part of the module needs of Python.

    Args:
        purpose: what they are for, as a sentence begins.
        requirements: a requirements.txt of them.
        size: a sentence on what is downloaded.
        torch: whether torch and torchvision are needed, too.
    """

    def __init__(self, purpose: str, requirements: Path, size: str, torch: bool = False):
        self._purpose, self._requirements, self._size, self._torch = purpose, requirements, size, torch

    def missing(self) -> list[str]:
        """The requirements that are not met. Nothing is imported for it and no other machine is asked."""
        importlib.invalidate_caches()
        needed = [name + version for name, version in TORCH.items() if self._torch]
        lines = self._requirements.read_text(encoding="utf-8").splitlines()
        needed += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        return [requirement for requirement in needed if not _isMet(requirement)]

    def ensure(self) -> None:
        """Return once all is there; where it is not, ask the user and install it.

        Whatever Slicer and other extensions have installed stays as it is. Raises NotInstalled.
        """
        missing = self.missing()
        if not missing:
            return
        names = ", ".join(_name(requirement) for requirement in missing)
        if slicer.app.testingEnabled():
            raise NotInstalled(
                _("{purpose} needs {names}; nothing is installed during tests.").format(
                    purpose=self._purpose, names=names
                )
            )
        torch = [requirement for requirement in missing if _name(requirement) in TORCH]
        installer = _torchInstaller(self._purpose) if torch else None
        if not slicer.util.confirmOkCancelDisplay(self._question(names), _("Install Python packages")):
            raise NotInstalled(
                _("Nothing was installed. {purpose} needs {names}; click again to install them.").format(
                    purpose=self._purpose, names=names
                )
            )
        with _recorded() as log:
            others = [requirement for requirement in missing if requirement not in torch]
            if torch:
                _attempt(lambda: _installTorch(installer), log)
            if others and not any(requirement in torch for requirement in self.missing()):
                _attempt(lambda: _install(others), log)
        if still := self.missing():
            raise NotInstalled(
                _(
                    "{names} could not be installed, and what was here is as it was; check the internet connection "
                    "and the space on the disk, then click again."
                ).format(names=", ".join(_name(requirement) for requirement in still)),
                log.text,
            )

    def _question(self, names: str) -> str:
        return _(
            "{purpose} needs Python packages that are not in this Slicer yet: {names}.\n\n{size}\n\n"
            "They are downloaded once and stay in this Slicer; packages that are in it already are not changed, and "
            "nothing is sent. Install them now?"
        ).format(purpose=self._purpose, names=names, size=self._size)


def forSegmenting() -> Packages:
    # Measured for torch 2.15, Linux: 0.23 GB of wheels for the CPU and 2.9 GB for CUDA; 0.9 and 5.5 GB installed.
    size = _(
        "About 0.3 GB are downloaded and take 1 GB on the disk, or about 3 GB and 6 GB where PyTorch finds an NVIDIA "
        "graphics card. PyTorch (torch, torchvision) computes; the others hold the network and read its weights."
    )
    return Packages(_("Segmenting"), RESOURCES / "requirements.txt", size, torch=True)


def forComparing() -> Packages:
    size = _("Less than 1 MB is downloaded. They measure distances between surfaces as the field does.")
    return Packages(_("Comparing"), RESOURCES / "requirements-compare.txt", size)


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement).group()


def _isMet(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        return wanted.specifier.contains(importlib.metadata.version(wanted.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def _torchInstaller(purpose: str):
    """The logic of the PyTorch extension; raises NotInstalled where only the user can help."""
    for name, version in TORCH.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            here = importlib.metadata.version(name)
            if not _isMet(name + version):
                raise NotInstalled(
                    _(
                        "{purpose} needs {name} {version}, and {here} is installed; uninstall it in the module PyTorch "
                        "Utils, restart Slicer and click again."
                    ).format(purpose=purpose, name=name, version=version, here=here)
                )
    try:
        import PyTorchUtils
    except ImportError as error:
        raise NotInstalled(
            _(
                "{purpose} needs PyTorch, which the PyTorch extension installs; get that extension in View > "
                "Extensions Manager, restart Slicer and click again."
            ).format(purpose=purpose)
        ) from error
    return PyTorchUtils.PyTorchUtilsLogic()


def _installTorch(installer) -> None:
    installer.installTorch(
        askConfirmation=False,
        torchVersionRequirement=TORCH["torch"],
        torchvisionVersionRequirement=TORCH["torchvision"],
    )


def _install(requirements: list[str]) -> None:
    try:
        from slicer.packaging import pip_ensure
    except ImportError:  # Slicer 5.10
        slicer.util.pip_install(requirements)
    else:
        pip_ensure(requirements, prompt_install=False, requester=_("Spleen Smooth Segmentation"))


def _attempt(step, log) -> None:
    """What counts is what is there afterwards: PyTorchUtils imports torch at its end, which may fail in Slicer."""
    try:
        with _nothingReplaced():
            step()
    except Exception:
        log.write(traceback.format_exc())


@contextlib.contextmanager
def _nothingReplaced():
    """Each pip that starts meanwhile, also in another extension's code, keeps the versions that are installed."""
    with tempfile.TemporaryDirectory(prefix="SpleenSmoothSeg-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_pins()) + "\n", encoding="utf-8")
        before = os.environ.get("PIP_CONSTRAINT")
        # As an address: pip takes a path with a space in it for two.
        os.environ["PIP_CONSTRAINT"] = " ".join(filter(None, [before, constraints.as_uri()]))
        try:
            yield
        finally:
            if before is None:
                del os.environ["PIP_CONSTRAINT"]
            else:
                os.environ["PIP_CONSTRAINT"] = before


def _pins() -> list[str]:
    from packaging.version import InvalidVersion, Version

    pins = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        with contextlib.suppress(InvalidVersion, TypeError):  # a broken installation has no version
            pins.setdefault(re.sub(r"[-_.]+", "-", name).lower(), f"{name}=={Version(distribution.version)}")
    return [pin for name, pin in pins.items() if name not in TOOLS]


@contextlib.contextmanager
def _recorded():
    """Keep what is printed meanwhile: that is where Slicer puts each line of an installer."""
    record = _Record(sys.stdout)
    with contextlib.redirect_stdout(record):
        yield record


class _Record:
    def __init__(self, stream):
        self._stream, self._pieces = stream, []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def write(self, text: str) -> int:
        self._pieces.append(text)
        self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
