"""Constants stored in a graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recast._util.bounded import check_size, element_count
from recast._util.wire import Message
from recast.errors import BadModel, TooLarge, UnsupportedType
from recast.formats.savedmodel import schema

DAMAGED = "the file is damaged: copy or export it again"
_MOST_REPEATED_BYTES = 1 << 26  # of a constant that is stored as one repeated number


def dims(shape: Message | None) -> list[int | None] | None:
    """A stored shape: None for unknown dimensions, or for an unknown rank."""
    if shape is None or shape.get("unknown"):
        return None
    sizes = [int(d.get("size", 0)) for d in shape.get("dims", ())]
    return [d if d >= 0 else None for d in sizes]


def array(tensor: Message, where: str) -> np.ndarray:
    """The numbers of a stored tensor: a view into the file where it can be.

    Raises:
        BadModel, TooLarge: the data does not fit the shape.
        UnsupportedType: text, complex numbers and the like.
    """
    number = schema.plain(int(tensor.get("dtype", 0)))
    kind = schema.NUMPY.get(number)
    if kind is None:
        raise UnsupportedType(f"constants of type {schema.type_name(number)} cannot be converted", where)
    shape = [-1 if d is None else d for d in dims(tensor.get("shape", {})) or []]
    count = element_count(shape, where)
    content = tensor.get("content")
    if content is not None and len(content):
        check_size(count * kind.itemsize, len(content), where)
        if len(content) != count * kind.itemsize:
            raise BadModel(f"{len(content)} bytes for shape {shape}", where, DAMAGED)
        return np.frombuffer(content, kind).reshape(shape)
    held = _numbers(tensor.get(schema.VALUES[number], []), number, kind, where)
    if len(held) > count:
        raise BadModel(f"{len(held)} numbers for shape {shape}", where, DAMAGED)
    if len(held) == count:
        return held.reshape(shape)
    if count * kind.itemsize > _MOST_REPEATED_BYTES:
        raise TooLarge(f"a constant of {count} equal numbers", where, "export the model without it")
    full = np.zeros(count, kind)  # TensorFlow repeats the last number; none at all means zeros
    if len(held):
        full[: len(held)] = held
        full[len(held) :] = held[-1]
    return full.reshape(shape)


def _numbers(values: list[Any], number: int, kind: np.dtype, where: str) -> np.ndarray:
    if number in (14, 19):
        return np.array([v & 0xFFFF for v in values], np.uint16).view(kind)
    if kind.kind in "iu" and values:
        limits = np.iinfo(kind)
        if kind == np.dtype("<u8"):
            values = [v % (1 << 64) for v in values]
        if min(values) < limits.min or max(values) > limits.max:
            raise BadModel(f"a number does not fit its type {kind.name}", where, DAMAGED)
    return np.array(values, kind)


def texts(tensor: Message, where: str) -> list[str]:
    """The texts of a stored string tensor.

    Raises:
        BadModel: it holds something else.
    """
    held = tensor.get("string_val", [])
    if schema.plain(int(tensor.get("dtype", 0))) != schema.STRING:
        raise BadModel("these names are no text", where, DAMAGED)
    count = math.prod(d or 0 for d in dims(tensor.get("shape", {})) or [])
    if len(held) != count:
        raise BadModel(f"{len(held)} texts instead of {count}", where, DAMAGED)
    return [bytes(t).decode("utf-8", "replace") for t in held]
