"""Any source to rows: one file, a folder of split files, class folders of images, or a built-in set.

    tickets.csv                          one file; a `split` column is optional
    tickets/{train,validation,test}.*    a file a split (also `val`, `dev`, and shards `train-00000-of-00002`)
    photos/<class>/*.jpg                 a folder a class
    photos/{train,test}/<class>/*.jpg    class folders inside split folders
    builtin:apidocs                      a set made of what is installed

Nothing is skipped in silence: a row that can't be read is an error that names it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from headstart.data import columns as naming
from headstart.data import tables
from headstart.data.builtin import apidocs, digits
from headstart.data.dataset import SPLITS
from headstart.data.rows import Row, plain, without_decimal_points
from headstart.determinism import digest
from headstart.errors import DataError, listed
from headstart.params.data import Columns, Data
from headstart.params.section import Modality

BUILTIN: dict[str, tuple[Modality, ModuleType]] = {"apidocs": ("text", apidocs), "digits": ("image", digits)}
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SPLIT_NAMES = {name: name for name in SPLITS} | {"training": "train", "val": "validation", "valid": "validation"}
SPLIT_NAMES |= {"dev": "validation", "testing": "test"}
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True)
class Source:
    """All rows of a source.

    Attributes:
        rows: labelled and unlabelled ones, file by file in the order train, validation, test.
        columns: column names by role; empty where a source has none.
        passed_over: files that lie in class folders and are no images.
    """

    rows: list[Row]
    columns: dict[str, str]
    passed_over: tuple[str, ...] = ()


def read(data: Data, modality: Modality) -> Source:
    """Every row of the source, in an order that depends on the source alone.

    Raises:
        DataError: if the source does not exist, is of the other modality, lacks a column, or names absent images.
    """
    if data.source.startswith("builtin:"):
        return Source(_builtin(data.source, modality).rows(), {})
    path = locate(data.source)
    if path.is_file():
        source = _tables({None: [path]}, data.columns, modality)
    elif files := split_files(path):
        source = _tables(files, data.columns, modality)
    else:
        source = _class_folders(path, modality)
    labels = without_decimal_points([row.label for row in source.rows])
    return replace(source, rows=[replace(row, label=label) for row, label in zip(source.rows, labels, strict=True)])


def fingerprint(data: Data, modality: Modality) -> str:
    """SHA-256 (hex) that changes when the source may have: sizes and times of files, or versions of packages.

    Takes a moment: no file of the source is opened. The code that reads sources counts too.

    Raises:
        DataError: if the source does not exist.
    """
    if data.source.startswith("builtin:"):
        state: Any = _builtin(data.source, modality).versions()
    else:
        path = locate(data.source)
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        stats = [(file.as_posix(), file.stat()) for file in files]
        state = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    code = [file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.rglob("*.py"))]
    return digest([data.model_dump(), modality, state, digest(code)])


def locate(source: str) -> Path:
    """The file or folder that `source` names, relative to the workspace.

    Raises:
        DataError: if it does not exist, or is a source of a kind not read here.
    """
    if source.startswith("hub:"):
        raise DataError(
            f"{source} names a data set on the hub, which is not fetched here.",
            action=f"Fetch it once (hf download --repo-type dataset {source[4:].split('@')[0]} --local-dir DIR), "
            "then name the folder with its train and test files.",
        )
    path = Path(source).expanduser()
    if not path.exists():
        near = (
            naming.nearest(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else ""
        )
        raise DataError(
            f"data source {source} does not exist (looked for {path.absolute()}){near}.",
            action="Mend data.source in params.yaml: a path from the workspace, an absolute one, or builtin:NAME.",
        )
    return path


def split_files(folder: Path) -> dict[str | None, list[Path]]:
    """Files of rows in a folder (or in its subfolder `data`) by split; empty if there is none.

    Raises:
        DataError: if one split stands in two files that are no shards, or there is no training file.
    """
    for place in (folder, folder / "data"):
        found: dict[str | None, list[Path]] = {}
        for file in sorted(place.iterdir()) if place.is_dir() else ():
            kind = tables.suffix(file) if file.is_file() else None
            stem = file.name[: -len(kind)] if kind else ""
            if split := SPLIT_NAMES.get(_SHARD.sub("", stem).lower()):
                found.setdefault(split, []).append(file)
        for split, files in found.items():
            if len(files) > 1 and not all(_SHARD.search(file.name.split(".")[0]) for file in files):
                raise DataError(
                    f"{place} has more than one file for {split}: {', '.join(file.name for file in files)}.",
                    action="Keep one of them.",
                )
        if found and "train" not in found:
            names = ", ".join(file.name for files in found.values() for file in files)
            raise DataError(f"{place} has {names}, but no training file.", action="Add one, named train.*.")
        if found:
            return {split: found[split] for split in SPLITS if split in found}
    return {}


def _builtin(source: str, modality: Modality) -> Any:
    name = source.removeprefix("builtin:")
    if name not in BUILTIN:
        raise DataError(
            f"{source} is no built-in data set{naming.nearest(name, BUILTIN)}; there are {', '.join(sorted(BUILTIN))}.",
            action="Mend data.source in params.yaml.",
        )
    kind, module = BUILTIN[name]
    if kind != modality:
        raise DataError(f"{source} is {kind}, the model is for {modality}.", action=f"Set modality: {kind}.")
    return module


def _tables(files: Mapping[str | None, list[Path]], columns: Columns, modality: Modality) -> Source:
    rows: list[Row] = []
    found: dict[str, str] = {}
    for split, paths in files.items():
        for path in paths:
            table = tables.read(path)
            found = naming.resolve(list(table.columns), columns, modality, str(path))
            rows += _rows(table, found, modality, split)
    return Source(rows, found)


def _rows(table: tables.Table, found: dict[str, str], modality: Modality, split: str | None) -> list[Row]:
    columns = {role: table.columns[name] for role, name in found.items()}
    empty = [None] * len(table)
    rows: list[Row] = []
    problems, absent = [], []
    for place, number in enumerate(table.numbers):
        try:
            value = columns["input"][place]
            payload = _image(value, table.path.parent) if modality == "image" else _text(value)
            scalars = {role: plain(columns.get(role, empty)[place]) for role in ("label", *naming.OPTIONAL)}
            scalars["split"] = split or _split(scalars["split"])
        except FileNotFoundError as error:
            absent.append(f"row {number}: {error.args[0]}")
            continue
        except TypeError as error:
            problems.append(f"row {number} holds {error}")
            continue
        rows.append(Row(input=payload, number=number, **scalars))
    if problems:
        raise DataError(
            f"{table.path} has {len(problems)} rows that can't be read:\n{listed(problems)}\n",
            action=f"One {modality} and one label a row; mend them, or check data.columns and modality in params.yaml.",
        )
    if absent:
        raise DataError(
            f"{table.path} names {len(absent)} images (of {len(table)}) that are not there:\n{listed(absent)}\n",
            action=f"Paths start at {table.path.parent}; put the files there, or mend column {found['input']!r}.",
        )
    return rows


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        raise TypeError("bytes where a text was expected (is modality: image meant?)")
    return plain(value)


def _split(name: str | None) -> str | None:
    if name is None:
        return None
    if name.strip().lower() not in SPLIT_NAMES:
        raise TypeError(f"the split {name!r} where train, validation or test was expected")
    return SPLIT_NAMES[name.strip().lower()]


def _image(value: Any, folder: Path) -> bytes | None:
    """Encoded bytes from bytes, from {`bytes`, `path`}, or from the file at a path relative to `folder`."""
    if isinstance(value, dict) and set(value) <= {"bytes", "path"}:
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) or value is None or value == "":
        return value or None
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where bytes, {{bytes, path}} or a path were expected")
    path = folder / value
    if len(value) > 1024 or "\0" in value or not path.is_file():
        raise FileNotFoundError(value if len(value) <= 80 else f"{value[:77]}...")
    return path.read_bytes()


def _class_folders(folder: Path, modality: Modality) -> Source:
    if modality == "text":
        raise DataError(
            f"{folder} holds no train.csv, train.jsonl, train.jsonl.gz or train.parquet.",
            action="Name a file, or a folder with one file a split; class folders are read for images only.",
        )
    splits = {SPLIT_NAMES[entry.name.lower()]: entry for entry in _folders(folder) if entry.name.lower() in SPLIT_NAMES}
    if splits and "train" not in splits:
        raise DataError(f"{folder} has {', '.join(splits)}, but no folder train.", action="Add one.")
    rows: list[Row] = []
    passed_over = []
    for split in SPLITS if splits else (None,):
        for label in _folders(splits[split]) if split in splits else _folders(folder) if split is None else ():
            for file in sorted(file for file in label.rglob("*") if file.is_file() and file.name[0] != "."):
                name = file.relative_to(folder).as_posix()
                if file.suffix.lower() in IMAGES:
                    rows.append(
                        Row(input=file.read_bytes(), label=label.name, id=name, split=split, number=len(rows) + 1)
                    )
                else:
                    passed_over.append(name)
    if not rows:
        single = next((file.name for file in sorted(folder.iterdir()) if tables.suffix(file)), None)
        raise DataError(
            f"{folder} holds neither a file train.* nor class folders with images ({', '.join(sorted(IMAGES))}).",
            action=f"Is {folder / single} meant? Name the file itself."
            if single
            else "Mend data.source in params.yaml.",
        )
    return Source(rows, {}, tuple(passed_over))


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
