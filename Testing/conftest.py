"""Shared fixtures: the sample CT, a small model folder, and a guard against network access."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import SimpleITK as sitk

# Before anything renders with Slicer's libraries: if Mesa's LLVM is loaded first, that of PyTorch crashes.
import torchvision  # noqa: F401
from torch.utils.data import DataLoader

from locations import SAMPLE_DATA, SHARED_DATA, SMALL_ENCODER


@pytest.fixture(scope="session", autouse=True)
def qprocess_gets_sigchld_after_a_data_loader():
    """The first loader with workers replaces the SIGCHLD handler; Qt, installed later, calls the previous one."""
    next(iter(DataLoader([0], num_workers=1)))


@pytest.fixture(scope="session")
def sample_ct() -> sitk.Image:
    return sitk.ReadImage(str(SAMPLE_DATA / "ct.nii.gz"))


@pytest.fixture(scope="session")
def sample_label() -> sitk.Image:
    return sitk.ReadImage(str(SAMPLE_DATA / "spleen.nii.gz"))


@pytest.fixture(scope="session")
def shared_case():
    """Reads CT and label of a case of the shared data by name; skips the test where they are missing."""

    def read(name: str) -> tuple[sitk.Image, sitk.Image]:
        paths = [SHARED_DATA / kind / f"{name}.nii.gz" for kind in ("imagesTr", "labelsTr")]
        if not all(path.is_file() for path in paths):
            pytest.skip(f"needs {name} of Task09_SpleenOpen in ../shared/data")
        return tuple(sitk.ReadImage(str(path)) for path in paths)

    return read


@pytest.fixture(scope="session")
def small_networks() -> list:
    """Two small untrained networks with nontrivial batch norm statistics."""
    import torch

    from SpleenSmoothSegLib.model.network import LinkNet

    torch.manual_seed(0)
    networks = [LinkNet(SMALL_ENCODER).train() for _ in range(2)]
    with torch.no_grad():
        for network in networks:
            network(torch.rand(4, 1, 64, 64))
            network.eval()
    return networks


@pytest.fixture(scope="session")
def small_card() -> dict:
    return {
        "name": "Small",
        "architecture": {"name": "linknet", "encoder": SMALL_ENCODER, "in_channels": 1, "decoder_reduction": 4},
        "input": {
            "size": 64,
            "spacing_mm": 6.0,
            "window_hu": [-150.0, 250.0],
            "channels": 1,
            "channel_spacing_mm": 5.0,
        },
        "threshold": 0.5,
    }


@pytest.fixture(scope="session")
def pristine_model_folder(small_networks, small_card, tmp_path_factory) -> Path:
    from SpleenSmoothSegLib.model.folder import save_model

    folder = tmp_path_factory.mktemp("pristine") / "model"
    save_model(folder, small_card, small_networks)
    return folder


@pytest.fixture
def model_folder(pristine_model_folder, tmp_path) -> Path:
    """A model folder of two folds that the test may change."""
    return Path(shutil.copytree(pristine_model_folder, tmp_path / "model"))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a cluster of two workers that run in another folder without this program on their path."""
    code = """
    import sys
    from distributed import LocalCluster
    workers = LocalCluster(2, threads_per_worker=1, memory_limit=0, dashboard_address=None)
    print(workers.scheduler_address, flush=True)
    sys.stdin.read()
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path_factory.mktemp("cluster"),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:
        yield process.stdout.readline().strip()


@pytest.fixture
def offline(monkeypatch):
    """Fails the test if anything connects to another computer, even if the caller handles the error."""
    addresses = []

    def refuse(*address, **options):
        addresses.append(address)
        raise OSError("the test allows no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not addresses, f"tried to connect to {addresses[0]}"


@pytest.fixture
def slicer_app():
    """The application of the stand-in with a fresh scene; a slot that raises fails the test."""
    pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
    pytest.importorskip("PyQt5.QtWidgets", reason="needs PyQt5, on which the stand-in for Slicer's widgets is built")
    import standin

    application = standin.start()
    standin.newScene()
    yield application
    standin.closeModules()
    errors = list(standin.errorsInSlots)
    standin.errorsInSlots.clear()
    assert not errors, f"a slot failed: {errors[0]!r}"


@pytest.fixture
def settings(slicer_app):
    """Slicer's settings, reset after each test."""
    import qt

    from SpleenSmoothSegPanels.shared.models import SETTING

    qt.QSettings().remove(SETTING)
    yield qt.QSettings()
    qt.QSettings().remove(SETTING)
