"""Fix the batch dimension to a number, or make it symbolic.

Given: a graph whose inputs have the batch as first axis; ``options.batch`` is the wish (None: nothing to do).
Result: that axis of every input, and all shapes that follow from it, are what was wished; target shapes of Reshape
    that spell the old number out are rewritten; all-zero initial states of recurrent layers are dropped (the default).
Refuses when: an operator depends on the old number in another way, so that shapes no longer fit or an output would not
    follow the batch.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from recast.errors import BadRecipe, BadShape
from recast.graph.finding import Finding
from recast.graph.infer import infer_node
from recast.graph.view import attr, const, layer_of, static_shape
from recast.passes import PassOptions
from recast.passes._editor import Editor, has_graphs

_PROBE = 7919  # stands for a symbolic batch while shapes are inferred: a prime that no other dim is
Dim = int | str | None


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Set the batch of the model in place.

    Raises:
        BadRecipe: the model cannot have that batch.
    """
    wish = options.batch
    graph = model.graph
    old = _batch(graph)
    if wish is None or old == wish:
        return []
    if old is None:
        raise BadRecipe(
            "the model has no batch axis", ", ".join(v.name or "" for v in graph.inputs), "leave --batch out"
        )
    if isinstance(old, str) and isinstance(wish, str):
        _rename(graph, old, wish)
        return []
    if any(has_graphs(n) for n in graph):
        raise BadRecipe("the batch of a model with sub-graphs cannot be changed", "", "leave --batch out")
    before = {v: _dims(v) for v in graph.outputs}
    probe = wish if isinstance(wish, int) else _PROBE
    for value in graph.inputs:
        dims = _dims(value)
        if dims and dims[0] == old:
            value.shape = ir.Shape([probe, *dims[1:]])
    problems = _follow(graph, old, probe, symbolic=isinstance(wish, str))
    for value, dims in before.items():
        if dims and dims[0] == old and _dims(value)[:1] != [probe]:
            problems.append(f"output {value.name}: its first axis does not follow the batch")
    if problems:
        raise BadRecipe(
            f"the batch cannot be set to {wish}: {len(problems)} places depend on {old}",
            "; ".join(problems[:20]),
            "leave --batch out, or export the model with a dynamic batch",
        )
    if isinstance(wish, str):
        _rename(graph, _PROBE, wish)
    return []


def _dims(value: ir.Value) -> list[Dim]:
    return [d if isinstance(d, int) else d.value for d in value.shape or ()]


def _batch(graph: ir.Graph) -> Dim:
    """The first axis of the first input that has one."""
    for value in graph.inputs:
        dims = _dims(value)
        if dims:
            return dims[0]
    return None


def _rename(graph: ir.Graph, old: Dim, new: str) -> None:
    values = [*graph.inputs, *(v for n in graph for v in n.outputs)]
    for value in values:
        dims = _dims(value)
        if value.shape is not None and any(d == old or _multiple(d, old) for d in dims):
            value.shape = ir.Shape([new if d == old else None if _multiple(d, old) else d for d in dims])


def _multiple(dim: Dim, probe: Dim) -> bool:
    return isinstance(dim, int) and probe == _PROBE and dim > 0 and dim % _PROBE == 0


def _follow(graph: ir.Graph, old: Dim, probe: int, symbolic: bool) -> list[str]:
    """Infer all shapes anew; rewrite what spells the old batch out; returns what does not fit."""
    problems = []
    editor = Editor(graph)
    for node in graph:
        if node.op_type == "Reshape":
            _reshape(editor, node, old, probe, symbolic)
        elif node.op_type in ("LSTM", "GRU", "RNN"):
            _drop_zero_states(node)
        was = [_dims(v) for v in node.outputs]
        try:
            infer_node(node)
        except BadShape as error:
            problems.append(f"{layer_of(node)} ({error.what})")
            continue
        for value, dims in zip(node.outputs, was, strict=True):
            if value.shape is not None and len(value.shape) == len(dims):
                pairs = zip(_dims(value), dims, strict=True)
                value.shape = ir.Shape([w if n is None and w != old else n for n, w in pairs])
        problem = _mismatch(node)
        if problem:
            problems.append(f"{layer_of(node)} ({node.op_type}: {problem})")
    return problems


def _mismatch(node: ir.Node) -> str:
    """What shape inference does not check: element counts of Reshape, states of recurrent layers."""
    if node.op_type == "Reshape" and node.inputs[0] is not None:
        source, result = static_shape(node.inputs[0]), static_shape(node.outputs[0])
        if source is not None and result is not None and math.prod(source) != math.prod(result):
            return f"{list(source)} does not fit {list(result)}"
    if node.op_type in ("LSTM", "GRU", "RNN") and node.inputs[0] is not None:
        axis = 0 if attr(node, "layout", 0) else 1
        batch = _dims(node.inputs[0])[axis]
        for value in node.inputs[5:7]:
            if value is not None and (dims := _dims(value)) and dims[axis] != batch:
                return f"its initial state is for {dims[axis]} samples"
    return ""


def _reshape(editor: Editor, node: ir.Node, old: Dim, probe: int, symbolic: bool) -> None:
    source = node.inputs[0]
    shape = static_shape(source) if source is not None else None
    target = const(node.inputs[1])
    if shape is None or target is None or attr(node, "allowzero", 0):
        return
    wanted = [int(d) for d in target.reshape(-1)]
    sizes = [shape[i] if d == 0 and i < len(shape) else d for i, d in enumerate(wanted)]
    fits = -1 in sizes or math.prod(sizes) == math.prod(shape)
    spelt = wanted[:1] == [old]
    if not spelt or (fits and not (-1 in sizes and probe != old)):
        return
    first = 0 if shape[:1] == (probe,) else (-1 if symbolic and -1 not in wanted else probe)
    if symbolic and first == probe:
        return
    node.replace_input_with(1, editor.const([first, *wanted[1:]], "shape"))


def _drop_zero_states(node: ir.Node) -> None:
    for slot in (5, 6):
        state = const(node.inputs[slot]) if slot < len(node.inputs) else None
        if state is not None and not np.any(state):
            node.replace_input_with(slot, None)
