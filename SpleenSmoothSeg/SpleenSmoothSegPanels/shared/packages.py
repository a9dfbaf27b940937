"""Python packages that a section needs: installed on first use, after the user agreed; never at startup."""

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
TORCH = {"torch": ">=2.4", "torchvision": ">=0.19"}  # must come from the same build: install them together
TOOLS = ("pip", "setuptools", "wheel")  # installers may update these: nothing in Slicer depends on them


class NotInstalled(UserError):
    """Packages are still missing; ``log`` is the output of the installer, "" if it was not started."""

    def __init__(self, sentence: str, log: str = ""):
        super().__init__(sentence)
        self.log = log


class Packages:
    """The Python packages that one section needs.

    Args:
        purpose: what needs them; the subject of a sentence ("Segmenting").
        requirements: their requirements.txt.
        size: the size of the download, in a sentence.
        torch: whether torch and torchvision are needed as well.
    """

    def __init__(self, purpose: str, requirements: Path, size: str, torch: bool = False):
        self._purpose, self._requirements, self._size, self._torch = purpose, requirements, size, torch

    def missing(self) -> list[str]:
        """The requirements that are not met. Imports nothing and needs no network."""
        importlib.invalidate_caches()
        needed = [name + version for name, version in TORCH.items() if self._torch]
        lines = self._requirements.read_text(encoding="utf-8").splitlines()
        needed += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        return [requirement for requirement in needed if not _isMet(requirement)]

    def ensure(self) -> None:
        """Install what is missing, after the user agreed.

        Packages that are installed already are never changed. Raises NotInstalled.
        """
        missing = self.missing()
        if not missing:
            return
        names = ", ".join(_name(requirement) for requirement in missing)
        if slicer.app.testingEnabled():
            raise NotInstalled(
                _("{purpose} needs {names}; packages are not installed during tests.").format(
                    purpose=self._purpose, names=names
                )
            )
        torch = [requirement for requirement in missing if _name(requirement) in TORCH]
        installer = _torchInstaller(self._purpose) if torch else None
        if not slicer.util.confirmOkCancelDisplay(self._question(names), _("Install Python packages")):
            raise NotInstalled(
                _("{purpose} needs {names}. Nothing was installed; click again to install.").format(
                    purpose=self._purpose, names=names
                )
            )
        with _captured() as log:
            others = [requirement for requirement in missing if requirement not in torch]
            if torch:
                _attempt(lambda: _installTorch(installer), log)
            if others and not any(requirement in torch for requirement in self.missing()):
                _attempt(lambda: _install(others), log)
        if missing := self.missing():
            raise NotInstalled(
                _(
                    "{names} could not be installed; check the internet connection and the free disk space, then "
                    "click again. Installed packages were not changed."
                ).format(names=", ".join(_name(requirement) for requirement in missing)),
                log.text,
            )

    def _question(self, names: str) -> str:
        return _(
            "{purpose} needs Python packages that are not installed in this Slicer: {names}.\n\n{size}\n\n"
            "They are downloaded once. Installed packages are not changed, and no data is sent. Install now?"
        ).format(purpose=self._purpose, names=names, size=self._size)


def forSegmenting() -> Packages:
    # Measured for torch 2.15, Linux: 0.23 GB of wheels for the CPU and 2.9 GB for CUDA; 0.9 and 5.5 GB installed.
    size = _(
        "Download: about 0.3 GB (1 GB on disk), or about 3 GB (6 GB on disk) with an NVIDIA GPU. PyTorch (torch, "
        "torchvision) runs the networks; the other packages define them and read their weights."
    )
    return Packages(_("Segmenting"), RESOURCES / "requirements.txt", size, torch=True)


def forComparing() -> Packages:
    size = _("Download: less than 1 MB. It measures surface distances with DeepMind's reference implementation.")
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
    """The logic of the PyTorch extension; raises NotInstalled if the user must act first."""
    for name, version in TORCH.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed = importlib.metadata.version(name)
            if not _isMet(name + version):
                raise NotInstalled(
                    _(
                        "{purpose} needs {name} {version}, but {installed} is installed; uninstall it in the PyTorch "
                        "Utils module, restart Slicer, and click again."
                    ).format(purpose=purpose, name=name, version=version, installed=installed)
                )
    try:
        import PyTorchUtils
    except ImportError as error:
        raise NotInstalled(
            _(
                "{purpose} needs the PyTorch extension; install it in View > Extensions Manager, restart Slicer, and "
                "click again."
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
    """Errors are only logged: PyTorchUtils imports the installed torch at its end, which may fail in Slicer."""
    try:
        with _pinned():
            step()
    except Exception:
        log.write(traceback.format_exc())


@contextlib.contextmanager
def _pinned():
    """Makes each pip that starts meanwhile, in another extension's code too, keep the installed versions."""
    with tempfile.TemporaryDirectory(prefix="SpleenSmoothSeg-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_pins()) + "\n", encoding="utf-8")
        before = os.environ.get("PIP_CONSTRAINT")
        # As a URL: pip would split a path at its spaces.
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
def _captured():
    """Captures what is printed meanwhile: Slicer prints each line of an installer."""
    record = _Tee(sys.stdout)
    with contextlib.redirect_stdout(record):
        yield record


class _Tee:
    def __init__(self, stream):
        self._stream, self._chunks = stream, []

    @property
    def text(self) -> str:
        return "".join(self._chunks)

    def write(self, text: str) -> int:
        self._chunks.append(text)
        self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
