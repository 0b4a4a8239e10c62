"""`preprocess.onnx`: one decoded picture of any size in, one float tensor out; authored from the contract's values.

    image (height, width, channels) uint8 ─ resize ─ crop ─ channels first ─ flip ─ rescale ─ normalise ─► pixel_values

The crop is that of transformers' image processors. The resize is Pillow's bit for bit, as the backbone saw it when it
was trained. ONNX's own `Resize` computes the same filter in single precision: its weights differ in the sixth digit,
and where a value falls between two levels, as it often does at 256 -> 224, up to a quarter of the pixels round the
other way, some by two levels. So Pillow's arithmetic is written out: weights in double precision, then in whole numbers
of 1 / 2**22; one pass an axis, rounded to 8 bits after each; one loop step a tap, so that memory does not grow with the
filter. Only what a crop leaves is computed.

Source: Pillow 13, `Image.resize`, whose filters are those of `src/libImaging/Resample.c`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx
from onnx import TensorProto, helper

from headstart.contract.spec import ImageSpec, Resample

OPSET = 20
IR_VERSION = 10
INPUT = "image"
OUTPUT = "pixel_values"
PRECISION = 22
"""Bits after the point in Pillow's whole-number weights."""

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
UINT8, INT32, INT64 = TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64


class Graph:
    """An ONNX graph in the making: nodes and constants are added one at a time, each call names its result.

    >>> graph = Graph()
    >>> graph.add("Mul", "levels", graph.floats(1 / 255))
    'mul_1'
    """

    def __init__(self, prefix: str = "") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node; its result is called `name`, or after its kind."""
        result = name or self._name(kind.lower())
        self.nodes.append(helper.make_node(kind, list(inputs), [result], name=f"node_{result}", **attributes))
        return result

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self._constant(INT64, values, [len(values)])

    def whole(self, value: int, kind: int = INT64) -> str:
        """A constant whole number without dimensions."""
        return self._constant(kind, [value], [])

    def floats(self, *values: float, shape: Sequence[int] = ()) -> str:
        """A constant float32 tensor; a vector where no shape is given."""
        return self._constant(FLOAT, values, list(shape) or [len(values)])

    def double(self, value: float) -> str:
        """A constant float64 number without dimensions."""
        return self._constant(DOUBLE, [value], [])

    def cast(self, value: str, kind: int) -> str:
        """`value` as another type; towards zero where it becomes whole."""
        return self.add("Cast", value, to=kind)

    def item(self, vector: str, place: int) -> str:
        """One element of a vector, without dimensions."""
        return self.add("Gather", vector, self.whole(place))

    def _name(self, kind: str) -> str:
        return f"{self._prefix}{kind}_{len(self.nodes) + len(self.constants)}"

    def _constant(self, kind: int, values: Sequence[float], shape: Sequence[int]) -> str:
        name = self._name("constant")
        self.constants.append(helper.make_tensor(name, kind, shape, list(values)))
        return name


@dataclass(frozen=True)
class Window:
    """What is wanted of a resized picture; each value names an int64 pair, height before width.

    Attributes:
        old: the picture's size.
        new: its size once resized.
        start: the first line of each axis that is wanted.
        count: how many lines of each axis are wanted.
    """

    old: str
    new: str
    start: str
    count: str


@dataclass(frozen=True)
class _Taps:
    """How an axis is resized: for each tap and new line the old line read, and its weight."""

    sources: str  # int64 (taps, lines)
    weights: str  # int32 (taps, lines, 1)
    count: str  # int64 ()
    lines: str  # int64 ()


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


def resize(graph: Graph, image: str, window: Window, channels: int, resample: Resample) -> str:
    """Add the nodes that resize one picture.

    Args:
        graph: where they go.
        image: uint8 `(height, width, channels)`.
        window: the sizes, and the part that is wanted.
        channels: of the picture.
        resample: Pillow's filter of that name.

    Returns:
        The name of the wanted part, uint8 `(height, width, channels)`.
    """
    if resample == "nearest":
        return _nearest(graph, image, window)
    taps = []
    for axis in (0, 1):
        axis_taps = _taps(graph, window, axis, *FILTERS[resample])
        low = graph.add("ReduceMin", axis_taps.sources, keepdims=0)
        high = graph.add("Add", graph.add("ReduceMax", axis_taps.sources, keepdims=0), graph.whole(1))
        image = graph.add("Slice", image, _vector(graph, low), _vector(graph, high), graph.ints(axis))
        taps.append(replace(axis_taps, sources=graph.add("Sub", axis_taps.sources, low)))
    branches = {
        f"{name}_branch": _passes(f"{name}_{len(graph.nodes)}", image, taps, axes, channels)
        for name, axes in (("then", (0, 1)), ("else", (1, 0)))
    }
    return graph.add("If", _rows_first(graph, window), **branches)


def _rows_first(graph: Graph, window: Window) -> str:
    """Whether rows are resized before columns: they shrink by more than twice what columns shrink by.

    Rounding shows the order. The rule was found by trying both orders against Pillow 13 over thousands of shapes.
    """
    shrinks = graph.add("Max", graph.add("Sub", window.old, window.new), graph.ints(0, 0))
    doubled = graph.add("Mul", shrinks, graph.ints(1, 2))
    return graph.add("Greater", graph.item(doubled, 0), graph.item(doubled, 1))


def _passes(name: str, image: str, taps: Sequence[_Taps], axes: Sequence[int], channels: int) -> onnx.GraphProto:
    """Resize one axis, then the other, in the order of `axes`."""
    graph = Graph(f"{name}/")
    for axis in axes:
        turned = image if axis == 0 else graph.add("Transpose", image, perm=[1, 0, 2])
        flat = graph.add(
            "Reshape", turned, graph.add("Concat", graph.add("Shape", turned, start=0, end=1), graph.ints(-1), axis=0)
        )
        passed = _pass(graph, flat, taps[axis])
        lines = graph.add("Concat", _vector(graph, taps[axis].lines), graph.ints(-1, channels), axis=0)
        image = graph.add("Reshape", passed, lines)
        image = image if axis == 0 else graph.add("Transpose", image, perm=[1, 0, 2])
    output = helper.make_tensor_value_info(image, UINT8, [None, None, channels])
    return helper.make_graph(graph.nodes, name, [], [output], initializer=graph.constants)


def _pass(graph: Graph, matrix: str, taps: _Taps) -> str:
    """Resize the first axis of a uint8 matrix."""
    width = graph.add("Shape", matrix, start=1, end=2)
    half = graph.whole(1 << (PRECISION - 1), INT32)  # so that the division below rounds to nearest
    start = graph.add("Expand", half, graph.add("Concat", _vector(graph, taps.lines), width, axis=0))
    always = graph.cast(graph.whole(1), TensorProto.BOOL)
    total = graph.add("Loop", taps.count, always, start, body=_tap(f"{matrix}/tap", matrix, taps))
    levels = graph.add("Div", total, graph.whole(1 << PRECISION, INT32))
    return graph.cast(graph.add("Clip", levels, graph.whole(0, INT32), graph.whole(255, INT32)), UINT8)


def _tap(name: str, matrix: str, taps: _Taps) -> onnx.GraphProto:
    """One step of the loop: `total += matrix[sources[step]] * weights[step]`."""
    body = Graph(f"{name}/")
    step, going, before = f"{name}/step", f"{name}/going", f"{name}/before"
    lines = body.cast(body.add("Gather", matrix, body.add("Gather", taps.sources, step)), INT32)
    scaled = body.add("Mul", lines, body.add("Gather", taps.weights, step))
    goes, after = body.add("Identity", going), body.add("Add", before, scaled)
    value, flag = helper.make_tensor_value_info, TensorProto.BOOL
    inputs = [value(step, INT64, []), value(going, flag, []), value(before, INT32, [None, None])]
    outputs = [value(goes, flag, []), value(after, INT32, [None, None])]
    return helper.make_graph(body.nodes, name, inputs, outputs, initializer=body.constants)


def _taps(graph: Graph, window: Window, axis: int, reach: float, weight: Callable[[Graph, str], str]) -> _Taps:
    """The filter at each wanted line of an axis, widened by the factor the picture shrinks by.

    Weights outside the picture are left out, and the rest sums to one.
    """
    half, zero, one = graph.double(0.5), graph.whole(0), graph.whole(1)
    old, start, count = (graph.item(pair, axis) for pair in (window.old, window.start, window.count))
    scale = _ratio(graph, old, graph.item(window.new, axis))
    widening = graph.add("Max", scale, graph.double(1.0))
    support = graph.add("Mul", widening, graph.double(reach))
    lines = graph.cast(graph.add("Range", start, graph.add("Add", start, count), one), DOUBLE)
    centres = graph.add("Mul", graph.add("Add", lines, half), scale)  # (lines,)
    first = graph.cast(graph.add("Add", graph.add("Sub", centres, support), half), INT64)
    first = graph.add("Max", first, zero)
    end = graph.cast(graph.add("Add", graph.add("Add", centres, support), half), INT64)
    end = graph.add("Min", end, old)
    taps = graph.add("ReduceMax", graph.add("Sub", end, first), keepdims=0)
    steps = graph.add("Unsqueeze", graph.add("Range", zero, taps, one), graph.ints(1))  # (taps, 1)
    places = graph.add("Add", first, steps)  # (taps, lines)
    distance = graph.add("Add", graph.add("Sub", graph.cast(places, DOUBLE), centres), half)
    raw = weight(graph, graph.add("Mul", distance, graph.add("Div", graph.double(1.0), widening)))
    inside = graph.add("Where", graph.add("Less", places, end), raw, graph.double(0.0))
    share = graph.add("Div", inside, graph.add("ReduceSum", inside, graph.ints(0)))
    fixed = graph.add("Mul", share, graph.double(1 << PRECISION))
    away = graph.add("Mul", graph.add("Sign", fixed), half)  # rounds halves away from zero
    whole = graph.cast(graph.add("Add", fixed, away), INT32)
    last = graph.add("Sub", end, one)
    sources = graph.add("Min", places, last)  # beyond it the weight is 0
    return _Taps(sources, graph.add("Unsqueeze", whole, graph.ints(2)), taps, count)


def _bilinear(graph: Graph, x: str) -> str:
    """A triangle: `max(0, 1 - |x|)`."""
    return graph.add("Max", graph.add("Sub", graph.double(1.0), graph.add("Abs", x)), graph.double(0.0))


def _bicubic(graph: Graph, x: str) -> str:
    """Keys' cubic, a = -0.5: `((a + 2)|x| - (a + 3))|x|² + 1` within 1, `(((|x| - 5)|x| + 8)|x| - 4)a` within 2."""
    away, one, two = graph.add("Abs", x), graph.double(1.0), graph.double(2.0)

    def polynomial(*coefficients: float) -> str:
        value = graph.double(coefficients[0])
        for coefficient in coefficients[1:]:
            value = graph.add("Add", graph.add("Mul", value, away), graph.double(coefficient))
        return value

    inner = polynomial(1.5, -2.5, 0.0, 1.0)
    outer = graph.add("Mul", polynomial(1.0, -5.0, 8.0, -4.0), graph.double(-0.5))
    beyond = graph.add("Where", graph.add("Less", away, two), outer, graph.double(0.0))
    return graph.add("Where", graph.add("Less", away, one), inner, beyond)


def _lanczos(graph: Graph, x: str) -> str:
    """`sinc(x) sinc(x / 3)` within 3."""

    def sinc(value: str) -> str:
        angle = graph.add("Mul", value, graph.double(3.14159265358979323846))
        zero = graph.add("Equal", angle, graph.double(0.0))
        divisor = graph.add("Where", zero, graph.double(1.0), angle)
        return graph.add("Where", zero, graph.double(1.0), graph.add("Div", graph.add("Sin", angle), divisor))

    product = graph.add("Mul", sinc(x), sinc(graph.add("Div", x, graph.double(3.0))))
    return graph.add("Where", graph.add("Less", graph.add("Abs", x), graph.double(3.0)), product, graph.double(0.0))


FILTERS: Mapping[Resample, tuple[float, Callable[[Graph, str], str]]] = {
    "bilinear": (1.0, _bilinear),
    "bicubic": (2.0, _bicubic),
    "lanczos": (3.0, _lanczos),
}
"""How far a filter reaches, in pixels of the larger grid, and its weight at a distance."""


def _nearest(graph: Graph, image: str, window: Window) -> str:
    """Each line from where the sum of steps `old / new`, begun with half a step, has come to: summed as Pillow does."""
    for axis in (0, 1):
        old, new = graph.item(window.old, axis), graph.item(window.new, axis)
        start, count = graph.item(window.start, axis), graph.item(window.count, axis)
        end, zero, one = graph.add("Add", start, count), graph.whole(0), graph.whole(1)
        step = _ratio(graph, old, new)
        is_first = graph.add("Equal", graph.add("Range", zero, end, one), zero)
        steps = graph.add("Where", is_first, graph.add("Mul", step, graph.double(0.5)), step)
        sums = graph.add("CumSum", steps, zero)  # (end,)
        wanted = graph.add("Slice", sums, _vector(graph, start), _vector(graph, end))
        sources = graph.add("Min", graph.cast(wanted, INT64), graph.add("Sub", old, one))
        image = graph.add("Gather", image, sources, axis=axis)
    return image


def _ratio(graph: Graph, old: str, new: str) -> str:
    return graph.add("Div", graph.cast(old, DOUBLE), graph.cast(new, DOUBLE))


def _vector(graph: Graph, number: str) -> str:
    return graph.add("Unsqueeze", number, graph.ints(0))
