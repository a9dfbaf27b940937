"""All measurements, in the order in which each round runs them."""

from dataclasses import dataclass, field
from pathlib import Path

from Benchmarks.cts import SAMPLE_CT

MONAI = "MONAI bundle, one UNet, fp32"
NNUNET = "nnU-Net 3d_fullres, one fold"
LOCALIZED = "five SE-ResNeXt-50 folds, spleen slices only"
TALL = "five SE-ResNeXt-50 folds, 512 x 512 x 600 CT"
TORCH = "import torch"
SAMPLE, LARGE = "starter, segment.py, sample CT", "starter, segment.py, 512 x 512 x 125 CT"
STUDY = "study of all available CTs, workers: {}"
AGAIN = "starter, the next click, sample CT"
IMPORT = "import of the module file"

# Of the ensemble on the standard CT; each growth measurement changes one of them.
DEFAULTS = {"folds": 5, "slices": 78, "size": 256}
GROWN = "folds {folds}, slices {slices}, pixels {size} x {size}"
BORDERS = ("gaussian:1.5mm", "box:3px", "svls:1px", "boundary_uncertainty:1px", "signed_distance:4mm")


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        work: the function of this folder that measures, "file.function".
        settings: its arguments.
        times: number of rounds.
        part: of the report: time, growth, memory, preview, agreement or study.
    """

    name: str
    work: str
    settings: dict = field(default_factory=dict)
    times: int = 1
    part: str = "time"


def planned(cts: Path, all_cts: list[str], machine: dict, quick: bool) -> list[Row]:
    """All measurements that are possible on this machine."""
    standard, large, tall = ({"ct": str(cts / f"{n}.mha")} for n in ("standard", "large", "tall"))
    localized = standard | {"label": str(cts / "standard_label.mha"), "mode": "spleen_slices"}
    few, some, many = (1, 2, 3) if quick else (1, 5, 5)
    rows = [
        Row(MONAI, "peers.monai", standard, some),
        Row(LOCALIZED, "ours.ensemble", localized, some),
        Row(TORCH, "ours.importing", {"package": "torch"}, many),
        Row(SAMPLE, "ours.process_time", {"ct": str(SAMPLE_CT), "folder": str(cts)}, many),
        Row(LARGE, "ours.process_time", large | {"folder": str(cts)}, some),
        Row(AGAIN, "ours.process_time", {"ct": str(SAMPLE_CT), "folder": str(cts), "again": True}, some),
        Row(IMPORT, "ours.module_import", {}, many),
        Row("starter, CT in memory", "ours.starter", standard, some),
        Row("starter, CT in memory, every slice", "ours.starter", standard | {"mode": "exhaustive"}, few),
        Row(NNUNET, "peers.nnunet", standard | {"patches": 1 if quick else None}),
        Row(TALL, "ours.ensemble", tall | {"calls": 2}, part="memory"),
    ]
    if has_bf16(machine):
        rows.append(Row("MONAI bundle, one UNet, bf16", "peers.monai", standard | {"precision": "bf16"}, few))
    if not quick:
        rows.append(Row("five SE-ResNeXt-50 folds, every slice", "ours.ensemble", localized | {"mode": "exhaustive"}))
    if machine["gpu"]:
        rows += _on_gpu(standard, localized, some)
    rows += _growth(localized, few, quick)
    rows += [Row(border, "ours.preview", {"border": border}, few, "preview") for border in BORDERS]
    compared = [str(SAMPLE_CT), large["ct"]] if quick else [*all_cts, standard["ct"]]
    rows += [Row(Path(ct).name, "ours.dice", {"ct": ct}, 1, "agreement") for ct in compared]
    if not quick:
        rows += [Row(STUDY.format(n), "ours.study", {"cts": all_cts, "workers": n}, part="study") for n in (1, 2)]
    return rows


def has_bf16(machine: dict) -> bool:
    """Whether the CPU computes in bf16 and does not only emulate it, which takes a hundred times longer."""
    rates = machine["gflop_per_second"]["cpu"]
    return rates["bf16"] > rates["fp32"]


def _on_gpu(standard: dict, localized: dict, times: int) -> list[Row]:
    gpu = {"device": "cuda"}
    return [
        Row(f"{MONAI}, GPU", "peers.monai", standard | gpu, times),
        Row("MONAI bundle, one UNet, fp16, GPU", "peers.monai", standard | gpu | {"precision": "fp16"}, times),
        Row(f"{NNUNET}, fp16, GPU", "peers.nnunet", standard | gpu | {"precision": "fp16"}, times),
        Row(f"{LOCALIZED}, GPU", "ours.ensemble", localized | gpu, times),
        Row("starter, CT in memory, GPU", "ours.starter", standard | gpu, times),
    ]


def _growth(localized: dict, times: int, quick: bool) -> list[Row]:
    folds, slices, sizes = ((1,), (312,), (128,)) if quick else ((1, 3), (156, 312, 600), (128, 192, 384, 512))
    changes = [{"folds": n} for n in folds] + [{"slices": n} for n in slices] + [{"size": n} for n in sizes]
    return [
        Row(GROWN.format(**(DEFAULTS | change)), "ours.ensemble", localized | change, times, "growth")
        for change in changes
    ]
