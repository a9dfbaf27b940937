"""``slicer.qMRMLNodeComboBox`` and related widgets, on the real scene.

Copied from Slicer's source: which nodes a selector lists, what it selects when nodes come and go, that a new name of
the current node counts as another node, and the items that make, rename and delete nodes.
"""

import qt
import slicer
import vtk

from .ctkwidgets import ctkComboBox
from .mrmlwidgets import SCENE_EVENTS, HasScene, Observed
from .properties import stored
from .pythonqt import Signal, cppClass


@cppClass
class qMRMLNodeComboBox(HasScene, qt.QWidget):
    """Lists the scene's nodes of some types; chooses, makes, renames and deletes them."""

    currentNodeChanged = Signal("vtkMRMLNode*", "bool")
    nodeAddedByUser = Signal("vtkMRMLNode*")
    nodeTypes = stored(tuple, (), then="_update")
    hideChildNodeTypes = stored(tuple, (), then="_update")
    showChildNodeTypes = stored(bool, True, then="_update")
    showHidden = stored(bool, False, then="_update")
    noneEnabled = stored(bool, False, then="_update")
    noneDisplay = stored(str, "None", then="_update")
    addEnabled = stored(bool, True, then="_update")
    removeEnabled = stored(bool, True, then="_update")
    renameEnabled = stored(bool, False, then="_update")
    selectNodeUponCreation = stored(bool, True)
    baseName = stored(str, "")
    sizeAdjustPolicy = stored(int, 0)
    _comboBox = None
    _current = None
    _requestedID = ""
    _sceneObserved = None
    _nodesObserved = None
    _updating = False

    def __init__(self, parent=None):
        super().__init__(parent)
        self._sceneObserved, self._nodesObserved = Observed(self._update), Observed(self._rename)
        self._comboBox = self._makeComboBox()
        self._comboBox.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._comboBox.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        self._comboBox.minimumContentsLength = 12
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._comboBox)
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Fixed)
        self.setFocusProxy(self._comboBox)
        self._comboBox.connect("currentTextChanged(QString)", self._textChanged)  # so does Slicer
        self._comboBox.connect("activated(int)", self._activated)
        self.enabled = False

    def _makeComboBox(self):
        return ctkComboBox(self)

    # What PythonQt shows.

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node) -> None:
        if node is not None and not isinstance(node, slicer.vtkMRMLNode):
            raise ValueError(f"setCurrentNode needs a node or None, not {node!r}")
        self.setCurrentNodeID(node.GetID() or "" if node else "")

    def setCurrentNodeID(self, nodeID: str) -> None:
        if self._scene is None:
            self._requestedID = nodeID or ""
            return
        row = self._comboBox.findData(nodeID) if nodeID else -1
        self._comboBox.setCurrentIndex(row if row >= 0 else 0 if self.noneEnabled else -1)

    currentNodeID = qt.Property(
        str,
        lambda self: self._current.GetID() or "" if self._current else "",
        lambda self, nodeID: self.setCurrentNodeID(nodeID),
    )

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def nodeTypeLabel(self, nodeType: str) -> str:
        if self._scene is None or not nodeType:
            return "node"
        return self._scene.GetTypeDisplayNameByClassName(nodeType) or "node"

    def addNode(self, nodeType: str = ""):
        nodeType = nodeType or next(iter(self.nodeTypes), "")
        if self._scene is None or nodeType not in self.nodeTypes:
            return None
        node = self._scene.CreateNodeByClass(nodeType)
        node.UnRegister(None)
        if self.baseName or not node.GetName():
            node.SetName(self._scene.GetUniqueNameByString(self.baseName or node.GetDefaultNodeNamePrefix()))
        node = self._scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self._current)

    def renameCurrentNode(self) -> None:
        if self._current:
            title = f"Rename {self.nodeTypeLabel(self._current.GetClassName())}"
            name = qt.QInputDialog.getText(self, title, "New name:", qt.QLineEdit.Normal, self._current.GetName())
            if name:
                self._current.SetName(name)

    # How it keeps up with the scene.

    def _nodes(self) -> list:
        if self._scene is None:
            return []
        nodes = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        return [node for node in nodes if self._lists(node)]

    def _lists(self, node) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        kinds = [kind for kind in self.nodeTypes if node.IsA(kind)]
        if not self.showChildNodeTypes:
            kinds = [kind for kind in kinds if node.GetClassName() == kind]
        return bool(kinds) and not any(node.IsA(kind) for kind in self.hideChildNodeTypes)

    def _actions(self) -> list[tuple[str, tuple]]:
        """Text of each item below the nodes, with what it does."""
        label = self.nodeTypeLabel(self.nodeTypes[0] if len(self.nodeTypes) == 1 else "")
        actions = [(f"Rename current {label}", ("renameCurrentNode",))] * self.renameEnabled
        if self.addEnabled:
            actions += [(f"Create new {self.nodeTypeLabel(kind)}", ("_create", kind)) for kind in self.nodeTypes]
        actions += [(f"Delete current {label}", ("removeCurrentNode",))] * self.removeEnabled
        return actions

    def _sceneWasSet(self) -> None:
        super()._sceneWasSet()
        events = [getattr(slicer.vtkMRMLScene, event) for event in SCENE_EVENTS]
        self._sceneObserved.watch(*[(self._scene, event) for event in events])
        self.enabled = self._scene is not None
        self._update()
        if self._requestedID:
            self.setCurrentNodeID(self._requestedID)
        self._requestedID = ""

    def _update(self) -> None:
        """List again what the scene has now; what was selected stays, or its neighbor takes its place."""
        if self._updating or self._comboBox is None:
            return
        self._updating = True
        nodes, comboBox, before = self._nodes(), self._comboBox, self._comboBox.currentIndex
        currentID = comboBox.currentData
        comboBox.blockSignals(True)
        comboBox.clear()
        if self.noneEnabled:
            comboBox.addItem(self.noneDisplay, "")
        for node in nodes:
            self._addItem(node)
        actions = self._actions() if self._scene else []
        if actions:
            comboBox.insertSeparator(comboBox.count)
        for text, action in actions:
            comboBox.addItem(text, action)
        comboBox.setCurrentIndex(self._rowToSelect(nodes, currentID, before, bool(actions)))
        label = self.nodeTypeLabel(next(iter(self.nodeTypes), ""))
        comboBox.defaultText = f"Select a {label}"
        comboBox.blockSignals(False)
        self._updating = False
        self._nodesObserved.watch(*[(node, vtk.vtkCommand.ModifiedEvent) for node in nodes])
        self._currentMayHaveChanged()

    def _currentMayHaveChanged(self) -> None:
        nodeID = self._comboBox.currentData
        node = self._scene.GetNodeByID(nodeID) if self._scene and nodeID else None
        if node is not self._current:
            self._current = node
            self._emitCurrentNode()

    def _addItem(self, node) -> None:
        self._comboBox.addItem(node.GetName() or "", node.GetID())

    def _rowToSelect(self, nodes: list, currentID, before: int, hasActions: bool) -> int:
        first = int(self.noneEnabled)
        IDs = [node.GetID() for node in nodes]
        if self._current is not None and currentID in IDs:
            return IDs.index(currentID) + first
        if self._current is not None and nodes:
            return min(before, first + len(nodes) - 1)
        # Qt selects the first row that comes into an empty list: only here, where nothing else is listed.
        alone = nodes and not hasActions and not self.noneEnabled
        return 0 if self.noneEnabled or alone else -1

    def _rename(self) -> None:
        for row in range(self._comboBox.count):
            node = self._scene.GetNodeByID(self._comboBox.itemData(row)) if self._isNodeID(row) else None
            if node and node.GetName() != self._comboBox.itemText(row):
                self._comboBox.setItemText(row, node.GetName())

    def _isNodeID(self, row: int) -> bool:
        data = self._comboBox.itemData(row)
        return isinstance(data, str) and bool(data)

    def _textChanged(self) -> None:
        """Another row, or another name of the current node, which Slicer takes for another node."""
        nodeID = self._comboBox.currentData
        if not isinstance(nodeID, tuple):  # an action: the node stays
            self._current = self._scene.GetNodeByID(nodeID) if self._scene and nodeID else None
            self._emitCurrentNode()

    def _emitCurrentNode(self) -> None:
        self.currentNodeChanged.emit(self._current)
        self.currentNodeChanged._signalOf("bool").emit(self._current is not None)

    def _activated(self, row: int) -> None:
        data = self._comboBox.itemData(row)
        if not isinstance(data, tuple):
            return
        self.setCurrentNode(self._current)
        getattr(self, data[0])(*data[1:])

    def _create(self, nodeType: str) -> None:
        self.setCurrentNode(self.addNode(nodeType))
