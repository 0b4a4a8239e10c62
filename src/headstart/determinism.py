"""The same inputs give the same bytes: stable hashes, stable fractions, a stated number of threads.

Randomness is a `numpy.random.Generator` that is passed in; torch alone keeps a global state (`transfer.device`).
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 20
NUMERIC = {  # libraries that decide what is computed: how they are imported, and what their package is called
    "torch": "torch",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "PIL": "pillow",
    "onnxruntime": "onnxruntime",
    "sklearn": "scikit-learn",
    "numpy": "numpy",
}


def digest(value: Any) -> str:
    """SHA-256 (hex) of bytes, of a string in UTF-8, or of anything JSON can hold with its keys sorted."""
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
    else:
        data = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks of 1 MiB."""
    result = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            result.update(block)
    return result.hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 (hex) of a folder's relative paths and contents; independent of order, times and place."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])


def altered(folder: Path, files: Mapping[str, str]) -> list[str]:
    """What is wrong with files whose SHA-256 (hex) is known, a sentence each; none where all are as they were."""
    problems = []
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif (arrived := file_digest(path)) != expected:
            problems.append(f"{name} has SHA-256 {arrived}, the manifest says {expected}")
    return problems


def fraction(key: str, *, seed: int) -> float:
    """A number in [0, 1) that depends on `key` and `seed` alone: uniform over keys, the same for ever."""
    return int(digest(f"{seed}:{key}")[:13], 16) / 16**13


def sample(names: Sequence[str], most: int, *, seed: int) -> NDArray[np.bool_]:
    """Which of `names` are in a sample of at most `most`: those whose hash is least, whatever order they come in."""
    chosen = np.ones(len(names), dtype=bool)
    if len(names) > most:
        chosen[np.argsort([fraction(name, seed=seed) for name in names], kind="stable")[most:]] = False
    return chosen


def threads() -> int:
    """How many threads one process may use: `HEADSTART_THREADS`, else the cores it may run on."""
    asked = os.environ.get("HEADSTART_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))


@cache
def versions() -> tuple[str, ...]:
    """Of the libraries that decide what a network makes of an input: part of a cache's key, beside its format."""
    return tuple(f"{name}=={version(name)}" for name in NUMERIC.values())
