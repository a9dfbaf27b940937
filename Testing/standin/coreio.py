"""``slicer.app.coreIOManager()``: reads files into the scene and saves the scene, through the logics that Slicer uses.

For ``slicer.util.loadVolume``, ``loadLabelVolume``, ``loadSegmentation``, ``loadScene`` and ``saveScene``.
"""

from pathlib import Path

import qt
import slicer
import vtk

from .pythonqt import cppClass


@cppClass
class qSlicerCoreIOManager(qt.QObject):
    _logics = None

    def __init__(self, logics):
        super().__init__()
        self._logics = logics

    def loadNodes(self, fileType: str, properties: dict, loadedNodes=None, userMessages=None) -> bool:
        messages = userMessages if userMessages is not None else slicer.vtkMRMLMessageCollection()
        fileName = _string(properties, "fileName", messages)
        if not fileName:
            return False
        reader = getattr(self, f"_read{fileType}", None)
        nodes = reader(fileName, properties, messages) if reader else None
        if nodes is None:
            if messages.GetNumberOfMessages() == 0:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"Loading {fileName} - load failed.")
            return False
        for node in nodes:
            if loadedNodes is not None:
                loadedNodes.AddItem(node)
        return True

    def saveNodes(self, fileType: str, properties: dict, userMessages=None) -> bool:
        messages = userMessages if userMessages is not None else slicer.vtkMRMLMessageCollection()
        fileName = _string(properties, "fileName", messages)
        if not fileName:
            return False
        Path(fileName).absolute().parent.mkdir(parents=True, exist_ok=True)
        if fileType != "SceneFile":
            raise NotImplementedError(f"The stand-in saves scenes only, not {fileType}.")
        return bool(self._writeScene(fileName, messages))

    # One method for each file type: the nodes that were read, or None.

    def _readVolumeFile(self, fileName, properties, _messages):
        flags = ("labelmap", "center", "singleFile", "autoWindowLevel", "discardOrientation")
        options = sum(bool(properties.get(flag)) << bit for bit, flag in enumerate(flags))
        files = vtk.vtkStringArray()
        for file in properties.get("fileNames", ()):
            files.InsertNextValue(file)
        name = properties.get("name") or _baseName(fileName)
        node = self._logics.modules["Volumes"].AddArchetypeVolume(
            fileName, name, options, files if files.GetNumberOfValues() else None
        )
        if node is None:
            return None
        if properties.get("colorNodeID"):
            node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
        if properties.get("show", True):
            selection = self._logics.application.GetSelectionNode()
            isLabelmap = node.IsA("vtkMRMLLabelMapVolumeNode")
            (selection.SetActiveLabelVolumeID if isLabelmap else selection.SetActiveVolumeID)(node.GetID())
            self._logics.application.PropagateVolumeSelection()
        return [node]

    def _readSegmentationFile(self, fileName, properties, messages):
        color = slicer.mrmlScene.GetNodeByID(properties.get("colorNodeID") or "")
        node = self._logics.modules["Segmentations"].LoadSegmentationFromFile(
            fileName, bool(properties.get("autoOpacities", True)), properties.get("name") or "", color, messages
        )
        return node and [node]

    def _readSceneFile(self, fileName, properties, messages):
        scene, clear = slicer.mrmlScene, bool(properties.get("clear", False))
        before = {scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())}
        done = scene.ReadFromMRB(str(Path(fileName).absolute()), clear, messages)
        after = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
        return [node for node in after if node not in before] if done else None

    def _writeScene(self, fileName, messages) -> bool:
        scene, path = slicer.mrmlScene, Path(fileName).absolute()
        if path.suffix != ".mrb":
            raise NotImplementedError(f"The stand-in saves scenes as .mrb only, not {path.name}.")
        scene.SetURL(str(path))
        scene.SetRootDirectory(str(path.parent))
        saved = scene.WriteToMRB(str(path), None, messages)
        scene.SetStorableNodesModifiedSinceRead()
        return saved


def _string(properties: dict, name: str, messages) -> str:
    """The property if it is a string, which Qt does not make of a ``pathlib.Path``; otherwise an error and ""."""
    value = properties.get(name)
    if isinstance(value, str) and value:
        return value
    messages.AddMessage(vtk.vtkCommand.ErrorEvent, f'"{name}" must be a string that is not empty, not {value!r}.')
    return ""


def _baseName(fileName: str) -> str:
    """The name up to its first dot, as ``QFileInfo::baseName``."""
    return Path(fileName).name.split(".")[0]
