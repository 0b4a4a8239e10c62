"""What training forgot, for the page: what was kept of the backbone's own domain, and each rung of the ladder."""

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from headstart.report.figure import ACCENT, LINE, SMALL, SOFT, canvas, panel, svg
from headstart.report.plots import percent, rounded

Document = Mapping[str, Any]
WIDTH, HEIGHT = 560.0, 230.0


def view(history: Document | None) -> dict[str, Any] | None:
    """What the section shows; None where nothing was trained, or by a version that did not measure it."""
    if history is None or not history.get("retention"):
        return None
    ladder = history.get("ladder") or {}
    points = [point for point in ladder.get("points", []) if point["lost"] is not None]
    return {
        "told": list(told(history)),
        "chart": chart(points, ladder["chosen"], ladder["budget"]) if points else None,
    }


def told(history: Document) -> Iterator[str]:
    """A sentence for each thing measured."""
    kept = history["retention"]
    if kept["accuracy"]:
        was, now = kept["accuracy"]["before"], kept["accuracy"]["after"]
        yield f"Of the backbone's own sample a probe got {percent(was)} right before training, {percent(now)} after."
    if words := kept.get("words"):
        was, now = words["before"]["value"], words["after"]["value"]
        cost = f"{now:.2f} nats a token, before training {was:.2f}"
        yield f"Guessing hidden words of the backbone's own sample costs {cost}."
    if ladder := history.get("ladder"):
        yield str(ladder["reason"])
    if kept["similarity"]:
        least = min(kept["similarity"], key=kept["similarity"].__getitem__)
        yield (
            f"The features that changed most are those of {least}: similarity {kept['similarity'][least]:.2f} to "
            "before (linear CKA; 1 is unchanged)."
        )
    if kept["moved"]:
        most = max(kept["moved"], key=kept["moved"].__getitem__)
        yield f"The weights that moved most are those of {most}: by {percent(kept['moved'][most])} of their length."


def chart(points: list[Document], chosen: str, budget: float) -> Markup:
    """Target accuracy against what was forgotten, a dot a rung; within the budget is left of the dotted line."""
    alt = "Validation accuracy against accuracy lost on the backbone's own sample: " + "; ".join(
        f"{point['name']} {percent(point['accuracy'])}, lost {percent(point['lost'])}" for point in points
    )
    lost, right = [point["lost"] for point in points], [point["accuracy"] for point in points]
    room = max(0.01, 0.2 * (max(right) - min(right)))
    with canvas(WIDTH, HEIGHT) as figure:
        axes = panel(figure, 48, 10, WIDTH - 190, HEIGHT - 52)
        axes.set(xlim=(-0.005, 1.1 * max(*lost, budget, 0.02)), ylim=(min(right) - room, min(1.0, max(right) + room)))
        axes.axvline(budget, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate("the budget", (budget, axes.get_ylim()[1]), (4, -8), textcoords="offset points", fontsize=SMALL,
                      color=SOFT)  # fmt: skip
        for point in points:
            colour = ACCENT if point["name"] == chosen else SOFT
            at = (point["lost"], point["accuracy"])
            axes.plot(*at, "o", color=colour, markersize=8, clip_on=False)
            axes.annotate(point["name"], at, (8, 0), textcoords="offset points", va="center_baseline", fontsize=SMALL,
                          color=colour, annotation_clip=False)  # fmt: skip
        axes.xaxis.set_major_formatter(lambda value, _: rounded(value))
        axes.yaxis.set_major_formatter(lambda value, _: rounded(value))
        axes.locator_params(nbins=5)
        axes.grid(color=LINE, linewidth=1)
        axes.set_axisbelow(True)
        axes.set_xlabel("accuracy lost on the backbone's own sample", fontsize=SMALL, color=SOFT)
        return svg(figure, alt)
