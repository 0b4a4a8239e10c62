"""The first rows of a source, looked at for `headstart add`: texts or images, how long, how large, how labelled."""

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from headstart.data import labels
from headstart.data.checks.words import counted
from headstart.errors import DataError, UsageError
from headstart.params.section import Modality
from headstart.report import label_words

ROWS = 2000
IMAGES = 200
FEW_LETTERS = 200
MOSTLY = 0.9
FOREIGN = 0.01
NAMED = 3


@dataclass(frozen=True)
class Head:
    """The beginning of a source.

    Attributes:
        columns: the first values by column; empty where the source has no columns, or can't be read.
        folder: where paths of images start.
        images: files drawn evenly from class folders; empty for tables.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    folder: Path = Path()
    images: Sequence[Path] = ()


def look(source: str) -> Head:
    """The beginning of a file or folder; nothing for what isn't one, or is damaged: reading it whole will say so."""
    from headstart.data import folders, hub, rows, sources

    if source.startswith("hub:"):
        return Head({name: [] for name in sources.first_columns(source) or ()})
    path = sources.locate(source) if source.startswith("s3://") else Path(source)
    if folders.is_saved_dataset(path):
        return Head(hub.head(f"hub:{path}", IMAGES))
    if path.is_dir():
        if files := list(folders.split_files(path).values()):
            path = files[0][0]
        else:
            files_there = sorted(file for file in path.rglob("*") if file.suffix.lower() in rows.IMAGES)
            return Head(folder=path, images=files_there[:: max(1, len(files_there) // IMAGES)][:IMAGES])
    return Head(_columns(path), path.parent) if path.is_file() else Head()


def modality(source: str, head: Head, given: Mapping[str, str | None]) -> tuple[Modality, str]:
    """Texts or images, and the sentence that says why.

    Args:
        given: the options `text` and `image`, each a column's name or None.

    Raises:
        UsageError: if both could be meant, or neither.
    """
    if source.startswith("builtin:"):
        from headstart.data.sources import BUILTIN

        known = BUILTIN.get(source.removeprefix("builtin:"))
        return (known[0], f"{source} is a set of {known[0]}s") if known else ("text", "")
    for kind in ("text", "image"):
        if given[kind]:
            return kind, f"--{kind} names the column"
    if head.images:
        return "image", f"{head.folder} holds folders of images, such as {head.images[0].relative_to(head.folder)}"
    names = list(head.columns)
    pictures = [name for name in names if _are_images(head.columns[name])]
    prose = [name for name in names if _are_texts(head.columns[name])]
    if "text" in names and ("image" in names or pictures):
        raise UsageError(
            f"{source} has texts and images: {', '.join(map(repr, names))}.",
            action="Say which the model is for: --modality text or --modality image.",
        )
    if pictures or "image" in names:
        return "image", f"column {(pictures or ['image'])[0]!r} holds images or names their files"
    if prose or "text" in names:
        return "text", f"column {('text' if 'text' in names else prose[0])!r} holds texts"
    if names:
        raise UsageError(
            f"no column of {source} looks like texts or images; it has {', '.join(map(repr, names))}.",
            action="Name the column: --text COLUMN, or --image COLUMN.",
        )
    _refuse_folder_of_other_files(source)
    if not Path(source).exists():
        raise UsageError(
            f"{source} does not say whether it holds texts or images.",
            action="Say --modality text or --modality image.",
        )
    return "text", ""  # a damaged or empty file: reading it whole says how


def _refuse_folder_of_other_files(source: str) -> None:
    path = Path(source)
    if not path.is_dir():
        return
    from headstart.data import tables

    there = sorted(entry.name for entry in path.iterdir())
    single = [name for name in there if tables.suffix(path / name)]
    raise UsageError(
        f"{source} holds neither a file train.* nor class folders with images, but "
        f"{', '.join(there[:NAMED]) or 'nothing'}{' and more' if len(there) > NAMED else ''}.",
        action=f"Is {path / single[0]} meant? Name the file itself."
        if single
        else "Name a .csv, .jsonl(.gz) or .parquet file, or a folder with one of them for train.",
    )


def contradiction(source: str, head: Head, kind: Modality, column: str | None) -> str:
    """Why the source can't be of this modality, as one sentence; empty where it can."""
    if head.images and kind == "text":
        return f"{source} holds images, such as {head.images[0].relative_to(head.folder)}, and text was asked for."
    values = head.columns.get(column or kind, [])
    if kind == "text" and _are_images(values):
        return f"column {column or kind!r} of {source} holds images or names their files, and text was asked for."
    if kind == "image" and _are_texts(values):
        return (
            f"column {column or kind!r} of {source} holds texts, such as {values[0]!r:.60}, and images were asked for."
        )
    return ""


def sentences(head: Head, kind: Modality, columns: Mapping[str, str | None]) -> Iterator[str]:
    """What the first inputs are like."""
    inputs = head.columns.get(columns["input"] or kind, [])
    if kind == "text" and inputs:
        yield from _about_texts([str(value) for value in inputs if value])
    if kind == "image":
        yield from _about_images(head, inputs)


def about_classes(classes: Mapping[str, int]) -> Iterator[str]:
    """How many rows the classes have, and names that look like slips."""
    largest, smallest = max(classes, key=lambda name: classes[name]), min(classes, key=lambda name: classes[name])
    most = counted(classes[largest], "row")
    if classes[largest] == classes[smallest]:
        yield f"each class has {most}"
    else:
        yield f"largest class {largest!r} with {most}, smallest {smallest!r} with {classes[smallest]:,}"
    similar = labels.variants(classes)
    yield from (label_words.variants(names, classes) for names in similar)
    if similar:
        merged = json.dumps(labels.merging(similar, classes), ensure_ascii=False)
        yield f"where they mean the same, make one class of them: prepare: {{labels: {merged}}} under the model"
    if all(name.lstrip("+-").isdigit() for name in classes):
        yield "labels are numbers, and answers will read so; prepare.labels in params.yaml gives them names"


def _about_texts(texts: Sequence[str]) -> Iterator[str]:
    lengths = [len(text) for text in texts]
    yield f"texts have {median(lengths):.0f} characters (median), {max(lengths)} at most, in the first {len(texts)}"
    letters = Counter(letter for text in texts for letter in text[:FEW_LETTERS] if letter.isalpha())
    foreign = sum(count for letter, count in letters.items() if not _is_latin(letter))
    if foreign > FOREIGN * sum(letters.values()):
        yield f"{foreign / sum(letters.values()):.0%} of letters are not Latin: does the backbone know the language?"


def _about_images(head: Head, values: Sequence[Any]) -> Iterator[str]:
    from PIL import Image, UnidentifiedImageError

    sizes, modes, unreadable = [], Counter[str](), 0
    for value in (*head.images, *values[:IMAGES]):
        raw: Any = value.get("bytes") or value.get("path") if isinstance(value, dict) else value
        try:
            file = io.BytesIO(raw) if isinstance(raw, bytes) else raw if isinstance(raw, Path) else head.folder / raw
            with Image.open(file) as image:
                sizes.append(image.size)
                modes[image.mode] += 1
        except (UnidentifiedImageError, OSError, TypeError, Image.DecompressionBombError):
            unreadable += 1
    if sizes:
        by_area = sorted(sizes, key=lambda size: size[0] * size[1])
        (left, top), (right, bottom) = by_area[0], by_area[-1]
        span = f"{left} x {top}" + (f" to {right} x {bottom}" if by_area[0] != by_area[-1] else "")
        yield f"images are {span} pixels, {', '.join(f'{n} of mode {m}' for m, n in modes.most_common())}"
    if unreadable:
        yield f"{unreadable} of the first {unreadable + len(sizes)} images can't be read and would be put aside"


@cache
def _is_latin(letter: str) -> bool:
    return "LATIN" in unicodedata.name(letter, "")


def _are_images(values: Sequence[Any]) -> bool:
    from headstart.data.rows import IMAGES as SUFFIXES

    present = [value for value in values if value not in (None, "")]
    files = [
        isinstance(value, bytes | dict) or (isinstance(value, str) and Path(value[-256:]).suffix.lower() in SUFFIXES)
        for value in present
    ]
    return bool(present) and sum(files) >= MOSTLY * len(present)


def _are_texts(values: Sequence[Any]) -> bool:
    """Most are strings of several words, or hardly any two are similar."""
    present = [value for value in values if isinstance(value, str) and value.strip()]
    if not present or len(present) < MOSTLY * sum(value not in (None, "") for value in values) or _are_images(values):
        return False
    return sum(len(value.split()) > 1 for value in present) > len(present) / 2


def _columns(path: Path) -> dict[str, list[Any]]:
    from headstart.data import tables

    try:
        head = next(tables.batches(path), None)
    except (DataError, OSError):  # reading it whole says what is wrong
        return {}
    return {name: values[:ROWS] for name, values in head.columns.items()} if head else {}
