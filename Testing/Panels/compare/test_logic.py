"""Two labels in a real scene: their measures, the errors by height, the colored surface, and what a file keeps."""

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
    """Makes ``Label`` objects of SimpleITK images."""
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
    """The label shifted by whole voxels (column, row, slice) on its grid, and cut off at its end."""
    there = np.pad(sitk.GetArrayFromImage(label), 5)
    image = sitk.GetImageFromArray(np.roll(there, voxels[::-1], (0, 1, 2))[5:-5, 5:-5, 5:-5])
    image.CopyInformation(label)
    return image


def compared(logic, segment, reference) -> dict:
    logic.choose(segment, reference)
    logic.compare()
    return values(logic)


def values(logic) -> dict:
    return {measure.key: value for measure, value in logic.result().values}


def ours(nodeClass: str):
    """The node of that class that the comparison made, or None."""
    import slicer

    nodes = [
        n for n in slicer.util.getNodesByClass(nodeClass) if (n.GetAttribute("SpleenSmoothSeg") or "").startswith("Co")
    ]
    return nodes[0] if nodes else None


def distances() -> np.ndarray:
    import slicer

    return slicer.util.arrayFromModelPointData(ours("vtkMRMLModelNode"), "Signed distance (mm)")


def middle_of_surface() -> np.ndarray:
    bounds = np.zeros(6)
    ours("vtkMRMLModelNode").GetRASBounds(bounds)
    return bounds.reshape(3, 2).mean(axis=1)


# --- measures


def test_a_cube_that_is_moved_by_a_quarter_of_its_side_has_the_known_measures(logic, labels):
    segment, reference = box((-10, -10, -10), (10, 10, 10)), box((-5, -10, -10), (15, 10, 10))

    found = compared(logic, labels.segment(segment), labels.segment(reference))

    assert found["dice"] == found["precision"] == found["recall"] == pytest.approx(0.75)
    assert found["volume_ml"] == found["label_volume_ml"] == pytest.approx(8)
    assert found["volume_difference_ml"] == found["volume_difference_percent"] == pytest.approx(0)
    assert found["hd95_mm"] == pytest.approx(5)


def test_a_label_that_was_eroded_is_precise_and_misses_its_rim(logic, labels, sample_label):
    eroded = sitk.BinaryErode(sample_label, (1, 1, 0))
    sizes = [int(sitk.GetArrayViewFromImage(image).sum()) for image in (eroded, sample_label)]

    found = compared(logic, labels.segment(eroded), labels.segment(sample_label))

    assert found["precision"] == 1
    assert found["recall"] == pytest.approx(sizes[0] / sizes[1])
    assert found["dice"] == pytest.approx(2 * sizes[0] / sum(sizes))
    assert found["volume_difference_percent"] == pytest.approx(100 * (sizes[0] / sizes[1] - 1))
    assert 3 <= found["hd95_mm"] < 4.3  # a voxel, straight or across
    assert distances().mean() < -1


def test_the_same_voxels_twice_are_equal_in_every_measure(logic, labels, sample_label):
    found = compared(logic, labels.segment(sample_label, "A"), labels.segment(sample_label, "B"))

    assert [found[key] for key in ("dice", "precision", "recall", "surface_dice_1mm", "hd95_mm", "assd_mm")] == [
        *[1] * 4,
        *[0] * 2,
    ]
    assert np.abs(distances()).max() < 1e-5
    assert logic.result().notes == ""


@pytest.mark.parametrize("kinds", [("segment", "labelmap"), ("labelmap", "segment"), ("labelmap", "labelmap")])
def test_a_labelmap_volume_is_as_good_as_a_segment(logic, labels, sample_label, kinds):
    images = moved(sample_label, (1, -1, 2)), sample_label
    expected = compared(logic, *[labels.segment(image) for image in images])

    found = compared(logic, *[getattr(labels, kind)(image) for kind, image in zip(kinds, images, strict=True)])

    assert found == pytest.approx(expected)


def test_every_value_but_zero_of_a_labelmap_counts(logic, labels):
    cube = box((-10, -10, -10), (10, 10, 10))
    assert compared(logic, labels.labelmap(cube, value=7), labels.segment(cube))["dice"] == 1


def test_labels_on_different_voxels_are_compared_where_they_lie_and_it_is_said(logic, labels):
    spheres = ball(25), ball(25, (1.7, 1.3, 2.9), direction=turned(10, -15, 20))

    found = compared(logic, *[labels.segment(sphere) for sphere in spheres])

    assert found["dice"] > 0.97
    assert "different voxels" in logic.result().notes


def test_a_part_of_the_same_voxels_is_not_called_different(logic, labels, sample_label):
    compared(logic, labels.labelmap(moved(sample_label, (0, 0, 1))), labels.segment(sample_label))
    assert "different voxels" not in logic.result().notes


def test_transforms_move_what_is_compared(logic, labels, sample_label):
    import slicer

    segment, reference = labels.segment(sample_label), labels.labelmap(sample_label)
    matrix = rigid((20, -10, 35), (12, 30, -7))
    for label in (segment, reference):
        label.node.SetAndObserveTransformNodeID(add_linear_transform(slicer.mrmlScene, matrix).GetID())
    assert compared(logic, segment, reference)["dice"] == 1

    reference.node.SetAndObserveTransformNodeID(None)
    assert compared(logic, segment, reference)["dice"] < 0.9


# --- errors by height


def test_the_chart_shows_the_errors_of_each_slice_from_bottom_to_top(logic, labels):
    reference, segment = box((-10, -10, -20), (10, 10, 20)), box((-10, -10, -10), (10, 10, 20))

    compared(logic, labels.segment(segment), labels.segment(reference))

    drawn = curves(ours("vtkMRMLPlotChartNode"))
    missing, extra = drawn["False negatives"], drawn["False positives"]
    assert missing[0] == extra[0] == pytest.approx(list(range(40)))
    assert missing[1] == pytest.approx([0.4] * 10 + [0] * 30)  # 20 x 20 x 1 mm
    assert extra[1] == pytest.approx([0] * 40)
    assert "100 % of the errors lie in or beyond the lowest and the highest quarter" in logic.result().notes


def test_what_lies_beyond_the_reference_is_told_in_words(logic, labels):
    reference, segment = box((-10, -10, -20), (10, 10, 20)), box((-10, -10, -22), (10, 10, 25))

    compared(logic, labels.segment(segment), labels.segment(reference))

    assert "0.80 mL of the segment lie below and 2.00 mL above" in logic.result().notes


# --- surface


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 3.0)])
def test_the_surface_of_a_ball_in_or_around_a_ball_has_their_distance_everywhere(logic, labels, spacing):
    small, large = labels.segment(ball(25, spacing), "Small"), labels.segment(ball(30, spacing), "Large")

    compared(logic, large, small)
    assert distances().mean() == pytest.approx(5, abs=0.1)
    assert np.ptp(np.percentile(distances(), [2, 98])) < max(spacing) / 2

    compared(logic, small, large)
    assert distances().mean() == pytest.approx(-5, abs=0.1)


def test_the_surface_is_colored_symmetrically_about_zero_with_a_legend(logic, labels, sample_label):
    compared(logic, labels.segment(moved(sample_label, (0, 0, 2))), labels.segment(sample_label))

    import slicer

    model = ours("vtkMRMLModelNode")
    display, legend = model.GetDisplayNode(), slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(model)
    low, high = display.GetScalarRange()
    assert high == -low == pytest.approx(np.percentile(np.abs(distances()), 95))
    assert display.GetScalarVisibility()
    assert display.GetActiveScalarName() == "Signed distance (mm)"
    assert display.GetColorNode().GetName() == "Spleen cool to warm"
    assert legend.GetVisibility()
    assert "mm" in legend.GetTitleText()


def test_the_surface_lies_on_the_judged_segment_and_follows_its_transform(logic, labels):
    import slicer

    segment = labels.segment(ellipsoid(center=(20, 10, 5), radii=(12, 12, 12)))
    transform = add_linear_transform(slicer.mrmlScene, rigid((0, 0, 30), (5, 6, 7)) @ np.diag([-1, 1, 1, 1]))
    segment.node.SetAndObserveTransformNodeID(transform.GetID())

    compared(logic, segment, labels.segment(ball(20)))
    expected = slicer.util.arrayFromTransformMatrix(transform) @ [-20, -10, 5, 1]
    assert middle_of_surface() == pytest.approx(expected[:3], abs=0.7)

    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(100, 0, 0))))
    assert middle_of_surface() == pytest.approx([80, -10, 5], abs=0.7)


def test_the_surface_of_a_mirrored_grid_is_lit_from_outside(logic, labels):
    import slicer

    mirrored = ball(20, direction=(-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    compared(logic, labels.labelmap(mirrored), labels.segment(ball(21)))

    model = ours("vtkMRMLModelNode")
    points, normals = slicer.util.arrayFromModelPoints(model), slicer.util.arrayFromModelPointData(model, "Normals")
    assert ((points * normals).sum(axis=1) > 0).all()


def test_the_surface_takes_the_place_of_the_two_segments_and_gives_it_back(logic, labels):
    segment, reference = labels.segment(ball(20)), labels.segment(ball(21))
    displays = [(label.node.GetDisplayNode(), label.segmentId) for label in (segment, reference)]
    displays[1][0].SetSegmentVisibility3D(displays[1][1], False)  # the user hid it
    compared(logic, segment, reference)

    logic.showSurface(True)
    assert not any(display.GetSegmentVisibility3D(segmentId) for display, segmentId in displays)
    logic.showSurface(False)
    assert [display.GetSegmentVisibility3D(segmentId) for display, segmentId in displays] == [True, False]
    assert not ours("vtkMRMLModelNode").GetDisplayNode().GetVisibility()


# --- what comes later


def test_a_second_comparison_takes_the_place_of_the_first(logic, labels):
    import slicer

    first, second = labels.segment(ball(20)), labels.segment(ball(25))
    compared(logic, first, second)
    nodes = slicer.mrmlScene.GetNumberOfNodes()

    found = compared(logic, second, first)

    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert found["volume_difference_ml"] > 0
    assert ours("vtkMRMLModelNode").GetName() == "Distance of Spleen (Segmentation) to Spleen (Segmentation)"


def test_numbers_are_shown_for_the_labels_that_were_compared_only(logic, labels):
    first, second, third = (labels.segment(ball(radius)) for radius in (20, 21, 22))
    compared(logic, first, second)

    logic.choose(first, third)
    assert logic.result() is None
    assert not logic.isOutdated()
    logic.choose(first, second)
    assert logic.result() is not None


def edit(label) -> None:
    """Take a half of the label away, as a person does."""
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
def test_numbers_of_a_label_that_was_edited_are_not_shown(logic, labels, kind, which):
    chosen = [getattr(labels, kind)(ball(radius)) for radius in (20, 21)]
    compared(logic, *chosen)
    heard = []
    logic.onChanged = lambda: heard.append(logic.result())

    edit(chosen[which])

    assert heard[-1] is None
    assert logic.isOutdated()
    assert compared(logic, *chosen)["dice"] < 0.7
    assert not logic.isOutdated()


def test_renaming_moving_both_and_showing_change_no_number(logic, labels):
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


def test_a_label_that_was_moved_alone_has_to_be_compared_again(logic, labels):
    import slicer

    segment, reference = labels.segment(ball(20)), labels.segment(ball(21))
    transform = add_linear_transform(slicer.mrmlScene, np.eye(4))
    segment.node.SetAndObserveTransformNodeID(transform.GetID())
    compared(logic, segment, reference)

    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(9, 0, 0))))

    assert logic.isOutdated()


@pytest.mark.parametrize("nodeClass", ["vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLModelNode"])
def test_a_result_that_somebody_deleted_is_made_again(logic, labels, nodeClass):
    import slicer

    chosen = labels.segment(ball(20)), labels.segment(ball(21))
    before = compared(logic, *chosen)
    slicer.mrmlScene.RemoveNode(ours(nodeClass))

    logic.showSurface(True)
    logic.showSurface(False)
    assert compared(logic, *chosen) == before
    assert ours(nodeClass) is not None


# --- what cannot be compared


def refused(logic, segment, reference) -> str:
    """The sentence; and nothing is left in the scene."""
    import slicer

    nodes = slicer.mrmlScene.GetNumberOfNodes()
    logic.choose(segment, reference)
    with pytest.raises(UserError) as error:
        logic.compare()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert logic.result() is None
    return str(error.value)


def test_nothing_chosen_is_a_sentence(logic, labels):
    from SpleenSmoothSegPanels.shared.widgets import Label

    assert "Choose a segment" in refused(logic, Label(), labels.segment(ball(20)))
    assert "Choose a segment" in refused(logic, labels.segment(ball(20)), Label())


def test_a_segment_and_itself_are_refused(logic, labels):
    segment = labels.segment(ball(20))
    assert "with itself" in refused(logic, segment, segment)


@pytest.mark.parametrize("kind", ["segment", "labelmap"])
def test_an_empty_label_is_named(logic, labels, kind):
    label = getattr(labels, kind)(ball(20), "Mine")
    if label.isSegment():
        import slicer

        array = slicer.util.arrayFromSegmentBinaryLabelmap(label.node, label.segmentId)
        slicer.util.updateSegmentBinaryLabelmapFromArray(array * 0, label.node, label.segmentId)
    else:
        label.node.GetImageData().GetPointData().GetScalars().Fill(0)
    for pair in ((label, labels.segment(ball(21))), (labels.segment(ball(21)), label)):
        assert "empty" in refused(logic, *pair)


def test_a_segmentation_without_segments_is_named(logic, labels):
    label = labels.segment(ball(20), "Hollow")
    label.node.GetSegmentation().RemoveAllSegments()
    assert '"Hollow" has no segment' in refused(logic, label, labels.segment(ball(21)))


def test_a_node_that_was_deleted_counts_as_not_chosen(logic, labels):
    import slicer

    label = labels.segment(ball(20))
    slicer.mrmlScene.RemoveNode(label.node)
    assert "Choose a segment" in refused(logic, label, labels.segment(ball(21)))


def test_a_transform_that_bends_is_refused(logic, labels):
    import slicer

    label = labels.labelmap(ball(20))
    label.node.SetAndObserveTransformNodeID(add_bending_transform(slicer.mrmlScene).GetID())
    assert "harden" in refused(logic, label, labels.segment(ball(21)))


def test_labels_without_overlap_are_measured_and_it_is_said(logic, labels):
    here, there = box((-30, -5, -5), (-20, 5, 5)), box((20, -5, -5), (30, 5, 5))

    found = compared(logic, labels.segment(here), labels.segment(there))

    assert found["dice"] == found["precision"] == found["recall"] == 0
    assert found["hd95_mm"] > 35
    assert "do not overlap" in logic.result().notes


@pytest.mark.parametrize("size", [(1, 1, 1), (30, 1, 1), (30, 30, 1)])
def test_the_thinnest_labels_are_compared_too(logic, labels, size, tmp_path):
    thin = box((0, 0, 0), size)

    found = compared(logic, labels.segment(thin, "A"), labels.labelmap(thin, "B"))
    assert found["dice"] == 1
    assert np.abs(distances()).max() < 1e-5
    logic.saveCsv(tmp_path / "thin.csv")

    compared(logic, labels.segment(thin), labels.segment(box((-10, -10, -10), (10, 10, 10))))
    assert np.isfinite(distances()).all()


def test_without_the_library_for_surfaces_the_other_measures_are_there_and_it_is_said(logic, labels, monkeypatch):
    from SpleenSmoothSegLib.metrics import surface as comparison

    chosen = labels.segment(box((-10, -10, -10), (10, 10, 10))), labels.segment(box((-5, -10, -10), (15, 10, 10)))
    complete = compared(logic, *chosen)
    monkeypatch.setattr(comparison.importlib.util, "find_spec", lambda name: None)

    found = compared(logic, *chosen)

    assert {key: value for key, value in found.items() if value is not None} == {
        key: value for key, value in complete.items() if key not in SURFACE_MEASURES
    }
    assert "package is not installed: HD95 (mm), ASSD (mm), Surface Dice at 1 mm, Surface Dice at 2 mm" in (
        logic.result().notes
    )
    assert "HD95 (mm)\t\n" in logic.asText()


# --- text and files


@pytest.fixture
def cubes(logic, labels):
    """The logic, which has compared two cubes."""
    chosen = (
        labels.segment(box((-10, -10, -10), (10, 10, 10)), "One, two"),
        labels.labelmap(box((-10, -10, -5), (10, 10, 10)), 'Said "truth"'),
    )
    compared(logic, *chosen)
    return logic


def test_the_copied_text_is_a_table_of_two_columns(cubes):
    rows = [line.split("\t") for line in cubes.asText().splitlines()]
    assert {len(row) for row in rows} == {2}
    assert rows[:2] == [["Segment", "Spleen (One, two)"], ["Reference", 'Said "truth"']]
    table = dict(rows[2:])
    assert float(table["Precision"]) == pytest.approx(0.75)
    assert table["Volume of the segment (mL)"] == "8"
    assert float(table["Volume difference (%)"]) == pytest.approx(100 / 3, rel=1e-5)


def read(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_files_hold_every_measure_and_every_slice_with_units_and_names(cubes, tmp_path):
    written = cubes.saveCsv(tmp_path / "mine.csv")

    assert written == (tmp_path / "mine.csv", tmp_path / "mine_by_height.csv")
    measures, slices = map(read, written)
    for row in measures + slices:
        assert (row["segment"], row["reference"]) == ("Spleen (One, two)", 'Said "truth"')
    assert {row["measure"]: row["unit"] for row in measures}["hd95_mm"] == "mm"
    assert {row["measure"]: float(row["value"]) for row in measures} == pytest.approx(values(cubes), rel=1e-5)
    assert [float(row["height_mm"]) for row in slices] == pytest.approx(list(range(15)))
    assert [float(row["relative_height"]) for row in slices] == pytest.approx(np.linspace(0, 1, 15), rel=1e-5)
    assert {float(row["false_negative_ml"]) for row in slices} == {0}


def test_a_file_that_cannot_be_written_leaves_what_was_there(cubes, tmp_path):
    (tmp_path / "mine.csv").write_text("before")
    (tmp_path / "mine_by_height.csv").mkdir()
    (tmp_path / "mine_by_height.csv" / "file").write_text("")

    with pytest.raises(UserError, match="cannot be written"):
        cubes.saveCsv(tmp_path / "mine.csv")

    assert (tmp_path / "mine.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "mine_by_height.csv"]


def test_a_saved_scene_keeps_numbers_chart_and_surface(logic, labels, sample_label, tmp_path):
    import slicer

    from SpleenSmoothSegPanels.compare.logic import CompareLogic
    from SpleenSmoothSegPanels.shared.widgets import Label

    segment, reference = labels.segment(moved(sample_label, (1, 0, 1)), "A"), labels.labelmap(sample_label, "B")
    before = compared(logic, segment, reference)
    logic.showSurface(True)
    notes, csvBefore = logic.result().notes, logic.saveCsv(tmp_path / "before.csv")[1].read_text()
    reach, segmentId = ours("vtkMRMLModelNode").GetDisplayNode().GetScalarRange(), segment.segmentId
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    logic.choose(Label(), Label())
    slicer.mrmlScene.Clear(False)
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    loaded = CompareLogic()
    loaded.choose(Label(slicer.util.getNode("A"), segmentId), Label(slicer.util.getNode("B")))

    assert values(loaded) == pytest.approx(before, rel=1e-5)
    assert loaded.result().notes == notes
    assert loaded.saveCsv(tmp_path / "after.csv")[1].read_text() == csvBefore
    model = ours("vtkMRMLModelNode")
    assert model.GetDisplayNode().GetScalarRange() == pytest.approx(reach, rel=1e-4)
    assert model.GetDisplayNode().GetColorNode().GetNumberOfColors() == 256
    assert len(distances()) == model.GetPolyData().GetNumberOfPoints()
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(model).GetVisibility()
    loaded.showSurface(False)
    assert slicer.util.getNode("A").GetDisplayNode().GetSegmentVisibility3D(segmentId)


def test_a_spleen_is_chosen_before_other_segments(labels):
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
