"""`data`: what is in a model's data, what is wrong with it, and what changed between two revisions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import artifacts
from headstart.cli.output import Json, emit
from headstart.cli.workspace import announce_pretraining, chosen, enter, start_flow
from headstart.errors import GateError, OutsideError, UsageError
from headstart.params.workspace import Model
from headstart.report import vocabulary

Entry = dict[str, Any]
SPLITS = ("train", "validation", "test")
PLACES = ("current", "previous")


def data(
    name: Annotated[str, typer.Argument(help="The model.")],
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="OLD NEW",
            help="Compare two revisions, each by the first characters of its name as `data` prints it, or as previous "
            "or current; a name that fits none lists them all.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Bring the data in, check it, and show what it is; with --diff also what changed. No model is trained.

    The page is artifacts/releases/NAME/data.html, with --diff data-diff.html.
    """
    workspace, params = enter()
    chosen(params, [name])
    for wanted in diff or ():
        if wanted not in PLACES:
            _named(artifacts.raw(name), wanted)  # refused now, not after minutes of work
    from headstart.cli.staleness import unbuilt_models

    refusal = None
    if unbuilt_models(workspace, params, [name], until="prepare"):
        announce_pretraining(params, [name])
        refusal = start_flow(workspace, "training", [name], "--until", "prepare")
        if refusal and not isinstance(refusal, GateError):
            raise refusal
    from headstart.stages import graph, outcome

    revision = graph.revision(artifacts.raw(name))
    compared = _compared(name, params.models[name], *diff) if diff else None
    if not (artifacts.stage_output(name, "data") / "summary.json").is_file():
        raise refusal or OutsideError(f"the data of {name} was not prepared.", action="Read what was printed above.")
    page = outcome.data_page(name)
    if page is None or compared:
        from headstart.report import data_page

        page = data_page.write(name, revision=revision, diff=compared)
    document = {name: _document(name, revision, page, compared, params.models[name].data.expected_shares)}
    emit(document, as_json, _lines)
    return 1 if refusal else 0


def _document(name: str, revision: str, page: Path, compared: Entry | None, expected: dict[str, float] | None) -> Entry:
    from headstart.report import finding_words

    folder = artifacts.stage_output(name, "data")
    summary = artifacts.read_json(folder / "summary.json")
    source = artifacts.read_json(artifacts.raw(name) / "source.json")
    noticed = source.get("findings", [])
    told = finding_words.all_told([*noticed, *artifacts.read_json(folder / "findings.json")])
    found = {one["check"]: one for one in told}
    if expected is not None:
        from headstart.data.checks import shares

        found["expected_shares"] = finding_words.told(shares.expected(summary["per_class"], expected))
    return {
        "revision": revision,
        "rows": {split: summary["rows"][split] for split in SPLITS},
        "unlabelled": source["rows"]["unlabelled"],
        "classes": summary["per_class"],
        "quarantined": summary["quarantined_by"],
        "findings": list(found.values()),
        "page": page.as_posix(),
        **({"diff": compared} if compared else {}),
    }


def _compared(name: str, model: Model, old: str, new: str) -> Entry:
    """What `data.revisions.compare` says of two revisions, with their names and times."""
    from headstart.stages import changes

    folder = artifacts.raw(name)
    return changes.between(name, model.prepare, _named(folder, old), _named(folder, new))


def _named(folder: Path, wanted: str) -> str:
    """The one revision that is meant.

    Raises:
        UsageError: if there is none, or more than one.
    """
    from headstart.stages import changes, graph

    known = list(dict.fromkeys(graph.revisions(folder)))
    if wanted in PLACES:
        current = graph.revision(folder)
        if wanted == "current":
            return current
        if earlier := changes.earlier(folder.name):
            return earlier
        raise UsageError(
            f"{folder.name} has no revision before {current[:8]}.",
            action=f"Add rows, then run the same command again: headstart data {folder.name} --diff previous current.",
        )
    found = [revision for revision in known if revision.startswith(wanted)] or graph.stored(wanted)
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} revisions of {folder.name} begin with {wanted!r}: {_shown(found)}.",
            action="Name more of it, or say previous or current.",
        )
    if not found:
        raise UsageError(
            f"no revision of {folder.name} begins with {wanted!r}; there are {_shown(known) or 'none yet'}.",
            action="Name one of them, or say previous or current."
            if known
            else f"Make the first: headstart data {folder.name}.",
        )
    return found[0]


def _shown(revisions: Sequence[str]) -> str:
    return ", ".join(revision[:8] for revision in revisions[-10:])


def _lines(document: dict[str, Entry]) -> Any:
    for name, result in document.items():
        rows = ", ".join(f"{count:,} {split}" for split, count in result["rows"].items())
        aside = ", ".join(f"{check} {count:,}" for check, count in result["quarantined"].items())
        yield f"{name}, revision {result['revision'][:8]}: {rows}; {len(result['classes'])} classes"
        told = {finding["check"]: finding["reason"] for finding in result["findings"] if finding["verdict"] == "pass"}
        if "carved_splits" in told:  # of no fault, but to be known
            yield f"  dealt      {told['carved_splits']}"
        if "expected_shares" in told:
            yield f"  expected   {told['expected_shares']}"
        if result["unlabelled"]:
            came = f"{result['unlabelled']:,} rows as they came, for adapting a backbone"
            yield f"  unlabelled {told.get('unlabelled', came)}"
        yield f"  put aside  {aside or 'nothing'}"
        findings = [*result["findings"], *result.get("diff", {}).get("findings", [])]
        for finding in sorted(findings, key=vocabulary.urgency):
            if finding["verdict"] != "pass":
                yield f"  {finding['verdict']:9}  {finding['check']}: {finding['reason']}"
                if finding["action"]:
                    yield f"             {finding['action']}"
        if diff := result.get("diff"):
            count = diff["rows"]
            yield f"  changed    {count['in']:,} in, {count['out']:,} out, {count['stayed']:,} stayed"
            relabelled, moved = diff["relabelled"]["count"], diff["moved"]["count"]
            sizes = (f"{name} {side['before']:,} to {side['after']:,}" for name, side in diff["splits"].items())
            yield f"             {', '.join(sizes)}"
            yield f"             {relabelled:,} with another label, {moved:,} changed sides"
        yield f"  page       {result['page']}"
