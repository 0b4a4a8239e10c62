"""The page's charts: intervals as dots on lines, labels beside what they name, nothing that is not data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from headstart.report.figure import ACCENT, INK, LINE, SMALL, SOFT, TEXT, canvas, panel, shortened, svg
from headstart.statistics.interval import wilson

Document = Mapping[str, Any]
CURVE = (344.0, 210.0)  # width and height of a learning curve


@dataclass(frozen=True)
class Row:
    """One interval of a chart: `strong` rows carry the accent; `note` stands at the right end."""

    label: str
    value: float
    low: float
    high: float
    note: str = ""
    strong: bool = False


def percent(value: float) -> str:
    """A share with one digit after the point, so that columns of them line up."""
    return f"{100 * value:.1f}%".replace("-", "−")


def rounded(value: float) -> str:
    """A share on a scale, where round numbers need no digit after the point."""
    return percent(value).replace(".0%", "%")


def scale_start(lowest: float) -> float:
    """Where a scale of shares begins: at 0, unless everything is crowded at its upper end."""
    return 0.0 if lowest < 0.55 else math.floor((lowest - 0.05) * 10) / 10


def intervals(
    rows: Sequence[Row],
    alt: str,
    *,
    width: int = 520,
    labels: int = 128,
    mark: tuple[float, str] | None = None,
    pitch: int = 30,
) -> Markup:
    """Shares with their intervals, a row each, on one common scale from 0 (or close below the data) to 1.

    Args:
        rows: top to bottom.
        alt: what the chart shows, in words.
        width: of the drawing.
        labels: pixels kept at the left for the rows' labels.
        mark: a share to draw as a dotted line, and its name.
        pitch: pixels from row to row.
    """
    values = [row.low for row in rows] + ([mark[0]] if mark else [])
    start = scale_start(min(values))
    longest = max((len(row.note) for row in rows), default=0)
    height, notes = pitch * len(rows), max(128, 66 + 6 * longest) if longest else 56
    top = 16 if mark else 4
    with canvas(width, top + height + 26) as figure:
        axes = panel(figure, labels, top, width - labels - notes, height)
        axes.set(xlim=(start, 1.0), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        _share_axis(axes, start)
        if mark:
            axes.axvline(mark[0], color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
            side = "left" if mark[0] < start + (1 - start) / 2 else "right"
            axes.annotate(mark[1], (mark[0], -0.5), (0, 4), textcoords="offset points", fontsize=SMALL, color=SOFT,
                          ha=side)  # fmt: skip
        for place, row in enumerate(rows):
            colour = ACCENT if row.strong else SOFT
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=3, alpha=0.35,
                      solid_capstyle="round", clip_on=False)  # fmt: skip
            axes.plot(row.value, place, "o", color=colour, markersize=7, clip_on=False)
            _beside(axes, -labels, place, shortened(row.label, max(8, labels // 6)), "left", INK, row.strong)
            _beside(axes, 55, place, percent(row.value), "right", INK, row.strong, right=True)
            _beside(axes, notes, place, row.note, "right", SOFT, False, right=True)
        return svg(figure, alt)


def losses(epochs: Sequence[Document], best: int | None, alt: str) -> Markup:
    """Loss on training and on validation examples by epoch; numbers that are none (null) leave a gap."""
    lines = {"training": (_values(epochs, "loss"), SOFT), "validation": (_values(epochs, "validation/loss"), ACCENT)}
    with canvas(*CURVE) as figure:
        axes = panel(figure, 34, 8, CURVE[0] - 96, CURVE[1] - 40)
        for line, colour in lines.values():
            axes.plot(_values(epochs, "epoch"), line, color=colour, linewidth=1.8, solid_capstyle="round")
        axes.set_ylim(0, 1.05 * max((one for line, _ in lines.values() for one in line if one == one), default=1.0))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _epoch_axis(axes, epochs)
        _end_labels(axes, epochs[-1]["epoch"], [(line[-1], name, colour) for name, (line, colour) in lines.items()])
        _mark_best(axes, epochs, "validation/loss", best)
        return svg(figure, alt)


def accuracies(epochs: Sequence[Document], best: int | None, probe: float | None, alt: str) -> Markup:
    """Validation accuracy by epoch against the probe that training started from."""
    reached = _values(epochs, "validation/accuracy")
    with canvas(*CURVE) as figure:
        axes = panel(figure, 34, 8, CURVE[0] - 96, CURVE[1] - 40)
        axes.plot(_values(epochs, "epoch"), reached, color=ACCENT, linewidth=1.8, solid_capstyle="round")
        ends = [(reached[-1], rounded(reached[-1]), ACCENT)]
        if probe is not None:
            axes.axhline(probe, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
            ends.append((probe, "the probe", SOFT))
        _roomy(axes, [*(one for one in reached if one == one), *([] if probe is None else [probe])])
        _epoch_axis(axes, epochs)
        _end_labels(axes, epochs[-1]["epoch"], ends)
        _mark_best(axes, epochs, "validation/accuracy", best)
        return svg(figure, alt)


def learning_rates(groups: Sequence[Document], alt: str, *, width: int = 362) -> Markup:
    """Each layer group's highest learning rate, the head on top, on a logarithmic scale; frozen ones say so."""
    ordered = sorted(groups, key=lambda group: -group["depth"])
    moving = [math.log10(group["learning_rate"]) for group in ordered if not _still(group)] or [0.0]
    room = 0.06 * (max(moving) - min(moving)) + 0.05
    height = 24 * len(ordered)
    with canvas(width, height + 12) as figure:
        axes = panel(figure, 124, 4, width - 124 - 70, height)
        axes.set(xlim=(min(moving) - room, max(moving)), ylim=(len(ordered) - 0.5, -0.5), xticks=[], yticks=[])
        for place, group in enumerate(ordered):
            colour = SOFT if _still(group) else INK
            _beside(axes, -124, place, shortened(group["name"], 20), "left", colour, place == 0)
            if _still(group):
                _beside(axes, 0, place, "frozen", "left", SOFT, False)
                continue
            axes.axhline(place, color=LINE, linewidth=1)
            at = math.log10(group["learning_rate"])
            axes.plot(at, place, "o", color=ACCENT if place == 0 else SOFT, markersize=7, clip_on=False)
            _beside(axes, 69, place, scientific(group["learning_rate"]), "right", INK, place == 0, right=True)
        return svg(figure, alt)


def reliability(bins: Sequence[Document], alt: str, *, level: float = 0.95) -> Markup:
    """Accuracy against stated confidence, a dot a bin with Wilson's interval; below, how many answers share it."""
    filled = [one for one in bins if one["n"]]
    most = max(one["n"] for one in filled)
    with canvas(350, 368) as figure:
        axes, counts = panel(figure, 40, 8, 290, 290), panel(figure, 40, 306, 290, 40)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        axes.text(0.03, 0.95, "too modest", fontsize=SMALL, color=SOFT, va="top")
        axes.text(0.97, 0.05, "too sure", fontsize=SMALL, color=SOFT, ha="right")
        for one in filled:
            sure = wilson(round(one["accuracy"] * one["n"]), one["n"], level)
            at = one["confidence"]
            axes.plot([at, at], [sure.low, sure.high], color=ACCENT, linewidth=2, alpha=0.35, clip_on=False)
            axes.plot(at, one["accuracy"], "o", color=ACCENT, clip_on=False,
                      markersize=4 + 6 * math.sqrt(one["n"] / most))  # fmt: skip
            counts.bar((one["low"] + one["high"]) / 2, one["n"], width=(one["high"] - one["low"]) * 0.86,
                       color=SOFT, alpha=0.5)  # fmt: skip
        ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
        names = [rounded(tick) for tick in ticks]
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=ticks, yticklabels=names)
        counts.set(xlim=(0, 1), ylim=(0, most), yticks=[], xticks=ticks, xticklabels=names)
        axes.grid(axis="both", color=LINE, linewidth=1)
        axes.set_axisbelow(True)
        return svg(figure, alt)


def scientific(value: float) -> str:
    """A small number as people write it: 0.0002 as `2 × 10⁻⁴`, 0.02 as it is."""
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.4g}"
    digits, exponent = f"{value:.1e}".split("e")
    superscript = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits.removesuffix('.0')} × 10{superscript}".replace("-", "−")


def _still(group: Document) -> bool:
    return bool(group["frozen"]) or group["learning_rate"] <= 0


def _share_axis(axes: Axes, start: float) -> None:
    span = 1 - start
    step = 0.25 if span > 0.45 else 0.1 if span > 0.15 else 0.05
    ticks = [1 - step * part for part in range(round(span / step) + 1)]
    axes.set_xticks(ticks, [rounded(tick) for tick in ticks])
    axes.grid(axis="x", color=LINE, linewidth=1)
    axes.set_axisbelow(True)


def _beside(
    axes: Axes, offset: float, place: float, text: str, side: str, colour: str, strong: bool, *, right: bool = False
) -> None:
    """Text in the margin at a row's height; `right` counts from the right edge."""
    axes.annotate(text, (1.0 if right else 0.0, place), (offset, 0), xycoords=("axes fraction", "data"),
                  textcoords="offset points", ha=side, va="center_baseline", fontsize=TEXT, color=colour,
                  fontweight="bold" if strong else "normal", annotation_clip=False)  # fmt: skip


def _values(epochs: Sequence[Document], key: str) -> list[float]:
    return [math.nan if epoch[key] is None else float(epoch[key]) for epoch in epochs]


def _epoch_axis(axes: Axes, epochs: Sequence[Document]) -> None:
    at = [epoch["epoch"] for epoch in epochs]
    axes.set_xlim(at[0], max(at[-1], at[0] + 1))
    shown = sorted({at[0], at[len(at) // 2], at[-1]})
    axes.set_xticks(shown, [f"epoch {at[0]}", *(str(one) for one in shown[1:])])
    axes.tick_params(axis="x", pad=8)
    axes.get_xticklabels()[0].set_horizontalalignment("left")
    axes.locator_params(axis="y", nbins=4)
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_axisbelow(True)


def _roomy(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = max(0.01, 0.15 * (high - low))
    axes.set_ylim(max(0.0, low - room), min(1.0, high + room))
    axes.yaxis.set_major_formatter(lambda value, _: rounded(value))


def _end_labels(axes: Axes, at: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name lines at their right ends, pushed apart where they would touch."""
    low, high = axes.get_ylim()
    gap, previous = (high - low) * 13 / (CURVE[1] - 40), -math.inf
    for value, name, colour in sorted(end for end in ends if end[0] == end[0]):
        previous = max(value, previous + gap)
        axes.annotate(name, (at, previous), (6, 0), textcoords="offset points", va="center_baseline",
                      fontsize=SMALL, color=colour, annotation_clip=False)  # fmt: skip


def _mark_best(axes: Axes, epochs: Sequence[Document], key: str, best: int | None) -> None:
    for epoch in epochs:
        if epoch["epoch"] == best and epoch[key] is not None:
            at = (epoch["epoch"], epoch[key])
            axes.plot(*at, "o", color=ACCENT, markersize=7, clip_on=False)
            axes.annotate("kept", at, (0, 9), textcoords="offset points", ha="center", fontsize=SMALL, color=ACCENT,
                          annotation_clip=False)  # fmt: skip
