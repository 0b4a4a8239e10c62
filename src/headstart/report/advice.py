"""What to do next, the most useful first: what refused says so itself, the rest follows from the evidence."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.report import confusion, vocabulary, words
from headstart.report.evidence import Document, Evidence
from headstart.report.plots import percent

FEW_TEST_EXAMPLES = 10
TEACHES = {
    "truncation": 1.0,  # what is cut off is not read at all
    "label_errors": 1.0,
    "payloads": 1.0,
    "label_conflicts": 1.0,
    "truncated_images": 1.0,
    "constant_images": 1.0,
    "animated": 1.0,
    "mojibake": 0.5,
    "duplicates": 0.5,
    "near_duplicates": 0.3,
}
"""How much a model may gain from each row that a check names, roughly; checks that are not here 0.1: they are about
what is measured, about privacy, or about what is mended already."""


@dataclass(frozen=True)
class Step:
    """One thing to do: a headline, why, and the command that does it (empty where there is none)."""

    headline: str
    reason: str
    command: str = ""


def steps(evidence: Evidence) -> list[Step]:
    """What refused, then the commands for where it stands now, then what would make the model better."""
    judged = [*(evidence.judgement or {}).get("findings", ()), *(evidence.screen or {}).get("findings", ())]
    about_data = sorted(evidence.findings, key=lambda one: (one["verdict"] != "fail", -gain(one, evidence.rows)))
    return [*_open(judged), *_operation(evidence), *_open(about_data), *_improvements(evidence)]


def gain(finding: Document, rows: Mapping[str, int]) -> float:
    """What mending a finding may gain, to sort by: the share of rows that it names, by how much each may teach.

    Args:
        rows: by split; the share is of the rows that were looked at, where the finding says how many.
    """
    evidence = finding.get("evidence") or {}
    named = finding.get("statistic") if "rows" in evidence else None
    looked_at = evidence.get("looked_at") or sum(rows.values())
    if not named or not looked_at:
        return 0.0
    return TEACHES.get(finding["check"], 0.1) * min(1.0, float(named) / float(looked_at))


def _open(findings: Sequence[Document]) -> list[Step]:
    """What did not pass, with its own action: failures are to be mended, doubts to be settled."""
    verbs = {"fail": "Mend", "unsure": "Settle"}
    return [
        Step(f"{verbs[one['verdict']]} “{vocabulary.title(one['check'])}”", one.get("action") or one["reason"])
        for one in findings
        if one["verdict"] != "pass"
    ]


def _operation(evidence: Evidence) -> list[Step]:
    name, status = shlex.quote(evidence.model), words.status(evidence)
    if status.badge in ("Champion", words.PROVISIONAL):
        serve = "Answers over HTTP from the registry; every answer is journalled."
        watch = "Compares what comes in with what it was tested on."
        steps = [
            Step("Serve it", serve, f"headstart serve {name}"),
            Step("Watch it", watch, f"headstart monitor {name}"),
        ]
        judgement = evidence.judgement or {}
        if judgement.get("champion") not in (None, judgement.get("version")):
            undo = f"One step back to version {judgement['champion']}, should it disappoint."
            steps.append(Step("Undo it", undo, f"headstart rollback {name}"))
        return steps
    if status.badge == "Challenger":
        return [Step("Promote it", "It passed and waits for a person.", f"headstart promote {name}")]
    if status.tone == "open":
        return [Step("Finish the run", "What is done is not done again.", f"headstart run {name}")]
    return [Step("Run it again after the change", "Only what the change touches is rebuilt.", f"headstart run {name}")]


def _improvements(evidence: Evidence) -> list[Step]:
    evaluation = evidence.evaluation
    if evaluation is None:
        return []
    result = []
    errors = sum(map(sum, evaluation["confusion"])) - sum(
        row[place] for place, row in enumerate(evaluation["confusion"])
    )
    worst = confusion.mix_ups(evaluation["classes"], evaluation["confusion"], 1)
    if worst and worst[0].count >= 3:
        one = worst[0]
        result.append(
            Step(
                f"Look at “{one.true}” taken for “{one.predicted}”",
                f"{one.count} of {errors} errors are this one mix-up ({percent(one.share)} of that class). "
                "Read those examples: are the labels right, and are the two classes really different?",
            )
        )
    thin = [one["label"] for one in evaluation["per_class"] if one["support"] < FEW_TEST_EXAMPLES]
    if thin:
        shown = ", ".join(thin[:5]) + (f" and {len(thin) - 5} more" if len(thin) > 5 else "")
        result.append(
            Step(
                f"Label more of {shown}",
                f"Fewer than {FEW_TEST_EXAMPLES} test examples each: what is said of them is hardly more than a guess.",
            )
        )
    return result
