"""`hub:org/dataset@commit` (or `hub:org/dataset/config@commit`, or `hub:` and a folder) through the datasets library.

A folder may also be one that `save_to_disk` wrote.

Rows are streamed, nothing is unpacked on the disk, and no code of a data set is ever run. The revision has to be a
commit: a branch such as `main`, or a tag, can name other rows tomorrow, and nothing here would notice.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from headstart.data import columns as naming
from headstart.data import folders
from headstart.data.dataset import SPLITS
from headstart.data.rows import SPLIT_NAMES, Reader
from headstart.data.tables import Chunk
from headstart.errors import DataError, HeadstartError, OutsideError
from headstart.params.data import Columns
from headstart.params.section import Modality

SCHEME = "hub:"
ROWS = {"text": 1024, "image": 64}
WITHOUT_LABELS = ("unsupervised", "unlabelled", "unlabeled")
ARCHIVES = ("zip", "tar", "gzip", "bz2", "xz", "zstd")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Name:
    """A data set on the hub, or a local folder (then without configuration and revision)."""

    path: str
    config: str | None
    revision: str | None

    @property
    def folder(self) -> Path | None:
        return Path(self.path) if self.revision is None else None


def parse(source: str) -> Name:
    """What `source` names; no network is asked.

    Raises:
        DataError: if it names no commit, or is no name.
    """
    name = source.removeprefix(SCHEME)
    if name and Path(name).expanduser().is_dir():
        return Name(str(Path(name).expanduser().resolve()), None, None)
    path, _, revision = name.partition("@")
    parts = path.split("/")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[\w.-]*\w[\w.-]*", part) for part in parts):
        raise DataError(
            f"{source} is neither a folder here nor a name on the hub.", action="hub:org/dataset@commit was expected."
        )
    if not _COMMIT.fullmatch(revision):
        what = f"the revision {revision!r}, which is no commit" if revision else "no revision"
        raise DataError(
            f"{source} names {what}; a branch or a tag can name other rows tomorrow, a commit can't.",
            action=f"Take the 40 digits that huggingface.co/datasets/{path}/commits/main shows: hub:{path}@COMMIT.",
        )
    return Name("/".join(parts[:2]), parts[2] if len(parts) == 3 else None, revision)


def names(source: str) -> list[str]:
    """The columns of the data set.

    Raises:
        DataError: as `batches`.
        OutsideError: as `batches`.
    """
    return list(next(iter(_open(source).values())).features)


def head(source: str, rows: int) -> dict[str, list[Any]]:
    """The first rows by column, class labels as numbers.

    Raises:
        DataError: as `batches`.
        OutsideError: as `batches`.
    """
    content = next(iter(_open(source).values()))
    return dict(next(content.iter(batch_size=rows), {}))


def batches(
    source: str, columns: Columns, modality: Modality, found: dict[str, str], *, labelled: bool
) -> Iterator[pa.RecordBatch]:
    """The rows, split by split in the order train, validation, test, then splits without labels.

    Args:
        source: `hub:...`.
        columns: their names.
        modality: what the inputs are.
        found: gets the columns' names by role, at the end.
        labelled: whether labels are looked at.

    Raises:
        DataError: if there is no such data set, configuration or column, or rows cannot be read.
        OutsideError: if the hub does not answer.
    """
    splits = _open(source)
    for name, split in _ordered(source, list(splits)).items():
        content = splits[name]
        labels = labelled and name not in WITHOUT_LABELS
        reader = Reader(where := f"{source} ({name})", columns, modality, split=split, labelled=labels)
        known = tuple(content.features)
        naming.resolve(known, columns, modality, where, labelled=labels)
        content = content.select_columns([each for each in known if each in reader.names.values()])
        for chunk in _chunks(source, name, content, ROWS[modality]):
            yield from reader.take(replace(chunk, names=known), complete=True)
        found.update(reader.finish())


def _open(source: str) -> dict[str, Any]:
    """The splits as streams whose features are known, images undecoded."""
    name = parse(source)
    import datasets

    datasets.disable_progress_bars()
    try:
        if name.folder and folders.is_saved_dataset(name.folder):
            saved = datasets.load_from_disk(name.path)
            splits = saved if isinstance(saved, datasets.DatasetDict) else {str(saved.split or "all"): saved}
        else:
            splits = datasets.load_dataset(name.path, name.config, revision=name.revision, streaming=True)
        return {split: _plain(content) for split, content in splits.items()}
    except Exception as error:  # its errors share no root; `_said` passes bugs of ours on
        raise _said(source, error) from error


def _plain(content: Any) -> Any:
    import datasets

    if content.features is None:
        content = content._resolve_features()
    for name, feature in content.features.items():
        if isinstance(feature, datasets.Image):
            content = content.cast_column(name, datasets.Image(decode=False))
    return content


def _ordered(source: str, found: list[str]) -> dict[str, str | None]:
    """Our split of each of theirs, in our order; a data set with a single split leaves it open."""
    ours: dict[str, str | None] = {}
    for wanted in SPLITS:
        ours |= {name: wanted for name in found if SPLIT_NAMES.get(name.lower()) == wanted}
    if len(found) == 1 and "train" not in ours.values():
        ours[found[0]] = None
    ours |= {name: None for name in found if name in WITHOUT_LABELS}
    unknown = [name for name in found if name not in ours]
    if unknown or len(set(ours.values()) - {None}) < sum(split is not None for split in ours.values()):
        raise DataError(
            f"{source} has the splits {', '.join(found)}; at most one each of train, validation, test was expected.",
            action="Download it, and name a folder that holds one file a split: train.parquet, validation.parquet, "
            "test.parquet.",
        )
    return ours


def _chunks(source: str, split: str, content: Any, rows: int) -> Iterator[Chunk]:
    import datasets

    classes = {name: feature for name, feature in content.features.items() if isinstance(feature, datasets.ClassLabel)}
    images = [name for name, feature in content.features.items() if isinstance(feature, datasets.Image)]
    start = 1
    stream = content.iter(batch_size=rows)
    while True:
        try:
            values: dict[str, list[Any]] | None = next(stream, None)
        except Exception as error:  # as in `_open`
            raise _said(source, error) from error
        if values is None:
            return
        for name, feature in classes.items():
            values[name] = [None if value in (None, -1) else feature.int2str(int(value)) for value in values[name]]
        for name in images:
            values[name] = [_with_bytes(source, value) for value in values[name]]
        count = len(next(iter(values.values()), []))
        yield Chunk(Path(f"{source}/{split}"), values, list(range(start, start + count)), tuple(values))
        start += count


def _with_bytes(source: str, image: Any) -> Any:
    """An image that is named by an address inside the data set is read from there; others are as they were.

    Raises:
        DataError: for an address elsewhere: rows must not choose which servers and files this machine reads.
    """
    if isinstance(image, dict) and not image.get("bytes") and "://" in (image.get("path") or ""):
        if not _is_inside(parse(source), image["path"]):
            raise DataError(
                f"{source} names an image at {image['path'][:200]}, outside of the data set; nothing is read there.",
                action="Store the images in the data set itself, or download them and name the folder.",
            )
        import fsspec

        with fsspec.open(image["path"]) as file:
            return {"bytes": file.read(), "path": image["path"]}
    return image


def _is_inside(name: Name, address: str) -> bool:
    """Whether fsspec's address is a file of the data set, or lies in an archive of it: `zip://a.png::ADDRESS`."""
    *archives, place = address.split("::")
    if not all(each.partition("://")[0] in ARCHIVES for each in archives):
        return False
    if name.folder:
        return "://" not in place and Path(place).resolve().is_relative_to(name.folder.resolve())
    own = re.match(rf"hf://datasets/[\w.-]+(/[\w.-]+)?@{name.revision}/", place)
    return own is not None and ".." not in place.split("/")


def _said(source: str, error: Exception) -> HeadstartError:
    """The failure in the words of this project; a bug of ours is raised as it is."""
    from datasets import exceptions
    from huggingface_hub import errors

    sentence = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    unreachable = (ConnectionError, TimeoutError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if isinstance(error, HeadstartError):
        return error
    if parse(source).folder is None and (offline or isinstance(error, unreachable) or _cause(error, unreachable)):
        why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
        return OutsideError(
            f"{source} cannot be read: {why} ({sentence}).",
            action="Go online, or download it elsewhere (hf download --repo-type dataset) and name the folder.",
        )
    if isinstance(error, exceptions.DatasetsError | FileNotFoundError | ValueError | RuntimeError):
        return DataError(
            f"{source} cannot be read: {sentence}.",
            action="Check name and commit on its page; one of several configurations is named "
            "hub:org/dataset/config@commit; data sets that need code to be read are not.",
        )
    if isinstance(error, OSError | errors.HfHubHTTPError):
        return OutsideError(
            f"{source} cannot be read: {sentence}.", action="Try again; a private one needs `hf auth login`."
        )
    raise error


def _cause(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether one of `kinds` stands behind the error."""
    while error is not None:
        if isinstance(error, kinds) or type(error).__module__.startswith(("httpx", "httpcore")):
            return True
        error = error.__cause__ or error.__context__
    return False
