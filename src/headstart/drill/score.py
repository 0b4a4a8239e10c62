"""A whole drill of one model's champion, as a document with a score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headstart import registry
from headstart.drill import candidates, population, traffic
from headstart.drill.population import Population
from headstart.errors import UsageError
from headstart.evaluation.gates import replay
from headstart.faults.table import FAULTS, Fault
from headstart.monitoring import references
from headstart.params.workspace import Model
from headstart.serving.models import LoadedModel

UNNAMED = "unknown_shift"


@dataclass(frozen=True)
class Subject:
    """The version that is drilled.

    Attributes:
        name: of the model.
        params: its section.
        version: the champion's number.
        bundle: its folder.
        registered: the hash of its manifest, as the registry has it.
    """

    name: str
    params: Model
    version: int
    bundle: Path
    registered: str


def run(
    name: str,
    params: Model,
    *,
    stage: Literal["before", "after"] | None,
    only: Sequence[str] | None,
    say: Callable[[str], None],
    seed: int,
    severity: int = traffic.SEVERITY,
) -> dict[str, Any]:
    """Drill the champion of a model in the workspace that this process works in.

    Args:
        name: of the model.
        params: its section.
        stage: half of the drill; both where not given.
        only: names of faults; all where not given.
        say: told what happens, a line at a time.
        seed: of the rows and the damage.
        severity: of damage to inputs, 1 to 5.

    Returns:
        {`model`, `version`, `before` [`candidates.Outcome`], `after` [`traffic.Outcome`], `clean`, `rows` and `unlike`
        as in `population.Population`, `score`, `summary`}.

    Raises:
        UsageError: if there is no champion, its data is not here, or no fault that was asked for fits the model.
    """
    version = registry.resolve(name)
    subject = Subject(name, params, version, registry.download(name, version), registry.describe(name, version).bundle)
    wanted = [fault for fault in FAULTS.values() if not only or fault.name in only]
    before = [] if stage == "after" else _before(subject, wanted, say)
    planted = [] if stage == "before" else [fault for fault in wanted if fault.target in (params.modality, "stream")]
    rows, after, clean = None, list[traffic.Outcome](), None
    if planted:
        rows = population.of(name, subject.bundle, references.of(name, registry)(version), params.monitor, seed=seed)
        after, clean = _after(subject, planted, rows, say, seed, severity)
    if not before and not after:
        half = {"before": " before deployment", "after": " after deployment", None: ""}[stage]
        raise UsageError(
            f"{', '.join(only or [])} cannot be planted{half} in {name}, a model of {params.modality}s.",
            action="Leave --stage or --fault out to see all that can.",
        )
    document: dict[str, Any] = {
        "model": name,
        "version": version,
        "before": [outcome.document() for outcome in before],
        "after": [outcome.document() for outcome in after],
        "clean": clean,
        "rows": rows.rows if rows else None,
        "unlike": list(rows.unlike) if rows else [],
    }
    document["score"] = score(document)
    return {**document, "summary": _summary(document["score"])}


def score(document: dict[str, Any]) -> dict[str, int]:
    """What the drill counts.

    Of faults planted before: those blocked by the gate that has to; of those after: detected, named right, wrongly.
    """
    before = [row for row in document["before"] if row["planted"] and row["fault"] is not None]
    sent = [row for row in document["after"] if row["answers"]]
    detected = [row for row in sent if row["detected_after"]]
    return {
        "planted_before": len(before),
        "blocked": sum(row["blocked"] and row["gate"] in (None, *row["by"]) for row in before),
        "clean_blocked": sum(row["blocked"] for row in document["before"] if row["fault"] is None),
        "planted_after": len(sent),
        "detected": len(detected),
        "named": sum(row["cause"] == row["expected"] for row in detected),
        "named_wrongly": sum(row["cause"] not in (None, UNNAMED, row["expected"]) for row in detected),
        "false_alarms": document["clean"]["alarms"] if document["clean"] else 0,
    }


def passed(document: dict[str, Any]) -> bool:
    """Whether every fault was blocked or detected, and nothing sound was."""
    counts = document["score"]
    whole = counts["blocked"] == counts["planted_before"] and counts["detected"] == counts["planted_after"]
    return bool(whole and not counts["clean_blocked"] and not counts["false_alarms"])


def _before(subject: Subject, wanted: Sequence[Fault], say: Callable[[str], None]) -> list[candidates.Outcome]:
    """Faults of files: of the registered bundle, and of the checkpoint that it was made from."""
    others = [path for path in sorted(Path("artifacts/models").glob("*/bundle")) if path.parent.name != subject.name]
    blockable = [fault for fault in wanted if fault.gate is not None]
    champion = (subject.version, subject.bundle)
    found = []
    for fault in (fault for fault in blockable if fault.target == "bundle"):
        say(f"before deployment: {fault.meaning}")
        found.append(candidates.artefact(fault, subject.name, champion, subject.registered, others=others))
    rebuilt = []
    for fault in (fault for fault in blockable if fault.target in ("checkpoint", "export")):
        say(f"before deployment: {fault.meaning}")
        rebuilt.append(candidates.rebuilt(fault, subject.name, champion, subject.registered, subject.params))
    if any(outcome.planted for outcome in rebuilt):
        say("before deployment: a candidate without a fault")
        rebuilt.append(candidates.rebuilt(None, subject.name, champion, subject.registered, subject.params))
    return found + rebuilt


def _after(
    subject: Subject,
    planted: Sequence[Fault],
    rows: Population,
    say: Callable[[str], None],
    seed: int,
    severity: int,
) -> tuple[list[traffic.Outcome], dict[str, Any]]:
    """Sound traffic, then each fault in a window of its own."""
    model = LoadedModel.open(subject.name, subject.version, subject.bundle, difference_allowed=replay.DIFFERENCE)
    found = []
    with traffic.deployed(model, rows.reference, subject.params) as deployment:
        if rows.unlike:
            say(f"validation is unlike the test split ({', '.join(rows.unlike)}): one half of test is sent, and the "
                "other half stands in for the reference")  # fmt: skip
        say(f"after deployment: {traffic.CLEAN_WINDOWS} windows of sound inputs")
        clean = traffic.clean(deployment, rows.held.rows.select(rows.sound.tolist()), seed=seed)
        for fault in planted:
            say(f"after deployment: {fault.meaning}")
            found.append(traffic.plant(fault, deployment, rows.held, seed=seed, severity=severity))
    return found, clean


def _summary(counts: dict[str, int]) -> str:
    said = []
    if counts["planted_before"]:
        said.append(f"{counts['blocked']} of {counts['planted_before']} faults blocked before deployment")
    if counts["planted_after"]:
        said.append(
            f"{counts['detected']} of {counts['planted_after']} detected after it, {counts['named']} named right and "
            f"{counts['named_wrongly']} wrongly"
        )
    said.append(f"{counts['false_alarms']} false alarms")
    return "; ".join(said) + "."
