"""Faults of an exported network; each changes the folder that the stage `export` wrote."""

from pathlib import Path

import numpy as np

from headstart.batchnorm.instrumented import CONSTANT, GRAPH, INPUTS, STORED
from headstart.bundle import MODEL

OUTPUTS = ("logits", "features")


def training_mode(folder: Path) -> None:
    """`model.onnx` normalises by the statistics of the batch it is given, as a network does that is not in evaluation.

    Raises:
        ValueError: if the network has no BatchNorm.
    """
    import onnx
    from onnx import numpy_helper

    if not (folder / GRAPH).is_file():
        raise ValueError(f"{folder} has no {GRAPH}: its network has no BatchNorm")
    model = onnx.load(folder / GRAPH)
    graph = model.graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    stored = [constants[f"{CONSTANT}{name}"] for name in STORED]
    for name, values in zip(INPUTS[1:], [*stored, *stored, np.ones(1, dtype=np.float32)], strict=True):
        graph.initializer.append(numpy_helper.from_array(values, name))  # aligned with themselves: the batch's own
    for kept, values in ((INPUTS[:1], graph.input), (OUTPUTS, graph.output)):
        for each in [each for each in values if each.name not in kept]:
            values.remove(each)
    (folder / MODEL).write_bytes(model.SerializeToString(deterministic=True))
