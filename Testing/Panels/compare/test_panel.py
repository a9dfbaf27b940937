"""ComparePanel in the stand-in: controls, result table, views, messages, files, and saved scenes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from locations import REPOSITORY
from slicer_scene import add_volume, ijk_to_ras
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
    pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning"),  # surface-distance on SciPy 1.18
]

MODULE = REPOSITORY / "SpleenSmoothSeg"
SURFACE_ROWS = ("HD95 (mm)", "ASSD (mm)", "Surface Dice at 1 mm", "Surface Dice at 2 mm")


class Packages:
    """Imitates ``packages.Packages``: missing packages are installed if the user agrees."""

    def __init__(self, missing=(), agrees=True):
        self._missing, self._agrees = list(missing), agrees
        self.asked = 0

    def missing(self) -> list[str]:
        return self._missing

    def ensure(self) -> None:
        if self._missing:
            self.asked += 1
            if not self._agrees:
                raise UserError("Nothing was installed.")
            self._missing.clear()


class Opened:
    """The panel with a parameter node, and helpers to operate it."""

    def __init__(self, packages):
        import slicer

        import standin
        from SpleenSmoothSegPanels.compare.logic import CompareLogic
        from SpleenSmoothSegPanels.compare.panel import ComparePanel

        self.widget = standin.loadUi(MODULE / "Resources" / "UI" / "Compare.ui")
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.panel = ComparePanel(self.widget, CompareLogic(packages))
        self.ui = self.panel.ui
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")
        self.panel.setModuleNode(self.node)
        self.panel.enter()
        self.widget.show()

    def choose(self, segment, reference) -> None:
        self.ui.segmentNodeSelector.setCurrentNode(segment)
        self.ui.referenceNodeSelector.setCurrentNode(reference)

    def compare(self) -> None:
        self.ui.compareButton.click()

    @property
    def message(self) -> str:
        return self.ui.messageLabel.text if self.ui.messageLabel.visible else ""

    @property
    def table(self) -> dict:
        """The rows of the table; empty while it is hidden."""
        table = self.ui.resultTable
        return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount * table.visible)}


@pytest.fixture
def opened(slicer_app):
    """Opens the panel; by default, no packages are missing."""
    panels = []

    def open_(packages=None) -> Opened:
        panels.append(Opened(packages or Packages()))
        return panels[-1]

    yield open_
    for opened in panels:
        opened.panel.cleanup()
        opened.widget.deleteLater()


@pytest.fixture
def segmentation(slicer_app):
    """Creates a segmentation with a spleen segment from an image."""
    import slicer

    from SpleenSmoothSegLib.mrml import addSpleenSegment

    def make(image, name):
        volume = add_volume(slicer.mrmlScene, sitk.Cast(image, sitk.sitkInt16), f"{name} CT")
        node, _segmentId = addSpleenSegment(image, volume)
        node.SetName(name)
        return node

    return make


@pytest.fixture
def shifted(sample_label):
    """The sample's label, one voxel (3 mm) lower."""
    array = np.zeros_like(sitk.GetArrayFromImage(sample_label))
    array[:-1] = sitk.GetArrayFromImage(sample_label)[1:]
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(sample_label)
    return image


@pytest.fixture
def pair(segmentation, sample_label, shifted):
    """The segmentation "Ensemble", and its reference "Manual"."""
    return segmentation(shifted, "Ensemble"), segmentation(sample_label, "Manual")


def labelmap(image, name="Labelmap"):
    import slicer

    matrix = slicer.util.vtkMatrixFromArray(ijk_to_ras(image))
    return slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), matrix, name, "vtkMRMLLabelMapVolumeNode")


def model():
    import slicer

    return next(n for n in slicer.util.getNodesByClass("vtkMRMLModelNode") if n.GetName().startswith("Distance of"))


def edit(node) -> None:
    """Remove the lower part of the segment."""
    import slicer

    segmentId = node.GetSegmentation().GetNthSegmentID(0)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId)
    isKept = np.arange(len(array)) > 15
    slicer.util.updateSegmentBinaryLabelmapFromArray(array * isKept[:, None, None], node, segmentId)


# --- choosing


def test_panel_without_choice_shows_message(opened):
    panel = opened()
    assert panel.message == "Choose a segment and a reference."
    assert not panel.ui.compareButton.enabled
    assert panel.table == {}


def test_spleen_is_selected_by_terminology(opened, pair):
    segmentation = pair[0].GetSegmentation()
    spleen = segmentation.GetNthSegmentID(0)
    segmentation.GetSegment(spleen).SetName("S1")
    segmentation.AddEmptySegment("other", "Spleen?")
    segmentation.ReorderSegments(["other", spleen])
    panel = opened()

    panel.choose(*pair)

    assert panel.ui.segmentSelector.currentSegmentID() == spleen
    assert panel.ui.compareButton.enabled
    assert panel.message == ""


def test_labelmap_volume_hides_segment_selector(opened, pair, sample_label):
    panel = opened()
    panel.choose(pair[0], labelmap(sample_label))
    assert panel.ui.segmentSelector.visible
    assert not panel.ui.referenceSegmentSelector.visible

    panel.compare()
    assert 0.5 < float(panel.table["Dice"]) < 1


def test_compare_two_segments_of_same_segmentation(opened, pair):
    import slicer

    segmentation, other = pair[0].GetSegmentation(), pair[1].GetSegmentation()
    segmentation.CopySegmentFromSegmentation(other, other.GetNthSegmentID(0))
    ids = segmentation.GetSegmentIDs()
    panel = opened()
    panel.choose(pair[0], pair[0])
    assert "are the same" in panel.message

    panel.ui.referenceSegmentSelector.setCurrentSegmentID(ids[1])
    assert panel.message == ""
    panel.compare()

    assert 0.5 < float(panel.table["Dice"]) < 1
    assert slicer.util.getNode("Comparison") is not None


def test_swap_button_exchanges_segment_and_reference(opened, pair, sample_label):
    volume = labelmap(sample_label)
    panel = opened()
    panel.choose(pair[0], volume)

    panel.ui.swapButton.click()

    assert panel.ui.segmentNodeSelector.currentNode() is volume
    assert panel.ui.referenceNodeSelector.currentNode() is pair[0]
    assert panel.ui.referenceSegmentSelector.currentSegmentID() == pair[0].GetSegmentation().GetNthSegmentID(0)
    assert not panel.ui.segmentSelector.visible


def test_swap_button_keeps_selected_segments(opened, pair):
    pair[0].GetSegmentation().AddEmptySegment("other", "Other")
    panel = opened()
    panel.choose(*pair)
    panel.ui.segmentSelector.setCurrentSegmentID("other")

    panel.ui.swapButton.click()

    assert panel.ui.referenceSegmentSelector.currentSegmentID() == "other"


# --- comparing


def test_compare_button_fills_table(opened, pair, sample_label, shifted):
    there, reference = (sitk.GetArrayFromImage(image) != 0 for image in (shifted, sample_label))
    panel = opened()
    panel.choose(*pair)
    panel.compare()

    dice = 2 * (there & reference).sum() / (there.sum() + reference.sum())
    assert panel.table["Dice"] == f"{dice:.4f}"
    assert panel.table["Volume of the reference (mL)"] == f"{reference.sum() * 0.027:.2f}"
    assert float(panel.table["HD95 (mm)"]) == pytest.approx(3, abs=0.01)
    assert len(panel.table) == 11
    assert all(panel.table.values())
    assert panel.ui.namesLabel.text == "Spleen (Ensemble) compared with Spleen (Manual)"
    assert "of the errors are in or beyond" in panel.ui.remarksLabel.text
    assert panel.message == ""


def test_every_row_of_table_has_tooltip(opened):
    table = opened().ui.resultTable
    for row in range(table.rowCount):
        for column in range(2):
            assert len(table.item(row, column).toolTip()) > 20


def test_compare_shows_chart_and_colored_surface(opened, pair):
    import slicer

    from standin import views

    def blue_and_red(pixels) -> tuple[int, int]:
        red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
        return np.count_nonzero(blue - red > 110), np.count_nonzero(red - blue > 90)

    panel = opened()
    panel.choose(*pair)
    panel.compare()

    layout = slicer.app.layoutManager()
    assert layout.threeDViewCount == layout.plotViewCount == 1
    assert len(layout.sliceViewNames()) == 3
    shown = layout.plotWidget(0).mrmlPlotViewNode().GetPlotChartNode()
    assert shown.GetTitle() == "Errors by height"
    assert min(blue_and_red(views.renderPlot(shown))) > 100
    colored = blue_and_red(views.render3D((400, 400)))
    assert min(colored) > 100

    panel.ui.surfaceCheckBox.click()
    assert max(blue_and_red(views.render3D((400, 400)))) == 0
    panel.ui.surfaceCheckBox.click()
    assert blue_and_red(views.render3D((400, 400))) == pytest.approx(colored, rel=0.05)


def test_hiding_surface_shows_segments_in_3d(opened, pair):
    panel = opened()
    panel.choose(*pair)
    panel.compare()
    shown = [
        lambda node=node: node.GetDisplayNode().GetSegmentVisibility3D(node.GetSegmentation().GetNthSegmentID(0))
        for node in pair
    ]
    assert [is_shown() for is_shown in shown] == [False, False]

    panel.ui.surfaceCheckBox.click()
    assert [is_shown() for is_shown in shown] == [True, True]
    assert not model().GetDisplayNode().GetVisibility()

    panel.ui.surfaceCheckBox.click()
    panel.ui.segmentNodeSelector.setCurrentNode(None)  # the surface does not belong to the new choice
    assert [is_shown() for is_shown in shown] == [True, True]
    assert not model().GetDisplayNode().GetVisibility()


def test_comparing_again_keeps_layout_and_slices(opened, pair):
    import slicer

    panel = opened()
    panel.choose(*pair)
    panel.compare()
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    red.JumpSliceByCentering(0, 0, 250)
    slicer.app.layoutManager().layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView

    panel.compare()
    edit(pair[0])
    panel.compare()

    assert red.GetSliceToRAS().GetElement(2, 3) == pytest.approx(250, abs=2)
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    panel.ui.plotButton.click()
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView


def test_compare_shows_wait_cursor(opened, pair):
    import qt

    panel, seen = opened(), []
    panel.choose(*pair)
    compare = panel.panel.logic.compare
    panel.panel.logic.compare = lambda: (seen.append(qt.QApplication.overrideCursor() is not None), compare())

    panel.compare()

    assert seen == [True]
    assert qt.QApplication.overrideCursor() is None


# --- changes and errors


def test_edited_label_hides_result(opened, pair):
    panel = opened()
    panel.choose(*pair)
    panel.compare()
    edit(pair[0])

    assert panel.table == {}
    assert "changed since the comparison" in panel.message
    assert not model().GetDisplayNode().GetVisibility()
    panel.compare()
    assert panel.table
    assert panel.message == ""


def test_empty_segment_shows_message(opened, pair):
    pair[0].GetSegmentation().AddEmptySegment("hollow", "Hollow")
    panel = opened()
    panel.choose(*pair)
    panel.compare()
    panel.ui.segmentSelector.setCurrentSegmentID("hollow")
    assert panel.table == {}

    panel.compare()

    assert "is empty" in panel.message
    assert panel.table == {}
    assert not model().GetDisplayNode().GetVisibility()


@pytest.mark.parametrize("which", [0, 1])
def test_deleted_node_hides_result(opened, pair, which):
    import slicer

    panel = opened()
    panel.choose(*pair)
    panel.compare()

    slicer.mrmlScene.RemoveNode(pair[which])

    assert panel.table == {}
    assert panel.message
    assert not model().GetDisplayNode().GetVisibility()


def test_deleted_segment_hides_result(opened, pair):
    panel = opened()
    panel.choose(*pair)
    panel.compare()

    pair[1].GetSegmentation().RemoveAllSegments()

    assert panel.table == {}
    assert "no segment" in panel.message
    pair[1].GetSegmentation().AddEmptySegment("new", "New")
    assert panel.ui.compareButton.enabled


def test_unexpected_error_is_shown_and_logged(opened, pair, caplog):
    def fail():
        raise ZeroDivisionError("deep inside")

    panel = opened()
    panel.choose(*pair)
    panel.panel.logic.compare = fail

    panel.compare()

    assert "Unexpected error" in panel.message
    assert "deep inside" in caplog.text
    assert panel.ui.compareButton.enabled


# --- packages


@pytest.fixture
def bare(monkeypatch):
    """Packages that are missing until the user agrees, hidden from Python until then."""
    import importlib.util

    find_spec = importlib.util.find_spec

    def packages(agrees: bool) -> Packages:
        offered = Packages(["surface-distance-based-measures"], agrees)
        hidden = lambda name: None if name == "surface_distance" and offered.missing() else find_spec(name)  # noqa: E731
        monkeypatch.setattr(importlib.util, "find_spec", hidden)
        return offered

    return packages


def test_install_accepted_computes_all_measures(opened, pair, bare):
    packages = bare(agrees=True)
    panel = opened(packages)
    panel.choose(*pair)
    panel.compare()
    assert packages.asked == 1
    assert all(panel.table[row] != "–" for row in SURFACE_ROWS)
    assert not panel.ui.installButton.visible


def test_install_declined_computes_other_measures_and_asks_once(opened, pair, bare):
    packages = bare(agrees=False)
    panel = opened(packages)
    panel.choose(*pair)
    panel.compare()
    panel.compare()

    assert packages.asked == 1
    assert all(panel.table[row] == "–" for row in SURFACE_ROWS)
    assert float(panel.table["Dice"]) > 0.5
    assert "not installed: HD95 (mm), ASSD (mm)" in panel.ui.remarksLabel.text

    packages._agrees = True
    panel.ui.installButton.click()
    assert packages.asked == 2
    assert all(panel.table[row] != "–" for row in SURFACE_ROWS)
    assert not panel.ui.installButton.visible


# --- copy and save


def test_copy_button_copies_table(opened, pair):
    import qt

    panel = opened()
    panel.choose(*pair)
    panel.compare()

    panel.ui.copyButton.click()

    lines = qt.QApplication.clipboard().text().splitlines()
    assert lines[0] == "Segment\tSpleen (Ensemble)"
    copied = dict(line.split("\t") for line in lines)
    assert float(copied["Dice"]) == pytest.approx(float(panel.table["Dice"]), abs=1e-4)
    assert panel.message == "Copied."


def test_save_button_writes_two_files(opened, pair, tmp_path, monkeypatch):
    import qt

    asked = []
    monkeypatch.setattr(
        qt.QFileDialog, "getSaveFileName", lambda *arguments: asked.append(arguments) or str(tmp_path / "r.csv")
    )
    panel = opened()
    panel.choose(*pair)
    panel.compare()

    panel.ui.saveButton.click()

    assert asked[0][2] == "Spleen_Ensemble_against_Spleen_Manual.csv"
    assert (tmp_path / "r.csv").read_text().startswith("segment,reference,measure,value,unit\n")
    assert (tmp_path / "r_by_height.csv").read_text().startswith("segment,reference,height_mm,relative_height,")
    assert all(name in panel.message for name in ("r.csv", "r_by_height.csv"))


def test_save_to_unwritable_path_shows_message(opened, pair, tmp_path, monkeypatch):
    import qt

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: str(tmp_path / "file" / "r.csv"))
    panel = opened()
    panel.choose(*pair)
    panel.compare()

    panel.ui.saveButton.click()

    assert "cannot be written" in panel.message
    assert panel.table


def test_canceled_save_dialog_writes_nothing(opened, pair, monkeypatch):
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: "")
    panel = opened()
    panel.choose(*pair)
    panel.compare()
    panel.ui.saveButton.click()
    assert panel.message == ""


# --- scenes


def test_choices_and_result_are_restored_from_saved_scene(slicer_app, pair, tmp_path):
    import slicer

    import standin
    from SpleenSmoothSegPanels.compare.logic import CompareLogic

    other = pair[1].GetSegmentation()
    pair[0].GetSegmentation().CopySegmentFromSegmentation(other, other.GetNthSegmentID(0))
    widget = standin.openModule(MODULE / "SpleenSmoothSeg.py", compareLogic=CompareLogic(Packages()))
    ui = widget.panels[2].ui
    slicer.util.findChild(widget.parent, "compareSection").collapsed = False
    ui.segmentNodeSelector.setCurrentNode(pair[0])
    ui.referenceNodeSelector.setCurrentNode(pair[1])
    segmentId = pair[0].GetSegmentation().GetNthSegmentID(1)
    ui.segmentSelector.setCurrentSegmentID(segmentId)
    ui.compareButton.click()
    ui.surfaceCheckBox.click()
    before = [ui.resultTable.item(row, 1).text() for row in range(ui.resultTable.rowCount)]
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))

    slicer.mrmlScene.Clear(False)
    assert not ui.resultFrame.visible
    assert ui.segmentNodeSelector.currentNode() is None
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    assert ui.segmentNodeSelector.currentNode().GetName() == "Ensemble"
    assert ui.segmentSelector.currentSegmentID() == segmentId
    assert ui.referenceNodeSelector.currentNode().GetName() == "Manual"
    assert [ui.resultTable.item(row, 1).text() for row in range(ui.resultTable.rowCount)] == before
    assert ui.resultFrame.visible
    assert not ui.surfaceCheckBox.checked
    assert not model().GetDisplayNode().GetVisibility()
    ui.surfaceCheckBox.click()
    assert model().GetDisplayNode().GetVisibility()


def test_closing_scene_clears_panel(opened, pair):
    import slicer

    panel = opened()
    panel.choose(*pair)
    panel.compare()

    panel.panel.setModuleNode(None)
    slicer.mrmlScene.Clear(False)

    assert panel.table == {}
    assert not panel.ui.compareButton.enabled


def test_parameters_of_other_panels_do_not_update_panel(opened, pair):
    panel, calls = opened(), []
    panel.choose(*pair)
    panel.panel.logic.showSurface = calls.append

    panel.node.SetParameter("borderWidth", "2.5")

    assert calls == []
