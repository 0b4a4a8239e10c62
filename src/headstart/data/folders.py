"""Folders as sources: a file of rows a split, class folders of images, or, without labels, images anywhere below."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from headstart.data import tables
from headstart.data.dataset import SPLITS
from headstart.data.rows import IMAGES, SPLIT_NAMES, batched
from headstart.errors import DataError

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


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


def is_saved_dataset(folder: Path) -> bool:
    """Whether `Dataset.save_to_disk` or `DatasetDict.save_to_disk` of the library `datasets` wrote the folder."""
    one = ("state.json", "dataset_info.json")
    return (folder / "dataset_dict.json").is_file() or all((folder / name).is_file() for name in one)


def class_folders(folder: Path, passed_over: list[str], *, read: bool) -> Iterator[pa.RecordBatch]:
    """The images of class folders, which may lie in split folders; labels are the folders' names, ids the paths.

    Args:
        folder: the source.
        passed_over: gets the names of files that are no images, as they are met.
        read: whether the bytes are read too.

    Raises:
        DataError: if there are split folders without train; at the end, if there was no image.
    """
    return batched(_labelled_images(folder, passed_over, read=read), "image")


def loose_images(folder: Path, passed_over: list[str]) -> Iterator[pa.RecordBatch]:
    """Every image anywhere below the folder, without label or split; the ids are the paths.

    Raises:
        DataError: at the end, if there was none.
    """
    return batched(_all_images(folder, passed_over), "image")


def stats(path: Path) -> list[list[object]]:
    """Name, size and time of the file, or of every file below the folder, in the order of their names."""
    if not path.is_dir():
        stat = path.stat()
        return [[path.as_posix(), stat.st_size, stat.st_mtime_ns]]
    found: list[list[object]] = []
    waiting = [path.as_posix()]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                elif entry.is_file():
                    stat = entry.stat()
                    found.append([entry.path, stat.st_size, stat.st_mtime_ns])
    return sorted(found, key=lambda file: str(file[0]))


def _labelled_images(folder: Path, passed_over: list[str], *, read: bool) -> Iterator[dict[str, Any]]:
    splits = {SPLIT_NAMES[entry.name.lower()]: entry for entry in _folders(folder) if entry.name.lower() in SPLIT_NAMES}
    if splits and "train" not in splits:
        raise DataError(f"{folder} has {', '.join(splits)}, but no folder train.", action="Add one.")
    number = 0
    for split in SPLITS if splits else (None,):
        for label in _folders(splits[split]) if split in splits else _folders(folder) if split is None else ():
            for name in _images(folder, label, passed_over):
                number += 1
                payload = (folder / name).read_bytes() if read else None
                yield {"image": payload, "label": label.name, "id": name, "split": split, "row": number}
    if not number:
        single = next((file.name for file in sorted(folder.iterdir()) if tables.suffix(file)), None)
        raise DataError(
            f"{folder} holds neither a file train.* nor class folders with images ({', '.join(sorted(IMAGES))}).",
            action=f"Is {folder / single} meant? Name the file itself."
            if single
            else "Mend data.source in params.yaml.",
        )


def _all_images(folder: Path, passed_over: list[str]) -> Iterator[dict[str, Any]]:
    number = 0
    for name in _images(folder, folder, passed_over):
        number += 1
        yield {"image": (folder / name).read_bytes(), "id": name, "row": number}
    if not number:
        raise DataError(
            f"{folder} holds no images ({', '.join(sorted(IMAGES))}).", action="Mend data.unlabelled in params.yaml."
        )


def _images(root: Path, folder: Path, passed_over: list[str]) -> Iterator[str]:
    """Names below `root` of the images in `folder`; hidden files are left out."""
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and file.name[0] != "."):
        name = file.relative_to(root).as_posix()
        if file.suffix.lower() in IMAGES:
            yield name
        else:
            passed_over.append(name)


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
