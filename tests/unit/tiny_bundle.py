"""Bundles of a few hundred bytes whose answers can be worked out by hand.

Text: `good` and `bad` pull to their own class; with one of them the logits are (4, 0) or (0, 4).
Image: grey squares; bright ones are `light`, dark ones `dark`.
"""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from headstart import bundle, profile
from headstart.contract import files, spec
from headstart.data.dataset import Dataset
from headstart.determinism import digest
from headstart.evaluation import golden
from headstart.params.section import Modality
from headstart.predictor import Predictor

WORDS = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}


def kept(bundle_: Path, modality: Modality, run_id: str) -> tuple[str, None]:
    """Stands in for `shipping.upload`, which takes seconds: a copy where an embedded registry would have it."""
    copy = bundle_.resolve().with_name(f"{bundle_.name}-kept")
    shutil.copytree(bundle_, copy / "artifacts/bundle", dirs_exist_ok=True)
    return f"file://{copy}", None


def text_bundle(folder: Path, *, temperature: float = 1.0, vote: float = 4.0) -> Path:
    """A sealed text bundle with labels `negative`, `positive`; another `temperature` is another bundle."""
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer_json = tokenizer.to_str()
    form = spec.TextSpec(8, 200, 0, "[PAD]", "right", digest(tokenizer_json))
    parts = folder.with_name(f"{folder.name}-parts")
    files.write(parts, spec.Contract("text", form, ("negative", "positive")), tokenizer_json=tokenizer_json)
    votes = np.array([[0, 0], [0, 0], [0, vote], [vote, 0]], dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["votes", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["each", "column"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "middle"], ["features"], keepdims=0),
        helper.make_node("Identity", ["features"], ["logits"]),
    ]
    constants = {"votes": votes, "last": np.array([2]), "middle": np.array([1])}
    shape = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("input_ids", "attention_mask")]
    golden_texts = ["good", "bad", "a good day"]
    return _seal(folder, parts, _model(nodes, constants, inputs), "text", golden_texts, temperature)


def image_bundle(folder: Path) -> Path:
    """A sealed image bundle with labels `dark`, `light`: grey pictures, stretched to 4 by 4."""
    form = spec.ImageSpec("L", "stretch", 4, 4, None, "bilinear", None, 1 / 255, (0.5,), (1.0,), 10_000, 100_000)
    parts = folder.with_name(f"{folder.name}-parts")
    files.write(parts, spec.Contract("image", form, ("dark", "light")), tokenizer_json=None)
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values", "sides"], ["features"], keepdims=0),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
    ]
    constants = {"sides": np.array([2, 3]), "weight": np.array([[-4.0, 4.0]], dtype=np.float32)}
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 1, 4, 4])]
    return _seal(folder, parts, _model(nodes, constants, inputs), "image", [grey(0), grey(255)], 1.0)


def grey(level: int) -> bytes:
    """A PNG of 8 by 8, one level throughout."""
    file = io.BytesIO()
    Image.new("L", (8, 8), level).save(file, "PNG")
    return file.getvalue()


def _model(nodes: list, constants: dict, inputs: list) -> bytes:
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("logits", 2), ("features", 2 if len(inputs) == 2 else 1))
    ]
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _seal(folder: Path, parts: Path, model: bytes, modality: Modality, inputs: list, temperature: float) -> Path:
    """Golden answers and profile are the network's own, as the stage `seal` has them."""
    calibration = bundle.Calibration(temperature, (0.0, 0.0), 0.0)
    (parts / "model.onnx").write_bytes(model)
    predictor = Predictor.open(model=parts / "model.onnx", contract=parts, calibration=calibration)
    logits, features, _ = predictor.outputs(inputs)
    answers, nothing = predictor.predictions(logits), [None] * len(inputs)
    truth, ids = [answer.label for answer in answers], [f"g{number}" for number in range(len(inputs))]
    golden.write(parts, Dataset(modality, ids, truth, inputs, nothing, nothing), answers)
    properties = predictor.preprocessor.properties(inputs)
    seen = profile.build(answers, truth, properties, predictor.labels, features=features, seed=0, rows=100)
    profile.write(parts, seen)
    files: dict[str, Path | bytes] = {path.name: path for path in parts.iterdir()}
    files["calibration.json"] = json.dumps(calibration.document()).encode()
    bundle.seal(folder, files)
    return folder


def permute_labels(folder: Path) -> None:
    """Turn the labels of a sealed bundle round and seal it again: a wrong model with an intact manifest."""
    contract = spec.read(folder)
    turned = replace(contract, labels=contract.labels[::-1])
    (folder / "contract.json").write_text(json.dumps(turned.document()))
    bundle.seal(folder, {})
