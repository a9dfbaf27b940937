"""The plot of the report: times, the share of each stage, and growth."""

from pathlib import Path

from Benchmarks.rows import DEFAULTS, LOCALIZED

OURS, PEERS, MEMORY = "#4477aa", "#b0b0b0", "#cc6677"
AXES = {"folds": "folds", "slices": "slices in the CT", "size": "rows and columns of a network input"}


def plot(path: Path, records: list[dict], threads: int) -> None:
    """Draw the records that have seconds; times are on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    times = [entry for entry in records if entry["part"] == "time" and entry["seconds"] and entry["seconds"] > 0.1]
    grown = [
        entry for entry in records if entry["seconds"] and (entry["what"] == LOCALIZED or entry["part"] == "growth")
    ]
    if not times:
        return
    figure = pyplot.figure(figsize=(13, 4.5 + 0.4 * len(times)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(0.4 * len(times) + 1.5, 3))
    bars, shares = above.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_times(bars, times, threads)
    _draw_shares(shares, times, pyplot.get_cmap("tab20").colors)
    for axes, change in zip(below.subplots(1, len(AXES)), AXES, strict=True):
        _draw_growth(axes, grown, change)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def number(value: float | None, digits: int = 3) -> str:
    """The value with `digits` significant digits; "-" for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _draw_times(axes, times: list[dict], threads: int) -> None:
    seconds = [entry["seconds"] for entry in times]
    spread = [[e["seconds"] - e["lowest"] for e in times], [e["highest"] - e["seconds"] for e in times]]
    colors = [PEERS if entry["what"].startswith(("MONAI", "nnU-Net")) else OURS for entry in times]
    bars = axes.barh([entry["what"] for entry in times], seconds, xerr=spread, color=colors)
    axes.bar_label(bars, [f"{number(value)} s" for value in seconds], padding=4)
    axes.set(xscale="log", xlabel=f"seconds, {threads} threads", title="Time")
    axes.margins(x=0.2)
    axes.invert_yaxis()


def _draw_shares(axes, times: list[dict], palette) -> None:
    color_of: dict[str, tuple] = {}
    for entry in times:
        left = 0.0
        for stage, share in entry["stages"].items():
            is_new = stage not in color_of
            color = color_of.setdefault(stage, palette[len(color_of) % len(palette)])
            axes.barh(entry["what"], 100 * share, left=left, color=color, label=stage if is_new else None)
            left += 100 * share
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    axes.set(xlabel="%", title="Share of each stage")


def _draw_growth(axes, grown: list[dict], change: str) -> None:
    """Seconds and peak memory over one parameter, with the others at their defaults."""
    others = [name for name in DEFAULTS if name != change]
    along = [entry for entry in grown if all(entry[name] == DEFAULTS[name] for name in others)]
    along.sort(key=lambda entry: entry[change])
    values = [entry[change] for entry in along]
    memory = axes.twinx()
    axes.plot(values, [entry["seconds"] for entry in along], "o-", color=OURS)
    memory.plot(values, [entry["peak_gb"] for entry in along], "s--", color=MEMORY)
    axes.set(xlabel=AXES[change], xticks=values, ylim=(0, None))
    axes.set_ylabel("seconds", color=OURS)
    memory.set(ylim=(0, None))
    memory.set_ylabel("peak GB", color=MEMORY)
