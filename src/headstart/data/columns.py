"""Which column of a source is what: the names `params.yaml` gives, else the plain ones, else a helpful refusal."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from headstart.errors import DataError
from headstart.params.data import Columns
from headstart.params.section import Modality

OPTIONAL = ("id", "group", "time", "split")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "text": ("sentence", "content", "body", "message", "document", "utterance", "question", "query", "review", "tweet"),
    "image": ("img", "picture", "photo", "file_name", "filename", "image_path", "filepath", "path", "file"),
    "label": ("labels", "class", "category", "target", "intent", "sentiment", "topic", "label_name", "y"),
    "id": (),
    "group": ("group_id",),
    "time": ("date", "datetime", "timestamp", "created_at"),
    "split": (),
}


def expected(columns: Columns, modality: Modality, *, labelled: bool = True) -> dict[str, str]:
    """The name each role's column has if it is there: the given one, else the plain one; no `label` unless labelled."""
    names: dict[str, str] = {"input": columns.input or modality}
    if labelled:
        names["label"] = columns.label or "label"
    return names | {role: getattr(columns, role) or role for role in OPTIONAL}


def resolve(
    names: Sequence[str], columns: Columns, modality: Modality, where: str, *, labelled: bool = True
) -> dict[str, str]:
    """The column for `input`, `label` and those of id, group, time and split that are there.

    Args:
        names: every column of the file.
        columns: names that `params.yaml` gives.
        modality: what the inputs are.
        where: the file, for messages.
        labelled: without, there need be no label, nor any other column but that of the input.

    Raises:
        DataError: if any that is named is absent, or input or label is found under no name; all of them at once.
    """
    found, absent = {}, {}
    for role, name in expected(columns, modality, labelled=labelled).items():
        if name in names:
            found[role] = name
        elif role == "input" or (labelled and (role == "label" or getattr(columns, role))):
            absent[role] = name
    if absent:
        raise _absent(absent, names, modality, where, labelled)
    return found


def propose(names: Sequence[str], given: Mapping[str, str | None], modality: Modality, where: str) -> dict[str, str]:
    """`resolve`, but a column under another usual name is found too: the proposal goes into `params.yaml`.

    Args:
        given: names the user gave, by role (`input`, `label`, ...); None or absent where none was given.

    Raises:
        DataError: as `resolve`, and if more than one column could be meant.
    """
    chosen: dict[str, str | None] = {}
    unclear: dict[str, list[str]] = {}
    for role in ("input", "label", *OPTIONAL):
        plain = modality if role == "input" else role
        chosen[role] = given.get(role)
        if chosen[role] or plain in names:
            continue
        taken = {name for name in chosen.values() if name}
        usual = [name for name in names if name.lower() in (plain, *ALIASES[plain]) and name not in taken]
        if len(usual) > 1 and role not in OPTIONAL:
            unclear[role] = usual
        chosen[role] = usual[0] if len(usual) == 1 else None
    if unclear:
        plain_names = {role: modality if role == "input" else role for role in unclear}
        raise DataError(
            "; ".join(
                f"{where} has no column {plain_names[role]!r}, and {_names(usual)} could each be meant"
                for role, usual in unclear.items()
            )
            + ".",
            action=f"Say which: {' '.join(_option(role, modality, usual[0]) for role, usual in unclear.items())}.",
        )
    return resolve(names, Columns(**chosen), modality, where)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`; None where none is like it."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), list(by_lower), n=1)
    return by_lower[close[0]] if close else None


def nearest(word: str, known: Iterable[str]) -> str:
    """`; nearest is 'x'` for the known word most like `word`, or nothing."""
    close = closest(word, known)
    return f"; nearest is {close!r}" if close is not None else ""


def _absent(
    absent: Mapping[str, str], names: Sequence[str], modality: Modality, where: str, labelled: bool
) -> DataError:
    """The refusal for all columns that are needed and not there, by role."""
    other = "image" if modality == "text" else "text"
    each = [f"{name!r}{nearest(name, names)}" for name in absent.values()]
    message = f"{where} has no column {' and no column '.join(each)}. It has {_names(names)}."
    if not labelled:
        told = (
            f"data.unlabelled is read by the same names as data.source (data.columns in params.yaml): rename the "
            f"column in it to {absent['input']!r}."
        )
        return DataError(message, action=told)
    options = " ".join(_option(role, modality, "COLUMN") for role in absent)
    keys = " and ".join(f"data.columns.{role}" for role in absent)
    action = f"Name {'it' if len(absent) == 1 else 'them'}: {options}, or {keys} in params.yaml."
    if "input" in absent and other in names:
        action = f"There is a column {other!r}: is modality: {other} meant? Else {action[0].lower()}{action[1:]}"
    return DataError(message, action=action)


def _option(role: str, modality: Modality, name: str) -> str:
    return f"--{modality if role == 'input' else role} {name}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
