"""BorderLogic in a real scene: overlay, contours, profile, numbers, and cleanup."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")

import SimpleITK as sitk
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from locations import SAMPLE_DATA
from slicer_scene import add_linear_transform, add_volume, rigid
from SpleenSmoothSegLib.border.kernels import Border, smooth_border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.mrml import addSpleenSegment, imageFromVolumeNode, labelImage

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]

BORDERS = ["gaussian:1.5mm", "box:3px", "svls:1px:3d", "boundary_uncertainty:1px", "signed_distance:4mm:3d", "none"]


def make_label(*arguments):
    from SpleenSmoothSegPanels.shared.widgets import Label  # needs the slicer_app fixture

    return Label(*arguments)


@pytest.fixture
def logic(slicer_app):
    from SpleenSmoothSegPanels.border.logic import BorderLogic

    logic = BorderLogic()
    yield logic
    logic.hide()


@pytest.fixture
def ct(slicer_app):
    node = slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"))
    slicer.util.setSliceViewerLayers(background=node)
    return node


@pytest.fixture
def spleen(ct, sample_label):
    """The sample's label as a segment."""
    return make_label(*addSpleenSegment(sample_label, ct))


def helpers():
    """The nodes that are not saved with the scene, by name."""
    nodes = [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    return {node.GetName(): node for node in nodes if not node.GetSaveWithScene()}


def data():
    """Names of all nodes except views, which layouts create."""
    return {n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLNode") if not n.IsA("vtkMRMLAbstractViewNode")}


def views():
    """The layers of each slice view, and the opacity of the foreground."""
    return [
        (c.GetBackgroundVolumeID(), c.GetForegroundVolumeID(), c.GetForegroundOpacity(), c.GetLabelVolumeID())
        for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    ]


def attributes():
    return [
        n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLNode") if n.GetAttribute("SpleenSmoothSeg.override")
    ]


def overlay_on(reference: sitk.Image) -> sitk.Image:
    """The overlay on a grid that contains its own; 0 elsewhere."""
    shown = imageFromVolumeNode(helpers()["Soft border overlay"])
    return sitk.Resample(shown, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)


def same_voxels(first: sitk.Image, second: sitk.Image, tolerance: float = 1e-5) -> bool:
    return np.allclose(sitk.GetArrayViewFromImage(first), sitk.GetArrayViewFromImage(second), atol=tolerance)


# Overlay and contours


@pytest.mark.parametrize("border", BORDERS)
def test_overlay_equals_soft_label_of_training_on_ct_grid(logic, ct, spleen, border):
    logic.show(spleen, ct, Border.parse(border), 0.5)

    expected = smooth_border(labelImage(*spleen, ct), Border.parse(border))
    assert same_voxels(overlay_on(expected), expected)


@pytest.mark.parametrize("matrix", [np.eye(4), rigid((10, -20, 30), (5, 6, 7))], ids=["in place", "moved"])
def test_overlay_of_labelmap_volume_is_in_world_coordinates(logic, slicer_app, sample_label, matrix):
    volume = add_volume(slicer.mrmlScene, sample_label)
    labelmap = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Label")
    slicer.modules.volumes.logic().CreateLabelVolumeFromVolume(slicer.mrmlScene, labelmap, volume)
    labelmap.SetAndObserveTransformNodeID(add_linear_transform(slicer.mrmlScene, matrix).GetID())

    logic.show(make_label(labelmap), None, Border.parse("gaussian:3mm"), 0.5)

    expected = smooth_border(labelImage(labelmap), Border.parse("gaussian:3mm"))
    assert same_voxels(overlay_on(expected), expected)


def test_overlay_of_segment_without_ct_is_padded(logic, ct, spleen):
    logic.show(spleen, None, Border.parse("gaussian:3mm"), 0.5)
    alone = helpers()["Soft border overlay"]
    alone = imageFromVolumeNode(alone)
    on_ct = smooth_border(labelImage(*spleen, ct), Border.parse("gaussian:3mm"))
    # The sample's spleen touches the top slice of its CT; without the CT, the soft label continues beyond it.
    inside = sitk.Resample(alone, on_ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    assert same_voxels(inside, on_ct)


def test_contours_are_at_0_5_of_label_and_soft_label(logic, ct, spleen):
    logic.show(spleen, ct, Border.parse("gaussian:4mm"), 0.5)

    soft = imageFromVolumeNode(helpers()["Soft border overlay"])
    hard = sitk.Cast(sitk.ReadImage(str(SAMPLE_DATA / "spleen.nii.gz")), sitk.sitkFloat32)
    for name, image in (("soft", soft), ("hard", hard)):
        points = slicer.util.arrayFromModelPoints(helpers()[f"Soft border {name} contour"])
        values = [value_at(image, point * [-1, -1, 1]) for point in points[::31]]
        values = np.array([value for value in values if value is not None])
        assert len(values) > 50
        assert np.abs(values - 0.5).max() < 1e-3


def value_at(image: sitk.Image, lps) -> float | None:
    """The interpolated value; None outside of the image."""
    index = image.TransformPhysicalPointToContinuousIndex([float(x) for x in lps])
    inside = all(0 <= i <= size - 1 for i, size in zip(index, image.GetSize(), strict=True))
    return image.EvaluateAtContinuousIndex(index, sitk.sitkLinear) if inside else None


def test_slice_view_renders_ct_overlay_and_both_contours(logic, ct, spleen):
    from standin.views import renderSlice

    center = spleen.node.GetSegmentCenterRAS(spleen.segmentId)
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *center)
    before = renderSlice("Red").astype(int)

    logic.show(spleen, ct, Border.parse("gaussian:4mm"), 0.5)
    shown = renderSlice("Red").astype(int)
    red, green, blue = np.moveaxis(shown, -1, 0)
    assert ((red > 130) & (green > 130) & (blue < 110)).sum() > 300  # viridis at 1 is yellow, over a gray CT
    assert ((red > 200) & (np.abs(green - 90) < 40) & (blue < 110)).sum() > 50  # the soft label's contour
    assert ((shown > 220).all(axis=-1) & (before < 200).all(axis=-1)).sum() > 50  # the label's contour
    assert (shown == before).all(axis=-1).mean() > 0.5  # unchanged where the soft label is 0

    logic.hide()
    assert np.array_equal(renderSlice("Red"), before)


def test_show_new_width_reuses_nodes(logic, ct, spleen):
    assert logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    nodes = helpers()
    assert logic.show(spleen, ct, Border.parse("gaussian:5mm"), 0.5)
    assert helpers() == nodes


def test_show_new_opacity_does_not_recompute_soft_label(logic, ct, spleen):
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    assert not logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.3)
    assert [opacity for _, _, opacity, _ in views()] == [0.3] * len(views())


# The user's data and views


def stored(segmentation, segment_id: str) -> bytes:

    labelmap = segmentation.GetSegmentation().GetSegment(segment_id).GetRepresentation("Binary labelmap")
    return slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, segment_id).tobytes() + bytes(
        str(labelmap.GetExtent()), "ascii"
    )


def test_preview_does_not_change_label_and_ct(logic, ct, spleen):
    before = stored(*spleen), slicer.util.arrayFromVolume(ct).tobytes(), ct.GetMTime()
    logic.show(spleen, ct, Border.parse("box:5mm:3d"), 0.5)
    logic.measure()
    logic.hide()
    assert (stored(*spleen), slicer.util.arrayFromVolume(ct).tobytes(), ct.GetMTime()) == before


def test_hide_restores_views_and_removes_nodes(logic, ct, spleen):
    other = slicer.modules.volumes.logic().CloneVolume(ct, "PET")
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.25)
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    logic.hide()
    before, nodes = views(), data()  # including the color map, which remains

    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    logic.show(spleen, ct, Border.parse("gaussian:4mm"), 0.7)
    logic.measure()
    logic.showProfile()
    assert views() != before
    logic.hide()

    assert views() == before
    assert before[0][1:3] == (other.GetID(), 0.25)
    assert data() == nodes
    assert not attributes()


def test_label_is_hidden_during_preview_only(logic, ct, spleen):
    display = spleen.node.GetDisplayNode()
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    assert not display.GetSegmentVisibility2DFill(spleen.segmentId)
    assert not display.GetSegmentVisibility2DOutline(spleen.segmentId)
    logic.hide()
    assert display.GetSegmentVisibility2DFill(spleen.segmentId)
    assert display.GetSegmentVisibility2DOutline(spleen.segmentId)


def test_hide_restores_layout_after_profile(logic, ct, spleen):
    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    before = layout.GetViewArrangement()
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    logic.measure()
    logic.showProfile()
    assert layout.GetViewArrangement() != before
    logic.hide()
    assert layout.GetViewArrangement() == before


def test_hide_keeps_foreground_changed_by_user(logic, ct, spleen):
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    slicer.util.setSliceViewerLayers(foreground=ct, foregroundOpacity=0.9)
    logic.hide()
    assert {layers[1:3] for layers in views()} == {(ct.GetID(), 0.9)}


def test_preview_nodes_are_hidden_from_selectors_and_hierarchy(logic, ct, spleen):
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert len(helpers()) >= 3
    assert all(node.GetHideFromEditors() for node in helpers().values())
    assert not any(hierarchy.GetItemByDataNode(node) for node in helpers().values())


def test_scene_saved_during_preview_is_restored_after_loading(logic, ct, spleen, tmp_path):
    from SpleenSmoothSegPanels.border.logic import BorderLogic

    slicer.util.setSliceViewerLayers(foreground=ct, foregroundOpacity=0.25)
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    logic.measure()
    logic.showProfile()
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    logic.hide()
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    BorderLogic().hide()

    assert not helpers().keys() & {"Soft border overlay", "Soft border soft contour", "Soft border profile"}
    assert {layers[1:3] for layers in views()} == {(slicer.util.getNode("ct").GetID(), 0.25)}
    segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert segmentation.GetDisplayNode().GetSegmentVisibility2DFill(spleen.segmentId)
    assert not attributes()


# Changes of the label


def record_changes(logic) -> list:
    changes = []
    logic.onLabelChanged = lambda: changes.append(1)
    return changes


def paint(segmentation, segment_id: str, ct, change) -> None:

    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, ct)
    change(array)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segment_id, ct)


def test_edited_segment_is_reported_and_recomputed(logic, ct, spleen):
    changes = record_changes(logic)
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    assert not changes

    def cut(array):
        array[: array.shape[0] * 3 // 4] = 0

    paint(*spleen, ct, cut)
    assert changes
    assert logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    expected = smooth_border(labelImage(*spleen, ct), Border.parse("gaussian:1mm"))
    assert same_voxels(overlay_on(expected), expected)


@pytest.mark.parametrize("what", ["label", "ct"])
def test_moved_label_or_ct_is_reported(logic, ct, spleen, what):
    changes = record_changes(logic)
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    moved = {"label": spleen.node, "ct": ct}[what]
    transform = add_linear_transform(slicer.mrmlScene, rigid(shift_mm=(10, 0, 0)))
    moved.SetAndObserveTransformNodeID(transform.GetID())
    assert changes
    changes.clear()
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(20, 0, 0))))
    assert changes


def test_no_changes_are_reported_after_hide(logic, ct, spleen):
    changes = record_changes(logic)
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    logic.hide()
    paint(*spleen, ct, lambda array: array.fill(0))
    assert not changes


# Profile and numbers


def test_profile_decreases_outward_and_hard_label_steps_at_border(logic, ct, spleen):
    logic.show(spleen, ct, Border.parse("gaussian:3mm"), 0.5)
    effect, remarks = logic.measure()

    table = helpers()["Soft border profile table"].GetTable()
    distance, soft, hard = (vtk_to_numpy(table.GetColumn(index)) for index in range(3))
    assert distance.min() < -3 and distance.max() > 3
    assert set(hard) == {0.0, 1.0}
    assert np.array_equal(hard[distance != 0], distance[distance != 0] > 0)
    assert hard[distance == 0][[0, -1]].tolist() == [0, 1]  # vertical step at the border
    assert soft[distance > 8].min() > 0.95 and soft[distance < -8].max() < 0.05
    assert effect.band_mm > 3
    assert remarks and all(isinstance(remark, str) for remark in remarks)


def test_measure_differs_between_hard_and_soft_border(logic, ct, spleen):
    logic.show(spleen, ct, Border.parse("none"), 0.5)
    hard, _ = logic.measure()
    logic.show(spleen, ct, Border.parse("gaussian:4mm:3d"), 0.5)
    soft, _ = logic.measure()
    assert hard.volume_change_ml == pytest.approx(0)
    assert soft.band_mm > hard.band_mm + 3
    assert soft.contour_shift_p95_mm > hard.contour_shift_p95_mm


# Invalid labels


def empty_segment(spleen):
    return make_label(spleen.node, spleen.node.GetSegmentation().AddEmptySegment("Empty"))


def far_away(spleen, ct):
    transform = add_linear_transform(slicer.mrmlScene, rigid(shift_mm=(5000, 0, 0)))
    ct.SetAndObserveTransformNodeID(transform.GetID())
    return spleen, ct


BAD_LABELS = {
    "choose": lambda spleen, ct: (make_label(), ct),
    "is empty": lambda spleen, ct: (empty_segment(spleen), ct),
    "is empty; choose": lambda spleen, ct: (empty_segment(spleen), None),
    "lies outside of": far_away,
    "no segment": lambda spleen, ct: (make_label(spleen.node, "missing"), ct),
}


@pytest.mark.parametrize("message", BAD_LABELS)
def test_show_invalid_label_raises_one_line_error_and_shows_nothing(logic, ct, spleen, message):
    before = views()
    bad = BAD_LABELS[message](spleen, ct)
    with pytest.raises(UserError, match=message) as caught:
        logic.show(*bad, Border.parse("gaussian:1mm"), 0.5)
    assert "\n" not in str(caught.value)
    assert views() == before
    assert not helpers().keys() & {"Soft border overlay"}


def test_show_invalid_label_removes_previous_preview(logic, ct, spleen):
    before = views()
    logic.show(spleen, ct, Border.parse("gaussian:1mm"), 0.5)
    with pytest.raises(UserError):
        logic.show(make_label(), ct, Border.parse("gaussian:1mm"), 0.5)
    assert views() == before


# Files


@pytest.mark.parametrize("name", ["soft.nii.gz", "soft.nrrd", "soft"])
def test_save_soft_label_is_on_ct_grid(logic, ct, spleen, tmp_path, sample_label, name):
    path = logic.saveSoftLabel(spleen, ct, Border.parse("gaussian:2mm"), str(tmp_path / name))

    assert path.parent == tmp_path and path.name.startswith(name)
    written = sitk.ReadImage(str(path))
    expected = smooth_border(sample_label, Border.parse("gaussian:2mm"))
    assert written.GetPixelID() == sitk.sitkFloat32
    assert written.GetSize() == expected.GetSize()
    assert np.allclose(written.GetOrigin(), expected.GetOrigin(), atol=1e-3)
    assert same_voxels(written, expected)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["soft.seg.nrrd", "soft.png"])
def test_save_soft_label_rejects_segmentation_and_picture_names(logic, ct, spleen, tmp_path, name):
    with pytest.raises(UserError, match="not a volume file name"):
        logic.saveSoftLabel(spleen, ct, Border.parse("gaussian:2mm"), str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_save_soft_label_without_suffix_does_not_replace_file(logic, ct, spleen, tmp_path):
    (tmp_path / "soft.nii.gz").write_text("precious")
    with pytest.raises(UserError, match="already exists"):
        logic.saveSoftLabel(spleen, ct, Border.parse("gaussian:2mm"), str(tmp_path / "soft"))
    assert (tmp_path / "soft.nii.gz").read_text() == "precious"
