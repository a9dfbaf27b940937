"""Integrity check of NIfTI files, for the defects that ITK does not report.

ITK reads truncated files without an error, reads NaN as 0, and does not report a full disk when writing.
"""

import gzip
import math
import zlib
from io import BufferedReader
from pathlib import Path

import numpy as np

NIFTI_SUFFIXES = (".nii", ".nii.gz")
_CHUNK = 1 << 22  # bytes; a whole number of voxels of any type

# Header fields that define the length of the file, in NIfTI-1 and NIfTI-2: https://nifti.nimh.nih.gov
_FIELDS = ["header_size", "dim", "datatype", "bits", "offset"]
_HEADERS = [
    np.dtype({"names": _FIELDS, "formats": formats, "offsets": offsets, "itemsize": size})
    for size, formats, offsets in (
        (348, ["i4", "8i2", "i2", "i2", "f4"], [0, 40, 70, 72, 108]),
        (540, ["i4", "8i8", "i2", "i2", "i8"], [0, 16, 12, 14, 168]),
    )
]
_FLOATS = {16: "f4", 64: "f8"}


def find_defect(path: Path) -> str | None:
    """Read a whole NIfTI file and return its defect: "incomplete", "not finite", "not NIfTI", or None."""
    try:
        with open(path, "rb") as file:
            is_compressed = file.read(2) == b"\x1f\x8b"
        with (gzip.open if is_compressed else open)(path, "rb") as file:
            return _find_defect(file)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return "incomplete"


def _find_defect(file: gzip.GzipFile | BufferedReader) -> str | None:
    start = file.read(_HEADERS[-1].itemsize)
    header = _header(start)
    if header is None:
        return "not NIfTI"
    float_type = _FLOATS.get(int(header["datatype"]))
    shape = header["dim"][1 : 1 + int(header["dim"][0])].tolist()
    remaining = math.prod(shape) * int(header["bits"]) // 8
    file.seek(int(header["offset"]))
    finite = True
    while remaining > 0 and (chunk := file.read(min(_CHUNK, remaining))):
        remaining -= len(chunk)
        if float_type and len(chunk) % np.dtype(float_type).itemsize == 0:
            values = np.frombuffer(chunk, np.dtype(float_type).newbyteorder(header.dtype["bits"].byteorder))
            finite = finite and bool(np.isfinite(values).all())
    if remaining:
        return "incomplete"
    file.read(1)  # makes gzip check the checksum at the end
    return None if finite else "not finite"


def _header(start: bytes):
    for layout in _HEADERS:
        for order in "<>":
            if len(start) >= layout.itemsize:
                header = np.frombuffer(start[: layout.itemsize], layout.newbyteorder(order))[0]
                if header["header_size"] == layout.itemsize:
                    return header
    return None
