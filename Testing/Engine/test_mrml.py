"""Conversion between MRML nodes and images, on Slicer's own MRML libraries."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")

import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from locations import REPOSITORY
from slicer_scene import (
    add_bending_transform,
    add_linear_transform,
    add_volume,
    ijk_to_ras,
    label_center,
    load_volume,
    new_scene,
    rigid,
    segment_center,
)
from SpleenSmoothSegLib import mrml
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]

ENTRY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^78961009^Spleen~^^~Anatomic codes - DICOM master list~^^~^^"
)
ROOT = REPOSITORY
SAMPLE = ROOT / "SpleenSmoothSeg" / "Resources" / "SampleData"
OPEN = ROOT.parent / "shared" / "data" / "Task09_SpleenOpen"


def unchanged(image):
    return image


def flipped(image):
    """Left-handed: one axis is flipped in memory."""
    return sitk.Flip(image, [True, False, False])


def mirrored(image):
    """Left-handed: one axis of the direction matrix is mirrored."""
    image = sitk.Image(image)
    image.SetDirection((np.reshape(image.GetDirection(), (3, 3)) * [1, 1, -1]).ravel().tolist())
    return image


def permuted(image):
    return sitk.PermuteAxes(image, [2, 0, 1])


def oblique(image):
    image = sitk.Image(image)
    image.SetDirection(rigid((12, -20, 33))[:3, :3].ravel().tolist())
    return image


def oblique_anisotropic_left_handed(image):
    image = sitk.PermuteAxes(image[:, ::2, :], [1, 2, 0])
    turned = rigid((-50, 5, 100))[:3, :3] @ np.reshape(image.GetDirection(), (3, 3)) * [1, -1, 1]
    image.SetDirection(turned.ravel().tolist())
    image.SetSpacing([0.7, 5.0, 1.9])
    return image


GRIDS = [unchanged, flipped, mirrored, permuted, oblique, oblique_anisotropic_left_handed]

LINEAR = {
    "no transform": [],
    "shift": [rigid(shift_mm=(40, -30, 25))],
    "rotation": [rigid((10, 20, -70), (5, 6, 7))],
    "nested": [rigid((30, 0, 0), (0, 100, 0)), rigid((0, 45, 15), (-50, 0, 9)), rigid(shift_mm=(1, 2, 3))],
    "scaled and mirrored": [rigid((5, 0, 80)) @ np.diag([-1.25, 1.25, 1.25, 1])],
}


@pytest.fixture
def scene():
    scene = new_scene()
    yield scene
    scene.Clear(True)


@pytest.fixture(scope="session")
def sample():
    return sitk.ReadImage(str(SAMPLE / "ct.nii.gz")), sitk.ReadImage(str(SAMPLE / "spleen.nii.gz")) != 0


@pytest.fixture
def volume(scene):
    return load_volume(scene, SAMPLE / "ct.nii.gz")


@pytest.fixture
def mask(sample):
    return sample[1]


def under(scene, matrices, node):
    """Place the node under nested transforms, innermost first; returns their product."""
    product, parent = np.eye(4), None
    for matrix in reversed(matrices):
        parent = add_linear_transform(scene, matrix, parent)
        product = product @ matrix
    node.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
    return product


def moved_to(mask, volume):
    """The label's voxels on the current grid of ``imageFromVolumeNode``."""
    moved = sitk.Image(mask)
    moved.CopyInformation(mrml.imageFromVolumeNode(volume))
    return moved


def segments(node):
    """Everything that Slicer stores for each segment, bit for bit."""
    stored = []
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        segment = node.GetSegmentation().GetSegment(segment_id)
        tags, matrix = vtk.mutable(""), vtk.vtkMatrix4x4()
        segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tags)
        labelmap = segment.GetRepresentation("Binary labelmap")
        labelmap.GetImageToWorldMatrix(matrix)
        voxels = labelmap.GetPointData().GetScalars()
        stored.append(
            (
                (segment_id, segment.GetName(), segment.GetColor(), segment.GetLabelValue(), str(tags)),
                (labelmap.GetExtent(), slicer.util.arrayFromVTKMatrix(matrix).tolist()),
                vtk_to_numpy(voxels).tobytes() if voxels else b"",
            )
        )
    return stored


# Volume to image


@pytest.mark.parametrize("grid", GRIDS)
def test_imageFromVolumeNode_equals_the_file(scene, sample, tmp_path, grid):
    expected = grid(sample[0])
    sitk.WriteImage(expected, str(tmp_path / "ct.nrrd"))

    image = mrml.imageFromVolumeNode(load_volume(scene, tmp_path / "ct.nrrd"))

    assert image.GetPixelID() == expected.GetPixelID()
    resampled = sitk.Resample(image, expected, sitk.Transform(), sitk.sitkNearestNeighbor, -5000)
    assert np.array_equal(sitk.GetArrayViewFromImage(resampled), sitk.GetArrayViewFromImage(expected))


@pytest.mark.parametrize("pixel_type", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkFloat32])
def test_imageFromVolumeNode_keeps_value_and_type(scene, sample, tmp_path, pixel_type):
    expected = sitk.Cast(sitk.Clamp(sample[0], sitk.sitkInt16, 0, 200), pixel_type)
    sitk.WriteImage(expected, str(tmp_path / "ct.nrrd"))

    image = mrml.imageFromVolumeNode(load_volume(scene, tmp_path / "ct.nrrd"))

    assert image.GetPixelID() == pixel_type
    assert np.array_equal(sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(expected))


def test_imageFromVolumeNode_orthonormalizes_rounded_directions(scene, volume):
    directions = np.round(rigid((12, -20, 33))[:3, :3], 4)
    volume.SetIJKToRASDirections(directions.tolist())

    axes = np.reshape(mrml.imageFromVolumeNode(volume).GetDirection(), (3, 3))

    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-12)


def test_imageFromVolumeNode_requires_hardening_of_non_linear_transforms(scene, volume):
    volume.SetAndObserveTransformNodeID(add_bending_transform(scene).GetID())
    with pytest.raises(UserError, match="harden"):
        mrml.imageFromVolumeNode(volume)

    volume.HardenTransform()

    assert mrml.imageFromVolumeNode(volume).GetDimension() == 3


def test_imageFromVolumeNode_of_sheared_volume_raises_user_error(scene, volume):
    shear = np.eye(4)
    shear[0, 1] = 0.2
    under(scene, [shear], volume)
    with pytest.raises(UserError, match="Crop Volume"):
        mrml.imageFromVolumeNode(volume)

    volume.HardenTransform()

    with pytest.raises(UserError, match="Crop Volume"):
        mrml.imageFromVolumeNode(volume)


@pytest.mark.parametrize("matrix", [np.diag([0.0, 1, 1, 1]), np.full((4, 4), np.nan)])
def test_imageFromVolumeNode_with_singular_or_nan_transform_raises_user_error(scene, volume, matrix):
    under(scene, [matrix], volume)
    with pytest.raises(UserError, match="not perpendicular"):
        mrml.imageFromVolumeNode(volume)


def test_imageFromVolumeNode_of_other_nodes_raises_user_error(scene):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    color = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6, 3)), nodeClassName="vtkMRMLVectorVolumeNode")
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "Model")
    for node in (None, empty, color, model):
        with pytest.raises(UserError, match=r"^[^.;]+; [^.;]+\.$"):
            mrml.imageFromVolumeNode(node)


# Mask to segment


@pytest.mark.parametrize("hardened", [False, True], ids=["not hardened", "hardened"])
@pytest.mark.parametrize("matrices", LINEAR.values(), ids=LINEAR.keys())
@pytest.mark.parametrize("grid", GRIDS)
def test_addSpleenSegment_places_the_segment_on_the_spleen(scene, sample, grid, matrices, hardened):
    ct, mask = (grid(image) for image in sample)
    volume = add_volume(scene, ct)
    expected = label_center(mask, under(scene, matrices, volume))
    if hardened:
        volume.HardenTransform()
    image = mrml.imageFromVolumeNode(volume)
    moved = moved_to(mask, volume)

    node, segment_id = mrml.addSpleenSegment(moved, volume)

    assert np.allclose(label_center(moved), expected, atol=1e-2)
    assert np.allclose(segment_center(node, segment_id), expected, atol=1e-2)
    back = mrml.imageFromSegment(node, segment_id, volume)
    assert back.GetPixelID() == sitk.sitkUInt8
    assert back.GetSize() == image.GetSize()
    assert np.array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(mask))
    assert np.allclose(label_center(back), expected, atol=1e-2)


@pytest.mark.parametrize("case", ["spleen_1", "spleen_5", "spleen_7", "spleen_10"])
def test_addSpleenSegment_on_other_cts(scene, case):
    ct, label = (OPEN / folder / f"{case}.nii.gz" for folder in ("imagesTr", "labelsTr"))
    if not ct.exists():
        pytest.skip("needs ../shared/data/Task09_SpleenOpen")
    mask = sitk.ReadImage(str(label)) != 0
    volume = load_volume(scene, ct)
    expected = label_center(mask, under(scene, LINEAR["nested"], volume))

    node, segment_id = mrml.addSpleenSegment(moved_to(mask, volume), volume)

    assert np.allclose(segment_center(node, segment_id), expected, atol=1e-2)


def test_addSpleenSegment_with_nonzero_image_extent(scene, volume, mask):
    first, last = np.array([5, -3, 7]), np.subtract(mask.GetSize(), 1)
    volume.GetImageData().SetExtent(np.c_[first, first + last].ravel().tolist())
    shift = ijk_to_ras(mask)[:3, :3] @ first

    node, segment_id = mrml.addSpleenSegment(moved_to(mask, volume), volume)

    assert np.allclose(segment_center(node, segment_id), label_center(mask) + shift, atol=1e-2)
    back = mrml.imageFromSegment(node, segment_id, volume)
    assert np.array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(mask))


def test_segment_stays_on_volume_after_hardening_both(scene, volume, mask):
    under(scene, LINEAR["nested"], volume)
    node, segment_id = mrml.addSpleenSegment(moved_to(mask, volume), volume)
    before = segment_center(node, segment_id)

    volume.HardenTransform()
    node.HardenTransform()

    assert np.allclose(segment_center(node, segment_id), before, atol=1e-2)
    back = mrml.imageFromSegment(node, segment_id, volume)
    assert np.array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(mask))


def test_addSpleenSegment_sets_up_a_new_segmentation_like_slicer(scene, volume, mask):
    hierarchy = scene.GetSubjectHierarchyNode()
    study = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    under(scene, LINEAR["rotation"], volume)

    node, segment_id = mrml.addSpleenSegment(moved_to(mask, volume), volume)

    segment = node.GetSegmentation().GetSegment(segment_id)
    assert node.GetName() == "CT segmentation"
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    geometry = node.GetSegmentation().GetConversionParameter("Reference image geometry").split(";")
    assert np.allclose(np.reshape(geometry[:16], (4, 4)).astype(float), ijk_to_ras(mask))
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert node.GetDisplayNode() is not None
    assert segment.GetName() == "Spleen"
    assert np.allclose(segment.GetColor(), np.array([157, 108, 162]) / 255)


def test_addSpleenSegment_for_volume_outside_the_subject_hierarchy(scene, mask):
    volume = load_volume(scene, SAMPLE / "ct.nii.gz")
    hierarchy = scene.GetSubjectHierarchyNode()
    hierarchy.RemoveItem(hierarchy.GetItemByDataNode(volume), False, False)

    node, _ = mrml.addSpleenSegment(mask, volume)

    assert hierarchy.GetItemByDataNode(node)


def test_addSpleenSegment_does_not_modify_the_volume(scene, volume, mask):
    under(scene, LINEAR["nested"], volume)

    def description():  # Slicer itself moves the time when another node joins the transform
        return [line for line in str(volume).splitlines() if "MTime" not in line]

    image = volume.GetImageData()
    voxels, before, modified = slicer.util.arrayFromVolume(volume).copy(), description(), image.GetMTime()

    node, segment_id = mrml.addSpleenSegment(moved_to(mask, volume), volume)
    mrml.imageFromSegment(node, segment_id, volume)

    assert volume.GetImageData() is image
    assert image.GetMTime() == modified
    assert description() == before
    assert not volume.GetModifiedSinceRead()
    assert np.array_equal(slicer.util.arrayFromVolume(volume), voxels)


# An existing segmentation


@pytest.fixture
def liver(scene, volume, mask):
    """A user's segmentation: two segments in a shared labelmap and one in its own."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    array = np.zeros(mask.GetSize()[::-1], np.uint8)
    array[20:60, 30:60, 20:50], array[60:90, 30:60, 20:50] = 1, 2
    labelmap = slicer.util.addVolumeFromArray(array, ijk_to_ras(mask), "Drawn", "vtkMRMLLabelMapVolumeNode")
    assert slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelmap, node)
    scene.RemoveNode(labelmap)
    node.GetSegmentation().AddEmptySegment("Nothing", "Nothing")
    return node


TRANSFORMS = {
    "both under the same": ("nested", "same"),
    "only the volume": ("nested", None),
    "only the segmentation": ("no transform", "rotation"),
    "a different one each": ("rotation", "scaled and mirrored"),
    "a sheared segmentation": ("rotation", "shear"),
    "a segmentation with a non-linear transform": ("rotation", "bend"),
}


@pytest.mark.parametrize(("of_volume", "of_segmentation"), TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_addSpleenSegment_to_existing_segmentation_keeps_other_segments(
    scene, volume, liver, mask, of_volume, of_segmentation
):
    expected = label_center(mask, under(scene, LINEAR[of_volume], volume))
    if of_segmentation == "same":
        liver.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    elif of_segmentation == "bend":
        liver.SetAndObserveTransformNodeID(add_bending_transform(scene).GetID())
    elif of_segmentation:
        shear = np.eye(4)
        shear[0, 1] = 0.2
        under(scene, [shear] if of_segmentation == "shear" else LINEAR[of_segmentation], liver)
    before, transform = segments(liver), liver.GetTransformNodeID()
    geometry = liver.GetSegmentation().GetConversionParameter("Reference image geometry")

    node, segment_id = mrml.addSpleenSegment(moved_to(mask, volume), volume, liver)

    assert node is liver
    assert segments(liver)[: len(before)] == before
    assert liver.GetTransformNodeID() == transform
    assert liver.GetSegmentation().GetConversionParameter("Reference image geometry") == geometry
    assert np.linalg.norm(segment_center(liver, segment_id) - expected) < 1
    back = sitk.GetArrayFromImage(mrml.imageFromSegment(liver, segment_id, volume)) != 0
    truth = sitk.GetArrayFromImage(mask) != 0
    dice = 2 * (back & truth).sum() / (back.sum() + truth.sum())
    assert dice == 1 if of_segmentation in ("same", None) else dice > 0.93


def test_addSpleenSegment_to_segmentation_of_another_ct(scene, volume, liver, sample):
    finer = sitk.Resample(
        sample[0], [160, 140, 100], sitk.Transform(), sitk.sitkLinear, (-180, -280, 100), (2, 1.5, 2.5)
    )
    mask = sitk.Resample(sample[1], finer, sitk.Transform(), sitk.sitkNearestNeighbor)
    other = add_volume(scene, finer)
    before = segments(liver)

    _, segment_id = mrml.addSpleenSegment(mask, other, liver)

    assert segments(liver)[: len(before)] == before
    assert np.allclose(segment_center(liver, segment_id), label_center(mask), atol=1e-2)


def test_addSpleenSegment_to_segmentation_of_surfaces(scene, volume, liver, mask):
    liver.GetSegmentation().RemoveSegment("Nothing")
    liver.CreateClosedSurfaceRepresentation()
    liver.SetSourceRepresentationToClosedSurface()
    drawn = liver.GetSegmentation().GetSegmentIDs()

    def points():
        surfaces = [liver.GetClosedSurfaceInternalRepresentation(segment_id) for segment_id in drawn]
        return [vtk_to_numpy(surface.GetPoints().GetData()).tobytes() for surface in surfaces]

    before = points()

    _, segment_id = mrml.addSpleenSegment(mask, volume, liver)

    assert points() == before
    assert liver.GetSegmentation().GetSourceRepresentationName() == "Closed surface"
    assert np.linalg.norm(segment_center(liver, segment_id) - label_center(mask)) < 1
    assert np.linalg.norm(label_center(mrml.imageFromSegment(liver, segment_id, volume)) - label_center(mask)) < 1


def test_addSpleenSegment_sets_up_an_unused_segmentation(scene, volume, mask):
    under(scene, LINEAR["nested"], volume)
    unused = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    moved = moved_to(mask, volume)

    _, segment_id = mrml.addSpleenSegment(moved, volume, unused)

    assert unused.GetTransformNodeID() == volume.GetTransformNodeID()
    assert unused.GetNodeReference(unused.GetReferenceImageGeometryReferenceRole()) is volume
    assert np.allclose(segment_center(unused, segment_id), label_center(moved), atol=1e-2)


def test_addSpleenSegment_twice_keeps_the_first_segment(scene, volume, mask):
    node, first = mrml.addSpleenSegment(mask, volume)
    before = segments(node)

    _, second = mrml.addSpleenSegment(sitk.BinaryErode(mask), volume, node)

    assert segments(node)[: len(before)] == before
    assert first != second
    assert node.GetSegmentation().GetSegment(second).GetName() == "Spleen_1"


# Errors


def test_addSpleenSegment_of_mask_on_another_grid_raises_user_error(scene, volume, mask):
    shifted = sitk.Image(mask)
    shifted.SetOrigin(np.add(mask.GetOrigin(), [0, 3, 0]).tolist())
    for wrong in (mask[1:], shifted, sitk.PermuteAxes(mask, [1, 0, 2])):
        with pytest.raises(UserError, match="segment it again"):
            mrml.addSpleenSegment(wrong, volume)


def test_addSpleenSegment_of_empty_mask_raises_user_error(scene, volume, mask):
    with pytest.raises(UserError, match="No spleen was found"):
        mrml.addSpleenSegment(mask * 0, volume)


@pytest.mark.parametrize("existing", [False, True], ids=["new node", "existing node"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, UserError])
@pytest.mark.parametrize("step", ["_addSegment", "after _addSegment"])
def test_addSpleenSegment_restores_the_scene_on_error(scene, volume, liver, mask, monkeypatch, step, error, existing):
    def all_nodes():
        return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]

    def items():
        children = vtk.vtkIdList()
        hierarchy = scene.GetSubjectHierarchyNode()
        hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), children, True)
        return [children.GetId(index) for index in range(children.GetNumberOfIds())]

    add_segment = mrml._addSegment

    def fail(*arguments):
        if step != "_addSegment":
            add_segment(*arguments)
        raise error("broken on purpose")

    monkeypatch.setattr(mrml, "_addSegment", fail)
    before = all_nodes(), items(), segments(liver)

    with pytest.raises(error):
        mrml.addSpleenSegment(mask, volume, liver if existing else None)

    assert (all_nodes(), items(), segments(liver)) == before


# findSpleenSegment, imageFromSegment, files


@pytest.mark.parametrize(
    ("entry", "is_spleen"),
    [
        (ENTRY, True),
        ("Any context~SCT^123037004^Anatomical Structure~SCT^78961009^Milz", True),
        ("Any context~SRT^T-D000A^Anatomical Structure~SRT^T-C3000^Spleen~^^~~^^~^^", True),
        ("Any context~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Any~^^~^^", False),
        ("Any context~SCT^49755003^Morph~SCT^4147007^Mass~^^~Any~SCT^78961009^Spleen~^^", False),
        ("Spleen", False),
        ("", False),
    ],
)
def test_findSpleenSegment_uses_terminology_only(scene, liver, entry, is_spleen):
    liver.GetSegmentation().AddEmptySegment("decoy", "Spleen")
    segment_id = liver.GetSegmentation().AddEmptySegment("wanted", "Renamed by the user")
    segment = liver.GetSegmentation().GetSegment(segment_id)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)

    assert mrml.findSpleenSegment(liver) == (segment_id if is_spleen else None)


def test_segment_survives_saving_and_loading(scene, volume, mask, tmp_path):
    node, segment_id = mrml.addSpleenSegment(mask, volume)
    storage = node.CreateDefaultStorageNode()
    storage.SetFileName(str(tmp_path / "spleen.seg.nrrd"))
    assert storage.WriteData(node) == 1

    loaded = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Loaded")
    storage = loaded.CreateDefaultStorageNode()
    storage.SetFileName(str(tmp_path / "spleen.seg.nrrd"))
    assert storage.ReadData(loaded) == 1

    assert mrml.findSpleenSegment(loaded) == segment_id
    segment = loaded.GetSegmentation().GetSegment(segment_id)
    entry = vtk.mutable("")
    segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    assert str(entry) == ENTRY
    assert segment.GetName() == "Spleen"
    assert np.allclose(np.array(segment.GetColor()) * 255, [157, 108, 162], atol=1e-3)
    back = mrml.imageFromSegment(loaded, segment_id, volume)
    assert np.array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(mask))
    # The file holds the CT's whole grid, so that a reader without Slicer sees the mask on its CT.
    assert sitk.ReadImage(str(tmp_path / "spleen.seg.nrrd")).GetSize() == mask.GetSize()


def test_imageFromSegment_of_unknown_segment_raises_user_error(scene, volume, liver):
    with pytest.raises(UserError, match="choose another segment"):
        mrml.imageFromSegment(liver, "no such id", volume)


def test_imageFromSegment_separates_segments_of_a_shared_labelmap(scene, volume, liver):
    drawn = liver.GetSegmentation().GetSegmentIDs()[:2]
    first, second = (sitk.GetArrayFromImage(mrml.imageFromSegment(liver, each, volume)) for each in drawn)
    assert (first.sum(), second.sum(), (first & second).sum()) == (40 * 30 * 30, 30 * 30 * 30, 0)


def test_imageFromSegment_of_empty_segment_is_empty(scene, volume, liver):
    assert not sitk.GetArrayFromImage(mrml.imageFromSegment(liver, "Nothing", volume)).any()


# Labels, volumes and surfaces


@pytest.mark.parametrize("matrices", LINEAR.values(), ids=LINEAR.keys())
@pytest.mark.parametrize("grid", GRIDS)
def test_labelImage_of_segment_is_on_its_own_grid(scene, sample, grid, matrices):
    ct, mask = (grid(image) for image in sample)
    volume = add_volume(scene, ct)
    expected = label_center(mask, under(scene, matrices, volume))
    node, segment_id = mrml.addSpleenSegment(moved_to(mask, volume), volume)

    label = mrml.labelImage(node, segment_id)

    assert label.GetPixelID() == sitk.sitkUInt8
    assert np.allclose(label_center(label), expected, atol=1e-2)
    count = np.count_nonzero(sitk.GetArrayViewFromImage(label))
    assert count == np.count_nonzero(sitk.GetArrayViewFromImage(mask))


def test_labelImage_of_labelmap_volume_on_own_and_reference_grid(scene, volume, mask):
    labelmap = add_volume(scene, mask * 3)
    coarse = add_volume(scene, sitk.Shrink(mask, [2, 2, 2]))

    own, on_ct, on_coarse = (mrml.labelImage(labelmap, "", other) for other in (None, volume, coarse))

    for label in (own, on_ct):
        assert np.array_equal(sitk.GetArrayViewFromImage(label), sitk.GetArrayViewFromImage(mask))
    assert on_coarse.GetSize() == tuple(size // 2 for size in mask.GetSize())
    assert np.allclose(label_center(on_coarse), label_center(mask), atol=3)


def test_labelImage_of_missing_label_raises_user_error(scene, volume, mask):
    node, _ = mrml.addSpleenSegment(mask, volume)
    node.GetSegmentation().AddEmptySegment("Empty", "Empty")
    for source in ((None, ""), (node, "No such"), (node, "Empty")):
        with pytest.raises(UserError, match=r"^[^.;]+; [^.;]+\.$"):
            mrml.labelImage(*source)


@pytest.mark.parametrize("grid", GRIDS)
def test_setVoxels_sets_voxels_and_geometry_with_one_event(scene, sample, grid):
    image = sitk.Cast(grid(sample[0]), sitk.sitkFloat32)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    events = []
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: events.append(1))

    mrml.setVoxels(node, image)

    back = mrml.imageFromVolumeNode(node)
    assert len(events) == 1
    assert np.array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(image))
    assert np.allclose(ijk_to_ras(back), ijk_to_ras(image), atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_surfaceOf_encloses_the_label(sample, grid):
    mask = grid(sample[1])
    surface = mrml.surfaceOf(mask)

    mass = vtk.vtkMassProperties()
    mass.SetInputData(surface)
    volume = np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing())
    points = vtk_to_numpy(surface.GetPoints().GetData())
    assert np.allclose(points.mean(axis=0), label_center(mask), atol=8)
    assert mass.GetVolume() == pytest.approx(volume, rel=0.02)


def test_surfaceOf_is_closed_at_the_image_edge(sample):
    full = sitk.Image(8, 8, 8, sitk.sitkUInt8) + 1
    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(mrml.surfaceOf(full))
    edges.FeatureEdgesOff()
    edges.Update()
    assert edges.GetOutput().GetNumberOfCells() == 0


def test_addSpleenSegment_replaces_a_segment_and_keeps_its_name(scene, volume, mask):
    node, first = mrml.addSpleenSegment(mask, volume)
    node.GetSegmentation().GetSegment(first).SetName("Milz")
    node.GetSegmentation().AddEmptySegment("Liver", "Liver")
    eroded = sitk.BinaryErode(mask)

    _, second = mrml.addSpleenSegment(eroded, volume, node, replacedId=first)

    segmentation = node.GetSegmentation()
    assert set(segmentation.GetSegmentIDs()) == {"Liver", second}
    assert segmentation.GetSegment(second).GetName() == "Milz"
    label = mrml.labelImage(node, second, volume)
    assert np.array_equal(sitk.GetArrayViewFromImage(label), sitk.GetArrayViewFromImage(eroded))


def test_addSpleenSegment_keeps_the_replaced_segment_on_error(scene, volume, mask):
    node, first = mrml.addSpleenSegment(mask, volume)
    with pytest.raises(UserError, match="No spleen"):
        mrml.addSpleenSegment(mask * 0, volume, node, replacedId=first)
    assert node.GetSegmentation().GetSegmentIDs() == (first,)
