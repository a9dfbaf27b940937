"""Sampling grids, resampling, and the axial slices that the network sees."""
