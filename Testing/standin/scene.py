"""The scene of Slicer's application without Qt: module logics, the scene's own nodes, the subject hierarchy's items.

All of it is Slicer's own code (slicer-core), but for the subject hierarchy: Slicer's Qt plugins make an item for each
data node and each segment, and so does ``SubjectHierarchy`` here.
"""

import contextlib
from pathlib import Path

import slicer
import vtk

# Module -> the class of its logic, for modules that slicer-core brings; Colors first, as others ask for it.
MODULE_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Data": "vtkSlicerDataModuleLogic",
}
# The subject hierarchy plugin that owns the items of a node class; the first that fits.
PLUGINS = {
    "vtkMRMLLabelMapVolumeNode": "LabelMaps",
    "vtkMRMLScalarVolumeNode": "Volumes",
    "vtkMRMLSegmentationNode": "Segmentations",
    "vtkMRMLModelNode": "Models",
    "vtkMRMLMarkupsNode": "Markups",
    "vtkMRMLTransformNode": "Transforms",
    "vtkMRMLTableNode": "Tables",
    "vtkMRMLPlotChartNode": "Plots",
    "vtkMRMLPlotSeriesNode": "Plots",
    "vtkMRMLTextNode": "Texts",
}


class Logics:
    """Slicer's application logic and the logic of each module: one of each as long as the application lives."""

    def __init__(self, home: Path, temporaryPath: Path):
        self.application = slicer.vtkSlicerApplicationLogic()
        self.application.SetHomeDirectory(str(home))
        self.application.SetShareDirectory("share")
        self.application.SetTemporaryPath(str(temporaryPath))
        slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(self.application)
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(self.application)
        self.modules = {name: getattr(slicer, cls)() for name, cls in MODULE_LOGICS.items()}
        for name, logic in self.modules.items():
            logic.SetMRMLApplicationLogic(self.application)
            self.application.SetModuleLogic(name, logic)
        self.application.SetColorLogic(self.modules["Colors"])
        self.remoteIO = slicer.vtkMRMLRemoteIOLogic()
        self.remoteIO.GetCacheManager().SetRemoteCacheDirectory(str(temporaryPath))
        self.dataIO = slicer.vtkDataIOManagerLogic()
        self.dataIO.SetMRMLApplicationLogic(self.application)
        self.dataIO.SetAndObserveDataIOManager(self.remoteIO.GetDataIOManager())

    def setScene(self, scene) -> None:
        """Let all logics work on the scene; they add the nodes that every scene of Slicer has."""
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        scene.AddNode(crosshair)
        with vtkErrorsHidden():  # the files of colors and terminologies that Slicer's installer brings are not here
            self.application.SetMRMLScene(scene)
            self.application.SetMRMLSceneDataIO(scene, self.remoteIO, self.dataIO)
            for logic in self.modules.values():
                logic.SetMRMLScene(scene)


class SubjectHierarchy:
    """Makes and removes the hierarchy's items as Slicer's Qt plugins do: for data nodes, and for their segments."""

    def __init__(self, scene):
        self.scene = scene
        self.observed = []
        slots = {
            scene.NodeAddedEvent: self.onNodeAdded,
            scene.NodeAboutToBeRemovedEvent: self.onNodeAboutToBeRemoved,
            scene.EndImportEvent: self.addMissingItems,
            scene.EndBatchProcessEvent: self.addMissingItems,
            scene.EndCloseEvent: self.addMissingItems,
        }
        for event, slot in slots.items():
            self.observe(scene, event, slot)
        self.addMissingItems()

    def observe(self, thing, event, slot) -> None:
        self.observed.append((thing, thing.AddObserver(event, slot, 10.0)))

    def close(self) -> None:
        for thing, tag in self.observed:
            thing.RemoveObserver(tag)
        self.observed.clear()

    @property
    def node(self):
        return slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, _scene, _event, node) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            self.node  # noqa: B018  (there is one in a scene: asking for it merges the two)
        elif not self.scene.IsImporting():
            self.addItem(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, _scene, _event, node) -> None:
        if not self.scene.IsClosing() and not node.IsA("vtkMRMLSubjectHierarchyNode"):
            item = self.node.GetItemByDataNode(node)
            if item:
                for segment in self.segmentItems(item).values():
                    self.node.RemoveItem(segment)
                self.node.RemoveItem(item, False, False)

    def addMissingItems(self, *_event) -> None:
        for node in [self.scene.GetNthNode(index) for index in range(self.scene.GetNumberOfNodes())]:
            self.addItem(node)

    def addItem(self, node) -> None:
        plugin = next((plugin for cls, plugin in PLUGINS.items() if node.IsA(cls)), None)
        if plugin is None or node.GetHideFromEditors():
            return
        if not self.node.GetItemByDataNode(node):
            self.node.CreateItem(self.node.GetSceneItemID(), node, plugin)
        if plugin == "Segmentations":
            self.showSegments(node)
            if not node.HasObserver(slicer.vtkSegmentation.SegmentAdded):
                for event in ("SegmentAdded", "SegmentRemoved", "SegmentModified"):
                    self.observe(node, getattr(slicer.vtkSegmentation, event), self.showSegments)

    def showSegments(self, segmentationNode, *_event) -> None:
        """Give each segment an item under its segmentation's."""
        hierarchy, segmentation = self.node, segmentationNode.GetSegmentation()
        parent = hierarchy.GetItemByDataNode(segmentationNode)
        if not parent or segmentation is None:
            return
        items = self.segmentItems(parent)
        for segmentId in segmentation.GetSegmentIDs():
            name = segmentation.GetSegment(segmentId).GetName() or ""
            if segmentId not in items:
                branch = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyVirtualBranchAttributeName()
                item = hierarchy.CreateHierarchyItem(parent, name, branch)
                hierarchy.SetItemAttribute(item, segmentationNode.GetSegmentIDAttributeName(), segmentId)
                hierarchy.SetItemOwnerPluginName(item, "Segments")
            elif hierarchy.GetItemName(items[segmentId]) != name:
                hierarchy.SetItemName(items[segmentId], name)
        for segmentId in set(items) - set(segmentation.GetSegmentIDs()):
            hierarchy.RemoveItem(items[segmentId])

    def segmentItems(self, parent: int) -> dict[str, int]:
        """The items of the segments under a segmentation's item, by segment id."""
        attribute, children = slicer.vtkMRMLSegmentationNode.GetSegmentIDAttributeName(), vtk.vtkIdList()
        self.node.GetItemChildren(parent, children)
        items = [children.GetId(index) for index in range(children.GetNumberOfIds())]
        return {self.node.GetItemAttribute(i, attribute): i for i in items if self.node.HasItemAttribute(i, attribute)}


@contextlib.contextmanager
def vtkErrorsHidden():
    """Hide VTK's messages about known, harmless limitations of this environment."""
    shown, verbosity = vtk.vtkObject.GetGlobalWarningDisplay(), vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkObject.SetGlobalWarningDisplay(0)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtk.vtkLogger.SetStderrVerbosity(verbosity)
        vtk.vtkObject.SetGlobalWarningDisplay(shown)
