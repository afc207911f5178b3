"""Index arithmetic of exporters becomes what it means: ``mask[arange(n), arange(m)]`` is the mask.

Given: a graph whose shapes are true (a captured one), with fold_constants run before.
Result: a GatherND whose index vectors are whole ranges (0 … size-1), each along an axis of its own, becomes a
    Transpose and an Unsqueeze of its data; comparisons of a range that always hold, and what is ANDed with them, are
    gone where the broadcast changes nothing.
Refuses when: never; what cannot be proved from the names of dims stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.infer import refine_node
from recast.graph.view import attr, const
from recast.passes import PassOptions
from recast.passes._editor import Editor
from recast.passes._partial import Entry, Partial, evaluate
from recast.passes.clean import remove_dead
from recast.passes.drop_broadcasts import absorb

_FAR = 2**31 - 1  # exporters mean "to the end"


@dataclass(frozen=True)
class Ramp:
    """Numbers 0 … size-1 along one axis of ``rank``, the same along all others."""

    axis: int
    rank: int
    size: Entry


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Resolve in place."""
    editor, known, ramps = Editor(model.graph), dict[ir.Value, Partial](), dict[ir.Value, Ramp]()
    true, changed = set[ir.Value](), set[ir.Value]()
    for node in list(model.graph):
        if node.domain:
            continue
        if any(v in changed for v in node.inputs):
            refine_node(node)
            changed.update(node.outputs)
        partial = evaluate(node, known)
        if partial is not None:
            known[node.outputs[0]] = partial
        ramp = _ramp(node, known, ramps)
        if ramp is not None:
            ramps[node.outputs[0]] = ramp
        elif node.op_type == "GatherND":
            _gather(editor, node, ramps, changed)
        elif node.op_type in ("GreaterOrEqual", "And") and _holds(node, ramps, true):
            true.add(node.outputs[0])
        elif node.op_type == "And":
            _without(editor, node, true)
    remove_dead(model.graph)
    return []


def _ramp(node: ir.Node, known: dict[ir.Value, Partial], ramps: dict[ir.Value, Ramp]) -> Ramp | None:
    if node.op_type == "Range":
        start, end, step = node.inputs
        limit = known.get(end) if end is not None else None
        plain = _is(start, 0) and _is(step, 1)
        return Ramp(0, 1, limit.entries[0]) if plain and limit is not None and limit.entries[0] is not None else None
    x = node.inputs[0] if node.inputs else None
    ramp = ramps.get(x) if x is not None else None
    if ramp is None:
        return None
    if node.op_type in ("Identity", "Cast"):
        whole = node.outputs[0].dtype in (ir.DataType.INT64, ir.DataType.INT32)
        return ramp if whole else None
    if node.op_type in ("Add", "Sub"):
        return ramp if _is(node.inputs[1], 0) and const(node.inputs[1]).ndim <= ramp.rank else None  # type: ignore[union-attr]
    if node.op_type == "Unsqueeze":
        axes = const(node.inputs[1])
        return _unsqueezed(ramp, axes) if axes is not None else None
    if node.op_type == "Slice":
        return ramp if _is_whole(node) else None
    if node.op_type == "Expand" and node.outputs[0].shape is not None:
        grown = len(node.outputs[0].shape) - ramp.rank
        kept = _entry(node.outputs[0], ramp.axis + grown) == ramp.size
        return replace(ramp, axis=ramp.axis + grown, rank=ramp.rank + grown) if kept else None
    return None


def _unsqueezed(ramp: Ramp, axes: np.ndarray) -> Ramp:
    rank = ramp.rank + axes.size
    new = {int(a) % rank for a in axes.reshape(-1)}
    return Ramp([a for a in range(rank) if a not in new][ramp.axis], rank, ramp.size)


def _is_whole(node: ir.Node) -> bool:
    given = [const(v) for v in node.inputs[1:] if v is not None]
    arrays = [g for g in given if g is not None]
    if len(arrays) < len(given) or len(arrays) < 2:
        return False
    steps = arrays[3] if len(arrays) > 3 else np.ones(1)
    return not arrays[0].any() and bool((arrays[1] >= _FAR).all() and (steps == 1).all())


def _is(value: ir.Value | None, number: int) -> bool:
    array = const(value)
    return array is not None and array.size == 1 and bool((array == number).all())


def _entry(value: ir.Value, axis: int) -> Entry:
    dim = value.shape[axis] if value.shape is not None and axis < len(value.shape) else None
    return dim.value if isinstance(dim, ir.SymbolicDim) else dim


def _gather(editor: Editor, node: ir.Node, ramps: dict[ir.Value, Ramp], changed: set[ir.Value]) -> None:
    """The data itself, its axes where the ramps are."""
    data, indices = node.inputs[:2]
    parts = _parts(indices, ramps)
    if data is None or data.shape is None or not parts or attr(node, "batch_dims", 0) or len(parts) != len(data.shape):
        return
    rank, axes = parts[0].rank, [p.axis for p in parts]
    fits = all(p.size == _entry(data, i) and p.size is not None and p.rank == rank for i, p in enumerate(parts))
    others = [a for a in range(rank) if a not in axes]
    result = node.outputs[0]
    if not fits or len(set(axes)) < len(axes) or any(_entry(result, a) != 1 for a in others):
        return
    order = sorted(range(len(axes)), key=lambda i: axes[i])
    moved = data if order == list(range(len(axes))) else editor.node("Transpose", [data], {"perm": order}, node)
    if others:
        moved = editor.node("Unsqueeze", [moved, editor.const(others, "axes")], None, node)
    elif moved is data:
        moved = editor.node("Identity", [data], None, node)
    editor.replace(result, moved)
    changed.add(moved)


def _parts(indices: ir.Value | None, ramps: dict[ir.Value, Ramp]) -> list[Ramp]:
    """The ramps that are joined along a new last axis, or nothing."""
    joined = indices.producer() if indices is not None else None
    if joined is None or joined.op_type != "Concat" or indices is None or indices.shape is None:
        return []
    if attr(joined, "axis") not in (-1, len(indices.shape) - 1):
        return []
    found = []
    for value in joined.inputs:
        ramp = ramps.get(value) if value is not None else None
        if ramp is None or _entry(value, ramp.rank - 1) != 1 or ramp.axis == ramp.rank - 1:  # type: ignore[arg-type]
            return []
        found.append(replace(ramp, rank=ramp.rank - 1))
    return found


def _holds(node: ir.Node, ramps: dict[ir.Value, Ramp], true: set[ir.Value]) -> bool:
    """Whether a comparison of a range always holds, or all that is ANDed does."""
    first, second = node.inputs[:2]
    if node.op_type == "And":
        return all(v in true or _all_true(v) for v in (first, second))
    limit = const(second)
    return first in ramps and limit is not None and limit.size == 1 and bool((limit <= 0).all())


def _all_true(value: ir.Value | None) -> bool:
    array = const(value)
    return array is not None and array.dtype == bool and bool(array.all())


def _without(editor: Editor, node: ir.Node, true: set[ir.Value]) -> None:
    """``x AND True`` is x, broadcast."""
    for value, other in (node.inputs[:2], node.inputs[1::-1]):
        if other is not None and (value in true or _all_true(value)):
            absorb(editor, node, other)
            return
