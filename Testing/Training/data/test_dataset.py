"""open_dataset: the layout of the Decathlon, as written by the Decathlon and by others."""

import json

import pytest
import SimpleITK as sitk

from locations import SHARED_DATA
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from training_data import CASES, edit_description, write_dataset

# The first lines of the Decathlon's own Task09_Spleen/dataset.json.
DECATHLON = {
    "name": "Spleen",
    "description": "Spleen Segmentation",
    "reference": "Memorial Sloan Kettering Cancer Center",
    "licence": "CC-BY-SA 4.0",
    "tensorImageSize": "3D",
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "spleen"},
}


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "Task é 09")


def test_open_dataset_reads_name_license_and_cases(folder):
    edit_description(folder, **DECATHLON)
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.description, dataset.license) == ("Spleen", "Spleen Segmentation", "CC-BY-SA 4.0")
    assert tuple(case.name for case in dataset.cases) == CASES
    assert dataset.cases[0].image == folder / "imagesTr" / "a.nii.gz"
    ct, label = dataset.cases[1].read()
    assert ct.GetSize() == label.GetSize() and sitk.GetArrayFromImage(label == dataset.cases[1].spleen).any()


def test_open_dataset_opens_the_shared_data():
    if not SHARED_DATA.is_dir():
        pytest.skip("needs Task09_SpleenOpen in ../shared/data")
    dataset = open_dataset(SHARED_DATA)
    assert dataset.name == "SpleenOpen" and len(dataset.cases) == 10
    assert dataset.cases[8].name == "spleen_9"
    ct, label = dataset.cases[8].read()
    assert sitk.GetArrayFromImage(label == 1).sum() * 27 / 1000 == pytest.approx(261, abs=1)


@pytest.mark.parametrize(
    ("labels", "segment", "value"),
    [
        ({"0": "background", "1": "spleen"}, None, 1),
        ({"background": 0, "spleen": 1}, None, 1),
        ({"background": 0, "liver": 1, "Spleen": 2}, None, 2),
        ({"0": "background", "6": "Milz", "7": "spleen"}, "milz", 6),
        ({"0": "background", "6": "Milz"}, "6", 6),
    ],
)
def test_label_value_of_the_spleen_is_found_in_all_notations(folder, labels, segment, value):
    edit_description(folder, labels=labels)
    assert open_dataset(folder, segment).cases[0].spleen == value


def test_hidden_files_of_macos_are_ignored(folder):
    training = json.loads((folder / "dataset.json").read_text())["training"]
    extra = {"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"}
    edit_description(folder, training=[extra, *training])
    (folder / "._dataset.json").write_bytes(b"\x00\x05\x16\x07")
    assert tuple(case.name for case in open_dataset(folder).cases) == CASES


def test_missing_fields_stay_empty(folder):
    edit_description(folder, name="")
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.description, dataset.license) == ("Task é 09", "4 labeled CTs", "")


def test_open_dataset_accepts_missing_files(folder):
    (folder / "labelsTr" / "b.nii.gz").unlink()
    assert len(open_dataset(folder).cases) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"0": "background", "1": "liver"}}, 'no label "spleen", only background, liver'),
        ({"labels": ["background", "spleen"]}, "does not describe"),
        ({"labels": {"spleen": "one"}}, "does not describe"),
        ({"training": []}, "no training cases"),
        ({"training": ["imagesTr/a.nii.gz"]}, "does not describe"),
        ({"training": [{"image": "a.nii.gz"}]}, "does not describe"),
        ({"training": [{"image": "a.nii.gz", "label": "b"}, {"image": "x/a.nrrd", "label": "c"}]}, "two cases"),
    ],
)
def test_invalid_description_raises_an_error(folder, changes, words):
    edit_description(folder, **changes)
    with pytest.raises(UserError, match=words) as caught:
        open_dataset(folder)
    assert str(folder / "dataset.json") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '"spleen"', "", "\xe9".encode("latin-1")])
def test_unreadable_description_raises_an_error(folder, content):
    path = folder / "dataset.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        open_dataset(folder)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["missing", "file"])
def test_missing_folder_or_file_raises_an_error(tmp_path, what):
    path = tmp_path / what
    if what == "file":
        path.write_text("no folder")
    with pytest.raises(UserError, match="does not exist" if what == "missing" else "is a file"):
        open_dataset(path)
