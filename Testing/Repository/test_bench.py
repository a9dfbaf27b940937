"""The benchmark: published peers, and correct scaling, ratios and target values."""

import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import SimpleITK as sitk

from Benchmarks import bench, cts, measure, ours, report, rows
from Benchmarks.cts import with_slices
from phantoms import trunk
from SpleenSmoothSegLib.callbacks import NO_CALLBACKS
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.inference import ensemble
from SpleenSmoothSegLib.metrics.shape import volume_ml

MACHINE = {
    "processor": "a CPU", "cores": 2, "threads": 2, "memory_gb": 24.0, "torch": "2.4", "gpu": None,
    "gflop_per_second": {"cpu": {"fp32": 100.0, "bf16": 1.0}},
}  # fmt: skip
WITH_GPU = MACHINE | {
    "gpu": "a GPU",
    "gflop_per_second": {"cpu": {"fp32": 100.0, "bf16": 1.0}, "cuda": {"fp32": 1e4, "fp16": 1e5}},
}


def outcome(seconds: float, **more) -> dict:
    stages = {"Preparing": 0.1 * seconds, "Network": 0.9 * seconds}
    return {"seconds": seconds, "stages": stages, "peak_gb": 1.0, "gflop": 50.0 * seconds} | more


def every_outcome(planned: list[rows.Row]) -> dict[str, list[dict]]:
    """Synthetic outcomes: MONAI in 4 s, nnU-Net in 400 s, every Dice 0.999, most of the rest in 2 s."""
    seconds = {rows.MONAI: 4.0, rows.NNUNET: 400.0, rows.TORCH: 1.5, rows.LARGE: 5.0, rows.IMPORT: 0.02}
    found = {row.name: [outcome(seconds.get(row.name, 2.0))] * row.times for row in planned}
    for row in planned:
        if row.part == "agreement":
            found[row.name] = [{"dice": 0.999, "volume_ml": 200.0, "exhaustive_volume_ml": 201.0, "peak_gb": 1.0}]
        if row.part == "preview":
            found[row.name] = [outcome(0.03)]
    return found


def parameters(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def on_meta(build):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        return build().eval()


def test_monai_network_has_the_parameters_of_the_published_bundle():
    pytest.importorskip("monai", reason="needs monai, a peer of the benchmark")
    from Benchmarks.peers import monai_network

    assert parameters(on_meta(monai_network)) == 4_808_917


def test_nnunet_network_has_the_parameters_of_its_plan():
    pytest.importorskip("dynamic_network_architectures", reason="needs nnU-Net's networks, a peer of the benchmark")
    from Benchmarks.peers import nnunet_network

    network = on_meta(nnunet_network)

    assert [stage[0].convs[0].conv.out_channels for stage in network.encoder.stages] == [32, 64, 128, 256, 320, 320]
    assert parameters(network) == 31_113_098


@pytest.mark.parametrize(
    ("shape", "windows"), [((122, 426, 426), 60), ((64, 192, 160), 1), ((65, 192, 160), 2), ((96, 288, 240), 8)]
)
def test_nnunet_patch_count_follows_its_rule(shape, windows):
    from Benchmarks.peers import NNUNET_PATCH, patch_corners

    corners = patch_corners(shape)

    count = 1
    for starts, side, length in zip(corners, NNUNET_PATCH, shape, strict=True):
        count *= len(starts)
        assert starts[0] == 0 and starts[-1] + side == length
        assert all(later - earlier <= side / 2 for earlier, later in zip(starts, starts[1:], strict=False))
    assert count == windows


def test_flops_of_a_convolution_equal_the_formula():
    torch = pytest.importorskip("torch")
    from Benchmarks.roofline import gflop

    def build():
        return torch.nn.Conv2d(3, 8, kernel_size=5, padding=2, bias=False)

    multiplications = 3 * 8 * 5 * 5 * 16 * 16
    assert gflop(build, Counter({(2, 3, 16, 16): 7})) == pytest.approx(2 * multiplications * 2 * 7 / 1e9)


def test_watch_counts_input_shapes_and_keeps_outputs():
    torch = pytest.importorskip("torch")
    from Benchmarks.roofline import watch

    network = torch.nn.Conv2d(1, 1, kernel_size=1)
    slices = torch.rand(2, 1, 4, 4)
    before = network(slices)
    shapes = watch([network])

    assert torch.equal(network(slices), before)
    network(slices[:1])
    network(slices)
    assert shapes == {(2, 1, 4, 4): 2, (1, 1, 4, 4): 1}


def test_one_patch_of_sixty_scales_only_the_network_stage_with_a_remark():
    from Benchmarks.peers import scaled

    whole = scaled(
        {"seconds": 3.0, "stages": {"Preparing": 1.0, "Network": 2.0}, "gflop": 5.0}, "Network", 1, 60, "patches"
    )

    assert whole["stages"] == {"Preparing": 1.0, "Network": 120.0}
    assert whole["seconds"] == 121.0
    assert whole["gflop"] == 300.0
    assert whole["scaled"] == "measured on 1 of 60 patches"


def test_complete_measurement_is_not_scaled():
    from Benchmarks.peers import scaled

    measured = outcome(3.0)
    assert scaled(measured, "Network", 60, 60, "patches") == measured


def test_networks_that_stop_computing_have_computed_before():
    torch = pytest.importorskip("torch")
    from Benchmarks.ours import _stop_computing_after

    network = torch.nn.Conv2d(1, 1, kernel_size=1)
    slices = torch.rand(1, 1, 4, 4)
    real = network(slices)
    _stop_computing_after(network, 2)

    outputs = [network(slices) for _ in range(4)]

    assert torch.equal(outputs[0], real) and torch.equal(outputs[1], real)
    assert (torch.sigmoid(outputs[2]) < 0.01).all() and (torch.sigmoid(outputs[3]) < 0.01).all()


EXHAUSTIVE_OFF = ensemble.Options(exhaustive=False)


def bright(ct, model, device, options=EXHAUSTIVE_OFF, callbacks=NO_CALLBACKS):
    """Replaces `segment_image`: the default loses the lower half."""
    callbacks.progress(0.0, "Preparing slices")
    mask = ct > 100
    if not options.exhaustive:
        mask[:, :, :2] = 0
    return SimpleNamespace(mask=mask, result=SimpleNamespace(volume_ml=volume_ml(mask)))


def test_dice_compares_the_default_with_the_exhaustive_path(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    sitk.WriteImage(sitk.Image(10, 10, 4, sitk.sitkInt16) + 150, str(tmp_path / "ct.mha"))
    monkeypatch.setattr(ensemble, "segment_image", bright)

    found = ours.dice(str(tmp_path / "ct.mha"))

    assert found == {"dice": pytest.approx(2 / 3), "volume_ml": 0.2, "exhaustive_volume_ml": 0.4}


def test_localized_segmentation_predicts_only_spleen_slices_and_returns_a_full_mask(monkeypatch):
    ct = sitk.Image(6, 6, 10, sitk.sitkInt16)
    ct.SetOrigin((3.0, 4.0, 5.0))
    label = sitk.Image(6, 6, 10, sitk.sitkUInt8)
    label[2:4, 2:4, 3:7] = 1
    monkeypatch.setattr(ensemble, "segment_image", lambda ct, model, device: None)
    depths = []

    def segment(image):
        depths.append(image.GetDepth())
        return sitk.Cast(image * 0 + 1, sitk.sitkUInt8)

    mask = ours._segment_spleen_slices(segment, ct, label, measure.Clock())

    assert depths == [4]
    assert same_grid(mask, ct)
    assert sitk.GetArrayFromImage(mask).any(axis=(1, 2)).nonzero()[0].tolist() == [3, 4, 5, 6]


def test_extended_ct_keeps_its_slices():
    ct = trunk(extent=(60, 60, 60), spacing=(6.0, 6.0, 6.0))
    longer = with_slices(ct, 25)

    assert longer.GetSize() == (10, 10, 25)
    for index in ((5, 5, 0), (5, 5, 9), (2, 7, 4)):
        point = ct.TransformIndexToPhysicalPoint(index)
        assert longer[longer.TransformPhysicalPointToIndex(point)] == ct[index]


def test_extended_label_has_no_second_spleen():
    label = sitk.Image(4, 4, 10, sitk.sitkUInt8) + 1
    assert sitk.GetArrayFromImage(with_slices(label, 600, mirror=False)).sum() == 160


def test_shortened_ct_keeps_the_middle_slices():
    ct = trunk(extent=(60, 60, 60), spacing=(6.0, 6.0, 6.0))
    shorter = with_slices(ct, 4)

    assert shorter.GetDepth() == 4
    assert shorter.GetOrigin() == ct.TransformIndexToPhysicalPoint((0, 0, 3))


def test_clock_measures_each_stage(monkeypatch):
    ticks = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    clock = measure.Clock()
    for stage in ("Preparing", "Network", "Preparing"):
        clock.stage(stage)

    assert clock.stop() == {"seconds": 7.0, "stages": {"Preparing": 5.0, "Network": 2.0}}


@pytest.mark.slow
def test_measurement_runs_in_a_separate_process_with_the_requested_threads():
    pytest.importorskip("torch")
    found = measure.measured("roofline.machine", 1)

    assert found["threads"] == 1
    assert found["gflop_per_second"]["cpu"]["fp32"] > 0.1
    assert 0.05 < found["peak_gb"] < 4


def test_missing_package_skips_the_measurement_with_its_name():
    found = measure.measured("ours.importing_nothing", 1)
    assert "importing_nothing" in found["failed"]
    assert measure.measured("nothing.at_all", 1) == {"skipped": "Benchmarks.nothing is not installed"}


def test_rounds_stop_after_the_time_limit_but_the_first_is_complete(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(bench, "measured", lambda work, threads, **settings: asked.append(work) or outcome(1.0))
    planned = [rows.Row("a", "x.a", times=3), rows.Row("b", "x.b", times=1), rows.Row("c", "x.c", times=2)]

    assert {name: len(found) for name, found in bench.measure(planned, 1).items()} == {"a": 3, "b": 1, "c": 2}
    assert asked == ["x.a", "x.b", "x.c", "x.a", "x.c", "x.a"]
    assert [len(found) for found in bench.measure(planned, 1, seconds=0.0).values()] == [1, 1, 1]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("machine", [MACHINE, WITH_GPU], ids=["CPU", "GPU"])
def test_every_target_has_a_value(quick, machine, tmp_path, capsys):
    planned = rows.planned(tmp_path, ["a.nii.gz", "b.nii.gz"], machine, quick)
    assert len({row.name for row in planned}) == len(planned)

    report.write(tmp_path, {"standard": "made up"}, machine, planned, every_outcome(planned))

    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last) == {
        "ratio_to_monai_fp32": 0.5,
        "ratio_to_nnunet_fold": 0.005,
        "sample_seconds": 0.5,
        "large_seconds": 3.5,
        "dice_vs_exhaustive_min": 0.999,
        "peak_gb_600": 1.0,
        "preview_ms": 30.0,
        "import_ms": 20.0,
    }
    header, *lines = (tmp_path / "bench.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("what,part,seconds") and len(lines) == len(planned)
    assert (tmp_path / "bench.png").stat().st_size > 10_000


def test_missing_measurement_has_no_value_and_a_reason(tmp_path, capsys):
    planned = rows.planned(tmp_path, [], MACHINE, quick=True)
    reason = {row.name: [{"skipped": "monai is not installed"}] for row in planned}

    report.write(tmp_path, {}, MACHINE, planned, reason)

    output = capsys.readouterr().out
    assert set(json.loads(output.splitlines()[-1]).values()) == {None}
    assert f"{rows.MONAI}: skipped: monai is not installed" in output
    assert output.count("not measured") >= len(report.TARGETS)


def test_missed_target_is_marked():
    found = dict.fromkeys(report.TARGETS, None) | {"preview_ms": 51.0, "dice_vs_exhaustive_min": 0.9951}
    lines = {line.split()[0]: line for line in report.targets(found).splitlines()}

    assert "NOT MET" in lines["preview_ms"]
    assert "  met" in lines["dice_vs_exhaustive_min"]


def test_roofline_is_the_flops_over_those_of_a_matrix_product():
    row = rows.Row(rows.MONAI, "peers.monai", {"precision": "bf16"})
    fp32 = report.record(rows.Row("x", "y.z"), [outcome(4.0)], MACHINE)
    bf16 = report.record(row, [outcome(4.0)], MACHINE)

    assert fp32["limit_seconds"] == pytest.approx(2.0)
    assert bf16["limit_seconds"] == pytest.approx(200.0)


def test_gpu_is_measured_only_if_available(tmp_path):
    without, with_one = (rows.planned(tmp_path, [], machine, quick=True) for machine in (MACHINE, WITH_GPU))
    on_gpu = {row.name for row in with_one} - {row.name for row in without}

    assert on_gpu and all("GPU" in name for name in on_gpu)
    assert all(row.settings["device"] == "cuda" for row in with_one if row.name in on_gpu)


@pytest.mark.slow
def test_sample_ct_is_used_without_the_shared_data(tmp_path, monkeypatch):
    monkeypatch.setattr(cts, "SHARED", tmp_path / "not there")
    monkeypatch.setattr(cts, "TALL_SLICES", 127)  # 600 take seconds
    made = cts.prepare(str(tmp_path))

    sizes = {name: sitk.ReadImage(str(tmp_path / f"{name}.mha")).GetSize() for name in made["sentences"]}
    assert sizes == {"standard": (512, 512, 78), "large": (512, 512, 125), "tall": (512, 512, 127)}
    assert all("sample CT, resampled" in made["sentences"][name] for name in ("standard", "large"))
    assert made["all_cts"] == [str(cts.SAMPLE_CT)]
    voxels, label = (sitk.ReadImage(str(tmp_path / f"standard{kind}.mha")) for kind in ("", "_label"))
    spleen_hu = sitk.GetArrayFromImage(voxels)[sitk.GetArrayFromImage(label) == 1]
    assert spleen_hu.size > 50_000 and 0 < spleen_hu.mean() < 250


def test_growth_starts_at_the_standard_ct():
    assert rows.DEFAULTS["slices"] == cts.STANDARD_SLICES


def test_help_of_the_benchmark_does_not_import_torch():
    import subprocess

    run = subprocess.run([sys.executable, bench.__file__, "--help"], capture_output=True, encoding="utf-8", check=True)
    assert "--quick" in run.stdout
