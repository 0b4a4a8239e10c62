"""The backbone adapted to a domain from unlabelled examples, kept by what went into it: computed once, found again.

Texts: masked-language modelling goes on (`text`). Images: BatchNorm statistics are taken anew (`image`).
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from headstart import artifacts
from headstart.backbones import batchnorm
from headstart.backbones.network import Network
from headstart.data import unlabelled
from headstart.determinism import digest, file_digest, folder_digest, versions
from headstart.transfer.adapt import image, text
from headstart.transfer.context import TrainingContext

FORMAT = 3
DONE = "adapted.json"  # written last: its existence means that the folder beside it is whole


@dataclass(frozen=True)
class Adapted:
    """A backbone that was adapted.

    Attributes:
        backbone: its folder.
        note: how it was adapted, as a code with its numbers.
        moved: whether it is another one than before.
        read: how many tokens, or images, passed to learn from.
        seconds: what that took when it was done; where it was killed, from there on.
    """

    backbone: Path
    note: dict[str, Any]
    moved: bool
    read: int
    seconds: float


def adapted(context: TrainingContext) -> Adapted:
    """The adapted backbone; done now where it is not kept yet."""
    assert context.unlabelled is not None, "`obstacle` was not asked"
    parts = [folder_digest(context.backbone), file_digest(context.unlabelled), context.adapt.model_dump()]
    made_by = [*versions(), str(torch.get_num_threads()), context.device.type]
    key = digest([FORMAT, *parts, context.preprocessor.contract.input_hash, made_by])
    home = context.cache / "adapted" / key
    if not (home / DONE).is_file():
        started = time.perf_counter()
        note, moved, read = _adapt(context, home / "backbone", home / "partial")
        shutil.rmtree(home / "partial", ignore_errors=True)
        kept = {"note": note, "moved": moved, "read": read, "seconds": time.perf_counter() - started}
        artifacts.write_json(home / DONE, {"format": FORMAT, **kept})
    kept = artifacts.read_json(home / DONE)
    return Adapted(home / "backbone", kept["note"], kept["moved"], kept["read"], kept["seconds"])


def _adapt(context: TrainingContext, out: Path, partial: Path) -> tuple[dict[str, Any], bool, int]:
    """Write the adapted backbone into the folder `out`: how it went, whether it moved, and how much it read."""
    inputs, own = _unlabelled(context), context.preprocessor
    if context.modality == "text":
        made = text.adapt(context.backbone, inputs, context.adapt, preprocessor=own, out=out, partial=partial)
        return made.note, made.best_epoch > 0, made.tokens
    seen = image.adapt(context.backbone, inputs, preprocessor=own, out=out)
    note = {"code": "adapted_to_images", "norms": seen.norms, "images": seen.images, "moved": seen.moved}
    return note, True, seen.images


def obstacle(context: TrainingContext) -> dict[str, Any] | None:
    """Why nothing can be adapted here, as a code with its numbers; None where something can."""
    if context.unlabelled is None:
        return {"code": "no_unlabelled_examples"}
    if (rows := pq.read_metadata(context.unlabelled).num_rows) < unlabelled.LEAST:
        return {"code": "too_few_unlabelled_examples", "rows": rows, "least": unlabelled.LEAST}
    if context.modality == "text":
        return text.obstacle(context.backbone, _unlabelled(context), context.adapt, preprocessor=context.preprocessor)
    network = Network.from_backbone(context.backbone, 2, dropout=0.0)
    if batchnorm.norms([network.backbone]):
        return None
    return {"code": "no_batchnorm", "kind": network.backbone.config.model_type}


def _unlabelled(context: TrainingContext) -> list[Any]:
    """The unlabelled inputs."""
    return list(pq.read_table(context.unlabelled, columns=[context.modality])[context.modality].to_pylist())
