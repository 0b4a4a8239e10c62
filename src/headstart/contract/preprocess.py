"""`preprocess.onnx`: one decoded picture of any size in, one float tensor out; authored from the contract's values.

    image (height, width, channels) uint8 ─ resize ─ crop ─ channels first ─ flip ─ rescale ─ normalise ─► pixel_values

The resize is Pillow's, as the backbone saw it when it was trained (`contract.resize`); the crop is that of
transformers' image processors.
"""

import onnx
from onnx import helper

from headstart.contract.graph import FLOAT, UINT8, Graph
from headstart.contract.resize import Window, resize
from headstart.contract.spec import ImageSpec

OPSET = 20
IR_VERSION = 10
INPUT = "image"
OUTPUT = "pixel_values"


def author(spec: ImageSpec) -> onnx.ModelProto:
    """The graph for `spec`; the same values give the same bytes.

    Input `image`: uint8 `(height, width, channels)`, at least 1 x 1. Output `pixel_values`: float32
    `(channels, height, width)` of `spec.shape`.
    """
    graph = Graph()
    window = _window(graph, spec)
    if spec.resize == "none":
        end = graph.add("Add", window.start, window.count)
        part = graph.add("Slice", INPUT, window.start, end, graph.ints(0, 1))
    else:
        part = resize(graph, INPUT, window, spec.channels, spec.resample)
    image = part if spec.crop is None else _filled(graph, part, window.count, spec.crop)
    planes = graph.cast(graph.add("Transpose", image, perm=[2, 0, 1]), FLOAT)
    if spec.flip_channels:
        planes = graph.add("Gather", planes, graph.ints(*reversed(range(spec.channels))), axis=0)
    shape = (spec.channels, 1, 1)
    centred = graph.add(
        "Sub", graph.add("Mul", planes, graph.floats(spec.rescale)), graph.floats(*spec.mean, shape=shape)
    )
    graph.add("Div", centred, graph.floats(*spec.std, shape=shape), name=OUTPUT)
    body = helper.make_graph(
        graph.nodes,
        "preprocess",
        [helper.make_tensor_value_info(INPUT, UINT8, ["height", "width", spec.channels])],
        [helper.make_tensor_value_info(OUTPUT, FLOAT, list(spec.shape))],
        initializer=graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name="headstart")
    onnx.checker.check_model(model)
    return model


def _window(graph: Graph, spec: ImageSpec) -> Window:
    """The sizes before and after the resize, the shorter side exactly, and the middle."""
    old = graph.add("Shape", INPUT, start=0, end=2)
    if spec.resize == "stretch":
        new = graph.ints(spec.height, spec.width)
    elif spec.shortest_edge is not None:
        short = graph.add("ReduceMin", old, keepdims=1)
        new = graph.add("Div", graph.add("Mul", old, graph.ints(spec.shortest_edge)), short)
    else:
        new = old
    count = new if spec.crop is None else graph.add("Min", new, graph.ints(*spec.crop))
    start = graph.add("Div", graph.add("Sub", new, count), graph.ints(2))
    return Window(old, new, start, count)


def _filled(graph: Graph, image: str, size: str, crop: tuple[int, int]) -> str:
    """Black around a picture smaller than the crop, the larger half before it."""
    lacking = graph.add("Sub", graph.ints(*crop), size)
    after = graph.add("Div", lacking, graph.ints(2))
    pads = graph.add("Concat", graph.add("Sub", lacking, after), after, axis=0)
    return graph.add("Pad", image, pads, "", graph.ints(0, 1))
