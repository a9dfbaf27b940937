"""The result in the Segment panel: views, table, uncertainty map, uncertain slices, and Segment Editor."""

import json

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")
pytest.importorskip("psutil", reason="needs psutil, to see which processes run")

import slicer

from locations import SAMPLE_DATA
from segment_children import EMITS, SUCCEEDS, WRITES
from segment_runs import node_ids

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]


def slice_center():
    """The intersection of the three slice views, world RAS."""
    red, green, yellow = (
        slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{color}") for color in ("Red", "Green", "Yellow")
    )
    offsets = [node.GetSliceToRAS().GetElement(axis, 3) for axis, node in enumerate((yellow, green, red))]
    return np.array(offsets)


def result_of(opened) -> dict:
    return json.loads(opened.chosen.segmentResult)["result"]


def ras(point_lps):
    return np.multiply(point_lps, (-1, -1, 1))


def backgrounds():
    return {node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}


def foregrounds():
    return {node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}


def test_segment_is_visible_and_centered_in_all_views(segmented, ct):
    display = segmented.chosen.segmentResultNode.GetDisplayNode()
    segment = segmented.chosen.segmentResultNode.GetSegmentation().GetSegment(segmented.chosen.segmentResultId)
    center = result_of(segmented)["center_lps"]

    assert display.GetVisibility() and display.GetVisibility2D() and display.GetVisibility3D()
    assert segment.GetRepresentation("Closed surface").GetNumberOfPoints() > 0
    assert np.allclose(slice_center(), ras(center), atol=2)
    assert backgrounds() == {ct.GetID()}


def test_segmented_ct_replaces_another_ct_in_the_slice_views(open_panel, ct):
    slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"), {"name": "Other"})
    opened = open_panel(SUCCEEDS)
    opened.ui.inputSelector.setCurrentNode(ct)

    opened.segment()

    assert backgrounds() == {ct.GetID()}


def test_table_is_copied_as_text(segmented):
    import qt

    segmented.ui.copyButton.click()

    lines = qt.QApplication.clipboard().text().splitlines()
    assert dict(line.split("\t") for line in lines) == segmented.table()
    assert segmented.table()["Volume (mL)"] == "18.0"


def test_uncertainty_map_is_created_when_first_shown_and_can_be_hidden(segmented):
    before = node_ids()
    assert not segmented.ui.uncertaintyMapCheckBox.checked

    segmented.ui.uncertaintyMapCheckBox.click()
    node = segmented.chosen.segmentUncertaintyMap
    assert node and node.GetID() not in before
    assert foregrounds() == {node.GetID()}

    segmented.ui.uncertaintyMapCheckBox.click()
    assert foregrounds() == {None}
    segmented.ui.uncertaintyMapCheckBox.click()
    assert foregrounds() == {node.GetID()} and segmented.chosen.segmentUncertaintyMap is node


def test_new_run_hides_the_old_uncertainty_map(segmented):
    segmented.ui.uncertaintyMapCheckBox.click()

    segmented.segment()

    assert not segmented.ui.uncertaintyMapCheckBox.checked
    assert foregrounds() == {None}


def test_empty_uncertainty_map_cannot_be_shown(open_panel, ct):
    opened = open_panel(EMITS + WRITES + "emit_result(uncertainty=0, fold_agreement=1.0, uncertain_places=[])")

    opened.segment()

    assert opened.chosen.segmentResultNode
    assert not opened.ui.uncertaintyMapCheckBox.enabled
    assert not opened.ui.nextUncertainButton.enabled


def test_next_uncertain_slice_wraps_around(segmented):
    places = [ras(place["point_lps"]) for place in result_of(segmented)["uncertain_places"]]
    visited = []
    for _step in range(3):
        segmented.ui.nextUncertainButton.click()
        visited.append((segmented.ui.uncertainPlaceLabel.text, slice_center()))

    assert [label for label, _center in visited] == ["1 of 2", "2 of 2", "1 of 2"]
    assert np.allclose(visited[0][1], places[0], atol=2) and np.allclose(visited[1][1], places[1], atol=2)
    assert not np.allclose(visited[0][1], visited[1][1], atol=2)


def test_edit_opens_segment_editor_with_the_segment(segmented, ct):
    segmented.ui.editButton.click()

    assert slicer.util.selectedModule() == "SegmentEditor"
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    assert editor.segmentationNode() is segmented.chosen.segmentResultNode
    assert editor.sourceVolumeNode() is ct
    assert editor.currentSegmentID() == segmented.chosen.segmentResultId


def test_removing_the_result_nodes_disables_the_buttons(segmented, ct):
    slicer.mrmlScene.RemoveNode(segmented.chosen.segmentResultNode)
    assert not segmented.ui.editButton.enabled

    slicer.mrmlScene.RemoveNode(ct)

    assert not segmented.ui.nextUncertainButton.enabled
    assert not segmented.ui.uncertaintyMapCheckBox.enabled


def test_warning_is_shown_with_the_result(open_panel, ct):
    opened = open_panel(EMITS + WRITES + 'emit("warning", message="The CPU is used.")\nemit_result()')

    opened.segment()

    assert opened.message == 'The spleen was added to "Patient segmentation". The CPU is used.'


def test_empty_result_shows_an_error_and_no_table(open_panel, ct):
    opened = open_panel(EMITS + WRITES + "emit_result(volume_ml=0.0, center_lps=None)")

    opened.segment()

    assert "No spleen was found" in opened.message
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert not opened.ui.resultFrame.visible
