"""Where stages keep their files, and how a file is written: whole or not at all, the same bytes each time.

Paths are relative to the workspace; every stage and flow runs there.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORMAT = 1
CACHE = Path(".cache")


def raw(model: str) -> Path:
    return Path("data/raw") / model


def fetched_backbone(name: str) -> Path:
    return Path("data/backbones") / name


def cures(model: str) -> Path:
    return Path("data/cures") / model


def backbone(name: str) -> Path:
    return Path("artifacts/backbones") / name


def stage_params(owner: str, stage: str) -> Path:
    return Path("artifacts/params") / owner / f"{stage}.yaml"


def stage_code(stage: str) -> Path:
    return Path("artifacts/code") / f"{stage}.txt"


def stage_output(model: str, stage: str) -> Path:
    """The folder that a model's stage writes: `data plan train export evaluate bundle`."""
    return Path("artifacts/models") / model / stage


def partial(fingerprint: str) -> Path:
    """Checkpoints of a stage at work; undeclared, removed by the stage when it is done."""
    return Path(".partial") / fingerprint


def timing(owner: str, stage: str) -> Path:
    """Seconds and memory, kept out of every declared output so that those stay the same bytes."""
    return Path("artifacts/timing") / owner / f"{stage}.json"


def release(model: str) -> Path:
    """What the release flow wrote: `judgement.json`, `run.json`, `report.html`, `card.*`; not a stage's output."""
    return Path("artifacts/releases") / model


def comparison(model: str) -> Path:
    """What `headstart compare` wrote; not a stage's output, and nothing depends on it."""
    return Path("artifacts/compare") / model


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends without an exception.

    >>> with replaced(Path("model.onnx")) as temporary:
    ...     onnx.save(model, temporary)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def built(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its name when the block ends without an exception.

    So `folder` is whole or not there. Where another process has built it meanwhile, that one stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp shuts others out
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Mapping[str, Any] | list[Any]) -> None:
    """Write a document with sorted keys, two spaces and a newline: the same bytes for the same values.

    NaN and infinity are refused with ValueError: no reader agrees on them.
    """
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as plain Python values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")
