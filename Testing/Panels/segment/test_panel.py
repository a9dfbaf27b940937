"""The panel as a person uses it: clicks in the stand-in, on the real scene; three times with the real ensemble."""

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

from locations import MODULE, SAMPLE_DATA
from segment_children import FINDS, SAYS, WAITS, WRITES, Packages, gone, processes, python_slicer, script
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]
UI = MODULE / "Resources" / "UI" / "Segment.ui"


class Opened:
    """The panel with a logic, as the module widget opens it."""

    def __init__(self, logic):
        import standin
        from SpleenSmoothSegPanels.segment.panel import SegmentPanel

        self.widget = standin.loadUi(UI)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.show()
        self.panel = SegmentPanel(self.widget, logic)
        self.ui, self.logic = self.panel.ui, logic
        self.panel.setModuleNode(moduleNode())
        self.panel.enter()

    @property
    def chosen(self):
        return self.panel.parameters

    @property
    def message(self):
        return self.ui.messageLabel.text if self.ui.messageLabel.visible else ""

    def segment(self, seconds=30):
        import standin

        self.ui.segmentButton.click()
        standin.waitUntil(lambda: not self.logic.isRunning(), seconds)

    def table(self):
        rows = range(self.ui.resultTable.rowCount)
        return {self.ui.resultTable.item(row, 0).text(): self.ui.resultTable.item(row, 1).text() for row in rows}


def moduleNode():
    node = slicer.mrmlScene.GetSingletonNode("SpleenSmoothSeg", "vtkMRMLScriptedModuleNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag("SpleenSmoothSeg")
        node = slicer.mrmlScene.AddNode(node)
    return node


@pytest.fixture
def ct(slicer_app):
    return slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"), {"name": "Patient"})


@pytest.fixture
def open_panel(settings, tmp_path):
    """Opens the panel on a short program in place of the engine, or on the engine; in the end nothing may run."""
    from SpleenSmoothSegPanels.segment.logic import SegmentLogic

    opened, before = [], processes()

    def make(program: str = "") -> Opened:
        python = str(python_slicer(tmp_path))
        logic = SegmentLogic(script(tmp_path, program) if program else None, python, Packages())
        opened.append(Opened(logic))
        return opened[-1]

    yield make
    for each in opened:
        each.panel.cleanup()
        each.widget.deleteLater()
    assert gone([process for process in processes() if process not in before])


def nodes():
    return {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}


def slice_center():
    """Where the three slices of the views cross, world RAS."""
    red, green, yellow = (
        slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{color}") for color in ("Red", "Green", "Yellow")
    )
    offsets = [node.GetSliceToRAS().GetElement(axis, 3) for axis, node in enumerate((yellow, green, red))]
    return np.array(offsets)


def backgrounds():
    return {node.GetBackgroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}


def foregrounds():
    return {node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}


# The real ensemble


def test_one_click_segments_the_spleen_of_the_sample_ct(open_panel, ct, sample_label):
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
        'The spleen is in "Patient segmentation". '
        "The spleen reaches the edge of the CT: volume and lengths are those of the part in view."
    )
    assert seen == sorted(seen) and len(set(seen)) > 5
    segmentation = opened.chosen.segmentResultNode
    assert findSpleenSegment(segmentation) == opened.chosen.segmentResultId
    mask = imageFromSegment(segmentation, opened.chosen.segmentResultId, ct)
    assert measure_overlap(mask, sample_label).dice > 0.8
    table = opened.table()
    voxel_ml = np.prod(ct.GetSpacing()) / 1000
    assert float(table["Volume (mL)"]) == pytest.approx(np.count_nonzero(slice_array(mask)) * voxel_ml, abs=0.1)
    extents = [float(table[f"Extent {way} (mm)"]) for way in WAYS]
    assert all(50 < extent <= float(table["Longest length (mm)"]) for extent in extents)
    assert 50 < float(table["Agreement of the folds (%)"]) <= 100
    assert (table["CT"], table["Device"], table["Model"]) == ("Patient", "CPU", "Starter")
    assert opened.ui.segmentButton.text == "Segment Spleen" and not opened.ui.progressBar.visible


def test_the_next_click_finds_the_ensemble_loaded_and_the_same_spleen(open_panel, ct):
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
    assert "Starting PyTorch" not in second and "Folds look at the slices" in second
    assert volumes[0] == volumes[1]


WAYS = ("right to left", "anterior to posterior", "inferior to superior")


def slice_array(image):
    import SimpleITK as sitk

    return sitk.GetArrayViewFromImage(image)


def test_cancel_midway_ends_the_real_ensemble_within_a_second(open_panel, ct):
    import standin

    opened, before = open_panel(), nodes()
    opened.ui.segmentButton.click()
    standin.waitUntil(lambda: opened.ui.progressBar.value > 0, 120)
    started, clicked = processes(), time.monotonic()

    opened.ui.segmentButton.click()

    assert time.monotonic() - clicked < 1
    assert started and gone(started)
    assert opened.ui.segmentButton.text == "Segment Spleen" and opened.ui.segmentButton.enabled
    assert opened.message == ""
    assert nodes() == before


def test_killing_the_real_child_leaves_a_sentence_and_the_button_ready(open_panel, ct):
    import standin

    opened, before = open_panel(), nodes()
    opened.ui.segmentButton.click()
    standin.waitUntil(lambda: opened.ui.progressBar.value > 0, 120)

    for process in processes():
        process.send_signal(signal.SIGKILL)
    standin.waitUntil(lambda: not opened.logic.isRunning())

    assert "before it was done" in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen" and opened.ui.segmentButton.enabled
    assert nodes() == before


def test_the_real_engine_tells_which_devices_work(open_panel):
    import standin

    opened = open_panel()
    standin.waitUntil(lambda: "MPS" in opened.ui.deviceLabel.text, 120)

    model = opened.ui.deviceComboBox.model()
    names = [model.item(index).text() for index in range(opened.ui.deviceComboBox.count)]
    assert names[:2] == ["Automatic", "CPU"]
    assert model.item(0).isEnabled() and model.item(1).isEnabled()
    assert not model.item(3).isEnabled()  # no Mac runs this


# Before the click


def test_the_button_waits_for_a_ct(open_panel):
    opened = open_panel(FINDS)
    assert not opened.ui.segmentButton.enabled
    assert "Choose a CT" in opened.ui.segmentButton.toolTip

    ct = slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"))
    opened.ui.inputSelector.setCurrentNode(ct)

    assert opened.ui.segmentButton.enabled
    assert opened.chosen.segmentInput is ct


def test_the_ct_in_the_slice_views_is_chosen_when_the_module_opens(ct, open_panel):
    assert open_panel(FINDS).chosen.segmentInput is ct


def test_a_labelmap_is_not_offered_as_a_ct(open_panel, ct):
    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Label")
    opened = open_panel(FINDS)

    opened.ui.inputSelector.setCurrentNode(label)

    assert opened.ui.inputSelector.currentNode() is not label


def test_what_is_no_ct_is_said_in_the_panel(open_panel):
    node = slicer.util.addVolumeFromArray(np.zeros((30, 30, 30), np.int16), name="Empty room")
    opened = open_panel(FINDS)
    opened.ui.inputSelector.setCurrentNode(node)

    opened.ui.segmentButton.click()

    assert '"Empty room"' in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen"
    assert not opened.ui.logButton.visible


def test_missing_packages_are_said_with_the_log_one_click_away(open_panel, ct):
    from SpleenSmoothSegPanels.shared.packages import NotInstalled

    opened = open_panel(FINDS)
    opened.logic.packages.trouble = NotInstalled("torch could not be installed.", "Collecting torch\nno network")
    opened.ui.segmentButton.click()
    assert opened.message == "torch could not be installed."
    assert not opened.ui.logText.visible

    opened.ui.logButton.click()

    assert opened.ui.logText.visible
    assert "no network" in opened.ui.logText.plainText
    opened.logic.packages.trouble = None
    opened.segment()
    assert opened.chosen.segmentResultNode  # the next click does
    assert not opened.ui.logButton.visible and not opened.ui.logText.visible


# What was found


@pytest.fixture
def found(open_panel, ct):
    """The panel after a click that has found something."""
    opened = open_panel(FINDS)
    opened.segment()
    assert opened.message == 'The spleen is in "Patient segmentation".'
    return opened


def test_the_segment_is_seen_in_all_views(found, ct):
    display = found.chosen.segmentResultNode.GetDisplayNode()
    segment = found.chosen.segmentResultNode.GetSegmentation().GetSegment(found.chosen.segmentResultId)
    center = json.loads(found.chosen.segmentResult)["center"]

    assert display.GetVisibility() and display.GetVisibility2D() and display.GetVisibility3D()
    assert segment.GetRepresentation("Closed surface").GetNumberOfPoints() > 0
    assert np.allclose(slice_center(), center, atol=2)
    assert backgrounds() == {ct.GetID()}


def test_another_ct_in_the_views_gives_way_to_the_one_that_was_segmented(open_panel, ct):
    slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"), {"name": "Other"})
    opened = open_panel(FINDS)
    opened.ui.inputSelector.setCurrentNode(ct)

    opened.segment()

    assert backgrounds() == {ct.GetID()}


def test_the_table_is_copied_as_text(found):
    import qt

    found.ui.copyButton.click()

    lines = qt.QApplication.clipboard().text().splitlines()
    assert dict(line.split("\t") for line in lines) == found.table()
    assert found.table()["Volume (mL)"] == "18.0"


def test_the_disagreement_map_is_made_when_it_is_wanted_and_taken_away_again(found):
    before = nodes()
    assert not found.ui.disagreementCheckBox.checked

    found.ui.disagreementCheckBox.click()
    node = found.chosen.segmentDisagreement
    assert node and node.GetID() not in before
    assert foregrounds() == {node.GetID()}

    found.ui.disagreementCheckBox.click()
    assert foregrounds() == {None}
    found.ui.disagreementCheckBox.click()
    assert foregrounds() == {node.GetID()} and found.chosen.segmentDisagreement is node


def test_a_new_run_takes_the_old_map_away(found):
    found.ui.disagreementCheckBox.click()

    found.segment()

    assert not found.ui.disagreementCheckBox.checked
    assert foregrounds() == {None}


def test_without_disagreement_there_is_no_map_to_show(open_panel, ct):
    agree = 'write(mask, np.s_[40:60, 20:50, 30:60], 1)\nmap_ = mask + ".nrrd"\nwrite(map_, np.s_[:], 0)\n'
    found = dict(volume_ml=18.0, disagreement=0.0, device="cpu", extent_mm=[1, 2, 3], longest_mm=4, uncertain_places=[])
    opened = open_panel(
        SAYS + WRITES + agree + f'say("result", disagreement_map=map_, center_lps=[0, 0, 0], **{found})'
    )

    opened.segment()

    assert opened.chosen.segmentResultNode
    assert not opened.ui.disagreementCheckBox.enabled
    assert not opened.ui.uncertainButton.enabled


def test_the_walk_through_uncertain_places_wraps_around(found):
    places = json.loads(found.chosen.segmentResult)["uncertainPlaces"]
    seen = []
    for _step in range(3):
        found.ui.uncertainButton.click()
        seen.append((found.ui.uncertainLabel.text, slice_center()))

    assert [label for label, _center in seen] == ["1 of 2", "2 of 2", "1 of 2"]
    assert np.allclose(seen[0][1], places[0], atol=2) and np.allclose(seen[1][1], places[1], atol=2)
    assert not np.allclose(seen[0][1], seen[1][1], atol=2)


def test_edit_opens_segment_editor_on_the_segment(found, ct):
    found.ui.editButton.click()

    assert slicer.util.selectedModule() == "SegmentEditor"
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    assert editor.segmentationNode() is found.chosen.segmentResultNode
    assert editor.sourceVolumeNode() is ct
    assert editor.currentSegmentID() == found.chosen.segmentResultId


def test_removing_what_was_found_is_safe(found, ct):
    slicer.mrmlScene.RemoveNode(found.chosen.segmentResultNode)
    assert not found.ui.editButton.enabled

    slicer.mrmlScene.RemoveNode(ct)

    assert not found.ui.uncertainButton.enabled
    assert not found.ui.disagreementCheckBox.enabled


def test_warnings_stay_beside_the_result(open_panel, ct):
    opened = open_panel(SAYS + WRITES + 'say("warning", message="The CPU does the work.")\nresult()')

    opened.segment()

    assert opened.message == 'The spleen is in "Patient segmentation". The CPU does the work.'


def test_where_no_spleen_was_found_there_is_a_sentence_and_no_segment(open_panel, ct):
    opened = open_panel(SAYS + WRITES + "result(volume_ml=0.0, center_lps=None)")

    opened.segment()

    assert "No spleen was found" in opened.message
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert not opened.ui.resultFrame.visible


# A segmentation that is there


def spleens(segmentation):
    segments = segmentation.GetSegmentation()
    return sorted(segments.GetSegment(each).GetName() for each in segments.GetSegmentIDs())


def test_the_question_whether_to_replace_is_asked_only_where_there_is_a_spleen(found):
    segmentation = found.chosen.segmentResultNode
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert not found.ui.replaceCheckBox.visible

    found.ui.outputSelector.setCurrentNode(empty)
    assert not found.ui.replaceCheckBox.visible

    found.ui.outputSelector.setCurrentNode(segmentation)
    assert found.ui.replaceCheckBox.visible and not found.ui.replaceCheckBox.checked


def test_without_the_users_word_the_new_spleen_comes_beside_the_old_one(found):
    segmentation = found.chosen.segmentResultNode
    found.ui.outputSelector.setCurrentNode(segmentation)

    found.segment()

    assert spleens(segmentation) == ["Spleen", "Spleen_1"]


def test_with_the_users_word_it_takes_its_place(found):
    segmentation = found.chosen.segmentResultNode
    found.ui.outputSelector.setCurrentNode(segmentation)
    found.ui.replaceCheckBox.click()

    found.segment()

    assert spleens(segmentation) == ["Spleen"]


def test_the_users_word_for_one_segmentation_is_none_for_another(found):
    first = found.chosen.segmentResultNode
    found.segment()
    second = found.chosen.segmentResultNode
    assert first is not second
    found.ui.outputSelector.setCurrentNode(first)
    found.ui.replaceCheckBox.click()

    found.ui.outputSelector.setCurrentNode(second)

    assert not found.ui.replaceCheckBox.checked
    found.segment()
    assert spleens(second) == ["Spleen", "Spleen_1"]


# Meanwhile


@pytest.fixture
def waiting(open_panel, ct):
    """The panel while a segmentation runs that nobody but the test ends."""
    import standin

    opened = open_panel(WAITS)
    opened.ui.segmentButton.click()
    standin.waitUntil(lambda: opened.ui.progressBar.value > 0)
    opened.processes = processes()
    return opened


def test_while_it_runs_the_button_cancels_and_the_choices_rest(waiting):
    assert waiting.ui.segmentButton.text == "Cancel" and waiting.ui.segmentButton.enabled
    assert not waiting.ui.inputSelector.enabled and not waiting.ui.modelComboBox.enabled
    assert waiting.ui.stepLabel.text.startswith("Waiting")

    waiting.ui.segmentButton.click()

    assert gone(waiting.processes)
    assert waiting.ui.inputSelector.enabled and waiting.ui.modelComboBox.enabled
    assert not waiting.ui.stepLabel.visible


def test_switching_modules_lets_it_run_on(waiting):
    waiting.panel.exit()
    waiting.panel.setModuleNode(moduleNode())
    waiting.panel.enter()

    assert waiting.logic.isRunning()
    assert waiting.ui.segmentButton.text == "Cancel"


def test_closing_the_scene_ends_it(waiting):
    waiting.panel.setModuleNode(None)  # as the module widget does when the scene starts to close
    slicer.mrmlScene.Clear()

    assert gone(waiting.processes)
    waiting.panel.setModuleNode(moduleNode())
    assert waiting.message == ""
    assert waiting.ui.segmentButton.text == "Segment Spleen" and not waiting.ui.segmentButton.enabled
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_removing_the_ct_ends_it_with_a_sentence(waiting, ct):
    import standin

    slicer.mrmlScene.RemoveNode(ct)
    standin.waitUntil(lambda: not waiting.logic.isRunning())

    assert "CT was removed" in waiting.message
    assert gone(waiting.processes)


def test_reloading_the_module_ends_it(waiting):
    waiting.panel.cleanup()

    assert gone(waiting.processes)


def test_quitting_ends_it(waiting):
    slicer.app.aboutToQuit.emit()

    assert gone(waiting.processes)


def test_an_error_is_said_with_the_log_one_click_away(open_panel, ct):
    opened = open_panel(SAYS + 'say("error", message="The memory is not enough.")\nsys.exit("Killed")')

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


def test_the_card_says_what_a_model_is(open_panel):
    card = open_panel(FINDS).ui.cardLabel.text

    for words in ("no clinical model", "SpleenOpen", "CC BY 3.0", "Dice", "gaussian:1.5mm", "Folds: 5"):
        assert words in card


def choose_folder(monkeypatch, folder):
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *arguments: str(folder))


def test_a_model_folder_is_added_used_and_remembered(open_panel, ct, other_model, monkeypatch):
    choose_folder(monkeypatch, other_model)
    opened = open_panel(FINDS)

    opened.ui.addModelButton.click()

    assert opened.ui.modelComboBox.currentText == "Small"
    assert Path(opened.chosen.segmentModel) == other_model
    opened.segment()
    assert opened.table()["Model"] == "Small"
    again = open_panel(FINDS)
    assert [again.ui.modelComboBox.itemText(index) for index in range(2)] == ["Starter", "Small"]
    again.ui.modelComboBox.setCurrentIndex(1)
    again.ui.removeModelButton.click()
    assert again.ui.modelComboBox.count == 1 and again.ui.modelComboBox.currentText == "Starter"
    assert not again.ui.removeModelButton.enabled
    assert (other_model / "model.json").is_file()


def test_a_folder_of_models_is_added_at_once(open_panel, other_model, monkeypatch):
    (other_model.parent / "notes").mkdir()
    choose_folder(monkeypatch, other_model.parent)
    opened = open_panel(FINDS)

    opened.ui.addModelButton.click()

    assert opened.ui.modelComboBox.currentText == "Small"
    assert opened.ui.modelComboBox.count == 2


@pytest.mark.parametrize("trouble", ["no model", "damaged"])
def test_a_folder_without_a_usable_model_is_not_added_and_says_why(open_panel, tmp_path, monkeypatch, trouble):
    folder = tmp_path / "folder"
    folder.mkdir()
    if trouble == "damaged":
        (folder / "model.json").write_text("{")
    choose_folder(monkeypatch, folder)
    opened = open_panel(FINDS)

    opened.ui.addModelButton.click()

    assert ("not a model folder" if trouble == "no model" else "damaged") in opened.message
    assert opened.ui.modelComboBox.count == 1


def test_a_model_that_broke_later_says_so_in_its_card_and_when_it_is_used(open_panel, ct, other_model, monkeypatch):
    choose_folder(monkeypatch, other_model)
    opened = open_panel(FINDS)
    opened.ui.addModelButton.click()
    (other_model / "model.json").write_text("{")
    opened.panel.enter()
    assert "damaged" in opened.ui.cardLabel.text
    assert "cannot be used" in opened.ui.modelComboBox.currentText

    opened.ui.segmentButton.click()

    assert "damaged" in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen"


def test_a_model_that_has_gone_gives_way_to_the_starter(open_panel, other_model, monkeypatch):
    choose_folder(monkeypatch, other_model)
    opened = open_panel(FINDS)
    opened.ui.addModelButton.click()
    shutil.rmtree(other_model)

    opened.panel.enter()

    assert opened.ui.modelComboBox.currentText == "Starter"
    assert opened.chosen.segmentModel == ""
    assert "not on this computer" in opened.message


@pytest.mark.parametrize(
    "card", [{}, {"training": 3, "metrics": {"dice": "high"}, "folds": None}, {"metrics": [None, {"dice": "x"}]}]
)
def test_a_strangers_card_is_described_whatever_it_holds(slicer_app, card):
    from SpleenSmoothSegPanels.shared.models import describe

    assert "Trained on: not stated" in describe(card)


DEVICES = """
import json
devices = [{"name": "cuda", "usable": True, "reason": ""}, {"name": "mps", "usable": False, "reason": "no Mac is here"},
           {"name": "cpu", "usable": True, "reason": ""}]
print(json.dumps({"event": "devices", "devices": devices}))
"""


def test_only_devices_that_work_can_be_chosen_and_the_reason_stands_beside_the_others(open_panel):
    import standin

    opened = open_panel(DEVICES)
    model = opened.ui.deviceComboBox.model()
    assert not model.item(2).isEnabled()  # nobody has answered yet

    standin.waitUntil(lambda: model.item(2).isEnabled())

    assert [model.item(index).isEnabled() for index in range(4)] == [True, True, True, False]
    assert opened.ui.deviceLabel.text == "MPS: no Mac is here."


# Saved scenes


def test_what_was_chosen_and_found_survives_a_saved_scene(found, ct, tmp_path):
    found.chosen.segmentDevice = type(found.chosen.segmentDevice).cpu
    found.ui.disagreementCheckBox.click()
    found.ui.outputSelector.setCurrentNode(found.chosen.segmentResultNode)
    found.ui.replaceCheckBox.click()
    table = found.table()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    found.panel.setModuleNode(None)
    slicer.mrmlScene.Clear()
    found.panel.setModuleNode(moduleNode())
    assert not found.ui.resultFrame.visible

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    found.panel.setModuleNode(moduleNode())

    assert found.chosen.segmentInput.GetName() == "Patient"
    assert found.chosen.segmentDevice.name == "cpu"
    assert found.ui.replaceCheckBox.visible and found.ui.replaceCheckBox.checked
    assert found.table() == table
    assert found.ui.disagreementCheckBox.checked and found.ui.disagreementCheckBox.enabled
    found.ui.uncertainButton.click()
    assert found.ui.uncertainLabel.text == "1 of 2"
    found.ui.editButton.click()
    assert slicer.util.getModuleWidget("SegmentEditor").editor.segmentationNode() is found.chosen.segmentResultNode


# How it is made


def test_every_control_has_a_tooltip_and_a_place_in_the_keyboard_order(slicer_app):
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.parse(UI).getroot()
    stops = {stop.text for stop in root.iterfind("tabstops/tabstop")}
    controls = {"QPushButton", "QComboBox", "QCheckBox", "qMRMLNodeComboBox", "QTableWidget", "QPlainTextEdit"}
    for widget in root.iter("widget"):
        if widget.get("class") in controls:
            name = widget.get("name")
            assert name in stops
            assert name == "segmentButton" or widget.find("property[@name='toolTip']") is not None, name


def test_the_time_that_is_left_ticks_down_and_never_jumps():
    from SpleenSmoothSegPanels.shared.widgets import RemainingTime

    remaining = RemainingTime(0)
    told = []
    steps = {3: 0.06, 4: 0.3, 5: 0.31, 9: 0.4, 11: 0.7, 14: 0.72, 16: 0.9, 19: 0.98}  # second: fraction, in leaps
    for second in range(21):
        if second in steps:
            remaining.update(steps[second], second)
        told.append(remaining.seconds(second))

    assert told[:3] == [None] * 3
    assert all(seconds >= 1 for seconds in told[3:])
    changes = np.diff(told[3:])
    assert changes.max() <= 1  # hardly ever up
    assert all(abs(change) <= max(2, 0.3 * before) for change, before in zip(changes, told[3:], strict=False))
    assert told[-1] <= 3


def test_the_time_that_is_left_ticks_while_nothing_is_heard():
    from SpleenSmoothSegPanels.shared.widgets import RemainingTime

    remaining = RemainingTime(0)
    remaining.update(0.5, 10)

    assert [remaining.seconds(10 + tick) for tick in range(4)] == [10, 9, 8, 7]
    assert remaining.seconds(100) == 1


@pytest.mark.parametrize("trouble", [UserError("Something is wrong; mend it."), MemoryError(), KeyError("a\nb")])
def test_whatever_keeps_it_from_starting_is_one_sentence(open_panel, ct, trouble):
    opened = open_panel(FINDS)
    opened.logic.packages.trouble = trouble

    opened.ui.segmentButton.click()

    assert opened.message.endswith(".") and "\n" not in opened.message
    assert opened.ui.segmentButton.text == "Segment Spleen" and opened.ui.segmentButton.enabled


def test_a_second_click_while_packages_are_installed_does_nothing(open_panel, ct):
    opened = open_panel(FINDS)
    clicks = []

    def install():
        clicks.append(1)
        opened.chosen.parameterNode.Modified()
        opened.ui.segmentButton.click()

    opened.logic.packages.ensure = install

    opened.segment()

    assert clicks == [1]
    assert opened.chosen.segmentResultNode
