"""What commands print: one JSON document, or the same for people; progress goes to standard error."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

NAMED = 10
COMMANDS = (
    "init", "add", "data", "rank", "run", "plan", "compare", "status", "promote", "rollback", "rollout", "predict",
    "score", "serve", "key", "diff-client", "monitor", "remedy", "drill", "doctor", "migrate", "history",
)  # fmt: skip
"""Of `cli.app`, which cannot be asked here: its commands import this module."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")]


def emit(document: Any, as_json: bool, lines: Callable[[Any], Iterable[str]]) -> None:
    """Print `document` as JSON, or as the lines that `lines` makes of it."""
    if as_json:
        print(as_text(document, indent=2))
        return
    for line in lines(document):
        print(typed(line))


def as_text(document: Any, *, indent: int | None = None) -> str:
    """The document as JSON; what standard output cannot encode is escaped the way JSON escapes."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=indent, allow_nan=False, default=str)
    return text


def say(line: str) -> None:
    """One line of progress."""
    print(typed(line), file=sys.stderr, flush=True)


def program() -> str:
    """How a shell calls this very program: by its name where PATH leads to it, else by its path."""
    own, found = Path(sys.executable).parent / "headstart", shutil.which("headstart")
    on_path = found is not None and Path(found).resolve() == own.resolve()
    return "headstart" if on_path or not own.is_file() else shlex.quote(str(own))


def typed(sentence: str) -> str:
    """The sentence with each command in it (`headstart run topics`) as a shell takes it; see `program`.

    Those who word advice do not know where the program is; a person who is told commands by path once and by name the
    next time can use only half of them.
    """
    own = program()
    return re.sub(rf"(?<![\w/.-])headstart (?=({'|'.join(COMMANDS)})\b)", lambda _: f"{own} ", sentence)


def metric(name: str, value: Mapping[str, Any]) -> str:
    """`accuracy 0.931 [0.915, 0.946] (n = 640)`."""
    return f"{name} {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}] (n = {value['n']})"


def _live(name: str, result: Mapping[str, Any]) -> Iterable[str]:
    """What answers in production, and how a version that did not pass may."""
    live = result.get("live")
    if live is None:
        yield "  live      nothing: no version is champion yet"
    else:
        yield f"  live      version {live['version']}{override(live)}{provisionally(live)}"
    if result["verdict"] == "pass" and result["alias"] == "challenger":
        yield f"  waits     to make it champion: {program()} promote {name} {result['version']}"
    if result["verdict"] != "pass" and result["version"] and result["alias"] != "champion":
        yield "  way out   if you judge it good enough, promote it with a reason, which is recorded:"
        yield f"              {program()} promote {name} {result['version']} --reason WHY"


def without_copies(near: Mapping[str, Any] | None) -> str:
    """Accuracy without test rows that have near copies in train; empty where there are none, or it is not known."""
    if not near or not near["rows"]:
        return ""
    rows = f"the {near['rows']} test row{'' if near['rows'] == 1 else 's'} with near copies in train"
    if not near["without"]:
        return f"and nothing is left without {rows}"
    return f"without {rows}: {metric('accuracy', near['without']['accuracy'])}"


def judged_at(shares: Mapping[str, Any]) -> str:
    """At which class shares a model was judged where they are not those of its test split, and who says so."""
    rows = f"judged on {shares['rows']} of {shares['of']} test rows, in which classes come in the shares"
    if shares["origin"] == "expected_shares":
        told = f"{rows} of data.expected_shares"
    else:
        source = shares["source"] or {}
        window = f" of the window {source['start']} to {source['end']}" if {"start", "end"} <= set(source) else ""
        told = f"{rows}{window}: the cure correct_prior"
        told += ", which overrules data.expected_shares" if shares["overrules"] else ""
    short = ", ".join(map(repr, shares["short"][:NAMED]))
    return f"{told}; too few test rows for their share: {short}" if short else told


def override(version: Mapping[str, Any]) -> str:
    """`, promoted although its gates said unsure: a demo`; empty where its gates passed."""
    if not version.get("overridden"):
        return ""
    although = "" if version["verdict"] == "pass" else f" although its gates said {version['verdict']}"
    return f", promoted{although}: {version['overridden']}"


def provisionally(version: Mapping[str, Any]) -> str:
    """`, provisionally: ...` for a champion that is not better than the baseline beyond doubt; else empty."""
    return (
        ", provisionally: too few test rows to be sure that it beats the baseline" if version.get("provisional") else ""
    )


def run_lines(document: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """What a run came to, model by model, and what to try next."""
    for name, result in document.items():
        version = f"version {result['version']}" if result["version"] else "no version"
        provisional = "provisional " if result.get("provisional") else ""
        alias = f", {provisional}{result['alias']}" if result["alias"] else ""
        yield f"\n{name}: {result['verdict']} ({version}{alias})"
        if result["strategy"]:
            why = f": {result['reason']}" if result.get("reason") else ""  # absent from documents of 0.1
            yield f"  kept      {result['strategy']}{why}"
        for key, value in result["metrics"].items():
            yield f"  metric    {metric(key, value)}"
        if told := without_copies(result.get("near_copies")):
            yield f"            {told}"
        if shares := result.get("shares"):
            yield f"  shares    {judged_at(shares)}"
        for finding in result["gates"]:
            yield f"  gate      {finding['verdict']:6} {finding['check']}: {finding['reason']}"
            if finding["verdict"] != "pass" and finding["action"]:
                yield f"                   {finding['action']}"
        if (rollout := result.get("rollout")) and result["alias"] == "challenger":
            yield f"  rollout   {rollout['step']}, step {rollout['number']} of {rollout['steps']}"
            yield f"              {program()} rollout {name}"
        yield from _live(name, result)
        if (proposed := result.get("proposed_bars")) and result["alias"] == "champion":
            yield f"  bars      none are set; to refuse later versions that fall far below it, add under models.{name}:"
            yield f"              gates: {{{', '.join(f'{key}: {value:g}' for key, value in proposed.items())}}}"
        yield f"  seconds   {result['seconds']:.0f}"
        yield f"  report    artifacts/releases/{name}/report.html"
    served = [name for name, result in document.items() if result.get("live")]
    if served:
        yield "\nNext:"
        yield f"  {program()} serve {' '.join(served)} --port 8000"
        yield f"  {program()} predict {served[0]} INPUT"
        yield f"  {program()} monitor {served[0]}"
