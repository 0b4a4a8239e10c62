"""ONNX graphs written by hand: nodes and constants are added one at a time, each call names its result."""

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
UINT8, INT32, INT64 = TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64


class Graph:
    """A graph in the making.

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
