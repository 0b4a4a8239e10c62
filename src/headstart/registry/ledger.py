"""The ledger: what was judged, registered, promoted and rolled back, by whom, when and why. Entries are only added.

It lies in MLflow, so that all who share a registry share the record: the experiment `headstart-ledger` has a run for
each entry. The run's tags hold the entry's text, canonical JSON. MLflow receives all of them in one call, so an entry
is written completely or not at all. Each entry holds the SHA-256 of the one before, so that an entry that is altered or
removed is noticed. If two machines write to one server at the same moment, both entries may hold the hash of the same
predecessor; the next entry then holds the hashes of both. Findings and other documents are kept as artifacts of the run
that made the version; the entry holds their SHA-256 and path.
"""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from headstart import settings
from headstart.determinism import digest
from headstart.errors import OutsideError
from headstart.registry.client import (
    CHALLENGER,
    CHAMPION,
    PROVISIONAL,
    aliases_of,
    beside_database,
    exclusive,
    or_none,
    speaking,
)

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
    """Add an entry, and return it; where there is an entry of this `id` already, that one is returned.

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
            text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=plain)
            kept[name] = {"sha256": digest(text)}
            if known and known.run_id:
                kept[name]["path"] = path = f"evidence/{digest(text)[:16]}/{name}"
                client.log_text(known.run_id, text, path)
        experiment = _experiment(client)
        if id and (known_entry := _found(client, experiment, model, f" AND tags.`{TAG}id` = '{id}'", most=1)):
            return known_entry[0]
        mark = _mark(client, experiment, model)
        latest = _found(client, experiment, model, most=RECENT)
        if not latest:
            latest = [_open(client, experiment, model)]
            mark = _mark(client, experiment, model)
        for entry in latest:
            if entry.id == id:  # entries of earlier versions have no tag for their id
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
        return _write(client, experiment, model, latest, mark, body)


def read(model: str) -> Ledger:
    """Every entry of a model, compared with the hashes that its successors hold and with the tags of its run.

    Raises:
        OutsideError: if MLflow refuses or cannot be reached, or the experiment was deleted.
    """
    with speaking(model) as client:
        experiment = _known(client)
        if experiment is None:
            return Ledger([], [])
        runs = _runs(client, experiment.experiment_id, model)
        head = experiment.tags.get(_head(model))
    entries: list[Entry] = []
    problems: list[str] = []
    for run in runs:
        entry = _parsed(run)
        if entry is None:
            problems.append(f"Entry {_number(run)} was altered: its text cannot be read.")
            continue
        named = _named(entry)
        for key, expected in _index(entry).items():
            if (found := run.data.tags.get(f"{TAG}{key}")) != expected and (key, found) != ("id", None):
                problems.append(
                    f"{named} was altered (run {run.info.run_id}): its tag {TAG}{key} is {found!r}, its text says "
                    f"{expected!r}."
                )
        if entry.hash != run.data.tags.get(f"{TAG}sha256"):
            problems.append(
                f"{named} was altered (run {run.info.run_id}): its SHA-256 is not the one it was kept with."
            )
        if run.info.lifecycle_stage == "deleted":
            back = f"mlflow runs restore --run-id {run.info.run_id}"
            problems.append(f"{named} was deleted in MLflow, and can be restored: {back}.")
        if entry.id not in {other.id for other in entries}:  # two machines may have recorded the same move
            entries.append(entry)
    problems += _gaps(model, runs, head)
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
        experiment = _known(client)
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
        details["provisional"] = known.tags.get("promoted") == PROVISIONAL
    body = {
        "id": f"opened-{model}",
        "time": _now(),
        "event": "opened",
        "version": champion,
        "who": vars(Actor.here()),
        "reason": "",
        "details": details,
    }
    return _write(client, experiment, model, [], _mark(client, experiment, model), body)


def _write(
    client: Any, experiment: str, model: str, latest: Sequence[Entry], mark: str | None, body: Mapping[str, Any]
) -> Entry:
    """Add the entry, in one call, then the mark that says how far the ledger goes.

    The mark is replaced, so an entry that it names and that is not there is named by the new entry instead.

    Args:
        client: of MLflow.
        experiment: its id.
        model: its name in the registry.
        latest: the last entries.
        mark: as it was before they were looked for; None where there was none.
        body: of the new entry.
    """
    from mlflow.exceptions import MlflowException

    followed = {hash for entry in latest for hash in entry.previous}
    previous = {entry.hash for entry in latest} - followed
    last = max((entry.sequence for entry in latest), default=0)
    if mark is not None:
        number, hash = _read_mark(mark)
        if hash not in {entry.hash for entry in latest}:
            previous.add(hash)
            last = max(last, number)
    sequence = last + 1
    document = {"format": FORMAT, "model": model, "sequence": sequence, "previous": sorted(previous), **body}
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=plain)
    told = f" {body['version']}" if body["version"] is not None else ""
    tags = {
        "model": model,
        "sha256": digest(text),
        **{key: value for key, value in _index(_entry(text)).items() if value is not None},
        **{f"entry.{at // PIECE:02d}": text[at : at + PIECE] for at in range(0, len(text), PIECE)},
    }
    run = client.create_run(
        experiment,
        start_time=int(datetime.fromisoformat(body["time"]).timestamp() * 1000),
        run_name=f"{model} {body['event']}{told}",
        tags={f"{TAG}{key}": value for key, value in tags.items()},
    )
    with contextlib.suppress(MlflowException):  # the entry is recorded; the next one moves the mark
        client.set_experiment_tag(experiment, _head(model), f"{sequence} {digest(text)}")
        client.set_terminated(run.info.run_id)
    return _entry(text)


def _known(client: Any) -> Any:
    """The experiment, None where there is none yet.

    Raises:
        OutsideError: if it was deleted in MLflow: what is added to it then would be lost with it.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None and found.lifecycle_stage == "deleted":
        raise OutsideError(
            f"the experiment {EXPERIMENT}, which holds the ledger, was deleted in MLflow.",
            action=f"Restore it: mlflow experiments restore --experiment-id {found.experiment_id}.",
        )
    return found


def _experiment(client: Any) -> str:
    """Its id; made the first time, by whoever comes first."""
    from mlflow.exceptions import MlflowException

    found = _known(client)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=beside_database()))
    except MlflowException:
        found = _known(client)
        if found is None:
            raise
        return str(found.experiment_id)


def _found(client: Any, experiment: str, model: str, more: str = "", *, most: int) -> list[Entry]:
    """The last entries, newest first; those whose run was deleted in MLflow too, until `mlflow gc` removes it."""
    from mlflow.entities import ViewType

    runs = client.search_runs(
        [experiment],
        f"tags.`{TAG}model` = '{model}'{more}",
        run_view_type=ViewType.ALL,
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
            return sorted(found, key=lambda run: (_number(run), run.info.start_time))


def _parsed(run: Any) -> Entry | None:
    """The entry that a run holds; None where its text is damaged."""
    pieces = sorted((key, value) for key, value in run.data.tags.items() if key.startswith(f"{TAG}entry."))
    try:
        return _entry("".join(value for _, value in pieces))
    except (ValueError, KeyError, TypeError):
        return None


def _entry(text: str) -> Entry:
    """An entry from its text.

    Raises:
        ValueError: if it is no JSON, or its time is not ISO 8601 with an offset.
        KeyError: if a value is missing.
        TypeError: if a value is of another type.
    """
    body = json.loads(text)
    if datetime.fromisoformat(body["time"]).tzinfo is None:
        raise ValueError("its time has no offset")
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
        details={**body["details"]},
    )


def _index(entry: Entry) -> dict[str, str | None]:
    """The tags by which an entry is searched for; None for one that it does not have."""
    return {
        "id": entry.id,
        "sequence": f"{entry.sequence:09d}",
        "event": entry.event,
        "version": str(entry.version) if entry.version is not None else None,
        "champion": str(entry.details["champion"]) if "champion" in entry.details else None,
    }


def _number(run: Any) -> int:
    """The place of a run's entry: from its text, from its tag where the text is damaged, else 0."""
    if (entry := _parsed(run)) is not None:
        return entry.sequence
    tag = run.data.tags.get(f"{TAG}sequence", "")
    return int(tag) if re.fullmatch(r"[0-9]+", tag) else 0


def _mark(client: Any, experiment: str, model: str) -> str | None:
    """What the experiment's tag says of the newest entry: its number and hash."""
    value = client.get_experiment(experiment).tags.get(_head(model))
    return str(value) if value is not None else None


def _read_mark(mark: str) -> tuple[int, str]:
    """The number and hash that a mark names; 0 and the mark itself where it is not one."""
    number, _, hash = mark.partition(" ")
    return (int(number), hash) if re.fullmatch(r"[0-9]+ [0-9a-f]{64}", mark) else (0, mark)


def _gaps(model: str, runs: Sequence[Any], head: str | None) -> list[str]:
    """What the hashes that entries hold of their predecessors say, and the one that the mark holds."""
    entries = [entry for run in runs if (entry := _parsed(run)) is not None]
    hashes = {entry.hash for entry in entries}
    there = {_number(run) for run in runs}
    named = [(entry.sequence - 1, hash) for entry in entries for hash in entry.previous]
    if head is not None:
        named.append(_read_mark(head))
    problems = [
        f"Entry {number} was {'altered' if number in there else 'removed'}: the ledger has none of SHA-256 {hash}."
        if re.fullmatch(r"[0-9a-f]{64}", hash)
        else f"The tag {_head(model)} was altered: it said {hash!r}."
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


def plain(value: Any) -> Any:
    """numpy scalars and arrays as plain Python values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")
