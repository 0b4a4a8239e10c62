"""The ledger: what was judged, registered, promoted and rolled back, by whom, when and why. Entries are only added.

It lies in MLflow, so that all who share a registry share the record: the experiment `headstart-ledger` has a run for
each entry. The run's tags hold the entry's text, canonical JSON, and arrive in one call: an entry is there or it is
not. Each entry names the SHA-256 of the one before, so one that is altered or removed is found. Two machines that write
to one server at the same moment may both follow the same entry; the next one then names both. Findings and other
documents are kept as artifacts of the run that made the version; the entry holds their SHA-256 and path.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from headstart import settings
from headstart.determinism import digest
from headstart.registry.client import CHALLENGER, CHAMPION, aliases_of, beside_database, exclusive, or_none, speaking

FORMAT = 1
EXPERIMENT = "headstart-ledger"
TAG = "headstart."
PIECE = 5000  # characters of an entry's text in one tag; MLflow refuses more than 8000
PAGE = 1000
RECENT = 20  # entries among which those that nothing follows yet are looked for
PROVENANCE = ("data_revision", "contract", "bundle", "git_commit", "git_clean")  # tags of a version

Event = Literal[
    "opened",
    "judged",
    "registered",
    "promoted",
    "rolled_back",
    "moved_outside",
    "remedy_applied",
    "remedy_withdrawn",
    "rollout_step",
]


@dataclass(frozen=True)
class Actor:
    """Who did it: the account it ran as, by what, and in which flow run, if in one.

    Attributes:
        account: user@host.
        via: `command promote`, `flow release (NAME OF ITS RUN)`, `server`.
        flow_run: id of the Prefect flow run.
    """

    account: str
    via: str = ""
    flow_run: str = ""

    @classmethod
    def here(cls, via: str = "", flow_run: str = "") -> "Actor":
        """Whoever runs this process."""
        return cls(settings.account(), via, flow_run)

    def __str__(self) -> str:
        return f"{self.account} ({self.via})" if self.via else self.account


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        sequence: its place, from 1 on.
        hash: SHA-256 of its text.
        previous: hashes of the entries before it: one, but for the first, and where two were written at once.
        id: of what is recorded; two entries of one id are one.
        time: ISO 8601, UTC.
        version: what it is about; None where it is about no version.
        who: as `Actor` has it.
        reason: a person's, or why a gate refused; empty where none was given.
        details: whatever else belongs to the event, plain JSON values.
    """

    sequence: int
    hash: str
    previous: tuple[str, ...]
    id: str
    time: str
    event: Event
    version: int | None
    who: Actor
    reason: str
    details: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """The entry as plain JSON values."""
        return {
            "sequence": self.sequence,
            "time": self.time,
            "event": self.event,
            "version": self.version,
            "who": {**vars(self.who)},
            "reason": self.reason,
            **self.details,
            "id": self.id,
            "hash": self.hash,
            "previous": list(self.previous),
        }


@dataclass(frozen=True)
class Ledger:
    """A model's entries, oldest first, and what is wrong with them, a sentence each."""

    entries: Sequence[Entry]
    problems: Sequence[str]


def append(
    model: str,
    event: Event,
    *,
    version: int | None = None,
    who: Actor | None = None,
    reason: str = "",
    evidence: Mapping[str, Any] | None = None,
    id: str | None = None,
    time: str | None = None,
    **details: Any,
) -> Entry:
    """Add an entry, and answer it; one whose `id` is among the last entries already is answered as it stands.

    What the version was made from (data revision, contract, bundle, git commit) is added from its tags.

    Args:
        model: its name in the registry.
        event: what happened.
        version: what it happened to.
        who: whoever runs this process when left out.
        reason: in words.
        evidence: documents by file name, kept with the run that made the version; nothing is kept without one.
        id: of what is recorded, where it may be recorded again after a crash.
        time: when it happened; now when left out.
        details: plain JSON values.

    Raises:
        OutsideError: if MLflow refuses or cannot be reached; nothing is recorded then.
    """
    with exclusive(model), speaking(model) as client:
        known = or_none(lambda: client.get_model_version(model, str(version))) if version is not None else None
        facts = {key: known.tags[key] for key in PROVENANCE if known and known.tags.get(key)}
        if known and known.run_id:
            facts["run"] = known.run_id
        kept = {}
        for name, document in sorted((evidence or {}).items()):
            text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)
            kept[name] = {"sha256": digest(text)}
            if known and known.run_id:
                kept[name]["path"] = path = f"evidence/{digest(text)[:16]}/{name}"
                client.log_text(known.run_id, text, path)
        experiment = _experiment(client)
        latest = _found(client, experiment, model, most=RECENT) or [_open(client, experiment, model)]
        for entry in latest:
            if entry.id == id:
                return entry
        body = {
            "id": id or uuid4().hex,
            "time": time or _now(),
            "event": event,
            "version": version,
            "who": vars(who or Actor.here()),
            "reason": reason,
            "details": {**facts, **details, **({"evidence": kept} if kept else {})},
        }
        return _write(client, experiment, model, latest, body)


def read(model: str) -> Ledger:
    """Every entry of a model, held against the hashes that its successors name."""
    with speaking(model) as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return Ledger([], [])
        runs = _runs(client, experiment.experiment_id, model)
        head = experiment.tags.get(_head(model))
    entries: list[Entry] = []
    problems: list[str] = []
    for run in runs:
        number = int(run.data.tags.get(f"{TAG}sequence", "0"))
        entry = _parsed(run)
        if entry is None:
            problems.append(f"Entry {number} was altered: its text cannot be read.")
            continue
        named = _named(entry)
        if entry.hash != run.data.tags.get(f"{TAG}sha256"):
            problems.append(
                f"{named} was altered (run {run.info.run_id}): its SHA-256 is not the one it was kept with."
            )
        if run.info.lifecycle_stage == "deleted":
            back = f"mlflow runs restore --run-id {run.info.run_id}"
            problems.append(f"{named} was deleted in MLflow, and can be restored: {back}.")
        if entry.id not in {other.id for other in entries}:  # two machines may have recorded the same move
            entries.append(entry)
    problems += _gaps(runs, head)
    return Ledger(entries, list(dict.fromkeys(problems)))


def last_move(model: str) -> Entry:
    """The last entry that says who is champion; the ledger is opened where it was not yet."""
    with exclusive(model), speaking(model) as client:
        experiment = _experiment(client)
        found = _found(client, experiment, model, f" AND tags.`{TAG}champion` LIKE '%'", most=1)
        return found[0] if found else _open(client, experiment, model)


def holds(model: str, event: Event, version: int) -> bool:
    """Whether an event of a version is recorded."""
    with speaking(model) as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        more = f" AND tags.`{TAG}event` = '{event}' AND tags.`{TAG}version` = '{version}'"
        return experiment is not None and bool(_found(client, experiment.experiment_id, model, more, most=1))


def checks(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What an entry keeps of findings: codes and numbers."""
    return [{key: finding[key] for key in ("check", "verdict", "statistic", "bar")} for finding in findings]


def _open(client: Any, experiment: str, model: str) -> Entry:
    found = aliases_of(client, model)
    champion = found.get(CHAMPION)
    details = {"before": None, "champion": champion, "challenger": found.get(CHALLENGER)}
    if champion is not None and (known := or_none(lambda: client.get_model_version(model, str(champion)))):
        details |= {key: known.tags.get(key, "") for key in ("since", "verdict", "overridden", *PROVENANCE)}
    body = {
        "id": f"opened-{model}",
        "time": _now(),
        "event": "opened",
        "version": champion,
        "who": vars(Actor.here()),
        "reason": "",
        "details": details,
    }
    return _write(client, experiment, model, [], body)


def _write(client: Any, experiment: str, model: str, latest: Sequence[Entry], body: Mapping[str, Any]) -> Entry:
    """Add the entry, in one call, then the mark that says how far the ledger goes."""
    followed = {hash for entry in latest for hash in entry.previous}
    previous = sorted({entry.hash for entry in latest} - followed)
    sequence = max((entry.sequence for entry in latest), default=0) + 1
    document = {"format": FORMAT, "model": model, "sequence": sequence, "previous": previous, **body}
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    told = f" {body['version']}" if body["version"] is not None else ""
    tags = {
        "model": model,
        "sequence": f"{sequence:09d}",
        "event": body["event"],
        "sha256": digest(text),
        **({"version": str(body["version"])} if body["version"] is not None else {}),
        **({"champion": str(body["details"]["champion"])} if "champion" in body["details"] else {}),
        **{f"entry.{at // PIECE:02d}": text[at : at + PIECE] for at in range(0, len(text), PIECE)},
    }
    run = client.create_run(
        experiment,
        start_time=int(datetime.fromisoformat(body["time"]).timestamp() * 1000),
        run_name=f"{model} {body['event']}{told}",
        tags={f"{TAG}{key}": value for key, value in tags.items()},
    )
    client.set_experiment_tag(experiment, _head(model), f"{sequence} {digest(text)}")
    client.set_terminated(run.info.run_id)
    entry = _parsed(run)
    assert entry is not None
    return entry


def _experiment(client: Any) -> str:
    """Its id; made the first time, by whoever comes first."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=beside_database()))
    except MlflowException:
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise
        return str(found.experiment_id)


def _found(client: Any, experiment: str, model: str, more: str = "", *, most: int) -> list[Entry]:
    """The last entries, newest first."""
    runs = client.search_runs(
        [experiment],
        f"tags.`{TAG}model` = '{model}'{more}",
        max_results=most,
        order_by=[f"tags.`{TAG}sequence` DESC"],
    )
    return [entry for run in runs if (entry := _parsed(run)) is not None]


def _runs(client: Any, experiment: str, model: str) -> list[Any]:
    """The runs of all entries, deleted ones too, oldest first."""
    from mlflow.entities import ViewType

    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment], f"tags.`{TAG}model` = '{model}'", ViewType.ALL, PAGE, [f"tags.`{TAG}sequence` ASC"], token
        )
        found += page
        if not (token := page.token):
            return sorted(found, key=lambda run: (run.data.tags.get(f"{TAG}sequence", ""), run.info.start_time))


def _parsed(run: Any) -> Entry | None:
    """The entry that a run holds; None where its text is damaged."""
    pieces = sorted((key, value) for key, value in run.data.tags.items() if key.startswith(f"{TAG}entry."))
    text = "".join(value for _, value in pieces)
    try:
        body = json.loads(text)
        return Entry(
            sequence=int(body["sequence"]),
            hash=digest(text),
            previous=tuple(body["previous"]),
            id=body["id"],
            time=body["time"],
            event=body["event"],
            version=body["version"],
            who=Actor(**body["who"]),
            reason=body["reason"],
            details=body["details"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def _gaps(runs: Sequence[Any], head: str | None) -> list[str]:
    """What the hashes say that entries name of those before them."""
    entries = [entry for run in runs if (entry := _parsed(run)) is not None]
    hashes = {entry.hash for entry in entries}
    there = {int(run.data.tags.get(f"{TAG}sequence", "0")) for run in runs}
    named = [(entry.sequence - 1, hash) for entry in entries for hash in entry.previous]
    if head is not None:
        sequence, _, hash = head.partition(" ")
        named.append((int(sequence), hash))
    problems = [
        f"Entry {number} was {'altered' if number in there else 'removed'}: the ledger has none of SHA-256 {hash}."
        for number, hash in dict.fromkeys(named)
        if hash not in hashes
    ]
    lost = [entry for entry in entries if entry.sequence > 1 and not entry.previous]
    return problems + [f"{_named(entry)} was altered: it follows no other." for entry in lost]


def _named(entry: Entry) -> str:
    about = f" version {entry.version}" if entry.version is not None else ""
    return f"Entry {entry.sequence} ({entry.event}{about}, {entry.time})"


def _head(model: str) -> str:
    """The experiment's tag that says how far a model's ledger goes: removing its last entries is noticed."""
    return f"{TAG}head.{model}"


def _now() -> str:
    return settings.now().isoformat(timespec="milliseconds")


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as plain Python values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")
