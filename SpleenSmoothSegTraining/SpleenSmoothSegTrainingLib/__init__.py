"""Training of SpleenSmoothSeg: the published two-phase, five-fold recipe. No Qt and no ``slicer`` anywhere."""
