"""The backbone adapted to a domain from unlabelled examples, kept by what went into it: computed once, found again.

Texts: masked-language modelling goes on (`text`). Images: BatchNorm statistics are taken anew (`image`).
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from headstart import artifacts
from headstart.backbones import batchnorm
from headstart.backbones.network import Network
from headstart.data import pool
from headstart.determinism import digest, file_digest, folder_digest, versions
from headstart.transfer.adapt import image, text
from headstart.transfer.setting import Setting

TOLD = "told.json"  # written last: its existence means that the folder beside it is whole


def adapted(setting: Setting) -> tuple[Path, str]:
    """The folder of the adapted backbone, and what a person should know of how it was adapted."""
    assert setting.pool is not None, "`obstacle` was not asked"
    parts = [folder_digest(setting.backbone), file_digest(setting.pool), setting.adapt.model_dump()]
    made_by = [*versions(), str(torch.get_num_threads()), setting.place.type]
    key = digest([*parts, setting.preprocessor.contract.input_hash, made_by])
    home = setting.cache / "adapted" / key
    if not (home / TOLD).is_file():
        unlabelled = _pool(setting)
        if setting.modality == "text":
            told = text.adapt(
                setting.backbone,
                unlabelled,
                setting.adapt,
                preprocessor=setting.preprocessor,
                out=home / "backbone",
                partial=home / "partial",
            ).told
        else:
            found = image.adapt(
                setting.backbone, unlabelled, setting.adapt, preprocessor=setting.preprocessor, out=home / "backbone"
            )
            told = (
                f"The statistics of {found.norms} BatchNorms were taken anew from {found.images} images; their means "
                f"moved by {found.moved:.2f} standard deviations."
            )
        shutil.rmtree(home / "partial", ignore_errors=True)
        artifacts.write_json(home / TOLD, {"format": artifacts.FORMAT, "told": told})
    return home / "backbone", str(artifacts.read_json(home / TOLD)["told"])


def obstacle(setting: Setting) -> str | None:
    """Why nothing can be adapted here; None where something can."""
    if setting.pool is None:
        return "There are no unlabelled examples to adapt to (data.unlabelled)."
    if (rows := pq.read_metadata(setting.pool).num_rows) < pool.LEAST:
        return (
            f"data.unlabelled leaves {rows} rows to adapt to, and {pool.LEAST} are the least: add {pool.LEAST - rows}."
        )
    if setting.modality == "text":
        return text.obstacle(setting.backbone, _pool(setting), setting.adapt)
    network = Network.from_backbone(setting.backbone, 2, dropout=0.0)
    if batchnorm.norms([network.backbone]):
        return None
    return f"{network.backbone.config.model_type} has no BatchNorm, whose statistics are what images adapt."


def _pool(setting: Setting) -> list[Any]:
    """The unlabelled inputs."""
    return list(pq.read_table(setting.pool, columns=[setting.modality])[setting.modality].to_pylist())
