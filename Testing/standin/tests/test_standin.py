"""The stand-in's Qt behaves like PythonQt in Slicer and rejects whatever PythonQt rejects."""

import sys

import pytest
from torch.utils.data import DataLoader

pytestmark = [pytest.mark.slicer, pytest.mark.usefixtures("slicer_app")]


# --- Qt through PythonQt ----------------------------------------------------------------------------------------------


def test_property_is_an_attribute_and_not_a_method():
    import qt

    button = qt.QPushButton("before")
    assert button.text == "before"
    button.text = "after"
    assert (button.text, button.enabled, button.checked) == ("after", True, False)
    with pytest.raises(TypeError):
        button.text()


@pytest.mark.parametrize(
    "cls, setter, name, value",
    [
        ("QPushButton", "setText", "text", "x"),
        ("QCheckBox", "setChecked", "checked", True),
        ("QLabel", "setEnabled", "enabled", False),
        ("QSpinBox", "setValue", "value", 7),
        ("QLineEdit", "setPlaceholderText", "placeholderText", "x"),
        ("QProgressBar", "setMaximum", "maximum", 3),
    ],
)
def test_setter_is_a_method_that_changes_the_property(cls, setter, name, value):
    import qt

    widget = getattr(qt, cls)()
    getattr(widget, setter)(value)
    assert getattr(widget, name) == value


def test_setting_an_unknown_attribute_of_a_cpp_object_raises():
    import ctk
    import qt
    import slicer

    for widget in (qt.QPushButton(), ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox(), slicer.app):
        with pytest.raises(AttributeError, match="creating new attributes on C"):
            widget.myThing = 1


def test_reading_an_unknown_attribute_raises():
    import qt

    with pytest.raises(AttributeError, match="QPushButton has no attribute named 'txt'"):
        assert qt.QPushButton().txt


def test_overwriting_a_method_or_signal_raises():
    import qt

    class Mine(qt.QWidget):
        pass

    for widget in (qt.QPushButton(), Mine()):
        with pytest.raises(AttributeError, match="Slot 'layout' can not be overwritten"):
            widget.layout = qt.QVBoxLayout()
    with pytest.raises(AttributeError, match="Signal 'clicked'"):
        qt.QPushButton().clicked = print


def test_python_subclass_can_have_new_attributes():
    import qt

    class Mine(qt.QWidget):
        def __init__(self):
            super().__init__()
            self.mine = 3
            self.windowTitle = "title"

    assert (Mine().mine, Mine().windowTitle) == (3, "title")


def test_name_is_the_object_name():
    import qt

    label = qt.QLabel()
    label.name = "fred"
    assert (label.name, label.objectName) == ("fred", "fred")


def test_float_for_an_int_property_is_rounded():
    import qt

    box = qt.QSpinBox()
    box.minimum = -10
    box.setValue(3.7)
    assert box.value == 3
    box.value = -3.7
    assert box.value == -4, "PythonQt rounds down"


def test_property_converts_values_to_bool_and_text():
    import qt

    button = qt.QPushButton()
    button.visible = ["something"]
    button.text = 5
    assert (button.visible, button.text) == (True, "5")
    with pytest.raises(AttributeError, match="does not accept"):
        button.icon = 5


def test_empty_combo_box_is_true_and_has_no_length():
    import qt

    assert qt.QComboBox()
    with pytest.raises(TypeError):
        len(qt.QComboBox())


def test_deleted_object_is_false():
    import qt

    label = qt.QLabel()
    label.delete()
    assert not label


@pytest.mark.parametrize("name", ["sizeHint", "minimumSizeHint"])
def test_size_hints_are_methods(name):
    import qt

    assert getattr(qt.QLabel("text"), name)().width() > 0


def test_progress_bar_text_is_a_property_that_qt_can_still_call():
    import qt

    import standin

    bar = qt.QProgressBar()
    bar.value = 30
    assert bar.text == "30%"
    bar.show()
    standin.processEvents()
    bar.grab()
    with pytest.raises(AttributeError):
        bar.text = "half"
    assert not standin.errorsInSlots


def test_animation_duration_and_single_shot_are_methods():
    import qt

    assert qt.QPropertyAnimation().duration() == 250
    assert callable(qt.QTimer.singleShot)


def test_widget_has_its_exact_class_and_base_classes():
    import qt

    button, text = qt.QPushButton(), qt.QTextEdit()
    assert type(button) is qt.QPushButton
    assert isinstance(button, qt.QAbstractButton) and isinstance(button, qt.QWidget) and isinstance(button, qt.QObject)
    assert type(text.verticalScrollBar()) is qt.QScrollBar
    assert button.className() == "QPushButton" and button.inherits("QWidget")


def test_objects_created_by_qt_behave_like_pythonqt():
    import qt

    text = qt.QTextEdit()
    bar = text.verticalScrollBar()
    assert isinstance(bar.maximum, int)
    with pytest.raises(AttributeError):
        bar.nothing = 1


def test_enums_are_read_from_their_class():
    import qt

    label = qt.QLabel()
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignTop
    assert label.alignment == qt.Qt.AlignRight | qt.Qt.AlignTop
    assert qt.QProcess().state() == qt.QProcess.NotRunning


def test_lists_are_returned_as_tuples():
    import qt

    parent = qt.QWidget()
    label = qt.QLabel(parent)
    assert parent.children() == (label,)
    assert parent.findChildren(qt.QLabel) == (label,)


def test_child_and_dynamic_property_are_attributes():
    import qt

    parent = qt.QWidget()
    label = qt.QLabel(parent)
    label.objectName = "fred"
    parent.setProperty("color", "green")
    assert parent.fred is label
    assert parent.color == "green"


def test_slicer_util_finds_children_by_name():
    import qt
    import slicer

    parent = qt.QWidget()
    layout = qt.QVBoxLayout(parent)
    button = qt.QPushButton("press")
    button.name = "pressMe"
    layout.addWidget(button)
    assert slicer.util.findChild(parent, "pressMe") is button
    assert slicer.util.childWidgetVariables(parent).pressMe is button
    assert slicer.util.findChildren(parent, className="QPushButton", text="pr*") == [button]


def test_file_dialog_can_be_replaced_by_monkeypatch(monkeypatch):
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: "/there")
    assert qt.QFileDialog.getExistingDirectory(None, "Where?", "/") == "/there"


def test_process_output_is_a_byte_array():
    import qt

    process = qt.QProcess()
    process.start(sys.executable, ["-c", "print('hello')"])
    assert process.waitForFinished(30000)
    output = process.readAllStandardOutput()
    assert isinstance(output, qt.QByteArray)
    assert output.data().decode().strip() == "hello"
    assert process.exitCode() == 0


def test_process_finishes_after_a_data_loader_with_workers_has_run():
    import qt

    next(iter(DataLoader([0], num_workers=1)))
    process = qt.QProcess()
    process.start(sys.executable, ["-c", ""])
    assert process.waitForFinished(30000), "PyTorch's SIGCHLD handler has replaced Qt's"


def test_settings_and_clipboard_keep_values():
    import qt
    import slicer

    qt.QSettings().setValue("SpleenSmoothSeg/test", "true")
    assert qt.QSettings().value("SpleenSmoothSeg/test") == "true"
    assert slicer.util.settingsValue("SpleenSmoothSeg/test", False, converter=slicer.util.toBool) is True
    qt.QApplication.clipboard().setText("copied")
    assert qt.QApplication.clipboard().text() == "copied"


# --- Signals and slots ------------------------------------------------------------------------------------------------


def test_slot_is_connected_by_name_or_by_signal():
    import qt

    button, seen = qt.QPushButton(), []
    button.connect("clicked()", lambda: seen.append("by name"))
    button.clicked.connect(lambda: seen.append("by signal"))
    button.click()
    assert seen == ["by name", "by signal"]


def test_slot_is_disconnected_by_name_or_by_signal():
    import qt

    button, seen = qt.QPushButton(), []

    def slot():
        seen.append(1)

    button.connect("clicked()", slot)
    button.clicked.connect(slot)
    assert button.disconnect("clicked()", slot) and button.clicked.disconnect(slot)
    assert not button.clicked.disconnect(slot), "already disconnected"
    button.click()
    assert not seen


def test_slot_gets_as_many_arguments_as_it_takes():
    import qt

    button, seen = qt.QPushButton(), []
    button.clicked.connect(lambda: seen.append(()))
    button.clicked.connect(lambda checked: seen.append((checked,)))
    button.clicked.connect(lambda *arguments: seen.append(arguments))
    button.connect("clicked()", lambda *arguments: seen.append(arguments))
    button.click()
    assert seen == [(), (False,), (False,), ()]


def test_signature_selects_the_overload_of_a_signal():
    import qt

    box, seen = qt.QComboBox(), []
    box.connect("currentIndexChanged(int)", seen.append)
    box.connect("currentIndexChanged(QString)", seen.append)
    box.currentIndexChanged.connect(seen.append)
    box.addItem("first")
    assert sorted(map(str, seen)) == ["0", "0", "first"]


def test_connecting_to_an_unknown_signal_raises():
    import qt
    import slicer

    for widget, signal in ((qt.QPushButton(), "pushed()"), (slicer.qMRMLNodeComboBox(), "currentNodeChanged()")):
        with pytest.raises(AttributeError, match="has no signal"):
            widget.connect(signal, print)


def test_connection_keeps_its_slot_alive():
    import gc

    import qt

    class Listener:
        calls = []

        def slot(self):
            self.calls.append(1)

    button = qt.QPushButton()
    button.connect("clicked()", Listener().slot)
    gc.collect()
    button.click()
    assert Listener.calls


def test_exception_in_a_slot_is_printed_recorded_and_not_raised(capsys):
    import qt

    import standin

    button, seen = qt.QPushButton(), []
    button.clicked.connect(lambda: 1 / 0)
    button.clicked.connect(lambda: seen.append("still called"))
    button.click()
    assert seen
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert isinstance(standin.errorsInSlots.pop(), ZeroDivisionError)


def test_exception_in_an_observer_is_recorded(capfd):
    import slicer

    import standin

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
    node.SetText("other")
    assert {type(error) for error in standin.errorsInSlots} == {ZeroDivisionError}
    standin.errorsInSlots.clear()


def test_exception_in_a_timer_is_recorded():
    import qt

    import standin

    qt.QTimer.singleShot(0, lambda: 1 / 0)
    standin.waitUntil(lambda: standin.errorsInSlots, seconds=5)
    standin.errorsInSlots.clear()


def test_wait_until_timeout_names_the_condition():
    import standin

    with pytest.raises(AssertionError, match="after 0.01 s this still does not hold: .*lambda: False"):
        standin.waitUntil(lambda: False, seconds=0.01)
