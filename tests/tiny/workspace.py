"""A workspace of toys: the real graph, flows and commands on data and networks that train in seconds.

Text: questions in a made-up language of three topics, and a BERT of two layers, weights by formula, that knows which
word belongs to which topic: words not seen in training are understood by transfer and by nothing else.
Images: bars that lie, stand or lean; the built-in recipe for glyphs, shrunk.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[2]
SYLLABLES = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "ti"]
TOPICS = {
    "weather": [f"{first}{second}n" for first in SYLLABLES for second in SYLLABLES],
    "kitchen": [f"{first}{second}k" for first in SYLLABLES for second in SYLLABLES],
    "travel": [f"{first}{second}r" for first in SYLLABLES for second in SYLLABLES],
}
FRAMES = ["is there {} and {} today", "tell me of {} before the {}", "the {} came with {}", "{} , {} or both ?"]
WIDTH = 32


def build(folder: Path) -> Path:
    """Make the workspace in `folder` and return it; nothing has run in it yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    write_topics(folder / "sources/topics.csv", rows=240, seed=1)
    write_bars(folder / "sources/bars", rows=360, seed=2)
    write_backbone(folder / "sources/tinybert")
    (folder / "params.yaml").write_text(yaml.safe_dump(params(), sort_keys=False))
    return folder


def params() -> dict[str, Any]:
    """Our own defaults, with less of everything that costs time."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    everything, image = document["defaults"]["all"], document["defaults"]["image"]
    everything["fine_tune"] |= {"epochs": 2, "precision": "float32", "learning_rate": 0.001}
    image["plan"]["strategy"] = "fine_tune"
    everything["gates"] |= {"accuracy": 0.4, "macro_f1": 0.4, "calibration_error": 0.9, "champion_margin": 0.5}
    everything["gates"]["baseline_margin"] = -0.5  # word endings give topics away, and gradients which way a bar lies
    image["fine_tune"] |= {"epochs": 8}
    glyphs = document["backbones"]["glyphs"]
    glyphs["pretrain"] |= {"glyphs_per_class": 4, "epochs": 1, "hidden": [8, 16], "embedding": 8, "depths": [1, 1]}
    document["backbones"] = {
        "tinybert": {"modality": "text", "source": "sources/tinybert"},
        "glyphs": glyphs,
    }
    document["models"] = {
        "topics": {"modality": "text", "backbone": "tinybert", "data": {"source": "sources/topics.csv"}},
        "bars": {"modality": "image", "backbone": "glyphs", "data": {"source": "sources/bars"}},
    }
    return document


def write_topics(path: Path, *, rows: int, seed: int) -> None:
    """A CSV with `text` and `label`, no two texts alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        seen = set()
        while len(seen) < rows:
            label = sorted(TOPICS)[len(seen) % 3]
            words = generator.choice(TOPICS[label], 2, replace=False)
            text = str(generator.choice(FRAMES)).format(*words) + f" {int(generator.integers(10000))}"
            if text not in seen:
                seen.add(text)
                writer.writerow([text, label])


def write_bars(folder: Path, *, rows: int, seed: int) -> None:
    """Class folders of 16 x 16 PNG files: a bright bar on black, anywhere, a little noisy."""
    generator = np.random.default_rng(seed)
    ends = {"lying": (8, 0), "standing": (0, 8), "leaning": (7, 7)}
    for row in range(rows):
        label = sorted(ends)[row % 3]
        image = Image.new("L", (16, 16))
        x, y = (int(value) for value in generator.integers(1, 8, 2))
        across, down = ends[label]
        ImageDraw.Draw(image).line((x, y, x + across, y + down), fill=255, width=2)
        noisy = np.asarray(image, np.int16) + generator.integers(0, 120, (16, 16))
        path = folder / label / f"{row:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)


def write_backbone(folder: Path) -> None:
    """A BERT in the Hugging Face layout: one word a token, weights by formula, no seed involved."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = sorted({word for topic in TOPICS.values() for word in topic} | set(" ".join(FRAMES).split()) - {"{}"})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *"0123456789", *(f"##{n}" for n in range(10))]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {name: f"[{name[:-6].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token")}
    config = {"tokenizer_class": "BertTokenizer", "mask_token": "[MASK]", "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    network = BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=64,
        ),
        add_pooling_layer=False,
    )
    with torch.no_grad():
        for number, (name, weight) in enumerate(sorted(network.named_parameters())):
            if "LayerNorm" not in name:
                at = torch.arange(weight.numel(), dtype=torch.float64)
                weight.copy_((0.1 * torch.sin(at * (1.7 + 0.1 * number) ** 2)).reshape(weight.shape))
        for at, topic in enumerate(sorted(TOPICS)):
            for word in TOPICS[topic]:
                network.embeddings.word_embeddings.weight[vocabulary.index(word), at] += 2.0
    network.save_pretrained(folder)
