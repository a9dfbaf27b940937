"""The stand-in's ctk and qMRML widgets behave like Slicer's on the real scene and are created from .ui files."""

import pytest

pytestmark = [pytest.mark.slicer, pytest.mark.usefixtures("slicer_app")]
FORM = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Form</class><widget class="qMRMLWidget" name="Form"><layout class="QFormLayout" name="rows">
{rows}</layout></widget>
<connections>{connections}</connections></ui>"""


@pytest.fixture
def write_form(tmp_path):
    def write(rows: str, connections: str = "", name: str = "form.ui") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FORM.format(rows=rows, connections=connections))
        return str(path)

    return write


def row(widget: str, number: int = 0) -> str:
    return f'<item row="{number}" column="1">{widget}</item>'


def calls(signal) -> list:
    """The arguments of all later emissions of the signal."""
    seen = []
    signal.connect(lambda *arguments: seen.append(arguments))
    return seen


def add(cls: str, name: str):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(cls, name)


# --- Widgets ----------------------------------------------------------------------------------------------------------


def test_cpp_setter_that_is_not_a_slot_does_not_exist():
    import ctk
    import slicer

    for widget, name in (
        (ctk.ctkSliderWidget(), "setMinimum"),
        (ctk.ctkCollapsibleButton(), "setCollapsed"),
        (slicer.qMRMLNodeComboBox(), "setNodeTypes"),
    ):
        with pytest.raises(AttributeError):
            getattr(widget, name)


def test_slider_widget_limits_its_value_to_its_range():
    import ctk

    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum, slider.singleStep, slider.decimals = 0, 5, 0.1, 2
    seen = calls(slider.valueChanged)
    slider.value = 2.25
    slider.setValue(7)
    assert seen == [(2.25,), (5.0,)]
    assert slider.value == 5.0


def test_collapsed_section_hides_its_children():
    import ctk
    import qt

    import standin

    window = qt.QWidget()
    section = ctk.ctkCollapsibleButton("Section")
    qt.QVBoxLayout(window).addWidget(section)
    label, hidden, layout = qt.QLabel("inside"), qt.QLabel("never"), qt.QVBoxLayout(section)
    layout.addWidget(label)
    layout.addWidget(hidden)
    hidden.visible = False
    window.show()
    standin.processEvents()
    height, seen = section.size.height(), calls(section.contentsCollapsed)
    section.collapsed = True
    standin.processEvents()
    assert not label.visible and section.size.height() < height
    section.collapsed = False
    assert label.visible and not hidden.visible
    assert seen == [(True,), (False,)]


def test_path_line_edit_for_folders_opens_a_folder_dialog(monkeypatch):
    import ctk
    import qt

    edit = ctk.ctkPathLineEdit()
    edit.filters = ctk.ctkPathLineEdit.Dirs
    seen = calls(edit.currentPathChanged)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: "/there")
    edit.browse()
    assert edit.currentPath == "/there" and seen == [("/there",)]


@pytest.fixture
def selector():
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.addEnabled = selector.removeEnabled = False
    selector.setMRMLScene(slicer.mrmlScene)
    return selector


def test_node_selector_lists_nodes_of_its_types(selector):
    add("vtkMRMLModelNode", "model")
    volume, label = add("vtkMRMLScalarVolumeNode", "ct"), add("vtkMRMLLabelMapVolumeNode", "label")
    assert [selector.nodeFromIndex(index) for index in range(selector.nodeCount())] == [volume, label]
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 1
    volume.SetHideFromEditors(True)
    selector.noneEnabled = True
    assert selector.nodeCount() == 0


def test_node_selector_without_none_and_actions_selects_the_first_node(selector):
    seen = calls(selector.currentNodeChanged)
    volume = add("vtkMRMLScalarVolumeNode", "ct")
    add("vtkMRMLScalarVolumeNode", "other")
    assert selector.currentNode() is volume and selector.currentNodeID == volume.GetID()
    assert seen == [(volume,)]


def test_node_selector_with_none_starts_with_none(selector):
    selector.noneEnabled = True
    add("vtkMRMLScalarVolumeNode", "ct")
    assert selector.currentNode() is None and selector.currentNodeID == ""


def test_node_selector_accepts_its_node_before_its_scene():
    import slicer

    volume = add("vtkMRMLScalarVolumeNode", "ct")
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes, selector.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
    selector.setCurrentNode(volume)
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.currentNode() is volume


def test_removing_the_current_node_selects_its_neighbor_then_none(selector):
    import slicer

    selector.noneEnabled = True
    first, second = add("vtkMRMLScalarVolumeNode", "first"), add("vtkMRMLScalarVolumeNode", "second")
    selector.setCurrentNode(first)
    seen = calls(selector.currentNodeChanged)
    slicer.mrmlScene.RemoveNode(first)
    slicer.mrmlScene.RemoveNode(second)
    assert seen == [(second,), (None,)]


def test_closing_the_scene_empties_the_node_selector(selector):
    import slicer

    add("vtkMRMLScalarVolumeNode", "ct")
    slicer.mrmlScene.Clear()
    assert selector.currentNode() is None and selector.nodeCount() == 0


def test_renaming_the_current_node_emits_current_node_changed(selector):
    volume = add("vtkMRMLScalarVolumeNode", "ct")
    seen = calls(selector.currentNodeChanged)
    volume.SetName("renamed")
    assert seen == [(volume,)]


def test_create_new_adds_a_node_and_selects_it(selector):
    import qt

    selector.addEnabled, selector.noneEnabled, selector.baseName = True, True, "Result"
    box = selector.findChildren(qt.QComboBox)[0]
    seen = calls(selector.nodeAddedByUser)
    texts = [box.itemText(index) for index in range(box.count)]
    box.activated.emit(texts.index("Create new Volume"))
    assert selector.currentNode().GetName() == "Result"
    assert seen == [(selector.currentNode(),)]


def test_node_selector_rejects_values_that_are_not_nodes(selector):
    with pytest.raises(ValueError, match="needs a node or None"):
        selector.setCurrentNode("vtkMRMLScalarVolumeNode1")
    with pytest.raises(AttributeError):
        selector.nodeTypes = "vtkMRMLScalarVolumeNode"


@pytest.fixture
def segments():
    import slicer

    node = add("vtkMRMLSegmentationNode", "segmentation")
    selector = slicer.qMRMLSegmentSelectorWidget()
    selector.setMRMLScene(slicer.mrmlScene)
    selector.setCurrentNode(node)
    return node, selector


def test_segment_selector_selects_the_first_segment_added(segments):
    node, selector = segments
    seen = calls(selector.currentSegmentChanged)
    spleen, liver = (node.GetSegmentation().AddEmptySegment("", name) for name in ("spleen", "liver"))
    assert selector.currentSegmentID() == spleen
    selector.setCurrentSegmentID(liver)
    assert seen == [(spleen,), (liver,)]


def test_segment_selector_keeps_the_id_of_the_last_segment_after_its_removal(segments):
    node, selector = segments
    spleen = node.GetSegmentation().AddEmptySegment("", "spleen")
    node.GetSegmentation().RemoveSegment(spleen)
    assert selector.currentSegmentID() == spleen


# --- .ui files --------------------------------------------------------------------------------------------------------


def test_form_has_the_classes_properties_and_names_of_its_file(write_form):
    import ctk
    import slicer

    slider = """<widget class="ctkSliderWidget" name="width">
<property name="toolTip"><string>How wide</string></property>
<property name="maximum"><double>4.5</double></property><property name="suffix"><string> mm</string></property>
<property name="SlicerParameterName" stdset="0"><string>borderWidth</string></property></widget>"""
    form = slicer.util.loadUI(write_form(row(slider)))
    ui = slicer.util.childWidgetVariables(form)
    assert type(form) is slicer.qMRMLWidget and type(ui.width) is ctk.ctkSliderWidget
    assert (ui.width.maximum, ui.width.suffix, ui.width.toolTip) == (4.5, " mm", "How wide")
    assert ui.width.property("SlicerParameterName") == "borderWidth"
    assert ui.rows.rowCount() == 1


def test_form_makes_the_connections_of_its_file(write_form):
    import slicer

    connection = """<connection><sender>Form</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>input</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"""
    form = slicer.util.loadUI(write_form(row('<widget class="qMRMLNodeComboBox" name="input"/>'), connection))
    assert not form.input.enabled
    form.setMRMLScene(slicer.mrmlScene)
    assert form.input.mrmlScene() is slicer.mrmlScene and form.input.enabled


def test_form_has_the_tab_order_of_its_file(tmp_path):
    import slicer

    path, order = tmp_path / "tabs.ui", ["first", "second", "third", "fourth"]
    boxes = "".join(f'<item><widget class="QLineEdit" name="{name}"/></item>' for name in sorted(order))
    stops = "".join(f"<tabstop>{name}</tabstop>" for name in order)
    path.write_text(
        f'<ui version="4.0"><widget class="QWidget" name="Form"><layout class="QVBoxLayout" name="l">{boxes}</layout>'
        f"</widget><tabstops>{stops}</tabstops></ui>"
    )
    form, names = slicer.util.loadUI(str(path)), []
    widget = form.first
    while widget.name not in names:
        names.append(widget.name)
        widget = widget.nextInFocusChain()
    assert [name for name in names if name in order] == order


@pytest.mark.parametrize(
    "widget, complaint",
    [
        ('<widget class="ctkNoSuchWidget" name="x"/>', "no widget 'ctkNoSuchWidget'"),
        (
            '<widget class="QLabel" name="x"><property name="txt"><string>a</string></property></widget>',
            "QLabel 'x' has no property 'txt'",
        ),
    ],
)
def test_form_with_an_unknown_widget_or_property_raises(write_form, widget, complaint):
    import slicer

    with pytest.raises(RuntimeError, match=complaint):
        slicer.util.loadUI(write_form(row(widget)))


@pytest.mark.parametrize("signal, slot", [("noSignal()", "setFocus()"), ("mrmlSceneChanged(vtkMRMLScene*)", "no()")])
def test_connection_to_an_unknown_signal_or_slot_raises(write_form, signal, slot):
    import slicer

    connection = f"<connection><sender>Form</sender><signal>{signal}</signal><receiver>x</receiver><slot>{slot}</slot>"
    with pytest.raises(RuntimeError, match="has no"):
        slicer.util.loadUI(write_form(row('<widget class="QLabel" name="x"/>'), connection + "</connection>"))
