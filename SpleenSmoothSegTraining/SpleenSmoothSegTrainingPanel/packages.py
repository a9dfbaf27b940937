"""The Python packages that training needs, asked for on first use as those of Segment Spleen are."""

from pathlib import Path

from slicer.i18n import tr as _

from SpleenSmoothSegPanels.shared.packages import Packages

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements-train.txt"


def forTraining() -> Packages:
    # Measured beside what forSegmenting() measured, Linux: 110 MB of wheels, of which OpenCV is 61; 0.28 GB installed.
    size = _(
        "About 0.4 GB are downloaded and take 1.3 GB on the disk, or about 3 GB and 6 GB where PyTorch finds an NVIDIA "
        "graphics card. Where Segment Spleen has installed PyTorch already it is about 0.1 GB, and 0.3 GB on the disk. "
        "PyTorch (torch, torchvision) computes; the others hold the network, vary the slices that it learns from, "
        "read labels, measure and draw what came out."
    )
    return Packages(_("Training"), REQUIREMENTS, size, torch=True)
