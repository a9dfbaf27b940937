"""The training panel: clicks in the stand-in, with short programs in place of train.py."""

import json
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")
pytest.importorskip("psutil", reason="needs psutil, to see which processes run")

import slicer

from locations import REPOSITORY
from segment_children import Packages, gone, processes, python_slicer, script
from training_children import EMITS, RUNS_FOREVER, TRAINING_FUNCTIONS, completes_with

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]
ROOT = REPOSITORY
MODULE = ROOT / "SpleenSmoothSegTraining" / "SpleenSmoothSegTraining.py"
UI = MODULE.parent / "Resources" / "UI" / "SpleenSmoothSegTraining.ui"


class Opened:
    """The module, open in the stand-in."""

    def __init__(self, logic):
        import standin

        self.logic = logic
        self.widget = standin.openModule(MODULE, trainingLogic=logic)
        self.panel, self.ui = self.widget.panel, self.widget.panel.ui

    @property
    def chosen(self):
        return self.panel.parameters

    @property
    def message(self):
        return self.ui.messageLabel.text if self.ui.messageLabel.visible else ""

    def choose(self, dataset, out):
        self.ui.datasetPath.currentPath = str(dataset)
        self.ui.outPath.currentPath = str(out)

    def train(self, seconds=30):
        import standin

        self.ui.trainButton.click()
        standin.waitUntil(lambda: not self.logic.isRunning(), seconds)

    def start(self):
        """Click, and wait for the first progress event."""
        import standin

        self.ui.trainButton.click()
        standin.waitUntil(lambda: self.ui.progressBar.value > 0)
        self.processes = processes()


@pytest.fixture
def pages(monkeypatch, slicer_app):
    """The pages opened in the user's browser."""
    import qt

    opened = []
    monkeypatch.setattr(
        qt.QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile())) or True, raising=False
    )
    return opened


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "Task09_Spleen").mkdir()
    return tmp_path / "Task09_Spleen"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def open_panel(settings, pages, tmp_path):
    """Opens the module with a short program in place of train.py; no process may be left at the end."""
    import standin
    from SpleenSmoothSegTrainingPanel.logic import TrainingLogic

    before = processes()

    def make(program: str, devices: str = "") -> Opened:
        (tmp_path / "devices").mkdir(exist_ok=True)
        answer = script(tmp_path / "devices", devices)
        return Opened(TrainingLogic(script(tmp_path, program), str(python_slicer(tmp_path)), Packages(), answer))

    yield make
    standin.closeModules()
    assert gone([process for process in processes() if process not in before])


@pytest.fixture
def waiting(open_panel, dataset, out):
    """The panel while a training runs that only the test stops."""
    opened = open_panel(RUNS_FOREVER)
    opened.choose(dataset, out)
    opened.start()
    return opened


@pytest.fixture
def trained(open_panel, dataset, out, model_folder):
    """The panel after a completed training with a control."""
    opened = open_panel(completes_with(model_folder))
    opened.choose(dataset, out)
    opened.ui.compareCheckBox.checked = True
    opened.train()
    return opened


def charts():
    return {node.GetAttribute("SpleenSmoothSeg"): node for node in slicer.util.getNodesByClass("vtkMRMLPlotChartNode")}


def curves(chart) -> dict:
    """The values of each curve, by its title in the legend."""
    found = {}
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        values = slicer.util.arrayFromTableColumn(series.GetTableNode(), series.GetYColumnName())
        found[series.GetName()] = [round(float(value), 3) for value in values if not np.isnan(value)]
    return found


def shown_chart() -> str | None:
    """Which of our charts the plot view shows."""
    for view in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"):
        if view.GetPlotChartNode():
            return view.GetPlotChartNode().GetAttribute("SpleenSmoothSeg")
    return None


# Before the click


def test_button_is_disabled_until_both_folders_are_chosen(open_panel, dataset, out):
    opened = open_panel(RUNS_FOREVER)
    assert not opened.ui.trainButton.enabled
    assert "choose the folder of labeled CTs" in opened.ui.trainButton.toolTip
    assert opened.ui.commandText.text == "train.py DATASET OUT"

    opened.choose(dataset, out)

    assert opened.ui.trainButton.enabled and opened.ui.trainButton.text == "Start training"
    assert opened.ui.commandText.text == shlex.join(["train.py", str(dataset), str(out)])
    opened.ui.outPath.currentPath = ""
    assert not opened.ui.trainButton.enabled


def test_run_uses_the_command_shown(open_panel, dataset, out, tmp_path):
    opened = open_panel(EMITS)
    opened.choose(dataset, out)
    opened.ui.recipeComboBox.setCurrentIndex(1)
    opened.ui.borderComboBox.setCurrentIndex(opened.ui.borderComboBox.findText("box:3px"))
    opened.ui.compareCheckBox.click()
    opened.ui.deviceComboBox.setCurrentIndex(1)
    opened.ui.epochsText.text = "10,2"
    opened.ui.foldsText.text = "0,1"
    opened.ui.optionsText.text = "--seed 3"
    preview = shlex.split(opened.ui.commandText.text)

    opened.train()

    ran = json.loads((tmp_path / "arguments.json").read_text(encoding="utf-8"))
    assert ran == preview[1:]
    assert "starter.toml" in ran[3]
    assert ran[4:] == shlex.split("--border box:3px --epochs 10,2 --folds 0,1 --compare --device cpu --seed 3")


def test_copy_button_copies_the_full_command(open_panel, dataset, out):
    import qt

    opened = open_panel(RUNS_FOREVER)
    opened.choose(dataset, out)
    opened.ui.copyButton.click()

    copied = shlex.split(qt.QApplication.clipboard().text())
    assert copied[1:3] == ["--no-main-window", "--python-script"] and copied[-2:] == [str(dataset), str(out)]
    assert "copied" in opened.message


def test_custom_recipe_shows_its_border_as_placeholder(open_panel, tmp_path):
    opened = open_panel(RUNS_FOREVER)
    recipe = tmp_path / "mine.toml"
    recipe.write_text('border = "box:3px"\n')
    assert opened.ui.borderComboBox.lineEdit().placeholderText == "From the recipe: gaussian:1.5mm"
    assert not opened.ui.recipePath.visible

    opened.ui.recipeComboBox.setCurrentIndex(2)
    opened.ui.recipePath.currentPath = str(recipe)

    assert opened.ui.recipePath.visible
    assert opened.ui.borderComboBox.lineEdit().placeholderText == "From the recipe: box:3px"
    assert opened.ui.borderComboBox.currentText == "" and opened.chosen.trainingBorder == ""


def test_invalid_border_shows_a_message(open_panel, dataset, out):
    opened = open_panel(RUNS_FOREVER)
    opened.choose(dataset, out)
    opened.ui.borderComboBox.setEditText("velvet:3mm")

    opened.ui.trainButton.click()

    assert "velvet" in opened.message
    assert opened.ui.trainButton.text == "Start training" and opened.ui.trainButton.enabled
    assert not opened.ui.logButton.visible and not out.exists()


@pytest.mark.parametrize("trouble", [MemoryError(), KeyError("a\nb"), OSError(28, "No space left on device")])
def test_start_failure_shows_one_sentence(open_panel, dataset, out, trouble):
    opened = open_panel(RUNS_FOREVER)
    opened.choose(dataset, out)
    opened.logic.packages.error = trouble

    opened.ui.trainButton.click()

    assert opened.message.endswith(".") and "\n" not in opened.message
    assert opened.ui.trainButton.enabled and opened.ui.datasetPath.enabled


def test_missing_packages_show_a_message_and_the_log_button(open_panel, dataset, out):
    from SpleenSmoothSegPanels.shared.packages import NotInstalled

    opened = open_panel(RUNS_FOREVER)
    opened.choose(dataset, out)
    opened.logic.packages.error = NotInstalled("albumentations could not be installed.", "no network")
    opened.ui.trainButton.click()
    assert opened.message == "albumentations could not be installed." and not opened.ui.logText.visible

    opened.ui.logButton.click()

    assert opened.ui.logText.visible and "no network" in opened.ui.logText.plainText


def test_click_during_package_installation_is_ignored(open_panel, dataset, out):
    opened = open_panel(EMITS)
    opened.choose(dataset, out)
    clicks = []

    def install():
        clicks.append(1)
        opened.chosen.parameterNode.Modified()
        opened.ui.trainButton.click()

    opened.logic.packages.ensure = install
    opened.train()
    assert clicks == [1]


DEVICES = """
import json
devices = [{"name": "cuda", "usable": False, "reason": "no driver is here"}, {"name": "cpu", "usable": True}]
print(json.dumps({"event": "devices", "devices": devices}))
"""


def test_unavailable_devices_are_disabled(open_panel):
    import standin

    opened = open_panel(RUNS_FOREVER, DEVICES)
    standin.waitUntil(lambda: "no driver" in opened.ui.deviceLabel.text)
    model = opened.ui.deviceComboBox.model()
    assert [model.item(index).isEnabled() for index in range(4)] == [True, True, False, False]


# During the training


def test_while_running_the_button_stops_and_choices_are_disabled(waiting):
    assert waiting.ui.trainButton.text == "Stop" and waiting.ui.trainButton.enabled
    assert not waiting.ui.datasetPath.enabled and not waiting.ui.epochsText.enabled
    assert waiting.ui.progressBar.value == 25
    assert waiting.ui.stepLabel.text == "Fold 0 of smoothed, epoch 2 of 8: about 2 h 5 min left"

    waiting.ui.trainButton.click()

    assert gone(waiting.processes)
    assert waiting.message == "Stopped after fold 0, epoch 2; Resume continues from there."
    assert waiting.ui.trainButton.text == "Resume training" and waiting.ui.trainButton.enabled
    assert "continues it with its own recipe" in waiting.ui.stateLabel.text
    assert waiting.ui.datasetPath.enabled and not waiting.ui.recipeComboBox.enabled
    assert not waiting.ui.stepLabel.visible and not waiting.ui.logButton.visible


def test_resume_shows_earlier_epochs(waiting):
    waiting.ui.trainButton.click()
    assert "--resume" in waiting.ui.commandText.text

    waiting.start()

    assert curves(charts()["Training: validation Dice"]) == {"Fold 0": [0, 0.5, 0.667, 0.75]}


def test_curves_are_shown_automatically(waiting):
    assert shown_chart() == "Training: validation Dice"
    assert slicer.app.layoutManager().plotWidget(0) is not None
    assert curves(charts()["Training: validation Dice"]) == {"Fold 0": [0, 0.5]}

    waiting.ui.lossButton.click()

    assert shown_chart() == "Training: loss"
    assert curves(charts()["Training: loss"]) == {"Fold 0": [0.9, 0.45]}


def test_layout_changes_only_while_the_module_is_open(open_panel, dataset, out):
    import standin

    opened = open_panel(
        EMITS + TRAINING_FUNCTIONS + "begin()\nfor number in range(10_000):\n    epoch(0, number)\n    time.sleep(0.02)"
    )
    opened.choose(dataset, out)
    layout = slicer.app.layoutManager().layout
    opened.panel.exit()
    opened.ui.trainButton.click()
    standin.waitUntil(lambda: "Training: loss" in charts())
    assert slicer.app.layoutManager().layout == layout and shown_chart() is None

    opened.panel.enter()

    standin.waitUntil(lambda: shown_chart() is not None)


def test_closing_the_scene_keeps_the_training_and_its_choices(waiting, dataset, out):
    import standin

    slicer.mrmlScene.Clear()
    standin.processEvents()

    assert waiting.logic.isRunning()
    assert waiting.ui.trainButton.text == "Stop"
    assert waiting.ui.datasetPath.currentPath == str(dataset) and waiting.chosen.trainingOut == str(out)
    waiting.ui.diceButton.click()
    assert curves(charts()["Training: validation Dice"]) == {"Fold 0": [0, 0.5]}
    waiting.ui.trainButton.click()
    assert gone(waiting.processes) and "Resume continues" in waiting.message


def test_leaving_the_module_keeps_the_training(waiting):
    waiting.widget.exit()
    waiting.widget.enter()

    assert waiting.logic.isRunning() and waiting.ui.trainButton.text == "Stop"


def test_reloading_the_module_stops_the_training(waiting):
    import standin

    standin.closeModules()

    assert gone(waiting.processes)


def test_quitting_stops_the_training(waiting):
    slicer.app.aboutToQuit.emit()

    assert gone(waiting.processes)


def test_killed_child_shows_a_message_and_enables_the_button(waiting):
    import standin

    for process in processes():
        process.send_signal(signal.SIGKILL)
    standin.waitUntil(lambda: not waiting.logic.isRunning())

    assert "ended unexpectedly" in waiting.message
    assert waiting.ui.trainButton.text == "Resume training" and waiting.ui.trainButton.enabled


def test_deleting_the_results_folder_while_running_is_handled(waiting, out):
    shutil.rmtree(out)
    waiting.ui.diceButton.click()
    waiting.ui.trainButton.click()

    assert waiting.message == "Stopped before the first epoch was completed."
    assert waiting.ui.trainButton.text == "Start training" and waiting.ui.trainButton.enabled
    assert not waiting.ui.diceButton.enabled and not waiting.ui.useButton.enabled


def test_error_message_includes_the_warning_and_offers_the_log(open_panel, dataset, out):
    program = 'emit("warning", message="Two CTs are alike.")\nemit("error", message="The disk is full; free space.")\n'
    opened = open_panel(EMITS + program + 'sys.exit("No space left on device")')
    opened.choose(dataset, out)

    opened.train()

    assert opened.message == "The disk is full; free space. Two CTs are alike."
    opened.ui.logButton.click()
    assert "No space left" in opened.ui.logText.plainText


def test_many_warnings_are_counted_and_listed_in_the_log(open_panel, dataset, out, model_folder):
    warns = "".join(f'emit("warning", message="CT {number} is small.")\n' for number in range(30))
    opened = open_panel(completes_with(model_folder).replace("begin()\n", f"begin()\n{warns}", 1))
    opened.choose(dataset, out)

    opened.train()

    assert opened.message.startswith("Training is complete")
    assert opened.message.endswith("There were 30 warnings; see the log.")
    opened.ui.logButton.click()
    assert opened.ui.logText.plainText.splitlines()[29] == "CT 29 is small."


# Results


def test_completed_training_opens_the_report_and_enables_the_model(trained, out, pages):
    assert trained.message == "Training is complete. Read the report, then click Use this model."
    assert pages == [out / "report.html"]
    assert trained.ui.stateLabel.text == "This folder contains a completed training."
    assert trained.ui.reportButton.enabled and trained.ui.useButton.enabled

    trained.ui.reportButton.click()

    assert len(pages) == 2


def test_missing_folds_are_listed(open_panel, dataset, out, model_folder):
    lacks = completes_with(model_folder).replace('emit("result",', 'emit("result", missing_folds=[2, 3],')
    opened = open_panel(lacks)
    opened.choose(dataset, out)

    opened.train()

    assert "To train the missing folds (2, 3), clear Folds and click Resume." in opened.message


def test_report_does_not_open_while_another_module_is_shown(open_panel, dataset, out, model_folder, pages):
    opened = open_panel(completes_with(model_folder))
    opened.choose(dataset, out)
    opened.panel.exit()

    opened.train()

    assert pages == [] and opened.ui.reportButton.enabled


def test_control_curves_are_dashed_in_the_color_of_their_fold(trained):
    for chart in charts().values():
        series = {node.GetName(): node for node in (chart.GetNthPlotSeriesNode(index) for index in range(3))}
        assert list(series) == ["Fold 0", "Fold 1", "Fold 0, control"]
        assert (
            series["Fold 0"].GetLineStyle()
            == series["Fold 1"].GetLineStyle()
            == slicer.vtkMRMLPlotSeriesNode.LineStyleSolid
        )
        assert series["Fold 0, control"].GetLineStyle() == slicer.vtkMRMLPlotSeriesNode.LineStyleDash
        assert series["Fold 0, control"].GetColor() == series["Fold 0"].GetColor() != series["Fold 1"].GetColor()


def test_use_model_selects_it_in_segment_spleen(trained, out):
    import standin

    trained.ui.useButton.click()

    assert trained.message.startswith('Segment Spleen now uses the model "Small"')
    assert str(out / "model") in trained.message
    segment = standin.openModule(ROOT / "SpleenSmoothSeg" / "SpleenSmoothSeg.py").panels[0]
    assert segment.ui.modelComboBox.currentText == "Small"
    assert Path(segment.parameters.segmentModel) == out / "model"


def test_use_model_updates_an_open_segment_panel(trained, out):
    import standin

    segment = standin.openModule(ROOT / "SpleenSmoothSeg" / "SpleenSmoothSeg.py").panels[0]
    assert segment.ui.modelComboBox.currentText == "Starter"

    trained.ui.useButton.click()

    assert segment.ui.modelComboBox.currentText == "Small" and not segment.ui.messageLabel.text


def test_use_model_damaged_model_shows_a_message(trained, out):
    (out / "model" / "model.json").write_text("{")

    trained.ui.useButton.click()

    assert "damaged" in trained.message


def test_missing_report_shows_a_message(trained, out, pages):
    (out / "report.html").unlink()

    trained.ui.reportButton.click()

    assert "report.html" in trained.message and len(pages) == 1


# Saved choices


def test_new_panel_recognizes_an_existing_training(trained, open_panel, dataset, out):
    opened = open_panel(RUNS_FOREVER)
    opened.choose(dataset, out)

    assert opened.ui.trainButton.text == "Resume training"
    assert opened.ui.compareCheckBox.checked  # its control is resumed, too
    assert opened.ui.reportButton.enabled and opened.ui.useButton.enabled
    opened.ui.diceButton.click()
    assert set(curves(charts()["Training: validation Dice"])) == {"Fold 0", "Fold 1", "Fold 0, control"}


def test_choices_are_saved_with_the_scene(open_panel, dataset, out, tmp_path):
    import standin

    opened = open_panel(RUNS_FOREVER)
    opened.choose(dataset, out)
    opened.ui.borderComboBox.setEditText("box:5px:3d")
    opened.ui.recipeComboBox.setCurrentIndex(1)
    opened.ui.optionsText.text = "--seed 3"
    command = opened.ui.commandText.text
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear()
    standin.processEvents()
    assert opened.ui.datasetPath.currentPath == "" and opened.ui.borderComboBox.currentText == ""

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    standin.processEvents()

    assert opened.ui.commandText.text == command
    assert opened.ui.datasetPath.currentPath == str(dataset) and opened.ui.outPath.currentPath == str(out)
    assert opened.ui.borderComboBox.currentText == "box:5px:3d"


def test_unchecked_control_stays_unchecked_in_a_saved_scene(trained, tmp_path):
    import standin

    trained.ui.compareCheckBox.click()
    assert not trained.chosen.trainingCompare
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear()
    standin.processEvents()

    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    standin.processEvents()

    assert trained.ui.trainButton.text == "Resume training"
    assert not trained.chosen.trainingCompare


# Controls


def test_every_control_has_a_tooltip_and_tab_stop(slicer_app):
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.parse(UI).getroot()
    stops = {stop.text for stop in root.iterfind("tabstops/tabstop")}
    controls = {"QPushButton", "QComboBox", "QCheckBox", "QLineEdit", "ctkPathLineEdit", "QPlainTextEdit"}
    for widget in root.iter("widget"):
        if widget.get("class") in controls:
            name = widget.get("name")
            assert name in stops
            assert name == "trainButton" or widget.find("property[@name='toolTip']") is not None, name


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "about 1 s left"), (99.4, "about 99 s left"), (600, "about 10 min left"), (90_000, "about 25 h 0 min left")],
)
def test_formatRemaining_text(slicer_app, seconds, words):
    from SpleenSmoothSegPanels.shared.widgets import formatRemaining

    assert formatRemaining(seconds) == words
