"""segment.py --scheduler: CTs segmented in parallel, invalid files, dying processes, and resuming."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import segment
import SimpleITK as sitk

from inputs import cut_short, everything_in, small_ct, small_disk, write, write_dicom
from locations import REPOSITORY
from SpleenSmoothSegLib.batch import study
from SpleenSmoothSegLib.batch.jobs import Job, OutputOptions, plan_jobs
from SpleenSmoothSegLib.batch.runner import Settings
from SpleenSmoothSegLib.batch.study import (
    Segmented,
    Study,
    StudyTask,
    config_sha256_of,
    digest_of,
    segment_one,
    segment_study,
)
from SpleenSmoothSegLib.batch.studytable import StudyTable
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid

SCRIPT = REPOSITORY / "SpleenSmoothSeg" / "CommandLine" / "segment.py"
GOOD = ("a", "b", "c", "d", "cts_dicom")
BAD = {"empty": "is empty", "text": "cannot be read", "truncated": "is damaged or incomplete"}


def folder_of_cts(folder: Path) -> Path:
    """Five CTs, one of them as DICOM files, and three invalid files."""
    for name in GOOD[:-1]:
        write(small_ct(), folder / f"{name}.nii.gz")
    write_dicom(small_ct(), folder / "dicom")
    (folder / "empty.nii.gz").touch()
    (folder / "text.nrrd").write_text("hello")
    cut_short(write(small_ct(), folder / "truncated.nii.gz"))
    return folder


def lines_of(table: Path) -> list[dict]:
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def state_of(table: Path) -> dict[str, str]:
    return {Path(line["ct"]).name: line["state"] for line in lines_of(table)}


def settings_of(model: Path) -> Settings:
    return Settings(model, "cpu")


@pytest.fixture(scope="module")
def first(tmp_path_factory, pristine_model_folder):
    """A study by two processes, one of which is killed while it reads a CT; then the same study again."""
    folder = tmp_path_factory.mktemp("study")
    cts, out = folder_of_cts(folder / "cts"), folder / "out"
    killed, loads, tables = [], Counter(), []

    def on_event(job: Job, event: dict) -> None:
        if event["event"] != "step":
            tables.append(StudyTable(out).rows())
            return
        if event["step"] == "Loading the ensemble":
            loads[event["worker"]] += 1
        if event["step"] == "Predicting" and job.title == "c.nii.gz" and not killed:
            killed.append(event["worker"])
            os.kill(int(event["worker"].split(":")[1]), signal.SIGKILL)

    jobs = plan_jobs([cts], out, options=OutputOptions(overlay=False))
    settings = settings_of(pristine_model_folder)
    counts = segment_study(Study(jobs, settings, StudyTable(out)), "local:2", on_event)
    lines = lines_of(out / "results.csv")
    again = []
    second = segment_study(
        Study(jobs, settings, StudyTable(out)), "local:1", lambda job, event: again.append((job, event))
    )
    return SimpleNamespace(**locals())


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
class TestStudyWithKilledWorkerAndInvalidFiles:
    def test_every_valid_ct_is_segmented_including_that_of_the_killed_worker(self, first):
        assert first.killed
        assert everything_in(first.out) == sorted(["results.csv", *(f"{name}_spleen.seg.nrrd" for name in GOOD)])
        for name in GOOD[:-1]:
            mask = sitk.ReadImage(str(first.out / f"{name}_spleen.seg.nrrd"))
            assert same_grid(mask, sitk.ReadImage(str(first.cts / f"{name}.nii.gz")))
        assert (first.counts.done, first.counts.already_done, first.counts.failed) == (5, 0, 3)

    def test_table_has_one_line_per_ct_with_measures_or_error(self, first):
        good = {name: "done" for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz", "dicom")}
        bad = {name: "failed" for name in ("empty.nii.gz", "text.nrrd", "truncated.nii.gz")}
        assert state_of(first.out / "results.csv") == good | bad
        for line in first.lines:
            name = Path(line["ct"]).name.split(".")[0]
            if line["state"] == "failed":
                assert BAD[name] in line["message"] and line["message"].endswith(".")
                assert line["volume_ml"] == ""
            else:
                assert line["message"] == ""
                assert float(line["volume_ml"]) >= 0 and len(line["fold_volumes_ml"].split()) == 2
                assert float(line["seconds"]) > 0 and len(line["ct_sha256"]) == 64

    def test_each_result_is_in_the_table_when_it_is_reported(self, first):
        assert [len(rows) for rows in first.tables] == list(range(1, 9))

    def test_networks_are_loaded_once_per_worker(self, first):
        workers = {line["worker"] for line in first.lines if line["worker"]}
        assert set(first.loads.values()) == {1}
        assert workers | set(first.killed) == set(first.loads)

    def test_second_run_repeats_only_failed_cts(self, first):
        assert (first.second.done, first.second.already_done, first.second.failed) == (5, 5, 3)
        kinds = Counter(event["event"] for _, event in first.again)
        assert kinds["result"] == 0 and kinds["already_done"] == 5 and kinds["error"] == 3
        assert lines_of(first.out / "results.csv") == first.lines


# ---- repeated CTs


@pytest.fixture
def one(tmp_path, pristine_model_folder):
    """Segments a CT like a worker; returns the result or None."""
    ct = write(small_ct(), tmp_path / "ct.nii.gz")
    table = StudyTable(tmp_path / "out")

    planned = []

    def do(settings: Settings | None = None, plan: bool = True, **files) -> Segmented | None:
        settings = settings or settings_of(pristine_model_folder)
        if plan:
            planned[:] = plan_jobs(
                [ct], tmp_path / "out", options=OutputOptions(overlay=False, overwrite=True, **files)
            )
        (job,) = planned
        config = config_sha256_of(settings)
        before = study._done_sha256(table.rows().get(str(ct)), config)
        done = segment_one(StudyTask(job, settings, config, before), lambda event: None)
        if done:
            facts = {"worker": done.worker, "ct_sha256": done.ct_sha256, "config_sha256": config}
            table.add_done(job, done.result, facts)
        return done

    do.ct, do.out = ct, tmp_path / "out"
    assert do()
    assert do() is None, "it is there already"
    return do


def test_changed_ct_is_segmented_again(one):
    write(small_ct(center=(3, 0, 0)), one.ct)
    assert one()
    assert one() is None


def test_missing_mask_is_segmented_again(one):
    (one.out / "ct_spleen.seg.nrrd").unlink()
    assert one()


def test_additional_output_is_segmented_again(one):
    assert one(probability=True)
    assert (one.out / "ct_spleen_probability.nii.gz").is_file()


def test_other_model_or_settings_segment_again(one, pristine_model_folder, model_folder):
    card = json.loads((model_folder / "model.json").read_text())
    (model_folder / "model.json").write_text(json.dumps(card | {"threshold": 0.4}))
    assert one(settings_of(model_folder))
    assert one(Settings(pristine_model_folder, "cpu", largest_component=False))
    assert one(Settings(pristine_model_folder, "cpu", exhaustive=True))


def digest(ct: Path) -> str:
    return digest_of(Job(ct, ct.name, ct / "spleen.nrrd" if ct.is_dir() else ct.with_name("spleen.nrrd")))


def test_digest_of_dicom_folder_depends_on_its_files_but_not_on_outputs(tmp_path):
    write_dicom(small_ct(), tmp_path / "dicom")
    before = digest(tmp_path / "dicom")
    assert digest(Path(shutil.copytree(tmp_path / "dicom", tmp_path / "copy"))) == before
    for name in ("spleen.nrrd", "results.csv", ".half-written"):
        (tmp_path / "dicom" / name).touch()
    assert digest(tmp_path / "dicom") == before
    next((tmp_path / "dicom").glob("*.dcm")).unlink()
    assert digest(tmp_path / "dicom") not in (before, "")


def test_digest_of_header_file_depends_on_its_voxels(tmp_path):
    write(small_ct(), tmp_path / "ct.mhd")
    (voxels,) = tmp_path.glob("ct.*raw")
    before = digest(tmp_path / "ct.mhd")
    voxels.write_bytes(voxels.read_bytes()[::-1])
    assert digest(tmp_path / "ct.mhd") != before


def test_unreadable_ct_does_not_count_as_done(one):
    one.ct.unlink()
    with pytest.raises(UserError, match="does not exist"):
        one(plan=False)
    assert digest(one.ct) == ""


# ---- the table


def test_incomplete_line_is_ignored_and_the_next_one_is_complete(tmp_path):
    table = StudyTable(tmp_path)
    for ct in ("b", "a"):
        table.add({"ct": ct, "state": "done", "volume_ml": 1.5})
    whole = table.path.read_bytes()
    table.path.write_bytes(whole[:-12])
    assert set(table.rows()) == {"b"}
    table.add({"ct": "c", "state": "failed", "message": 'The "header" is damaged, it seems.'})
    assert set(table.rows()) == {"b", "c"}
    assert table.rows()["c"]["message"] == 'The "header" is damaged, it seems.'
    table.path.write_bytes(table.path.read_bytes()[:-20])  # within a quoted message
    for ct in ("d", "e"):
        table.add({"ct": ct, "state": "failed", "message": 'The "header" is damaged.'})
    assert set(table.rows()) == {"b", "d", "e"}
    table.add({"ct": "c", "state": "done"})
    for ct in ("d", "e"):
        table.add({"ct": ct, "state": "done"})
    table.tidy()
    assert [(line["ct"], line["state"]) for line in lines_of(table.path)] == [(ct, "done") for ct in "bcde"]


@pytest.mark.parametrize("content", [b"ct,volume\r\n", b"\xff\xfe\x00", b"mine\n"])
def test_another_csv_file_raises_user_error_and_is_unchanged(tmp_path, content):
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(
        UserError, match="is not a table of this program, or was saved .* choose another folder after -o.$"
    ):
        StudyTable(tmp_path)
    assert (tmp_path / "results.csv").read_bytes() == content


def test_full_disk_returns_the_problem_and_keeps_existing_lines(tmp_path):
    with small_disk(tmp_path / "disk", "size=16k") as disk:
        table = StudyTable(disk)
        problems = [table.add({"ct": f"{number}", "state": "failed", "message": "x" * 100}) for number in range(200)]
        first = next(number for number, sentence in enumerate(problems) if sentence)
        assert first > 0 and not any(problems[:first]) and "no space left on device" in problems[first]
        rows = table.rows()
        assert len(rows) in (first, first - 1)
        with pytest.raises(UserError, match="cannot be written .*; close it in other programs, or free up disk space"):
            table.tidy()
        assert len(table.rows()) >= len(rows)


def test_lines_that_could_not_be_written_are_written_later(tmp_path):
    table = StudyTable(tmp_path)
    assert table.add({"ct": "a", "state": "done"}) == ""
    table.path.rename(tmp_path / "temporary")
    table.path.mkdir()  # like a program that keeps the file open
    assert "cannot be written" in table.add({"ct": "b", "state": "done"})
    table.path.rmdir()
    (tmp_path / "temporary").rename(table.path)
    assert table.add({"ct": "c", "state": "done"}) == ""
    assert list(table.rows()) == ["a", "b", "c"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_table_saved_by_a_spreadsheet_is_accepted(tmp_path, encoding):
    table = StudyTable(tmp_path)
    for number in range(200):
        table.add({"ct": f"é{number}", "state": "done"})
    table.path.write_bytes(table.path.read_bytes().decode().encode(encoding))
    assert len(StudyTable(tmp_path).rows()) == 200


# ---- the command line


@pytest.fixture
def run(tmp_path, pristine_model_folder, capfd, monkeypatch):
    """Runs segment.py with a small model in a separate folder; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def main(*arguments: object, model: Path = pristine_model_folder) -> tuple[int, str, str]:
        capfd.readouterr()
        code = segment.main(["--model", str(model), "--device", "cpu", *map(str, arguments)])
        return code, *capfd.readouterr()

    return main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cts", "-o", "out", "--scheduler", "slurm"], "is not a scheduler; give local, local:4"),
        (["cts", "-o", "spleen.seg.nrrd", "--scheduler", "local"], "A study has many CTs; give a folder after -o"),
        (["cts", "-o", "out", "--label", "l.nrrd", "--scheduler", "local"], "A study has many CTs"),
        (["-o", "out", "--scheduler", "local"], "A study needs CTs; give a folder of CTs"),
        (["none", "-o", "out", "--scheduler", "local"], "does not exist"),
        (["cts", "-o", "out", "--stay"], "--stay is for a parent process; add --child"),
        (["cts", "-o", "foreign", "--scheduler", "local"], "is not a table of this program"),
        (["cts", "-o", "full", "--scheduler", "local"], "already exists; add --overwrite"),
        (["cts", "-o", "out", "--scheduler", "tcp://127.0.0.1:9"], "No dask scheduler answers"),
    ],
)
def test_invalid_arguments_are_reported_before_loading(run, tmp_path, monkeypatch, arguments, words):
    from SpleenSmoothSegLib.batch import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    write(small_ct(), tmp_path / "cts" / "ct.nii.gz")
    write(small_ct(), tmp_path / "full" / "ct_spleen.seg.nrrd")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "results.csv").write_text("mine\n")
    before = everything_in(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert words in err and err.count("\n") == 1
    assert everything_in(tmp_path) == before


@pytest.mark.slow
def test_folders_with_cts_of_the_same_names_do_not_share_results(run, tmp_path):
    for folder in ("one", "two"):
        write(small_ct(), tmp_path / folder / "ct.nii.gz")
    assert run("one", "-o", "out.v2", "--no-overlay", "--scheduler", "local:1")[0] == 0
    before = (tmp_path / "out.v2" / "ct_spleen.seg.nrrd").read_bytes()
    code, out, err = run("two", "-o", "out.v2", "--no-overlay", "--scheduler", "local:1")
    assert (code, out) == (1, "")
    result, one, two = (tmp_path / name for name in ("out.v2/ct_spleen.seg.nrrd", "one/ct.nii.gz", "two/ct.nii.gz"))
    assert err == f'"{result}" is the segmentation of "{one}"; choose another folder after -o for "{two}".\n'
    assert (tmp_path / "out.v2" / "ct_spleen.seg.nrrd").read_bytes() == before
    code, out, _ = run("two/../one", "-o", "out.v2", "--no-overlay", "--scheduler", "local:1", "--json")
    assert json.loads(out.splitlines()[-1])["already_done"] == 1, "the same folder by another path"
    code, out, _ = run("one", "-o", "out.v2", "--no-overlay", "--scheduler", "local:1", "--json", "--overwrite")
    assert json.loads(out.splitlines()[-1])["already_done"] == 0


def test_model_that_cannot_be_loaded_stops_the_study_with_one_sentence(run, tmp_path, model_folder):
    (model_folder / "fold_1.safetensors").unlink()
    for name in ("a", "b", "c"):
        write(small_ct(), tmp_path / "cts" / f"{name}.nii.gz")
    code, out, err = run("cts", "-o", "out", "--scheduler", "local:1", model=model_folder)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert 'lacks its fold "fold_1.safetensors"' in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_console_prints_each_ct_and_a_summary(run, tmp_path):
    write(small_ct(), tmp_path / "cts" / "a.nii.gz")
    (tmp_path / "cts" / "b.nii.gz").touch()
    code, out, err = run("cts", "-o", "out", "--no-overlay", "--scheduler", "local:1")
    assert code == 1
    assert err == f'"{tmp_path}/cts/b.nii.gz" is empty; copy or export it again.\n'
    first, second, last = out.splitlines()
    assert first.startswith(f"{tmp_path}/cts/a.nii.gz: ")
    assert second == f"  segmentation: {tmp_path}/out/a_spleen.seg.nrrd"
    assert last == f"Segmented: 1 of 2 CTs, 1 failed; {tmp_path}/out/results.csv"
    write(small_ct(), tmp_path / "cts" / "b.nii.gz")
    code, out, err = run("cts", "-o", "out", "--no-overlay", "--scheduler", "local:1", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert events[-1] == {
        "event": "study",
        "done": 2,
        "already_done": 1,
        "failed": 0,
        "table": str(tmp_path / "out" / "results.csv"),
    }
    assert [event["step"] for event in events if event["event"] == "progress"] == [f"{n} of 2 CTs" for n in range(3)]


@pytest.mark.slow
def test_study_runs_on_workers_started_in_another_folder(run, tmp_path, address):
    write(small_ct(), tmp_path / "cts" / "a.nii.gz")
    code, out, err = run("cts", "-o", "out", "--no-overlay", "--scheduler", address)
    assert (code, err) == (0, "")
    assert everything_in(tmp_path / "out") == ["a_spleen.seg.nrrd", "results.csv"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_keeps_completed_results_and_the_next_run_resumes(run, tmp_path, pristine_model_folder):
    for number in range(12):
        write(small_ct(), tmp_path / "cts" / f"{number}.nii.gz")
    command = [sys.executable, str(SCRIPT), "cts", "-o", "out", "--no-overlay", "--json", "--scheduler", "local:1"]
    command += ["--model", str(pristine_model_folder), "--device", "cpu"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes) as process:
        for line in process.stdout:
            if json.loads(line)["event"] == "result":
                os.killpg(process.pid, signal.SIGINT)
                break
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Canceled; no partial files are left.\n")
    done = len(lines_of(tmp_path / "out" / "results.csv"))
    masks = [name for name in everything_in(tmp_path / "out") if name != "results.csv"]
    assert 0 < done < 12 and all(name.endswith("_spleen.seg.nrrd") for name in masks)
    code, out, err = run("cts", "-o", "out", "--no-overlay", "--json", "--scheduler", "local:1")
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["already_done"] == done
