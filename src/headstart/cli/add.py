"""`add`: one more model in `params.yaml`, proposed from a look at the data, each choice with its reason; no code."""

import sys
from typing import Annotated, Any

import typer
import yaml

from headstart import settings
from headstart.cli import entry as entries
from headstart.cli.output import Json, emit
from headstart.errors import UsageError
from headstart.params.loader import NAME, load, read
from headstart.params.section import Modality
from headstart.settings import Workspace

Entry = dict[str, Any]


def add(
    name: Annotated[str, typer.Argument(help="The new model's name: lower-case letters, digits, - and _.")],
    data: Annotated[
        list[str] | None, typer.Option(help="A file or folder, s3://…, hub:ORG/SET@COMMIT or builtin:NAME; repeatable.")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="text or image; by default what the data holds.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="A name under backbones:, a folder, package:NAME, hub:ORG/MODEL@REV.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="The column with texts, where it has another name.")] = None,
    image: Annotated[str | None, typer.Option(help="The column with images, where it has another name.")] = None,
    label: Annotated[str | None, typer.Option(help="The column with labels, where it has another name.")] = None,
    unlabelled: Annotated[str | None, typer.Option(help="One more source, whose labels are not looked at.")] = None,
    from_feedback: Annotated[
        bool, typer.Option("--from-feedback", help="Also learn from the labels that come back to this model.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    as_json: Json = False,
) -> int:
    """Add a model to params.yaml, or sources to one that is there. The same `add` again changes nothing.

    The data is looked at first: columns and labels must be there before a line is written. What is left out is
    proposed, with a reason; in a terminal you are asked before it is written.
    """
    workspace = settings.find_workspace()
    _check_name(name)
    if modality not in (None, "text", "image"):
        raise UsageError(f"--modality {modality!r} arrived, text or image was expected.")
    if text and image:
        raise UsageError("--text and --image arrived, a model takes one of them.", action="Leave one out.")
    document = read(workspace.params)
    known = (document.get("models") or {}).get(name)
    aside = entries.portable(unlabelled, workspace.root) if unlabelled else None
    reasons: list[str] = []
    if not data:
        proposed, addition = _extended(name, known, aside, from_feedback, workspace), None
    else:
        if from_feedback:
            raise UsageError(
                "--data and --from-feedback arrived together, one of them was expected.",
                action=f"Add the model first; once it is served, headstart add {name} --from-feedback.",
            )
        given = {"text": text, "image": image, "label": label}
        from headstart.cli import proposal

        proposed, reasons, addition = proposal.make(
            data, given, _modality(modality), backbone, document, workspace.root, asking=_asks(yes, as_json)
        )
        if isinstance(known, dict) and "prepare" in proposed:  # a proposal, which is the user's to change
            proposed["prepare"] = known.get("prepare") or {}
        if aside:
            proposed["data"]["unlabelled"] = aside
        _refuse_other(name, known, proposed)
    if aside:
        reasons.append(_pool(aside, proposed, workspace))
    standing = known is not None and _holds(known, proposed)
    if not standing and _asks(yes, as_json) and not _agreed(name, proposed, reasons):
        emit(proposed, as_json, lambda _: ["nothing was written"])
        return 0
    if not standing:
        _write(workspace, name, proposed, addition)
    emit(proposed, as_json, lambda _: _lines(name, proposed, [] if _asks(yes, as_json) else reasons, standing))
    return 0


def _check_name(name: str) -> None:
    if NAME.fullmatch(name):
        return
    like = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower()).strip("-")[:63]
    raise UsageError(
        f"{name!r} is no name: a name is lower-case letters, digits, - and _, at most 63, from a letter or digit on.",
        action=f"Take {like!r}." if like else "Take one such as 'tickets-eu'.",
    )


def _modality(given: str | None) -> Modality | None:
    return "text" if given == "text" else "image" if given == "image" else None


def _extended(name: str, known: Any, unlabelled: str | None, from_feedback: bool, workspace: Workspace) -> Entry:
    """The entry of a model that is there, with its feedback or unlabelled sources besides."""
    if not unlabelled and not from_feedback:
        raise UsageError(
            f"no data was named for {name}.", action=f"headstart add {name} --data FILE, a folder, or builtin:NAME."
        )
    if not isinstance(known, dict):
        raise UsageError(
            f"there is no model {name!r} in params.yaml to add sources to.",
            action=f"Add it first: headstart add {name} --data SOURCE.",
        )
    load(workspace.params)  # what stands there is read below
    data = dict(known["data"])
    if from_feedback:
        before = data["source"] if isinstance(data["source"], list) else [data["source"]]
        if f"feedback:{name}" not in before:
            _require_raw_inputs(name, workspace)
            data["source"] = [*before, f"feedback:{name}"]
    if unlabelled:
        data["unlabelled"] = unlabelled
    return {**known, "data": data}


def _pool(source: str, entry: Entry, workspace: Workspace) -> str:
    """What an unlabelled source holds, read as the model will read it."""
    from headstart.data import schema

    labelled = entry["data"]["source"]
    if source in (labelled if isinstance(labelled, list) else [labelled]):
        raise UsageError(
            f"{source} is the model's labelled source already.",
            action="Name another one: rows without a label that stand in it are adapted to anyway.",
        )
    place = source if "://" in source or source.startswith(entries.ELSEWHERE) else str(workspace.root / source)
    return schema.unlabelled(place, entry["modality"], entry["data"].get("columns") or {})


def _require_raw_inputs(name: str, workspace: Workspace) -> None:
    """Refuse feedback of a model whose journal keeps none of the inputs that labels come back for."""
    if (policy := load(workspace.params).models[name].journal.raw) != "sampled":
        raise UsageError(
            f"feedback:{name} would give no example: journal.raw is {policy}, so the journal keeps no raw input.",
            action=f"Set models.{name}.journal.raw in params.yaml to sampled, raw_share and raw_days to how many and "
            "how long, and restart the server, which reads them when it starts; what is answered from then on can be "
            "learned from.",
        )


def _refuse_other(name: str, known: Any, proposed: Entry) -> None:
    if known is not None and not _holds(known, proposed):
        raise UsageError(
            f"params.yaml already has a model {name!r} with other values.\nThere stands\n"
            f"{_indented(name, known)}\nand this add says\n{_indented(name, proposed)}\n",
            action="Take another name, or edit the entry in params.yaml.",
        )


def _holds(known: Any, proposed: Any) -> bool:
    """Whether all that is proposed stands there already; what else stands there is the user's."""
    if isinstance(known, dict) and isinstance(proposed, dict):
        return all(key in known and _holds(known[key], value) for key, value in proposed.items())
    if isinstance(known, list):
        return set(proposed if isinstance(proposed, list) else [proposed]) <= set(known)
    return bool(known == proposed)


def _asks(yes: bool, as_json: bool) -> bool:
    return not yes and not as_json and sys.stdin.isatty() and sys.stdout.isatty()


def _agreed(name: str, proposed: Entry, reasons: list[str]) -> bool:
    print("\n".join(_yaml(name, proposed)))
    for reason in reasons:
        print(f"  {reason}")
    return typer.confirm("Write this into params.yaml?", default=True)


def _write(workspace: Workspace, name: str, proposed: Entry, addition: Entry | None) -> None:
    entries.write(workspace.params, name, proposed, proposed["backbone"], addition)


def _lines(name: str, proposed: Entry, reasons: list[str], standing: bool) -> Any:
    yield f"{name} {'stands already' if standing else 'is written'} in params.yaml:"
    yield from (f"  {line}" for line in _yaml(name, proposed))
    yield from (f"  {reason}" for reason in reasons)
    yield "Next:"
    yield f"  headstart data {name}   shows what is in it, and what is wrong with it"
    yield f"  headstart plan {name}   measures it and says which strategies to try"
    yield f"  headstart run {name}    makes a champion, with whatever of these is left to do"


def _yaml(name: str, proposed: Entry) -> list[str]:
    """The entry as it stands in the file."""
    return yaml.safe_dump({name: proposed}, sort_keys=False, allow_unicode=True).splitlines()


def _indented(name: str, entry: Entry) -> str:
    return "\n".join(f"  {line}" for line in _yaml(name, entry))
