"""The gates after export: evidence documents in, one finding a gate out. They read no file and know no clock.

accuracy  macro_f1  class_recall  calibration_error  log_loss  baseline  parity  preprocessing
batchnorm  replay  lost_classes  champion

A candidate whose only doubt is whether it beats the baseline, and which does on the test examples there are, may serve
provisionally: as first champion, or in place of one that is provisional itself. Never in place of a sound one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.evaluation.gates import (
    accuracy,
    bars,
    baseline,
    batchnorm,
    calibration_error,
    champion,
    class_recall,
    log_loss,
    lost_classes,
    macro_f1,
    parity,
    preprocessing,
    replay,
)
from headstart.findings import Finding
from headstart.params.evaluation import Gates


@dataclass(frozen=True)
class Evidence:
    """The documents that the gates read; None where one was not made, and then its gates fail.

    Attributes:
        evaluation: `evaluation.json`.
        parity: `parity.json` of the export.
        replay: what `golden.replay` answered on the sealed bundle.
        comparison: what `comparison.compare` answered; None without a champion.
        champion: the champion's version; None only where there is none.
        model: its name in `params.yaml`, for what to write there.
        deleted: whether the champion was deleted from the registry; then there is no comparison.
        preprocessing: `preprocessing.json` of the export.
        served: what a server of the bundle answered, from `serving.rehearsal`.
        data_findings: `findings.json` of the data, for what the backbone's own processor makes of them.
        batchnorm: `batchnorm.json` of the export.
    """

    evaluation: Mapping[str, Any] | None
    parity: Mapping[str, Any] | None
    replay: Mapping[str, Any] | None
    comparison: Mapping[str, Any] | None
    champion: str | None
    model: str = "NAME"
    deleted: bool = False
    preprocessing: Mapping[str, Any] | None = None
    served: Mapping[str, Any] | None = None
    data_findings: Sequence[Mapping[str, Any]] = ()
    batchnorm: Mapping[str, Any] | None = None


def doubt(findings: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The finding of `baseline`, where it is the only one that did not pass and the candidate is ahead; else None.

    Args:
        findings: as documents.
    """
    doubts = [finding for finding in findings if finding["verdict"] != "pass"]
    return doubts[0] if len(doubts) == 1 and baseline.is_better(doubts[0]) else None


def settled(evidence: Mapping[str, Any]) -> str:
    """What would settle such a doubt, from the finding's evidence: `About 400 more test rows would settle it, ...`."""
    return baseline.settled(evidence)


def proposed_bars(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Absolute bars for a user who has set none: what later versions should not fall below.

    Each lies as far below the interval (above, for calibration error) as the interval's end lies from the value. So an
    equally good version on as many new examples passes 92 times in 100, where the interval's own end as bar would leave
    half of them unsure: P(N(0, 2) < 1.96^2) with ends 1.96 standard errors away. None lies below what the majority
    class alone reaches.
    """
    metrics, result = evaluation["metrics"], {}
    for name in ("accuracy", "macro_f1"):
        value, guessed = metrics[name], evaluation["baselines"].get("majority", {}).get(name, {"value": 0.0})
        result[name] = max(bars.floor(2 * value["low"] - value["value"]), bars.floor(guessed["value"]))
    ece = metrics["ece"]
    result["calibration_error"] = min(-bars.floor(ece["value"] - 2 * ece["high"]), 1.0)
    return result


def judge(evidence: Evidence, params: Gates) -> list[Finding]:
    """One finding a gate, in the order of the drawing above; `findings.overall` makes one verdict of them."""
    return [
        accuracy.judge(evidence.evaluation, params.accuracy),
        macro_f1.judge(evidence.evaluation, params.macro_f1),
        class_recall.judge(evidence.evaluation, params.level),
        calibration_error.judge(evidence.evaluation, params.calibration_error, params.level),
        log_loss.judge(evidence.evaluation),
        baseline.judge(evidence.evaluation, params.baseline_margin, params.level),
        parity.judge(evidence.parity),
        preprocessing.judge(
            evidence.preprocessing, parity.LOGIT_DIFFERENCE, evidence.served, data_findings=evidence.data_findings
        ),
        batchnorm.judge(evidence.batchnorm, evidence.parity, parity.LOGIT_DIFFERENCE),
        replay.judge(evidence.replay),
        lost_classes.judge(
            evidence.comparison, champion=evidence.champion, model=evidence.model, deleted=evidence.deleted
        ),
        champion.judge(
            evidence.comparison,
            champion=evidence.champion,
            margin=params.champion_margin,
            level=params.level,
            new_class_bar=params.accuracy,
            deleted=evidence.deleted,
        ),
    ]
