"""Temporary changes to settings of the user's nodes.

The former value is kept in an attribute of the node itself, so that it can be restored in a scene that was saved and
loaded in between.
"""

import json

import slicer

ATTRIBUTE = "SpleenSmoothSeg.override"


def override(owner: str, node, setting: str, value, *key) -> None:
    """Call ``node.Set<setting>(*key, value)``, and keep the first ``node.Get<setting>(*key)`` for ``restore``."""
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
    """Restore all settings in the scene that this owner has overridden, except those that the user changed since."""
    for node in slicer.util.getNodesByClass("vtkMRMLNode"):
        records = _records(node)
        for _owner, setting, key, former, ours in (record for record in records if record[0] == owner):
            # A reference to a node that was not saved with the scene is None after loading.
            if getattr(node, f"Get{setting}")(*key) in (ours, None):
                getattr(node, f"Set{setting}")(*key, _ifInScene(setting, former))
        if any(record[0] == owner for record in records):
            _keep(node, [record for record in records if record[0] != owner])


def _records(node) -> list:
    return json.loads(node.GetAttribute(ATTRIBUTE) or "[]")


def _keep(node, records: list) -> None:
    if records:
        node.SetAttribute(ATTRIBUTE, json.dumps(records))
    else:
        node.RemoveAttribute(ATTRIBUTE)


def _ifInScene(setting: str, value):
    """The value, but None for the ID of a node that was removed."""
    isNode = setting.endswith("ID") and value is not None
    return None if isNode and slicer.mrmlScene.GetNodeByID(value) is None else value
