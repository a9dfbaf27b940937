"""CompareLogic in a real scene: measures, errors by height, colored surface, files, and saved scenes."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import SimpleITK as sitk

from phantoms import ellipsoid, phantom, turned
from slicer_scene import add_bending_transform, add_linear_transform, add_volume, curves, ijk_to_ras, rigid
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
    pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning"),  # surface-distance on SciPy 1.18
]

SURFACE_MEASURES = ("hd95_mm", "assd_mm", "surface_dice_1mm", "surface_dice_2mm")


@pytest.fixture
def logic(slicer_app):
    from SpleenSmoothSegPanels.compare.logic import CompareLogic

    return CompareLogic()


@pytest.fixture
def labels(slicer_app):
    """Creates ``Label`` objects from SimpleITK images."""
    import slicer

    from SpleenSmoothSegLib.mrml import addSpleenSegment
    from SpleenSmoothSegPanels.shared.widgets import Label

    class Labels:
        def segment(self, image, name="Segmentation") -> Label:
            volume = add_volume(slicer.mrmlScene, sitk.Cast(image, sitk.sitkInt16))
            node, segmentId = addSpleenSegment(image, volume)
            node.SetName(name)
            return Label(node, segmentId)

        def labelmap(self, image, name="Labelmap", value=1) -> Label:
            matrix = slicer.util.vtkMatrixFromArray(ijk_to_ras(image))
            array = sitk.GetArrayFromImage(image) * value
            return Label(slicer.util.addVolumeFromArray(array, matrix, name, "vtkMRMLLabelMapVolumeNode"))

    return Labels()


def box(low, high, spacing=(1.0, 1.0, 1.0), **grid) -> sitk.Image:
    """A label, 1 between two corners (LPS, mm)."""

    def inside(points):
        return ((points > low) & (points < high)).all(axis=-1).astype(np.uint8)

    return phantom(inside, extent=80, spacing=spacing, **grid)


def ball(radius: float, spacing=(1.0, 1.0, 1.0), **grid) -> sitk.Image:
    return ellipsoid(radii=(radius,) * 3, extent=72, spacing=spacing, **grid)


def moved(label: sitk.Image, voxels) -> sitk.Image:
    """The label shifted by whole voxels (column, row, slice) on its grid, and cropped to it."""
    padded = np.pad(sitk.GetArrayFromImage(label), 5)
    image = sitk.GetImageFromArray(np.roll(padded, voxels[::-1], (0, 1, 2))[5:-5, 5:-5, 5:-5])
    image.CopyInformation(label)
    return image


def compared(logic, segment, reference) -> dict:
    logic.choose(segment, reference)
    logic.compare()
    return values(logic)


def values(logic) -> dict:
    return {measure.key: value for measure, value in logic.result().values}


def comparison_node(nodeClass: str):
    """The node of that class that the comparison created; None if there is none."""
    import slicer

    nodes = [
        n for n in slicer.util.getNodesByClass(nodeClass) if (n.GetAttribute("SpleenSmoothSeg") or "").startswith("Co")
    ]
    return nodes[0] if nodes else None


def distances() -> np.ndarray:
    import slicer

    return slicer.util.arrayFromModelPointData(comparison_node("vtkMRMLModelNode"), "Signed distance (mm)")


def middle_of_surface() -> np.ndarray:
    bounds = np.zeros(6)
    comparison_node("vtkMRMLModelNode").GetRASBounds(bounds)
    return bounds.reshape(3, 2).mean(axis=1)


# --- measures


def test_cube_shifted_by_quarter_has_known_measures(logic, labels):
    segment, reference = box((-10, -10, -10), (10, 10, 10)), box((-5, -10, -10), (15, 10, 10))

    measured = compared(logic, labels.segment(segment), labels.segment(reference))

    assert measured["dice"] == measured["precision"] == measured["recall"] == pytest.approx(0.75)
    assert measured["volume_ml"] == measured["label_volume_ml"] == pytest.approx(8)
    assert measured["volume_difference_ml"] == measured["volume_difference_percent"] == pytest.approx(0)
    assert measured["hd95_mm"] == pytest.approx(5)


def test_eroded_label_has_precision_1_and_lower_recall(logic, labels, sample_label):
    eroded = sitk.BinaryErode(sample_label, (1, 1, 0))
    sizes = [int(sitk.GetArrayViewFromImage(image).sum()) for image in (eroded, sample_label)]

    measured = compared(logic, labels.segment(eroded), labels.segment(sample_label))

    assert measured["precision"] == 1
    assert measured["recall"] == pytest.approx(sizes[0] / sizes[1])
    assert measured["dice"] == pytest.approx(2 * sizes[0] / sum(sizes))
    assert measured["volume_difference_percent"] == pytest.approx(100 * (sizes[0] / sizes[1] - 1))
    assert 3 <= measured["hd95_mm"] < 4.3  # one voxel, along an axis or diagonally
    assert distances().mean() < -1


def test_equal_labels_have_best_value_of_every_measure(logic, labels, sample_label):
    measured = compared(logic, labels.segment(sample_label, "A"), labels.segment(sample_label, "B"))

    assert [measured[key] for key in ("dice", "precision", "recall", "surface_dice_1mm", "hd95_mm", "assd_mm")] == [
        *[1] * 4,
        *[0] * 2,
    ]
    assert np.abs(distances()).max() < 1e-5
    assert logic.result().remarks == ""


@pytest.mark.parametrize("kinds", [("segment", "labelmap"), ("labelmap", "segment"), ("labelmap", "labelmap")])
def test_labelmap_volume_gives_same_measures_as_segment(logic, labels, sample_label, kinds):
    images = moved(sample_label, (1, -1, 2)), sample_label
    expected = compared(logic, *[labels.segment(image) for image in images])

    measured = compared(logic, *[getattr(labels, kind)(image) for kind, image in zip(kinds, images, strict=True)])

    assert measured == pytest.approx(expected)


def test_nonzero_labelmap_values_are_foreground(logic, labels):
    cube = box((-10, -10, -10), (10, 10, 10))
    assert compared(logic, labels.labelmap(cube, value=7), labels.segment(cube))["dice"] == 1


def test_labels_on_different_grids_are_compared_in_world_coordinates_with_remark(logic, labels):
    spheres = ball(25), ball(25, (1.7, 1.3, 2.9), direction=turned(10, -15, 20))

    measured = compared(logic, *[labels.segment(sphere) for sphere in spheres])

    assert measured["dice"] > 0.97
    assert "grids differ" in logic.result().remarks


def test_cropped_label_on_same_lattice_has_no_remark(logic, labels, sample_label):
    compared(logic, labels.labelmap(moved(sample_label, (0, 0, 1))), labels.segment(sample_label))
    assert "grids differ" not in logic.result().remarks


def test_transforms_are_applied(logic, labels, sample_label):
    import slicer

    segment, reference = labels.segment(sample_label), labels.labelmap(sample_label)
    matrix = rigid((20, -10, 35), (12, 30, -7))
    for label in (segment, reference):
        label.node.SetAndObserveTransformNodeID(add_linear_transform(slicer.mrmlScene, matrix).GetID())
    assert compared(logic, segment, reference)["dice"] == 1

    reference.node.SetAndObserveTransformNodeID(None)
    assert compared(logic, segment, reference)["dice"] < 0.9


# --- errors by height


def test_chart_shows_errors_per_slice_from_bottom_to_top(logic, labels):
    reference, segment = box((-10, -10, -20), (10, 10, 20)), box((-10, -10, -10), (10, 10, 20))

    compared(logic, labels.segment(segment), labels.segment(reference))

    drawn = curves(comparison_node("vtkMRMLPlotChartNode"))
    missing, extra = drawn["False negatives"], drawn["False positives"]
    assert missing[0] == extra[0] == pytest.approx(list(range(40)))
    assert missing[1] == pytest.approx([0.4] * 10 + [0] * 30)  # 20 x 20 x 1 mm
    assert extra[1] == pytest.approx([0] * 40)
    assert "100 % of the errors are in or beyond the lowest and highest quarters" in logic.result().remarks


def test_volume_beyond_reference_is_in_remarks(logic, labels):
    reference, segment = box((-10, -10, -20), (10, 10, 20)), box((-10, -10, -22), (10, 10, 25))

    compared(logic, labels.segment(segment), labels.segment(reference))

    assert "0.80 mL of the segment are below and 2.00 mL above" in logic.result().remarks


# --- surface


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 3.0)])
def test_concentric_balls_have_constant_signed_distance(logic, labels, spacing):
    small, large = labels.segment(ball(25, spacing), "Small"), labels.segment(ball(30, spacing), "Large")

    compared(logic, large, small)
    assert distances().mean() == pytest.approx(5, abs=0.1)
    assert np.ptp(np.percentile(distances(), [2, 98])) < max(spacing) / 2

    compared(logic, small, large)
    assert distances().mean() == pytest.approx(-5, abs=0.1)


def test_surface_has_symmetric_color_range_and_legend(logic, labels, sample_label):
    compared(logic, labels.segment(moved(sample_label, (0, 0, 2))), labels.segment(sample_label))

    import slicer

    model = comparison_node("vtkMRMLModelNode")
    display, legend = model.GetDisplayNode(), slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(model)
    low, high = display.GetScalarRange()
    assert high == -low == pytest.approx(np.percentile(np.abs(distances()), 95))
    assert display.GetScalarVisibility()
    assert display.GetActiveScalarName() == "Signed distance (mm)"
    assert display.GetColorNode().GetName() == "Spleen cool to warm"
    assert legend.GetVisibility()
    assert "mm" in legend.GetTitleText()


def test_surface_is_on_segment_and_follows_its_transform(logic, labels):
    import slicer

    segment = labels.segment(ellipsoid(center=(20, 10, 5), radii=(12, 12, 12)))
    transform = add_linear_transform(slicer.mrmlScene, rigid((0, 0, 30), (5, 6, 7)) @ np.diag([-1, 1, 1, 1]))
    segment.node.SetAndObserveTransformNodeID(transform.GetID())

    compared(logic, segment, labels.segment(ball(20)))
    expected = slicer.util.arrayFromTransformMatrix(transform) @ [-20, -10, 5, 1]
    assert middle_of_surface() == pytest.approx(expected[:3], abs=0.7)

    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(100, 0, 0))))
    assert middle_of_surface() == pytest.approx([80, -10, 5], abs=0.7)


def test_surface_of_mirrored_grid_has_outward_normals(logic, labels):
    import slicer

    mirrored = ball(20, direction=(-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    compared(logic, labels.labelmap(mirrored), labels.segment(ball(21)))

    model = comparison_node("vtkMRMLModelNode")
    points, normals = slicer.util.arrayFromModelPoints(model), slicer.util.arrayFromModelPointData(model, "Normals")
    assert ((points * normals).sum(axis=1) > 0).all()


def test_show_surface_hides_segments_and_restores_them(logic, labels):
    segment, reference = labels.segment(ball(20)), labels.segment(ball(21))
    displays = [(label.node.GetDisplayNode(), label.segmentId) for label in (segment, reference)]
    displays[1][0].SetSegmentVisibility3D(displays[1][1], False)  # the user hid it
    compared(logic, segment, reference)

    logic.showSurface(True)
    assert not any(display.GetSegmentVisibility3D(segmentId) for display, segmentId in displays)
    logic.showSurface(False)
    assert [display.GetSegmentVisibility3D(segmentId) for display, segmentId in displays] == [True, False]
    assert not comparison_node("vtkMRMLModelNode").GetDisplayNode().GetVisibility()


# --- later changes


def test_second_comparison_replaces_first(logic, labels):
    import slicer

    first, second = labels.segment(ball(20)), labels.segment(ball(25))
    compared(logic, first, second)
    nodes = slicer.mrmlScene.GetNumberOfNodes()

    measured = compared(logic, second, first)

    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert measured["volume_difference_ml"] > 0
    assert comparison_node("vtkMRMLModelNode").GetName() == "Distance of Spleen (Segmentation) to Spleen (Segmentation)"


def test_result_is_none_for_other_labels(logic, labels):
    first, second, third = (labels.segment(ball(radius)) for radius in (20, 21, 22))
    compared(logic, first, second)

    logic.choose(first, third)
    assert logic.result() is None
    assert not logic.isOutdated()
    logic.choose(first, second)
    assert logic.result() is not None


def edit(label) -> None:
    """Remove half of the label."""
    import slicer

    if label.isSegment():
        array = slicer.util.arrayFromSegmentBinaryLabelmap(label.node, label.segmentId)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            array * (np.arange(len(array)) < len(array) // 2)[:, None, None], label.node, label.segmentId
        )
    else:
        array = slicer.util.arrayFromVolume(label.node)
        array[len(array) // 2 :] = 0
        slicer.util.arrayFromVolumeModified(label.node)


@pytest.mark.parametrize("kind", ["segment", "labelmap"])
@pytest.mark.parametrize("which", [0, 1])
def test_edited_label_outdates_result(logic, labels, kind, which):
    chosen = [getattr(labels, kind)(ball(radius)) for radius in (20, 21)]
    compared(logic, *chosen)
    changes = []
    logic.onChanged = lambda: changes.append(logic.result())

    edit(chosen[which])

    assert changes[-1] is None
    assert logic.isOutdated()
    assert compared(logic, *chosen)["dice"] < 0.7
    assert not logic.isOutdated()


def test_renaming_or_moving_both_labels_keeps_result(logic, labels):
    import slicer

    segment, reference = labels.segment(ball(20)), labels.segment(ball(21))
    transform = add_linear_transform(slicer.mrmlScene, np.eye(4))
    for label in (segment, reference):
        label.node.SetAndObserveTransformNodeID(transform.GetID())
    before = compared(logic, segment, reference)

    segment.node.GetSegmentation().GetSegment(segment.segmentId).SetName("Mine")
    segment.node.SetName("Renamed")
    segment.node.CreateClosedSurfaceRepresentation()
    segment.node.GetDisplayNode().SetOpacity3D(0.5)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(9, 0, 0))))

    assert values(logic) == before
    assert logic.result().segment == "Mine (Renamed)"


def test_moving_one_label_outdates_result(logic, labels):
    import slicer

    segment, reference = labels.segment(ball(20)), labels.segment(ball(21))
    transform = add_linear_transform(slicer.mrmlScene, np.eye(4))
    segment.node.SetAndObserveTransformNodeID(transform.GetID())
    compared(logic, segment, reference)

    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(9, 0, 0))))

    assert logic.isOutdated()


@pytest.mark.parametrize("nodeClass", ["vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLModelNode"])
def test_deleted_node_is_created_again(logic, labels, nodeClass):
    import slicer

    chosen = labels.segment(ball(20)), labels.segment(ball(21))
    before = compared(logic, *chosen)
    slicer.mrmlScene.RemoveNode(comparison_node(nodeClass))

    logic.showSurface(True)
    logic.showSurface(False)
    assert compared(logic, *chosen) == before
    assert comparison_node(nodeClass) is not None


# --- invalid input


def error_of(logic, segment, reference) -> str:
    """The error message; also checks that the scene is unchanged."""
    import slicer

    nodes = slicer.mrmlScene.GetNumberOfNodes()
    logic.choose(segment, reference)
    with pytest.raises(UserError) as error:
        logic.compare()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert logic.result() is None
    return str(error.value)


def test_compare_without_choice_raises(logic, labels):
    from SpleenSmoothSegPanels.shared.widgets import Label

    assert "Choose a segment and a reference" in error_of(logic, Label(), labels.segment(ball(20)))
    assert "Choose a segment and a reference" in error_of(logic, labels.segment(ball(20)), Label())


def test_compare_segment_with_itself_raises(logic, labels):
    segment = labels.segment(ball(20))
    assert "are the same" in error_of(logic, segment, segment)


@pytest.mark.parametrize("kind", ["segment", "labelmap"])
def test_compare_empty_label_raises(logic, labels, kind):
    label = getattr(labels, kind)(ball(20), "Mine")
    if label.isSegment():
        import slicer

        array = slicer.util.arrayFromSegmentBinaryLabelmap(label.node, label.segmentId)
        slicer.util.updateSegmentBinaryLabelmapFromArray(array * 0, label.node, label.segmentId)
    else:
        label.node.GetImageData().GetPointData().GetScalars().Fill(0)
    for pair in ((label, labels.segment(ball(21))), (labels.segment(ball(21)), label)):
        assert "empty" in error_of(logic, *pair)


def test_compare_segmentation_without_segments_raises(logic, labels):
    label = labels.segment(ball(20), "Hollow")
    label.node.GetSegmentation().RemoveAllSegments()
    assert '"Hollow" has no segment' in error_of(logic, label, labels.segment(ball(21)))


def test_compare_deleted_node_raises(logic, labels):
    import slicer

    label = labels.segment(ball(20))
    slicer.mrmlScene.RemoveNode(label.node)
    assert "Choose a segment and a reference" in error_of(logic, label, labels.segment(ball(21)))


def test_compare_nonlinear_transform_raises(logic, labels):
    import slicer

    label = labels.labelmap(ball(20))
    label.node.SetAndObserveTransformNodeID(add_bending_transform(slicer.mrmlScene).GetID())
    assert "harden" in error_of(logic, label, labels.segment(ball(21)))


def test_labels_without_overlap_are_measured_with_remark(logic, labels):
    here, there = box((-30, -5, -5), (-20, 5, 5)), box((20, -5, -5), (30, 5, 5))

    measured = compared(logic, labels.segment(here), labels.segment(there))

    assert measured["dice"] == measured["precision"] == measured["recall"] == 0
    assert measured["hd95_mm"] > 35
    assert "do not overlap" in logic.result().remarks


@pytest.mark.parametrize("size", [(1, 1, 1), (30, 1, 1), (30, 30, 1)])
def test_labels_one_voxel_thin_are_compared(logic, labels, size, tmp_path):
    thin = box((0, 0, 0), size)

    measured = compared(logic, labels.segment(thin, "A"), labels.labelmap(thin, "B"))
    assert measured["dice"] == 1
    assert np.abs(distances()).max() < 1e-5
    logic.saveCsv(tmp_path / "thin.csv")

    compared(logic, labels.segment(thin), labels.segment(box((-10, -10, -10), (10, 10, 10))))
    assert np.isfinite(distances()).all()


def test_without_surface_package_other_measures_are_computed_with_remark(logic, labels, monkeypatch):
    from SpleenSmoothSegLib.metrics import surface

    chosen = labels.segment(box((-10, -10, -10), (10, 10, 10))), labels.segment(box((-5, -10, -10), (15, 10, 10)))
    complete = compared(logic, *chosen)
    monkeypatch.setattr(surface.importlib.util, "find_spec", lambda name: None)

    measured = compared(logic, *chosen)

    assert {key: value for key, value in measured.items() if value is not None} == {
        key: value for key, value in complete.items() if key not in SURFACE_MEASURES
    }
    assert "package is not installed: HD95 (mm), ASSD (mm), Surface Dice at 1 mm, Surface Dice at 2 mm" in (
        logic.result().remarks
    )
    assert "HD95 (mm)\t\n" in logic.result().asTable()


# --- text and files


@pytest.fixture
def cubes(logic, labels):
    """The logic after comparing two cubes."""
    chosen = (
        labels.segment(box((-10, -10, -10), (10, 10, 10)), "One, two"),
        labels.labelmap(box((-10, -10, -5), (10, 10, 10)), 'Quoted "truth"'),
    )
    compared(logic, *chosen)
    return logic


def test_text_is_table_of_two_columns(cubes):
    rows = [line.split("\t") for line in cubes.result().asTable().splitlines()]
    assert {len(row) for row in rows} == {2}
    assert rows[:2] == [["Segment", "Spleen (One, two)"], ["Reference", 'Quoted "truth"']]
    table = dict(rows[2:])
    assert float(table["Precision"]) == pytest.approx(0.75)
    assert table["Volume of the segment (mL)"] == "8"
    assert float(table["Volume difference (%)"]) == pytest.approx(100 / 3, rel=1e-5)


def read(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_files_contain_all_measures_and_slices(cubes, tmp_path):
    written = cubes.saveCsv(tmp_path / "mine.csv")

    assert written == (tmp_path / "mine.csv", tmp_path / "mine_by_height.csv")
    measures, slices = map(read, written)
    for row in measures + slices:
        assert (row["segment"], row["reference"]) == ("Spleen (One, two)", 'Quoted "truth"')
    assert {row["measure"]: row["unit"] for row in measures}["hd95_mm"] == "mm"
    assert {row["measure"]: float(row["value"]) for row in measures} == pytest.approx(values(cubes), rel=1e-5)
    assert [float(row["height_mm"]) for row in slices] == pytest.approx(list(range(15)))
    assert [float(row["relative_height"]) for row in slices] == pytest.approx(np.linspace(0, 1, 15), rel=1e-5)
    assert {float(row["false_negative_ml"]) for row in slices} == {0}


def test_csv_write_error_keeps_existing_files(cubes, tmp_path):
    (tmp_path / "mine.csv").write_text("before")
    (tmp_path / "mine_by_height.csv").mkdir()
    (tmp_path / "mine_by_height.csv" / "file").write_text("")

    with pytest.raises(UserError, match="cannot be written"):
        cubes.saveCsv(tmp_path / "mine.csv")

    assert (tmp_path / "mine.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "mine_by_height.csv"]


def test_saved_scene_restores_result_chart_and_surface(logic, labels, sample_label, tmp_path):
    import slicer

    from SpleenSmoothSegPanels.compare.logic import CompareLogic
    from SpleenSmoothSegPanels.shared.widgets import Label

    segment, reference = labels.segment(moved(sample_label, (1, 0, 1)), "A"), labels.labelmap(sample_label, "B")
    before = compared(logic, segment, reference)
    logic.showSurface(True)
    remarks, csvBefore = logic.result().remarks, logic.saveCsv(tmp_path / "before.csv")[1].read_text()
    reach, segmentId = comparison_node("vtkMRMLModelNode").GetDisplayNode().GetScalarRange(), segment.segmentId
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    logic.choose(Label(), Label())
    slicer.mrmlScene.Clear(False)
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    loaded = CompareLogic()
    loaded.choose(Label(slicer.util.getNode("A"), segmentId), Label(slicer.util.getNode("B")))

    assert values(loaded) == pytest.approx(before, rel=1e-5)
    assert loaded.result().remarks == remarks
    assert loaded.saveCsv(tmp_path / "after.csv")[1].read_text() == csvBefore
    model = comparison_node("vtkMRMLModelNode")
    assert model.GetDisplayNode().GetScalarRange() == pytest.approx(reach, rel=1e-4)
    assert model.GetDisplayNode().GetColorNode().GetNumberOfColors() == 256
    assert len(distances()) == model.GetPolyData().GetNumberOfPoints()
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(model).GetVisibility()
    loaded.showSurface(False)
    assert slicer.util.getNode("A").GetDisplayNode().GetSegmentVisibility3D(segmentId)


def test_likely_segment_prefers_spleen(labels):
    from SpleenSmoothSegPanels.shared.widgets import likelySegment

    label = labels.segment(ball(20))
    segmentation = label.node.GetSegmentation()
    segmentation.AddEmptySegment("first", "Liver")
    segmentation.ReorderSegments(["first", label.segmentId])

    assert segmentation.GetNthSegmentID(0) == "first"
    assert likelySegment(label.node) == label.segmentId
    segmentation.RemoveSegment(label.segmentId)
    assert likelySegment(label.node) == "first"
    segmentation.RemoveAllSegments()
    assert likelySegment(label.node) == ""
    assert likelySegment(labels.labelmap(ball(20)).node) == ""
    assert likelySegment(None) == ""
