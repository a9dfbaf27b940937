"""The engine of SpleenSmoothSeg: no Qt anywhere, and ``slicer`` only in ``mrml.py``."""

__version__ = "0.1.0"
