"""Border smoothing, the paper's idea: the kernels, and what each does to a label."""
