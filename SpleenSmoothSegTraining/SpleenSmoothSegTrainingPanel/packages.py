"""The Python packages that training needs, installed on first use after confirmation."""

from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegPanels.shared.packages import Packages

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements-train.txt"


def forTraining() -> Packages:
    # Measured on Linux, in addition to forSegmenting(): 110 MB of wheels, 61 MB of them OpenCV; 0.28 GB installed.
    size = _(
        "The download is about 0.4 GB and takes 1.3 GB on disk, or about 3 GB and 6 GB with an NVIDIA GPU. "
        "If Segment Spleen has already installed PyTorch, it is about 0.1 GB, and 0.3 GB on disk. "
        "PyTorch (torch, torchvision) runs the network; the other packages provide the network, augmentation, label "
        "readers, metrics and figures."
    )
    return Packages(_("Training"), REQUIREMENTS, size, torch=True)
