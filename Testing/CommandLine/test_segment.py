"""segment.py on the command line: results, errors, interruptions, consoles, Slicer."""

import importlib.util
import io
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import segment
import SimpleITK as sitk

from inputs import cut_short, everything_in, small_ct, small_disk, write, write_dicom
from locations import REPOSITORY
from phantoms import AXIAL, turned
from SpleenSmoothSegLib.batch import console, overlay
from SpleenSmoothSegLib.batch import runner as segmenter
from SpleenSmoothSegLib.geometry.grid import same_grid, threshold_on_grid
from SpleenSmoothSegLib.inference import devices, ensemble
from SpleenSmoothSegLib.inference.result import SegmentationResult
from SpleenSmoothSegLib.metrics.shape import center_lps, extent_mm, longest_mm

SCRIPT = REPOSITORY / "SpleenSmoothSeg" / "CommandLine" / "segment.py"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The working folder, with a CT in it."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write(small_ct(), folder / "ct.nii.gz")
    return folder


@pytest.fixture
def run(pristine_model_folder, capfd):
    """Runs segment.py in this process with a small model; returns its exit code, stdout and stderr."""

    def main(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = segment.main(["--model", str(pristine_model_folder), "--device", "cpu", *map(str, arguments)])
        return code, *capfd.readouterr()

    return main


@pytest.fixture
def refusal(run, place):
    """Runs segment.py with invalid input: one sentence, exit code 1, no files. Returns the sentence."""

    def main(*arguments: object) -> str:
        before = everything_in(place)
        code, out, err = run(*arguments)
        assert code == 1
        assert out == ""
        assert err.count("\n") == 1 and err.endswith(".\n")
        assert everything_in(place) == before
        return err.strip()

    return main


@pytest.fixture
def no_networks(monkeypatch):
    """Fails the test if networks are loaded: cheap checks come first."""
    monkeypatch.setattr(segmenter, "load", lambda *arguments: pytest.fail("networks were loaded"))


def as_events(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


# ---- results


def test_run_writes_segmentation_and_overlay_and_prints_their_paths(run):
    code, out, err = run("ct.nii.gz", "-o", "out")
    assert (code, err) == (0, "")
    assert everything_in(Path("out")) == ["ct_spleen.png", "ct_spleen.seg.nrrd"]
    first, *others = out.splitlines()
    assert first.startswith("ct.nii.gz: ")
    assert "mL" in first or "no spleen found" in first
    assert others == ["  segmentation: out/ct_spleen.seg.nrrd", "  overlay: out/ct_spleen.png"]


@pytest.mark.parametrize("name", ["spleen.seg.nrrd", "spleen.nii.gz"])
@pytest.mark.parametrize("direction", [AXIAL, turned(10, 20, 30), turned(0, 15, 0, (-1, 0, 0, 0, 1, 0, 0, 0, 1))])
def test_mask_is_on_the_grid_of_the_ct(run, name, direction):
    ct = small_ct(direction=direction)
    write(ct, Path("oblique.nrrd"))
    assert run("oblique.nrrd", "-o", name, "--no-overlay")[0] == 0
    assert same_grid(sitk.ReadImage(name), ct)


def test_json_result_matches_the_files(run):
    code, out, err = run("ct.nii.gz", "-o", "mask.nii.gz", "--probability", "--json")
    assert (code, err) == (0, "")
    *progress, result = as_events(out)
    assert {event["event"] for event in progress} == {"progress"}
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert set(result) == {"event", "ct", "result", "files"}
    assert (result["event"], result["ct"]) == ("result", "ct.nii.gz")
    files, measures = result["files"], SegmentationResult.from_dict(result["result"])
    assert files == {
        "segmentation": "mask.nii.gz",
        "overlay": "mask.png",
        "probability": "mask_probability.nii.gz",
        "uncertainty_map": "mask_uncertainty.nii.gz",
    }
    mask, probability = (sitk.ReadImage(files[key]) for key in ("segmentation", "probability"))
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(mask))
    assert measures.volume_ml == pytest.approx(voxels * np.prod(mask.GetSpacing()) / 1000, abs=0.01)
    assert same_grid(mask, probability)
    assert len(measures.fold_volumes_ml) == 2
    assert 0 <= measures.fold_agreement <= 1
    extents = (measures.extent_rl_mm, measures.extent_ap_mm, measures.extent_si_mm)
    assert extents == pytest.approx(extent_mm(mask), abs=0.01)
    assert measures.longest_mm == pytest.approx(longest_mm(mask), abs=0.01)
    assert measures.longest_mm > 0
    assert measures.center_lps == pytest.approx(center_lps(mask), abs=0.01)
    assert measures.device == "cpu"
    assert measures.dice is None
    assert measures.seconds > 0
    assert measures.peak_memory_mb > 50


def test_progress_events_name_all_steps(run):
    write(small_ct(), Path("other.nii.gz"))
    _, out, _ = run("ct.nii.gz", "other.nii.gz", "-o", "out", "--json")
    loading = ["Starting PyTorch", "Loading the ensemble"]
    work = ["Preparing slices", "Predicting", "Resampling to the CT's grid", "Writing", "Done"]
    for ct, steps in (("ct.nii.gz", ["Reading", *loading, *work]), ("other.nii.gz", ["Reading", *work])):
        reported = [event for event in as_events(out) if event["event"] == "progress" and event["ct"] == ct]
        assert list(dict.fromkeys(event["step"] for event in reported)) == steps
        fractions = [event["fraction"] for event in reported]
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0, 1)


def test_uncompressed_maps_are_nrrd_with_equal_values(run):
    options = ("--probability", "--no-overlay")
    assert run("ct.nii.gz", "-o", "small", *options)[0] == 0
    assert run("ct.nii.gz", "-o", "large", *options, "--uncompressed")[0] == 0
    names = ["ct_spleen.seg.nrrd", "ct_spleen_probability.nrrd", "ct_spleen_uncertainty.nrrd"]
    assert everything_in(Path("large")) == names
    for name in names:
        large = sitk.ReadImage(f"large/{name}")
        small = sitk.ReadImage(f"small/{name}" if ".seg." in name else f"small/{Path(name).stem}.nii.gz")
        assert sitk.Hash(large) == sitk.Hash(small)
        assert same_grid(large, small)


def test_uncertainty_option_writes_only_the_uncertainty_map(run):
    assert run("ct.nii.gz", "-o", "out", "--no-overlay", "--uncertainty")[0] == 0
    assert everything_in(Path("out")) == ["ct_spleen.seg.nrrd", "ct_spleen_uncertainty.nii.gz"]


def test_cropped_uncertainty_map_equals_the_full_map_on_predicted_slices(run):
    ct = small_ct(extent=(220, 190, 600))
    write(ct, Path("long.nrrd"))
    common = ("long.nrrd", "--no-overlay", "--uncertainty", "--uncompressed")
    assert run(*common, "-o", "whole")[0] == run(*common, "-o", "part", "--cropped")[0] == 0
    whole, part = (sitk.ReadImage(f"{folder}/long_spleen_uncertainty.nrrd") for folder in ("whole", "part"))
    assert same_grid(whole, ct)
    assert part.GetNumberOfPixels() <= whole.GetNumberOfPixels()
    back = sitk.Paste(
        whole * 0, part, part.GetSize(), destinationIndex=whole.TransformPhysicalPointToIndex(part.GetOrigin())
    )
    assert sitk.Hash(back) == sitk.Hash(whole)


def test_exhaustive_and_default_give_the_same_mask(run):
    for name, options in (("default.nrrd", ()), ("exhaustive.nrrd", ("--exhaustive",))):
        assert run("ct.nii.gz", "-o", name, "--no-overlay", "--all-components", *options)[0] == 0
    default, exhaustive = (
        sitk.GetArrayFromImage(sitk.ReadImage(name)) > 0 for name in ("default.nrrd", "exhaustive.nrrd")
    )
    assert 2 * (default & exhaustive).sum() >= 0.98 * (default.sum() + exhaustive.sum()) > 0


def test_label_option_reports_the_dice(run):
    run("ct.nii.gz", "-o", "mask.nii.gz", "--no-overlay", "--all-components")
    write(sitk.Cast(sitk.ReadImage("mask.nii.gz"), sitk.sitkFloat32) * 255, Path("label.nrrd"))
    _, out, _ = run("ct.nii.gz", "-o", "out", "--no-overlay", "--all-components", "--label", "label.nrrd", "--json")
    assert as_events(out)[-1]["result"]["dice"] == 1
    _, out, _ = run("ct.nii.gz", "-o", "other", "--no-overlay", "--all-components", "--label", "label.nrrd")
    assert ", Dice 1.000 against the label; " in out


def test_networks_are_loaded_once_for_several_cts(run, monkeypatch):
    load, loaded = segmenter.load, []
    monkeypatch.setattr(segmenter, "load", lambda *arguments: loaded.append(1) or load(*arguments))
    write_dicom(small_ct(), Path("dicom"))
    write(small_ct(), Path("more/a.nrrd"))
    write(small_ct(), Path("more/ct.nii.gz"))
    code, out, err = run("ct.nii.gz", "dicom", "-o", "out", "more", "--no-overlay")
    assert (code, err) == (0, "")
    assert everything_in(Path("out")) == [f"{name}_spleen.seg.nrrd" for name in ("a", "dicom", "more_ct", "place_ct")]
    assert len(loaded) == 1


def test_dicom_series_and_its_source_file_give_the_same_mask(run):
    write_dicom(small_ct(), Path("dicom/ST0/SE0"))
    run("ct.nii.gz", "dicom", "-o", "out", "--no-overlay")
    one, other = (sitk.ReadImage(f"out/{name}_spleen.seg.nrrd") for name in ("ct", "dicom"))
    assert same_grid(one, other)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


def test_folder_with_several_series_gives_a_warning_and_a_result(run):
    write_dicom(small_ct(), write_dicom(small_ct(), Path("dicom"), series=1), series=2)
    code, out, err = run("dicom", "-o", "out", "--no-overlay", "--json")
    assert code == 0
    warning = next(event for event in as_events(out) if event["event"] == "warning")
    assert "contains 2 CT series" in warning["message"]
    assert err == warning["message"] + "\n"
    code, _, err = run("dicom", "-o", "again", "--no-overlay")
    assert (code, err) == (0, warning["message"] + "\n")


def test_names_with_spaces_accents_and_dollars_are_accepted(run):
    folder = Path("Ä spaced påth – 脾臓") / ("long" * 50)
    write(small_ct(), folder / "ct é $x_1$.nii.gz")
    code, out, err = run(folder / "ct é $x_1$.nii.gz", "-o", "Ergebnis für 脾臓")
    assert (code, err) == (0, "")
    assert everything_in(Path("Ergebnis für 脾臓")) == [f"ct é $x_1$_spleen{end}" for end in (".png", ".seg.nrrd")]


def test_ct_without_spleen_gives_an_empty_result(run, monkeypatch):
    monkeypatch.setattr(ensemble, "threshold_on_grid", lambda value, image, grid: threshold_on_grid(2.0, image, grid))
    code, out, err = run("ct.nii.gz", "-o", "out")
    assert (code, err) == (0, "")
    assert "ct.nii.gz: no spleen found" in out
    result = as_events(run("ct.nii.gz", "-o", "again", "--json")[1])[-1]["result"]
    extents = [result[f"extent_{axis}_mm"] for axis in ("rl", "ap", "si")]
    assert (result["volume_ml"], extents, result["longest_mm"]) == (0, [0, 0, 0], 0)
    assert result["center_lps"] is None


def test_run_without_ct_segments_the_sample_and_compares_it_with_its_label(run, place):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "against the label" in out
    assert everything_in(place / "results") == ["ct_spleen.png", "ct_spleen.seg.nrrd"]


@pytest.mark.skipif(not segment.STARTER_MODEL.is_dir(), reason="the Starter model is not here")
def test_starter_model_segments_the_spleen_of_the_sample(capfd):
    assert segment.main(["--json", "--device", "cpu"]) == 0
    result = as_events(capfd.readouterr().out)[-1]["result"]
    assert result["dice"] > 0.8
    assert len(result["fold_volumes_ml"]) == 5
    center = np.array(result["center_lps"])
    extents = [result[f"extent_{axis}_mm"] for axis in ("rl", "ap", "si")]
    assert all(50 < length < 150 for length in extents)
    assert max(extents) < result["longest_mm"] < np.linalg.norm(extents)
    assert result["uncertain_places"]
    for place in result["uncertain_places"]:
        assert np.linalg.norm(place["point_lps"] - center) < result["longest_mm"]


# ---- invalid input


def bad_inputs() -> dict:
    ct = small_ct()
    real = sitk.Cast(ct, sitk.sitkFloat32)
    gray = sitk.Cast(sitk.RescaleIntensity(ct), sitk.sitkUInt8)
    nan = sitk.Image(real)
    nan[1, 2, 3] = float("nan")
    return {
        "missing": (lambda path: None, "does not exist"),
        "empty": (Path.touch, "is empty"),
        "text": (lambda path: path.write_text("hello"), "cannot be read"),
        "truncated": (lambda path: cut_short(write(ct, path)), "is damaged or incomplete"),
        "2D": (lambda path: write(ct[:, :, 5], path), "is not a 3D volume (2D)"),
        "4D": (lambda path: write(sitk.JoinSeries([ct, ct]), path), "is not a 3D volume (4D)"),
        "one slice": (lambda path: write(ct[:, :, 5:6], path), "has only one slice"),
        "NaN": (lambda path: write(nan, path), "NaN or infinite"),
        "RGB": (lambda path: write(sitk.Compose(gray, gray, gray), path), "color or vector"),
        "complex": (lambda path: write(sitk.RealAndImaginaryToComplex(real, real), path), "has voxels of type complex"),
        "MR": (lambda path: write(sitk.RescaleIntensity(real, 0, 1500), path), "does not look like a CT"),
        "z-scores": (lambda path: write(sitk.Normalize(real), path), "does not look like a CT"),
        "offset": (lambda path: write(ct + 1024, path), "does not look like a CT"),
        "folder without CTs": (Path.mkdir, "contains no CT"),
        "MR series": (lambda path: write_dicom(ct, path, modality="MR"), "contains MR but no CT series"),
    }


@pytest.mark.parametrize("what", bad_inputs())
def test_invalid_input_is_reported_before_loading(refusal, no_networks, what):
    make, words = bad_inputs()[what]
    make(Path("bad.nii.gz"))
    sentence = refusal("bad.nii.gz", "-o", "out")
    assert words in sentence
    assert '"bad.nii.gz"' in sentence


def test_error_is_a_json_event_and_a_sentence_on_stderr(run):
    Path("bad.nii.gz").touch()
    code, out, err = run("bad.nii.gz", "-o", "out", "--json")
    error = as_events(out)[-1]
    assert code == 1
    assert error == {"event": "error", "ct": "bad.nii.gz", "message": err.strip()}
    assert "is empty" in err


def test_invalid_ct_does_not_stop_the_others(run):
    for name in ("a", "c"):
        write(small_ct(), Path(f"cts/{name}.nii.gz"))
    Path("cts/b.nii.gz").touch()
    code, out, err = run("cts", "-o", "out", "--no-overlay")
    assert code == 1
    assert everything_in(Path("out")) == ["a_spleen.seg.nrrd", "c_spleen.seg.nrrd"]
    assert err == '"cts/b.nii.gz" is empty; copy or export it again.\n'


def test_label_on_another_grid_is_reported(refusal, no_networks):
    ct = small_ct()
    for name, label in (("size", ct[:, :, 1:]), ("place", small_ct(center=(1, 0, 0))), ("color", sitk.Compose(ct, ct))):
        write(label, Path(f"{name}.nrrd"))
        assert "is on another grid than the CT; resample it" in refusal("ct.nii.gz", "--label", f"{name}.nrrd")


# ---- invalid outputs and options


def test_existing_files_are_replaced_only_with_overwrite(run, refusal):
    write(small_ct(), Path("out/ct_spleen.seg.nrrd"))
    assert "already exists; add --overwrite to replace it" in refusal("ct.nii.gz", "-o", "out")
    assert run("ct.nii.gz", "-o", "out", "--no-overlay", "--overwrite")[0] == 0
    assert sitk.ReadImage("out/ct_spleen.seg.nrrd").GetPixelID() == sitk.sitkUInt8


def test_failed_run_keeps_existing_results(run, monkeypatch):
    write(small_ct(), Path("out/ct_spleen.seg.nrrd"))
    old = Path("out/ct_spleen.seg.nrrd").read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(overlay, "write_overlay", fail)
    code, _, err = run("ct.nii.gz", "-o", "out", "--overwrite")
    assert code == 1
    assert "cannot be written (no space left on device); free up disk space or choose another location." in err
    assert Path("out/ct_spleen.seg.nrrd").read_bytes() == old
    assert everything_in(Path("out")) == ["ct_spleen.seg.nrrd"]


def test_full_disk_is_reported_and_leaves_no_files(run, place):
    with small_disk(place / "disk", "size=8k") as disk:
        code, out, err = run("ct.nii.gz", "-o", "disk/new/folder", "--probability")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "cannot be written (" in err
        assert not everything_in(disk)


def test_read_only_output_is_reported_before_loading(refusal, no_networks, place):
    with small_disk(place / "disk", "ro"):
        assert '"disk" cannot be written (read-only file system)' in refusal("ct.nii.gz", "-o", "disk")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ct.nii.gz", "-o", "ct.nii.gz", "--overwrite"], "would replace"),
        (["ct.nii.gz", "-o", "ct.nii.gz/deeper"], "is a file, not a folder"),
        (["ct.nii.gz", "-o", "out.mhd"], "has an unsupported suffix"),
        (["ct.nii.gz", "nothing.nii.gz"], "does not exist"),
        (["ct.nii.gz", "--model", "nowhere"], "is not a model folder"),
        (["ct.nii.gz", "--model", "."], "is not a model folder"),
        (["ct.nii.gz", "--device", "gpu"], "invalid choice: 'gpu'"),
        (["ct.nii.gz", "--devise", "cpu"], "unrecognized arguments: --devise"),
        (["ct.nii.gz", "-o"], "expected one argument"),
        (["ct.nii.gz", "--over"], "unrecognized arguments: --over"),
    ],
)
def test_invalid_arguments_are_reported_before_loading(refusal, no_networks, arguments, words):
    assert words in refusal(*arguments)


def test_unavailable_device_is_reported(refusal, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert 'The device "cuda" is not available' in refusal("ct.nii.gz", "--device", "cuda")


@pytest.fixture
def failing_device(monkeypatch) -> list[str]:
    """ "auto" takes a device whose memory is not enough; returns the list of devices tried."""
    import torch

    tried, predict = [], ensemble._predict_on

    def predict_on(device, *arguments):
        tried.append(device.type)
        if device.type != "cpu":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return predict(device, *arguments)

    def choose(name, warn):
        return torch.device("meta" if name == "auto" else name)

    monkeypatch.setattr(ensemble, "_predict_on", predict_on)
    monkeypatch.setattr(devices, "choose_device", choose)
    monkeypatch.setattr(ensemble, "choose_device", choose)
    return tried


def test_device_without_memory_warns_once_and_all_cts_use_the_cpu(run, failing_device):
    write(small_ct(), Path("other.nii.gz"))
    code, out, err = run("ct.nii.gz", "other.nii.gz", "-o", "out", "--no-overlay", "--json", "--device", "auto")
    assert code == 0
    warning = 'The device "meta" cannot be used (not enough memory); using the CPU instead, '
    assert err == warning + "which is slower.\n"
    events = as_events(out)
    assert [event["message"] for event in events if event["event"] == "warning"] == [err.strip()]
    assert [event["result"]["device"] for event in events if event["event"] == "result"] == ["cpu", "cpu"]
    assert failing_device == ["meta", "cpu", "cpu"]


def test_without_json_cpu_fallback_is_one_warning(run, failing_device):
    code, out, err = run("ct.nii.gz", "-o", "out", "--no-overlay", "--device", "auto")
    assert (code, err.count("\n")) == (0, 1)
    assert "using the CPU instead" in err
    assert everything_in(Path("out")) == ["ct_spleen.seg.nrrd"]


def test_model_that_cannot_be_loaded_stops_the_run_with_one_sentence(refusal, model_folder):
    (model_folder / "fold_1.safetensors").unlink()
    write(small_ct(), Path("other.nii.gz"))
    assert 'lacks its fold "fold_1.safetensors"' in refusal("ct.nii.gz", "other.nii.gz", "--model", model_folder)


# ---- unexpected errors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("one\ntwo"), "Unexpected error (ValueError: one); please report it with the traceback"),
        (KeyError(), "Unexpected error (KeyError); please report"),
        (MemoryError(), "Not enough memory for this CT"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
            "Not enough memory for this CT; close other programs or use the CPU as device.",
        ),
        (ImportError("_C.so: failed to map segment from shared object"), "Not enough memory for this CT"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Not enough memory for this CT"),
        (RuntimeError("operator torchvision::nms does not exist"), "torch and torchvision come from different builds"),
        (ModuleNotFoundError("No module named 'x'", name="x"), "Python package not installed: x; install it"),
        (ImportError("DLL load failed"), "Unexpected error (ImportError: DLL load failed)"),
    ],
)
def test_unexpected_error_is_one_sentence_and_the_next_ct_is_segmented(run, monkeypatch, error, words):
    find, calls = ensemble.segment_image, []

    def fail_once(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise error
        return find(*arguments, **options)

    monkeypatch.setattr(ensemble, "segment_image", fail_once)
    write(small_ct(), Path("other.nii.gz"))
    code, out, err = run("ct.nii.gz", "other.nii.gz", "-o", "out", "--no-overlay")
    assert code == 1
    assert err.startswith(words)
    assert err.count("\n") == 1
    assert everything_in(Path("out")) == ["other_spleen.seg.nrrd"]


def test_debug_option_prints_the_traceback(run):
    Path("bad.nii.gz").touch()
    code, out, err = run("bad.nii.gz", "-o", "out", "--debug", "--json")
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith('"bad.nii.gz" is empty; copy or export it again.\n')
    assert [event["event"] for event in as_events(out)] == ["progress", "error"]


def test_missing_packages_are_listed_before_any_work(refusal, monkeypatch):
    find = importlib.util.find_spec
    missing = ("torch", "slicerio")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    assert (
        refusal("ct.nii.gz") == 'Python package not installed: torch, slicerio; install it, or run "make segment" once.'
    )


def test_run_requires_only_packages_that_it_uses(run, monkeypatch):
    find = importlib.util.find_spec
    not_in_slicer = ("slicerio", "matplotlib", "tqdm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in not_in_slicer else find(name))
    for name in not_in_slicer:
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises
    code, out, err = run("ct.nii.gz", "-o", "mask.nrrd", "--probability", "--uncompressed", "--no-overlay", "--json")
    assert (code, err) == (0, "")
    assert as_events(out)[-1]["event"] == "result"


# ---- interruptions


@pytest.mark.parametrize("step", ["Reading", "Predicting", "Writing"])
def test_canceled_run_leaves_no_files(run, place, monkeypatch, step):
    class Canceling(segment.JsonConsole):
        def progress(self, *which):
            report = super().progress(*which)

            def progress(fraction, name):
                report(fraction, name)
                if name == step:
                    raise KeyboardInterrupt

            return progress

    monkeypatch.setattr(segment, "JsonConsole", Canceling)
    before = everything_in(place)
    code, out, err = run("ct.nii.gz", "-o", "new/out", "--json")
    assert (code, err) == (130, "Canceled; no partial files are left.\n")
    assert as_events(out)[-1]["event"] == "error"
    assert everything_in(place) == before


@pytest.fixture
def start(pristine_model_folder):
    """Starts segment.py in a child process."""
    started = []

    def program(*arguments: object, **options) -> subprocess.Popen:
        command = [sys.executable, str(SCRIPT), "--model", str(pristine_model_folder), "--device", "cpu"]
        command += map(str, arguments)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        started.append(subprocess.Popen(command, encoding="utf-8", env=environment, **{**pipes, **options}))
        return started[-1]

    yield program
    for process in started:
        process.kill()
        if process.stdin is not None and process.stdin.closed:
            process.stdin = None  # or communicate() would flush it
        process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a program without asking it")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_while_writing_leaves_no_files(start, place, name):
    before = everything_in(place)
    process = start("ct.nii.gz", "-o", "new/out", "--probability", "--json")
    for line in process.stdout:
        if json.loads(line).get("step") == "Writing":
            process.send_signal(getattr(signal, name))
            process.send_signal(getattr(signal, name))  # a second Ctrl-C
            break
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "Canceled; no partial files are left.\n")
    assert as_events(out)[-1] == {"event": "error", "ct": None, "message": "Canceled; no partial files are left."}
    assert everything_in(place) == before


@pytest.mark.skipif(os.name != "posix", reason="Windows reports it in another way")
def test_closed_stdout_ends_silently(start, place):
    before = everything_in(place)
    process = start("ct.nii.gz", "-o", "new/out", "--json")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=120) == 1
    assert everything_in(place) == before


# ---- as a child


SOON = 2.0  # seconds; on an idle computer it takes a fraction of one


def lines_until(process: subprocess.Popen, step: str) -> None:
    for line in process.stdout:
        if json.loads(line).get("step") == step:
            return
    pytest.fail(f"ended before {step}")


def test_child_emits_started_with_its_process_id_then_json_events(start):
    process = start("ct.nii.gz", "-o", "out", "--child", stdin=subprocess.PIPE)
    first = json.loads(process.stdout.readline())
    assert first == {"event": "started", "pid": process.pid}
    others = as_events(process.stdout.read())
    assert process.wait(timeout=60) == 0, "it does not wait for its stdin"
    assert {event["event"] for event in others[:-1]} == {"progress"}
    assert others[-1]["event"] == "result"
    assert everything_in(Path("out")) == ["ct_spleen.png", "ct_spleen.seg.nrrd"]


def events_until(process: subprocess.Popen, kind: str) -> list[dict]:
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == kind:
            return events
    pytest.fail(f"ended before {kind}: {events}")


def send(process: subprocess.Popen, *arguments: object) -> None:
    process.stdin.write(json.dumps([*map(str, arguments)]) + "\n")
    process.stdin.flush()


def test_staying_child_reuses_the_networks_for_the_next_command_line(start, pristine_model_folder):
    process = start("ct.nii.gz", "-o", "one", "--child", "--stay", "--no-overlay", stdin=subprocess.PIPE)
    steps = [event.get("step") for event in events_until(process, "ready")]
    assert "Loading the ensemble" in steps
    common = ("--child", "--stay", "--no-overlay", "--model", pristine_model_folder, "--device", "cpu")
    for out in ("two", "three"):
        send(process, "ct.nii.gz", "-o", out, *common)
        *others, result, ready = events_until(process, "ready")
        assert result["event"] == "result" and ready == {"event": "ready"}
        assert {event["event"] for event in others} == {"progress"}
        assert "Loading the ensemble" not in [event["step"] for event in others]
        assert everything_in(Path(out)) == ["ct_spleen.seg.nrrd"]
    process.stdin.close()
    assert process.wait(timeout=SOON) == 130


def test_staying_child_exits_after_an_invalid_command_line(start, pristine_model_folder, tmp_path):
    common = ("--child", "--stay", "--no-overlay", "--device", "cpu")
    for arguments, words in (
        (("none.nii.gz", "--model", pristine_model_folder), "does not exist"),
        (("ct.nii.gz", "-o", "two", "--model", tmp_path), "Another model or device was requested"),
    ):
        process = start("ct.nii.gz", "-o", "one", "--overwrite", "--child", "--stay", stdin=subprocess.PIPE)
        events_until(process, "ready")
        send(process, *arguments, *common)
        assert words in events_until(process, "error")[-1]["message"]
        assert process.wait(timeout=SOON) == 1


def test_staying_child_exits_after_the_timeout(place, pristine_model_folder):
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(SCRIPT.parent)!r})
        import segment
        segment.STAY_SECONDS = 0.1
        options = ["--model", {str(pristine_model_folder)!r}, "--device", "cpu", "--no-overlay"]
        sys.exit(segment.main(["ct.nii.gz", "-o", "out", "--child", "--stay", *options]))
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], encoding="utf-8", **pipes) as process:
        assert json.loads(process.stdout.readlines()[-1]) == {"event": "ready"}
        assert process.wait(timeout=60) == 0


def test_child_whose_ct_failed_does_not_stay(start):
    Path("bad.nii.gz").touch()
    process = start("bad.nii.gz", "-o", "out", "--child", "--stay", stdin=subprocess.PIPE)
    events = as_events(process.stdout.read())
    assert "ready" not in [event["event"] for event in events]
    assert process.wait(timeout=SOON) == 1


def test_child_whose_device_failed_does_not_stay(run, failing_device, monkeypatch):
    monkeypatch.setattr(console, "exit_with_parent", lambda: pytest.fail)
    code, out, _ = run("ct.nii.gz", "-o", "out", "--no-overlay", "--device", "auto", "--child", "--stay")
    assert code == 0
    assert [event["event"] for event in as_events(out)][-1] == "result"


def test_child_emits_an_error_after_started(start):
    process = start("missing.nii.gz", "--child", stdin=subprocess.PIPE)
    started, error = as_events(process.stdout.read())
    assert started["event"] == "started"
    assert error == {"event": "error", "ct": None, "message": '"missing.nii.gz" does not exist; check the path.'}
    assert process.wait(timeout=SOON) == 1


def test_child_with_closed_stdin_exits_immediately(start, place):
    before = everything_in(place)
    process = start("ct.nii.gz", "-o", "out", "--child", stdin=subprocess.DEVNULL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Canceled; no partial files are left.\n")
    assert everything_in(place) == before


def test_import_error_during_a_signal_is_reported_as_canceled():
    code = """if True:
        import signal, sys
        from SpleenSmoothSegLib.batch.console import TerminalConsole, exit_code
        from SpleenSmoothSegLib.batch.process import stop_on_signals

        def work():
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt as interrupt:
                raise ImportError("numpy.core failed to import") from interrupt

        stop_on_signals()
        sys.exit(exit_code(work, TerminalConsole(debug=False)))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPT.parents[1], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (130, "Canceled; no partial files are left.\n")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no process groups to signal")
def test_child_leads_its_process_group(start):
    process = start("ct.nii.gz", "--child", stdin=subprocess.PIPE)
    process.stdout.readline()
    lines_until(process, "Reading")
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(timeout=SOON) == -signal.SIGKILL


@pytest.mark.parametrize("step", ["Starting PyTorch", "Predicting", "Writing"])
def test_child_exits_when_stdin_is_closed_and_leaves_no_files(start, place, step):
    before = everything_in(place)
    process = start("ct.nii.gz", "-o", "new/out", "--probability", "--child", stdin=subprocess.PIPE)
    lines_until(process, step)
    process.stdin.close()
    assert process.wait(timeout=SOON) == 130
    assert everything_in(place) == before


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_child_exits_when_its_parent_is_killed(start, place):
    """As when Slicer crashes. Reading stdout ends when the last process that holds it has exited."""
    before = everything_in(place)
    command = [sys.executable, str(SCRIPT), "ct.nii.gz", "-o", "new/out", "--child", "--device", "cpu"]
    parent = f"import subprocess; subprocess.Popen({command!r}, stdin=subprocess.PIPE).wait()"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, encoding="utf-8")
    lines_until(process, "Starting PyTorch")
    process.kill()
    killed = time.monotonic()
    process.stdout.read()
    assert time.monotonic() - killed < SOON
    assert process.wait(timeout=SOON) == -signal.SIGKILL
    assert everything_in(place) == before


def test_child_that_cannot_be_interrupted_exits_by_force_and_leaves_no_files(place):
    """A library swallows the interrupt, again and again."""
    code = """
import time
from pathlib import Path
from SpleenSmoothSegLib.io.atomic import atomic_write
from SpleenSmoothSegLib.batch.process import exit_with_parent, stop_on_signals
stop_on_signals()
exit_with_parent()
with atomic_write(Path("result.txt")) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""
    before = everything_in(place)
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], encoding="utf-8", env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        assert everything_in(place) != before
        process.stdin.close()
        assert process.wait(timeout=SOON) == 130
    assert everything_in(place) == before


def test_devices_option_prints_one_json_line(start):
    process = start("--devices")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    (event,) = as_events(out)
    assert event["event"] == "devices"
    assert [set(device) for device in event["devices"]] == [{"name", "usable", "reason"}] * 3
    assert event["devices"][-1] == {"name": "cpu", "usable": True, "reason": ""}


def test_devices_option_without_pytorch_prints_an_error(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, out, err = run("--devices")
    assert code == 1
    assert as_events(out) == [{"event": "error", "ct": None, "message": err.strip()}]
    assert "Python package not installed: torch; install it" in err


# ---- consoles


def test_names_are_escaped_on_an_ascii_console(start):
    write(small_ct(), Path("é脾.nii.gz"))
    process = start("é脾.nii.gz", "fehlt-ü.nii.gz", env={"PYTHONIOENCODING": "ascii"})
    assert process.communicate(timeout=120) == ("", '"fehlt-\\xfc.nii.gz" does not exist; check the path.\n')
    process = start("é脾.nii.gz", "-o", "out", env={"PYTHONIOENCODING": "ascii"})
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert "\\xe9\\u813e.nii.gz: " in out
    assert everything_in(Path("out")) == ["é脾_spleen.png", "é脾_spleen.seg.nrrd"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_terminal_gets_a_progress_bar_that_is_removed(run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    write_dicom(small_ct(), write_dicom(small_ct(), Path("dicom"), series=1), series=2)
    Path("bad.nii.gz").touch()
    code, out, _ = run("dicom", "bad.nii.gz", "-o", "out", "--no-overlay")
    assert code == 1
    shown = terminal.getvalue()
    assert "% |" in shown
    assert "Predicting" in shown
    lines = [line.split("\r")[-1] for line in shown.split("\n")]
    assert lines[0].startswith('"dicom" contains 2 CT series')
    assert lines[1:] == ['"bad.nii.gz" is empty; copy or export it again.', ""]


class SlicerConsole:
    """Slicer's console, which only supports writing."""

    def __init__(self):
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@pytest.fixture
def slicer(monkeypatch):
    """A stand-in for the parts of Slicer that a script uses; returns the exit codes that it received."""
    module = types.ModuleType("slicer")
    codes: list[int] = []
    module.util = types.SimpleNamespace(exit=codes.append)
    monkeypatch.setitem(sys.modules, "slicer", module)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # pytest needs the original
    return codes


def test_in_slicer_the_script_reads_sys_argv_and_exits_through_slicer(slicer, monkeypatch, pristine_model_folder):
    out, err = SlicerConsole(), SlicerConsole()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    for arguments in (["ct.nii.gz", "-o", "out"], ["ct.nii.gz", "-o", "out"], ["--help"]):
        options = ["--model", str(pristine_model_folder), "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["segment.py", *options, *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert slicer == [0, 1, 0]
    assert out.text.startswith("ct.nii.gz: ")
    assert "usage: segment.py" in out.text
    assert err.text.count("\n") == 1 and "already exists" in err.text
    assert everything_in(Path("out")) == ["ct_spleen.png", "ct_spleen.seg.nrrd"]


def test_script_is_ascii_for_any_system_encoding():
    """Slicer opens a script in the encoding of the system, which is not UTF-8 everywhere."""
    assert SCRIPT.read_bytes().isascii()


def test_importing_segment_imports_no_heavy_package():
    heavy = ("torch", "segmentation_models_pytorch", "SimpleITK", "numpy", "scipy", "matplotlib", "slicerio", "tqdm")
    code = f"import sys, segment; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPT.parent, capture_output=True, encoding="utf-8", env={**os.environ}
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_help_exits_with_0(run):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for option in ("--model", "--device", "--probability", "--uncompressed", "--overwrite", "--json", "--child"):
        assert option in out
    assert "not a medical device" in out


def test_script_runs_from_an_installed_extension(tmp_path, pristine_model_folder):
    modules = tmp_path / "qt-scripted-modules"
    shutil.copytree(SCRIPT.parents[1] / "SpleenSmoothSegLib", modules / "SpleenSmoothSegLib")
    (modules / "CommandLine").mkdir()
    script = Path(shutil.copy(SCRIPT, modules / "CommandLine"))
    found = runpy.run_path(str(script))
    assert found["STARTER_MODEL"] == modules / "Resources" / "Models" / "Starter"
    done = subprocess.run(
        [sys.executable, str(script), "--model", str(pristine_model_folder)], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 1
    assert done.stderr == ("No CT was given and the sample CT is missing; give a CT file or a DICOM folder.\n")
