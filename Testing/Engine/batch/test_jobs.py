"""Planning of jobs: CTs and their outputs, checked before any work."""

import os
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from inputs import LOCALIZER, everything_in, small_ct, small_disk, write_dicom
from SpleenSmoothSegLib.batch.jobs import Job, OutputOptions, find_cts, plan_jobs
from SpleenSmoothSegLib.errors import UserError


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return small_ct()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def touch(*names: str) -> list[Path]:
    """Empty files; only their names matter."""
    paths = [Path(name) for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def segmentations(jobs: list[Job]) -> list[str]:
    return [str(job.segmentation) for job in jobs]


def refusal(*given: str, output: str = "out", label: Path | None = None, **options) -> str:
    before = everything_in(Path())
    with pytest.raises(UserError) as refused:
        plan_jobs([Path(name) for name in given], Path(output), label, OutputOptions(**options))
    assert everything_in(Path()) == before
    return str(refused.value)


# ---- output files


def test_outputs_in_a_folder_are_named_after_the_ct(place):
    (job,) = plan_jobs(touch("a/ct.nii.gz"), Path("out"), options=OutputOptions(probability=True, uncertainty_map=True))
    assert [str(path) for path in job.outputs] == [
        os.path.join("out", name)
        for name in (
            "ct_spleen.seg.nrrd",
            "ct_spleen.png",
            "ct_spleen_probability.nii.gz",
            "ct_spleen_uncertainty.nii.gz",
        )
    ]
    assert everything_in(place) == ["a", "a/ct.nii.gz"]


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".SEG.NRRD"])
def test_output_with_image_suffix_is_a_file(place, suffix):
    (job,) = plan_jobs(
        touch("ct.nii.gz"), Path(f"mine{suffix}"), options=OutputOptions(probability=True, uncertainty_map=True)
    )
    assert [str(path) for path in job.outputs] == [
        f"mine{suffix}",
        "mine.png",
        "mine_probability.nii.gz",
        "mine_uncertainty.nii.gz",
    ]


@pytest.mark.parametrize("output", ["results", "results.2024", "spleen.png", "already.nii.gz"])
def test_output_without_image_suffix_is_a_folder(place, output):
    Path("already.nii.gz").mkdir()
    (job,) = plan_jobs(touch("ct.nii.gz"), Path(output))
    assert job.segmentation == Path(output, "ct_spleen.seg.nrrd")


def test_uncompressed_maps_are_nrrd(place):
    (job,) = plan_jobs(
        touch("ct.nii.gz"), Path("mine.nii.gz"), options=OutputOptions(False, True, True, compressed=False)
    )
    assert [str(path) for path in job.outputs] == ["mine.nii.gz", "mine_probability.nrrd", "mine_uncertainty.nrrd"]


def test_job_without_overlay_and_maps_has_one_output(place):
    (job,) = plan_jobs(touch("ct.nii.gz"), Path("out"), options=OutputOptions(overlay=False))
    assert job.outputs == [Path("out", "ct_spleen.seg.nrrd")]


def test_cts_with_the_same_name_are_prefixed_with_their_folders(place):
    jobs = plan_jobs(touch("p1/x/ct.nii.gz", "p2/x/ct.nii.gz", "p2/y/ct.nii.gz", "other.nrrd"), Path())
    assert segmentations(jobs) == [f"{name}_spleen.seg.nrrd" for name in ("p1_x_ct", "p2_x_ct", "y_ct", "other")]


def test_names_that_differ_only_in_case_count_as_equal(place):
    jobs = plan_jobs(touch("a/CT.nii.gz", "b/ct.nii.gz"), Path())
    assert segmentations(jobs) == ["a_CT_spleen.seg.nrrd", "b_ct_spleen.seg.nrrd"]


def test_ct_given_twice_has_one_job(place):
    touch("a/ct.nii.gz")
    jobs = plan_jobs([Path("a/ct.nii.gz"), Path("a"), Path("a/../a/ct.nii.gz"), place / "a" / "ct.nii.gz"], Path())
    assert segmentations(jobs) == ["ct_spleen.seg.nrrd"]


def test_cts_with_the_same_outputs_raise_user_error(place):
    touch("a/ct.nii.gz", "a/ct.nrrd")
    assert "would have the same output files as another CT" in refusal("a/ct.nii.gz", "a/ct.nrrd")


# ---- CTs


def test_folder_of_cts_lists_images_by_name(place):
    touch("cts/b.nii.gz", "cts/a.nrrd", "cts/c.mha", "cts/notes.txt", "cts/deeper/d.nii.gz")
    assert [path.name for path in find_cts(Path("cts"))] == ["a.nrrd", "b.nii.gz", "c.mha"]


@pytest.mark.parametrize("compressed", [True, False])
def test_hidden_files_and_outputs_are_skipped(place, compressed):
    touch("cts/._ct.nii.gz", "cts/.a1b2-ct.nii.gz", "cts/ct.nii.gz")
    first = plan_jobs(
        [Path("cts")], Path("cts"), options=OutputOptions(probability=True, uncertainty_map=True, compressed=compressed)
    )
    touch(*(str(path) for job in first for path in job.outputs))
    assert find_cts(Path("cts")) == [Path("cts/ct.nii.gz")]


def test_dicom_ct_is_named_after_the_given_folder(place, ct):
    write_dicom(ct[:, :, :2], Path("patient 7/DICOM/ST0/SE0"))
    (job,) = plan_jobs([Path("patient 7")], Path())
    assert job.ct == Path("patient 7/DICOM/ST0/SE0")
    assert segmentations([job]) == ["patient 7_spleen.seg.nrrd"]
    assert job.title == "patient 7"


def test_dicom_series_in_subfolders_are_separate_cts(place, ct):
    for series, folder in enumerate(("SE1", "SE0", "scout")):
        write_dicom(ct[:, :, :2], Path("study") / folder, series=series, image_type=LOCALIZER if series == 2 else "")
    touch("study/ct.nii.gz")
    jobs = plan_jobs([Path("study")], Path())
    assert segmentations(jobs) == [f"{name}_spleen.seg.nrrd" for name in ("ct", "study_SE0", "study_SE1")]


def test_dicom_folders_of_the_same_layout_get_unique_names(place, ct):
    for patient in ("p1", "p2"):
        write_dicom(ct[:, :, :2], Path(patient) / "CT")
    jobs = plan_jobs([Path("p1/CT"), Path("p2/CT")], Path())
    assert segmentations(jobs) == ["p1_CT_spleen.seg.nrrd", "p2_CT_spleen.seg.nrrd"]


def test_ct_in_the_working_folder_is_named_after_it(place, ct):
    write_dicom(ct[:, :, :2], place)
    (job,) = plan_jobs([Path(".")], Path("out"))
    assert job.segmentation == Path("out", "place_spleen.seg.nrrd")


# ---- errors before any work


def test_missing_inputs_raise_user_error(place):
    touch("ct.nii.gz")
    assert refusal("ct.nii.gz", "missing.nii.gz") == '"missing.nii.gz" does not exist; check the path.'
    assert refusal("ct.nii.gz", label=Path("label.nrrd")) == '"label.nrrd" does not exist; check the path.'


def test_several_cts_with_one_file_or_label_raise_user_error(place):
    touch("a.nii.gz", "b.nii.gz")
    assert refusal("a.nii.gz", "b.nii.gz", output="x.nii.gz").startswith("2 CTs were given; give a folder after -o")
    assert "no --label" in refusal("a.nii.gz", "b.nii.gz", label=Path("a.nii.gz"))


@pytest.mark.parametrize("name", ["out.mhd", "out.nhdr", "out.NII.GZ"])
def test_unsupported_output_format_raises_user_error(place, name):
    touch("ct.nii.gz")
    assert "has an unsupported suffix; use .seg.nrrd or .nii.gz." in refusal("ct.nii.gz", output=name)


@pytest.mark.parametrize("overwrite", [False, True])
def test_output_that_would_replace_an_input_raises_user_error(place, overwrite):
    touch("ct.nii.gz", "label.nii.gz")
    Path("link").symlink_to(place)
    for output in ("ct.nii.gz", "label.nii.gz", "link/ct.nii.gz"):
        words = refusal("ct.nii.gz", output=output, label=Path("label.nii.gz"), overwrite=overwrite)
        assert "which is an input; give another name after -o." in words


def test_existing_files_are_replaced_only_with_overwrite(place):
    touch("ct.nii.gz", "out/ct_spleen.png")
    assert refusal("ct.nii.gz").startswith(f'"{Path("out", "ct_spleen.png")}" already exists; add --overwrite')
    assert len(plan_jobs([Path("ct.nii.gz")], Path("out"), options=OutputOptions(overwrite=True))) == 1


def test_output_that_is_a_folder_raises_user_error(place):
    touch("ct.nii.gz", "out/ct_spleen.png/precious")
    assert "is a folder; give another name after -o." in refusal("ct.nii.gz", overwrite=True)


@pytest.mark.parametrize("output", ["file", "file/deeper", "file/mine.nii.gz"])
def test_file_in_place_of_the_output_folder_raises_user_error(place, output):
    touch("ct.nii.gz", "file")
    assert '"file" is a file, not a folder' in refusal("ct.nii.gz", output=output)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_too_long_output_name_raises_user_error(place):
    touch("n" * 248 + ".nrrd")
    assert "cannot be written (file name too long)" in refusal("n" * 248 + ".nrrd")


def test_read_only_disk_raises_user_error(place):
    touch("ct.nii.gz")
    with small_disk(place / "disk", "ro"):
        for output in ("disk", "disk/deeper/still", "disk/mine.nii.gz"):
            assert '"disk" cannot be written (read-only file system)' in refusal("ct.nii.gz", output=output)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="has no /proc")
def test_unwritable_folder_raises_user_error(place):
    touch("ct.nii.gz")
    assert '"/proc" cannot be written' in refusal("ct.nii.gz", output="/proc/spleen")


def test_full_disk_raises_user_error_before_any_work(place):
    touch("ct.nii.gz")
    with small_disk(place / "disk", "size=4k") as disk:
        (disk / "large").write_bytes(b"x" * 4096)
        assert '"disk" cannot be written (no space left on device)' in refusal("ct.nii.gz", output="disk")
