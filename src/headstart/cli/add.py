"""`add`: one more model in `params.yaml`, proposed from a look at the data; no code."""

from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headstart import artifacts, settings
from headstart.cli.output import Json, emit
from headstart.errors import UsageError
from headstart.params.loader import load, read

COLUMNS = ("input", "label")


def add(
    name: Annotated[str, typer.Argument(help="The new model's name: lower-case letters, digits, - and _.")],
    data: Annotated[str, typer.Option(help="A .csv, .jsonl(.gz) or .parquet file, a folder, or builtin:NAME.")],
    modality: Annotated[str, typer.Option(help="text or image.")],
    backbone: Annotated[str, typer.Option(help="A name under backbones:, a folder, package:NAME, hub:ORG/MODEL@REV.")],
    text: Annotated[str | None, typer.Option(help="The column with texts, where it has another name.")] = None,
    image: Annotated[str | None, typer.Option(help="The column with images, where it has another name.")] = None,
    label: Annotated[str | None, typer.Option(help="The column with labels, where it has another name.")] = None,
    as_json: Json = False,
) -> int:
    """Add a model to params.yaml. The same `add` again changes nothing.

    The data is looked at first: columns and labels must be there before a line is written.
    """
    workspace = settings.find_workspace()
    if modality not in ("text", "image"):
        raise UsageError(f"--modality {modality!r} arrived, text or image was expected.")
    kind: Literal["text", "image"] = "text" if modality == "text" else "image"
    document = read(workspace.params)
    source = _portable(data, workspace.root)
    given = {"input": text if kind == "text" else image, "label": label}
    from headstart.data import look

    proposal = look.propose(data if source == data else str(workspace.root / source), kind, given)
    labelled, classes = sum(proposal.rows.values()) - proposal.unlabelled, len(proposal.classes)
    if classes > labelled / 2:
        raise UsageError(
            f"{labelled} rows have {classes} different labels: hardly two rows share one.",
            action="Name the column of the class with --label, that of the input with --text or --image.",
        )
    columns = {key: value for key, value in proposal.columns.items() if value is not None}
    backbone_name, backbone_entry = _backbone(backbone, kind, document, workspace.root)
    entry: dict[str, Any] = {"modality": kind, "backbone": backbone_name, "data": {"source": source}}
    if columns:
        entry["data"]["columns"] = columns
    existing = (document.get("models") or {}).get(name)
    if existing is not None and existing != entry:
        raise UsageError(
            f"params.yaml already has a model {name!r} with other values: {existing}; this add says {entry}.",
            action="Take another name, or edit the entry in params.yaml.",
        )
    if existing is None:
        _write(workspace.params, name, entry, backbone_name, backbone_entry)
    emit(entry, as_json, lambda _: _lines(name, entry, proposal.reasons, existing is not None))
    return 0


def _backbone(
    given: str, modality: Literal["text", "image"], document: dict[str, Any], root: Path
) -> tuple[str, dict[str, Any] | None]:
    """The backbone's name, and its new entry where it has none yet."""
    known = document.get("backbones") or {}
    if given in known:
        return given, None
    is_source = given.startswith(("hub:", "package:")) or Path(given).expanduser().exists() or "/" in given
    if not is_source:
        raise UsageError(
            f"--backbone {given!r} is neither under backbones ({', '.join(known)}) nor a source.",
            action="Name one of them, a folder in the Hugging Face layout, package:NAME or hub:ORG/MODEL@REVISION.",
        )
    from headstart.backbones import fetch
    from headstart.params.backbones import Backbone

    source = given if given.startswith(("hub:", "package:")) else _portable(given, root)
    for name, entry in known.items():
        if entry.get("source") == source:
            return str(name), None
    stem = source.split("@")[0].rstrip("/").split(":")[-1].split("/")[-1]
    fetch.fingerprint(Backbone(modality=modality, source=source, sha256={}, pretrain=None))  # refuses what is not there
    name = "".join(letter if letter.isalnum() else "-" for letter in stem.lower()).strip("-")[:63] or "backbone"
    if name in known:
        raise UsageError(
            f"{source} would be the backbone {name!r}, which stands for {known[name].get('source') or 'pretraining'}.",
            action="Write an entry under backbones: in params.yaml, and name it.",
        )
    return name, {"modality": modality, "source": source}


def _portable(source: str, root: Path) -> str:
    """A path relative to the workspace where it lies inside, absolute elsewhere; anything else as it is."""
    if source.startswith(("hub:", "package:", "builtin:", "s3:")):
        return source
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(f"{source} does not exist (looked at {path.resolve()}).", action="Check the path.")
    resolved = path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(resolved)


def _write(path: Path, name: str, entry: dict[str, Any], backbone: str, backbone_entry: dict[str, Any] | None) -> None:
    """Write the entry, comments kept; the file is checked before it takes the old one's place.

    Raises:
        ParamsError: if the file would not be usable with the entry; it is left as it was.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    document = yaml.load(path.read_text(encoding="utf-8"))
    if backbone_entry:
        document["backbones"][backbone] = backbone_entry
    document["models"][name] = entry
    text = StringIO()
    yaml.dump(document, text)
    with artifacts.replaced(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
        load(temporary, named=path)


def _lines(name: str, entry: dict[str, Any], reasons: list[str], known: bool) -> Any:
    yield f"{name} {'stands already' if known else 'is added'} in params.yaml: {entry}"
    yield from (f"  {reason}" for reason in reasons)
    yield f"Next: headstart run {name}"
