"""Real data sets, prepared as the stage `prepare` would, with few training rows; each backbone with a reference."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from headstart.backbones import processor, reference, store
from headstart.backbones.network import Network
from headstart.contract import files, spec
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.data.identity import content_key
from headstart.params.loader import load
from headstart.params.workspace import Model, Params
from headstart.transfer import device, features, probe
from headstart.transfer.context import Split, TrainingContext
from headstart.transfer.probe import Head

ROOT = Path(__file__).parents[2]
TUNED_ON = ("trec6", "subj", "sci_cite")  # whatever was chosen by looking was chosen on these
REPORTED = ("banking77", "acl_arc", "chemprot", "pubmedqa_sections", "amazon_books", "tweeteval_sentiment_val_vs_2017")
IMAGES = {"mnist": "glyphs", "pneumonia_mnist": "glyphs", "hymenoptera": "mobilenet"}
DOMAINS = {"chemprot": "dapt_biomed", "pubmedqa_sections": "dapt_biomed"}  # sets with unlabelled text of their domain
UNLABELLED = ("banking77",)  # sets whose training texts beyond the drawn ones are theirs, without labels
MOBILENET = "weights_mobilenet_v1_025_imagenet"
FEW_LABELS = ("subj", "trec6", "sci_cite", "banking77")  # the sets of the cases with so many labels a class
CARVED = 0.15 / 0.65  # validation rows for each training row, as `prepare` carves them by default
FORMAT = 3  # of what is written here: folders of another one are left alone
MOST_VALIDATION, MOST_TEST, MOST_POOL = 300, 1000, 4000


@dataclass(frozen=True)
class Prepared:
    """A set as training reads it.

    Attributes:
        name: of the set.
        model: parameters of a model on it: our own defaults.
        backbone: folder.
        data: folder with splits, contract and, where there is one, the unlabelled pool.
    """

    name: str
    model: Model
    backbone: Path
    data: Path

    def context(self, seed: int, cache: Path, **fine_tune: Any) -> TrainingContext:
        """How strategies train on it, keys of `fine_tune` replaced."""
        places: dict[str, Any] = {"backbone": self.backbone, "data": self.data, "cache": cache}
        context = TrainingContext.of(self.model.train, **places, device=device.settle(seed))
        return context.with_fine_tune(seed=seed, **fine_tune)

    def splits(self, context: TrainingContext) -> tuple[Split, Split, Head]:
        """Train, validation, and the probe of train."""
        learn, validation = (context.read(self.data, name) for name in ("train", "validation"))
        return learn, validation, probe.fit(learn.features, learn.targets, context.classes, context.probe)

    def accuracy(self, network: Network, context: TrainingContext, part: str = "test") -> tuple[float, int]:
        """Of a network on a split, and how many examples that has."""
        rows = dataset.read(self.data / f"{part}.parquet")
        answers = features.logits(network, context.preprocessor, rows, progress=part).argmax(axis=1)
        return float(np.mean(answers == rows.targets(context.preprocessor.contract.labels))), len(rows)


def prepared(name: str, rows: int, seed: int, *, data: Path, work: Path, per_class: int | None = None) -> Prepared:
    """`name` with at most `rows` training rows drawn by `seed`, written below `work` once.

    With `per_class`, train has so many rows of each class, and validation only what `prepare` would carve from as many.
    """
    params = load(ROOT / "params.yaml")
    modality = "image" if name in IMAGES else "text"
    backbone = backbone_folder(IMAGES.get(name, "minilm"), params, data, work)
    model = params.models["digits" if modality == "image" else "apidocs"]
    drawn = f"{rows}" if per_class is None else f"{per_class}each"
    home = work / f"sets-{FORMAT}" / f"{name}-{drawn}-{seed}"
    if not (home / "complete").is_file():
        _write(home, name, modality, rows, seed, model, backbone, data, per_class)
    return Prepared(name, model, backbone, home)


def backbone_folder(name: str, params: Params, data: Path, work: Path) -> Path:
    """A stored backbone below `work`; made once. MiniLM gets twenty newsgroups as a reference of general text."""
    home = work / "backbones" / name
    if (home / "backbone.json").is_file():
        return home
    if name == "mobilenet":
        entry = params.backbones["minilm"].model_copy(update={"modality": "image", "sha256": {}})
        store.make(data / MOBILENET, entry, home)
        return home
    fetched = work / "fetched" / name
    from headstart.backbones import fetch

    fetch.fetch(name, params.backbones[name], fetched)
    if name == "minilm":
        texts, labels = zip(*_texts(data / "newsgroups20_bydate", "train"), strict=True)
        drawn = np.random.default_rng(0).permutation(len(texts))[:400]
        inputs = [" ".join(texts[row].split()[:30]) for row in drawn]
        reference.write(fetched / reference.FILE, "text", inputs, [labels[row] for row in drawn])
    store.make(fetched, params.backbones[name], home)
    return home


def _write(
    home: Path,
    name: str,
    modality: Any,
    rows: int,
    seed: int,
    model: Model,
    backbone: Path,
    data: Path,
    per_class: int | None,
) -> None:
    raw, tokenizer_json = processor.input_spec(backbone, model.prepare.limits)
    splits = dict(_splits(data / name, modality))
    if "validation" not in splits:
        held = np.random.default_rng(0).permutation(len(splits["train"][0]))
        cut = max(30, len(held) // 6)
        splits["validation"] = _rows(splits["train"], held[:cut])
        splits["train"] = _rows(splits["train"], held[cut:])
    seen = {content_key(payload) for part in ("validation", "test") for payload in splits[part][0]}
    keep = np.array([row for row, payload in enumerate(splits["train"][0]) if content_key(payload) not in seen])
    splits["train"] = _rows(splits["train"], keep)
    generator = np.random.default_rng(seed)
    sizes = {"train": rows, "validation": min(MOST_VALIDATION, max(40, rows // 4)), "test": MOST_TEST}
    pool = [text for text, _ in _texts(data / DOMAINS[name], "corpus")] if name in DOMAINS else []
    for part, (inputs, labels) in splits.items():
        drawn = (generator if part == "train" else np.random.default_rng(1)).permutation(len(inputs))
        if per_class is not None and part == "train":
            drawn = _each(drawn, labels, per_class)
            sizes |= {"train": len(drawn), "validation": max(1, round(CARVED * len(drawn)))}
        splits[part] = _rows((inputs, labels), drawn[: sizes[part]])
        if part == "train" and name in UNLABELLED:
            pool = [inputs[row] for row in drawn[rows:]]
    classes = tuple(sorted({label for _, labels in splits.values() for label in labels}))
    files.write(home / "contract", spec.Contract(modality, raw, classes), tokenizer_json=tokenizer_json)
    for part, (inputs, labels) in splits.items():
        none = [None] * len(inputs)
        ids = [f"{part}-{row}" for row in range(len(inputs))]
        dataset.write(home / f"{part}.parquet", Dataset(modality, ids, labels, inputs, none, none))
    if pool:
        most = model.prepare.limits.characters  # `prepare` would refuse a longer text
        pool = [text for text in pool if len(text) <= most][:MOST_POOL]
        none = [None] * len(pool)
        ids = [f"pool-{row}" for row in range(len(pool))]
        dataset.write(home / "unlabelled.parquet", Dataset(modality, ids, [""] * len(pool), pool, none, none))
    (home / "complete").touch()


def _splits(folder: Path, modality: str) -> Iterator[tuple[str, tuple[list[Any], list[str]]]]:
    for part in ("train", "validation", "test"):
        if modality == "image" and (path := folder / f"{part}.parquet").is_file():
            table = pq.read_table(path).to_pylist()
            yield part, ([row["image"]["bytes"] for row in table], [str(row["label"]) for row in table])
        elif modality == "text" and (found := list(_texts(folder, part))):
            yield part, ([text for text, _ in found], [label for _, label in found])


def _texts(folder: Path, part: str) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob(f"{part}.jsonl*")):
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if row["text"].strip():
                    yield row["text"], str(row.get("label", ""))


def _each(drawn: Any, labels: list[str], count: int) -> Any:
    """The first `count` rows of each class, in the order they were drawn."""
    seen: dict[str, int] = {}
    chosen = []
    for row in drawn:
        seen[labels[row]] = seen.get(labels[row], 0) + 1
        if seen[labels[row]] <= count:
            chosen.append(row)
    return np.array(chosen)


def _rows(split: tuple[list[Any], list[str]], rows: Any) -> tuple[list[Any], list[str]]:
    return [split[0][row] for row in rows], [split[1][row] for row in rows]
