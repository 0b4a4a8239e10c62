"""The confusion matrix, whole whatever the number of classes, and the mix-ups worth reading in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from headstart.report.figure import ACCENT, INK, LINE, PAPER, SOFT, TEXT, canvas, panel, shortened, svg

NUMBERED = 24  # classes up to which every cell carries its count


@dataclass(frozen=True)
class MixUp:
    """How often examples of one class were taken for another, and the share of that class."""

    true: str
    predicted: str
    count: int
    share: float


def mix_ups(classes: Sequence[str], counts: Sequence[Sequence[int]], most: int) -> list[MixUp]:
    """The commonest wrong answers, most first; ties in the order of classes."""
    found = [
        MixUp(classes[row], classes[column], count, count / sum(counts[row]))
        for row in range(len(classes))
        for column, count in enumerate(counts[row])
        if row != column and count
    ]
    often = [one for one in found if one.count > 1]  # a single answer is no pattern
    return sorted(often or found, key=lambda one: -one.count)[: most if often else most // 2]


def matrix(classes: Sequence[str], counts: Sequence[Sequence[int]], alt: str, *, ranked: Sequence[MixUp]) -> Markup:
    """Rows are the truth, columns the answers; darker is a larger share of the row, and nothing is blank.

    Up to 24 classes each cell shows its count. Beyond, cells are small, all keep their names, and the mix-ups
    in `ranked` carry their number in that list; every cell tells its count to a resting pointer.
    """
    few = len(classes) <= NUMBERED
    names = [shortened(name, 22 if few else 36) for name in classes]
    longest = max(map(len, names))
    left = 14 + (5.8 if few else 5.0) * longest
    side = _cell_side(len(classes), left)
    top = 34 if _flat(names, side) else 14 + (5.4 if few else 4.8) * longest
    size = side * len(classes)
    with canvas(left + size + 6, top + size + 22) as figure:
        axes = panel(figure, left, top, size, size)
        axes.set(xlim=(0, len(classes)), ylim=(len(classes), 0), xticks=[], yticks=[])
        titles = _cells(axes, classes, counts, numbered=few, side=side)
        _names(axes, names, side=side, few=few)
        if not few:
            _rank(axes, classes, ranked)
        axes.text(0, len(classes) + 14 / side, "rows: what it is · columns: what the model says", fontsize=10,
                  color=SOFT)  # fmt: skip
        return svg(figure, alt, titles=titles)


def _cell_side(classes: int, left: float) -> float:
    """Few classes leave room for the list of mix-ups beside the matrix; many take the whole width."""
    if classes <= NUMBERED:
        return min(44.0, max(24.0, (494 - left) / classes))
    return max(8.0, 790 / classes)


def _flat(names: Sequence[str], side: float) -> bool:
    """Whether column names fit above their columns without being turned."""
    return max(map(len, names)) * 6 <= side


def _cells(
    axes: Axes, classes: Sequence[str], counts: Sequence[Sequence[int]], *, numbered: bool, side: float
) -> dict[str, str]:
    titles = {}
    for row, line in enumerate(counts):
        total = max(1, sum(line))
        for column, count in enumerate(line):
            if not count:
                continue
            share, name = count / total, f"cell-{row}-{column}"
            right = row == column
            tone = 0.10 + 0.24 * share if right else 0.25 + 0.75 * min(1.0, 2.5 * share)
            gap = 0.03 if numbered else 0.0
            cell = Rectangle((column + gap, row + gap), 1 - 2 * gap, 1 - 2 * gap, gid=name, linewidth=0,
                             facecolor=SOFT if right else ACCENT, alpha=tone)  # fmt: skip
            axes.add_patch(cell)
            titles[name] = f"{classes[row]} taken for {classes[column]}: {count} of {total}"
            if right:
                titles[name] = f"{classes[row]} right: {count} of {total}"
            if numbered:
                axes.text(column + 0.5, row + 0.5, str(count), ha="center", va="center_baseline",
                          fontsize=TEXT if side > 28 else 9, color=PAPER if tone > 0.6 else INK,
                          fontweight="normal" if right else "bold")  # fmt: skip
    return titles


def _names(axes: Axes, names: Sequence[str], *, side: float, few: bool) -> None:
    size = TEXT if few else min(TEXT, 0.92 * side)
    for place, name in enumerate(names):
        axes.annotate(name, (0, place + 0.5), (-6, 0), textcoords="offset points", ha="right", va="center_baseline",
                      fontsize=size, color=INK, annotation_clip=False)  # fmt: skip
        if not few:
            axes.plot([0, len(names)], [place, place], color=LINE, linewidth=0.5, zorder=0)
            axes.plot([place, place], [0, len(names)], color=LINE, linewidth=0.5, zorder=0)
        flat = _flat(names, side)
        axes.annotate(name, (place + 0.5, 0), (0, 6), textcoords="offset points", ha="center" if flat else "left",
                      va="bottom" if flat else "center", rotation=0 if flat else 60 if few else 90, fontsize=size,
                      rotation_mode="anchor", color=INK, annotation_clip=False)  # fmt: skip


def _rank(axes: Axes, classes: Sequence[str], ranked: Sequence[MixUp]) -> None:
    index = {name: place for place, name in enumerate(classes)}
    for rank, one in enumerate(ranked, start=1):
        axes.annotate(str(rank), (index[one.predicted] + 1, index[one.true] + 0.5), (2, 0), fontsize=TEXT,
                      textcoords="offset points", va="center_baseline", fontweight="bold", color=ACCENT)  # fmt: skip
