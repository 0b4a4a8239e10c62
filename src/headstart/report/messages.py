"""What people are sent when something happens: what it is, how sure that is, what to do, and where to read on.

Plain text, for Slack, e-mail and webhooks alike.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from headstart.report import monitor_words, vocabulary
from headstart.report.plots import percent

Document = Mapping[str, Any]
LONGEST = 3  # reasons that a message repeats; the page has all


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        kind: how loud it is, as apprise names it.
        title: who and what, in a few words.
        body: lines of plain text.
        page: the page to read on, or empty.
    """

    kind: Literal["info", "success", "warning", "failure"]
    title: str
    body: str
    page: str = ""

    @property
    def text(self) -> str:
        """The body and, as its last line, the page."""
        return f"{self.body}\nPage: {self.page}" if self.page else self.body


def of_look(model: str, document: Document, event: str, since: str, folded: int) -> Message:
    """The message about an alert that begins, gets another cause, lasts or ends.

    Args:
        model: its name.
        document: of the look: what `monitor --json` prints for the model.
        event: `begins`, `changes`, `lasts` or `ends`.
        since: the start of the alert's first window.
        folded: how many looks alarmed likewise since the last message.
    """
    page = str(document.get("page") or "")
    if event == "ends":
        lines = [
            f"What happened: the alert that began on {monitor_words.short(since)} UTC is over. "
            f"{monitor_words.happened(document)}",
            _folded(folded, "look alarmed", "looks alarmed"),
            "What to do: nothing.",
        ]
        return Message("success", f"{model}: the alert is over", _lines(lines), page)
    cause = document["causes"][0]["cause"] if document["causes"] else "unknown_shift"
    title = {
        "begins": f"{model}: alert, {cause}",
        "changes": f"{model}: the alert has another cause, {cause}",
        "lasts": f"{model}: the alert lasts, {cause}",
    }[event]
    advice = monitor_words.advice(model, document)
    lines = [
        f"What happened: {monitor_words.happened(document)} Window: {monitor_words.span(document['window'])}.",
        "" if event == "begins" else f"The alert began on {monitor_words.short(since)} UTC.",
        _folded(folded, "look alarmed", "looks alarmed"),
        f"How sure: {' '.join(monitor_words.sure(document)) or 'counted, not estimated.'}",
        f"What to do: {advice.sentence}",
        f"  Tell them: {advice.message}" if advice.message else "",
        *(f"  {command}" for command in advice.commands),
    ]
    return Message("failure", title, _lines(lines), page)


def of_failed_look(model: str, error: Document, folded: int) -> Message:
    """The message about a look that failed: nobody watches the model until that is mended.

    Args:
        model: its name.
        error: {`message`, `action`}.
        folded: how many looks failed likewise since the last message.
    """
    lines = [
        f"What happened: the monitor failed: {error['message']}",
        _folded(folded, "look failed", "looks failed"),
        "How sure: nothing is known about this window.",
        f"What to do: {error['action'] or 'read the log of the look.'}",
    ]
    return Message("warning", f"{model}: the monitor failed", _lines(lines))


def of_run(model: str, outcome: str, run: Document, folded: int, page: str = "") -> Message:
    """The message about a training that ended with a verdict.

    Args:
        model: its name.
        outcome: from `outcome_of`.
        run: what `headstart run --json` prints for the model.
        folded: how many trainings ended likewise since the last message.
        page: of the run.
    """
    name, version = shlex.quote(model), run["version"]
    which = f"version {version}" if version is not None else "the candidate"
    before = "the champion that was there still answers, if there is one"
    happened, kind, title = {
        "promoted": (f"{which} passed its gates and is champion.", "success", f"{which} promoted"),
        "provisional": (
            f"{which} is champion, provisionally: there is no sound champion to keep, and the test set is too small to "
            "be sure.",
            "warning",
            f"{which} promoted provisionally",
        ),
        "rollout": (
            f"{which} passed its gates, and its rollout began; {before}.",
            "info",
            f"{which} rolled out by steps",
        ),
        "approval": (f"{which} passed its gates and waits for approval; {before}.", "warning", f"approve {which}?"),
        "withheld": (f"{which} passed its gates and was not promoted; {before}.", "warning", f"{which} not promoted"),
        "rejected": (f"gates rejected {which}; {before}.", "failure", f"{which} rejected"),
        "unsure": (f"gates could not be sure of {which}; {before}.", "warning", f"not sure enough of {which}"),
    }[outcome]
    open_gates = [gate for gate in run["gates"] if gate["verdict"] != "pass"]
    lines = [
        f"What happened: {happened}",
        _folded(folded, "training ended", "trainings ended"),
        *_reasons(open_gates),
        f"How sure: {_sure(run['metrics'])}",
        f"What to do: {_next(outcome, name, version, open_gates)}",
    ]
    return Message(kind, f"{model}: {title}", _lines(lines), page)  # type: ignore[arg-type]


def of_failed_run(model: str, error: Document, folded: int) -> Message:
    """The message about a training that failed before any gate judged it.

    Args:
        model: its name.
        error: {`message`, `action`}.
        folded: how many trainings failed likewise since the last message.
    """
    lines = [
        f"What happened: training failed: {error['message']} The champion that was there still answers, if there is "
        "one.",
        _folded(folded, "training failed", "trainings failed"),
        "How sure: no candidate was judged.",
        f"What to do: {error['action'] or 'read the log of the run.'} Then: headstart run {shlex.quote(model)}",
    ]
    return Message("failure", f"{model}: training failed", _lines(lines))


def of_rollout(model: str, document: Document) -> Message:
    """The message about a rollout that took a step, promoted a version or took it back.

    Args:
        model: its name.
        document: what the look says of the rollout: `verdict`, `findings`, and `outcome`, a sentence.
    """
    failed = document["verdict"] == "fail"
    told = [one["reason"] for one in document["findings"] if one["verdict"] == document["verdict"]][:LONGEST]
    lines = [
        f"What happened: {document['outcome']}",
        f"How sure: {' '.join(told) or 'the findings of the step say so.'}",
        f"What to do: {'look at the reasons before the next training.' if failed else 'nothing, unless it says so.'}",
        f"  headstart history {shlex.quote(model)}",
    ]
    return Message("failure" if failed else "info", f"{model}: rollout", _lines(lines))


def outcome_of(run: Document, approval: bool) -> str:
    """How a training ended, by what it did to production.

    Args:
        run: what `headstart run --json` prints for the model.
        approval: whether a candidate that passed waits for a person.
    """
    if run["alias"] == "champion":
        return "provisional" if run["provisional"] else "promoted"
    if run.get("rollout"):
        return "rollout"
    if run["verdict"] == "pass":
        return "approval" if approval and run["alias"] == "challenger" else "withheld"
    return "rejected" if run["verdict"] == "fail" else "unsure"


def _sure(metrics: Document) -> str:
    accuracy = metrics.get("accuracy")
    if not accuracy:
        return "training did not get as far as a measurement on test."
    between = f"{percent(accuracy['low'])} to {percent(accuracy['high'])}"
    return f"accuracy {percent(accuracy['value'])} ({between}) on {accuracy['n']:,} test examples."


def _next(outcome: str, name: str, version: int | None, open_gates: Sequence[Document]) -> str:
    if outcome == "rollout":
        return "nothing; a message follows when it is promoted or taken back."
    if outcome in ("promoted", "provisional"):
        return f"nothing; to undo it: headstart rollback {name}"
    if outcome == "approval":
        return f"read the page, then: headstart promote {name} {version}"
    if outcome == "withheld":
        return f"headstart status {name} says why it was rolled back before; to promote it: headstart promote {name}"
    actions = [gate["action"] for gate in open_gates if gate["action"]]
    return actions[0] if actions else f"read the page, change what it names, then: headstart run {name}"


def _reasons(gates: Sequence[Document]) -> list[str]:
    lines = [f"  {vocabulary.title(gate['check'])}: {gate['verdict']}. {gate['reason']}" for gate in gates[:LONGEST]]
    return [*lines, f"  and {len(gates) - LONGEST} more" if len(gates) > LONGEST else ""]


def _folded(count: int, one: str, many: str) -> str:
    return f"Since the last message {count} more {one if count == 1 else many} likewise." if count else ""


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(line for line in lines if line)
