"""A small dataset in Decathlon layout, cropped from the sample CT, for trainings of seconds."""

import json
from pathlib import Path

import SimpleITK as sitk

from locations import SAMPLE_DATA

SAMPLE = SAMPLE_DATA
CASES = ("a", "b", "c", "d")


def write_dataset(folder: Path, labels: dict | None = None) -> Path:
    """Write four stacks of a few slices in and around the sample's spleen as a Decathlon folder."""
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
    """CT and label of a stack of the sample of the size of a case of `write_dataset`; `number` selects the slices."""
    ct, label = (sitk.ReadImage(str(SAMPLE / name)) for name in ("ct.nii.gz", "spleen.nii.gz"))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(label)
    start = shape.GetBoundingBox(1)[2] + 5 * number
    return ct[:, :, start : start + 8], label[:, :, start : start + 8]


def edit_description(folder: Path, **changes) -> None:
    """Change fields of dataset.json."""
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
