"""Whether a challenger may go on: what it and the champion said of the same requests, judged at any moment.

    champion ── answer ──► client          the step `shadow`: pairs of answers to one input
        └──copy──► challenger
    challenger ── answer ──► client        the step `canary`: errors and latency of what clients were told, too
        └──copy──► champion

Where the two agree, both are right or both are wrong: only inputs on which they differ can tell which is better, and
only those need labels. One that has none yet counts against the challenger where it is to be shown no worse, and for
it where it is to be shown worse. So without a single label a challenger passes that surely differs on no more inputs
than it may be worse on, and labels that come late, or only for some inputs, can't let a worse one pass.

Every test is an e-value (`statistics.betting`): its level holds however often, and whenever, somebody looks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from headstart.findings import Finding, Verdict, overall
from headstart.journal import reader
from headstart.journal import schema as rows
from headstart.params.operation import Canary
from headstart.registry.rollouts import Rollout
from headstart.statistics import betting

FAILING = 3  # checks that can end a rollout; each gets a third of the level
FAILURES = 0.01  # share of requests that a challenger may fail at
SLOW = 0.1  # share of its answers that may be slower than `slow_above`
LEAST_TIMED = 20  # answers of the champion before its 95th percentile is one
SCATTER_MS = 5.0  # by which a busy machine delays single answers of any model
FLIPPED = 0.5  # share of what the champion puts into one class that the challenger may put elsewhere
LESS_SURE = 0.1  # by how much its mean confidence may be lower
SHOWN = 20  # inputs, and kinds of flips, in the evidence of a finding
FARTHEST = 100  # times what was seen so far: beyond it nothing is said of how much is needed
COLUMNS = (
    "request_id",
    "index",
    "time",
    "version",
    "role",
    "label",
    "probability",
    "status",
    "latency_ms",
    "input_hash",
)


@dataclass(frozen=True)
class Pair:
    """What the two versions said of one input.

    Attributes:
        request_id: of its request.
        index: its place in it.
        champion: the champion's label.
        challenger: the challenger's; None where it refused the input, or failed.
        less_sure: the champion's confidence minus the challenger's; None without an answer of both.
        truth: the label that came later; None where none came.
    """

    request_id: str
    index: int
    champion: str
    challenger: str | None
    less_sure: float | None
    truth: str | None

    @property
    def agree(self) -> bool:
        return self.champion == self.challenger

    @property
    def gain(self) -> int | None:
        """1 where only the challenger is right, -1 where only the champion is, else 0; None where it is not known."""
        if self.agree:
            return 0
        if self.truth is None:
            return None
        return int(self.challenger == self.truth) - int(self.champion == self.truth)


@dataclass(frozen=True)
class Evidence:
    """What the journal holds of a rollout.

    Attributes:
        pairs: one for each distinct input of which both versions said something since the rollout began, oldest first.
        requests: that the challenger was asked in the running step.
        failed: how many of them it gave no answer to, or none in time.
        latencies: of its answers in the running step, a request each, in milliseconds; of a canary only.
        champion_latencies: of the champion's in the same time.
    """

    pairs: Sequence[Pair]
    requests: int
    failed: int
    latencies: Sequence[float]
    champion_latencies: Sequence[float]


def gather(journal: Path, rollout: Rollout, now: datetime) -> Evidence:
    """What the journal holds of a rollout up to now.

    Raises:
        DataError: if the journal cannot be read.
    """
    end = now + timedelta(seconds=1)
    table = reader.read(journal, start=rollout.began, end=end, columns=COLUMNS, refusals=True, unseen=True)
    truths = reader.with_truth(table, reader.labels(journal))["truth"].to_pylist()
    champion: dict[tuple[str, int], Mapping[str, Any]] = {}
    challenger: dict[tuple[str, int], Mapping[str, Any]] = {}
    truth: dict[tuple[str, int], str] = {}
    hashes: dict[tuple[str, int], str] = {}
    asked: dict[str, bool] = {}  # requests of this step, and whether the challenger answered
    times: dict[str, float] = {}
    champion_times: dict[str, float] = {}
    for row, label in zip(table.to_pylist(), truths, strict=True):
        key = row["request_id"], row["index"]
        if label is not None:
            truth[key] = label
        if row["input_hash"] is not None:
            hashes[key] = row["input_hash"]
        answered, now_running = row["status"] == rows.ANSWERED, row["time"] >= rollout.since
        if row["version"] == rollout.champion:
            if answered:
                champion.setdefault(key, row)
            if answered and now_running and row["role"] == rows.CHAMPION:
                champion_times[row["request_id"]] = row["latency_ms"]
        elif row["version"] == rollout.version:
            challenger.setdefault(key, row)
            if now_running:
                failed = row["status"] == rows.FAILED
                asked[row["request_id"]] = asked.get(row["request_id"], True) and not failed
                if answered and row["role"] == rows.CANARY:
                    times[row["request_id"]] = row["latency_ms"]
    pairs: dict[Any, Pair] = {}
    for key in (key for key in champion if key in challenger):
        distinct = hashes.get(key, key)
        pair = _pair(key, champion[key], challenger[key], truth.get(key))
        if distinct not in pairs or pairs[distinct].truth is None:
            pairs[distinct] = pair  # in the place of the first
    return Evidence(
        pairs=list(pairs.values()),
        requests=len(asked),
        failed=sum(not answered for answered in asked.values()),
        latencies=list(times.values()),
        champion_latencies=list(champion_times.values()),
    )


def verdict(journal: Path, rollout: Rollout, now: datetime) -> dict[str, Any]:
    """How the running step stands.

    Returns:
        {`verdict` (`pass`, `fail`, `unsure`), `step` (`shadow`, `canary`, `passed`, `failed`, `outdated`), `number`
        (of the step, from 1), `steps` (how many), `version`, `champion`, `began`, `since`, `requests` (that the
        challenger was asked in this step), `findings`}.

    Raises:
        DataError: if the journal cannot be read.
    """
    evidence = gather(journal, rollout, now) if rollout.running else None
    findings = judge(evidence, rollout, now) if evidence else [_standing(rollout)]
    return {
        "verdict": overall(findings),
        **rollout.brief(),
        "version": rollout.version,
        "champion": rollout.champion,
        "began": rollout.began.isoformat(),
        "requests": evidence.requests if evidence else 0,
        "findings": [finding.document() for finding in findings],
    }


def judge(evidence: Evidence, rollout: Rollout, now: datetime) -> list[Finding]:
    """Every check of the running step; all must pass for the next one to begin."""
    step = rollout.running
    assert step is not None
    findings = [
        _requests(evidence, rollout, now),
        _failures(evidence, rollout),
        _quality(evidence, rollout),
        _flips(evidence, rollout),
        _confidence(evidence, rollout),
    ]
    return [*findings, _latency(evidence, rollout)] if isinstance(step, Canary) else findings


def _standing(rollout: Rollout) -> Finding:
    """What is to be said while no step runs."""
    if rollout.failed:
        return Finding("rollout", "fail", None, None, rollout.failed)
    if rollout.name == "passed":
        return Finding("rollout", "pass", None, None, f"Version {rollout.version} passed every step.", "Promote it.")
    return Finding(
        "rollout",
        "unsure",
        None,
        None,
        f"It was compared with version {rollout.champion}, which is not champion any more.",
        "The next look of the monitor begins it anew against today's champion.",
    )


def _requests(evidence: Evidence, rollout: Rollout, now: datetime) -> Finding:
    """Whether the step saw as many requests, and lasted as long, as it has to."""
    step = rollout.running
    assert step is not None
    hours = (now - rollout.since) / timedelta(hours=1)
    enough = evidence.requests >= step.requests and hours >= step.hours
    reason = f"{evidence.requests} of {step.requests} requests in {hours:.1f} of {step.hours:g} hours."
    return Finding(
        "requests",
        "pass" if enough else "unsure",
        float(evidence.requests),
        float(step.requests),
        reason,
        "" if enough else "Wait.",
        {"hours": hours},
    )


def _failures(evidence: Evidence, rollout: Rollout) -> Finding:
    """Whether it gives an answer, whatever the answer is."""
    failed, asked = evidence.failed, evidence.requests
    counts = [failed, asked - failed]
    sound = betting.below([1.0, 0.0], FAILURES, most=1.0, counts=counts) * rollout.level >= 1
    broken = betting.above([1.0, 0.0], FAILURES, least=0.0, counts=counts) * rollout.level / FAILING >= 1
    return Finding(
        "failures",
        "fail" if broken else "pass" if sound else "unsure",
        failed / asked if asked else None,
        FAILURES,
        f"Version {rollout.version} failed at {failed} of {asked} requests.",
        "Read the server's log for what it raised." if failed else "" if sound else "Wait for more requests.",
        {"failed": failed, "requests": asked},
    )


def _quality(evidence: Evidence, rollout: Rollout) -> Finding:
    """Whether it is no less accurate than the champion by more than the margin."""
    pairs, margin, level = evidence.pairs, rollout.margin, rollout.level
    differing = [pair for pair in pairs if not pair.agree]
    gains = Counter(pair.gain for pair in pairs)
    wins, losses, ties, unknown = gains[1], gains[-1], gains[0], gains[None]

    def no_worse(times: float) -> bool:
        counts = np.array([wins, losses + unknown, ties]) * times
        return betting.above([1.0, -1.0, 0.0], -margin, least=-1.0, counts=counts) * level >= 1

    least = [-1.0 if pair.gain is None else float(pair.gain) for pair in pairs]
    most = [1.0 if pair.gain is None else float(pair.gain) for pair in pairs]
    passed = betting.highest_above(least, -margin, least=-1.0) * level >= 1
    if rollout.disagreement > margin:
        counts = [len(differing), len(pairs) - len(differing)]
        passed |= betting.below([1.0, 0.0], rollout.disagreement, most=1.0, counts=counts) * level >= 1
    worse = betting.highest_above(-np.array(most), margin, least=-1.0) * level / FAILING >= 1
    found: Verdict = "fail" if worse else "pass" if passed else "unsure"
    told = (
        f"On {len(pairs)} inputs, version {rollout.version} differs from champion {rollout.champion} on "
        f"{len(differing)}; where labels tell, it is right on {wins} of them and the champion on {losses}"
        f"{f', {unknown} have no label' if unknown else ''}."
    )
    reason = f"{told} That is {_MEANING[found]} (margin {margin:g})."
    return Finding(
        "quality",
        found,
        (wins - losses) / len(pairs) if pairs else None,
        -margin,
        reason,
        ""
        if found == "pass"
        else _what_decides(len(pairs), unknown, no_worse)
        if found == "unsure"
        else "Keep it off.",
        {
            "pairs": len(pairs),
            "differing": len(differing),
            "wins": wins,
            "losses": losses,
            "unlabelled": unknown,
            "disagreement": rollout.disagreement,
            "to_label": [
                {"id": pair.request_id, "index": pair.index, "champion": pair.champion, "challenger": pair.challenger}
                for pair in differing
                if pair.truth is None
            ][:SHOWN],
        },
    )


_MEANING = {
    "pass": "enough to show that it is no worse by more than the margin",
    "fail": "enough to show that it is worse by more than the margin",
    "unsure": "not enough to tell",
}


def _what_decides(pairs: int, unknown: int, no_worse: Any) -> str:
    """What would settle an open question: more inputs of the same kind, or labels."""
    times = 1.0
    while pairs and times < FARTHEST:
        times *= 1.1
        if no_worse(times):
            labels = f", or sooner with labels for the {unknown} without one" if unknown else ""
            return f"If it goes on like this, about {round(pairs * times, -1):,.0f} inputs decide{labels}."
    if unknown:
        return "Send labels (POST /feedback/NAME) for inputs on which they differ: evidence.to_label lists some."
    return "Wait for more requests."


def _flips(evidence: Evidence, rollout: Rollout) -> Finding:
    """Whether it gives up a class; a person looks where labels do not clear it."""
    by_class: dict[str, list[Pair]] = {}
    for pair in evidence.pairs:
        by_class.setdefault(pair.champion, []).append(pair)
    lost = {name: share for name, pairs in by_class.items() if (share := _lost(pairs, rollout, len(by_class)))}
    kinds = Counter((pair.champion, pair.challenger) for pair in evidence.pairs if not pair.agree)
    flips = [{"from": one, "to": other, "count": count} for (one, other), count in kinds.most_common(SHOWN)]
    if not lost:
        return Finding(
            "flips", "pass", None, FLIPPED, "No class is answered otherwise for the most part.", "", {"flips": flips}
        )
    worst = max(lost, key=lambda name: lost[name])
    return Finding(
        "flips",
        "unsure",
        lost[worst],
        FLIPPED,
        f"Version {rollout.version} answers otherwise to {lost[worst]:.0%} of what the champion calls {worst}.",
        "Look at these inputs, or send their labels; then promote it, or end the rollout, by hand.",
        {"flips": flips, "classes": lost},
    )


def _lost(pairs: Sequence[Pair], rollout: Rollout, classes: int) -> float:
    """The share of one class that is answered otherwise, where that is surely most of it and not shown to be right."""
    flipped = sum(not pair.agree for pair in pairs)
    counts = [flipped, len(pairs) - flipped]
    if betting.above([1.0, 0.0], FLIPPED, least=0.0, counts=counts) * rollout.level < classes:
        return 0.0
    gains = [-1.0 if pair.gain is None else float(pair.gain) for pair in pairs]
    cleared = betting.above(gains, -rollout.margin, least=-1.0) * rollout.level >= classes
    return 0.0 if cleared else flipped / len(pairs)


def _confidence(evidence: Evidence, rollout: Rollout) -> Finding:
    """Whether it is much less sure of itself; that alone says nothing of who is right."""
    less = [pair.less_sure for pair in evidence.pairs if pair.less_sure is not None]
    drop = betting.above(less, LESS_SURE, least=-1.0) * rollout.level >= 1
    mean = float(np.mean(less)) if less else None
    reason = "No input was answered by both." if mean is None else (
        f"Its mean confidence is {abs(mean):.3f} {'lower' if mean > 0 else 'higher'} than the champion's."
    )  # fmt: skip
    action = "See whether it was calibrated for this traffic; then promote it, or end the rollout, by hand."
    return Finding("confidence", "unsure" if drop else "pass", mean, LESS_SURE, reason, action if drop else "")


def _latency(evidence: Evidence, rollout: Rollout) -> Finding:
    """Whether its 95th percentile stays below the champion's times `rollout.latency`."""
    times, champion = np.asarray(evidence.latencies), np.asarray(evidence.champion_latencies)
    if len(champion) < LEAST_TIMED or not len(times):
        reason = f"{len(times)} answers of version {rollout.version}, {len(champion)} of the champion were timed."
        return Finding("latency", "unsure", None, rollout.latency, reason, "Wait for more requests.")
    usual = float(np.quantile(champion, 0.95))
    limit = slow_above(usual, rollout.latency)
    slow = int((times > limit).sum())
    counts = [slow, len(times) - slow]
    fast = betting.below([1.0, 0.0], SLOW, most=1.0, counts=counts) * rollout.level >= 1
    slower = betting.above([1.0, 0.0], SLOW, least=0.0, counts=counts) * rollout.level / FAILING >= 1
    ratio = float(np.quantile(times, 0.95)) / usual
    return Finding(
        "latency",
        "fail" if slower else "pass" if fast else "unsure",
        ratio,
        rollout.latency,
        f"Its 95th percentile is {ratio:.2f} times the champion's {usual:.0f} ms; {slow} of {len(times)} answers took "
        f"longer than {limit:.1f} ms.",
        "Make it cheaper, or raise rollout.latency." if slower else "" if fast else "Wait for more requests.",
        {"slow": slow, "answers": len(times), "champion_p95_ms": usual},
    )


def slow_above(usual_ms: float, ratio: float) -> float:
    """From which time on, in milliseconds, an answer is slow.

    Args:
        usual_ms: the champion's 95th percentile.
        ratio: `rollout.latency`.
    """
    return max(ratio * usual_ms, usual_ms + SCATTER_MS)


def _pair(key: tuple[str, int], champion: Mapping[str, Any], challenger: Mapping[str, Any], truth: str | None) -> Pair:
    answered = challenger["status"] == rows.ANSWERED
    less_sure = champion["probability"] - challenger["probability"] if answered else None
    return Pair(*key, champion["label"], challenger["label"] if answered else None, less_sure, truth)
