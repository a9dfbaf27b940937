"""Tells how to train the ensemble again: training runs for hours and without a window, so it is a command."""

import subprocess
import sys
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

HERE = Path(__file__).resolve().parent


class SpleenSmoothSegTraining(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Spleen Smooth Segmentation Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SpleenSmoothSeg"]
        parent.contributors = ["The SpleenSmoothSeg authors"]
        parent.helpText = _(
            "Trains the ensemble of Spleen Smooth Segmentation again on your own labeled CTs, headless, by "
            "the published two-phase recipe. Nothing is sent anywhere: the CTs stay on this computer. "
            "A research tool, not a medical device. "
            'See the <a href="https://github.com/SpleenSmoothSeg/SpleenSmoothSeg">documentation</a>.'
        )
        parent.acknowledgementText = _(
            "The method is that of Groza, Huet, Boujemaa (Median Technologies), "
            '"Mask uncertainty regularization to improve machine learning-based medical image segmentation". '
            "This module was written independently of its authors."
        )


class SpleenSmoothSegTrainingWidget(ScriptedLoadableModuleWidget):
    def setup(self) -> None:
        super().setup()
        self.logic = SpleenSmoothSegTrainingLogic()

        explanation = qt.QLabel(
            _(
                "Training takes hours, and a graphics card helps. Run this command in a terminal, with the "
                "folder of your labeled CTs (Medical Segmentation Decathlon layout) and a folder for the "
                "results as the last two words. Add --help to see all options."
            )
        )
        explanation.wordWrap = True
        self.commandText = qt.QPlainTextEdit()
        self.commandText.readOnly = True
        self.commandText.setPlainText(self.logic.command())
        self.commandText.toolTip = _("Select and copy.")
        self.layout.addWidget(explanation)
        self.layout.addWidget(self.commandText)
        self.layout.addStretch(1)


class SpleenSmoothSegTrainingLogic(ScriptedLoadableModuleLogic):
    def trainScript(self) -> Path:
        """``train.py``: beside this file in the source, one folder deeper in an installed extension."""
        installed = HERE / "SpleenSmoothSegCommandLine" / "train.py"
        return installed if installed.is_file() else HERE / "train.py"

    def command(self, dataset: str = "Task09_Spleen", out: str = "results") -> str:
        """The command line that trains on the CTs in the folder ``dataset`` and fills the folder ``out``."""
        launcher = slicer.app.launcherExecutableFilePath
        return f'"{launcher}" --no-main-window --python-script "{self.trainScript()}" "{dataset}" "{out}"'


class SpleenSmoothSegTrainingTest(ScriptedLoadableModuleTest):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_theCommandIsThereAndTellsItsOptions()

    def test_theCommandIsThereAndTellsItsOptions(self) -> None:
        script = SpleenSmoothSegTrainingLogic().trainScript()
        self.assertTrue(script.is_file(), f"{script} is missing")

        command = [sys.executable, str(script), "--help"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)

        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertIn("usage", told.stdout.lower())
