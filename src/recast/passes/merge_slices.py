"""Slices of different axes, one after the other, become one Slice.

Given: a graph with inferred shapes.
Result: a Slice whose only user is a Slice along other axes is part of it, where starts, ends, axes and steps are
    constant: ``x[:, :, ::2][:, :, :, ::2]`` is ``x[:, :, ::2, ::2]``.
Refuses when: never; a Slice with bounds known only at run time stays.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import const, rank, sole_consumer
from recast.passes import PassOptions
from recast.passes._editor import Editor
from recast.passes.clean import remove_dead


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Merge them in the model's graph in place."""
    editor, merged = Editor(model.graph), False
    for node in list(model.graph):
        following = sole_consumer(node.outputs[0]) if node.op_type == "Slice" and not node.domain else None
        if following is None or following.op_type != "Slice" or following.domain or following.graph is not node.graph:
            continue
        if following.inputs[0] is not node.outputs[0]:
            continue
        first, second = _bounds(node), _bounds(following)
        if first is None or second is None or set(first[2]) & set(second[2]):
            continue
        following.replace_input_with(0, node.inputs[0])
        following.resize_inputs(5)
        for index, parts in enumerate(zip(first, second, strict=True), start=1):
            following.replace_input_with(index, editor.const(np.concatenate(parts), "slice"))
        merged = True
    if merged:
        remove_dead(model.graph)
    return []


def _bounds(node: ir.Node) -> tuple[np.ndarray, ...] | None:
    """Starts, ends, axes (not negative) and steps; None where one is not constant."""
    size = rank(node.inputs[0]) if node.inputs[0] is not None else None
    given = [*node.inputs[1:], None, None][:4]
    found = [const(v) for v in given]
    if size is None or any(v is not None and f is None for v, f in zip(given, found, strict=True)):
        return None
    starts, ends, axes, steps = found
    if starts is None or ends is None:
        return None
    count = starts.size
    axes = np.arange(count) if axes is None else axes % size
    whole = [starts, ends, axes, np.ones(count, np.int64) if steps is None else steps]
    return tuple(a.reshape(-1).astype(np.int64) for a in whole)
