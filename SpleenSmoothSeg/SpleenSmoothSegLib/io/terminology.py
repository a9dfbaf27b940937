"""Name, color and terminology of a spleen segment in Slicer."""

NAME = "Spleen"
COLOR = (157 / 255, 108 / 255, 162 / 255)
TERMINOLOGY = {
    "contextName": "Segmentation category and type - 3D Slicer General Anatomy list",
    "category": ["SCT", "123037004", "Anatomical Structure"],
    "type": ["SCT", "78961009", "Spleen"],
    "anatomicContextName": "Anatomic codes - DICOM master list",
}
