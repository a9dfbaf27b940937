"""The Segment panel: clicks in the stand-in, on a real scene; some tests run the real ensemble."""

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")
pytest.importorskip("psutil", reason="needs psutil, to see which processes run")

import slicer

from locations import SAMPLE_DATA
from segment_children import EMITS, SUCCEEDS, WAITS, gone, processes
from segment_runs import UI, module_node, node_ids
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]


# Real ensemble


def test_click_segments_the_spleen_of_the_sample_ct(open_panel, ct, sample_label):
    from SpleenSmoothSegLib.metrics.overlap import measure_overlap
    from SpleenSmoothSegLib.mrml import findSpleenSegment, imageFromSegment

    opened = open_panel()
    opened.chosen.segmentDevice = type(opened.chosen.segmentDevice).cpu
    opened.ui.segmentButton.click()
    assert opened.ui.segmentButton.text == "Cancel"
    assert opened.ui.progressBar.visible

    import standin

    seen = []
    standin.waitUntil(lambda: seen.append(opened.ui.progressBar.value) or not opened.logic.isRunning(), 180)

    assert opened.message == (
        'The spleen was added to "Patient segmentation". '
        "The spleen is truncated by the edge of the CT: volume and lengths are those of the part in view."
    )
    assert seen == sorted(seen) and len(set(seen)) > 5
    segmentation = opened.chosen.segmentResultNode
    assert findSpleenSegment(segmentation) == opened.chosen.segmentResultId
    mask = imageFromSegment(segmentation, opened.chosen.segmentResultId, ct)
    assert measure_overlap(mask, sample_label).dice > 0.8
    table = opened.table()
    voxel_ml = np.prod(ct.GetSpacing()) / 1000
    assert float(table["Volume (mL)"]) == pytest.approx(np.count_nonzero(slice_array(mask)) * voxel_ml, abs=0.1)
    extents = [float(table[f"Extent {axis} (mm)"]) for axis in AXES]
    assert all(50 < extent <= float(table["Longest diameter (mm)"]) for extent in extents)
    assert 50 < float(table["Fold agreement (%)"]) <= 100
    assert (table["CT"], table["Device"], table["Model"]) == ("Patient", "CPU", "Starter")
    assert opened.ui.segmentButton.text == "Segment Spleen" and not opened.ui.progressBar.visible


def test_second_click_reuses_the_loaded_ensemble_and_gives_the_same_volume(open_panel, ct):
    import standin

    opened, steps, volumes = open_panel(), [], []
    opened.chosen.segmentDevice = type(opened.chosen.segmentDevice).cpu
    for _ in range(2):
        opened.ui.segmentButton.click()
        steps.append(set())
        standin.waitUntil(lambda: steps[-1].add(opened.ui.stepLabel.text) or not opened.logic.isRunning(), 180)
        volumes.append(opened.table()["Volume (mL)"])
    first, second = ({step.split(":")[0] for step in those} for those in steps)
    assert "Starting PyTorch" in first
    assert "Starting PyTorch" not in second and "Predicting" in second
    assert volumes[0] == volumes[1]


AXES = ("right to left", "anterior to posterior", "inferior to superior")


def slice_array(image):
    import SimpleITK as sitk

    return sitk.GetArrayViewFromImage(image)


def test_cancel_ends_the_real_ensemble_within_a_second(open_panel, ct):
    import standin

    opened, before = open_panel(), node_ids()
    opened.ui.segmentButton.click()
    standin.waitUntil(lambda: opened.ui.progressBar.value > 0, 120)
    started, clicked = processes(), time.monotonic()

    opened.ui.segmentButton.click()

    assert time.monotonic() - clicked < 1
    assert started and gone(started)
    assert opened.ui.segmentButton.text == "Segment Spleen" and opened.ui.segmentButton.enabled
    assert opened.message == ""
    assert node_ids() == before


def test_killing_the_real_child_shows_an_error_and_enables_the_button(open_panel, ct):
    import standin

    opened, before = open_panel(), node_ids()
    opened.ui.segmentButton.click()
    standin.waitUntil(lambda: opened.ui.progressBar.value > 0, 120)

    for process in processes():
        process.send_signal(signal.SIGKILL)
    standin.waitUntil(lambda: not opened.logic.isRunning())

    assert "ended unexpectedly" in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen" and opened.ui.segmentButton.enabled
    assert node_ids() == before


def test_devices_of_the_real_engine_are_shown(open_panel):
    import standin

    opened = open_panel()
    standin.waitUntil(lambda: "MPS" in opened.ui.deviceLabel.text, 120)

    model = opened.ui.deviceComboBox.model()
    names = [model.item(index).text() for index in range(opened.ui.deviceComboBox.count)]
    assert names[:2] == ["Automatic", "CPU"]
    assert model.item(0).isEnabled() and model.item(1).isEnabled()
    assert not model.item(3).isEnabled()  # this is no Mac


# Before the click


def test_button_is_disabled_without_a_ct(open_panel):
    opened = open_panel(SUCCEEDS)
    assert not opened.ui.segmentButton.enabled
    assert "Choose a CT" in opened.ui.segmentButton.toolTip

    ct = slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"))
    opened.ui.inputSelector.setCurrentNode(ct)

    assert opened.ui.segmentButton.enabled
    assert opened.chosen.segmentInput is ct


def test_ct_in_the_slice_views_is_chosen_on_enter(ct, open_panel):
    assert open_panel(SUCCEEDS).chosen.segmentInput is ct


def test_labelmap_cannot_be_chosen_as_ct(open_panel, ct):
    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Label")
    opened = open_panel(SUCCEEDS)

    opened.ui.inputSelector.setCurrentNode(label)

    assert opened.ui.inputSelector.currentNode() is not label


def test_volume_that_is_not_a_ct_is_named_in_the_message(open_panel):
    node = slicer.util.addVolumeFromArray(np.zeros((30, 30, 30), np.int16), name="Empty room")
    opened = open_panel(SUCCEEDS)
    opened.ui.inputSelector.setCurrentNode(node)

    opened.ui.segmentButton.click()

    assert '"Empty room"' in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen"
    assert not opened.ui.logButton.visible


def test_missing_packages_are_shown_with_a_log(open_panel, ct):
    from SpleenSmoothSegPanels.shared.packages import NotInstalled

    opened = open_panel(SUCCEEDS)
    opened.logic.packages.error = NotInstalled("torch could not be installed.", "Collecting torch\nno network")
    opened.ui.segmentButton.click()
    assert opened.message == "torch could not be installed."
    assert not opened.ui.logText.visible

    opened.ui.logButton.click()

    assert opened.ui.logText.visible
    assert "no network" in opened.ui.logText.plainText
    opened.logic.packages.error = None
    opened.segment()
    assert opened.chosen.segmentResultNode
    assert not opened.ui.logButton.visible and not opened.ui.logText.visible


# Existing segmentation


def spleens(segmentation):
    segments = segmentation.GetSegmentation()
    return sorted(segments.GetSegment(each).GetName() for each in segments.GetSegmentIDs())


def test_replace_check_box_is_visible_only_if_the_segmentation_has_a_spleen(segmented):
    segmentation = segmented.chosen.segmentResultNode
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert not segmented.ui.replaceCheckBox.visible

    segmented.ui.outputSelector.setCurrentNode(empty)
    assert not segmented.ui.replaceCheckBox.visible

    segmented.ui.outputSelector.setCurrentNode(segmentation)
    assert segmented.ui.replaceCheckBox.visible and not segmented.ui.replaceCheckBox.checked


def test_unchecked_replace_keeps_the_old_spleen(segmented):
    segmentation = segmented.chosen.segmentResultNode
    segmented.ui.outputSelector.setCurrentNode(segmentation)

    segmented.segment()

    assert spleens(segmentation) == ["Spleen", "Spleen_1"]


def test_checked_replace_removes_the_old_spleen(segmented):
    segmentation = segmented.chosen.segmentResultNode
    segmented.ui.outputSelector.setCurrentNode(segmentation)
    segmented.ui.replaceCheckBox.click()

    segmented.segment()

    assert spleens(segmentation) == ["Spleen"]


def test_replace_is_unchecked_when_another_segmentation_is_chosen(segmented):
    first = segmented.chosen.segmentResultNode
    segmented.segment()
    second = segmented.chosen.segmentResultNode
    assert first is not second
    segmented.ui.outputSelector.setCurrentNode(first)
    segmented.ui.replaceCheckBox.click()

    segmented.ui.outputSelector.setCurrentNode(second)

    assert not segmented.ui.replaceCheckBox.checked
    segmented.segment()
    assert spleens(second) == ["Spleen", "Spleen_1"]


# During the run


@pytest.fixture
def waiting(open_panel, ct):
    """The panel during a run that never ends."""
    import standin

    opened = open_panel(WAITS)
    opened.ui.segmentButton.click()
    standin.waitUntil(lambda: opened.ui.progressBar.value > 0)
    opened.processes = processes()
    return opened


def test_button_cancels_and_choices_are_disabled_during_the_run(waiting):
    assert waiting.ui.segmentButton.text == "Cancel" and waiting.ui.segmentButton.enabled
    assert not waiting.ui.inputSelector.enabled and not waiting.ui.modelComboBox.enabled
    assert waiting.ui.stepLabel.text.startswith("Waiting")

    waiting.ui.segmentButton.click()

    assert gone(waiting.processes)
    assert waiting.ui.inputSelector.enabled and waiting.ui.modelComboBox.enabled
    assert not waiting.ui.stepLabel.visible


def test_switching_modules_does_not_end_the_run(waiting):
    waiting.panel.exit()
    waiting.panel.setModuleNode(module_node())
    waiting.panel.enter()

    assert waiting.logic.isRunning()
    assert waiting.ui.segmentButton.text == "Cancel"


def test_closing_the_scene_ends_the_run(waiting):
    waiting.panel.setModuleNode(None)  # as the module widget does when the scene starts to close
    slicer.mrmlScene.Clear()

    assert gone(waiting.processes)
    waiting.panel.setModuleNode(module_node())
    assert waiting.message == ""
    assert waiting.ui.segmentButton.text == "Segment Spleen" and not waiting.ui.segmentButton.enabled
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_removing_the_ct_ends_the_run_with_an_error(waiting, ct):
    import standin

    slicer.mrmlScene.RemoveNode(ct)
    standin.waitUntil(lambda: not waiting.logic.isRunning())

    assert "CT was removed" in waiting.message
    assert gone(waiting.processes)


def test_reloading_the_module_ends_the_run(waiting):
    waiting.panel.cleanup()

    assert gone(waiting.processes)


def test_quitting_ends_the_run(waiting):
    slicer.app.aboutToQuit.emit()

    assert gone(waiting.processes)


def test_error_of_the_child_is_shown_with_its_log(open_panel, ct):
    opened = open_panel(EMITS + 'emit("error", message="The memory is not enough.")\nsys.exit("Killed")')

    opened.segment()

    assert opened.message == "The memory is not enough."
    opened.ui.logButton.click()
    assert "Killed" in opened.ui.logText.plainText


# Models and devices


@pytest.fixture
def other_model(tmp_path):
    """The Starter under another name."""
    from SpleenSmoothSegPanels.shared.models import STARTER

    folder = Path(shutil.copytree(STARTER, tmp_path / "models" / "small"))
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(card | {"name": "Small"}), encoding="utf-8")
    return folder


def test_model_card_is_shown(open_panel):
    card = open_panel(SUCCEEDS).ui.cardLabel.text

    for words in ("not a clinical model", "SpleenOpen", "CC BY 3.0", "Dice", "gaussian:1.5mm", "Folds: 5"):
        assert words in card


def choose_folder(monkeypatch, folder):
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *arguments: str(folder))


def test_model_folder_is_added_used_and_kept_until_removed(open_panel, ct, other_model, monkeypatch):
    choose_folder(monkeypatch, other_model)
    opened = open_panel(SUCCEEDS)

    opened.ui.addModelButton.click()

    assert opened.ui.modelComboBox.currentText == "Small"
    assert Path(opened.chosen.segmentModel) == other_model
    opened.segment()
    assert opened.table()["Model"] == "Small"
    again = open_panel(SUCCEEDS)
    assert [again.ui.modelComboBox.itemText(index) for index in range(2)] == ["Starter", "Small"]
    again.ui.modelComboBox.setCurrentIndex(1)
    again.ui.removeModelButton.click()
    assert again.ui.modelComboBox.count == 1 and again.ui.modelComboBox.currentText == "Starter"
    assert not again.ui.removeModelButton.enabled
    assert (other_model / "model.json").is_file()


def test_folder_of_models_is_added(open_panel, other_model, monkeypatch):
    (other_model.parent / "notes").mkdir()
    choose_folder(monkeypatch, other_model.parent)
    opened = open_panel(SUCCEEDS)

    opened.ui.addModelButton.click()

    assert opened.ui.modelComboBox.currentText == "Small"
    assert opened.ui.modelComboBox.count == 2


@pytest.mark.parametrize("state", ["no model", "damaged"])
def test_folder_without_a_usable_model_is_not_added(open_panel, tmp_path, monkeypatch, state):
    folder = tmp_path / "folder"
    folder.mkdir()
    if state == "damaged":
        (folder / "model.json").write_text("{")
    choose_folder(monkeypatch, folder)
    opened = open_panel(SUCCEEDS)

    opened.ui.addModelButton.click()

    assert ("not a model folder" if state == "no model" else "damaged") in opened.message
    assert opened.ui.modelComboBox.count == 1


def test_model_damaged_later_is_marked_and_gives_an_error(open_panel, ct, other_model, monkeypatch):
    choose_folder(monkeypatch, other_model)
    opened = open_panel(SUCCEEDS)
    opened.ui.addModelButton.click()
    (other_model / "model.json").write_text("{")
    opened.panel.enter()
    assert "damaged" in opened.ui.cardLabel.text
    assert "cannot be used" in opened.ui.modelComboBox.currentText

    opened.ui.segmentButton.click()

    assert "damaged" in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen"


def test_starter_replaces_a_model_folder_that_was_deleted(open_panel, other_model, monkeypatch):
    choose_folder(monkeypatch, other_model)
    opened = open_panel(SUCCEEDS)
    opened.ui.addModelButton.click()
    shutil.rmtree(other_model)

    opened.panel.enter()

    assert opened.ui.modelComboBox.currentText == "Starter"
    assert opened.chosen.segmentModel == ""
    assert "was not found" in opened.message


DEVICES = """
import json
devices = [{"name": "cuda", "usable": True, "reason": ""}, {"name": "mps", "usable": False, "reason": "this is no Mac"},
           {"name": "cpu", "usable": True, "reason": ""}]
print(json.dumps({"event": "devices", "devices": devices}))
"""


def test_only_usable_devices_are_enabled_and_reasons_are_shown(open_panel):
    import standin

    opened = open_panel(DEVICES)
    model = opened.ui.deviceComboBox.model()
    assert not model.item(2).isEnabled()  # the query has not ended

    standin.waitUntil(lambda: model.item(2).isEnabled())

    assert [model.item(index).isEnabled() for index in range(4)] == [True, True, True, False]
    assert opened.ui.deviceLabel.text == "MPS: this is no Mac."


# Saved scene


def test_choices_and_result_survive_a_saved_scene(segmented, ct, tmp_path):
    segmented.chosen.segmentDevice = type(segmented.chosen.segmentDevice).cpu
    segmented.ui.uncertaintyMapCheckBox.click()
    segmented.ui.outputSelector.setCurrentNode(segmented.chosen.segmentResultNode)
    segmented.ui.replaceCheckBox.click()
    table = segmented.table()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    segmented.panel.setModuleNode(None)
    slicer.mrmlScene.Clear()
    segmented.panel.setModuleNode(module_node())
    assert not segmented.ui.resultFrame.visible

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    segmented.panel.setModuleNode(module_node())

    assert segmented.chosen.segmentInput.GetName() == "Patient"
    assert segmented.chosen.segmentDevice.name == "cpu"
    assert segmented.ui.replaceCheckBox.visible and segmented.ui.replaceCheckBox.checked
    assert segmented.table() == table
    assert segmented.ui.uncertaintyMapCheckBox.checked and segmented.ui.uncertaintyMapCheckBox.enabled
    segmented.ui.nextUncertainButton.click()
    assert segmented.ui.uncertainPlaceLabel.text == "1 of 2"
    segmented.ui.editButton.click()
    assert slicer.util.getModuleWidget("SegmentEditor").editor.segmentationNode() is segmented.chosen.segmentResultNode


# Details


def test_every_control_has_a_tooltip_and_a_tab_stop(slicer_app):
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.parse(UI).getroot()
    stops = {stop.text for stop in root.iterfind("tabstops/tabstop")}
    controls = {"QPushButton", "QComboBox", "QCheckBox", "qMRMLNodeComboBox", "QTableWidget", "QPlainTextEdit"}
    for widget in root.iter("widget"):
        if widget.get("class") in controls:
            name = widget.get("name")
            assert name in stops
            assert name == "segmentButton" or widget.find("property[@name='toolTip']") is not None, name


@pytest.mark.parametrize("error", [UserError("Something is wrong; fix it."), MemoryError(), KeyError("a\nb")])
def test_any_error_at_the_start_is_shown_in_one_line(open_panel, ct, error):
    opened = open_panel(SUCCEEDS)
    opened.logic.packages.error = error

    opened.ui.segmentButton.click()

    assert opened.message.endswith(".") and "\n" not in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen" and opened.ui.segmentButton.enabled


def test_second_click_while_packages_are_installed_is_ignored(open_panel, ct):
    opened = open_panel(SUCCEEDS)
    clicks = []

    def install():
        clicks.append(1)
        opened.chosen.parameterNode.Modified()
        opened.ui.segmentButton.click()

    opened.logic.packages.ensure = install

    opened.segment()

    assert clicks == [1]
    assert opened.chosen.segmentResultNode
