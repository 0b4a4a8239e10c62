"""Intervals small enough for a table cell or a tile: positions in per cent, drawn by the page's own CSS."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report.evidence import Evidence
from headstart.report.plots import percent, rounded, scale_start, scientific
from headstart.report.vocabulary import BASELINES

Document = Mapping[str, Any]
SHARES = {"accuracy", "macro_f1", "calibration_error", "baseline", "champion", "above_majority"}


@dataclass(frozen=True)
class Sparkline:
    """Positions from 0 to 100 along the strip; `mark` is a bar or a baseline, None where there is none."""

    left: float
    width: float
    dot: float
    mark: float | None
    caption: str


@dataclass(frozen=True)
class Tile:
    """One metric: its value and interval as text, what it means, and its strip."""

    name: str
    value: str
    interval: str
    meaning: str
    sparkline: Sparkline


def sparkline(
    interval: Document, start: float, end: float, *, mark: float | None = None, caption: str = ""
) -> Sparkline:
    """`interval` on a scale from `start` to `end`; what lies outside is cut off at the edge."""

    def at(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - start) / (end - start))), 2)

    left = at(interval["low"])
    return Sparkline(left, round(at(interval["high"]) - left, 2), at(interval["value"]),
                 None if mark is None else at(mark), caption)  # fmt: skip


def tiles(evidence: Evidence) -> list[Tile]:
    """The four published metrics, in the order people ask for them; none without an evaluation."""
    if evidence.evaluation is None:
        return []
    metrics, before = evidence.evaluation["metrics"], evidence.evaluation["uncalibrated"]
    guessing = _guessing(evidence.evaluation)
    allowed = _bar(evidence, "calibration_error")
    widest = 1.25 * max(metrics["ece"]["high"], before["ece"]["value"], allowed or 0.0, 0.01)
    return [
        _share(
            "Accuracy",
            metrics["accuracy"],
            f"{_right(metrics['accuracy'])}{_without_copies(evidence.evaluation)}",
            _best(evidence, "accuracy"),
        ),
        _share(
            "Macro F1",
            metrics["macro_f1"],
            "Precision and recall in one, every class counting the same, however rare.",
            _best(evidence, "macro_f1"),
        ),
        Tile(
            "Log loss",
            _loss(metrics["nll"]["value"]),
            f"{_loss(metrics['nll']['low'])} – {_loss(metrics['nll']['high'])}",
            "How surprised it is by the truth; lower is better.",
            sparkline(
                metrics["nll"],
                0.0,
                1.1 * max(guessing, metrics["nll"]["value"]),
                mark=guessing,
                caption=f"guessing {guessing:.2f}",
            ),
        ),
        Tile(
            "Calibration error",
            percent(metrics["ece"]["value"]),
            f"{percent(metrics['ece']['low'])} – {percent(metrics['ece']['high'])}",
            "How far its confidence is from how often it is right; lower is better.",
            sparkline(
                metrics["ece"],
                0.0,
                widest,
                mark=allowed,
                caption="" if allowed is None else f"allowed {rounded(allowed)}",
            ),
        ),
    ]


def _guessing(evaluation: Document) -> float:
    """Log loss of guessing by the class shares of train; evaluations of format 1 hold no more than how many classes."""
    if "guessing" in evaluation:
        return float(evaluation["guessing"]["nll"]["value"])
    return math.log(max(2, len(evaluation["classes"])))


def of_finding(finding: Document) -> Sparkline | None:
    """The interval a finding was judged by against its bar; None where it has no interval."""
    interval, bar = finding.get("evidence") or {}, finding.get("bar")
    if bar is None or not {"value", "low", "high"} <= set(interval):
        return None
    low, high = min(interval["low"], bar), max(interval["high"], bar)
    room = 0.12 * (high - low or 1.0)
    amount = rounded(bar) if finding["check"] in SHARES else scientific(bar)
    return sparkline(interval, low - room, high + room, mark=bar, caption=f"bar {amount}")


def _share(name: str, interval: Document, meaning: str, best: tuple[str, float] | None) -> Tile:
    values = [interval["low"], *([best[1]] if best else [])]
    start = scale_start(min(values))
    caption = f"{best[0]} {percent(best[1])}" if best else ""
    return Tile(
        name,
        percent(interval["value"]),
        f"{percent(interval['low'])} – {percent(interval['high'])}",
        meaning,
        sparkline(interval, start, 1.0, mark=best[1] if best else None, caption=caption),
    )


def _right(accuracy: Document) -> str:
    """Accuracy as a count that rounding does not turn into a lie."""
    if accuracy["value"] == 1.0:
        return f"All {accuracy['n']:,} test answers are right."
    if accuracy["value"] > 0.99:
        return f"{min(999, round(1000 * accuracy['value']))} of 1,000 answers are right."
    return f"{round(100 * accuracy['value'])} of 100 answers are right."


def _without_copies(evaluation: Document) -> str:
    """What is left of accuracy where test rows have near copies in train; empty where none have, or it is unknown."""
    near = evaluation.get("near_copies")
    if not near or not near["rows"] or not near["without"]:
        return ""
    rows = (
        f"the {near['rows']:,} with near copies in train" if near["rows"] > 1 else "the one with a near copy in train"
    )
    return f" Without {rows}: {percent(near['without']['accuracy']['value'])}."


def _loss(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _best(evidence: Evidence, metric: str) -> tuple[str, float] | None:
    baselines = (evidence.evaluation or {}).get("baselines") or {}
    scores = [(document[metric]["value"], name) for name, document in baselines.items() if metric in document]
    if not scores:
        return None
    value, name = max(scores)
    return BASELINES.get(name, name), value


def _bar(evidence: Evidence, check: str) -> float | None:
    findings: Sequence[Document] = (evidence.judgement or {}).get("findings", ())
    return next((one["bar"] for one in findings if one["check"] == check), None)
