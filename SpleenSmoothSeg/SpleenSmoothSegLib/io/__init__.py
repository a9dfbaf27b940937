"""Reading and writing of images, labels, DICOM series and datasets, and atomic file output."""
