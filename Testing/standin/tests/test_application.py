"""The stand-in's application handles files, modules and scenes like Slicer (tier 4)."""

from __future__ import annotations

import shutil
import subprocess

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


def test_loaded_volume_becomes_the_active_volume(ct, slicer_app):
    assert slicer_app.applicationLogic().GetSelectionNode().GetActiveVolumeID() == ct.GetID()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert [node.GetBackgroundVolumeID() for node in composites] == [ct.GetID()] * 3


def test_volume_loaded_with_show_false_is_not_shown(slicer_app):
    slicer.util.loadVolume(str(SAMPLE / "ct.nii.gz"), {"show": False, "name": "Hidden"})
    assert slicer_app.applicationLogic().GetSelectionNode().GetActiveVolumeID() is None
    assert slicer.util.getNode("Hidden")


def test_label_file_loads_as_label_volume_or_segmentation(slicer_app, segmentation):
    labelmap = slicer.util.loadLabelVolume(str(SAMPLE / "spleen.nii.gz"))
    assert labelmap.IsA("vtkMRMLLabelMapVolumeNode")
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_loading_a_missing_file_raises(slicer_app, tmp_path):
    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"))


def test_saved_scene_is_loaded_with_its_hierarchy(ct, segmentation, tmp_path):
    segmentation.GetSegmentation().GetNthSegment(0).SetName("Mine")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert hierarchy_names() == []

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    (again,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert again.GetSegmentation().GetNthSegment(0).GetName() == "Mine"
    assert sorted(hierarchy_names()) == sorted(["ct", "spleen.nii.gz", "Mine"])


# Subject hierarchy


def test_subject_hierarchy_follows_nodes_and_segments(ct, segmentation):
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


def test_hidden_node_has_no_subject_hierarchy_item(slicer_app):
    slicer.mrmlScene.AddNode(slicer.vtkMRMLScriptedModuleNode())
    hidden = slicer.vtkMRMLModelNode()
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    assert hierarchy_names() == []


# The application


def test_python_slicer_runs_a_script(slicer_app):
    result = subprocess.run([shutil.which("PythonSlicer"), "-c", "print(6 * 7)"], capture_output=True, encoding="utf-8")
    assert result.stdout.strip() == "42"


def test_new_scene_is_empty_and_used_by_the_application(slicer_app, ct):
    import standin

    before = slicer.mrmlScene
    standin.newScene()
    assert slicer.mrmlScene is not before
    assert slicer_app.mrmlScene() is slicer.mrmlScene
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert slicer_app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetScene() is slicer.mrmlScene


def test_layout_has_slicers_initial_views(slicer_app):
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


def test_segment_editor_keeps_the_segmentation_and_volume_it_was_given(ct, segmentation):
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(ct)
    assert slicer.util.selectedModule() == "SegmentEditor"
    node = editor.mrmlSegmentEditorNode()
    assert (node.GetSegmentationNode(), node.GetSourceVolumeNode()) == (segmentation, ct)
    assert editor.currentSegmentID() == segmentation.GetSegmentation().GetNthSegmentID(0)


def test_window_shows_the_panel_next_to_the_views(slicer_app, ct, tmp_path):
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


def test_dark_theme_changes_existing_widgets(slicer_app):
    import qt

    from standin import theme

    label = qt.QLabel()
    try:
        theme.setTheme("dark")
        assert label.palette.window().color().lightness() < 100
    finally:
        theme.setTheme("light")
    assert label.palette.window().color().lightness() > 200
