"""Settings of the user's nodes that a part of the module changes for a while, and then gives back.

What was there is kept in the nodes themselves, so that a scene that was saved meanwhile gets it back when it is loaded.
"""

import json

import slicer

ATTRIBUTE = "SpleenSmoothSeg.override"


def override(owner: str, node, setting: str, value, *key) -> None:
    """Call ``node.Set<setting>(*key, value)``; what ``node.Get<setting>(*key)`` was at first is kept for `restore`."""
    records = _records(node)
    former = getattr(node, f"Get{setting}")(*key)
    for record in records:
        if record[:3] == [owner, setting, list(key)]:
            former = record[3]
            records.remove(record)
            break
    getattr(node, f"Set{setting}")(*key, value)
    _keep(node, [*records, [owner, setting, list(key), former, value]])


def restore(owner: str) -> None:
    """Put back all that this owner has borrowed in the scene, but for what the user has changed since."""
    for node in slicer.util.getNodesByClass("vtkMRMLNode"):
        records = _records(node)
        for _owner, setting, key, former, ours in (record for record in records if record[0] == owner):
            # Where a node was shown that was not saved with the scene, there is None when it is loaded.
            if getattr(node, f"Get{setting}")(*key) in (ours, None):
                getattr(node, f"Set{setting}")(*key, _stillThere(setting, former))
        if any(record[0] == owner for record in records):
            _keep(node, [record for record in records if record[0] != owner])


def _records(node) -> list:
    return json.loads(node.GetAttribute(ATTRIBUTE) or "[]")


def _keep(node, records: list) -> None:
    if records:
        node.SetAttribute(ATTRIBUTE, json.dumps(records))
    else:
        node.RemoveAttribute(ATTRIBUTE)


def _stillThere(setting: str, value):
    isNode = setting.endswith("ID") and value is not None
    return None if isNode and slicer.mrmlScene.GetNodeByID(value) is None else value
