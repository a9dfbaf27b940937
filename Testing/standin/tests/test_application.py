"""The stand-in's application does with files, modules and scenes what Slicer does (tier 4)."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")

import slicer

from locations import SAMPLE_DATA

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]

SAMPLE = SAMPLE_DATA


@pytest.fixture
def ct(slicer_app):
    return slicer.util.loadVolume(str(SAMPLE / "ct.nii.gz"))


@pytest.fixture
def segmentation(slicer_app):
    return slicer.util.loadSegmentation(str(SAMPLE / "spleen.nii.gz"))


def hierarchy_names() -> list[str]:
    import vtk

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    return [hierarchy.GetItemName(items.GetId(index)) for index in range(items.GetNumberOfIds())]


# Files


def test_a_loaded_volume_becomes_the_active_one(ct, slicer_app):
    assert slicer_app.applicationLogic().GetSelectionNode().GetActiveVolumeID() == ct.GetID()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert [node.GetBackgroundVolumeID() for node in composites] == [ct.GetID()] * 3


def test_a_volume_that_shall_not_be_shown_is_not(slicer_app):
    slicer.util.loadVolume(str(SAMPLE / "ct.nii.gz"), {"show": False, "name": "Hidden"})
    assert slicer_app.applicationLogic().GetSelectionNode().GetActiveVolumeID() is None
    assert slicer.util.getNode("Hidden")


def test_a_label_volume_and_a_segmentation_come_from_the_same_file(slicer_app, segmentation):
    labelmap = slicer.util.loadLabelVolume(str(SAMPLE / "spleen.nii.gz"))
    assert labelmap.IsA("vtkMRMLLabelMapVolumeNode")
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nii.gz"])
def test_a_saved_volume_is_read_back(ct, tmp_path, name):
    assert slicer.util.saveNode(ct, str(tmp_path / name))
    again = slicer.util.loadVolume(str(tmp_path / name))
    assert np.array_equal(slicer.util.arrayFromVolume(again), slicer.util.arrayFromVolume(ct))


def test_an_exported_node_keeps_its_own_file(ct, tmp_path):
    assert slicer.util.exportNode(ct, str(tmp_path / "copy.nii.gz"))
    assert (tmp_path / "copy.nii.gz").is_file()
    assert ct.GetStorageNode().GetFileName() == str(SAMPLE / "ct.nii.gz")


def test_a_file_that_is_not_there_raises(slicer_app, tmp_path):
    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"))


def test_a_path_that_is_no_string_is_not_saved_to_as_in_slicer(ct, tmp_path):
    assert not slicer.util.saveNode(ct, tmp_path / "ct.nrrd")


@pytest.mark.parametrize("name", ["scene.mrb", "scene.mrml"])
def test_a_saved_scene_is_read_back_with_its_hierarchy(ct, segmentation, tmp_path, name):
    segmentation.GetSegmentation().GetNthSegment(0).SetName("Mine")
    if name.endswith(".mrml"):
        assert slicer.util.saveNode(segmentation, str(tmp_path / "s.seg.nrrd"))
    assert slicer.util.saveScene(str(tmp_path / name))
    slicer.mrmlScene.Clear(0)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert hierarchy_names() == []

    slicer.util.loadScene(str(tmp_path / name))

    (again,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert again.GetSegmentation().GetNthSegment(0).GetName() == "Mine"
    assert sorted(hierarchy_names()) == sorted(["ct", "spleen.nii.gz", "Mine"])


# Subject hierarchy


def test_nodes_and_segments_get_and_lose_their_items(ct, segmentation):
    name = segmentation.GetName()
    assert sorted(hierarchy_names()) == sorted(["ct", name, "Segment_1"])
    segmentation.GetSegmentation().AddEmptySegment("b", "Second")
    segmentation.GetSegmentation().GetNthSegment(0).SetName("First")
    assert sorted(hierarchy_names()) == sorted(["ct", name, "First", "Second"])
    segmentation.GetSegmentation().RemoveSegment("b")
    slicer.mrmlScene.RemoveNode(ct)
    assert sorted(hierarchy_names()) == sorted([name, "First"])
    slicer.mrmlScene.RemoveNode(segmentation)
    assert hierarchy_names() == []


def test_a_hidden_node_gets_no_item(slicer_app):
    slicer.mrmlScene.AddNode(slicer.vtkMRMLScriptedModuleNode())
    hidden = slicer.vtkMRMLModelNode()
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    assert hierarchy_names() == []


# The application


def test_python_slicer_runs_a_script(slicer_app):
    said = subprocess.run([shutil.which("PythonSlicer"), "-c", "print(6 * 7)"], capture_output=True, encoding="utf-8")
    assert said.stdout.strip() == "42"


def test_a_new_scene_knows_nothing_of_the_one_before(slicer_app, ct):
    import standin

    before = slicer.mrmlScene
    standin.newScene()
    assert slicer.mrmlScene is not before
    assert slicer_app.mrmlScene() is slicer.mrmlScene
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert slicer_app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetScene() is slicer.mrmlScene


def test_the_layout_has_the_views_that_slicer_starts_with(slicer_app):
    layout = slicer_app.layoutManager()
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    orientations = {name: layout.sliceWidget(name).mrmlSliceNode().GetOrientation() for name in layout.sliceViewNames()}
    assert orientations == {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
    assert (layout.threeDViewCount, layout.plotViewCount) == (1, 0)
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    assert layout.plotViewCount == 1


def test_closing_the_scene_keeps_the_views(slicer_app, ct):
    view = slicer_app.layoutManager().sliceWidget("Red").sliceView()
    slicer.mrmlScene.Clear(0)
    assert slicer_app.layoutManager().sliceWidget("Red").sliceView() is view
    assert len(slicer.util.getNodesByClass("vtkMRMLCameraNode")) == 1


def test_segment_editor_takes_what_it_is_given(ct, segmentation):
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(ct)
    assert slicer.util.selectedModule() == "SegmentEditor"
    node = editor.mrmlSegmentEditorNode()
    assert (node.GetSegmentationNode(), node.GetSourceVolumeNode()) == (segmentation, ct)
    assert editor.currentSegmentID() == segmentation.GetSegmentation().GetNthSegmentID(0)


def test_the_window_shows_a_panel_beside_the_views(slicer_app, ct, tmp_path):
    import qt

    from standin.window import windowPicture

    panel = qt.QLabel("A panel")
    panel.setStyleSheet("background: #00ff00")
    windowPicture(panel, str(tmp_path / "window.png"))

    picture = qt.QImage(str(tmp_path / "window.png"))
    assert qt.QColor(picture.pixel(100, 800)).name() == "#00ff00"
    bars = [qt.QColor(picture.pixel(x, y)).name() for x, y in ((508, 42), (508, 475), (1058, 475))]
    assert bars == ["#f34a33", "#6eb04b", "#edd54c"]
    assert panel.parent() is None


def test_the_dark_theme_darkens_what_is_there(slicer_app):
    import qt

    from standin import theme

    label = qt.QLabel()
    try:
        theme.setTheme("dark")
        assert label.palette.window().color().lightness() < 100
    finally:
        theme.setTheme("light")
    assert label.palette.window().color().lightness() > 200
