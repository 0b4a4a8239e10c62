"""What a check found: the one type that gates, monitors and data checks answer with.

Pages, JSON documents and exit statuses are made from findings alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "fail", "unsure"]


@dataclass(frozen=True)
class Finding:
    """One answer of one check.

    Attributes:
        check: the check's name, a noun: `accuracy`, `leak`, `parity`.
        verdict: `pass`, `fail`, or `unsure` where the evidence is not enough.
        statistic: what was measured; None where there is nothing to measure.
        bar: what it was held against; None where there is no bar.
        reason: one sentence a stranger understands, numbers included; empty in what stages write, whose sentences are
            made where people read them (`report.finding_words`).
        action: what to do next; empty when nothing is to be done.
        evidence: anything else worth keeping, plain JSON values only.
    """

    check: str
    verdict: Verdict
    statistic: float | None
    bar: float | None
    reason: str = ""
    action: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Finding":
        """The finding that `document` describes; the inverse of `document()`."""
        return cls(**document)


def overall(findings: Iterable[Finding]) -> Verdict:
    """`fail` if any finding fails, else `unsure` if any is unsure, else `pass`."""
    verdicts = {finding.verdict for finding in findings}
    if "fail" in verdicts:
        return "fail"
    return "unsure" if "unsure" in verdicts else "pass"
