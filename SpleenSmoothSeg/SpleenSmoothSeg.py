"""The Slicer module: segment the spleen, preview the soft border of a label, compare two segments.

SpleenSmoothSegPanels has a panel and a logic for each of these sections, SpleenSmoothSegLib is the engine.
"""

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

HERE = Path(__file__).resolve().parent
SAMPLE_CT = HERE / "Resources" / "SampleData" / "ct.nii.gz"
SAMPLE_LABEL = SAMPLE_CT.with_name("spleen.nii.gz")


class SpleenSmoothSeg(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Spleen Smooth Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The SpleenSmoothSeg authors"]
        parent.helpText = _(
            "Segments the spleen on CT with an ensemble of networks trained on labels with soft borders. "
            "The CT never leaves this computer. "
            "A research tool, not a medical device. "
            'See the <a href="https://github.com/SpleenSmoothSeg/SpleenSmoothSeg">documentation</a>.'
        )
        parent.acknowledgementText = _(
            "Method: Groza, Huet, Boujemaa (Median Technologies), "
            '"Mask uncertainty regularization to improve machine learning-based medical image segmentation". '
            "This module is an independent implementation."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Add the CT that ships with the module to Slicer's Sample Data; nothing is downloaded."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SpleenSmoothSeg",
        sampleName="SpleenSampleCT",
        uris=SAMPLE_CT.as_uri(),
        fileNames="SpleenSampleCT.nii.gz",
        nodeNames="SpleenSampleCT",
        loadFileTypes="VolumeFile",
        checksums="SHA256:15bc9b4e172bbbe494bd7091d78729b2cdec4f6347f46536ab6ed5c979884b57",
        thumbnailFileName=str(HERE / "Resources" / "Icons" / "SpleenSampleCT.png"),
    )


class SpleenSmoothSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None, segmentLogic=None, borderLogic=None, compareLogic=None):
        """Tests may pass the logics of the three sections."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.givenLogics = segmentLogic, borderLogic, compareLogic
        self.panels = ()

    def setup(self) -> None:
        from SpleenSmoothSegPanels.border.logic import BorderLogic
        from SpleenSmoothSegPanels.border.panel import BorderPanel
        from SpleenSmoothSegPanels.compare.logic import CompareLogic
        from SpleenSmoothSegPanels.compare.panel import ComparePanel
        from SpleenSmoothSegPanels.segment.logic import SegmentLogic
        from SpleenSmoothSegPanels.segment.panel import SegmentPanel

        super().setup()
        sections = self.loadUi("SpleenSmoothSeg")
        self.layout.addWidget(sections)
        ui = slicer.util.childWidgetVariables(sections)
        segmentLogic, borderLogic, compareLogic = self.givenLogics
        panels = (
            (SegmentPanel, "Segment", segmentLogic or SegmentLogic(), ui.segmentSection),
            (BorderPanel, "SoftBorder", borderLogic or BorderLogic(), ui.borderSection),
            (ComparePanel, "Compare", compareLogic or CompareLogic(), ui.compareSection),
        )
        for makePanel, name, logic, section in panels:
            widget = self.loadUi(name)
            section.layout().addWidget(widget)
            self.panels += (makePanel(widget, logic),)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneReady)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneReady)
        self.useModuleNode()

    def loadUi(self, name: str):
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))
        widget.setMRMLScene(slicer.mrmlScene)
        return widget

    def enter(self) -> None:
        self.useModuleNode()
        for panel in self.panels:
            panel.enter()

    def exit(self) -> None:
        for panel in self.panels:
            panel.exit()

    def cleanup(self) -> None:
        self.removeObservers()
        for panel in self.panels:
            panel.cleanup()

    def onSceneStartClose(self, _caller, _event) -> None:
        for panel in self.panels:
            panel.setModuleNode(None)

    def onSceneReady(self, _caller, _event) -> None:
        self.useModuleNode()

    def useModuleNode(self) -> None:
        """Connect the panels to the scene's parameter node, which is saved with the scene."""
        node = SpleenSmoothSegLogic().getParameterNode()
        for panel in self.panels:
            panel.setModuleNode(node)


class SpleenSmoothSegLogic(ScriptedLoadableModuleLogic):
    def segment(self, volumeNode, segmentationNode=None, modelFolder=None, device="auto", onProgress=None):
        """Segment the spleen on a CT and return when it is done, for scripts.

        Does what the button does: a child process computes, while Qt's event loop runs here.

        Args:
            volumeNode: the CT, a scalar volume; not changed.
            segmentationNode: the segment is added to it; None: to a new one.
            modelFolder: a trained ensemble; None: the shipped Starter.
            device: "auto", "cpu", "cuda" or "mps".
            onProgress: called with the fraction done, 0 to 1, and the name of the step.

        Returns:
            The segmentation node, the ID of the new segment, and its ``SegmentationResult``.

        Raises:
            UserError: what is wrong and what to do, in one sentence. The scene is unchanged.

        Example:
            node, segmentId, result = SpleenSmoothSegLogic().segment(slicer.util.getNode("CT"))
        """
        from SpleenSmoothSegPanels.segment.logic import SegmentLogic, SegmentRequest
        from SpleenSmoothSegPanels.shared.models import STARTER

        logic = SegmentLogic()
        request = SegmentRequest(volumeNode, segmentationNode, modelFolder=Path(modelFolder or STARTER), device=device)
        try:
            added = logic.segment(request, onProgress or (lambda fraction, step: None))
        finally:
            logic.close()
        return added.segmentationNode, added.segmentId, added.placed.result


class SpleenSmoothSegTest(ScriptedLoadableModuleTest):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        for test in (
            self.test_segmentSampleCT,
            self.test_softBorderPreviewOfSampleLabel,
            self.test_compareSampleLabelWithItself,
        ):
            self.setUp()
            test()

    def test_segmentSampleCT(self) -> None:
        from SpleenSmoothSegLib.io.images import read_image
        from SpleenSmoothSegLib.metrics.overlap import measure_overlap
        from SpleenSmoothSegLib.mrml import findSpleenSegment, imageFromSegment
        from SpleenSmoothSegPanels.shared.packages import forSegmenting

        if missing := forSegmenting().missing():
            self.skipTest(f"needs {', '.join(missing)}")
        volumeNode = slicer.util.loadVolume(str(SAMPLE_CT))

        segmentationNode, segmentId, result = SpleenSmoothSegLogic().segment(volumeNode, device="cpu")

        self.assertEqual(findSpleenSegment(segmentationNode), segmentId)
        mask = imageFromSegment(segmentationNode, segmentId, volumeNode)
        overlap = measure_overlap(mask, read_image(SAMPLE_LABEL))
        self.assertGreater(overlap.dice, 0.8)
        self.assertGreater(result.volume_ml, 100)

    def test_softBorderPreviewOfSampleLabel(self) -> None:
        from SpleenSmoothSegLib.border.kernels import Border
        from SpleenSmoothSegPanels.border.logic import BorderLogic
        from SpleenSmoothSegPanels.shared.widgets import Label

        ctNode = slicer.util.loadVolume(str(SAMPLE_CT))
        labelNode = slicer.util.loadLabelVolume(str(SAMPLE_LABEL))
        nodes = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        logic = BorderLogic()

        logic.show(Label(labelNode), ctNode, Border("gaussian", 3.0), 0.5)
        effect, remarks = logic.measure()
        self.assertGreater(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), nodes)
        self.assertGreater(effect.band_mm, 3.0)
        self.assertTrue(remarks)

        logic.hide()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), nodes)

    def test_compareSampleLabelWithItself(self) -> None:
        from SpleenSmoothSegPanels.compare.logic import CompareLogic
        from SpleenSmoothSegPanels.shared.widgets import Label

        first, second = (slicer.util.loadLabelVolume(str(SAMPLE_LABEL)) for _copy in range(2))
        logic = CompareLogic()
        logic.choose(Label(first), Label(second))

        logic.compare()

        values = {measure.key: value for measure, value in logic.result().values}
        self.assertEqual(values["dice"], 1.0)
        self.assertEqual(values["volume_difference_ml"], 0.0)
