"""Any source to rows: files, folders, built-in sets, S3, the hub, feedback; streamed, a few thousand rows at a time.

    tickets.csv                          one file; a `split` column is optional
    tickets/{train,validation,test}.*    a file a split (also `val`, `dev`, and shards `train-00000-of-00002`)
    tickets/dataset_dict.json, …         what `save_to_disk` of the library `datasets` wrote
    photos/<class>/*.jpg                 a folder a class
    photos/{train,test}/<class>/*.jpg    class folders inside split folders
    builtin:apidocs                      a set made of what is installed
    s3://bucket/key, s3://bucket/prefix  one of those files or folders on S3 (`data.remote`)
    hub:org/dataset@commit               a data set on the hub (`data.hub`)
    feedback:tickets                     what the model tickets was asked, with the labels that came (`data.feedback`)

Nothing is skipped in silence: a row that can't be read is an error that names it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from headstart import syntax
from headstart.data import columns as naming
from headstart.data import feedback, folders, hub, remote, tables
from headstart.data.builtin import apidocs, digits
from headstart.data.rows import Reader
from headstart.determinism import digest
from headstart.errors import DataError
from headstart.params.data import Columns, Data
from headstart.params.section import Modality

BUILTIN: dict[str, tuple[Modality, ModuleType]] = {"apidocs": ("text", apidocs), "digits": ("image", digits)}
PLAIN = Columns()
SOURCE, UNLABELLED = "data.source", "data.unlabelled"  # the keys of params.yaml that name one
ROWS = "headstart.data.staging"  # with what it imports: all code that a written row hangs on
ADDRESSES = ("builtin:", remote.SCHEME, hub.SCHEME, feedback.SCHEME)


@dataclass
class Source:
    """One source, opened: nothing is read before `batches` is started, and it can be started once.

    Attributes:
        name: as `params.yaml` says it.
        labelled: whether its labels count.
        batches: its rows in the columns of `data.raw`, labelled and unlabelled ones, file by file in the order train,
            validation, test; ids may be null, and repeat.
        columns: names by role, empty where a source has none; whole when `batches` has ended.
        passed_over: files that lie in class folders and are no images; whole when `batches` has ended.
    """

    name: str
    labelled: bool
    batches: Iterator[pa.RecordBatch]
    columns: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)


def open(data: Data, modality: Modality, *, payload: bool = True) -> list[Source]:
    """The sources in their order, the unlabelled one last; what is on S3 has been downloaded then.

    Args:
        data: which.
        modality: what the inputs are.
        payload: without, images need not be read: where that saves time, they are null.

    Raises:
        DataError: if one does not exist, or is named twice; `batches` raise it for one of the other modality, that
            lacks a column, has rows that can't be read, or names absent images.
        OutsideError: if a server cannot be reached.
    """
    named = [*data.sources, *([data.unlabelled] if data.unlabelled else [])]
    if twice := [name for name, count in Counter(named).items() if count > 1]:
        raise DataError(f"{twice[0]} is named more than once as a source.", action="Name it once in params.yaml.")
    opened = [_open(name, data.columns, modality, labelled=True, payload=payload) for name in data.sources]
    if data.unlabelled:
        opened.append(_open(data.unlabelled, data.columns, modality, labelled=False, payload=payload))
    return opened


def fingerprint(data: Data, modality: Modality, *, made_by: str = ROWS) -> str:
    """SHA-256 (hex) that changes when a source may have: sizes and times of files, versions of packages, ETags.

    Takes a moment: no file of a source is opened, nothing is downloaded; a server is asked for its listing. The code
    that makes rows of sources counts too, comments and messages left out.

    Args:
        data: the sources.
        modality: what the inputs are.
        made_by: the module that reads them; it counts with all that it imports.

    Raises:
        DataError: if a source does not exist.
        OutsideError: if a server cannot be reached.
    """
    states = [_state(name, modality, SOURCE) for name in data.sources]
    states += [_state(data.unlabelled, modality, UNLABELLED)] if data.unlabelled else []
    code, _ = syntax.digests(made_by)
    return digest([data.model_dump(exclude={"expected_shares"}), modality, states, code])


def shown(source: str) -> str:
    """The source's name without the folder it lies in, which differs from place to place."""
    if source.startswith(hub.SCHEME) and (folder := hub.parse(source).folder):
        return f"{hub.SCHEME}{folder.name}"
    return source if source.startswith(ADDRESSES) else Path(source).name


def locate(source: str, *, key: str = SOURCE) -> Path:
    """The file or folder that `source` names, relative to the workspace; what is on S3 is downloaded.

    Args:
        source: as `params.yaml` says it.
        key: where it says so, for messages.

    Raises:
        DataError: if it does not exist.
        OutsideError: if a server cannot be reached.
    """
    if source.startswith(remote.SCHEME):
        return remote.fetch(source, key=key)
    if source.startswith(feedback.SCHEME):
        return feedback.locate(source)
    path = Path(source).expanduser()
    if not path.exists():
        near = (
            naming.nearest(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else ""
        )
        looked = "" if path.is_absolute() else f" (looked for {path.absolute()})"
        raise DataError(
            f"data source {source} does not exist{looked}{near}.",
            action=f"Mend {key} in params.yaml: a path from the workspace, an absolute one, or builtin:NAME.",
        )
    return path


def first_columns(source: str) -> list[str] | None:
    """The names of the source's columns, by its first file; None where it has none.

    Raises:
        DataError: if the source does not exist or its first file cannot be read.
        OutsideError: if a server cannot be reached.
    """
    if source.startswith("builtin:"):
        return None
    if source.startswith(hub.SCHEME):
        return hub.names(source)
    path = locate(source)
    if folders.is_saved_dataset(path):
        return hub.names(f"{hub.SCHEME}{path}")
    files = [[path]] if path.is_file() else list(folders.split_files(path).values())
    return list(next(tables.batches(files[0][0], ())).names) if files else None


def _open(name: str, columns: Columns, modality: Modality, *, labelled: bool, payload: bool) -> Source:
    source, key = Source(name, labelled, iter(())), SOURCE if labelled else UNLABELLED
    if name.startswith("builtin:"):
        source.batches = (built.rows() for built in [_builtin(name, modality, key)])
    elif name.startswith(hub.SCHEME):
        hub.parse(name)
        source.batches = hub.batches(name, columns, modality, source.columns, labelled=labelled)
    else:
        path = locate(name, key=key)
        columns = PLAIN if name.startswith(feedback.SCHEME) else columns
        if folders.is_saved_dataset(path):
            saved = f"{hub.SCHEME}{path}"
            source.batches = hub.batches(saved, columns, modality, source.columns, labelled=labelled)
            return source
        files: dict[str | None, list[Path]] = {None: [path]} if path.is_file() else folders.split_files(path)
        if files:
            source.batches = _tables(files, columns, modality, source, payload=payload)
        elif modality == "text":
            raise DataError(
                f"{path} holds no train.csv, train.jsonl, train.jsonl.gz or train.parquet.",
                action="Name a file, or a folder with one file a split; class folders are read for images only.",
            )
        elif labelled:
            source.batches = folders.class_folders(path, source.passed_over, read=payload)
        else:
            source.batches = folders.loose_images(path, source.passed_over)
    return source


def _tables(
    files: Mapping[str | None, list[Path]], columns: Columns, modality: Modality, source: Source, *, payload: bool
) -> Iterator[pa.RecordBatch]:
    for split, paths in files.items():
        for path in paths:
            reader = Reader(
                str(path),
                columns,
                modality,
                folder=path.parent,
                split=split,
                labelled=source.labelled,
                payload=payload,
            )
            complete = ".jsonl" not in path.name.lower()
            for chunk in tables.batches(path, reader.names.values()):
                yield from reader.take(chunk, complete=complete)
            source.columns.update(reader.finish())


def _state(name: str, modality: Modality, key: str) -> Any:
    if name.startswith("builtin:"):
        return _builtin(name, modality, key).versions()
    if name.startswith(remote.SCHEME):
        return remote.listing(name, key=key)
    if name.startswith(feedback.SCHEME):
        return feedback.state(name)
    if name.startswith(hub.SCHEME):
        folder = hub.parse(name).folder
        return folders.stats(folder) if folder else name
    return folders.stats(locate(name, key=key))


def _builtin(source: str, modality: Modality, key: str) -> Any:
    name = source.removeprefix("builtin:")
    if name not in BUILTIN:
        raise DataError(
            f"{source} is no built-in data set{naming.nearest(name, BUILTIN)}; there are {', '.join(sorted(BUILTIN))}.",
            action=f"Mend {key} in params.yaml.",
        )
    kind, module = BUILTIN[name]
    if kind != modality:
        raise DataError(f"{source} is {kind}, the model is for {modality}.", action=f"Set modality: {kind}.")
    return module
