"""Contracts, tokenizers, pictures and networks small enough to check by hand."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from headstart.contract import files
from headstart.contract.spec import CHANNELS, Contract, ImageSpec, TextSpec
from headstart.determinism import digest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a"]
LABELS = ("negative", "positive")


def tokenizer_json(*, baked: bool = False) -> str:
    """Lower-cased words by their place in `WORDS`, between [CLS] and [SEP]; `baked` fixes every text to 12 tokens."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    if baked:
        tokenizer.enable_truncation(12)
        tokenizer.enable_padding(length=12)
    return str(tokenizer.to_str())


def text_spec(tokenizer: str, **changes: Any) -> TextSpec:
    values: dict[str, Any] = {
        "max_tokens": 6,
        "max_characters": 100,
        "pad_id": 0,
        "pad_token": "[PAD]",
        "truncation_side": "right",
        "tokenizer_sha256": digest(tokenizer),
    }
    return TextSpec(**{**values, **changes})


def image_spec(mode: Any = "RGB", **changes: Any) -> ImageSpec:
    """Levels come out as they are: no rescaling, no normalising."""
    values: dict[str, Any] = {
        "mode": mode,
        "resize": "stretch",
        "height": 4,
        "width": 4,
        "shortest_edge": None,
        "resample": "bilinear",
        "crop": None,
        "rescale": 1.0,
        "mean": (0.0,) * CHANNELS[mode],
        "std": (1.0,) * CHANNELS[mode],
        "max_pixels": 1_000_000,
        "max_bytes": 1_000_000,
    }
    return ImageSpec(**{**values, **changes})


def text_contract(folder: Path, **changes: Any) -> Path:
    tokenizer = tokenizer_json(baked=True)
    contract = Contract("text", text_spec(tokenizer, **changes), LABELS)
    files.write(folder, contract, tokenizer_json=tokenizer)
    return folder


def image_contract(folder: Path, mode: Any = "L", **changes: Any) -> Path:
    files.write(folder, Contract("image", image_spec(mode, **changes), LABELS), tokenizer_json=None)
    return folder


def levels(height: int, width: int, channels: int = 3, *, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def picture(array: NDArray[Any]) -> Image.Image:
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def text_model(path: Path) -> Path:
    """Features: how many `good` and how many `bad` a text has; logits: bad - good, good - bad."""
    nodes = [
        *(helper.make_node("Equal", ["input_ids", name], [f"is_{name}"]) for name in ("good", "bad")),
        *(helper.make_node("Cast", [f"is_{name}"], [f"as_{name}"], to=TensorProto.INT64) for name in ("good", "bad")),
        *(helper.make_node("Mul", [f"as_{n}", "attention_mask"], [f"seen_{n}"]) for n in ("good", "bad")),
        *(helper.make_node("ReduceSum", [f"seen_{n}", "axis"], [f"count_{n}"], keepdims=1) for n in ("good", "bad")),
        helper.make_node("Concat", ["count_good", "count_bad"], ["counts"], axis=1),
        helper.make_node("Cast", ["counts"], ["features"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"])
        for n in ("input_ids", "attention_mask")
    ]
    constants = [
        helper.make_tensor("good", TensorProto.INT64, [], [WORDS.index("good")]),
        helper.make_tensor("bad", TensorProto.INT64, [], [WORDS.index("bad")]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("weight", TensorProto.FLOAT, [2, 2], [-1, 1, 1, -1]),
    ]
    return _save(path, nodes, inputs, constants, width=2)


def image_model(path: Path, *, classes: int = 2) -> Path:
    """Features: the mean level; logits: minus that, and that (and that again for more classes)."""
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 1, 4, 4])]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        helper.make_tensor("weight", TensorProto.FLOAT, [1, classes], [-1, *[1] * (classes - 1)]),
    ]
    return _save(path, nodes, inputs, constants, width=1, classes=classes)


def _save(path: Path, nodes: Any, inputs: Any, constants: Any, *, width: int, classes: int = 2) -> Path:
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def document(path: Path) -> Any:
    return json.loads(path.read_text())
