"""The soft border preview in a real scene: overlay, contours, profile, and what it leaves behind (nothing)."""

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
    """Segmentation and segment id of the sample's label."""
    return addSpleenSegment(sample_label, ct)


def helpers():
    """The nodes that are not saved with the scene, by name."""
    nodes = [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]
    return {node.GetName(): node for node in nodes if not node.GetSaveWithScene()}


def data():
    """The names of all nodes but the views that a layout makes."""
    return {n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLNode") if not n.IsA("vtkMRMLAbstractViewNode")}


def views():
    """What each slice view shows in its three layers, and how opaque."""
    return [
        (c.GetBackgroundVolumeID(), c.GetForegroundVolumeID(), c.GetForegroundOpacity(), c.GetLabelVolumeID())
        for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    ]


def attributes():
    return [
        n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLNode") if n.GetAttribute("SpleenSmoothSeg.override")
    ]


def overlay_on(reference: sitk.Image) -> sitk.Image:
    """What the overlay shows, on a grid of which its own is a part; 0 elsewhere."""
    shown = imageFromVolumeNode(helpers()["Soft border overlay"])
    return sitk.Resample(shown, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)


def same_voxels(first: sitk.Image, second: sitk.Image, tolerance: float = 1e-5) -> bool:
    return np.allclose(sitk.GetArrayViewFromImage(first), sitk.GetArrayViewFromImage(second), atol=tolerance)


# What is shown


@pytest.mark.parametrize("border", BORDERS)
def test_the_overlay_is_the_soft_label_of_training_on_the_grid_of_the_ct(logic, ct, spleen, border):
    logic.show(*spleen, ct, border, 0.5)

    expected = smooth_border(labelImage(*spleen, ct), Border.parse(border))
    assert same_voxels(overlay_on(expected), expected)


@pytest.mark.parametrize("matrix", [np.eye(4), rigid((10, -20, 30), (5, 6, 7))], ids=["in place", "moved"])
def test_a_labelmap_volume_is_softened_where_it_lies(logic, slicer_app, sample_label, matrix):
    volume = add_volume(slicer.mrmlScene, sample_label)
    labelmap = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Label")
    slicer.modules.volumes.logic().CreateLabelVolumeFromVolume(slicer.mrmlScene, labelmap, volume)
    labelmap.SetAndObserveTransformNodeID(add_linear_transform(slicer.mrmlScene, matrix).GetID())

    logic.show(labelmap, "", None, "gaussian:3mm", 0.5)

    expected = smooth_border(labelImage(labelmap), Border.parse("gaussian:3mm"))
    assert same_voxels(overlay_on(expected), expected)


def test_without_a_ct_a_segment_is_softened_with_room_around_it(logic, ct, spleen):
    logic.show(*spleen, None, "gaussian:3mm", 0.5)
    alone = helpers()["Soft border overlay"]
    alone = imageFromVolumeNode(alone)
    on_ct = smooth_border(labelImage(*spleen, ct), Border.parse("gaussian:3mm"))
    # The sample's spleen touches the uppermost slice of its CT, beyond which only the label alone goes on.
    inside = sitk.Resample(alone, on_ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    assert same_voxels(inside, on_ct)


def test_the_contours_lie_where_label_and_soft_label_are_one_half(logic, ct, spleen):
    logic.show(*spleen, ct, "gaussian:4mm", 0.5)

    soft = imageFromVolumeNode(helpers()["Soft border overlay"])
    hard = sitk.Cast(sitk.ReadImage(str(SAMPLE_DATA / "spleen.nii.gz")), sitk.sitkFloat32)
    for name, image in (("soft", soft), ("hard", hard)):
        points = slicer.util.arrayFromModelPoints(helpers()[f"Soft border {name} contour"])
        values = [value_at(image, point * [-1, -1, 1]) for point in points[::31]]
        values = np.array([value for value in values if value is not None])
        assert len(values) > 50
        assert np.abs(values - 0.5).max() < 1e-3


def value_at(image: sitk.Image, lps) -> float | None:
    """The image's value between its voxels, None outside of it."""
    index = image.TransformPhysicalPointToContinuousIndex([float(x) for x in lps])
    inside = all(0 <= i <= size - 1 for i, size in zip(index, image.GetSize(), strict=True))
    return image.EvaluateAtContinuousIndex(index, sitk.sitkLinear) if inside else None


def test_the_slice_view_shows_ct_overlay_and_both_contours(logic, ct, spleen):
    from standin.views import renderSlice

    segmentation, segment_id = spleen
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *segmentation.GetSegmentCenterRAS(segment_id))
    before = renderSlice("Red").astype(int)

    logic.show(*spleen, ct, "gaussian:4mm", 0.5)
    shown = renderSlice("Red").astype(int)
    red, green, blue = np.moveaxis(shown, -1, 0)
    assert ((red > 130) & (green > 130) & (blue < 110)).sum() > 300  # viridis at 1 is yellow, over a gray CT
    assert ((red > 200) & (np.abs(green - 90) < 40) & (blue < 110)).sum() > 50  # the soft label's contour
    assert ((shown > 220).all(axis=-1) & (before < 200).all(axis=-1)).sum() > 50  # the label's own
    assert (shown == before).all(axis=-1).mean() > 0.5  # nothing where the soft label is 0

    logic.hide()
    assert np.array_equal(renderSlice("Red"), before)


def test_a_new_width_changes_the_nodes_that_are_there(logic, ct, spleen):
    assert logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    nodes = helpers()
    assert logic.show(*spleen, ct, "gaussian:5mm", 0.5)
    assert helpers() == nodes


def test_another_opacity_is_no_new_soft_label(logic, ct, spleen):
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    assert not logic.show(*spleen, ct, "gaussian:1mm", 0.3)
    assert [opacity for _, _, opacity, _ in views()] == [0.3] * len(views())


# What becomes of the user's data


def stored(segmentation, segment_id: str) -> bytes:

    labelmap = segmentation.GetSegmentation().GetSegment(segment_id).GetRepresentation("Binary labelmap")
    return slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, segment_id).tobytes() + bytes(
        str(labelmap.GetExtent()), "ascii"
    )


def test_label_and_ct_are_not_changed(logic, ct, spleen):
    before = stored(*spleen), slicer.util.arrayFromVolume(ct).tobytes(), ct.GetMTime()
    logic.show(*spleen, ct, "box:5mm:3d", 0.5)
    logic.measure()
    logic.hide()
    assert (stored(*spleen), slicer.util.arrayFromVolume(ct).tobytes(), ct.GetMTime()) == before


def test_hidden_again_it_leaves_nothing(logic, ct, spleen):
    other = slicer.modules.volumes.logic().CloneVolume(ct, "PET")
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.25)
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    logic.hide()
    before, nodes = views(), data()  # with the color map, which stays

    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    logic.show(*spleen, ct, "gaussian:4mm", 0.7)
    logic.measure()
    logic.showProfile()
    assert views() != before
    logic.hide()

    assert views() == before
    assert before[0][1:3] == (other.GetID(), 0.25)
    assert data() == nodes
    assert not attributes()


def test_the_label_makes_room_for_the_overlay_and_comes_back(logic, ct, spleen):
    display = spleen[0].GetDisplayNode()
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    assert not display.GetSegmentVisibility2DFill(spleen[1])
    assert not display.GetSegmentVisibility2DOutline(spleen[1])
    logic.hide()
    assert display.GetSegmentVisibility2DFill(spleen[1])
    assert display.GetSegmentVisibility2DOutline(spleen[1])


def test_the_layout_comes_back_after_the_profile(logic, ct, spleen):
    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    before = layout.GetViewArrangement()
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    logic.measure()
    logic.showProfile()
    assert layout.GetViewArrangement() != before
    logic.hide()
    assert layout.GetViewArrangement() == before


def test_what_the_user_lays_over_meanwhile_stays(logic, ct, spleen):
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    slicer.util.setSliceViewerLayers(foreground=ct, foregroundOpacity=0.9)
    logic.hide()
    assert {layers[1:3] for layers in views()} == {(ct.GetID(), 0.9)}


def test_helpers_are_in_no_selector_and_no_hierarchy(logic, ct, spleen):
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert len(helpers()) >= 3
    assert all(node.GetHideFromEditors() for node in helpers().values())
    assert not any(hierarchy.GetItemByDataNode(node) for node in helpers().values())


def test_a_scene_saved_meanwhile_shows_what_was_there_before(logic, ct, spleen, tmp_path):
    from SpleenSmoothSegPanels.border.logic import BorderLogic

    slicer.util.setSliceViewerLayers(foreground=ct, foregroundOpacity=0.25)
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
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
    assert segmentation.GetDisplayNode().GetSegmentVisibility2DFill(spleen[1])
    assert not attributes()


# The label changes


def changes_heard(logic) -> list:
    heard = []
    logic.onLabelChanged = lambda: heard.append(1)
    return heard


def paint(segmentation, segment_id: str, ct, change) -> None:

    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, ct)
    change(array)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segment_id, ct)


def test_an_edited_segment_is_heard_of_and_softened_anew(logic, ct, spleen):
    heard = changes_heard(logic)
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    assert not heard

    def cut(array):
        array[: array.shape[0] * 3 // 4] = 0

    paint(*spleen, ct, cut)
    assert heard
    assert logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    expected = smooth_border(labelImage(*spleen, ct), Border.parse("gaussian:1mm"))
    assert same_voxels(overlay_on(expected), expected)


@pytest.mark.parametrize("what", ["label", "ct"])
def test_a_moved_label_or_ct_is_heard_of(logic, ct, spleen, what):
    heard = changes_heard(logic)
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    moved = {"label": spleen[0], "ct": ct}[what]
    transform = add_linear_transform(slicer.mrmlScene, rigid(shift_mm=(10, 0, 0)))
    moved.SetAndObserveTransformNodeID(transform.GetID())
    assert heard
    heard.clear()
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(20, 0, 0))))
    assert heard


def test_once_hidden_it_hears_of_nothing(logic, ct, spleen):
    heard = changes_heard(logic)
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    logic.hide()
    paint(*spleen, ct, lambda array: array.fill(0))
    assert not heard


# Profile and numbers


def test_the_profile_falls_from_inside_to_outside_and_meets_the_step_at_the_border(logic, ct, spleen):
    logic.show(*spleen, ct, "gaussian:3mm", 0.5)
    effect, words = logic.measure()

    table = helpers()["Soft border profile table"].GetTable()
    distance, soft, hard = (vtk_to_numpy(table.GetColumn(index)) for index in range(3))
    assert distance.min() < -3 and distance.max() > 3
    assert set(hard) == {0.0, 1.0}
    assert np.array_equal(hard[distance != 0], distance[distance != 0] > 0)
    assert hard[distance == 0][[0, -1]].tolist() == [0, 1]  # upright, at the border
    assert soft[distance > 8].min() > 0.95 and soft[distance < -8].max() < 0.05
    assert effect.band_mm > 3
    assert words and all(isinstance(sentence, str) for sentence in words)


def test_the_numbers_tell_a_hard_border_from_a_soft_one(logic, ct, spleen):
    logic.show(*spleen, ct, "none", 0.5)
    hard, _ = logic.measure()
    logic.show(*spleen, ct, "gaussian:4mm:3d", 0.5)
    soft, _ = logic.measure()
    assert hard.volume_change_ml == pytest.approx(0)
    assert soft.band_mm > hard.band_mm + 3
    assert soft.contour_shift_p95_mm > hard.contour_shift_p95_mm


# What cannot be shown


def empty_segment(spleen, ct):
    segmentation = spleen[0]
    return segmentation, segmentation.GetSegmentation().AddEmptySegment("Empty"), ct


def far_away(spleen, ct):
    transform = add_linear_transform(slicer.mrmlScene, rigid(shift_mm=(5000, 0, 0)))
    ct.SetAndObserveTransformNodeID(transform.GetID())
    return *spleen, ct


BAD_LABELS = {
    "choose": lambda spleen, ct: (None, "", ct),
    "is empty": empty_segment,
    "is empty; choose": lambda spleen, ct: (*empty_segment(spleen, ct)[:2], None),
    "lies outside of": far_away,
    "no segment": lambda spleen, ct: (spleen[0], "not there", ct),
}


@pytest.mark.parametrize("sentence", BAD_LABELS)
def test_a_bad_label_gives_one_sentence_and_shows_nothing(logic, ct, spleen, sentence):
    before = views()
    label = BAD_LABELS[sentence](spleen, ct)
    with pytest.raises(UserError, match=sentence) as caught:
        logic.show(*label, "gaussian:1mm", 0.5)
    assert "\n" not in str(caught.value)
    assert views() == before
    assert not helpers().keys() & {"Soft border overlay"}


def test_a_bad_label_takes_the_former_preview_away(logic, ct, spleen):
    before = views()
    logic.show(*spleen, ct, "gaussian:1mm", 0.5)
    with pytest.raises(UserError):
        logic.show(None, "", ct, "gaussian:1mm", 0.5)
    assert views() == before


def test_a_huge_width_is_refused(logic):
    with pytest.raises(UserError, match="1000"):
        logic.borderText("gaussian", 1000.0, "mm", "2d")


def test_a_border_is_written_as_train_py_takes_it(logic):
    assert logic.borderText("svls", 1.0, "px", "3d") == "svls:1px:3d"
    assert logic.borderText("none", 1.5, "mm", "2d") == "none"


# Files


@pytest.mark.parametrize("name", ["soft.nii.gz", "soft.nrrd", "soft"])
def test_a_saved_soft_label_lies_on_the_grid_of_the_ct(logic, ct, spleen, tmp_path, sample_label, name):
    path = logic.saveSoftLabel(*spleen, ct, "gaussian:2mm", str(tmp_path / name))

    assert path.parent == tmp_path and path.name.startswith(name)
    written = sitk.ReadImage(str(path))
    expected = smooth_border(sample_label, Border.parse("gaussian:2mm"))
    assert written.GetPixelID() == sitk.sitkFloat32
    assert written.GetSize() == expected.GetSize()
    assert np.allclose(written.GetOrigin(), expected.GetOrigin(), atol=1e-3)
    assert same_voxels(written, expected)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["soft.seg.nrrd", "soft.png"])
def test_a_soft_label_is_no_segmentation_and_no_picture(logic, ct, spleen, tmp_path, name):
    with pytest.raises(UserError, match="no volume"):
        logic.saveSoftLabel(*spleen, ct, "gaussian:2mm", str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_a_name_without_suffix_never_replaces_a_file(logic, ct, spleen, tmp_path):
    (tmp_path / "soft.nii.gz").write_text("precious")
    with pytest.raises(UserError, match="there already"):
        logic.saveSoftLabel(*spleen, ct, "gaussian:2mm", str(tmp_path / "soft"))
    assert (tmp_path / "soft.nii.gz").read_text() == "precious"
