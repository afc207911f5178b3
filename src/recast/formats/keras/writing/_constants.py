"""Constants of the graph, evaluated when they are written: initializers and cheap operators over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.graph import view


@dataclass(frozen=True)
class Const:
    """A constant that is not loaded yet. Equal ``key`` means equal content."""

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], np.ndarray]
    key: Hashable

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating point numbers."""
        return "float" in self.dtype


def dequantize(node: ir.Node, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """DequantizeLinear of constants: per tensor, per axis or blocked. The result has the scale's type."""
    if scale.size > 1:
        axis = view.attr(node, "axis", 1) % x.ndim
        block = view.attr(node, "block_size", 0)
        scale = _spread(scale, x, axis, block)
        zero = None if zero is None else _spread(zero, x, axis, block)
    values = x.astype(np.int32 if x.dtype.kind in "iu" else np.float32).astype(scale.dtype)
    if zero is not None:
        values = (x.astype(np.int32) - zero.astype(np.int32)).astype(scale.dtype) if zero.any() else values
    return np.asarray(values * scale)


def quantize(node: ir.Node, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
    """QuantizeLinear of constants to 8- or 16-bit integers: per tensor, per axis or blocked."""
    dtype = node.outputs[0].dtype
    target = np.dtype(np.uint8) if dtype is None else dtype.numpy()
    if scale.size > 1:
        axis = view.attr(node, "axis", 1) % x.ndim
        block = view.attr(node, "block_size", 0)
        scale = _spread(scale, x, axis, block)
        zero = None if zero is None else _spread(zero, x, axis, block)
    levels = np.rint(x / scale) + (0 if zero is None else zero.astype(np.int32))
    low, high = np.iinfo(target).min, np.iinfo(target).max
    return np.asarray(np.clip(levels, low, high).astype(target))


def _spread(parameter: np.ndarray, x: np.ndarray, axis: int, block: int) -> np.ndarray:
    """A scale or zero point with a shape that broadcasts against ``x``."""
    if parameter.ndim == 1 and not block:
        return parameter.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return np.repeat(parameter, block, axis=axis).take(np.arange(x.shape[axis]), axis=axis)


def _evaluate(node: ir.Node, arrays: list[np.ndarray | None]) -> np.ndarray:
    data = arrays[0]
    assert data is not None  # noqa: S101 every operator below has a first input
    if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        scale = arrays[1]
        assert scale is not None  # noqa: S101 required by the operator
        if node.op_type == "QuantizeLinear":
            return quantize(node, data, scale, arrays[2] if len(arrays) > 2 else None)
        return dequantize(node, data, scale, arrays[2] if len(arrays) > 2 else None)
    if node.op_type == "Transpose":
        return data.transpose(view.attr(node, "perm") or None)
    if node.op_type == "Cast":
        return data.astype(ir.DataType(view.attr(node, "to")).numpy())
    shape = view.static_shape(node.outputs[0])
    return data if node.op_type == "Identity" or shape is None else data.reshape(shape)


_FOLLOWED = frozenset(
    {"DequantizeLinear", "Transpose", "Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}
)


class Constants:
    """Finds constants; remembers what it found."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, Const | None] = {}

    def find(self, value: ir.Value | None) -> Const | None:
        """The constant behind a value, or None if it depends on the model's inputs."""
        if value is None:
            return None
        if value not in self._known:
            self._known[value] = self._resolve(value)
        return self._known[value]

    def _resolve(self, value: ir.Value) -> Const | None:
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            held = tensor
            name = ir.DataType(tensor.dtype).numpy().name
            return Const(tuple(tensor.shape.numpy()), name, lambda: held.numpy(), id(tensor))
        node = value.producer()
        shape = view.static_shape(value)
        if node is None or node.domain != "" or node.op_type not in _FOLLOWED or shape is None or value.dtype is None:
            return None
        if node.op_type == "QuantizeLinear" and value.dtype.numpy().name not in ("int8", "uint8", "int16", "uint16"):
            return None
        sources = [self.find(v) for v in node.inputs]
        if any(s is None and v is not None for s, v in zip(sources, node.inputs, strict=True)):
            return None

        def load() -> np.ndarray:
            return _evaluate(node, [None if s is None else s.load() for s in sources])

        return Const(shape, value.dtype.numpy().name, load, (node.op_type, id(node)))
