"""What `add` proposes for a source: modality, columns and backbone, each with the reason; or a refusal that helps."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart import artifacts
from headstart.backbones import lengths
from headstart.cli import entry as entries
from headstart.cli import schema_inference
from headstart.cli.output import say
from headstart.data import labels, schema
from headstart.data.checks import truncation
from headstart.errors import UsageError
from headstart.params.section import Modality
from headstart.report import label_words

if TYPE_CHECKING:
    from headstart.params.backbones import Backbone

Entry = dict[str, Any]


def make(
    data: Sequence[str],
    given: Mapping[str, str | None],
    modality: Modality | None,
    backbone: str | None,
    document: Mapping[str, Any],
    root: Path,
    *,
    asking: bool,
) -> tuple[Entry, list[str], Entry | None]:
    """The model's entry, the reasons for what stands in it, and the backbone's own entry where it is a new one.

    Args:
        data: sources as the user wrote them.
        given: the options `text`, `image` and `label`: columns by name, or None.
        asking: whether a person sits there to be asked.

    Raises:
        UsageError: if a source can't be used, or a choice is the user's to make.
    """
    sources = [entries.portable(source, root) for source in data]
    places = [place if place == source else str(root / place) for source, place in zip(data, sources, strict=True)]
    heads = [schema_inference.look(place) for place in places]
    kind, because = _kind(places, heads, given, modality)
    named = {"input": given["text"] or given["image"], "label": given["label"]}
    reasons = [f"modality {kind}, because {because}"] if because else []
    schemas = []
    for place, head in zip(places, heads, strict=True):
        if why := schema_inference.contradiction(place, head, kind, named["input"]):
            other = "image" if kind == "text" else "text"
            raise UsageError(why, action=f"Say --modality {other}, or name another column with --{kind}.")
        schemas.append(schema.infer(place, kind, named))
        prefix = f"{Path(place).name}: " if len(places) > 1 else ""
        respelled = label_words.respelled(schemas[-1].respelled)
        reasons += [prefix + sentence for sentence in [*schemas[-1].reasons, *respelled]]
        reasons += [prefix + sentence for sentence in schema_inference.sentences(head, kind, schemas[-1].columns)]
    classes = _classes(schemas)
    merged = _merged(classes) if asking else {}
    reasons += schema_inference.about_classes(classes)
    columns = _columns(schemas, places)
    name, addition, why = _backbone(backbone, kind, document, root, asking)
    reasons.append(why)
    entry: Entry = {
        "modality": kind,
        "backbone": name,
        "data": {"source": sources[0] if len(sources) == 1 else sources},
    }
    if columns:
        entry["data"]["columns"] = columns
    longer = _longer(heads, schemas, addition or document["backbones"][name], document) if kind == "text" else None
    if longer:
        entry["prepare"] = {"limits": {"tokens": longer.tokens}}
        from headstart.report.finding_words import longer_limit

        reasons.append(f"{longer_limit(asdict(longer))}; take the line out if the beginning of a text tells its label")
    if merged:
        entry.setdefault("prepare", {})["labels"] = merged
    return entry, reasons, addition


def _kind(
    places: Sequence[str],
    heads: Sequence[schema_inference.Head],
    given: Mapping[str, str | None],
    modality: Modality | None,
) -> tuple[Modality, str]:
    if modality:
        return modality, ""
    found = [schema_inference.modality(place, head, given) for place, head in zip(places, heads, strict=True)]
    if len({kind for kind, _ in found}) > 1:
        raise UsageError(
            f"texts and images arrived for one model: {'; '.join(why for _, why in found)}.",
            action="Name sources of one kind, or say --modality.",
        )
    return found[0]


def _classes(schemas: Sequence[schema.Schema]) -> dict[str, int]:
    """Labelled rows by class over all sources.

    Raises:
        UsageError: if nothing can be learned from them.
    """
    classes: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for one in schemas:
        classes.update(one.classes)
        rows.update(one.rows)
    labelled = sum(classes.values())
    if not labelled:
        raise UsageError(
            "no row has a label.",
            action="Name the column that holds it with --label; --unlabelled takes what has none.",
        )
    if len(classes) == 1:
        raise UsageError(
            f"all {labelled} labelled rows are {next(iter(classes))!r}: with one class there is nothing to learn.",
            action="Add examples of another class, or name the column of the class with --label.",
        )
    if len(classes) > labelled / 2:
        raise UsageError(
            f"{labelled} rows have {len(classes)} different labels: hardly two rows share one.",
            action="Name the column of the class with --label, that of the input with --text or --image.",
        )
    if not rows["train"] and not rows["none"]:
        raise UsageError(
            f"no labelled row is in train: {', '.join(f'{count} in {split}' for split, count in rows.items())}.",
            action="Put rows into train, or leave the split out: a hash of the content decides then.",
        )
    return dict(sorted(classes.items()))


def _merged(classes: Mapping[str, int]) -> dict[str, str]:
    """The label map for classes that hardly differ, as far as the person who is asked makes one class of them."""
    import typer

    merged: dict[str, str] = {}
    for names in labels.variants(classes):
        found = labels.merging([names], classes)
        question = f"{label_words.slip(names, classes)}. Make one class of them, {next(iter(found.values()))!r}?"
        if typer.confirm(question, default=False):
            merged |= found
    return merged


def _columns(schemas: Sequence[schema.Schema], places: Sequence[str]) -> dict[str, str]:
    """One name a role for all sources that are tables."""
    tables = [(one, place) for one, place in zip(schemas, places, strict=True) if _is_table(place)]
    for role in tables[0][0].columns if tables else ():
        names = {one.columns[role] for one, _ in tables}
        if len(names) > 1:
            each = ", ".join(f"{one.columns[role] or 'the plain name'} in {Path(place).name}" for one, place in tables)
            raise UsageError(
                f"the column of the {role} has more than one name: {each}.",
                action="Rename it in one of the files: data.columns in params.yaml holds for all of them.",
            )
    return {role: name for role, name in (tables[0][0].columns if tables else {}).items() if name is not None}


def _longer(
    heads: Sequence[schema_inference.Head],
    schemas: Sequence[schema.Schema],
    backbone: Mapping[str, Any],
    document: Mapping[str, Any],
) -> truncation.Proposal | None:
    """A higher limit of tokens where many texts would be cut; None where few are, or nobody can count here."""
    texts = [
        value
        for head, one in zip(heads, schemas, strict=True)
        for value in head.columns.get(one.columns["input"] or "text", [])
        if isinstance(value, str) and value.strip()
    ]
    source = str(backbone.get("source") or "hub:")
    counts, most = lengths.count(source, texts), lengths.most(source)
    limit = _default(document, "prepare", "limits", "tokens")
    if counts is None or most is None or limit is None:
        return None
    return truncation.propose(counts, limit, most, truncation.ALLOWED)


def _default(document: Mapping[str, Any], *keys: str) -> Any:
    """What a text model's entry has by default; None where `defaults` does not say."""
    for part in ("text", "all"):
        value: Any = (document.get("defaults") or {}).get(part)
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _is_table(place: str) -> bool:
    from headstart.data import folders

    path = Path(place)
    is_table = not path.is_dir() or folders.is_saved_dataset(path) or bool(folders.split_files(path))
    return is_table and not place.startswith("builtin:")


def _backbone(
    given: str | None, modality: Modality, document: Mapping[str, Any], root: Path, asking: bool
) -> tuple[str, Entry | None, str]:
    """The backbone's name, its new entry where it has none yet, and why it is this one."""
    known = document.get("backbones") or {}
    fitting = [str(name) for name, entry in known.items() if entry.get("modality") == modality]
    if given is None:
        if len(fitting) == 1:
            return fitting[0], None, f"backbone {fitting[0]}, because it is the only one for {modality}s"
        if fitting and asking:
            import typer

            given = str(typer.prompt(f"Which backbone: {', '.join(fitting)}?"))
        else:
            raise UsageError(
                f"{len(fitting) or 'no'} backbones are for {modality}{': ' if fitting else ''}{', '.join(fitting)}.",
                action=f"Say which: --backbone {fitting[0]}."
                if fitting
                else "Name one after --backbone: a folder in the Hugging Face layout, package:NAME, hub:ORG/MODEL@REV.",
            )
    if given in known:
        if given not in fitting:
            raise UsageError(
                f"the backbone {given} is for {known[given].get('modality')}, the data is {modality}.",
                action=f"For {modality} there is {', '.join(fitting) or 'none yet'}.",
            )
        return given, None, f"backbone {given}, because you named it"
    name, addition = _new_backbone(given, modality, known, root)
    return name, addition, f"backbone {name}, because you named {given}"


def _new_backbone(given: str, modality: Modality, known: Mapping[str, Any], root: Path) -> tuple[str, Entry | None]:
    is_source = given.startswith(("hub:", "package:")) or Path(given).expanduser().exists() or "/" in given
    if not is_source:
        raise UsageError(
            f"--backbone {given!r} is neither under backbones ({', '.join(known)}) nor a source.",
            action="Name one of them, a folder in the Hugging Face layout, package:NAME or hub:ORG/MODEL@REVISION.",
        )
    from headstart.backbones import fetch
    from headstart.params.backbones import Backbone

    source = entries.portable(given, root)
    for name, entry in known.items():
        if entry.get("source") == source and not entry.get("layers"):
            return str(name), None
    stem = source.split("@")[0].rstrip("/").split(":")[-1].split("/")[-1]
    spec = Backbone(modality=modality, source=source, sha256={}, pretrain=None)
    mark = fetch.fingerprint(spec)  # refuses what is not there
    name = "".join(letter if letter.isalnum() else "-" for letter in stem.lower()).strip("-")[:63] or "backbone"
    if name in known:
        raise UsageError(
            f"{source} would be the backbone {name!r}, which stands for {known[name].get('source') or 'pretraining'}.",
            action="Write an entry under backbones: in params.yaml, and name it.",
        )
    _try_out(name, spec, mark, root)
    return name, {"modality": modality, "source": source}


def _try_out(name: str, spec: "Backbone", mark: str, root: Path) -> None:
    """Refuse a backbone of this machine that can't be prepared for, batched or exported; those of the hub come later.

    It takes about ten seconds, and is not repeated for the same files and the same code.
    """
    from headstart.backbones import fetch
    from headstart.determinism import digest
    from headstart.stages import code

    if (spec.source or "").startswith("hub:"):
        return
    passed = root / artifacts.CACHE / "backbones" / "tried" / digest([mark, code.describe("backbone")])[:16]
    if passed.is_file():
        return
    say(f"trying whether {name} can be prepared for, batched and exported")
    from headstart.backbones import store
    from headstart.export import trial

    passed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=passed.parent) as temporary:
        fetched, made = Path(temporary) / name, Path(temporary) / "made"
        fetch.link(spec, fetched)
        store.make(fetched, spec, made)
        trial.run(made)
    passed.touch()
