"""`migrate`: a workspace of an older headstart brought to the installed one, the difference shown first."""

import sys
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import artifacts, settings
from headstart.cli import migration, template
from headstart.cli.output import Json, emit, say
from headstart.errors import ParamsError
from headstart.findings import Finding
from headstart.params.loader import FORMAT, load, read

Changes = dict[str, tuple[str | None, str | None]]  # path -> text before and after; None: no such file


def migrate(
    yes: Annotated[bool, typer.Option("--yes", help="Apply without asking.")] = False, as_json: Json = False
) -> int:
    """Bring params.yaml, dvc.yaml and pipelines/ to the installed version; the difference is shown first.

    Keys that are new get the installed version's values, and keys that are no longer read go; all else of yours stays.
    A file that you edited is never replaced: the difference is shown, for you to merge. Git and DVC hold what was
    there before.
    """
    workspace = settings.find_workspace()
    shipped = template.files()
    found = _format(read(workspace.params))
    before = workspace.params.read_text(encoding="utf-8")
    pruned, removed = migration.prune(migration.upgrade(before, found))
    after, added = migration.fill(pruned, shipped["params.yaml"])
    changes: Changes = {"params.yaml": (before, after)} if after != before else {}
    record = _record(workspace.root)
    replaced, findings = _flows(workspace.root, shipped, record)
    changes |= replaced
    _show(changes, workspace.root)
    applied = bool(changes) and (yes or _agreed(as_json))
    if applied:
        _apply(workspace.root, changes, record, shipped)
    if changes and not applied:
        say("nothing was written; `headstart migrate --yes` writes it")
    document = {
        "from": found,
        "to": FORMAT,
        "changed": sorted(changes),
        "added": added,
        "removed": removed,
        "applied": applied,
        "findings": [finding.document() for finding in findings],
    }
    emit(document, as_json, _lines)
    if applied:
        load(workspace.params)  # what is still wrong with it is the user's to mend, and is said here and now
    return 0


def _format(document: dict[str, Any]) -> int:
    found = document.get("format")
    if type(found) is not int:
        raise ParamsError(
            f"format: {found!r} arrived in params.yaml, a whole number was expected.",
            action=f"Write the format that the file has, such as format: {FORMAT}.",
        )
    return found


def _record(root: Path) -> dict[str, str]:
    """Hashes of what headstart itself wrote here, by path; empty where nothing was noted."""
    path = root / template.RECORD
    return dict(artifacts.read_json(path)["files"]) if path.is_file() else {}


def _flows(root: Path, shipped: dict[str, str], record: dict[str, str]) -> tuple[Changes, list[Finding]]:
    """What to replace, add and drop of the graph and the flows, and a finding for each that the user edited."""
    from headstart.determinism import digest

    changes: Changes = {}
    findings = []
    wanted = {path: text for path, text in shipped.items() if template.owned(path)}
    for path in sorted(wanted.keys() | record.keys()):
        file, after = root / path, wanted.get(path)
        before = file.read_text(encoding="utf-8") if file.is_file() else None
        noted = record.get(path)
        if before == after or (after and noted == digest(after)):  # nothing new in it: an edit is the user's business
            continue
        if (before is None and noted is None) or (before is not None and noted == digest(before)):
            changes[path] = (before, after)
        else:
            findings.append(_edited(path, before, after))
            print(_difference(path, before, after), file=sys.stderr)
    return changes, findings


def _edited(path: str, before: str | None, after: str | None) -> Finding:
    was = "is gone" if before is None else "differs from what headstart wrote"
    news = "no longer has it" if after is None else "has it otherwise"
    return Finding(
        check="workspace",
        verdict="unsure",
        statistic=None,
        bar=None,
        reason=f"{path} {was}, and the installed version {news}: it is left as it is.",
        action=f"Merge the difference shown by hand, or restore {path} and run `headstart migrate` again.",
        evidence={"path": path},
    )


def _agreed(as_json: bool) -> bool:
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return typer.confirm("Write this?", default=True)


def _show(changes: Changes, root: Path) -> None:
    for path, (before, after) in changes.items():
        print(_difference(path, before, after), file=sys.stderr)
    if changes:
        say(f"{len(changes)} files of {root} change")


def _difference(path: str, before: str | None, after: str | None) -> str:
    return "".join(
        unified_diff(
            (before or "").splitlines(keepends=True),
            (after or "").splitlines(keepends=True),
            "/dev/null" if before is None else f"a/{path}",
            "/dev/null" if after is None else f"b/{path}",
        )
    )


def _apply(root: Path, changes: Changes, record: dict[str, str], shipped: dict[str, str]) -> None:
    """Write each file whole or not at all; the record comes last: after a kill, a repeat makes it good."""
    from headstart.determinism import digest

    for path, (_, after) in changes.items():
        if after is None:
            (root / path).unlink()
        else:
            artifacts.write_text(root / path, after)
    noted = dict(record)
    for path, text in shipped.items():
        file = root / path
        if template.owned(path) and file.is_file() and file.read_text(encoding="utf-8") == text:
            noted[path] = digest(text)
    noted = {path: value for path, value in noted.items() if path in shipped or (root / path).is_file()}
    artifacts.write_json(root / template.RECORD, {"format": FORMAT, "files": noted})


def _lines(document: dict[str, Any]) -> Any:
    if not document["changed"]:
        yield f"nothing to migrate: format {document['to']}, every key and file as the installed version has them"
    for path in document["changed"]:
        yield f"{'migrated' if document['applied'] else 'to migrate':10} {path}"
    yield from (f"  new key  {key}" for key in document["added"])
    yield from (f"  old key  {key}: {reason}" for key, reason in document["removed"].items())
    for finding in document["findings"]:
        yield f"  {finding['verdict']:8} {finding['reason']} {finding['action']}"
