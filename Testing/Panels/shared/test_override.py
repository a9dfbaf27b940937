"""Temporary changes to settings of the user's nodes (tier 2)."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")

from slicer_scene import new_scene
from SpleenSmoothSegPanels.shared.override import override, restore

pytestmark = pytest.mark.slicer


@pytest.fixture
def scene():
    scene = new_scene()
    yield scene
    scene.Clear(True)


@pytest.fixture
def view(scene):
    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    view.SetForegroundOpacity(0.25)
    return view


def test_restore_sets_the_first_value(view):
    override("a", view, "ForegroundOpacity", 0.5)
    override("a", view, "ForegroundOpacity", 0.75)
    assert view.GetForegroundOpacity() == 0.75
    restore("a")
    assert view.GetForegroundOpacity() == 0.25
    assert not view.GetAttributeNames()


def test_restore_keeps_what_the_user_changed(view):
    override("a", view, "ForegroundOpacity", 0.5)
    view.SetForegroundOpacity(1.0)
    restore("a")
    assert view.GetForegroundOpacity() == 1.0


def test_restore_of_one_owner_leaves_those_of_another(view):
    override("a", view, "ForegroundOpacity", 0.5)
    override("b", view, "LabelOpacity", 0.125)
    restore("b")
    assert (view.GetForegroundOpacity(), view.GetLabelOpacity()) == (0.5, 1.0)
    restore("a")
    assert view.GetForegroundOpacity() == 0.25


def test_settings_with_different_keys_are_separate(scene):
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    first, second = (segmentation.GetSegmentation().AddEmptySegment(name) for name in ("first", "second"))
    display = segmentation.GetDisplayNode()
    display.SetSegmentVisibility2DFill(second, False)
    for segment in (first, second):
        override("a", display, "SegmentVisibility2DFill", False, segment)
    restore("a")
    assert display.GetSegmentVisibility2DFill(first)
    assert not display.GetSegmentVisibility2DFill(second)


def test_restore_of_a_removed_node_sets_none(scene, view):
    former = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "former")
    overlay = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "overlay")
    view.SetForegroundVolumeID(former.GetID())
    override("a", view, "ForegroundVolumeID", overlay.GetID())
    scene.RemoveNode(former)
    restore("a")
    assert view.GetForegroundVolumeID() is None


def test_restore_works_in_a_loaded_scene(scene, view, tmp_path):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "user's")
    overlay = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "overlay")
    overlay.SetSaveWithScene(False)
    view.SetForegroundVolumeID(volume.GetID())
    override("a", view, "ForegroundVolumeID", overlay.GetID())
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.Commit()

    loaded = new_scene()
    loaded.SetURL(str(tmp_path / "scene.mrml"))
    loaded.Connect()
    restore("a")

    view = loaded.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert view.GetForegroundVolumeID() == volume.GetID()
