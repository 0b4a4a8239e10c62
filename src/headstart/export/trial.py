"""Whether a stored backbone can be served, tried before anything is trained: its contract, and an export of few layers.

What it computes from made-up inputs goes the whole way: the contract is made and compared with the backbone's own
processor, a copy with random weights and one block is exported, and the file is held against the copy. It takes
seconds; training, after which the same faults would show, takes minutes to hours.
"""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from headstart.backbones import compatibility, depth, processor
from headstart.backbones.checkpoint import FAILURES
from headstart.backbones.network import Network
from headstart.contract import agreement
from headstart.contract.files import write
from headstart.contract.spec import Contract, ImageSpec
from headstart.errors import BackboneError, BundleError, OutsideError
from headstart.export import graph, parity
from headstart.findings import Finding
from headstart.params.prepare import Limits
from headstart.params.section import Modality
from headstart.predictor import UNANSWERED, Preprocessor

LIMITS = Limits(tokens=64, characters=10_000, pixels=10**7, megabytes=10)
LOGIT_DIFFERENCE = 1e-3  # as the gate `parity` allows
LABELS = ("a", "b")
TEXTS = (
    "The train is late again.",
    "Rain",
    "My card was charged twice for the same order, and nobody answers my letters.",
    "Snow fell on the hills all night; in the morning the road to the village was closed. " * 3,
    "It works as described, and it was delivered in two days!",
)
SIZES = ((48, 48), (300, 200), (180, 420), (33, 97), (256, 256))  # height and width: upright, wide, small, square


def run(folder: Path) -> None:
    """Raise unless the backbone can be prepared for, exported and served.

    Args:
        folder: a stored backbone.

    Raises:
        BackboneError: if its contract gives other numbers than its own processor, torch can't express it in ONNX, or
            the exported file answers otherwise.
    """
    spec, tokenizer_json = processor.input_spec(folder, LIMITS)
    raw: Sequence[Any] = _pictures(spec) if isinstance(spec, ImageSpec) else TEXTS
    with tempfile.TemporaryDirectory() as temporary:
        contract, model = Path(temporary) / "contract", Path(temporary) / "model.onnx"
        modality: Modality = "image" if isinstance(spec, ImageSpec) else "text"
        write(contract, Contract(modality, spec, LABELS), tokenizer_json=tokenizer_json)
        _compare(folder, spec, contract, raw)
        _export(folder, contract, model, raw)


def _compare(folder: Path, spec: Any, contract: Path, raw: Sequence[Any]) -> None:
    """Raise if the contract and the backbone's own processor make different numbers of the same input."""
    ours = Preprocessor.load(contract).prepare(raw)
    try:
        theirs = processor.reference(folder, LIMITS)(raw)
    except FAILURES as error:
        raise BackboneError(
            f"the processor of {folder} can't prepare an example: {type(error).__name__}: {error}",
            action="Check its processor files.",
        ) from error
    finding = agreement.compare(ours, theirs, agreement.tolerance(spec))
    if finding.verdict == "pass":
        return
    if not isinstance(spec, ImageSpec):
        raise BackboneError(
            f"the tokenizer of {folder} gives other ids in transformers than its tokenizer.json gives by itself: "
            f"{_differs(finding)}",
            action="Save the checkpoint's fast tokenizer again (AutoTokenizer.from_pretrained(…).save_pretrained(…)).",
        )
    kind = type(processor.load_processor(folder)).__name__.removesuffix("Pil")
    raise BackboneError(
        f"{kind} ({folder / processor.PROCESSOR_FILE}) does something that its size, crop, scale and normalisation do "
        f"not say, and a contract has no word for it: {_differs(finding)}",
        action="Use a backbone whose processor only resizes, crops from the middle, rescales and normalises.",
    )


def _differs(finding: Finding) -> str:
    found = finding.evidence
    if found["shapes"]:
        ours, theirs = (tuple(shape) for shape in found["shapes"])
        return f"input {found['worst']} becomes {ours} here and {theirs} there."
    return f"{found['count']} of {found['inputs']} inputs differ, by {finding.statistic:.3g} at most."


def _export(folder: Path, contract: Path, model: Path, raw: Sequence[Any]) -> None:
    """Raise if a small copy can't be exported, or its file answers otherwise than it does."""
    network = _small(folder)
    kind = network.backbone.config.model_type
    try:
        graph.export(network, network.modality, model, graph.OPSET)
    except OutsideError as error:
        raise BackboneError(f"{kind} can't be served: {error.message}", action=compatibility.ENCODERS) from error
    try:
        found = parity.check(network, model, contract, raw)
    except (BundleError, *UNANSWERED, *FAILURES) as error:
        raise BackboneError(
            f"{kind} can't be served: the file that torch exports does not run on every batch: "
            f"{' '.join(str(error).split())[:300]}",
            action=compatibility.ENCODERS,
        ) from error
    left = {name: count for name, count in found["graph"].items() if count}
    worst = max(found["max_difference"], found["batch_difference"])
    if left or not worst <= LOGIT_DIFFERENCE:
        told = f"its logits differ by {worst:.2g} ({LOGIT_DIFFERENCE:g} is allowed)"
        if left:
            nodes = ", ".join(f"{count} {name}" for name, count in left.items())
            told = f"it holds nodes that belong to training: {nodes}"
        raise BackboneError(
            f"{kind} can't be served: the file that torch exports answers otherwise than the network; {told}.",
            action=compatibility.ENCODERS,
        )


def _small(folder: Path) -> Network:
    """The backbone with its lowest block alone, where it can be cut there, under a head that is no constant."""
    network = Network.from_backbone(folder, len(LABELS), dropout=0.0)
    if depth.can_end_at(network.backbone, 1):
        shape = network.shape
        with torch.random.fork_rng(devices=[]):
            network = Network(depth.lowest(network.backbone, 1), len(LABELS), dropout=0.0, shape=shape).eval()
    weight = np.sin(np.arange(len(LABELS) * network.hidden_size)).reshape(len(LABELS), network.hidden_size)
    network.set_head(weight / np.sqrt(network.hidden_size), np.zeros(len(LABELS)))
    return network


def _pictures(spec: ImageSpec) -> list[bytes]:
    """PNG files of smooth noise in several shapes: edges where a filter shows, colours that differ by channel."""
    generator = np.random.default_rng(0)
    files = []
    for height, width in SIZES:
        coarse = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, spec.channels), dtype=np.uint8)
        levels = coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
        stream = io.BytesIO()
        Image.fromarray(levels if spec.channels == 3 else levels[:, :, 0]).save(stream, "PNG")
        files.append(stream.getvalue())
    return files
