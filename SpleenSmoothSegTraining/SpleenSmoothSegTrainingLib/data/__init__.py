"""Datasets: find, check, slice and split labeled CTs, and make training samples."""
