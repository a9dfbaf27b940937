"""The report's figures as small PNGs: learning curves, errors by height, sweep and example slices.

The colors (Okabe and Ito) suit all kinds of color vision; lines also differ in their dashes.
"""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SpleenSmoothSegLib.io.atomic import atomic_write

from ..measuring.byheight import Profile

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
)  # fmt: skip
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
STYLES = {"control": (BLUE, "--", "o"), "smoothed": (VERMILION, "-", "s")}
CONTOURS = {"label": ("#F0E442", "-"), "smoothed": ("#FF7F2A", "-"), "control": (SKY, "--")}  # the last is drawn on top
GRAY = "#777777"
DOTS_PER_INCH, COLORS, GRAYS = 100, 96, 32

Histories = Mapping[int, Sequence[Mapping]]


def draw_curve(history: Sequence[Mapping], path: Path) -> None:
    """Loss and validation Dice of one fold by epoch; rows as in history.csv, as numbers or text."""
    draw_curves({"": {0: history}}, path)


def draw_curves(variants: Mapping[str, Histories], path: Path) -> None:
    """Loss and validation Dice of all folds of one or two variants by epoch.

    Two variants have a color each, with thin lines for the folds and a thick line for their mean; the folds of a single
    variant have a color each.
    """
    figure = _figure(9.0, 3.4)
    panels = figure.subplots(1, 2)
    for axes, column, name in zip(panels, ("loss", "validation_dice"), ("loss", "validation Dice"), strict=True):
        for variant, histories in variants.items():
            _draw_variant(axes, variant, histories, column, is_single=len(variants) == 1)
        _mark_phases(axes, [rows for histories in variants.values() for rows in histories.values()])
        axes.set(xlabel="epoch", ylabel=name)
    if panels[1].get_legend_handles_labels()[0]:
        panels[1].legend(loc="lower right", fontsize=8)
    _save(figure, path)


def draw_by_height(variants: Mapping[str, Profile], path: Path) -> None:
    """False negatives, false positives and Dice of slices, from the inferior to the superior tip of the spleen."""
    figure = _figure(9.0, 3.4)
    missed, extra, dice = figure.subplots(1, 3)
    for variant, profile in variants.items():
        color, dash, marker = _style(variant)
        line = {"color": color, "linestyle": dash, "marker": marker, "markersize": 4, "label": _text(variant)}
        missed.plot(profile.height, profile.false_negative_ml, **line)
        extra.plot(profile.height, profile.false_positive_ml, **line)
        beyond = [profile.below_ml, profile.above_ml]
        extra.plot(
            [-0.1, 1.1], beyond, color=color, linestyle="none", marker=marker, markersize=6, markerfacecolor="none"
        )
        dice.plot(profile.height, profile.dice, **line)
    part = f"mL in {_part_name(len(profile.height))} of the height"
    missed.set(title="false negatives", ylabel=part, ylim=(0, None))
    extra.set(title="false positives", ylabel=part, ylim=(0, None))
    dice.set(title="Dice of slices", ylabel="Dice", ylim=(None, 1.0))
    for axes in (missed, extra, dice):
        axes.set(xticks=[0, 0.25, 0.5, 0.75, 1], xlim=(-0.17, 1.17), xlabel="height (0 inferior, 1 superior)")
        axes.set_xticklabels(["0", "¼", "½", "¾", "1"])
    extra.axvspan(-0.17, 0, color=GRAY, alpha=0.12, linewidth=0)
    extra.axvspan(1, 1.17, color=GRAY, alpha=0.12, linewidth=0)
    if len(variants) > 1:
        dice.legend(loc="lower center", fontsize=8)
    _save(figure, path)


@dataclass(frozen=True)
class SweepPoint:
    """A border of the sweep, its mean Dice, and the interval if there is one."""

    kernel: str
    width: float
    unit: str
    dice: float
    low: float | None
    high: float | None


def draw_sweep(points: Sequence[SweepPoint], path: Path) -> None:
    """Mean Dice by width of the border, a line per kernel; the control is a horizontal line."""
    figure = _figure(7.0, 3.6)
    axes = figure.subplots()
    lines: dict[str, list[SweepPoint]] = {}
    for point in points:
        lines.setdefault(f"{point.kernel} ({point.unit})", []).append(point)
    kernels = [name for name in lines if not name.startswith("none")]
    widest = max((point.width for point in points), default=0.0)
    for number, name in enumerate(kernels):
        along = sorted(lines[name], key=lambda point: point.width)
        shift = 0.012 * widest * (number - (len(kernels) - 1) / 2)  # so that intervals do not overlap
        dice = [point.dice for point in along]
        spread = np.transpose([_spread(point) for point in along])
        axes.errorbar(
            [point.width + shift for point in along],
            dice,
            spread,
            color=CYCLE[number % len(CYCLE)],
            linestyle=DASHES[number % len(DASHES)],
            marker="os^Dv<>"[number % 7],
            markersize=5,
            capsize=3,
            linewidth=1.4,
            elinewidth=0.8,
            label=_text(name),
        )
    for point in (point for point in points if point.kernel == "none"):
        axes.axhline(point.dice, color=BLACK, linestyle=":", linewidth=1.4, label="control")
    units = sorted({point.unit for point in points if point.kernel != "none"})
    axes.set(xlabel=f"border width, {' or '.join(units) or 'mm'}", ylabel="mean Dice", xlim=(0, None))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _save(figure, path)


@dataclass(frozen=True)
class Example:
    """One axial slice: title, CT in HU (row, column), masks by name, and pixel size (row, column) in mm."""

    title: str
    ct: np.ndarray
    masks: Mapping[str, np.ndarray]
    pixel: tuple[float, float]


def draw_examples(examples: Sequence[Example], path: Path) -> None:
    """The slices side by side, cropped to the contours and a margin; the patient's right is on the left."""
    from matplotlib.lines import Line2D

    figure = _figure(2.8 * len(examples), 3.5, layout=None)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.09, top=0.87, wspace=0.02)
    for axes, example in zip(figure.subplots(1, len(examples), squeeze=False)[0], examples, strict=True):
        _draw_example(axes, example)
    names = [name for name in CONTOURS if any(name in example.masks for example in examples)]
    handles = [Line2D([], [], color=CONTOURS[name][0], linestyle=CONTOURS[name][1], linewidth=1.6) for name in names]
    figure.legend(
        handles, names, loc="lower center", ncols=len(names), fontsize=9, facecolor="black", labelcolor="white",
        borderaxespad=0.3,
    )  # fmt: skip
    _save(figure, path, on_ct=True)


def _draw_variant(axes, variant: str, histories: Histories, column: str, is_single: bool) -> None:
    curves = [_curve(rows, column) for rows in histories.values()]
    color, dash, _ = _style(variant)
    for place, (number, (epochs, values)) in enumerate(zip(histories, curves, strict=True)):
        if is_single:
            label = f"fold {number}" if len(curves) > 1 else None
            style = {"color": CYCLE[place % len(CYCLE)], "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.3}
            axes.plot(epochs, values, label=label, marker=_dot(values), **style)
        else:
            label = _text(f"{variant}, one fold") if place == 0 and len(curves) > 1 else None
            axes.plot(epochs, values, color=color, alpha=0.35, linewidth=0.8, label=label)
    if not is_single and curves:
        label = _text(f"{variant}, mean of {len(curves)} folds" if len(curves) > 1 else variant)
        epochs, values = _mean_curve(curves)
        axes.plot(epochs, values, color=color, linestyle=dash, linewidth=2.0, label=label, marker=_dot(values))


def _curve(rows: Sequence[Mapping], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs of both phases, from 1, and the values of a column."""
    return np.arange(len(rows)) + 1, np.array([float(row[column]) for row in rows])


def _mean_curve(curves: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over all curves, up to the end of the shortest."""
    values = [values for _, values in curves]
    shortest = min(map(len, values))
    return np.arange(shortest) + 1, np.mean([each[:shortest] for each in values], axis=0)


def _dot(values: np.ndarray) -> str | None:
    """A marker for curves that are too short for a line."""
    return "o" if len(values) < 3 else None


def _mark_phases(axes, histories: Sequence[Sequence[Mapping]]) -> None:
    phases = [[row["phase"] for row in rows] for rows in histories]
    if after := max((of_fold.count("adam") for of_fold in phases if "sgd" in of_fold), default=0):
        axes.axvline(after + 0.5, color=GRAY, linestyle=":", linewidth=1)
        across = axes.get_xaxis_transform()
        for text, side, shift in (("Adam", "right", -3), ("SGD", "left", 3)):
            axes.annotate(
                text, (after + 0.5, 1), (shift, 2), xycoords=across, textcoords="offset points", color=GRAY, fontsize=8,
                ha=side, va="bottom",
            )  # fmt: skip


def _draw_example(axes, example: Example) -> None:
    rows, columns = _frame(np.any(list(example.masks.values()), axis=0), example.pixel)
    height, width = example.pixel
    extent = (
        -width / 2,
        width * (columns.stop - columns.start - 0.5),
        height * (rows.stop - rows.start - 0.5),
        -height / 2,
    )
    axes.imshow(example.ct[rows, columns], cmap="gray", vmin=-160, vmax=240, extent=extent, interpolation="bilinear")
    x, y = width * np.arange(columns.stop - columns.start), height * np.arange(rows.stop - rows.start)
    for name, (color, dash) in CONTOURS.items():
        if name in example.masks and (mask := example.masks[name][rows, columns].astype(float)).any():
            axes.contour(x, y, mask, levels=[0.5], colors=[color], linestyles=[dash], linewidths=1.3)
    axes.set_axis_off()
    axes.set_title(example.title, color="white", fontsize=8.5, parse_math=False)
    axes.figure.set_facecolor("black")


def _frame(drawn: np.ndarray, pixel: tuple[float, float], margin_mm: float = 25.0, min_side_mm: float = 130.0):
    """Slices of rows and columns of a square around the contours, within the picture."""
    places = np.argwhere(drawn)
    low, high = (places.min(axis=0), places.max(axis=0) + 1) if len(places) else (np.zeros(2), np.array(drawn.shape))
    side_mm = max(min_side_mm, *((high - low) * pixel + 2 * margin_mm))
    start = np.round((low + high - side_mm / np.array(pixel)) / 2).astype(int)
    size = np.round(side_mm / np.array(pixel)).astype(int)
    start = np.clip(start, 0, np.maximum(np.array(drawn.shape) - size, 0))
    stop = np.minimum(start + size, drawn.shape)
    return slice(start[0], stop[0]), slice(start[1], stop[1])


def _style(variant: str) -> tuple[str, str, str]:
    return STYLES.get(variant, (BLUE, "-", "o"))


def _spread(point: SweepPoint) -> tuple[float, float]:
    if point.low is None or point.high is None:
        return 0.0, 0.0
    return max(point.dice - point.low, 0.0), max(point.high - point.dice, 0.0)


def _part_name(parts: int) -> str:
    return "a tenth" if parts == 10 else f"1/{parts}"


def _text(name: str) -> str:
    """A name without math text and without a leading underscore, which would hide it from the legend."""
    return name.replace("$", r"\$").lstrip("_")


def _figure(width: float, height: float, layout: str | None = "constrained"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path: Path, on_ct: bool = False) -> None:
    """Save as PNG with a palette, a third of the size of RGB."""
    from PIL import Image

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(min(axes.title.get_fontsize(), 10))
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the font lacks a character and shows a box
        figure.savefig(picture, format="png", facecolor=figure.get_facecolor())
    rgb = Image.open(picture).convert("RGB")
    if on_ct:
        palette = Image.new("P", (1, 1))
        palette.putpalette(_palette().astype(np.uint8).ravel().tolist())
        small = rgb.quantize(palette=palette, dither=Image.Dither.NONE)
    else:
        small = rgb.quantize(COLORS)
    with atomic_write(path) as temporary:
        small.save(temporary, format="PNG", optimize=True)


def _palette() -> np.ndarray:
    """Grays and the contours' colors, also blended with grays as in antialiased edges; RGB (color, 3)."""
    from matplotlib.colors import to_rgb

    contours = 255 * np.array([to_rgb(color) for color, _ in CONTOURS.values()])
    shares = np.array([0.4, 0.7, 1.0])[:, None, None, None]
    blended = shares * contours + (1 - shares) * np.array([20, 110, 180])[:, None, None]
    return np.concatenate([np.repeat(np.linspace(0, 255, GRAYS)[:, None], 3, axis=1), blended.reshape(-1, 3)])
