"""Tiny backbones in the Hugging Face layout, their weights filled by formula, and tiny pictures."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, BertConfig, ResNetConfig, ViTConfig

from headstart.backbones.quiet_logging import quiet

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rain", "snow", "bread", "soup", "train", "map", "##s"]
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
SMOOTH = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 16, "width": 16},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5],
    "image_std": [0.5],
    "do_convert_rgb": False,
}


def bert() -> Any:
    return BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **SMALL)


def resnet() -> Any:
    return ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 2], layer_type="basic", hidden_act="relu"
    )


def vit() -> Any:
    return ViTConfig(image_size=16, patch_size=8, num_channels=3, **SMALL)


def vit_224() -> Any:
    return ViTConfig(image_size=224, patch_size=112, num_channels=3, **SMALL)


def model(config: Any) -> Any:
    """An architecture whose every parameter is a sine of its place: no seed, the same on every version of torch."""
    with quiet():
        built = AutoModel.from_config(config)
    with torch.no_grad():
        for shift, parameter in enumerate(built.parameters()):
            places = torch.arange(parameter.numel(), dtype=torch.float64) + shift
            parameter.copy_((0.3 * torch.sin(places * 1.7)).reshape(parameter.shape))
    return built.eval()


def write(folder: Path, config: Any) -> Path:
    """`config.json` and `model.safetensors`."""
    with quiet():
        model(config).save_pretrained(folder)
    return folder


def write_text(folder: Path) -> Path:
    """A BERT with its tokenizer; the file carries the fixed padding that packaged ones carry."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    write(folder, bert())
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=12)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
    tokens |= {"mask_token": "[MASK]", "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokens, "model_max_length": 24}))
    return folder


def write_image(folder: Path, processor: dict[str, Any] | None = None) -> Path:
    """A ResNet for grey pictures with its processor file."""
    write(folder, resnet())
    (folder / "preprocessor_config.json").write_text(json.dumps(processor or SMOOTH))
    return folder


def picture(height: int, width: int, mode: str = "L") -> bytes:
    """A PNG with a sine pattern."""
    channels = {"L": 1, "RGB": 3}[mode]
    levels = np.rint(127.5 * (1 + np.sin(np.arange(height * width * channels) * 0.7))).astype(np.uint8)
    shape = (height, width) if channels == 1 else (height, width, channels)
    buffer = io.BytesIO()
    Image.fromarray(levels.reshape(shape)).save(buffer, "PNG")
    return buffer.getvalue()
