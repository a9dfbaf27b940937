"""Labeled CTs: found, checked, cut into slices, split, and made into training samples."""
