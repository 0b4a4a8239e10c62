"""Pillow's resize as ONNX nodes, bit for bit.

ONNX's own `Resize` computes the same filter in single precision: its weights differ in the sixth digit, and where a
value falls between two levels, as it often does at 256 -> 224, up to a quarter of the pixels round the other way, some
by two levels. So Pillow's arithmetic is written out: weights in double precision, then in whole numbers of 1 / 2**22;
one pass an axis, rounded to 8 bits after each; one loop step a tap, so that memory does not grow with the filter. Only
what a crop leaves is computed.

Source: Pillow 13, `Image.resize`, whose filters are those of `src/libImaging/Resample.c`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
from onnx import TensorProto, helper

from headstart.contract.graph import DOUBLE, INT32, INT64, UINT8, Graph
from headstart.contract.spec import Resample

PRECISION = 22
"""Bits after the point in Pillow's whole-number weights."""


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
