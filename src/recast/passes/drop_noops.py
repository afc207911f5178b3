"""Remove what leaves a tensor as it is: exporters spell out steps that a program only takes in other cases.

Given: a graph with inferred shapes; equal names of dimensions are equal sizes.
Result: none of these is left: a Transpose that moves no axis, a Slice, Expand or Reshape to the shape that is there,
    a Concat of one, a Cast to the own type, ``x * 1``, ``x + 0`` (integers), ``x and True``; a GatherND that takes
    every element in order is an Unsqueeze, one that takes rows by one index is a Gather. Nodes whose result is a graph
    output's only name stay.
Refuses when: never; where a shape is not known the node stays.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import attr, const, told_dims
from recast.passes import PassOptions
from recast.passes._editor import Editor
from recast.passes.clean import remove_dead

Dims = tuple[int | str, ...]


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Remove them from the model's graph in place."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.domain:
            continue
        if node.op_type == "GatherND":
            _take_all(editor, node)
            _take_rows(editor, node)
        kept = _IDLE[node.op_type](node) if node.op_type in _IDLE else None
        if kept is not None and node.inputs[kept] is not None:
            if kept:
                node.replace_input_with(0, node.inputs[kept])
            editor.bypass(node)
    remove_dead(model.graph)
    return []


def _same_shape(node: ir.Node, index: int = 0) -> bool:
    before, after = told_dims(node.inputs[index]), told_dims(node.outputs[0])
    return before is not None and before == after


def _transpose(node: ir.Node) -> int | None:
    perm = attr(node, "perm")
    return 0 if perm is not None and list(perm) == sorted(perm) else None


def _slice(node: ir.Node) -> int | None:
    steps = const(node.inputs[4]) if len(node.inputs) > 4 else None
    forward = len(node.inputs) < 5 or (steps is not None and bool((steps == 1).all()))
    return 0 if forward and _same_shape(node) else None


def _reshape(node: ir.Node) -> int | None:
    return 0 if _same_shape(node) else None


def _concat(node: ir.Node) -> int | None:
    return 0 if len(node.inputs) == 1 else None


def _cast(node: ir.Node) -> int | None:
    x = node.inputs[0]
    return 0 if x is not None and x.dtype is not None and int(x.dtype) == attr(node, "to") else None


def _neutral(number: int, kinds: str, positions: tuple[int, ...]) -> Callable[[ir.Node], int | None]:
    """A rule for an operator of two inputs that is idle where the constant one is ``number``."""

    def rule(node: ir.Node) -> int | None:
        for index in positions:
            array = const(node.inputs[index])
            idle = array is not None and array.size == 1 and array.dtype.kind in kinds and array.item() == number
            if idle and _same_shape(node, 1 - index):
                return 1 - index
        return None

    return rule


_IDLE: dict[str, Callable[[ir.Node], int | None]] = {
    "Transpose": _transpose,
    "Slice": _slice,
    "Reshape": _reshape,
    "Expand": _reshape,
    "Concat": _concat,
    "Cast": _cast,
    "Mul": _neutral(1, "fiu", (1, 0)),
    "Div": _neutral(1, "fiu", (1,)),
    "Add": _neutral(0, "iu", (1, 0)),
    "Sub": _neutral(0, "iu", (1,)),
    "And": _neutral(1, "b", (1, 0)),
}


def _take_all(editor: Editor, node: ir.Node) -> None:
    """``x[rows[:, None, None], columns]`` where rows and columns count all of ``x``, as masks are made."""
    data, places = told_dims(node.inputs[0]), node.inputs[1]
    joined = places.producer() if places is not None else None
    if data is None or joined is None or joined.op_type != "Concat" or attr(node, "batch_dims", 0):
        return
    if len(joined.inputs) != len(data) or places is None or places.shape is None:
        return
    counted = [_counted(v) for v in joined.inputs]
    axes = [c[0] for c in counted if c is not None]
    if len(axes) != len(data) or axes != sorted(set(axes)):
        return
    if tuple(c[1] for c in counted if c is not None) != data:
        return
    ones = [axis for axis in range(len(places.shape) - 1) if axis not in axes]
    if node.outputs[0].is_graph_output():
        return
    made = editor.node("Unsqueeze", [node.inputs[0], editor.const(ones, "axes")], None, node)
    editor.replace(node.outputs[0], made)


def _take_rows(editor: Editor, node: ir.Node) -> None:
    """``x[indices]`` spelled with the indices as vectors of one element."""
    places, result = node.inputs[1], node.outputs[0]
    made = places.producer() if places is not None else None
    if made is None or made.op_type != "Unsqueeze" or attr(node, "batch_dims", 0) or not result.uses():
        return
    indices, axes = made.inputs[0], const(made.inputs[1])
    if indices is None or indices.shape is None or axes is None or axes.tolist() not in ([-1], [len(indices.shape)]):
        return
    taken = editor.node("Gather", [node.inputs[0], indices], {"axis": 0}, node)
    taken.shape = result.shape or taken.shape
    editor.replace(result, taken)


def _counted(value: ir.Value | None) -> tuple[int, int | str | None] | None:
    """(axis, length) of an index tensor that is 0, 1, ... along one axis and the same along all others."""
    shapes: list[Dims] = []
    while value is not None and (maker := value.producer()) is not None:
        if maker.op_type == "Range":
            start, step, length = const(maker.inputs[0]), const(maker.inputs[2]), told_dims(value)
            if start is None or step is None or start.item() != 0 or step.item() != 1 or length is None:
                return None
            return _axis_of(shapes, length[0])
        if maker.op_type not in ("Unsqueeze", "Expand"):
            return None
        found = told_dims(value)
        if maker.op_type == "Unsqueeze" and found is not None:
            shapes.append(found)
        value = maker.inputs[0]
    return None


def _axis_of(shapes: list[Dims], length: int | str | None) -> tuple[int, int | str | None] | None:
    """Where the count runs in the outermost shape that holds nothing else (the last of the walk's Unsqueezes)."""
    for shape in shapes:
        others = [d for d in shape if d != 1]
        if others == [length]:
            return shape.index(length), length
    return None
