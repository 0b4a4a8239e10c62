"""Prepared data, contract and backbone of two toy models, made without any stage: what `plan` and `train` read."""

import csv
from dataclasses import replace
from pathlib import Path

import torch

from headstart import artifacts
from headstart.contract import files, spec
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.determinism import digest
from headstart.params.loader import load
from headstart.params.transfer import Plan, Train
from headstart.transfer.context import TrainingContext
from tests.tiny import workspace


def sections(modality: str, *, forget: float | None = None, **fine_tune: object) -> tuple[Plan, Train]:
    """Our own defaults for `plan` and `train`, in float32, with `fine_tune` keys and the forgetting budget replaced."""
    model = load(workspace.ROOT / "params.yaml").models["apidocs" if modality == "text" else "digits"]
    changed = model.train.fine_tune.model_copy(update={"precision": "float32", "least_steps": 1, **fine_tune})
    short = model.plan.lora.model_copy(update={"epochs": 1})
    plan = model.plan.model_copy(update={"fine_tune": changed, "lora": short})
    train = model.train.model_copy(update={"fine_tune": changed})
    if forget is not None:
        train = train.model_copy(update={"forgetting": train.forgetting.model_copy(update={"budget": forget})})
    return plan, train


def context(folder: Path, modality: str = "text", **fine_tune: object) -> TrainingContext:
    """What strategies are given for a model that `text_model` or `image_model` made."""
    places = {"backbone": folder / "backbone", "data": folder / "data", "cache": folder / "cache"}
    return TrainingContext.of(sections(modality, **fine_tune)[0], **places, device=torch.device("cpu"))


def plan_document(*strategies: str) -> dict[str, object]:
    """As much of `plan.json` as training reads."""
    return {
        "shortlist": [{"strategy": name} for name in strategies],
        "head_strength": 1.0,
        "truncation": None,
        "evidence": {"probe": {"strength": 1.0}},
    }


def text_model(folder: Path, *, rows: int = 120) -> Path:
    """Three topics and a BERT of two layers: `folder/data`, `folder/backbone`."""
    workspace.write_topics(folder / "topics.csv", rows=rows, seed=1)
    workspace.write_backbone(folder / "backbone")
    with (folder / "topics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    tokenizer_json = (folder / "backbone/tokenizer.json").read_text(encoding="utf-8")
    form = spec.TextSpec(32, 1000, 0, "[PAD]", "right", digest(tokenizer_json))
    contract = spec.Contract("text", form, tuple(sorted(workspace.TOPICS)))
    files.write(folder / "data/contract", contract, tokenizer_json=tokenizer_json)
    topics = sorted(workspace.TOPICS)
    # a seventh of the labels is one topic further, so that no loss can reach zero
    labels = [topics[(topics.index(row["label"]) + (at % 7 == 3)) % 3] for at, row in enumerate(found)]
    return _split(folder, "text", [row["text"] for row in found], labels)


def write_reference(folder: Path) -> None:
    """A sample of the text backbone's own domain: which word a text starts with."""
    rows = dataset.read(folder / "data/train.parquet")
    own = replace(rows, labels=[text.split()[0] for text in rows.inputs])
    dataset.write(folder / "backbone/reference.parquet", own)


def image_model(folder: Path, *, rows: int = 90) -> Path:
    """Three kinds of bars and a ResNet of two stages with BatchNorm: `folder/data`, `folder/backbone`."""
    workspace.write_bars(folder / "bars", rows=rows, seed=2)
    _write_resnet(folder / "backbone")
    form = spec.ImageSpec("L", "stretch", 12, 12, None, "bilinear", None, 1 / 255, (0.5,), (0.5,), 10_000, 100_000)
    paths = sorted((folder / "bars").rglob("*.png"), key=lambda path: path.name)
    contract = spec.Contract("image", form, ("leaning", "lying", "standing"))
    files.write(folder / "data/contract", contract, tokenizer_json=None)
    return _split(folder, "image", [path.read_bytes() for path in paths], [path.parent.name for path in paths])


def _split(folder: Path, modality: str, inputs: list[object], labels: list[str]) -> Path:
    """Every fifth row (by threes, so that classes stay even) to validation, the next to test, the others to train."""
    names = {0: "validation", 1: "test"}
    for name in dataset.SPLITS:
        rows = [row for row in range(len(inputs)) if names.get(row // 3 % 5, "train") == name]
        chosen = [[column[row] for row in rows] for column in (labels, inputs)]
        none = [None] * len(rows)
        kind = "text" if modality == "text" else "image"
        dataset.write(folder / f"data/{name}.parquet", Dataset(kind, list(map(str, rows)), *chosen, none, none))
    return folder


def _write_resnet(folder: Path) -> None:
    import torch
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    network = ResNetModel(config)
    with torch.no_grad():
        for number, (_, weight) in enumerate(sorted(network.named_parameters())):
            if weight.ndim > 1:
                at = torch.arange(weight.numel(), dtype=torch.float64)
                weight.copy_((0.4 * torch.sin(at * (1.7 + 0.1 * number) ** 2)).reshape(weight.shape))
    network.save_pretrained(folder)
    assert artifacts.read_json(folder / "config.json")["model_type"] == "resnet"
