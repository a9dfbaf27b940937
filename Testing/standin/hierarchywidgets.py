"""The widgets over the subject hierarchy and over table nodes that panels use, on the real scene."""

import qt
import slicer
import vtk

from .ctkwidgets import ctkComboBox
from .mrmlwidgets import SCENE_EVENTS, HasScene, Observed
from .properties import stored
from .pythonqt import Signal, cppClass


@cppClass
class qMRMLSubjectHierarchyComboBox(HasScene, ctkComboBox):
    """Chooses an item of the subject hierarchy."""

    currentItemChanged = Signal("vtkIdType")
    currentItemModified = Signal("vtkIdType")
    nodeTypes = stored(tuple, (), then="_update")
    noneEnabled = stored(bool, False, then="_update")
    noneDisplay = stored(str, "None", then="_update")
    showRootItem = stored(bool, False)
    highlightReferencedItems = stored(bool, True)
    maximumNumberOfShownItems = stored(int, 20)
    alignPopupVertically = stored(bool, True)
    showCurrentItemParents = stored(bool, True)
    showEmptyHierarchyItems = stored(bool, True)
    _observed = None
    _item = 0

    def __init__(self, parent=None):
        super().__init__(parent)
        self._observed = Observed(self._update)
        self.connect("currentIndexChanged(int)", self._indexChanged)

    def subjectHierarchyNode(self):
        return self._scene.GetSubjectHierarchyNode() if self._scene else None

    def currentItem(self) -> int:
        return self._item

    def setCurrentItem(self, item: int) -> None:
        self.setCurrentIndex(self.findData(item))

    def currentNode(self):
        return self.subjectHierarchyNode().GetItemDataNode(self._item) if self._item else None

    def setCurrentNode(self, node) -> None:
        self.setCurrentItem(self.subjectHierarchyNode().GetItemByDataNode(node) if node else 0)

    def clearSelection(self) -> None:
        self.setCurrentIndex(0 if self.noneEnabled else -1)

    def setNodeTypes(self, types) -> None:
        self.nodeTypes = types

    def _sceneWasSet(self) -> None:
        node, changes = self.subjectHierarchyNode(), ("Added", "Removed", "Modified")
        events = [getattr(slicer.vtkMRMLSubjectHierarchyNode, f"SubjectHierarchyItem{each}Event") for each in changes]
        sceneEvents = [(self._scene, getattr(slicer.vtkMRMLScene, event)) for event in SCENE_EVENTS]
        self._observed.watch(*sceneEvents, *[(node, event) for event in events])
        self._update()

    def _update(self) -> None:
        hierarchy, items = self.subjectHierarchyNode(), vtk.vtkIdList()
        if hierarchy:
            hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
        self.blockSignals(True)
        self.clear()
        if self.noneEnabled:
            self.addItem(self.noneDisplay, 0)
        for item in (items.GetId(index) for index in range(items.GetNumberOfIds())):
            node = hierarchy.GetItemDataNode(item)
            if not self.nodeTypes or (node and any(node.IsA(kind) for kind in self.nodeTypes)):
                self.addItem(hierarchy.GetItemName(item), item)
        row = self.findData(self._item) if self._item else -1
        self.setCurrentIndex(row if row >= 0 else 0 if self.noneEnabled else -1)
        self.blockSignals(False)
        self._indexChanged()

    def _indexChanged(self) -> None:
        item = self.currentData or 0
        if item != self._item:
            self._item = item
            self.currentItemChanged.emit(item)


@cppClass
class qMRMLSubjectHierarchyTreeView(HasScene, qt.QTreeWidget):
    """The subject hierarchy as a tree of names."""

    currentItemChanged = Signal("vtkIdType")
    currentItemsChanged = Signal("QList<vtkIdType>")
    currentItemModified = Signal("vtkIdType")
    nodeTypes = stored(tuple, (), then="_update")
    multiSelection = stored(bool, False)
    editMenuActionVisible = stored(bool, True)
    contextMenuEnabled = stored(bool, True)
    idColumnVisible = stored(bool, False)
    colorColumnVisible = stored(bool, True)
    transformColumnVisible = stored(bool, True)
    descriptionColumnVisible = stored(bool, False)
    visibilityColumnVisible = stored(bool, True)
    _observed = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._observed = Observed(self._update)
        self.setHeaderLabels(["Node"])
        self.itemSelectionChanged.connect(lambda: self.currentItemChanged.emit(self.currentItem()))

    def currentItem(self) -> int:
        chosen = self.selectedItems()
        return chosen[0].data(0, qt.Qt.UserRole) if chosen else 0

    def _sceneWasSet(self) -> None:
        self._observed.watch(*[(self._scene, getattr(slicer.vtkMRMLScene, event)) for event in SCENE_EVENTS])
        self._update()

    def _update(self) -> None:
        self.clear()
        hierarchy = self._scene.GetSubjectHierarchyNode() if self._scene else None
        if hierarchy:
            self._addChildren(self.invisibleRootItem(), hierarchy, hierarchy.GetSceneItemID())

    def _addChildren(self, parent, hierarchy, item: int) -> None:
        children = vtk.vtkIdList()
        hierarchy.GetItemChildren(item, children)
        for child in (children.GetId(index) for index in range(children.GetNumberOfIds())):
            row = qt.QTreeWidgetItem(parent, [hierarchy.GetItemName(child)])
            row.setData(0, qt.Qt.UserRole, child)
            self._addChildren(row, hierarchy, child)


@cppClass
class qMRMLTableView(HasScene, qt.QTableWidget):
    """A table node's columns and rows."""

    editable = stored(bool, True)
    _node = None
    _observed = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._observed = Observed(self._update)

    def mrmlTableNode(self):
        return self._node

    def setMRMLTableNode(self, node) -> None:
        self._node = node
        self._observed.watch((node, vtk.vtkCommand.ModifiedEvent))
        self._update()

    def _update(self) -> None:
        table = self._node.GetTable() if self._node else vtk.vtkTable()
        columns = range(table.GetNumberOfColumns())
        self.rowCount, self.columnCount = table.GetNumberOfRows(), len(columns)
        self.setHorizontalHeaderLabels([table.GetColumnName(column) or "" for column in columns])
        for column in columns:
            for row in range(table.GetNumberOfRows()):
                self.setItem(row, column, qt.QTableWidgetItem(table.GetValue(row, column).ToString()))
