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
    """A share as people say it: one digit after the point, none for the round ones."""
    return f"{100 * value:.1f}".removesuffix(".0") + "%"


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
    start = _scale_start(min(values))
    height, notes = pitch * len(rows), 96 if any(row.note for row in rows) else 46
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
            _beside(axes, -8, place, shortened(row.label, max(8, labels // 6)), "right", INK, row.strong)
            _beside(axes, 10, place, percent(row.value), "left", INK, row.strong, right=True)
            _beside(axes, 52, place, row.note, "left", SOFT, False, right=True)
        return svg(figure, alt)


def learning_curve(epochs: Sequence[Document], best: int, probe: float | None, alt: str) -> Markup:
    """Loss on training and validation examples, and validation accuracy, by epoch: two panels, one time axis."""
    at = [epoch["epoch"] for epoch in epochs]
    with canvas(560, 220) as figure:
        loss, accuracy = panel(figure, 36, 24, 190, 160), panel(figure, 318, 24, 190, 160)
        ends = []
        for key, name, colour in (("loss", "training", SOFT), ("validation/loss", "validation", ACCENT)):
            line = [epoch[key] for epoch in epochs]
            loss.plot(at, line, color=colour, linewidth=1.8, solid_capstyle="round")
            ends.append((line[-1], name, colour))
        reached = [epoch["validation/accuracy"] for epoch in epochs]
        accuracy.plot(at, reached, color=ACCENT, linewidth=1.8, solid_capstyle="round")
        if probe is not None:
            accuracy.axhline(probe, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        loss.set_ylim(bottom=0)
        _roomy(accuracy, [*reached, *([] if probe is None else [probe])])
        for axes, title in ((loss, "Loss"), (accuracy, "Validation accuracy")):
            _epoch_axis(axes, at, title)
        _end_labels(loss, at[-1], ends)
        named = [(reached[-1], percent(reached[-1]), ACCENT)]
        _end_labels(accuracy, at[-1], named if probe is None else [*named, (probe, "the probe", SOFT)])
        if best in at:
            _mark_best(loss, accuracy, epochs[at.index(best)], best)
        return svg(figure, alt)


def learning_rates(groups: Sequence[Document], alt: str, *, width: int = 420) -> Markup:
    """Each layer group's highest learning rate, the head on top, on a logarithmic scale; frozen ones say so."""
    ordered = sorted(groups, key=lambda group: -group["depth"])
    moving = [group["learning_rate"] for group in ordered if not group["frozen"] and group["learning_rate"] > 0]
    floor = min(moving, default=1.0) / 3
    height = 24 * len(ordered)
    with canvas(width, height + 12) as figure:
        axes = panel(figure, 132, 4, width - 132 - 70, height)
        axes.set(xlim=(math.log10(floor), math.log10(max(moving, default=10.0))), ylim=(len(ordered) - 0.5, -0.5))
        axes.set(xticks=[], yticks=[])
        for place, group in enumerate(ordered):
            still = group["frozen"] or group["learning_rate"] <= 0
            _beside(axes, -8, place, shortened(group["name"], 20), "right", SOFT if still else INK, place == 0)
            if still:
                _beside(axes, 0, place, "frozen", "left", SOFT, False)
                continue
            rate = group["learning_rate"]
            axes.barh(place, math.log10(rate / floor), left=math.log10(floor), height=0.52, color=ACCENT,
                      alpha=1.0 if place == 0 else 0.55)  # fmt: skip
            axes.annotate(scientific(rate), (math.log10(rate), place), (6, 0), textcoords="offset points",
                          va="center_baseline", fontsize=SMALL, color=INK, annotation_clip=False)  # fmt: skip
        return svg(figure, alt)


def reliability(bins: Sequence[Document], alt: str, *, level: float = 0.95) -> Markup:
    """Accuracy against stated confidence, a dot a bin with Wilson's interval; below, how many answers share it."""
    filled = [one for one in bins if one["n"]]
    most = max(one["n"] for one in filled)
    with canvas(360, 380) as figure:
        axes, counts = panel(figure, 44, 12, 290, 290), panel(figure, 44, 312, 290, 36)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        axes.text(0.05, 0.95, "more often right\nthan it says", fontsize=SMALL, color=SOFT, va="top")
        axes.text(0.95, 0.05, "less often right\nthan it says", fontsize=SMALL, color=SOFT, ha="right")
        for one in filled:
            sure = wilson(round(one["accuracy"] * one["n"]), one["n"], level)
            at = one["confidence"]
            axes.plot([at, at], [sure.low, sure.high], color=ACCENT, linewidth=2, alpha=0.35, clip_on=False)
            axes.plot(at, one["accuracy"], "o", color=ACCENT, clip_on=False,
                      markersize=4 + 6 * math.sqrt(one["n"] / most))  # fmt: skip
            counts.bar((one["low"] + one["high"]) / 2, one["n"], width=(one["high"] - one["low"]) * 0.86,
                       color=SOFT, alpha=0.5)  # fmt: skip
        ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
        names = [percent(tick) for tick in ticks]
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=ticks, yticklabels=names)
        counts.set(xlim=(0, 1), ylim=(0, most), yticks=[], xticks=ticks, xticklabels=names)
        axes.grid(axis="both", color=LINE, linewidth=1)
        axes.set_axisbelow(True)
        figure.text(44 / 360, 4 / 380, "stated confidence, and how many answers have it", fontsize=SMALL, color=SOFT)
        figure.text(4 / 360, 368.5 / 380, "right", fontsize=SMALL, color=SOFT)
        return svg(figure, alt)


def scientific(value: float) -> str:
    """A small number as people write it: 0.0002 as `2 × 10⁻⁴`, 0.02 as it is."""
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.4g}"
    exponent = math.floor(math.log10(abs(value)))
    superscript = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value / 10**exponent:.2g} × 10{superscript}"


def _scale_start(lowest: float) -> float:
    """Zero, unless everything is crowded at the upper end."""
    return 0.0 if lowest < 0.55 else math.floor((lowest - 0.05) * 10) / 10


def _share_axis(axes: Axes, start: float) -> None:
    ticks = [start + (1 - start) * part / 4 for part in range(5)]
    axes.set_xticks(ticks, [percent(tick) for tick in ticks])
    axes.grid(axis="x", color=LINE, linewidth=1)
    axes.set_axisbelow(True)


def _beside(
    axes: Axes, offset: float, place: float, text: str, side: str, colour: str, strong: bool, *, right: bool = False
) -> None:
    """Text in the margin at a row's height; `right` counts from the right edge."""
    axes.annotate(text, (1.0 if right else 0.0, place), (offset, 0), xycoords=("axes fraction", "data"),
                  textcoords="offset points", ha=side, va="center_baseline", fontsize=TEXT, color=colour,
                  fontweight="bold" if strong else "normal", annotation_clip=False)  # fmt: skip


def _epoch_axis(axes: Axes, at: Sequence[int], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=TEXT, color=INK, pad=10)
    axes.set_xlim(at[0], max(at[-1], at[0] + 1))
    shown = sorted({at[0], at[len(at) // 2], at[-1]})
    axes.set_xticks(shown, [f"epoch {at[0]}", *(str(one) for one in shown[1:])])
    axes.locator_params(axis="y", nbins=4)
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_axisbelow(True)


def _roomy(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    room = max(0.01, 0.15 * (high - low))
    axes.set_ylim(max(0.0, low - room), min(1.0, high + room))
    axes.yaxis.set_major_formatter(lambda value, _: percent(value))


def _end_labels(axes: Axes, at: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name lines at their right ends, pushed apart where they would touch."""
    low, high = axes.get_ylim()
    gap, previous = (high - low) * 13 / 160, -math.inf
    for value, name, colour in sorted(ends):
        previous = max(value, previous + gap)
        axes.annotate(name, (at, previous), (6, 0), textcoords="offset points", va="center_baseline",
                      fontsize=SMALL, color=colour, annotation_clip=False)  # fmt: skip


def _mark_best(loss: Axes, accuracy: Axes, epoch: Document, best: int) -> None:
    for axes, key in ((loss, "validation/loss"), (accuracy, "validation/accuracy")):
        axes.plot(best, epoch[key], "o", color=ACCENT, markersize=7, clip_on=False)
    loss.annotate("kept", (best, epoch["validation/loss"]), (0, 9), textcoords="offset points", ha="center",
                  fontsize=SMALL, color=ACCENT, annotation_clip=False)  # fmt: skip
