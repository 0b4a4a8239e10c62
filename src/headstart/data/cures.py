"""What remedies change about a model: tracked inputs of its stages, one file a kind, there even where it is empty.

    data/cures/<model>/prior.json              class shares that production sees    ─► evaluate
    data/cures/<model>/batchnorm.safetensors   re-estimated BatchNorm statistics    ─► export

A remedy writes one of them; the stages below are stale then, and what they make goes through the same gates as any
other candidate. Removing a cure is writing the empty one. They are recorded with DVC like data.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.errors import DataError

FORMAT = 1
PRIOR, BATCHNORM = "prior.json", "batchnorm.safetensors"
NO_PRIOR: Mapping[str, Any] = {"format": FORMAT, "shares": None, "source": None}
NO_TENSORS = struct.pack("<Q", 2) + b"{}"
"""A safetensors file that holds nothing: the length of its header, and the header."""


def ensure(model: str) -> Path:
    """The folder of a model's cures, with an empty file of each kind that is not there yet."""
    folder = artifacts.cures(model)
    if not (folder / PRIOR).is_file():
        artifacts.write_json(folder / PRIOR, NO_PRIOR)
    if not (folder / BATCHNORM).is_file():
        with artifacts.replaced(folder / BATCHNORM) as temporary:
            temporary.write_bytes(NO_TENSORS)
    return folder


def clear(model: str) -> Path:
    """Take back every cure of a model; its folder."""
    folder = artifacts.cures(model)
    for name in (PRIOR, BATCHNORM):
        (folder / name).unlink(missing_ok=True)
    return ensure(model)


def write_prior(folder: Path, shares: Mapping[str, float], *, source: Mapping[str, Any]) -> None:
    """Say which class shares production sees.

    Args:
        folder: from `ensure`.
        shares: by class, summing to 1.
        source: where they come from: the window they were estimated on.
    """
    artifacts.write_json(folder / PRIOR, {"format": FORMAT, "shares": dict(shares), "source": dict(source)})


def read_prior(folder: Path, classes: Sequence[str]) -> dict[str, float] | None:
    """The class shares that production sees; None where no cure says so.

    A class that was added since then gets share 0 here; one that is gone makes the cure useless.

    Raises:
        DataError: if the file is of another format, or knows a class that the model no longer has.
    """
    document = json.loads((folder / PRIOR).read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise DataError(
            f"{folder / PRIOR} has format {document.get('format')!r}; this headstart reads {FORMAT}.",
            action="Take the cure back: headstart remedy NAME none.",
        )
    shares = document["shares"]
    if shares is None:
        return None
    if unknown := sorted(set(shares) - set(classes)):
        raise DataError(
            f"{folder / PRIOR} holds a share of class {unknown[0]!r}, which the model no longer has.",
            action="Take the cure back (headstart remedy NAME none), or estimate it again.",
        )
    return {name: float(shares.get(name, 0.0)) for name in classes}
