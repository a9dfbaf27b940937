"""Scripted modules open in the stand-in, and its parameter nodes store values in Slicer's format."""

import enum
import os
import pathlib
import subprocess
import sys
from typing import Annotated

import pytest

pytestmark = [pytest.mark.slicer, pytest.mark.usefixtures("slicer_app")]

TESTING = pathlib.Path(__file__).resolve().parent
MODULE = """
import qt, slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *

class {name}(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("{name} title")
        slicer.app.connect("startupCompleted()", lambda: started.append(1))

started = []

class {name}Widget(ScriptedLoadableModuleWidget):
    def __init__(self, parent=None, logic=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = logic or {name}Logic()
        self.log = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        {setup}
        self.ui = slicer.util.childWidgetVariables(slicer.util.loadUI(self.resourcePath("UI/{name}.ui")))
        self.log.append("setup")

    def enter(self):
        self.log.append("enter")

    def exit(self):
        self.log.append("exit")

    def cleanup(self):
        self.log.append("cleanup")

class {name}Logic(ScriptedLoadableModuleLogic):
    pass

class {name}Test(ScriptedLoadableModuleTest):
    ran = []

    def runTest(self):
        self.ran.append(self.delayDisplay("now"))
"""
FORM = """<ui version="4.0"><widget class="qMRMLWidget" name="Form"><layout class="QVBoxLayout" name="rows">
<item><widget class="QPushButton" name="button"/></item></layout></widget></ui>"""


@pytest.fixture
def write_module(tmp_path):
    def write(name: str, setup: str = "pass", head: str = "") -> pathlib.Path:
        (tmp_path / "Resources" / "UI").mkdir(parents=True, exist_ok=True)
        (tmp_path / "Resources" / "UI" / f"{name}.ui").write_text(FORM)
        path = tmp_path / f"{name}.py"
        path.write_text(head + MODULE.format(name=name, setup=setup))
        return path

    return write


def add(cls: str, name: str):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(cls, name)


# --- Modules ----------------------------------------------------------------------------------------------------------


def test_module_is_set_up_entered_exited_and_cleaned_up(write_module):
    import slicer

    import standin

    path = write_module("StandinModule")
    widget = standin.openModule(path, logic="mine")
    assert widget.log == ["setup", "enter"] and widget.logic == "mine"
    assert widget.parent.visible and widget.ui.button.name == "button"
    module = slicer.modules.standinmodule
    assert (module.title, module.name, module.path) == ("StandinModule title", "StandinModule", str(path))
    assert slicer.util.modulePath("StandinModule") == str(path)
    assert slicer.util.getModuleWidget("StandinModule") is widget is slicer.modules.StandinModuleWidget
    assert sys.modules["StandinModule"].started == [1]
    standin.closeModules()
    assert widget.log == ["setup", "enter", "exit", "cleanup"]


def test_parameter_node_of_a_module_is_reused(write_module):
    import standin

    logic = standin.openModule(write_module("StandinParameters")).logic
    node = logic.getParameterNode()
    assert node is logic.getParameterNode() and node.GetAttribute("ModuleName") == "StandinParameters"
    assert node.GetSingletonTag() == "StandinParameters"


def test_self_test_of_a_module_runs(write_module):
    import slicer

    import standin

    standin.openModule(write_module("StandinTested"))
    slicer.selfTests["StandinTested"](msec=1)
    assert sys.modules["StandinTested"].StandinTestedTest.ran


@pytest.mark.parametrize("name", ["torch", "segmentation_models_pytorch", "albumentations", "safetensors"])
def test_module_file_importing_a_package_missing_in_slicer_does_not_load(write_module, name):
    import slicer

    import standin

    path = write_module(f"Standin_{name}", head=f"import {name}\n")
    with pytest.raises(ModuleNotFoundError, match=f"'{name}'.*Slicer does not bring it"):
        standin.openModule(path)
    assert not hasattr(slicer.modules, path.stem.lower())


def test_panel_importing_a_package_missing_in_slicer_does_not_open(write_module):
    import standin

    with pytest.raises(ModuleNotFoundError, match="No module named 'torch'"):
        standin.openModule(write_module("StandinTorchInSetup", setup="import torch"))


def test_module_without_the_translation_function_fails(write_module):
    import standin

    path = write_module("StandinNoTr")
    path.write_text(path.read_text().replace("from slicer.i18n import tr as _", ""))
    with pytest.raises(NameError, match="'_'"):
        standin.openModule(path)


def test_registered_sample_data_is_loaded(tmp_path, sample_ct):
    import SampleData
    import SimpleITK as sitk

    path = tmp_path / "ct.nrrd"
    sitk.WriteImage(sample_ct[:32, :32, :8], str(path))
    fields = dict(category="Mine", sampleName="Small", uris=path.as_uri(), fileNames="small.nrrd", nodeNames="Small")
    SampleData.SampleDataLogic.registerCustomSampleDataSource(**fields)
    node = SampleData.downloadSample("Small")
    assert node.GetName() == "Small" and node.GetImageData().GetDimensions() == (32, 32, 8)
    with pytest.raises(FileNotFoundError):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(**fields, thumbnailFileName="nowhere.png")


# --- Parameter nodes --------------------------------------------------------------------------------------------------


class Kernel(enum.Enum):
    GAUSSIAN = "gaussian"
    BOX = "box"

    def label(self) -> str:
        return self.value.title()


def parameters():
    """A parameter node with every type that the stand-in supports."""
    import slicer
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        either: slicer.vtkMRMLSegmentationNode | slicer.vtkMRMLLabelMapVolumeNode | None
        width: Annotated[float, WithinRange(0, 10), Default(1.5)]
        count: Annotated[int, WithinRange(0, 9)] = 3
        live: bool
        name: str = "spleen"
        folder: pathlib.Path
        kernel: Kernel = Kernel.BOX
        unit: Annotated[str, Choice(["mm", "px"]), Default("px")]
        limit: int | None

    return Parameters(add("vtkMRMLScriptedModuleNode", "Parameters"))


WRITTEN = {
    "volume": "",
    "either.2": "True",
    "width": "1.5",
    "count": "3",
    "live": "False",
    "name": "spleen",
    "folder": ".",
    "kernel": "BOX",
    "unit": "px",
    "limit.1": "True",
}


def test_parameters_are_stored_in_slicers_format():
    node = parameters().parameterNode
    assert {name: node.GetParameter(name) for name in node.GetParameterNames()} == WRITTEN


def test_parameters_keep_their_types():
    values = parameters()
    volume, label = add("vtkMRMLScalarVolumeNode", "ct"), add("vtkMRMLLabelMapVolumeNode", "label")
    new = dict(volume=volume, either=label, width=2.25, count=4, live=True, name="", folder=pathlib.Path("/tmp"),
               kernel=Kernel.GAUSSIAN, unit="mm", limit=7)  # fmt: skip
    for name, value in new.items():
        setattr(values, name, value)
    assert {name: getattr(values, name) for name in new} == new
    assert type(values)(values.parameterNode).kernel is Kernel.GAUSSIAN


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("width", 11.0, ValueError),
        ("unit", "cm", ValueError),
        ("count", "3", TypeError),
        ("name", None, ValueError),
        ("kernel", "box", TypeError),
    ],
)
def test_value_outside_its_annotation_raises_and_is_not_stored(name, value, error):
    values = parameters()
    with pytest.raises(error):
        setattr(values, name, value)
    assert values.parameterNode.GetParameter(name) == WRITTEN[name]


def test_parameter_of_a_deleted_node_is_none():
    import slicer

    values = parameters()
    values.volume = add("vtkMRMLScalarVolumeNode", "ct")
    slicer.mrmlScene.RemoveNode(values.volume)
    assert values.volume is None


@pytest.fixture
def gui():
    """A panel and its widgets by parameter name."""
    import ctk
    import qt
    import slicer

    form, widgets = qt.QWidget(), {}
    classes = dict(volume=slicer.qMRMLNodeComboBox, either=slicer.qMRMLNodeComboBox, width=ctk.ctkSliderWidget,
                   count=qt.QSpinBox, live=qt.QCheckBox, name=qt.QLineEdit, folder=ctk.ctkPathLineEdit,
                   kernel=qt.QComboBox, unit=ctk.ctkComboBox)  # fmt: skip
    for name, cls in classes.items():
        widgets[name] = widget = cls(form)
        widget.setProperty("SlicerParameterName", name)
        if cls is slicer.qMRMLNodeComboBox:
            widget.noneEnabled = True
            widget.setMRMLScene(slicer.mrmlScene)
    return form, widgets


def test_widgets_follow_the_parameter_node(gui):
    form, widgets = gui
    values = parameters()
    values.connectGui(form)
    assert widgets["width"].maximum == 10 and widgets["width"].value == 1.5 and widgets["kernel"].currentText == "Box"
    assert widgets["volume"].nodeTypes == ("vtkMRMLScalarVolumeNode",)
    values.width, values.kernel, values.live, values.folder = 4.0, Kernel.GAUSSIAN, True, pathlib.Path("/there")
    values.volume = add("vtkMRMLScalarVolumeNode", "ct")
    assert widgets["width"].value == 4.0 and widgets["kernel"].currentText == "Gaussian" and widgets["live"].checked
    assert widgets["folder"].currentPath == "/there" and widgets["volume"].currentNode() is values.volume


def test_parameter_node_follows_the_widgets_until_disconnected(gui):
    form, widgets = gui
    values = parameters()
    tag = values.connectGui(form)
    label = add("vtkMRMLLabelMapVolumeNode", "label")
    widgets["width"].value, widgets["count"].value, widgets["name"].text = 2.5, 8, "liver"
    widgets["kernel"].currentIndex, widgets["unit"].currentIndex = 0, 0
    widgets["either"].setCurrentNode(label)
    assert (values.width, values.count, values.name, values.kernel, values.unit) == (2.5, 8, "liver", Kernel(
        "gaussian"), "mm")  # fmt: skip
    assert values.either is label
    values.disconnectGui(tag)
    widgets["width"].value = 9.0
    values.count = 1
    assert values.width == 2.5 and widgets["count"].value == 8


def test_connecting_an_unsupported_widget_class_raises():
    import qt

    class MyBox(qt.QCheckBox):
        pass

    box = MyBox()
    box.setProperty("SlicerParameterName", "live")
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        parameters().connectParametersToGui({"live": box})


# --- Slicer's own base classes instead of the stand-in's --------------------------------------------------------------

needs_slicers_python = pytest.mark.skipif(
    "SLICER_PYTHON" not in os.environ, reason="needs SLICER_PYTHON=/path/to/Slicer/Base/Python"
)


@needs_slicers_python
def test_slicers_base_classes_are_used_with_slicer_python():
    import slicer
    import slicer.parameterNodeWrapper
    import slicer.ScriptedLoadableModule

    for module in (slicer.ScriptedLoadableModule, slicer.parameterNodeWrapper):
        assert pathlib.Path(module.__file__).is_relative_to(os.environ["SLICER_PYTHON"])


@needs_slicers_python
@pytest.mark.parametrize("writesWithSlicers", [True, False])
def test_scene_saved_with_one_parameter_node_class_loads_with_the_other(tmp_path, writesWithSlicers):
    steps = {
        "write": "values.width, values.kernel, values.volume = 7.5, Kernel.GAUSSIAN, add('vtkMRMLTextNode', 'x') and "
        "add('vtkMRMLScalarVolumeNode', 'ct'); slicer.util.saveScene({path!r})",
        "read": "slicer.mrmlScene.Clear(); slicer.util.loadScene({path!r}); values = type(values)(slicer.util.getNode("
        "'Parameters')); print(values.width, values.kernel.name, values.volume.GetName(), values.name, values.limit)",
    }
    path = str(tmp_path / "scene.mrb")
    for step, code in steps.items():
        environment = {**os.environ, "PYTHONPATH": str(TESTING)}
        if writesWithSlicers != (step == "write"):
            del environment["SLICER_PYTHON"]
        script = (
            "import standin; standin.start(); standin.newScene(); import slicer; from test_standin_modules import *\n"
            "values = parameters(); " + code.format(path=path)
        )
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-5:] == ["7.5", "GAUSSIAN", "ct", "spleen", "None"]
