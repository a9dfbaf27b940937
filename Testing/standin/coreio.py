"""``slicer.app.coreIOManager()``: reads files into the scene and writes nodes, through the logics that Slicer uses.

With it ``slicer.util.loadVolume``, ``loadSegmentation``, ``saveNode``, ``loadScene`` and their kin work.
"""

from pathlib import Path

import qt
import slicer
import vtk

from .pythonqt import Signal, cppClass

# What Slicer takes a file for, by the end of its name; the longest end counts. The first type is the default.
FILE_TYPES = {
    "VolumeFile": ".nrrd .nhdr .nii .nii.gz .mha .mhd .hdr .img .img.gz .dcm .tif .tiff .png .jpg .jpeg .bmp .mgz",
    "SegmentationFile": ".seg.nrrd .seg.nhdr .seg.vtm",
    "ModelFile": ".vtk .vtp .vtu .stl .ply .obj",
    "MarkupsFile": ".mrk.json .json .fcsv",
    "TransformFile": ".h5 .tfm .mat .hdf5",
    "TableFile": ".tsv .csv .db .sqlite",
    "ColorTableFile": ".ctbl .cxml",
    "TextFile": ".txt .xml",
    "SceneFile": ".mrml .mrb",
}
# Node class -> the result of ``fileWriterFileType``; the first match counts.
WRITER_TYPES = {
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLVolumeNode": "VolumeFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLMarkupsNode": "MarkupsFile",
    "vtkMRMLTransformNode": "TransformFile",
    "vtkMRMLTableNode": "TableFile",
    "vtkMRMLColorNode": "ColorTableFile",
    "vtkMRMLTextNode": "TextFile",
}


@cppClass
class qSlicerCoreIOManager(qt.QObject):
    newFileLoaded = Signal("QVariantMap")
    fileSaved = Signal("QVariantMap")
    _logics = None

    def __init__(self, logics):
        super().__init__()
        self._logics = logics

    def fileType(self, fileName: str) -> str:
        ends = {end: kind for kind, ends in FILE_TYPES.items() for end in ends.split()}
        found = [end for end in ends if fileName.lower().endswith(end)]
        return ends[max(found, key=len)] if found else "NoFile"

    def fileWriterFileType(self, node, _format: str = "") -> str:
        return next((kind for cls, kind in WRITER_TYPES.items() if node.IsA(cls)), "NoFile")

    def fileWriterExtensions(self, node) -> tuple[str, ...]:
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(node.GetScene())
        formats = storage.GetSupportedWriteFileTypes()
        return tuple(formats.GetValue(index) for index in range(formats.GetNumberOfValues()))

    def extractKnownExtension(self, fileName: str, node) -> str:
        format_ = slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString
        ends = [format_(text) for text in self.fileWriterExtensions(node)]
        return max((end for end in ends if end and fileName.endswith(end)), key=len, default="")

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
        loaded = {**properties, "fileType": fileType, "nodeIDs": [node.GetID() for node in nodes]}
        self.newFileLoaded.emit(loaded)
        return True

    def loadScene(self, fileName: str, clear: bool = True) -> bool:
        return self.loadNodes("SceneFile", {"fileName": fileName, "clear": clear})

    def loadFile(self, fileName: str) -> bool:
        return self.loadNodes(self.fileType(fileName), {"fileName": fileName})

    def saveNodes(self, fileType: str, properties: dict, userMessages=None) -> bool:
        messages = userMessages if userMessages is not None else slicer.vtkMRMLMessageCollection()
        fileName = _string(properties, "fileName", messages)
        if not fileName:
            return False
        Path(fileName).absolute().parent.mkdir(parents=True, exist_ok=True)
        if fileType == "SceneFile":
            saved = self._writeScene(fileName, messages)
        else:
            saved = _write(slicer.mrmlScene.GetNodeByID(properties["nodeID"]), fileName, properties, messages)
        if saved:
            self.fileSaved.emit(dict(properties))
        return bool(saved)

    def saveScene(self, fileName: str, _screenShot=None) -> bool:
        return self.saveNodes("SceneFile", {"fileName": fileName})

    def exportNodes(self, nodeIDs, fileNames, properties: dict, hardenTransforms: bool, userMessages=None) -> bool:
        """Write copies, so that the nodes' own storage nodes stay as they are."""
        messages = userMessages if userMessages is not None else slicer.vtkMRMLMessageCollection()
        saved = []
        for nodeId, fileName in zip(nodeIDs, fileNames, strict=True):
            scene, node = slicer.vtkMRMLScene(), slicer.mrmlScene.GetNodeByID(nodeId)
            slicer.mrmlScene.CopyRegisteredNodesToScene(scene)
            copy = scene.AddNewNodeByClass(node.GetClassName())
            copy.CopyContent(node, hardenTransforms)
            parent = node.GetParentTransformNode() if hardenTransforms else None
            if parent:
                toWorld = vtk.vtkGeneralTransform()
                parent.GetTransformToWorld(toWorld)
                copy.ApplyTransform(toWorld)
            saved.append(_write(copy, fileName, properties, messages))
        return all(saved)

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

    def _readModelFile(self, fileName, properties, messages):
        lps = slicer.vtkMRMLStorageNode.CoordinateSystemLPS
        node = self._logics.modules["Models"].AddModel(fileName, properties.get("coordinateSystem", lps), messages)
        return node and [_named(node, properties)]

    def _readMarkupsFile(self, fileName, properties, messages):
        ids = self._logics.modules["Markups"].LoadMarkups(fileName, properties.get("name") or "", messages)
        return ids and [slicer.mrmlScene.GetNodeByID(nodeId) for nodeId in ids.split(",")]

    def _readTransformFile(self, fileName, _properties, messages):
        node = self._logics.modules["Transforms"].AddTransform(fileName, slicer.mrmlScene, messages)
        return node and [node]

    def _readTableFile(self, fileName, properties, messages):
        name = slicer.mrmlScene.GetUniqueNameByString(properties.get("name") or _baseName(fileName))
        node = self._logics.modules["Tables"].AddTable(fileName, name, True, "", messages)
        return node and [node]

    def _readColorTableFile(self, fileName, _properties, messages):
        node = self._logics.modules["Colors"].LoadColorFile(fileName, None, messages, True)
        return node and [node]

    def _readTextFile(self, fileName, _properties, _messages):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", _baseName(fileName))
        node.AddDefaultStorageNode(fileName)
        if node.GetStorageNode().ReadData(node):
            return [node]
        slicer.mrmlScene.RemoveNode(node)
        return None

    def _readSceneFile(self, fileName, properties, messages):
        scene, clear = slicer.mrmlScene, bool(properties.get("clear", False))
        before = {scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())}
        if fileName.lower().endswith(".mrb"):
            done = scene.ReadFromMRB(str(Path(fileName).absolute()), clear, messages)
        else:
            scene.SetURL(fileName)
            done = scene.Connect(messages) if clear else scene.Import(messages)
        after = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
        return [node for node in after if node not in before] if done else None

    def _writeScene(self, fileName, messages) -> bool:
        scene, path = slicer.mrmlScene, Path(fileName).absolute()
        if path.suffix not in (".mrml", ".mrb"):
            path.mkdir(exist_ok=True)
            empty = not any(path.iterdir())
            return empty and self._logics.application.SaveSceneToSlicerDataBundleDirectory(str(path), None)
        scene.SetURL(str(path))
        scene.SetRootDirectory(str(path.parent))
        if path.suffix == ".mrml":
            return scene.Commit()
        saved = scene.WriteToMRB(str(path), None, messages)
        scene.SetStorableNodesModifiedSinceRead()
        return saved


def _write(node, fileName: str, properties: dict, messages) -> bool:
    if node is None or not node.IsA("vtkMRMLStorableNode") or not node.AddDefaultStorageNode():
        messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"No writer found to write file {fileName}.")
        return False
    storage = node.GetStorageNode()
    storage.SetFileName(fileName)
    if properties.get("fileFormat"):
        storage.SetWriteFileFormat(properties["fileFormat"])
    storage.SetURI(None)
    if "useCompression" in properties:
        storage.SetUseCompression(int(properties["useCompression"]))
    written = storage.WriteData(node)
    messages.AddMessages(storage.GetUserMessages())
    return bool(written)


def _string(properties: dict, name: str, messages) -> str:
    """The property where it is a string, as Qt makes none of a ``pathlib.Path``; else an error and ""."""
    value = properties.get(name)
    if isinstance(value, str) and value:
        return value
    messages.AddMessage(vtk.vtkCommand.ErrorEvent, f'"{name}" must be a string that is not empty, not {value!r}.')
    return ""


def _baseName(fileName: str) -> str:
    """The name up to its first dot, as ``QFileInfo::baseName``."""
    return Path(fileName).name.split(".")[0]


def _named(node, properties: dict):
    if properties.get("name"):
        node.SetName(slicer.mrmlScene.GetUniqueNameByString(properties["name"]))
    return node
