"""The module files in the stand-in: metadata, self-tests, logic, and changes of the scene (tier 4)."""

from __future__ import annotations

import numpy as np
import pytest

from locations import REPOSITORY
from SpleenSmoothSegLib.errors import UserError

ROOT = REPOSITORY
FILES = {name: ROOT / name / f"{name}.py" for name in ("SpleenSmoothSeg", "SpleenSmoothSegTraining")}
SAMPLE_CT = str(ROOT / "SpleenSmoothSeg" / "Resources" / "SampleData" / "ct.nii.gz")

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]


@pytest.fixture(params=FILES)
def module(request, slicer_app):
    return imported(request.param)


def imported(name: str):
    """The imported file of a module that the stand-in has opened."""
    import sys

    import standin

    return sys.modules[type(standin.openModule(FILES[name])).__module__]


def test_metadata_is_complete_and_contains_the_medical_device_notice(module):
    import slicer

    about = getattr(slicer.modules, module.__name__.lower())

    assert about.title
    assert list(about.categories) == ["Segmentation"]
    assert list(about.contributors)
    assert not about.icon.isNull()
    assert "not a medical device" in about.helpText
    assert "Groza, Huet, Boujemaa" in about.acknowledgementText


def test_self_test_of_the_module_passes(module):
    getattr(module, f"{module.__name__}Test")().runTest()


def test_segment_of_a_volume_that_is_not_a_ct_raises_user_error(slicer_app):
    import slicer

    logic = imported("SpleenSmoothSeg").SpleenSmoothSegLogic()
    phantom = slicer.util.addVolumeFromArray(np.ones((4, 5, 6), np.int16), name="Phantom")

    with pytest.raises(UserError, match="Phantom"):
        logic.segment(phantom, modelFolder="no such folder")


def test_panels_use_the_given_logics(slicer_app):
    import standin
    from SpleenSmoothSegPanels.border.logic import BorderLogic
    from SpleenSmoothSegPanels.compare.logic import CompareLogic
    from SpleenSmoothSegPanels.segment.logic import SegmentLogic

    given = SegmentLogic(), BorderLogic(), CompareLogic()
    widget = standin.openModule(
        FILES["SpleenSmoothSeg"], **dict(zip(("segmentLogic", "borderLogic", "compareLogic"), given, strict=True))
    )

    assert tuple(panel.logic for panel in widget.panels) == given


def test_panel_works_after_the_scene_was_closed(slicer_app):
    import slicer

    import standin

    widget = standin.openModule(FILES["SpleenSmoothSeg"])
    slicer.util.loadVolume(SAMPLE_CT)
    slicer.mrmlScene.Clear()
    standin.processEvents()
    assert not widget.panels[0].ui.segmentButton.enabled

    volume = slicer.util.loadVolume(SAMPLE_CT)
    widget.panels[0].ui.inputSelector.setCurrentNode(volume)
    standin.processEvents()

    assert widget.panels[0].ui.segmentButton.enabled


def test_choices_survive_a_saved_scene(slicer_app, tmp_path):
    import slicer

    import standin

    widget = standin.openModule(FILES["SpleenSmoothSeg"])
    volume = slicer.util.loadVolume(SAMPLE_CT)
    widget.panels[0].ui.inputSelector.setCurrentNode(volume)
    widget.panels[1].ui.widthSlider.value = 4.5
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear()
    widget.panels[1].ui.widthSlider.value = 1.0

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    standin.processEvents()

    assert widget.panels[0].ui.inputSelector.currentNode().GetName() == volume.GetName()
    assert widget.panels[1].ui.widthSlider.value == 4.5


def test_sample_ct_is_in_sample_data_without_a_network(slicer_app, offline):
    import SampleData
    import slicer

    imported("SpleenSmoothSeg")
    [source] = slicer.modules.sampleDataSources["SpleenSmoothSeg"]

    node = SampleData.SampleDataLogic().downloadFromSource(source)[0]

    assert node.GetName() == "SpleenSampleCT"
    assert node.GetImageData().GetDimensions() == (122, 101, 112)
