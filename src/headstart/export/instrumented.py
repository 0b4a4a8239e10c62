"""A network with BatchNorm becomes `batchnorm.onnx`: `batchnorm.instrumented` says what for.

Statistics are inputs of the graph, which keeps torch and onnxruntime from folding a BatchNorm into the layer before.
What a layer reads is keyed by its name, since layers are called in another order than they are listed in.
"""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart import artifacts
from headstart.backbones import batchnorm
from headstart.backbones.network import Network
from headstart.batchnorm.instrumented import CONSTANT, INPUTS, LAYERS, MEAN, OUTPUTS, SERVED, STORED, VARIANCE
from headstart.data.cures import BatchNorm
from headstart.determinism import digest
from headstart.export import graph
from headstart.layer_statistics import Layers, Statistics


def export(network: Network, path: Path, opset: int) -> Layers | None:
    """Write the instrumented `network`, as trained, to `path`; None, and no file, where it has no BatchNorm.

    Args:
        network: of images, in evaluation mode.
        path: the file.
        opset: version of ONNX's operators.

    Raises:
        OutsideError: if torch cannot express the network in ONNX.
    """
    found = layers(network)
    if found is None:
        return None
    tapped = _Tapped(network, found)
    stored = statistics(network, found)
    vectors = [torch.from_numpy(values.astype(np.float32)) for values in (stored.mean, stored.variance)]
    others = [vector + 1 for vector in vectors]  # the same tensors again would become one input
    try:
        model = graph.exported(tapped, network, INPUTS, OUTPUTS, opset, vectors=[*vectors, *others, torch.zeros(1)])
    finally:
        tapped.remove()
    for names in (STORED, SERVED):
        for name, values in zip(names, vectors, strict=True):
            _give(model, name, values.numpy())
    described = {**asdict(found), "network": digest_of(network)}
    graph.clear_metadata(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = LAYERS, json.dumps(described)
    with artifacts.replaced(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return found


def serve(path: Path, statistics: Statistics) -> None:
    """Say in the instrumented file that the network is served with other statistics than it was trained with."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    constants = {each.name: each for each in model.graph.initializer}
    for name, values in zip(SERVED, (statistics.mean, statistics.variance), strict=True):
        constant = constants[f"{CONSTANT}{name}"]
        constant.CopyFrom(numpy_helper.from_array(values.astype(np.float32), constant.name))
    with artifacts.replaced(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def layers(network: Network) -> Layers | None:
    """The BatchNorms that keep statistics, in the order in which an image passes them; None where there are none."""
    if network.shape is None:
        return None
    called = list(_kept(network))
    if not called:
        return None
    order: list[str] = []
    hooks = [
        network.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: order.append(name))
        for name in called
    ]
    with torch.no_grad():
        network(pixel_values=torch.zeros(1, *network.shape))
    for hook in hooks:
        hook.remove()
    names = tuple(dict.fromkeys(order))
    norms: list[Any] = [network.get_submodule(name) for name in names]
    return Layers(names, tuple(norm.num_features for norm in norms), tuple(float(norm.eps) for norm in norms))


def statistics(network: Network, found: Layers) -> Statistics:
    """What the network's BatchNorms normalise by."""
    norms: list[Any] = [network.get_submodule(name) for name in found.names]
    mean, variance = (torch.cat([getattr(norm, kind) for norm in norms]) for kind in (MEAN, VARIANCE))
    return Statistics(mean.double().cpu().numpy(), variance.double().cpu().numpy())


def digest_of(network: Network) -> str:
    """SHA-256 of the network's weights without BatchNorm's statistics: what a cure is made for."""
    return digest(
        [
            [name, digest(values.detach().cpu().contiguous().numpy().tobytes())]
            for name, values in sorted(network.state_dict().items())
            if name.rpartition(".")[2] not in (MEAN, VARIANCE, "num_batches_tracked")
        ]
    )


def cured(network: Network, cure: BatchNorm | None) -> bool:
    """Put a cure's statistics into the network, in place; whether that was done.

    A cure of another network is left out: the model was trained again since it was made.
    """
    if cure is None or cure.network != digest_of(network):
        return False
    state = network.state_dict()
    with torch.no_grad():
        for name, values in cure.tensors.items():
            state[name].copy_(torch.as_tensor(values))
    return True


class _Tapped(nn.Module):
    """The network under given statistics, with the moments of each BatchNorm's input, by image, as outputs."""

    def __init__(self, network: Network, found: Layers) -> None:
        super().__init__()
        self.network, self.found = network, found
        self._seen: dict[str, tuple[Tensor, Tensor]] = {}
        self._given: dict[str, list[Tensor]] = {}
        self._adapt = torch.zeros(1)
        for name in found.names:
            norm = network.get_submodule(name)
            vars(norm)["forward"] = partial(self._normalised, name, norm)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        images, *vectors, self._adapt = inputs
        parts = [torch.split(vector, list(self.found.widths)) for vector in vectors]
        self._given = {name: [part[place] for part in parts] for place, name in enumerate(self.found.names)}
        self._seen.clear()
        outputs = self.network(pixel_values=images)
        moments = [torch.cat([self._seen[name][place] for name in self.found.names], dim=1) for place in range(2)]
        return outputs["logits"], outputs["features"], *moments

    def remove(self) -> None:
        """Give the network its own BatchNorms back."""
        for name in self.found.names:
            vars(self.network.get_submodule(name)).pop("forward", None)

    def _normalised(self, name: str, norm: Any, values: Tensor) -> Tensor:
        """What the layer answers; see `batchnorm.recalibration.aligned` for what adapting does."""
        positions = values.flatten(2) if values.dim() > 2 else values.unsqueeze(2)  # (n, channels, positions)
        means, squares = positions.mean(dim=2), positions.square().mean(dim=2)
        self._seen[name] = (means, squares)
        mean, variance, known_mean, known_variance = self._given[name]
        own = means.mean(dim=0)
        ratio = ((squares.mean(dim=0) - own.square()).clamp(min=0.0) + norm.eps) / (known_variance + norm.eps)
        aligned = own + (mean - known_mean) * ratio.sqrt()
        spread = ((variance + norm.eps) * ratio - norm.eps).clamp(min=0.0)
        mean = mean + self._adapt * (aligned - mean)
        variance = variance + self._adapt * (spread - variance)
        return nn.functional.batch_norm(values, mean, variance, norm.weight, norm.bias, False, 0.0, norm.eps)


def _kept(network: Network) -> list[str]:
    known = {id(norm) for norm in batchnorm.norms([network]) if norm.running_mean is not None}
    return [name for name, module in network.named_modules() if id(module) in known]


def _give(model: Any, name: str, values: NDArray[np.float32]) -> None:
    """Let the graph give a constant out."""
    from onnx import TensorProto, helper, numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(values, f"{CONSTANT}{name}"))
    model.graph.node.append(helper.make_node("Identity", [f"{CONSTANT}{name}"], [name]))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(values.shape)))
