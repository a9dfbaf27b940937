"""CTs and labels side by side, in two folders or one per patient: matching, and the spleen in a label."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio

from inputs import cut_short, write, write_dicom
from phantoms import ellipsoid
from slicer_scene import add_volume, ijk_to_ras, new_scene
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.io.terminology import TERMINOLOGY
from SpleenSmoothSegLib.io.writing import write_mask
from SpleenSmoothSegTrainingLib.data import dataset
from SpleenSmoothSegTrainingLib.data.pairs import find_pairs
from SpleenSmoothSegTrainingLib.data.segmentlabel import place_on
from training_data import sample_stack

LIVER = {**TERMINOLOGY, "type": ["SCT", "10200004", "Liver"]}


@pytest.fixture(scope="module")
def stack() -> tuple[sitk.Image, sitk.Image]:
    return sample_stack(2)


@pytest.fixture
def add(tmp_path, stack):
    """Writes the sample's CT or label under a name."""

    def write_as(name: str, kind: str):
        image = stack[("CT", "label").index(kind)]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".seg.nrrd"):
            write_mask(image, path)
        elif kind == "CT" and "." not in path.name:
            write_dicom(image, path)
        else:
            write(image, path)
        return path

    return write_as


def write_segments(path, segments: list[dict], voxels: np.ndarray, grid: sitk.Image):
    """A .seg.nrrd as Slicer has it; `voxels` (column, row, slice) or (layer, column, row, slice)."""
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3] = np.reshape(grid.GetDirection(), (3, 3)) * grid.GetSpacing()
    ijk_to_lps[:3, 3] = grid.GetOrigin()
    content = {"voxels": voxels, "ijkToLPS": ijk_to_lps, "containedRepresentationNames": ["Binary labelmap"]}
    slicerio.write_segmentation(str(path), {**content, "segments": segments})


def segment(name: str, value: int = 1, layer: int = 0, terminology: dict | None = None) -> dict:
    entry = {"id": f"{name}{value}{layer}", "name": name, "labelValue": value, "layer": layer}
    return entry | ({"terminology": terminology} if terminology else {})


def assert_reads(case, stack) -> None:
    ct, label = case.read()
    assert same_grid(ct, stack[0]) and same_grid(label, ct)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(stack[0]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label == case.spleen), sitk.GetArrayFromImage(stack[1]))


def refusal(folder, segment=None) -> str:
    with pytest.raises(UserError) as caught:
        cases, problems = find_pairs(folder, segment)
        for problem in problems:
            raise UserError(problem)
        for case in cases:
            case.read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- matching files


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"ct1.nii.gz": "CT", "ct1_label.nii.gz": "label", "ct2.nrrd": "CT", "ct2.seg.nrrd": "label"}, ["ct1", "ct2"]),
        ({"b.mha": "CT", "b-label.nrrd": "label", "a.nii": "CT", "a_seg.nii.gz": "label"}, ["a", "b"]),
        ({"a.nii.gz": "CT", "a_spleen.seg.nrrd": "label", "b.nii.gz": "CT", "b_mask.nii.gz": "label"}, ["a", "b"]),
        ({"a_spleen.nrrd": "CT", "a_spleen_Label.nrrd": "label"}, ["a_spleen"]),
        ({"a": "CT", "a.seg.nrrd": "label", "b.nii": "CT", "b_seg.nii": "label"}, ["a", "b"]),
        ({"imagesTr/a.nii.gz": "CT", "labelsTr/a.nii.gz": "label"}, ["a"]),
        ({"images/a.nrrd": "CT", "images/b": "CT", "labels/a.seg.nrrd": "label", "labels/b.nii": "label"}, ["a", "b"]),
        ({"images/a_seg.nii": "CT", "labels/a_seg.nii": "label"}, ["a_seg"]),
        (
            {"p1/ct.nii.gz": "CT", "p1/spleen.nii.gz": "label", "p2/x.nrrd": "CT", "p2/x.seg.nrrd": "label"},
            ["p1", "p2"],
        ),
        ({"p1/DICOM/series": "CT", "p1/Segmentation.seg.nrrd": "label"}, ["p1"]),
        ({"p1/DICOM": "CT", "p1/drawn by me.nrrd": "label"}, ["p1"]),
    ],
)
def test_find_pairs_matches_cts_and_labels(tmp_path, add, stack, files, names):
    for name, kind in files.items():
        add(name, kind)
    cases = find_pairs(tmp_path).cases
    assert [case.name for case in cases] == names
    for case in cases:
        assert_reads(case, stack)


def test_dicom_files_beside_a_label_are_one_case(tmp_path, stack):
    write_dicom(stack[0], tmp_path / "p1")
    write(stack[1], tmp_path / "p1" / "label.nii.gz")
    (case,) = find_pairs(tmp_path).cases
    assert_reads(case, stack)


def test_find_pairs_ignores_hidden_and_other_files(tmp_path, add, stack):
    add("p1/ct.nii.gz", "CT")
    add("p1/label.nii.gz", "label")
    for name in ("p1/._ct.nii.gz", "p1/.DS_Store", "p1/notes.txt", "readme.txt", "figures/a.png", "__MACOSX/._p1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    (case,) = find_pairs(tmp_path).cases
    assert_reads(case, stack)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.nii", "b.nii", "b_seg.nii", "c.nii"], ["no label for a, c"]),
        (["a.nii", "a_seg.nii", "b_seg.nii"], ["no CT for b_seg.nii"]),
        (["a.nii", "b_seg.nii"], ["no label for a", "no CT for b_seg.nii"]),
        (["a.nii", "a_seg.nii", "a.seg.nrrd"], ["several labels for a"]),
        (["a.nii", "a.nrrd", "a_seg.nii"], ["several CTs named a"]),
        (["a.nii", "a_seg.nii", "a_seg_label.nii"], ["no CT for a_seg_label.nii"]),
        (["images/a.nii", "images/b.nii", "labels/b.nii", "labels/c.nii"], ["no label for a", "no CT for c.nii"]),
        (["p1/a.nii", "p1/b.nii", "p2/a.nii", "p2/a_seg.nii"], ["several CTs in p1", "no label in p1"]),
        (["p1/spleen.nii", "p2/ct.nii", "p2/label.nii", "p2/mask.nii"], ["no CT in p1", "several labels in p2"]),
    ],
)
def test_find_pairs_reports_files_without_a_partner_or_with_several(tmp_path, add, files, words):
    for name in files:
        add(name, "label")  # nothing is read
    sentence = refusal(tmp_path)
    assert str(tmp_path) in sentence and all(word in sentence for word in words), sentence


def test_several_cts_of_a_patient_raise_an_error(tmp_path, add):
    add("p1/label.nii.gz", "label")
    add("p1/ct.nii.gz", "CT")
    add("p1/dicom", "CT")
    assert "several CTs in p1" in refusal(tmp_path)


def test_folder_without_cts_raises_an_error_with_a_layout(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    assert "imagesTr and labelsTr; --help lists all layouts" in refusal(tmp_path)
    assert "side by side" in dataset.__doc__


# ---- labelmaps


def labeled(tmp_path, stack, label: sitk.Image, name="a_label.nii.gz"):
    write(stack[0], tmp_path / "a.nii.gz")
    write(label, tmp_path / name)
    return tmp_path


def test_labelmap_with_one_value_is_spleen(tmp_path, stack):
    (case,) = find_pairs(labeled(tmp_path, stack, stack[1] * 255)).cases
    assert_reads(case, stack)


@pytest.fixture
def two_organs(tmp_path, stack):
    """A labelmap with the spleen as 2 and something else as 7."""
    voxels = sitk.GetArrayFromImage(stack[1]) * np.uint8(2)
    voxels[:, :10, :10] = 7
    label = sitk.GetImageFromArray(voxels)
    label.CopyInformation(stack[1])
    return labeled(tmp_path, stack, label)


def test_labelmap_with_several_values_uses_the_chosen_one(two_organs, stack):
    (case,) = find_pairs(two_organs, segment="2").cases
    assert_reads(case, stack)


@pytest.mark.parametrize("name", [None, "spleen"])
def test_labelmap_with_several_values_and_none_chosen_raises_an_error(two_organs, name):
    assert "2 values besides 0 (2, 7); choose the spleen's value" in refusal(two_organs, name)


def test_missing_label_value_raises_an_error(two_organs):
    assert "has no value 3, only 2, 7" in refusal(two_organs, "3")


def test_interpolated_label_raises_an_error(tmp_path, stack):
    soft = sitk.DiscreteGaussian(sitk.Cast(stack[1], sitk.sitkFloat32), 9.0)
    assert "fractional values; if it was resampled" in refusal(labeled(tmp_path, stack, soft))


def test_label_of_integers_stored_as_floats_is_read(tmp_path, stack):
    (case,) = find_pairs(labeled(tmp_path, stack, sitk.Cast(stack[1], sitk.sitkFloat32))).cases
    assert_reads(case, stack)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda label: label[:, :, :-1], "different grids"),
        (lambda label: sitk.Flip(label, (True, False, False)), "different grids"),
        (lambda label: sitk.Compose(label, label, label), "color"),
    ],
)
def test_labelmap_on_another_grid_raises_an_error(tmp_path, stack, change, words):
    assert words in refusal(labeled(tmp_path, stack, change(stack[1]), "a_label.nrrd"))


# ---- segmentations of 3D Slicer


def segmented(tmp_path, stack, segments: list[dict], voxels: np.ndarray | None = None, grid: sitk.Image | None = None):
    write(stack[0], tmp_path / "a.nrrd")
    voxels = sitk.GetArrayFromImage(stack[1]).transpose() if voxels is None else voxels
    write_segments(tmp_path / "a.seg.nrrd", segments, voxels, grid or stack[1])
    return tmp_path


@pytest.fixture
def value_2(stack) -> np.ndarray:
    """The spleen as 2 beside a block of 1 (column, row, slice)."""
    voxels = sitk.GetArrayFromImage(stack[1]).transpose() * np.uint8(2)
    voxels[:10, :10] = 1
    return voxels


@pytest.mark.parametrize(
    ("segments", "wanted"),
    [
        ([segment("Liver", 1), segment("Spleen", 2)], None),
        ([segment("Spleen", 1, terminology=LIVER), segment("Milz", 2, terminology=TERMINOLOGY)], None),
        ([segment("Spleen", 1, terminology=TERMINOLOGY), segment("Milz", 2)], "milz"),
        ([segment("Organ", 2, terminology=LIVER)], None),
    ],
    ids=["by name", "by terminology", "by option", "the only one"],
)
def test_segmentation_with_several_segments_yields_the_spleen(tmp_path, stack, value_2, segments, wanted):
    (case,) = find_pairs(segmented(tmp_path, stack, segments, value_2), wanted).cases
    assert_reads(case, stack)


@pytest.mark.parametrize(
    ("segments", "wanted", "words"),
    [
        ([segment("Liver", 1), segment("Organ", 2)], None, "several segments that may be the spleen (Liver, Organ)"),
        ([segment("A", 1, terminology=TERMINOLOGY), segment("B", 2, terminology=TERMINOLOGY)], None, "(A, B)"),
        ([segment("Liver", 1), segment("Spleen", 2)], "Milz", 'has no segment "Milz", only Liver, Spleen'),
        ([], None, "has no segments"),
    ],
)
def test_ambiguous_segments_raise_an_error_with_their_names(tmp_path, stack, value_2, segments, wanted, words):
    assert words in refusal(segmented(tmp_path, stack, segments, value_2), wanted)


def test_overlapping_segments_in_layers_are_read(tmp_path, stack):
    spleen = sitk.GetArrayFromImage(stack[1]).transpose()
    layers = np.stack([np.ones_like(spleen), spleen])
    folder = segmented(tmp_path, stack, [segment("Body", 1, 0), segment("Spleen", 1, 1)], layers)
    (case,) = find_pairs(folder).cases
    assert_reads(case, stack)


def box_of(mask: sitk.Image) -> list[slice]:
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    box = shape.GetBoundingBox(1)
    return [slice(start, start + size) for start, size in zip(box[:3], box[3:], strict=True)]


def test_cropped_segmentation_is_placed_on_the_ct_grid(tmp_path, stack):
    cropped = stack[1][box_of(stack[1])]
    assert cropped.GetNumberOfPixels() < stack[1].GetNumberOfPixels() / 10
    write(stack[0], tmp_path / "a.nrrd")
    write_mask(cropped, tmp_path / "a.seg.nrrd")
    (case,) = find_pairs(tmp_path).cases
    assert_reads(case, stack)


@pytest.mark.parametrize("axes", ["RAI", "LPI", "ASL", "SRP"])
def test_place_on_handles_flipped_and_permuted_axes(stack, axes):
    turned = sitk.DICOMOrient(stack[1][box_of(stack[1])], axes)
    placed = place_on(turned, stack[0])
    assert same_grid(placed, stack[0])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(placed), sitk.GetArrayFromImage(stack[1]))


def test_place_on_returns_none_for_a_mask_off_the_ct_grid():
    ct, mask = ellipsoid(extent=120.0), ellipsoid(extent=120.0)
    assert place_on(mask, ct) is not None
    mask.SetOrigin(np.add(mask.GetOrigin(), (1.0, 0.0, 0.0)).tolist())
    assert place_on(mask, ct) is None
    finer = ellipsoid(extent=120.0, spacing=(2.0, 2.0, 2.9))
    assert place_on(finer, ct) is None
    assert place_on(ellipsoid(extent=120.0), ct[:, :, :15]) is None


def test_segmentation_of_another_ct_raises_an_error(tmp_path, stack):
    other = sitk.Image(stack[1])
    other.SetOrigin(np.add(other.GetOrigin(), (1.3, 0.0, 0.0)).tolist())
    write(stack[0], tmp_path / "a.nrrd")
    write_mask(other, tmp_path / "a.seg.nrrd")
    assert "different grids" in refusal(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_damaged_segmentation_raises_an_error(tmp_path, stack, part):
    write(stack[0], tmp_path / "a.nrrd")
    write_mask(stack[1], tmp_path / "a.seg.nrrd")
    cut_short(tmp_path / "a.seg.nrrd", part)
    assert "a.seg.nrrd" in (sentence := refusal(tmp_path)) and "cannot be read" in sentence


@pytest.mark.slicer
def test_segmentation_saved_by_slicer_is_read(tmp_path, stack):
    """Cropped, and with an overlapping segment in a separate layer."""
    slicer = pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
    from SpleenSmoothSegLib.mrml import addSpleenSegment

    scene = new_scene()
    node, _ = addSpleenSegment(stack[1], add_volume(scene, stack[0]))
    matrix = slicer.util.vtkMatrixFromArray(ijk_to_ras(stack[1]))
    for shift in (3, 20):
        other = np.roll(sitk.GetArrayFromImage(stack[1]), shift, axis=1)
        labelmap = slicer.util.addVolumeFromArray(other, matrix, f"Other{shift}", "vtkMRMLLabelMapVolumeNode")
        assert slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelmap, node)
    storage = node.CreateDefaultStorageNode()
    storage.SetFileName(str(tmp_path / "a.seg.nrrd"))
    storage.CropToMinimumExtentOn()
    assert storage.WriteData(node) == 1
    write(stack[0], tmp_path / "a.nrrd")

    (case,) = find_pairs(tmp_path).cases

    voxels = slicerio.read_segmentation(str(case.label))["voxels"]
    assert voxels.ndim == 4 and np.prod(voxels.shape[1:]) < stack[0].GetNumberOfPixels() / 4
    assert_reads(case, stack)


def test_open_dataset_opens_a_folder_of_pairs(tmp_path, add):
    add("a.nii.gz", "CT")
    add("a.seg.nrrd", "label")
    opened = dataset.open_dataset(tmp_path, segment="Spleen")
    assert opened.name == tmp_path.name and opened.license == "" and opened.description == "1 labeled CTs"
    assert [(case.name, case.segment) for case in opened.cases] == [("a", "Spleen")]
