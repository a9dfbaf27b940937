"""Creates the README's pictures, which show each step of the tutorial, with the stand-in for Slicer.

    python Testing/screenshots.py [NAME ...]      all pictures, or the named ones, in Resources/Screenshots
    python Testing/screenshots.py --dark --out FOLDER     the same in Slicer's dark style

Buttons are clicked and the ensemble runs; views and charts are rendered by Slicer's libraries.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import slicer
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
for _folder in ("Testing/Helpers", "SpleenSmoothSeg", "SpleenSmoothSegTraining"):
    sys.path.insert(0, str(REPOSITORY / _folder))

import standin
from training_data import write_dataset

MODULE = REPOSITORY / "SpleenSmoothSeg" / "SpleenSmoothSeg.py"
TRAINING = REPOSITORY / "SpleenSmoothSegTraining" / "SpleenSmoothSegTraining.py"
SAMPLE = MODULE.parent / "Resources" / "SampleData"
SCREENSHOTS = REPOSITORY / "Resources" / "Screenshots"
THUMBNAIL = MODULE.parent / "Resources" / "Icons" / "SpleenSampleCT.png"  # in Slicer's Sample Data
WINDOW = (1500, 860)
TIMEOUT_SECONDS = 600  # for the ensemble on a slow machine
SOFT_TISSUE = (350, 40)  # window and level, HU
# A training of about a minute for the training panel.
SHORT = "--encoder tu-mobilenetv3_small_100 --image-size 64 --spacing 6 --batch-size 4 --fold-count 2 --test-part 0"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*PICTURES, []], help=", ".join(PICTURES))
    parser.add_argument("--out", type=Path, default=SCREENSHOTS, help="folder for the pictures")
    parser.add_argument("--dark", action="store_true", help="in Slicer's dark style")
    chosen = parser.parse_args(arguments)
    standin.start()
    if chosen.dark:
        from standin import theme

        theme.setTheme("dark")
    tutorial = Tutorial()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or PICTURES:
        path = THUMBNAIL if name == "thumbnail" and chosen.out == SCREENSHOTS else chosen.out / f"{name}.png"
        save(PICTURES[name](tutorial), path)
        print(f"{path}  {path.stat().st_size / 1024:.0f} kB")
    tutorial.close()


class Tutorial:
    """The steps of the tutorial, each done once, when a picture first needs it."""

    def __init__(self):
        from standin.window import showWindow

        standin.newScene()
        self.layout = slicer.app.layoutManager()
        self.widget = standin.openModule(MODULE)
        slicer.util.selectModule(MODULE.stem)
        self.window = showWindow(self.widget.parent, size=WINDOW)
        self.ct = slicer.util.loadVolume(str(SAMPLE / "ct.nii.gz"), {"name": "SpleenSampleCT"})
        self.ct.GetDisplayNode().AutoWindowLevelOff()
        self.ct.GetDisplayNode().SetWindowLevel(*SOFT_TISSUE)
        self.layout.resetSliceViews()
        self.sections = slicer.util.childWidgetVariables(self.widget.parent)
        self.segmentPanel, self.borderPanel, self.comparePanel = (panel.ui for panel in self.widget.panels)
        self.done = set()

    def close(self) -> None:
        from standin.window import hideWindow

        hideWindow()
        standin.closeModules()

    def segment(self) -> None:
        if self._isNew("segment"):
            self.segmentPanel.inputSelector.setCurrentNode(self.ct)
            devices = self.segmentPanel.deviceComboBox
            devices.setCurrentIndex(devices.findText("CPU"))  # the same picture on every machine
            self.segmentPanel.segmentButton.click()
            standin.waitUntil(lambda: self.segmentPanel.resultFrame.visible, TIMEOUT_SECONDS)
            zoom(240, 1.6)
        self._open("segmentSection")

    def preview(self) -> None:
        self.segment()
        self._open("borderSection")
        if self._isNew("preview"):
            self.borderPanel.widthSlider.setValue(4)
            self.borderPanel.previewButton.click()
            standin.waitUntil(lambda: self.borderPanel.profileButton.enabled, TIMEOUT_SECONDS)
            self.borderPanel.profileButton.click()
            self._settle()
            zoom(160)

    def compare(self) -> None:
        self.segment()
        self._open("compareSection")
        if self._isNew("compare"):
            self.borderPanel.previewButton.checked = False
            (ours,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            truth = slicer.util.loadSegmentation(str(SAMPLE / "spleen.nii.gz"), {"name": "Reference label"})
            truth.GetDisplayNode().SetVisibility(False)
            self.comparePanel.segmentNodeSelector.setCurrentNode(ours)
            self.comparePanel.referenceNodeSelector.setCurrentNode(truth)
            self._settle()
            self.comparePanel.compareButton.click()
            standin.waitUntil(lambda: self.comparePanel.resultFrame.visible, TIMEOUT_SECONDS)
            self._settle()
            zoom(160)

    def train(self):
        """Train on a few slices of the sample CT; returns the panel's picture after the training."""
        before = Path.cwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)  # the picture must not show local paths
            try:
                write_dataset(Path("Task09_Spleen"))
                training = standin.openModule(TRAINING)
                ui = training.panel.ui
                ui.datasetPath.currentPath, ui.outPath.currentPath = "Task09_Spleen", "results"
                ui.compareCheckBox.checked = True
                ui.deviceComboBox.setCurrentIndex(ui.deviceComboBox.findText("CPU"))
                ui.epochsText.text, ui.optionsText.text = "3,1", f"{SHORT} --cache cache"
                ui.trainButton.click()
                training.exit()  # do not open a browser for the report
                standin.waitUntil(lambda: ui.trainButton.text != "Stop", TIMEOUT_SECONDS)
                self._settle()
                height = training.parent.layout().totalHeightForWidth(training.parent.width)
                training.parent.resize(training.parent.width, height)
                return training.parent.grab()
            finally:
                os.chdir(before)

    def _isNew(self, step: str) -> bool:
        isNew = step not in self.done
        self.done.add(step)
        return isNew

    def _open(self, section: str) -> None:
        """Open one of the panel's sections and close the others."""
        for name in ("segmentSection", "borderSection", "compareSection"):
            getattr(self.sections, name).collapsed = name != section
        self._settle()

    def _settle(self, seconds: float = 0.5) -> None:
        """Process events until timers have fired."""
        end = time.monotonic() + seconds
        standin.waitUntil(lambda: time.monotonic() > end)


def zoom(millimeters: float, dolly: float = 1) -> None:
    """Set the field of view of the slice views, and move the 3D camera closer, with the same center."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        width, height, depth = node.GetFieldOfView()
        node.SetFieldOfView(millimeters, millimeters * height / width, depth)
    slicer.app.layoutManager().threeDWidget(0).threeDView().cameraNode().GetCamera().Dolly(dolly)


# The pictures, in the order of the tutorial


def panelSegment(tutorial: Tutorial):
    tutorial.segment()
    return tutorial.sections.segmentSection.grab()


def segment(tutorial: Tutorial):
    tutorial.segment()
    return tutorial.window.grab()


def thumbnail(tutorial: Tutorial):
    """The middle of the axial slice through the spleen, small."""
    import qt

    tutorial.segment()
    view = tutorial.layout.sliceWidget("Red").sliceView().grab()
    side = min(view.width(), view.height())
    middle = view.copy((view.width() - side) // 2, (view.height() - side) // 2, side, side)
    return middle.scaled(128, 128, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)


def panelSoftBorder(tutorial: Tutorial):
    tutorial.preview()
    return tutorial.sections.borderSection.grab()


def softBorder(tutorial: Tutorial):
    tutorial.preview()
    return tutorial.window.grab()


def panelCompare(tutorial: Tutorial):
    tutorial.compare()
    return tutorial.sections.compareSection.grab()


def signedDistance(tutorial: Tutorial):
    tutorial.compare()
    return tutorial.window.grab()


def panelTraining(tutorial: Tutorial):
    return tutorial.train()


def sample(tutorial: Tutorial):
    """The overlay that `make segment` writes for the sample CT."""
    import qt

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, MODULE.parent / "CommandLine" / "segment.py", "-o", folder], check=True)
        return qt.QPixmap(str(Path(folder) / "ct_spleen.png"))


PICTURES = {
    "sample": sample,
    "panel-segment": panelSegment,
    "segment": segment,
    "thumbnail": thumbnail,
    "panel-soft-border": panelSoftBorder,
    "soft-border": softBorder,
    "panel-compare": panelCompare,
    "signed-distance": signedDistance,
    "panel-training": panelTraining,
}


def save(pixmap, path: Path) -> None:
    """Save an optimized RGB PNG: with a palette of 256 colors the CT would lose gray levels next to an overlay."""
    import qt

    buffer = qt.QBuffer()
    buffer.open(qt.QIODevice.WriteOnly)
    pixmap.save(buffer, "PNG")
    Image.open(io.BytesIO(bytes(buffer.data()))).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    main()
