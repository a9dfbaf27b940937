"""BorderPanel in the stand-in: controls, messages, files, and saved scenes."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")

import SimpleITK as sitk
import slicer

from locations import REPOSITORY, SAMPLE_DATA
from SpleenSmoothSegLib.border.kernels import Border, smooth_border
from SpleenSmoothSegLib.mrml import addSpleenSegment, imageFromVolumeNode, labelImage
from training_data import CASES, write_dataset

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]

UI = REPOSITORY / "SpleenSmoothSeg" / "Resources" / "UI" / "SoftBorder.ui"
MODULE = REPOSITORY / "SpleenSmoothSeg" / "SpleenSmoothSeg.py"
CONTROLS = ["QPushButton", "QComboBox", "ctkSliderWidget", "qMRMLNodeComboBox", "qMRMLSegmentSelectorWidget"]


@pytest.fixture
def wait(slicer_app):
    import standin

    return standin.waitUntil


@pytest.fixture
def ct(slicer_app):
    node = slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"))
    slicer.util.setSliceViewerLayers(background=node)
    return node


@pytest.fixture
def spleen(ct, sample_label):
    """Segmentation and segment id of the sample's label."""
    return addSpleenSegment(sample_label, ct)


@pytest.fixture
def panel(slicer_app):
    """The entered panel, outside of the module."""
    from SpleenSmoothSegPanels.border.logic import BorderLogic
    from SpleenSmoothSegPanels.border.panel import BorderPanel

    widget = slicer.util.loadUI(str(UI))
    widget.setMRMLScene(slicer.mrmlScene)
    panel = BorderPanel(widget, BorderLogic())
    panel.setModuleNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters"))
    widget.show()
    panel.enter()
    yield panel
    panel.exit()
    panel.cleanup()
    widget.close()


@pytest.fixture
def preview(spleen, panel, wait):
    """The panel, previewing the sample's label."""
    panel.enter()  # selects the segmentation
    panel.ui.previewButton.click()
    wait(lambda: overlay() is not None)
    return panel


@pytest.fixture
def module(slicer_app):
    """Opens the whole module, and returns its BorderPanel."""
    import standin

    def open_module():
        widget = standin.openModule(MODULE)
        return next(part for part in widget.panels if hasattr(part.ui, "kernelSelector"))

    return open_module


def overlay():
    return slicer.mrmlScene.GetFirstNode("Soft border overlay", "vtkMRMLScalarVolumeNode")


def shows(border: str, spleen, ct) -> bool:
    """Whether the overlay is the soft label that training would use with this border."""
    expected = smooth_border(labelImage(*spleen, ct), Border.parse(border))
    shown = sitk.Resample(imageFromVolumeNode(overlay()), expected, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    return np.allclose(sitk.GetArrayViewFromImage(shown), sitk.GetArrayViewFromImage(expected), atol=1e-5)


def foregrounds():
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {(composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()) for composite in composites}


def message(panel) -> str:
    return panel.ui.previewMessage.text


# Preview


def test_enter_selects_segmentation_spleen_and_ct(spleen, ct, panel):
    spleen[0].GetSegmentation().AddEmptySegment("Liver")
    panel.enter()
    assert panel.ui.labelSelector.currentNode() is spleen[0]
    assert panel.ui.segmentSelector.currentSegmentID() == spleen[1]
    assert panel.ui.ctSelector.currentNode() is ct


def test_no_preview_before_button_is_clicked(spleen, panel, slicer_app):
    before = foregrounds()
    panel.ui.widthSlider.setValue(4)
    slicer_app.processEvents()
    assert overlay() is None
    assert foregrounds() == before


def test_every_control_updates_soft_label(preview, spleen, ct, wait):
    ui = preview.ui
    wait(lambda: shows("gaussian:1.5mm", spleen, ct))
    ui.widthSlider.setValue(3.2)
    wait(lambda: shows("gaussian:3.2mm", spleen, ct))
    ui.planeSelector.setCurrentIndex(1)
    wait(lambda: shows("gaussian:3.2mm:3d", spleen, ct))
    ui.unitSelector.setCurrentIndex(1)
    wait(lambda: shows("gaussian:3.2px:3d", spleen, ct))
    ui.kernelSelector.setCurrentIndex(1)
    wait(lambda: shows("box:3.2px:3d", spleen, ct))
    ui.kernelSelector.setCurrentIndex(5)
    wait(lambda: shows("none", spleen, ct))
    assert not ui.widthSlider.enabled


def test_selectors_list_all_kernels_planes_and_units_of_the_engine(panel):
    from SpleenSmoothSegLib.border.kernels import KERNELS, PLANES, UNITS

    def names(selector):
        return {selector.itemText(index).split("(")[-1].strip(")") for index in range(selector.count)}

    assert names(panel.ui.kernelSelector) == set(KERNELS)
    assert names(panel.ui.planeSelector) == set(PLANES)
    assert names(panel.ui.unitSelector) == set(UNITS)


def test_dragged_slider_updates_once_for_all_pending_events(preview, wait, monkeypatch):
    shown = []
    show = preview.logic.show
    monkeypatch.setattr(preview.logic, "show", lambda *arguments: shown.append(str(arguments[2])) or show(*arguments))
    for width in np.arange(2, 6, 0.1):
        preview.ui.widthSlider.setValue(width)
    wait(lambda: "gaussian:5.9mm" in shown)
    assert len(shown) == 1


def test_numbers_and_profile_are_updated_when_slider_rests(preview, wait):
    ui = preview.ui
    wait(lambda: ui.profileButton.enabled)
    first = ui.bandValue.text
    ui.widthSlider.setValue(4)
    wait(lambda: ui.bandValue.text != first)
    assert float(ui.bandValue.text.split()[0]) > float(first.split()[0]) + 2
    assert "mm" in ui.shiftValue.text and "mL" in ui.volumeValue.text and "mL" in ui.tipsValue.text
    assert ui.remarks.text.endswith(".")


def test_profile_button_shows_plot_view(preview, wait):
    wait(lambda: preview.ui.profileButton.enabled)
    preview.ui.profileButton.click()
    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode().GetName() == "Soft border profile"
    assert not message(preview)


def test_opacity_slider_sets_overlay_opacity(preview, wait):
    preview.ui.opacitySlider.setValue(0.2)
    wait(lambda: foregrounds() == {(overlay().GetID(), 0.2)})


def test_hide_button_restores_views_and_clears_numbers(preview, ct, wait):
    assert preview.ui.previewButton.text == "Hide preview"
    preview.ui.previewButton.click()
    assert preview.ui.previewButton.text == "Show preview"
    wait(lambda: overlay() is None)
    assert {volume for volume, _ in foregrounds()} == {None}
    assert preview.ui.bandValue.text == "–"
    assert not preview.ui.profileButton.enabled


def test_preview_is_hidden_on_exit_and_shown_again_on_enter(preview, wait):
    preview.exit()
    assert overlay() is None
    preview.enter()
    wait(lambda: overlay() is not None)


def test_edited_segment_updates_preview(preview, spleen, ct, wait):
    array = slicer.util.arrayFromSegmentBinaryLabelmap(*spleen, ct)
    array[: array.shape[0] * 3 // 4] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, *spleen, ct)
    wait(lambda: shows("gaussian:1.5mm", spleen, ct))


def test_empty_segment_is_previewed_after_it_is_drawn(panel, spleen, ct, wait):
    panel.parameters.borderNode = spleen[0]
    panel.parameters.borderId = spleen[0].GetSegmentation().AddEmptySegment("Empty")
    panel.ui.previewButton.click()
    wait(lambda: "empty" in message(panel))
    array = slicer.util.arrayFromSegmentBinaryLabelmap(*spleen, ct)
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, spleen[0], panel.parameters.borderId, ct)
    wait(lambda: overlay() is not None)
    assert not message(panel)


def test_deleted_label_removes_preview(preview, spleen, wait):
    slicer.mrmlScene.RemoveNode(spleen[0])
    wait(lambda: overlay() is None)
    assert "choose" in message(preview)
    assert {volume for volume, _ in foregrounds()} == {None}


def test_deleted_ct_switches_to_grid_of_label(preview, spleen, ct, wait):
    former = slicer.util.arrayFromVolume(overlay()).shape
    slicer.mrmlScene.RemoveNode(ct)
    wait(lambda: preview.ui.ctSelector.currentNode() is None)
    preview.ui.planeSelector.setCurrentIndex(1)
    wait(lambda: slicer.util.arrayFromVolume(overlay()).shape != former)
    assert not message(preview)


def test_preview_does_not_change_segment(preview, spleen, wait):
    before = slicer.util.arrayFromSegmentInternalBinaryLabelmap(*spleen).tobytes()
    preview.ui.widthSlider.setValue(8)
    wait(lambda: preview.ui.profileButton.enabled)
    preview.ui.previewButton.click()
    wait(lambda: overlay() is None)
    assert slicer.util.arrayFromSegmentInternalBinaryLabelmap(*spleen).tobytes() == before
    assert spleen[0].GetSegmentation().GetNumberOfSegments() == 1


@pytest.mark.parametrize("what", ["no label", "empty", "far away"])
def test_invalid_label_shows_one_line_message(panel, spleen, ct, wait, what):
    if what == "empty":
        panel.parameters.borderNode = spleen[0]
        panel.parameters.borderId = spleen[0].GetSegmentation().AddEmptySegment("Empty")
    elif what == "far away":
        panel.parameters.borderNode = spleen[0]
        ct.SetOrigin(5000, 0, 0)
    else:
        slicer.mrmlScene.RemoveNode(spleen[0])
    panel.ui.previewButton.click()
    wait(lambda: message(panel))
    assert message(panel).endswith(".") and "\n" not in message(panel)
    assert panel.ui.previewMessage.visible
    assert overlay() is None


def test_unexpected_error_shows_message(preview, wait, monkeypatch):
    monkeypatch.setattr(preview.logic, "show", lambda *arguments: 1 / 0)
    preview.ui.widthSlider.setValue(2)
    wait(lambda: "Unexpected" in message(preview))


# Training and files


def test_use_button_copies_border_option_of_train_py(preview, slicer_app):
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    preview.ui.kernelSelector.setCurrentIndex(2)
    preview.ui.widthSlider.setValue(1)
    preview.ui.unitSelector.setCurrentIndex(1)
    preview.ui.planeSelector.setCurrentIndex(1)
    preview.ui.useButton.click()
    line = slicer.app.clipboard().text()
    assert line == "--border svls:1px:3d"
    assert line in preview.ui.fileMessage.text
    run = read_run(make_parser(""), ["dataset", "out", *line.split()])
    assert str(run.recipe.border) == "svls:1px:3d"

    preview.ui.kernelSelector.setCurrentIndex(5)
    preview.ui.useButton.click()
    assert slicer.app.clipboard().text() == "--border none"


def answer(monkeypatch, dialog: str, *answers: str) -> None:
    """Makes Qt's file dialog return these paths, one after another."""
    import qt

    remaining = iter(answers)
    monkeypatch.setattr(qt.QFileDialog, dialog, staticmethod(lambda *arguments: next(remaining)))


def test_save_button_writes_soft_label(preview, ct, sample_label, tmp_path, monkeypatch):
    answer(monkeypatch, "getSaveFileName", str(tmp_path / "soft.nii.gz"))
    preview.ui.saveButton.click()
    written = sitk.ReadImage(str(tmp_path / "soft.nii.gz"))
    expected = smooth_border(sample_label, Border.parse("gaussian:1.5mm"))
    assert np.allclose(sitk.GetArrayViewFromImage(written), sitk.GetArrayViewFromImage(expected), atol=1e-5)
    assert str(tmp_path / "soft.nii.gz") in preview.ui.fileMessage.text


def test_canceled_file_dialog_writes_nothing(preview, monkeypatch):
    answer(monkeypatch, "getSaveFileName", "")
    answer(monkeypatch, "getExistingDirectory", "")
    preview.ui.saveButton.click()
    preview.ui.folderButton.click()
    assert not preview.ui.fileMessage.text


def test_save_to_unwritable_path_shows_message(preview, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    answer(monkeypatch, "getSaveFileName", str(tmp_path / "file" / "soft.nii.gz"))
    preview.ui.saveButton.click()
    assert "cannot be written" in preview.ui.fileMessage.text


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "Task é")


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "soft labels"
    folder.mkdir()
    return folder


def test_folder_button_writes_soft_label_of_each_case(panel, dataset, out, wait, monkeypatch):
    answer(monkeypatch, "getExistingDirectory", str(dataset), str(out))
    panel.ui.folderButton.click()
    assert panel.ui.folderButton.text == "Cancel"
    assert panel.ui.progressBar.visible
    wait(lambda: not panel.logic.folder.isRunning())

    assert sorted(path.name for path in out.iterdir()) == [f"{name}.nii.gz" for name in CASES]
    for name in CASES:
        label = sitk.ReadImage(str(dataset / "labelsTr" / f"{name}.nii.gz"))
        soft = sitk.ReadImage(str(out / f"{name}.nii.gz"))
        expected = smooth_border(label, Border.parse("gaussian:1.5mm"))
        assert np.allclose(sitk.GetArrayViewFromImage(soft), sitk.GetArrayViewFromImage(expected), atol=1e-5)
    assert "4 of 4" in panel.ui.fileMessage.text
    assert "Decathlon" in panel.ui.folderButton.text
    assert not panel.ui.progressBar.visible


def test_folder_with_invalid_labels_lists_them_and_writes_the_others(panel, dataset, out, wait, monkeypatch):
    (dataset / "labelsTr" / "b.nii.gz").write_bytes(b"no image")
    (dataset / "labelsTr" / "c.nii.gz").unlink()
    answer(monkeypatch, "getExistingDirectory", str(dataset), str(out))
    panel.ui.folderButton.click()
    wait(lambda: not panel.logic.folder.isRunning())

    first, *failures = panel.ui.fileMessage.text.split("\n")
    assert "2 of 4" in first
    assert len(failures) == 2
    assert "b.nii.gz" in failures[0] and "c.nii.gz" in failures[1]
    assert sorted(path.name for path in out.iterdir()) == ["a.nii.gz", "d.nii.gz"]


def test_canceled_folder_keeps_complete_files_only(panel, dataset, out, wait, monkeypatch):
    answer(monkeypatch, "getExistingDirectory", str(dataset), str(out))
    panel.ui.folderButton.click()
    wait(lambda: len(panel.logic.folder.written) >= 1)
    panel.ui.folderButton.click()

    assert not panel.logic.folder.isRunning()
    assert len(list(out.iterdir())) == len(panel.logic.folder.written)
    for path in out.iterdir():
        assert sitk.ReadImage(str(path)).GetPixelID() == sitk.sitkFloat32
    assert f"{len(panel.logic.folder.written)} of 4" in panel.ui.fileMessage.text


def test_folder_with_existing_file_is_rejected(panel, dataset, out, monkeypatch):
    (out / "c.nii.gz").write_text("precious")
    answer(monkeypatch, "getExistingDirectory", str(dataset), str(out))
    panel.ui.folderButton.click()
    assert "already exists" in panel.ui.fileMessage.text
    assert not panel.logic.folder.isRunning()
    assert [path.name for path in out.iterdir()] == ["c.nii.gz"]


def test_folder_without_dataset_json_shows_message(panel, out, monkeypatch):
    answer(monkeypatch, "getExistingDirectory", str(out), str(out))
    panel.ui.folderButton.click()
    assert "dataset.json" in panel.ui.fileMessage.text
    assert panel.ui.folderButton.text != "Cancel"


def test_crashed_child_shows_message(panel, dataset, out, wait, monkeypatch, tmp_path):
    from SpleenSmoothSegPanels.border import softlabelfolder

    script = tmp_path / "dies.py"
    script.write_text("import sys; sys.exit('cannot import anything')")
    monkeypatch.setattr(softlabelfolder, "SOFTEN_SCRIPT", script)
    answer(monkeypatch, "getExistingDirectory", str(dataset), str(out))
    panel.ui.folderButton.click()
    wait(lambda: not panel.logic.folder.isRunning())
    assert "ended unexpectedly" in panel.ui.fileMessage.text
    assert not list(out.iterdir())


# The whole module


def test_settings_are_restored_from_saved_scene(module, spleen, ct, wait, tmp_path):
    panel = module()
    panel.ui.kernelSelector.setCurrentIndex(4)
    panel.ui.widthSlider.setValue(6.5)
    panel.ui.unitSelector.setCurrentIndex(1)
    panel.ui.planeSelector.setCurrentIndex(1)
    panel.ui.opacitySlider.setValue(0.35)
    other = spleen[0].GetSegmentation().AddEmptySegment("Other")
    panel.ui.segmentSelector.setCurrentSegmentID(other)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert panel.parameters.borderNode is None and panel.parameters.borderWidth == 1.5
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    wait(lambda: panel.ui.widthSlider.value == 6.5)
    ui = panel.ui
    assert (ui.kernelSelector.currentIndex, ui.unitSelector.currentIndex, ui.planeSelector.currentIndex) == (4, 1, 1)
    assert ui.opacitySlider.value == 0.35
    assert ui.labelSelector.currentNode().IsA("vtkMRMLSegmentationNode")
    assert ui.segmentSelector.currentSegmentID() == other
    assert ui.ctSelector.currentNode().GetName() == ct.GetName()


def test_closing_scene_removes_preview(module, spleen, wait):
    panel = module()
    panel.ui.previewButton.click()
    wait(lambda: overlay() is not None)
    slicer.mrmlScene.Clear(0)
    assert overlay() is None
    assert not panel.ui.previewButton.checked
    assert {volume for volume, _ in foregrounds()} == {None}


def test_selecting_another_module_removes_preview(module, spleen, wait):
    panel = module()
    slicer.util.selectModule("SpleenSmoothSeg")
    panel.ui.previewButton.click()
    wait(lambda: overlay() is not None)
    slicer.util.selectModule("Data")
    wait(lambda: overlay() is None)


# Controls and parameters


def test_every_control_has_tooltip_and_tab_stop(panel):
    from xml.etree import ElementTree

    tree = ElementTree.parse(UI)
    controls = [w for w in tree.iter("widget") if w.get("class") in CONTROLS]
    without = [w.get("name") for w in controls if w.find("property[@name='toolTip']") is None]
    assert not without
    order = [stop.text for stop in tree.iter("tabstop")]
    assert order == [w.get("name") for w in controls]


def test_parameters_are_stored_as_text(preview):
    node = preview.parameters.parameterNode
    stored = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    assert stored["borderKernel"] == "gaussian" and stored["borderWidth"] == "1.5"
    assert json.dumps(stored)
