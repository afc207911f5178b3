"""TensorFlow 2's lists of tensors (what TensorArray is made of)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.lists import element_of, start
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.scope import Held, TensorList


def _list(c: Call, number: int) -> TensorList:
    thing = c.thing(number)
    if not isinstance(thing, TensorList):
        raise UnsupportedOp("a list that is not known here")
    return thing


def _filled(c: Call, number: int) -> ir.Value:
    value = _list(c, number).value
    if value is None:
        raise UnsupportedOp("a list that nothing was written to")
    return value


def _told(c: Call, number: int) -> tuple[int | None, ...] | None:
    """The element's shape as the operator says it; None where it leaves something open."""
    shape = c.array(number)
    if shape is None or shape.ndim != 1 or any(int(d) < 0 for d in shape):
        return None
    return tuple(int(d) for d in shape)


@reads("TensorListFromTensor")
def from_tensor(c: Call) -> None:
    """The slices of a tensor."""
    value = c.x(0)
    count = Held(np.array(0, np.int64), "count")
    c.out(TensorList(value, count, element_of(value)[1:], c.dtype(0)))


@reads("TensorListReserve", "EmptyTensorList")
def reserve(c: Call) -> None:
    """Zeros, as soon as it is known what shape they have."""
    count = c.thing(1) if c.kind == "TensorListReserve" else Held(np.array(0, np.int64), "count")
    made = TensorList(None, count, _told(c, 0), c.type_attr("element_dtype", 0))
    c.out(start(c, made) if made.element is not None else made)


@reads("TensorListSetItem")
def set_item(c: Call) -> None:
    """One element is replaced."""
    held, item = _list(c, 0), c.x(2)
    if held.value is None:
        c.out(TensorList(None, held.count, element_of(item), held.dtype))
        return
    place = c.reshape(c.int64(1), [1, 1])
    value = c.op("ScatterND", [held.value, place, c.op("Unsqueeze", [item, c.axes(0)])])
    value.shape = held.value.shape
    c.out(TensorList(value, held.count, held.element, held.dtype))


@reads("TensorListGetItem")
def get_item(c: Call) -> None:
    """One element."""
    c.out(c.op("Gather", [_filled(c, 0), c.int64(1)], axis=0))


@reads("TensorListStack")
def stack(c: Call) -> None:
    """All elements as one tensor."""
    c.out(_filled(c, 0))


@reads("TensorListLength")
def length(c: Call) -> None:
    """The number of elements."""
    shape = c.op("Shape", [_filled(c, 0)], start=0, end=1)
    c.out(c.cast(c.reshape(shape, []), ir.DataType.INT32))


@reads("TensorListPushBack")
def push_back(c: Call) -> None:
    """One element more."""
    held, item = _list(c, 0), c.op("Unsqueeze", [c.x(1), c.axes(0)])
    if held.value is None:
        c.out(TensorList(None, held.count, element_of(c.x(1)), held.dtype))
        return
    value = c.op("Concat", [held.value, item], axis=0)
    c.out(TensorList(value, held.count, held.element, held.dtype))


@reads("TensorListPopBack")
def pop_back(c: Call) -> None:
    """The last element, and the list without it."""
    value, held = _filled(c, 0), _list(c, 0)
    rest = c.op("Slice", [value, c.axes(0), c.axes(-1), c.axes(0)])
    last = c.op("Gather", [value, c.b.const(-1, np.int64)], axis=0)
    c.outs([TensorList(rest, held.count, held.element, held.dtype), last])


@reads("TensorListGather")
def gather(c: Call) -> None:
    """Some elements as one tensor."""
    c.out(c.op("Gather", [_filled(c, 0), c.int64(1)], axis=0))


@reads("TensorListConcatV2", "TensorListConcat")
def concat(c: Call) -> None:
    """The elements joined along their first axis."""
    value = _filled(c, 0)
    element = element_of(value)[1:]
    if not element or not all(isinstance(d, int) for d in element):
        raise UnsupportedOp("elements of unknown size")
    c.out(c.reshape(value, [-1, *[int(d) for d in element[1:] if isinstance(d, int)]]))
