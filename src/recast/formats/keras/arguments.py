"""Arguments of an operation of ``keras.ops``: where they stand, and the type in which Keras computes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.promotion import element_type, keras_type, result_type


def argument(c: LayerCall, name: str, position: int, default: Any = None) -> Any:
    """An argument of an operation: keyword, config entry, or position."""
    if name in c.kwargs:
        return c.kwargs[name]
    if name in c.layer.config:
        return c.layer.config[name]
    return c.args[position] if position < len(c.args) else default


def pair(c: LayerCall) -> list[Any]:
    """The two operands as they are given."""
    first, second = argument(c, "x1", 0), argument(c, "x2", 1)
    return [argument(c, "x", 0) if first is None else first, argument(c, "y", 1) if second is None else second]


def type_of(c: LayerCall, value: Any, weak: bool = True) -> str:
    """Keras's name of an argument's type; a Python number is weak where the operation asks for no tensor of it."""
    if isinstance(value, ir.Value):
        return keras_type(value.dtype)
    if value is None:
        raise c.refuse("an argument is missing")
    if isinstance(value, bool | int | float):
        name = type(value).__name__
        return name if weak or name == "bool" else {"int": "int32", "float": "float32"}[name]
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    name = array.dtype.name
    return name if isinstance(value, np.ndarray) else {"int64": "int32", "float64": "float32"}.get(name, name)


def promote(c: LayerCall, values: Sequence[Any], *more: str, weak: bool = True) -> str:
    """The type that Keras computes a result of these in, with ``more`` types beside them.

    Raises:
        UnsupportedOp: Keras does not promote one of them.
    """
    try:
        return result_type(*(type_of(c, v, weak) for v in values), *more)
    except KeyError as error:
        raise c.refuse(f"arguments of type {error.args[0]}") from error


def typed(c: LayerCall, value: Any, name: str) -> ir.Value:
    """An argument as a value of a type: a tensor through Cast, a number or an array as a constant.

    Raises:
        UnsupportedOp: it is missing, or the graph has no such type.
    """
    dtype = element_type(name)
    if value is None or dtype is None:
        raise c.refuse("an argument is missing" if value is None else f"the type {name}")
    if isinstance(value, ir.Value):
        return value if value.dtype == dtype else c.op("Cast", [value], {"to": int(dtype)})
    return c.b.const(np.asarray(value).astype(dtype.numpy()))


def tensor(c: LayerCall, value: Any) -> ir.Value:
    """An argument as a value of the type that it has by itself."""
    return value if isinstance(value, ir.Value) else typed(c, value, type_of(c, value, weak=False))


def operands(c: LayerCall, *more: str, weak: bool = True) -> list[ir.Value]:
    """Both operands at the type that Keras promotes them to."""
    values = pair(c)
    name = promote(c, values, *more, weak=weak)
    return [typed(c, v, name) for v in values]


def numpy_type(c: LayerCall, name: str) -> np.dtype:
    """NumPy's type of one of Keras.

    Raises:
        UnsupportedOp: the graph has no such type.
    """
    dtype = element_type(name)
    if dtype is None:
        raise c.refuse(f"the type {name}")
    return dtype.numpy()


def axes_of(c: LayerCall, axis: Any) -> list[int]:
    """Axes as a sorted list; None: all."""
    if axis is None:
        return list(range(c.rank))
    return sorted(int(a) % c.rank for a in (axis if isinstance(axis, list | tuple) else [axis]))
