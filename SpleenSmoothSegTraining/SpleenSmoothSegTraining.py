"""Trains the ensemble on the user's labeled CTs: a panel for train.py, which runs in the background.

SpleenSmoothSegTrainingPanel has the panel and its logic, SpleenSmoothSegTrainingLib the training itself.
"""

import subprocess
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class SpleenSmoothSegTraining(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Spleen Smooth Segmentation Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SpleenSmoothSeg"]
        parent.contributors = ["The SpleenSmoothSeg authors"]
        parent.helpText = _(
            "Trains the ensemble of Spleen Smooth Segmentation on your own labeled CTs with the published two-phase "
            "recipe, in the background or headless. The CTs are not uploaded. "
            "A research tool, not a medical device. "
            'See the <a href="https://github.com/SpleenSmoothSeg/SpleenSmoothSeg">documentation</a>.'
        )
        parent.acknowledgementText = _(
            "The method is that of Groza, Huet, Boujemaa (Median Technologies), "
            '"Mask uncertainty regularization to improve machine learning-based medical image segmentation". '
            "This module was written independently of its authors."
        )


class SpleenSmoothSegTrainingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None, trainingLogic=None):
        """A test may give a ``trainingLogic`` in place of the default one."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.givenLogic, self.panel = trainingLogic, None

    def setup(self) -> None:
        from SpleenSmoothSegTrainingPanel.logic import TrainingLogic
        from SpleenSmoothSegTrainingPanel.panel import TrainingPanel

        super().setup()
        widget = slicer.util.loadUI(self.resourcePath("UI/SpleenSmoothSegTraining.ui"))
        widget.setMRMLScene(slicer.mrmlScene)
        self.layout.addWidget(widget)
        self.panel = TrainingPanel(widget, self.givenLogic or TrainingLogic())
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneReady)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneReady)
        self.useModuleNode()

    def enter(self) -> None:
        self.useModuleNode()
        self.panel.enter()

    def exit(self) -> None:
        self.panel.exit()

    def cleanup(self) -> None:
        self.removeObservers()
        if self.panel is not None:
            self.panel.cleanup()

    def onSceneStartClose(self, _caller, _event) -> None:
        self.panel.setModuleNode(None)

    def onSceneReady(self, _caller, _event) -> None:
        self.useModuleNode()

    def useModuleNode(self) -> None:
        """Connect the panel to the parameter node, which is saved with the scene."""
        self.panel.setModuleNode(SpleenSmoothSegTrainingLogic().getParameterNode())


class SpleenSmoothSegTrainingLogic(ScriptedLoadableModuleLogic):
    def trainScript(self) -> Path:
        """The path of ``train.py``."""
        from SpleenSmoothSegTrainingPanel.logic import TRAIN_SCRIPT

        return TRAIN_SCRIPT

    def command(self, dataset: str = "Task09_Spleen", out: str = "results") -> str:
        """The command line that trains on the CTs in the folder ``dataset`` and writes to the folder ``out``."""
        from SpleenSmoothSegTrainingPanel.choices import TrainingChoices
        from SpleenSmoothSegTrainingPanel.logic import TrainingLogic

        return TrainingLogic().command(TrainingChoices(dataset, out))


class SpleenSmoothSegTrainingTest(ScriptedLoadableModuleTest):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        for test in (self.test_trainScriptPrintsHelp, self.test_panelStoresChoicesInScene):
            self.setUp()
            test()

    def test_trainScriptPrintsHelp(self) -> None:
        script = SpleenSmoothSegTrainingLogic().trainScript()
        self.assertTrue(script.is_file(), f"{script} is missing")

        command = [sys.executable, str(script), "--help"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)

        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("usage", result.stdout.lower())

    def test_panelStoresChoicesInScene(self) -> None:
        from SpleenSmoothSegTrainingPanel.parameters import TrainingParameters

        widget = slicer.util.getModuleWidget("SpleenSmoothSegTraining")
        widget.panel.ui.outPath.currentPath = "results"
        widget.panel.ui.foldsText.text = "0,1"

        node = SpleenSmoothSegTrainingLogic().getParameterNode()
        self.assertEqual(TrainingParameters(node).trainingOut, "results")
        self.assertEqual(TrainingParameters(node).trainingFolds, "0,1")
        self.assertIn("--folds 0,1", widget.panel.ui.commandText.text)

        slicer.mrmlScene.Clear()
        self.assertEqual(widget.panel.ui.outPath.currentPath, "")
