"""Border smoothing, the paper's idea: kernels, and their effect on a label."""
