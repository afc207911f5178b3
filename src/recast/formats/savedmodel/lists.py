"""Lists of tensors as one tensor (n, *element)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel import constants
from recast.formats.savedmodel.call import Call, dims_of
from recast.formats.savedmodel.scope import Held, TensorList, Thing
from recast.graph.build import Builder


def as_tensor(c: Call, thing: Thing, builder: Builder) -> ir.Value:
    """A tensor or list as a value.

    Raises:
        UnsupportedOp: nothing says what the list holds.
    """
    if isinstance(thing, Held):
        return constants.value(c.scope.reading, builder, thing)
    if isinstance(thing, TensorList):
        if thing.value is None:
            raise UnsupportedOp("a list whose elements' shape is unknown")
        return thing.value
    return c.value(thing)


def start(c: Call, made: TensorList) -> TensorList:
    """A list of zeros with elements of a shape that only the loop told; its sizes come from the model's inputs."""
    count = constants.known(c.scope.reading, made.count)
    sizes: list[ir.Value] = []
    if count is not None and count.size == 1:
        sizes.append(c.axes(int(count.reshape(-1)[0])))
    else:
        sizes.append(c.reshape(c.cast(c.value(made.count), ir.DataType.INT64), [1]))
    for dim in made.element or ():
        sizes.append(_size(c, dim))
    zero = ir.Tensor(np.zeros(1, made.dtype.numpy()))
    known = [v.const_value for v in sizes]
    if all(k is not None for k in known):
        shape = [int(k.numpy()[0]) for k in known if k is not None]
        value = c.op("ConstantOfShape", [c.b.const(shape, np.int64, "shape")], value=zero)
    else:
        value = c.op("ConstantOfShape", [c.op("Concat", sizes, axis=0)], value=zero)
    length = int(count.reshape(-1)[0]) if count is not None and count.size == 1 else None
    value.shape = ir.Shape([length, *(made.element or ())])
    return TensorList(value, made.count, made.element, made.dtype)


def _size(c: Call, dim: int | str | None) -> ir.Value:
    if isinstance(dim, int):
        return c.axes(dim)
    if dim is None or dim not in c.scope.reading.symbols:
        raise UnsupportedOp("a list of elements of unknown size")
    value, axis = c.scope.reading.symbols[dim]
    return c.op("Shape", [value], start=axis, end=axis + 1)


def element_of(value: ir.Value) -> tuple[int | str | None, ...]:
    """The shape of one element."""
    return tuple(dims_of(value, "a list's element"))
