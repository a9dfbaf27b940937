"""Problems and warnings of labeled CTs in the report that precedes a training."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from inputs import cut_short, small_ct, write, write_dicom
from locations import SHARED_DATA
from phantoms import SPLEEN, ellipsoid
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.checks import CaseCheck, DatasetReport, check_case, check_images, report_on
from SpleenSmoothSegTrainingLib.data.dataset import Dataset, open_dataset
from training_data import edit_description, write_dataset

GRID = {"spacing": (6.0, 6.0, 6.0), "extent": (220.0, 190.0, 110.0)}  # of `small_ct`


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "Task")


@pytest.fixture
def case(folder):
    """A case without problems, the second of four."""
    return open_dataset(folder).cases[1]


def replace_label(case, change) -> None:
    """Change the voxels (slice, row, column) of the label's file."""
    label = sitk.ReadImage(str(case.label))
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(label)))
    changed.CopyInformation(label)
    write(changed, case.label)


def only(sentences) -> str:
    assert len(sentences) == 1, sentences
    assert "\n" not in sentences[0] and sentences[0].endswith(".")
    return sentences[0]


def check_dataset(dataset: Dataset) -> DatasetReport:
    return report_on(dataset, map(check_case, dataset.cases))


def test_report_of_valid_data_has_no_problems(folder):
    edit_description(folder, licence="CC0")
    report = check_dataset(open_dataset(folder))
    assert report.problems == ()
    report.raise_if_bad(folder / "report.txt")
    # The stacks truncate the spleen, and the first contains little more than its tip.
    assert ["reaches the edge" in warning or "17.3 mL" in warning for warning in report.warnings] == [True] * 5
    assert "Problems: none" in report.as_text()


def test_report_of_the_shared_data_has_no_problems():
    if not SHARED_DATA.is_dir():
        pytest.skip("needs Task09_SpleenOpen in ../shared/data")
    report = check_dataset(open_dataset(SHARED_DATA))
    assert report.problems == ()
    cut = [name for name in ("spleen_2", "spleen_9", "spleen_10") if f"{name}.nii.gz" in report.as_text()]
    assert cut == ["spleen_2", "spleen_9", "spleen_10"] and len(report.warnings) == 4  # and the license


# ---- problems


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no image"), "cannot be read"),
        (lambda path: cut_short(path), "damaged or incomplete"),
    ],
)
@pytest.mark.parametrize("kind", ["image", "label"])
def test_unreadable_file_is_a_problem(case, kind, damage, words):
    damage(getattr(case, kind))
    problem = only(check_case(case).problems)
    assert words in problem and str(getattr(case, kind)) in problem


def test_unreadable_ct_and_label_are_two_problems(case):
    case.image.unlink()
    cut_short(case.label)
    problems = check_case(case).problems
    assert [str(path) in problem for path, problem in zip((case.image, case.label), problems, strict=True)] == [
        True
    ] * 2


def test_image_without_hounsfield_units_is_a_problem(case):
    ct = sitk.ReadImage(str(case.image))
    write(sitk.Cast(sitk.Clamp(ct, lowerBound=0, upperBound=255), sitk.sitkUInt8), case.image)
    assert "does not look like a CT in Hounsfield units" in only(check_case(case).problems)


def test_label_on_another_grid_is_a_problem(case):
    write(sitk.ReadImage(str(case.label))[:, :, 1:], case.label)
    assert "different grids" in only(check_case(case).problems)


def test_label_without_spleen_is_a_problem(case):
    replace_label(case, lambda voxels: voxels * 2)
    assert "has no spleen (value 1)" in only(check_case(case).problems)


def test_label_with_fractional_values_is_a_problem(case):
    replace_label(case, lambda voxels: voxels.astype(np.float32) / 3)
    assert "fractional values" in only(check_case(case).problems)


@pytest.mark.parametrize("axis", [1, 2])
def test_label_in_air_or_lung_is_a_problem(case, axis):
    replace_label(case, lambda voxels: np.roll(voxels, 30, axis))
    assert "which is not a spleen" in only(check_case(case).problems)


@pytest.mark.parametrize("values", [[1], [1, 2]])
def test_labelmap_with_several_values_and_none_chosen_is_a_problem(tmp_path, values):
    voxels = sitk.GetArrayFromImage(ellipsoid(**SPLEEN, **GRID))
    voxels[0, :3, : len(values)] = values
    label = sitk.GetImageFromArray(voxels)
    label.CopyInformation(small_ct())
    write(small_ct(), tmp_path / "p" / "ct.nrrd")
    write(label, tmp_path / "p" / "label.nrrd")
    (case,) = open_dataset(tmp_path).cases
    problems = check_case(case).problems
    assert problems == () if len(values) == 1 else "2 values besides 0 (1, 2)" in only(problems)


def test_same_ct_with_two_names_and_pixel_types_is_a_problem(folder):
    ct = sitk.ReadImage(str(folder / "imagesTr" / "b.nii.gz"))
    write(sitk.Cast(ct, sitk.sitkFloat32), folder / "imagesTr" / "c.nii.gz")
    shutil.copy(folder / "labelsTr" / "b.nii.gz", folder / "labelsTr" / "c.nii.gz")
    problem = only(check_dataset(open_dataset(folder)).problems)
    assert problem == 'Cases "b" and "c" have the same CT; remove all but one.'


def test_same_label_on_two_cts_is_a_problem(folder):
    source = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "b.nii.gz")))
    replace_label(open_dataset(folder).cases[2], lambda voxels: source)
    assert 'Cases "b" and "c" have the same label' in only(check_dataset(open_dataset(folder)).problems)


def test_empty_labels_are_not_reported_as_equal(folder):
    for case in open_dataset(folder).cases[:2]:
        replace_label(case, lambda voxels: voxels * 0)
    problems = check_dataset(open_dataset(folder)).problems
    assert len(problems) == 2 and all("has no spleen" in problem for problem in problems)


def test_names_that_differ_only_in_case_are_a_problem(folder):
    dataset = open_dataset(folder)
    checks = [CaseCheck("CT1"), CaseCheck("ct2"), CaseCheck("ct1")]
    assert only(report_on(dataset, checks).problems) == 'Cases "CT1" and "ct1" have the same name; rename one of them.'


# ---- warnings


def blob(radius_mm: float, center=SPLEEN["center"]) -> sitk.Image:
    """A label on the grid of `small_ct`: a ball, by default in the spleen."""
    return ellipsoid(center, (radius_mm,) * 3, **GRID)


def trunk_case(folder, label: sitk.Image):
    """A case of a CT of a trunk and a label on its grid."""
    write(small_ct(), folder / "a.nrrd")
    write(label, folder / "a_label.nrrd")
    (case,) = open_dataset(folder).cases
    return case


def test_spleen_of_usual_volume_has_no_warning(tmp_path):
    check = check_case(trunk_case(tmp_path, blob(25)))
    assert (check.problems, check.warnings) == ((), ())


@pytest.mark.parametrize(("radius_mm", "warns"), [(18, True), (21, False), (200, True)])
def test_spleen_of_unusual_volume_has_a_warning(tmp_path, radius_mm, warns):
    warnings = check_case(trunk_case(tmp_path, blob(radius_mm))).warnings
    assert any("mL, which is unusual" in warning for warning in warnings) == warns


def test_separate_parts_have_a_warning(tmp_path):
    label = blob(25) | blob(8, center=(-50.0, 0.0, 0.0))
    warning = only(check_case(trunk_case(tmp_path, label)).warnings)
    assert "has 2 separate parts" in warning and "% of it outside the largest" in warning


def test_label_at_the_edge_of_the_ct_has_a_warning(tmp_path):
    label = blob(25, center=(52.0, 30.0, 50.0))
    assert "reaches the edge" in only(check_case(trunk_case(tmp_path, label)).warnings)


def test_unknown_license_has_a_warning(folder):
    assert "The license" in check_dataset(open_dataset(folder)).warnings[-1]
    edit_description(folder, licence="CC-BY-SA 4.0")
    assert not any("The license" in warning for warning in check_dataset(open_dataset(folder)).warnings)


def test_gap_in_a_dicom_series_has_a_warning(tmp_path):
    write_dicom(small_ct(spacing=(6.0, 6.0, 3.0)), tmp_path / "p" / "dicom", leave_out=[10, 11])
    write(ellipsoid(**SPLEEN, **{**GRID, "spacing": (6.0, 6.0, 3.0)}), tmp_path / "p" / "label.nrrd")
    (case,) = open_dataset(tmp_path).cases
    check = check_case(case)
    assert not check.problems and "interpolated" in check.warnings[0]


# ---- the report


def test_report_lists_all_problems_of_all_cases(folder):
    dataset = open_dataset(folder)
    dataset.cases[0].image.unlink()
    replace_label(dataset.cases[1], lambda voxels: voxels * 0)
    replace_label(dataset.cases[3], lambda voxels: np.roll(voxels, 30, 2))
    report = check_dataset(dataset)
    assert len(report.problems) == 3
    text = report.as_text()
    assert text.startswith(f"Small: 4 labeled CTs in {folder}\n") and "Problems: 3" in text
    assert all(f"- {sentence}\n" in text for sentence in (*report.problems, *report.warnings))
    with pytest.raises(UserError) as caught:
        report.raise_if_bad(folder / "report.txt")
    assert str(caught.value) == (
        f'The dataset "{folder}" has 3 problems, listed in "{folder / "report.txt"}"; '
        f"the first one: {report.problems[0]}"
    )


def test_check_case_uses_the_given_read_function_once(case):
    kept = []

    def read(case, warn):
        warn("A gap was interpolated.")
        kept.append(case.read())
        return kept[0]

    check = check_case(case, read)
    assert len(kept) == 1 and check.warnings[0] == "A gap was interpolated."
    assert check_images(case, *kept[0]).label_digest == check.label_digest != ""
