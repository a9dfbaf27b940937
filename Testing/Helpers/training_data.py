"""A small dataset in Decathlon layout, cut from the sample CT, on which a training takes seconds."""

import json
from pathlib import Path

import SimpleITK as sitk

from locations import SAMPLE_DATA

SAMPLE = SAMPLE_DATA
CASES = ("a", "b", "c", "d")


def write_dataset(folder: Path, labels: dict | None = None) -> Path:
    """Four stacks of a few slices through the sample's spleen and beyond, as a Decathlon folder."""
    ct, label = (sitk.ReadImage(str(SAMPLE / name)) for name in ("ct.nii.gz", "spleen.nii.gz"))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(label)
    lowest, slices = shape.GetBoundingBox(1)[2], shape.GetBoundingBox(1)[5]
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    for number, name in enumerate(CASES):
        start = lowest - 2 + number * slices // len(CASES)
        for kind, image in (("imagesTr", ct), ("labelsTr", label)):
            sitk.WriteImage(image[:, :, start : start + 8], str(folder / kind / f"{name}.nii.gz"))
    description = {
        "name": "Small",
        "labels": labels or {"0": "background", "1": "spleen"},
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in CASES],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def sample_stack(number: int = 0) -> tuple[sitk.Image, sitk.Image]:
    """CT and label of as many slices of the sample as a case of `write_dataset` has, other ones for each number."""
    ct, label = (sitk.ReadImage(str(SAMPLE / name)) for name in ("ct.nii.gz", "spleen.nii.gz"))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(label)
    start = shape.GetBoundingBox(1)[2] + 5 * number
    return ct[:, :, start : start + 8], label[:, :, start : start + 8]


def edit_description(folder: Path, **changes) -> None:
    """Change what dataset.json says."""
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
