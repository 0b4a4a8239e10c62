"""What training forgot, for the page: what was kept of the backbone's own domain, and each mitigation."""

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from headstart.report.figure import ACCENT, LINE, SMALL, SOFT, canvas, panel, svg
from headstart.report.plots import percent, rounded

Document = Mapping[str, Any]
WIDTH, HEIGHT = 560.0, 230.0


def view(entry: Document | None) -> dict[str, Any] | None:
    """What the section shows of the kept candidate's entry; None where no layer was trained."""
    if entry is None or not entry.get("retention"):
        return None
    mitigation = entry.get("mitigation") or {}
    points = [point for point in mitigation.get("points", []) if point["lost"] is not None]
    return {
        "told": list(told(entry)),
        "chart": chart(points, mitigation["chosen"], mitigation["budget"]) if len(points) > 1 else None,
    }


def told(entry: Document) -> Iterator[str]:
    """A sentence for each thing measured."""
    kept = entry["retention"]
    if kept["accuracy"]:
        was, now = kept["accuracy"]["before"], kept["accuracy"]["after"]
        yield f"Of the backbone's own sample a probe got {percent(was)} right before training, {percent(now)} after."
    if words := kept.get("words"):
        was, now = words["before"]["value"], words["after"]["value"]
        cost = f"{now:.2f} nats a token, before training {was:.2f}"
        yield f"Guessing hidden words of the backbone's own sample costs {cost}."
    if mitigation := entry.get("mitigation"):
        yield mitigated(mitigation)
    if kept["similarity"]:
        least = min(kept["similarity"], key=kept["similarity"].__getitem__)
        yield (
            f"The features that changed most are those of {least}: similarity {kept['similarity'][least]:.2f} to "
            "before (linear CKA; 1 is unchanged)."
        )
    if kept["moved"]:
        most = max(kept["moved"], key=kept["moved"].__getitem__)
        yield f"The weights that moved most are those of {most}: by {percent(kept['moved'][most])} of their length."


def mitigated(mitigation: Document) -> str:
    """What was forgotten, what is allowed, and what was done about it."""
    if mitigation["code"] == "recorded":
        return str(mitigation["text"])
    if mitigation["code"] == "unknown":
        return (
            "How much was forgotten is unknown: the backbone has no reference sample with labels. Name one under "
            "backbones.*.reference: any source of what it was made for, some hundred rows of two classes or more."
        )
    trained = mitigation["points"][0]
    chosen = next(point for point in mitigation["points"] if point["name"] == mitigation["chosen"])
    lost = f"Training cost {percent(trained['lost'])} of accuracy on the backbone's own sample"
    allowed = f"{percent(mitigation['budget'])} are allowed (forgetting.budget)"
    if mitigation["code"] == "within_budget":
        return f"{lost}; {allowed}."
    now = f"loses {percent(chosen['lost'])} and is right on {percent(chosen['accuracy'])} of validation"
    if mitigation["code"] == "none_within_budget":
        return f"{lost}; {allowed}. No mitigation stays within that; {chosen['name']}, which {now}, comes nearest."
    return f"{lost}; {allowed}. With {chosen['name']} it {now} ({percent(trained['accuracy'])} before)."


def chart(points: list[Document], chosen: str, budget: float) -> Markup:
    """Target accuracy against what was forgotten, a dot a network; within the budget is left of the dotted line."""
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
