"""Reading and writing: images, DICOM series, datasets, and files that appear whole or not at all."""
