"""The module a person clicks: a CT, one button, a spleen segment. SpleenSmoothSegLib does the work."""

import importlib.util
import logging
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
STARTER_MODEL = HERE / "Resources" / "Models" / "Starter"


class SpleenSmoothSeg(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Spleen Smooth Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The SpleenSmoothSeg authors"]
        parent.helpText = _(
            "Segments the spleen on CT with an ensemble of networks trained on labels with soft borders. "
            "Nothing is sent anywhere: the CT stays on this computer. "
            "A research tool, not a medical device. "
            'See the <a href="https://github.com/SpleenSmoothSeg/SpleenSmoothSeg">documentation</a>.'
        )
        parent.acknowledgementText = _(
            "The method is that of Groza, Huet, Boujemaa (Median Technologies), "
            '"Mask uncertainty regularization to improve machine learning-based medical image segmentation". '
            "This module was written independently of its authors."
        )


class SpleenSmoothSegWidget(ScriptedLoadableModuleWidget):
    def setup(self) -> None:
        super().setup()
        self.logic = SpleenSmoothSegLogic()

        self.inputSelector = slicer.qMRMLNodeComboBox()
        self.inputSelector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.inputSelector.showChildNodeTypes = False
        self.inputSelector.addEnabled = False
        self.inputSelector.removeEnabled = False
        self.inputSelector.setMRMLScene(slicer.mrmlScene)
        self.inputSelector.toolTip = _("The CT to segment. It is not changed.")

        self.segmentButton = qt.QPushButton(_("Segment Spleen"))
        self.segmentButton.toolTip = _("Adds a segmentation with one segment, Spleen, over the CT.")

        self.statusLabel = qt.QLabel(_("A research tool, not a medical device."))
        self.statusLabel.textFormat = qt.Qt.PlainText
        self.statusLabel.wordWrap = True

        form = qt.QFormLayout()
        form.addRow(_("CT:"), self.inputSelector)
        form.addRow(self.segmentButton)
        form.addRow(self.statusLabel)
        self.layout.addLayout(form)
        self.layout.addStretch(1)

        self.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.updateButton)
        self.segmentButton.connect("clicked()", self.onSegment)
        self.updateButton()

    def updateButton(self, _node=None) -> None:
        self.segmentButton.enabled = self.inputSelector.currentNode() is not None

    def onSegment(self) -> None:
        from SpleenSmoothSegLib.errors import UserError

        self.segmentButton.enabled = False
        try:
            volumeNode = self.inputSelector.currentNode()
            *_nodes, found = self.logic.segment(volumeNode, onProgress=self.showProgress)
            self.statusLabel.text = _("Spleen: {volume} mL. Two folds differ by {difference} %.").format(
                volume=f"{found.volume_ml:.0f}", difference=f"{100 * found.disagreement:.1f}"
            )
        except UserError as error:
            self.statusLabel.text = str(error)
        except ImportError as error:
            self.statusLabel.text = _(
                "The Python package {name} is missing; install it, torch by the PyTorch extension."
            ).format(name=error.name)
        except Exception:
            logging.exception("SpleenSmoothSeg")
            self.statusLabel.text = _("Unexpected error; the scene is as it was, see the Python console.")
        finally:
            self.updateButton()

    def showProgress(self, fraction: float, step: str) -> None:
        self.statusLabel.text = f"{100 * fraction:.0f} % {step}"
        slicer.app.processEvents()


class SpleenSmoothSegLogic(ScriptedLoadableModuleLogic):
    def segment(self, volumeNode, segmentationNode=None, modelFolder=None, device="auto", onProgress=None):
        """Segment the spleen on a CT and add it as a segment.

        Args:
            volumeNode: the CT, a scalar volume; not changed.
            segmentationNode: receives the segment beside those it has; a new one is made without it.
            modelFolder: a trained ensemble; the one that ships with the module without it.
            device: "auto", "cpu", "cuda" or "mps".
            onProgress: called with the fraction done, 0 to 1, and the name of the step.

        Returns:
            The segmentation node, the id of the new segment, and all that the ensemble found
            (``ensemble.Segmentation``).

        Raises:
            UserError: one sentence that says what is wrong and what to do. The scene is as it was.

        Example:
            node, segmentId, found = SpleenSmoothSegLogic().segment(slicer.util.getNode("CT"))
        """
        from SpleenSmoothSegLib.ensemble import segment_image
        from SpleenSmoothSegLib.images import check_ct
        from SpleenSmoothSegLib.modelfolder import load_model
        from SpleenSmoothSegLib.mrml import addSpleenSegment, imageFromVolumeNode

        ct = imageFromVolumeNode(volumeNode)
        check_ct(ct, volumeNode.GetName())
        model = load_model(modelFolder or STARTER_MODEL)
        found = segment_image(ct, model, device, progress=onProgress or (lambda fraction, step: None))
        segmentationNode, segmentId = addSpleenSegment(found.mask, volumeNode, segmentationNode)
        return segmentationNode, segmentId, found


class SpleenSmoothSegTest(ScriptedLoadableModuleTest):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_theSpleenOfTheSampleCTIsFound()

    def test_theSpleenOfTheSampleCTIsFound(self) -> None:
        from SpleenSmoothSegLib.images import read_image
        from SpleenSmoothSegLib.measurement import compare
        from SpleenSmoothSegLib.mrml import findSpleenSegment, imageFromSegment

        sample = HERE / "Resources" / "SampleData"
        if importlib.util.find_spec("torch") is None:
            self.skipTest("PyTorch is not installed.")
        volumeNode = slicer.util.loadVolume(str(sample / "ct.nii.gz"))

        segmentationNode, segmentId, found = SpleenSmoothSegLogic().segment(volumeNode, device="cpu")

        self.assertEqual(findSpleenSegment(segmentationNode), segmentId)
        mask = imageFromSegment(segmentationNode, segmentId, volumeNode)
        overlap = compare(mask, read_image(sample / "spleen.nii.gz"))
        self.assertGreater(overlap.dice, 0.8)
        self.assertGreater(found.volume_ml, 100)
