"""The picture of the README: the waits, what they are made of, and what they grow with."""

from pathlib import Path

from Benchmarks.rows import TOLD, USUAL

OURS, PEERS, MEMORY = "#4477aa", "#b0b0b0", "#cc6677"
AXES = {"folds": "folds", "slices": "slices in the CT", "size": "rows and columns that the network sees"}


def plot(path: Path, records: list[dict], threads: int) -> None:
    """Draw the records of the report that hold seconds; waits are on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    waits = [entry for entry in records if entry["part"] == "wait" and entry["seconds"] and entry["seconds"] > 0.1]
    grown = [entry for entry in records if entry["seconds"] and (entry["what"] == TOLD or entry["part"] == "growth")]
    if not waits:
        return
    figure = pyplot.figure(figsize=(13, 4.5 + 0.4 * len(waits)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(0.4 * len(waits) + 1.5, 3))
    bars, shares = above.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_waits(bars, waits, threads)
    _draw_shares(shares, waits, pyplot.get_cmap("tab20").colors)
    for axes, change in zip(below.subplots(1, len(AXES)), AXES, strict=True):
        _draw_growth(axes, grown, change)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def number(value: float | None, digits: int = 3) -> str:
    """Not more than `digits` of it are known; "-" for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _draw_waits(axes, waits: list[dict], threads: int) -> None:
    seconds = [entry["seconds"] for entry in waits]
    spread = [[e["seconds"] - e["lowest"] for e in waits], [e["highest"] - e["seconds"] for e in waits]]
    colors = [PEERS if entry["what"].startswith(("MONAI", "nnU-Net")) else OURS for entry in waits]
    bars = axes.barh([entry["what"] for entry in waits], seconds, xerr=spread, color=colors)
    axes.bar_label(bars, [f"{number(value)} s" for value in seconds], padding=4)
    axes.set(xscale="log", xlabel=f"seconds, {threads} threads", title="Wait")
    axes.margins(x=0.2)
    axes.invert_yaxis()


def _draw_shares(axes, waits: list[dict], palette) -> None:
    color_of: dict[str, tuple] = {}
    for entry in waits:
        left = 0.0
        for stage, share in entry["stages"].items():
            is_new = stage not in color_of
            color = color_of.setdefault(stage, palette[len(color_of) % len(palette)])
            axes.barh(entry["what"], 100 * share, left=left, color=color, label=stage if is_new else None)
            left += 100 * share
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    axes.set(xlabel="%", title="Share of each stage")


def _draw_growth(axes, grown: list[dict], change: str) -> None:
    """Seconds and peak memory over one of the things that change, the others as usual."""
    others = [name for name in USUAL if name != change]
    along = [entry for entry in grown if all(entry[name] == USUAL[name] for name in others)]
    along.sort(key=lambda entry: entry[change])
    values = [entry[change] for entry in along]
    memory = axes.twinx()
    axes.plot(values, [entry["seconds"] for entry in along], "o-", color=OURS)
    memory.plot(values, [entry["peak_gb"] for entry in along], "s--", color=MEMORY)
    axes.set(xlabel=AXES[change], xticks=values, ylim=(0, None))
    axes.set_ylabel("seconds", color=OURS)
    memory.set(ylim=(0, None))
    memory.set_ylabel("peak GB", color=MEMORY)
