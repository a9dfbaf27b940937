"""The module a person clicks: segment the spleen, preview the soft border of a label, compare two segments.

SpleenSmoothSegPanels holds a panel and a logic for each of the three, SpleenSmoothSegLib does the work.
"""

import importlib.util
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
STARTER_MODEL = HERE / "Resources" / "Models" / "Starter"
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
            "Nothing is sent anywhere: the CT stays on this computer. "
            "A research tool, not a medical device. "
            'See the <a href="https://github.com/SpleenSmoothSeg/SpleenSmoothSeg">documentation</a>.'
        )
        parent.acknowledgementText = _(
            "The method is that of Groza, Huet, Boujemaa (Median Technologies), "
            '"Mask uncertainty regularization to improve machine learning-based medical image segmentation". '
            "This module was written independently of its authors."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the CT that ships with the module in Slicer's Sample Data; nothing is downloaded."""
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
        """The logics do the work of the three parts; without them the real ones are made."""
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
        parts = (
            (SegmentPanel, "Segment", segmentLogic or SegmentLogic(), ui.segmentSection),
            (BorderPanel, "SoftBorder", borderLogic or BorderLogic(), ui.borderSection),
            (ComparePanel, "Compare", compareLogic or CompareLogic(), ui.compareSection),
        )
        panels = []
        for panel, name, logic, section in parts:
            part = self.loadUi(name)
            section.layout().addWidget(part)
            panels.append(panel(part, logic))
        self.panels = tuple(panels)
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
        """Let the panels keep what the user chose in the scene's node for this module, which a saved scene brings."""
        node = SpleenSmoothSegLogic().getParameterNode()
        for panel in self.panels:
            panel.setModuleNode(node)


class SpleenSmoothSegLogic(ScriptedLoadableModuleLogic):
    def segment(self, volumeNode, segmentationNode=None, modelFolder=None, device="auto", onProgress=None):
        """Segment the spleen on a CT in this process, and add it as a segment: for scripts, which wait for it.

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
        from SpleenSmoothSegLib.inference.devices import choose_device, to_predict_on
        from SpleenSmoothSegLib.inference.ensemble import segment_image
        from SpleenSmoothSegLib.io.images import check_ct
        from SpleenSmoothSegLib.model.folder import load_model
        from SpleenSmoothSegLib.mrml import addSpleenSegment, imageFromVolumeNode

        ct = imageFromVolumeNode(volumeNode)
        check_ct(ct, volumeNode.GetName())
        model = load_model(modelFolder or STARTER_MODEL, prepare=to_predict_on(choose_device(device)))
        found = segment_image(ct, model, device, progress=onProgress or (lambda fraction, step: None))
        segmentationNode, segmentId = addSpleenSegment(found.mask, volumeNode, segmentationNode)
        return segmentationNode, segmentId, found


class SpleenSmoothSegTest(ScriptedLoadableModuleTest):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        for test in (
            self.test_theSpleenOfTheSampleCTIsFound,
            self.test_theSoftBorderOfTheSampleLabelIsShownAndTakenAway,
            self.test_theSampleLabelIsComparedWithItself,
        ):
            self.setUp()
            test()

    def test_theSpleenOfTheSampleCTIsFound(self) -> None:
        from SpleenSmoothSegLib.io.images import read_image
        from SpleenSmoothSegLib.metrics.overlap import measure_overlap
        from SpleenSmoothSegLib.mrml import findSpleenSegment, imageFromSegment

        if importlib.util.find_spec("torch") is None:
            self.skipTest("PyTorch is not installed.")
        volumeNode = slicer.util.loadVolume(str(SAMPLE_CT))

        segmentationNode, segmentId, found = SpleenSmoothSegLogic().segment(volumeNode, device="cpu")

        self.assertEqual(findSpleenSegment(segmentationNode), segmentId)
        mask = imageFromSegment(segmentationNode, segmentId, volumeNode)
        overlap = measure_overlap(mask, read_image(SAMPLE_LABEL))
        self.assertGreater(overlap.dice, 0.8)
        self.assertGreater(found.volume_ml, 100)

    def test_theSoftBorderOfTheSampleLabelIsShownAndTakenAway(self) -> None:
        from SpleenSmoothSegPanels.border.logic import BorderLogic

        ctNode = slicer.util.loadVolume(str(SAMPLE_CT))
        labelNode = slicer.util.loadLabelVolume(str(SAMPLE_LABEL))
        nodes = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        logic = BorderLogic()

        logic.show(labelNode, "", ctNode, "gaussian:3mm", 0.5)
        effect, inWords = logic.measure()
        self.assertGreater(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), nodes)
        self.assertGreater(effect.band_mm, 3.0)
        self.assertTrue(inWords)

        logic.hide()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), nodes)

    def test_theSampleLabelIsComparedWithItself(self) -> None:
        from SpleenSmoothSegPanels.compare.logic import CompareLogic
        from SpleenSmoothSegPanels.shared.widgets import Label

        first, second = (slicer.util.loadLabelVolume(str(SAMPLE_LABEL)) for _copy in range(2))
        logic = CompareLogic()
        logic.choose(Label(first), Label(second))

        logic.compare()

        values = {measure.key: value for measure, value in logic.result().values}
        self.assertEqual(values["dice"], 1.0)
        self.assertEqual(values["volume_difference_ml"], 0.0)
