"""Shapes and types of If, Loop and Scan: bodies are inferred until what goes in agrees with what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import onnx_ir as ir

from recast.errors import BadShape
from recast.graph.infer_quick import retype
from recast.graph.view import attr, const

Infer = Callable[[ir.Node], None]  # sets what can be told of a node's outputs; what was known stays

_MOST_TURNS = 8


def infer_control(node: ir.Node, infer: Infer) -> bool:
    """Infer a node that holds sub-graphs; False where it is none of If, Loop, Scan."""
    kinds = {"If": _branches, "Loop": _loop, "Scan": _scan}
    if node.domain or node.op_type not in kinds:
        return False
    kinds[node.op_type](node, infer)
    return True


def _branches(node: ir.Node, infer: Infer) -> None:
    """An If's outputs: what both branches agree on; unknown ranks stay unknown."""
    graphs = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch") if name in node.attributes]
    for graph in graphs:
        for inner in graph:
            with suppress(BadShape):  # a branch that is never taken may contradict the shapes that are
                infer(inner)
    for value, *ends in zip(node.outputs, *(g.outputs for g in graphs), strict=False):
        known = value.dtype or next((e.dtype for e in ends if e.dtype is not None), None)
        if known is not None:
            retype(value, known)
        shapes = [list(e.shape) for e in ends if e.shape is not None]
        if len(shapes) == len(ends) and len({len(s) for s in shapes}) == 1:
            value.shape = ir.Shape([dims[0] if len(set(dims)) == 1 else None for dims in zip(*shapes, strict=True)])


def _loop(node: ir.Node, infer: Infer) -> None:
    body = node.attributes["body"].as_graph()
    for value, dtype in zip(body.inputs[:2], (ir.DataType.INT64, ir.DataType.BOOL), strict=True):
        value.dtype, value.shape = dtype, ir.Shape([])
    carried = len(body.inputs) - 2
    _until_stable(body, (body.inputs[2:], node.inputs[2:], body.outputs[1 : 1 + carried]), infer)
    _carry(node.outputs[:carried], body.outputs[1 : 1 + carried], body.inputs[2:])
    count = const(node.inputs[0]) if node.inputs[0] is not None else None
    going = node.inputs[1] is None and body.outputs[0] is body.inputs[1]
    for value, row in zip(node.outputs[carried:], body.outputs[1 + carried :], strict=True):
        turns = int(count.reshape(-1)[0]) if count is not None and count.size and going else None
        _collect(value, row, turns, 0)


def _scan(node: ir.Node, infer: Infer) -> None:
    body = node.attributes["body"].as_graph()
    scanned = attr(node, "num_scan_inputs")
    states = len(node.inputs) - scanned
    axes = attr(node, "scan_input_axes") or [0] * scanned
    length: int | ir.SymbolicDim | None = None
    for inner, outer, axis in zip(body.inputs[states:], node.inputs[states:], axes, strict=True):
        if outer is None:
            continue
        _type(inner, outer)
        if outer.shape is not None and len(outer.shape) > 0:
            place = axis % len(outer.shape)
            if length is None or isinstance(outer.shape[place], int):
                length = outer.shape[place]
            inner.shape = ir.Shape([d for i, d in enumerate(outer.shape) if i != place])
    _until_stable(body, (body.inputs[:states], node.inputs[:states], body.outputs[:states]), infer)
    _carry(node.outputs[:states], body.outputs[:states], body.inputs[:states])
    out_axes = attr(node, "scan_output_axes") or [0] * (len(node.outputs) - states)
    for value, row, axis in zip(node.outputs[states:], body.outputs[states:], out_axes, strict=True):
        _collect(value, row, length, axis)


def _type(value: ir.Value, source: ir.Value) -> None:
    """Give a value the element type of another, if that is known."""
    if source.dtype is not None:
        retype(value, source.dtype)


def _carry(outputs: Sequence[ir.Value], ends: Sequence[ir.Value], starts: Sequence[ir.Value]) -> None:
    """What a state is after the last turn, which may be none at all."""
    for value, end, start in zip(outputs, ends, starts, strict=True):
        if value.dtype is None:
            _type(value, start)
            _type(value, end)
        if start.shape is not None:
            value.shape = ir.Shape(list(start.shape))


def _collect(value: ir.Value, row: ir.Value, turns: int | ir.SymbolicDim | None, axis: int) -> None:
    if value.dtype is None:
        _type(value, row)
    if row.shape is not None:
        dims = list(row.shape)
        dims.insert(axis % (len(dims) + 1), turns if turns is not None else ir.SymbolicDim(None))
        value.shape = ir.Shape(dims)


def _until_stable(
    body: ir.Graph, states: tuple[Sequence[ir.Value], Sequence[ir.Value | None], Sequence[ir.Value]], infer: Infer
) -> None:
    """Start from the first states' shapes; a dimension that a turn changes is unknown."""
    starts, given, ends = states
    for start, first in zip(starts, given, strict=True):
        if first is not None:
            _type(start, first)
            if first.shape is not None:
                start.shape = ir.Shape(list(first.shape))
    for _ in range(_MOST_TURNS):
        with _restored(body) as undo:
            for inner in body:
                infer(inner)
            weaker = [_common(a, b) for a, b in zip(starts, ends, strict=True)]
            if all(w is a.shape for w, a in zip(weaker, starts, strict=True)):
                return
            undo.append(True)
        for start, shape in zip(starts, weaker, strict=True):
            start.shape = shape
    for start in starts:
        start.shape = None
    for inner in body:
        infer(inner)


@contextmanager
def _restored(body: ir.Graph) -> Iterator[list[bool]]:
    """Where ``undo`` is filled, the body's shapes become again what they were."""
    before = [(v, v.shape) for n in body for v in n.outputs]
    undo: list[bool] = []
    yield undo
    if undo:
        for value, shape in before:
            value.shape = shape


def _common(start: ir.Value, end: ir.Value) -> ir.Shape | None:
    """What holds before and after a turn; the very shape of ``start`` where nothing is lost."""
    if start.shape is None or end.shape is None or len(start.shape) != len(end.shape):
        return None
    if end is start or all(_equal(a, b) for a, b in zip(start.shape, end.shape, strict=True)):
        return start.shape
    return ir.Shape([a if _equal(a, b) else None for a, b in zip(start.shape, end.shape, strict=True)])


def _equal(before: int | ir.SymbolicDim, after: int | ir.SymbolicDim) -> bool:
    if isinstance(before, int) or isinstance(after, int):
        return before == after if isinstance(before, int) else before.value is None
    return before.value is None or before.value == after.value
