"""Measures of a mask, and of a mask against a label: overlap, shape, surface distances."""
