"""Sampling grids, resampling, and the axial slices that are the network's input."""
