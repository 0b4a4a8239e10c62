"""A network becomes `model.onnx`: batches of any size (and length) in, logits and features out, float32.

A network without BatchNorm also gives the moments of what enters its first and its last block: monitors compare them
with those of the reference. They cost next to nothing beside the blocks themselves.

The exporter writes stack traces with absolute paths into the file's metadata; they are cleared, so that the same
network gives the same bytes in any folder. Nothing of training may be left in the graph: `leftovers` counts it.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart import artifacts
from headstart.backbones import batchnorm, layers
from headstart.backbones.checkpoint import FAILURES
from headstart.backbones.network import Network
from headstart.errors import BackboneError, OutsideError
from headstart.layer_statistics import LAYERS, Layers
from headstart.params.section import Modality

OPSET = 20  # of ONNX; what can be expressed hardly differs between versions

INPUTS: dict[Modality, tuple[str, ...]] = {"text": ("input_ids", "attention_mask"), "image": ("pixel_values",)}
OUTPUTS = ("logits", "features")
MOMENTS = "moments"
EPSILON = 1e-5  # added to variances that are compared, as a LayerNorm adds it
BATCH_LIMIT = 4096
ANY_LENGTH = 4096  # tokens, where the network sets no limit
RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
TRAINING_MODE_INPUT = 2


def export(network: Network, modality: Modality, path: Path, opset: int) -> None:
    """Write `network` to `path` as one ONNX file, whole or not at all.

    Args:
        network: in evaluation mode.
        modality: decides the inputs' names.
        path: the file.
        opset: version of ONNX's operators.

    Raises:
        BackboneError: if any part of the network is in training mode: its dropout would be exported as random
            answers, its BatchNorm as the batch's own statistics.
        OutsideError: if torch cannot express the network in ONNX.
    """
    if training := [name or "the network" for name, module in network.named_modules() if module.training]:
        raise BackboneError(
            f"{len(training)} modules are in training mode, first {training[0]}: an export of them answers at random.",
            action="Call network.eval() before the export.",
        )
    entered = block_inputs(network)
    outputs = (*OUTPUTS, MOMENTS) if entered else OUTPUTS
    wrapped = _Positional(network, INPUTS[modality], tuple(entered.values()))
    model = exported(wrapped, network, INPUTS[modality], outputs, opset)
    clear_metadata(model)
    if entered:
        widths = tuple(width for _, width in entered.values())
        described = Layers(tuple(entered), widths, (EPSILON,) * len(entered), kind="blocks")
        entry = model.metadata_props.add()
        entry.key, entry.value = LAYERS, json.dumps(asdict(described))
    with artifacts.replaced(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def leftovers(path: Path) -> dict[str, int]:
    """How many nodes of a file belong to training: `dropout`, `batchnorm_training`, `random_ops`.

    Dropout counts where its third input says that it is active, BatchNorm where it is not fed by constants or
    gives statistics out. Nodes inside functions and subgraphs count too.
    """
    import onnx

    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    counts = {"dropout": 0, "batchnorm_training": 0, "random_ops": 0}
    for node in _nodes(model):
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
    for node in _nodes(model):
        counts["random_ops"] += node.op_type in RANDOM
        counts["dropout"] += node.op_type == "Dropout" and _drops(node, constants)
        counts["batchnorm_training"] += node.op_type == "BatchNormalization" and _learns(node, constants)
    return counts


def block_inputs(network: Network) -> dict[str, tuple[str, int]]:
    """First and last block of a network without BatchNorm: the layer group whose output enters each, and its width.

    Empty where the network has BatchNorms, whose inputs are measured instead (`export.instrumented`), or fewer than two
    layer groups that give one vector a token, or a map.
    """
    if any(norm.running_mean is not None for norm in batchnorm.norms([network])):
        return {}
    inputs = dict(zip(INPUTS[network.modality], _examples(network), strict=True))
    with torch.no_grad():
        _, outputs = network.traced(**inputs)
    groups = [group.name for group in layers.groups(network)[:-1]]  # without the head
    following = dict(pairwise(groups))
    measurable = [name for name in following if name in outputs and _is_measurable(outputs[name], inputs)]
    found = dict.fromkeys(measurable[:1] + measurable[-1:])
    return {following[name]: (name, outputs[name].shape[1 if outputs[name].dim() == 4 else -1]) for name in found}


class _Positional(nn.Module):
    """The network with inputs by position and outputs as a tuple, as the exporter wants them."""

    def __init__(self, network: Network, names: tuple[str, ...], entered: tuple[tuple[str, int], ...]) -> None:
        super().__init__()
        self.network, self.names, self.entered = network, names, entered

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.names, inputs, strict=True))
        if not self.entered:
            outputs = self.network(**named)
            return tuple(outputs[name] for name in OUTPUTS)
        outputs, found = self.network.traced(**named)
        mask = named.get("attention_mask")
        moments = [_moments(found[group], mask) for group, _ in self.entered]
        return *(outputs[name] for name in OUTPUTS), torch.cat(moments, dim=2)


def _is_measurable(values: Tensor, inputs: Mapping[str, Tensor]) -> bool:
    """Whether a layer gives one vector for each token of a text, or patches or a map of each image."""
    ids = inputs.get("input_ids")
    if ids is not None:
        return values.dim() == 3 and values.shape[:2] == ids.shape
    return values.dim() in (3, 4) and len(values) == len(inputs["pixel_values"])


def _moments(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean and mean square of each channel over an input's tokens or positions, `(n, 2, channels)`; padding is none."""
    if values.dim() == 4:
        values = values.flatten(2).transpose(1, 2)  # (n, positions, channels)
    if mask is None:
        return torch.stack([values.mean(dim=1), values.square().mean(dim=1)], dim=1)
    kept = mask.to(values.dtype)
    weights = (kept / kept.sum(dim=1, keepdim=True).clamp(min=1.0)).unsqueeze(1)  # (n, 1, tokens)
    return torch.cat([weights @ values, weights @ values.square()], dim=1)


def exported(
    wrapped: nn.Module,
    network: Network,
    names: tuple[str, ...],
    outputs: tuple[str, ...],
    opset: int,
    *,
    vectors: Sequence[Tensor] = (),
) -> Any:
    """The model in memory of a module that takes the network's inputs by position and gives a tuple.

    Args:
        wrapped: takes the network's inputs, then `vectors`.
        network: whose inputs these are.
        names: of the inputs, those of `vectors` last.
        outputs: names of what the module gives.
        opset: version of ONNX's operators.
        vectors: examples of more inputs, whose shapes stay.

    Raises:
        OutsideError: if torch cannot express it in ONNX.
    """
    batch = torch.export.Dim("batch", min=1, max=BATCH_LIMIT)
    examples = (*_examples(network), *vectors)
    if network.shape is None:
        claim = getattr(network.backbone.config, "max_position_embeddings", None)  # XLNet's is -1: no limit
        most = claim if isinstance(claim, int) and claim > 0 else ANY_LENGTH
        length = torch.export.Dim("sequence", min=1, max=most)
        shapes: Any = ({0: batch, 1: length},) * 2
    else:
        shapes = ({0: batch}, *({} for _ in vectors))
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                wrapped.eval(),
                examples,
                dynamo=True,
                dynamic_shapes=(shapes,),
                input_names=list(names),
                output_names=list(outputs),
                opset_version=opset,
                optimize=True,
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, *FAILURES) as error:
            kind = network.backbone.config.model_type
            raise OutsideError(
                f"torch cannot express {kind} in ONNX: {_cause(error)}",
                action="Try another version of torch, or another backbone.",
            ) from error
    assert program is not None  # with dynamo=True the exporter always returns its program
    return program.model_proto


def _cause(error: BaseException) -> str:
    """What stopped the exporter, in a line: its own error is advice, the one it was raised from says what happened."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"{type(error).__name__}: {line[:200]}"


def _examples(network: Network) -> tuple[Tensor, ...]:
    """Two inputs by formula: texts, one of them padded, or images of noise."""
    if network.shape is not None:
        return (_images(network.shape),)
    ids = torch.arange(14).reshape(2, 7) % network.backbone.config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return ids, mask


def _images(shape: tuple[int, int, int]) -> Tensor:
    """Two images of noise by formula."""
    values = np.sin(np.arange(2 * np.prod(shape), dtype=np.float64)).astype(np.float32)
    return torch.from_numpy(values).reshape(2, *shape)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's prints, and what it logs and writes out when it fails (whole graphs), kept off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def clear_metadata(model: Any) -> None:
    """Drop stack traces, paths and documentation from graphs, nodes, values and functions."""
    del model.metadata_props[:]
    model.doc_string = ""
    for graph in _graphs(model):
        _clear(graph)
        for node in graph.node:
            _clear(node)
        for values in ("input", "output", "value_info", "initializer"):
            for value in getattr(graph, values, ()):
                if hasattr(value, "metadata_props"):
                    _clear(value)


def _clear(part: Any) -> None:
    del part.metadata_props[:]
    part.doc_string = ""


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, its functions, and the graphs inside their nodes."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += list(attribute.graphs)


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.node


def _drops(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a Dropout is active: its training mode is a constant True, or not known before it runs."""
    from onnx import numpy_helper

    if len(node.input) <= TRAINING_MODE_INPUT or not node.input[TRAINING_MODE_INPUT]:
        return False
    mode = constants.get(node.input[TRAINING_MODE_INPUT])
    return mode is None or bool(numpy_helper.to_array(mode))


def _learns(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a BatchNormalization uses or gives out the statistics of its batch."""
    mode = any(each.name == "training_mode" and each.i for each in node.attribute)
    fed = all(name in constants for name in node.input[3:5])
    return mode or len([name for name in node.output if name]) > 1 or not fed
