"""Integer vectors that are partly known: the dims of tensors, and what models compute from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.graph import dims
from recast.graph.view import attr, const

_LONGEST = 64
Entry = int | str | None  # a number, a named dim, or unknown


@dataclass(frozen=True)
class Partial:
    """A scalar or vector of integers."""

    entries: tuple[Entry, ...]
    scalar: bool = False

    def array(self, dtype: ir.DataType | None) -> np.ndarray:
        """As an array; all entries are numbers."""
        held = np.array([e for e in self.entries if isinstance(e, int)], dtype.numpy() if dtype else np.int64)
        return held.reshape(()) if self.scalar else held


def evaluate(node: ir.Node, known: Mapping[ir.Value, Partial]) -> Partial | None:
    """What is known of the first result of a node, or None where it is no small integer vector."""
    maker = _MAKERS.get(node.op_type)
    if maker is None or not node.outputs or node.outputs[0].dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    if node.op_type in ("Shape", "Size"):
        return _shape(node)
    parts = [_part(v, known) for v in node.inputs]
    given = [p for p in parts if p is not None]
    return maker(node, given) if len(given) == len([v for v in node.inputs if v is not None]) and given else None


def _part(value: ir.Value | None, known: Mapping[ir.Value, Partial]) -> Partial | None:
    if value is None:
        return None
    if value in known:
        return known[value]
    array = const(value) if value.const_value is not None and value.const_value.size <= _LONGEST else None
    if array is None or array.ndim > 1 or array.dtype.kind not in "iu":
        return None
    return Partial(tuple(int(e) for e in array.reshape(-1)), array.ndim == 0)


def _shape(node: ir.Node) -> Partial | None:
    source = node.inputs[0]
    if source is None or source.shape is None:
        return None
    found: list[Entry] = [d if isinstance(d, int) else d.value for d in source.shape]
    if node.op_type == "Size":
        total = 1
        for dim in found:
            if not isinstance(dim, int):
                return None
            total *= dim
        return Partial((total,), scalar=True)
    start, end = int(attr(node, "start", 0)), attr(node, "end")
    return Partial(tuple(found[start : None if end is None else int(end)]))


def _gather(node: ir.Node, parts: list[Partial]) -> Partial | None:
    data, picks = parts
    size = len(data.entries)
    if data.scalar or not all(isinstance(p, int) and -size <= p < size for p in picks.entries):
        return None
    return Partial(tuple(data.entries[p] for p in picks.entries if isinstance(p, int)), picks.scalar)


def _concat(node: ir.Node, parts: list[Partial]) -> Partial | None:
    entries = tuple(e for p in parts for e in p.entries)
    return None if any(p.scalar for p in parts) or len(entries) > _LONGEST else Partial(entries)


def _slice(node: ir.Node, parts: list[Partial]) -> Partial | None:
    if len(node.inputs) != len(parts) or any(len(p.entries) != 1 for p in parts[1:]) or parts[0].scalar:
        return None
    numbers = [p.entries[0] for p in parts[1:]]
    if not all(isinstance(n, int) for n in numbers):
        return None
    start, end = numbers[0], numbers[1]
    axis, step = (numbers[2] if len(numbers) > 2 else 0), (numbers[3] if len(numbers) > 3 else 1)
    if axis not in (0, -1) or not isinstance(step, int) or step < 1:
        return None
    if not isinstance(start, int) or not isinstance(end, int):
        return None
    return Partial(parts[0].entries[slice(start, end, step)])


def _squeeze(node: ir.Node, parts: list[Partial]) -> Partial | None:
    if parts[0].scalar or len(parts[0].entries) != 1:
        return None
    return Partial(parts[0].entries, scalar=True)


def _unsqueeze(node: ir.Node, parts: list[Partial]) -> Partial | None:
    return Partial(parts[0].entries) if parts[0].scalar and len(parts[1].entries) == 1 else None


def _same(node: ir.Node, parts: list[Partial]) -> Partial | None:
    large = any(isinstance(e, int) and abs(e) >= 1 << 31 for e in parts[0].entries)
    return None if large and node.outputs[0].dtype == ir.DataType.INT32 else parts[0]


def _reshape(node: ir.Node, parts: list[Partial]) -> Partial | None:
    target = parts[1].entries
    if len(target) > 1 or parts[1].scalar:
        return None
    if not target:
        return Partial(parts[0].entries, scalar=True) if len(parts[0].entries) == 1 else None
    return Partial(parts[0].entries) if target[0] in (-1, len(parts[0].entries)) else None


def _arithmetic(node: ir.Node, parts: list[Partial]) -> Partial | None:
    left, right = parts
    size = max(len(left.entries), len(right.entries))
    if not {len(left.entries), len(right.entries)} <= {1, size}:
        return None
    pairs = zip(
        left.entries * (size if len(left.entries) == 1 else 1),
        right.entries * (size if len(right.entries) == 1 else 1),
        strict=True,
    )
    entries = tuple(_number(node.op_type, a, b) for a, b in pairs)
    return Partial(entries, left.scalar and right.scalar)


def _number(op_type: str, left: Entry, right: Entry) -> Entry:
    """One entry; a named dim survives what does not change it."""
    if op_type in ("Mul", "Div") and right == 1:
        return left
    if op_type == "Mul" and left == 1:
        return right
    if op_type in ("Add", "Sub") and left is not None and right is not None:
        found = dims.add(left, right, 1 if op_type == "Add" else -1)
        return found if isinstance(found, str) or abs(found) < 1 << 31 else None
    if not isinstance(left, int) or not isinstance(right, int):
        return None
    if op_type == "Div":
        if right == 0:
            return None
        quotient = abs(left) // abs(right)  # ONNX divides integers toward zero
        return quotient if (left < 0) == (right < 0) else -quotient
    found = left * right
    return found if abs(found) < 1 << 31 else None


_MAKERS = {
    "Shape": _same,
    "Size": _same,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Cast": _same,
    "Identity": _same,
    "Reshape": _reshape,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
}
