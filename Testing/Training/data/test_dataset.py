"""Opening a dataset: the Decathlon's layout, as the Decathlon and as others write it."""

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


def test_a_decathlon_folder_tells_name_license_and_cases(folder):
    edit_description(folder, **DECATHLON)
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.description, dataset.license) == ("Spleen", "Spleen Segmentation", "CC-BY-SA 4.0")
    assert tuple(case.name for case in dataset.cases) == CASES
    assert dataset.cases[0].image == folder / "imagesTr" / "a.nii.gz"
    ct, label = dataset.cases[1].read()
    assert ct.GetSize() == label.GetSize() and sitk.GetArrayFromImage(label == dataset.cases[1].spleen).any()


def test_the_shared_dataset_opens():
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
def test_the_label_is_found_however_it_is_written(folder, labels, segment, value):
    edit_description(folder, labels=labels)
    assert open_dataset(folder, segment).cases[0].spleen == value


def test_what_macos_leaves_behind_is_no_case(folder):
    training = json.loads((folder / "dataset.json").read_text())["training"]
    extra = {"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"}
    edit_description(folder, training=[extra, *training])
    (folder / "._dataset.json").write_bytes(b"\x00\x05\x16\x07")
    assert tuple(case.name for case in open_dataset(folder).cases) == CASES


def test_what_is_not_stated_is_not_made_up(folder):
    edit_description(folder, name="")
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.description, dataset.license) == ("Task é 09", "4 labeled CTs", "")


def test_files_that_are_missing_do_not_keep_it_from_opening(folder):
    (folder / "labelsTr" / "b.nii.gz").unlink()
    assert len(open_dataset(folder).cases) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"0": "background", "1": "liver"}}, 'no label "spleen" but background, liver'),
        ({"labels": ["background", "spleen"]}, "does not describe"),
        ({"labels": {"spleen": "one"}}, "does not describe"),
        ({"training": []}, "no training cases"),
        ({"training": ["imagesTr/a.nii.gz"]}, "does not describe"),
        ({"training": [{"image": "a.nii.gz"}]}, "does not describe"),
        ({"training": [{"image": "a.nii.gz", "label": "b"}, {"image": "x/a.nrrd", "label": "c"}]}, "two cases"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_in_one_sentence(folder, changes, words):
    edit_description(folder, **changes)
    with pytest.raises(UserError, match=words) as caught:
        open_dataset(folder)
    assert str(folder / "dataset.json") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '"spleen"', "", "\xe9".encode("latin-1")])
def test_a_garbled_description_is_refused_in_one_sentence(folder, content):
    path = folder / "dataset.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        open_dataset(folder)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["missing", "file"])
def test_a_dataset_is_a_folder_that_is_there(tmp_path, what):
    path = tmp_path / what
    if what == "file":
        path.write_text("no folder")
    with pytest.raises(UserError, match="does not exist" if what == "missing" else "is a file"):
        open_dataset(path)
