"""Name, color and terminology of a spleen segment in Slicer."""

NAME = "Spleen"
COLOR = (157 / 255, 108 / 255, 162 / 255)

_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_CATEGORY = ["SCT", "123037004", "Anatomical Structure"]
_TYPE = ["SCT", "78961009", "Spleen"]
_ANATOMIC_CONTEXT = "Anatomic codes - DICOM master list"

# Coding scheme and code; segmentations made before 2020 have the retired SNOMED-RT code.
CODE = _TYPE[:2]
CODES = (CODE, ["SRT", "T-C3000"])

# As slicerio writes it to a file.
TERMINOLOGY = {
    "contextName": _CONTEXT,
    "category": _CATEGORY,
    "type": _TYPE,
    "anatomicContextName": _ANATOMIC_CONTEXT,
}

# As a segment's tag in Slicer: context~category~type~modifier~context~region~modifier.
ENTRY = "~".join([_CONTEXT, "^".join(_CATEGORY), "^".join(_TYPE), "^^", _ANATOMIC_CONTEXT, "^^", "^^"])


def is_spleen(entry: str) -> bool:
    """Whether the type of an entry ("context~category~type" and optional further parts) is spleen."""
    parts = entry.split("~")
    return len(parts) > 2 and parts[2].split("^")[:2] in CODES
