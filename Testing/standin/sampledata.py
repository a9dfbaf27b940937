"""``import SampleData``: registers data sets, and "downloads" and loads those that lie on this computer (file: URIs).

Harsher than Slicer's: a thumbnail that is not there raises. Nothing is asked of the network.
"""

import hashlib
import logging
import shutil
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import slicer

LISTS = "uris", "fileNames", "nodeNames", "checksums", "loadFiles", "loadFileTypes"


class SampleDataSource:
    """One data set: what it is called, and its files, each with the node that it becomes."""

    def __init__(self, sampleName=None, sampleDescription=None, thumbnailFileName=None, customDownloader=None,
                 loadFileProperties=None, loadFileType=None, **lists):  # fmt: skip
        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        self.thumbnailFileName, self.customDownloader = thumbnailFileName, customDownloader
        self.loadFileProperties = loadFileProperties or {}
        if loadFileType is not None:
            lists["loadFileTypes"] = loadFileType
        many = isinstance(lists.get("uris"), list | tuple)
        for name in LISTS:
            value = lists.pop(name, None)
            spread = many and (value is None or (name == "loadFileTypes" and isinstance(value, str)))
            setattr(self, name, [value] * len(self.uris) if spread else list(value) if many else [value])
        if lists:
            raise TypeError(f"SampleDataSource got an unexpected keyword argument '{next(iter(lists))}'")
        if len({len(getattr(self, name)) for name in LISTS}) > 1:
            raise ValueError("All fields of sample data source must have the same length")
        if thumbnailFileName and not Path(thumbnailFileName).is_file():
            raise FileNotFoundError(f"the thumbnail {thumbnailFileName} of {sampleName} is not there")

    def __eq__(self, other) -> bool:
        return vars(self) == vars(other)


class SampleDataLogic:
    def __init__(self, logMessage=None):
        self.logMessage = logMessage or (lambda message, level=logging.DEBUG: logging.log(level, message))

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", **fields) -> None:
        source = SampleDataSource(**fields)
        if not SampleDataLogic.isSampleDataSourceRegistered(category, source):
            slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    @staticmethod
    def isSampleDataSourceRegistered(category, sampleDataSource) -> bool:
        return sampleDataSource in slicer.modules.sampleDataSources.get(category, [])

    def sourceForSampleName(self, sampleName: str):
        sources = [source for each in slicer.modules.sampleDataSources.values() for source in each]
        return next((source for source in sources if source.sampleName == sampleName), None)

    def downloadSample(self, sampleName: str):
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName: str) -> list:
        return self.downloadFromSource(self.sourceForSampleName(sampleName))

    def downloadFromSource(self, source: SampleDataSource) -> list:
        """The loaded nodes, read from a copy in the cache folder, as Slicer reads them."""
        nodes = []
        for uri, fileName, nodeName, checksum, kind in zip(
            source.uris, source.fileNames, source.nodeNames, source.checksums, source.loadFileTypes, strict=True
        ):
            path = Path(slicer.app.cachePath) / fileName
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_localPath(uri), path)
            algorithm, _, digest = (checksum or "").partition(":")
            if digest and hashlib.new(algorithm, path.read_bytes()).hexdigest() != digest:
                raise ValueError(f"the checksum of {uri} is not {checksum}")
            properties = {**source.loadFileProperties, "name": nodeName}
            nodes.append(slicer.util.loadNodeFromFile(str(path), kind or "VolumeFile", properties))
        return nodes


def _localPath(uri: str) -> str:
    if urlparse(uri).scheme != "file":
        raise OSError(f"the stand-in asks nothing of the network: {uri}")
    return url2pathname(urlparse(uri).path)


def downloadSample(sampleName: str):
    return SampleDataLogic().downloadSample(sampleName)
