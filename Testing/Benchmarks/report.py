"""The report of the measurements: a table, a CSV, a plot, and the value of every target as one line of JSON."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from Benchmarks import rows
from Benchmarks.plot import number, plot

AT_MOST, AT_LEAST = "at most", "at least"
TARGETS = {
    "ratio_to_monai_fp32": (AT_MOST, 1.0, "five SE-ResNeXt-50 folds : MONAI bundle's UNet in fp32"),
    "ratio_to_nnunet_fold": (AT_MOST, 0.01, "five SE-ResNeXt-50 folds : one fold of nnU-Net 3d_fullres"),
    "sample_seconds": (AT_MOST, 3.0, "s from process start to files written, beyond importing torch, sample CT"),
    "large_seconds": (AT_MOST, 8.0, "s, the same on the 512 x 512 x 125 CT"),
    "dice_vs_exhaustive_min": (AT_LEAST, 0.995, "lowest Dice of the default against --exhaustive"),
    "peak_gb_600": (AT_MOST, 2.5, "GB, five SE-ResNeXt-50 folds, 512 x 512 x 600 CT"),
    "preview_ms": (AT_MOST, 50.0, "ms an update of the slowest border, 512 x 512 x 100 label"),
    "import_ms": (AT_MOST, 50.0, "ms to import the Slicer module file"),
}
COLUMNS = (
    ("what", "part", "seconds", "lowest", "highest", "runs", "ratio_to_monai_fp32", "ratio_to_nnunet_fold")
    + ("peak_gb", "gflop", "limit_seconds", "folds", "slices", "size", "dice", "stages", "remark")
)  # fmt: skip


def summary_of(outcome: dict) -> str:
    """One measurement on one line."""
    for problem in ("skipped", "failed"):
        if problem in outcome:
            return f"{problem}: {outcome[problem]}"
    if "dice" in outcome:
        return f"Dice {outcome['dice']:.4f}"
    peak = f", {outcome['peak_gb']:.2f} GB" if outcome["peak_gb"] else ""
    return f"{number(outcome['seconds'])} s{peak}"


def record(row, outcomes: list[dict], machine: dict) -> dict:
    """The record of a row, by the names of COLUMNS; None where not measured."""
    entry = dict.fromkeys(COLUMNS) | {"what": row.name, "part": row.part, "runs": 0}
    good = [outcome for outcome in outcomes if "skipped" not in outcome and "failed" not in outcome]
    if not good:
        return entry | {"remark": summary_of(outcomes[-1]) if outcomes else "not measured"}
    entry["runs"] = len(good)
    if row.part == "growth" or row.name == rows.LOCALIZED:
        entry |= {name: row.settings.get(name, usual) for name, usual in rows.DEFAULTS.items()}
    if "dice" in good[0]:
        volumes = f"{good[0]['volume_ml']:.1f} mL, every slice: {good[0]['exhaustive_volume_ml']:.1f} mL"
        return entry | {"dice": good[0]["dice"], "remark": volumes}
    seconds = [outcome["seconds"] for outcome in good]
    peaks = [outcome["peak_gb"] for outcome in good if outcome["peak_gb"]]
    gflop = good[0].get("gflop")
    rate = machine["gflop_per_second"][row.settings.get("device", "cpu")][precision(row, machine)]
    entry |= {"seconds": median(seconds), "lowest": min(seconds), "highest": max(seconds)}
    entry |= {"peak_gb": max(peaks, default=None), "gflop": gflop, "limit_seconds": gflop / rate if gflop else None}
    entry["stages"] = shares(good)
    entry["remark"] = "; ".join(filter(None, (good[0].get("units"), good[0].get("scaled"))))
    return entry


def precision(row, machine: dict) -> str:
    """The precision of a row: by default ours is bf16 where the CPU is faster with it."""
    usual = row.work.startswith("ours.") and row.settings.get("mode") != "exhaustive" and rows.has_bf16(machine)
    on_gpu = row.settings.get("device", "cpu") != "cpu"
    return row.settings.get("precision") or ("bf16" if usual and not on_gpu else "fp32")


def shares(outcomes: list[dict]) -> dict[str, float]:
    """Share of each stage in the time of all runs, 0 to 1."""
    whole = sum(outcome["seconds"] for outcome in outcomes)
    return {
        stage: sum(outcome["stages"].get(stage, 0.0) for outcome in outcomes) / whole for stage in outcomes[0]["stages"]
    }


def add_ratios(records: dict[str, dict]) -> None:
    """Add the time of each row that runs networks, relative to each peer on the CPU."""
    for column, peer in (("ratio_to_monai_fp32", rows.MONAI), ("ratio_to_nnunet_fold", rows.NNUNET)):
        base = records.get(peer, {}).get("seconds")
        for entry in records.values():
            if base and entry["gflop"]:
                entry[column] = entry["seconds"] / base


def target_values(records: dict[str, dict]) -> dict[str, float | None]:
    """The value of every target, by the names of TARGETS; None where not measured."""

    def of(name: str, column: str) -> float | None:
        return records.get(name, {}).get(column)

    def beyond_torch(name: str) -> float | None:
        whole, torch = of(name, "seconds"), of(rows.TORCH, "seconds")
        return whole - torch if whole and torch else None

    def every(part: str, column: str) -> list[float]:
        return [e[column] for e in records.values() if e["part"] == part and e[column] is not None]

    previews, importing = every("preview", "seconds"), of(rows.IMPORT, "seconds")
    return {
        "ratio_to_monai_fp32": of(rows.LOCALIZED, "ratio_to_monai_fp32"),
        "ratio_to_nnunet_fold": of(rows.LOCALIZED, "ratio_to_nnunet_fold"),
        "sample_seconds": beyond_torch(rows.SAMPLE),
        "large_seconds": beyond_torch(rows.LARGE),
        "dice_vs_exhaustive_min": min(every("agreement", "dice"), default=None),
        "peak_gb_600": of(rows.TALL, "peak_gb"),
        "preview_ms": 1000 * max(previews) if previews else None,
        "import_ms": 1000 * importing if importing else None,
    }


def table(header: Iterable[str], lines: list[Iterable[str]]) -> str:
    """A text table, the first and last column aligned left; empty without lines."""
    if not lines:
        return ""
    cells = [list(header), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(f"{cell:{'<' if i in (0, last) else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in cells
    )


def times(entries: list[dict]) -> str:
    lines = [
        [e["what"], number(e["seconds"]), f"{number(e['lowest'])} to {number(e['highest'])}", str(e["runs"]),
         number(e["ratio_to_monai_fp32"]), number(e["ratio_to_nnunet_fold"]), number(e["peak_gb"])]
        for e in entries
    ]  # fmt: skip
    return table(("", "seconds", "lowest to highest", "runs", "x MONAI", "x nnU-Net", "peak GB"), lines)


def stages(entries: list[dict]) -> str:
    return "\n".join(
        f"{e['what']}: "
        + ", ".join(f"{name} {100 * share:.0f} %" for name, share in e["stages"].items() if share > 0.005)
        for e in entries
        if e["stages"] and len(e["stages"]) > 1
    )


def roofline(entries: list[dict]) -> str:
    lines = [
        [e["what"], number(e["gflop"]), number(e["limit_seconds"]), number(e["seconds"]),
         f"{100 * e['limit_seconds'] / e['seconds']:.0f} %"]
        for e in entries
        if e["gflop"]
    ]  # fmt: skip
    return table(("", "GFLOP", "limit, s", "measured, s", "of the limit"), lines)


def agreement(entries: list[dict]) -> str:
    return table(("", "Dice", ""), [[e["what"], number(e["dice"], 4), e["remark"]] for e in entries])


def remarks(entries: list[dict]) -> str:
    return "\n".join(f"{e['what']}: {e['remark']}" for e in entries if e["remark"])


def targets(found: dict[str, float | None]) -> str:
    lines = []
    for name, (direction, bound, what) in TARGETS.items():
        value = found[name]
        met = value is not None and (value <= bound if direction == AT_MOST else value >= bound)
        verdict = "not measured" if value is None else "met" if met else "NOT MET"
        lines.append([name, number(value, 4), f"{direction} {bound:g}", verdict, what])
    return table(("target", "value", "", "", ""), lines)


def sentences(made: dict, machine: dict) -> str:
    """The machine and the CTs, as text."""
    rates = ", ".join(
        f"{rate:.0f} GFLOP/s in {precision} ({device})"
        for device, by_precision in machine["gflop_per_second"].items()
        for precision, rate in by_precision.items()
    )
    memory = f", {machine['memory_gb']:.0f} GB" if machine["memory_gb"] else ""
    bf16 = "" if rows.has_bf16(machine) else " This CPU only emulates bf16, so there are no bf16 measurements."
    return "\n".join(
        [
            f"Machine: {machine['processor']}, {machine['cores']} cores{memory}; torch {machine['torch']}.",
            f"Threads: {machine['threads']} for every side. A matrix product reaches {rates}.{bf16}",
            f"GPU: {machine['gpu'] or 'none, so there are no GPU measurements'}.",
            *(f"CT, {name}: {sentence}." for name, sentence in made.items()),
        ]
    )


def write(folder: Path, made: dict, machine: dict, planned: list, outcomes: dict[str, list[dict]]) -> None:
    """Print the report, and write bench.csv and bench.png into the folder."""
    records = {row.name: record(row, outcomes[row.name], machine) for row in planned}
    add_ratios(records)
    parts: dict[str, list[dict]] = {"time": [], "growth": [], "memory": [], "preview": [], "agreement": [], "study": []}
    for entry in records.values():
        parts[entry["part"]].append(entry)
    found = target_values(records)
    for title, text in (
        ("Machine and CTs", sentences(made, machine)),
        ("Times", times(parts["time"])),
        ("Growth", times(parts["growth"])),
        ("Memory; the networks stop computing after two batches", times(parts["memory"])),
        ("Border preview", times(parts["preview"])),
        ("Many CTs; a second worker shares the same cores", times(parts["study"])),
        ("Share of each stage", stages(parts["time"] + parts["study"])),
        ("Time relative to the limit of a matrix product", roofline(parts["time"] + parts["growth"])),
        ("Dice of the default against --exhaustive", agreement(parts["agreement"])),
        ("Remarks", remarks([entry for entry in records.values() if entry["part"] != "agreement"])),
        ("Targets", targets(found)),
    ):
        if text:
            print(f"{title}\n{'-' * len(title)}\n{text}\n")
    _write_csv(folder / "bench.csv", records.values())
    plot(folder / "bench.png", list(records.values()), machine["threads"])
    print(f"Written: {folder / 'bench.csv'}, {folder / 'bench.png'}")
    print(json.dumps({name: value if value is None else round(value, 4) for name, value in found.items()}))


def _write_csv(path: Path, entries: Iterable[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for entry in entries:
            cells = {name: f"{v:.4g}" if isinstance(v, float) else v for name, v in entry.items()}
            cells["stages"] = ", ".join(f"{stage} {share:.3f}" for stage, share in (entry["stages"] or {}).items())
            writer.writerow(cells)
