"""Dense layers and normalisation over the last axis, between two Transposes of images, without these Transposes.

Given: ``Transpose(0,2,3,1) → LayerNormalization, MatMul, element by element … → Transpose(0,3,1,2)``, as in ConvNeXt's
    blocks, in float32 or float64; ``layout`` has run for a channels-first target.
Result: the same over axis 1: a dense layer is a convolution of one pixel (with the bias that alone follows it), a
    normalisation is reductions over axis 1. ``benchmarks/bench_convnext_block.py`` measures both forms.
Refuses when: never. A part stays as it is where somebody else sees its order of axes, where a weight is shared, and
    where the Transposes that go away are no more bytes than what is normalised (many layers between two Transposes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import attr, is_const, rank, sole_consumer, static_shape
from recast.ops import fact
from recast.passes import PassOptions
from recast.passes.clean import remove_dead
from recast.passes.layout_edit import Constants
from recast.passes.layout_plan import size_bytes, transpose_perm
from recast.passes.layout_rewrite import permuted_shape

_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


@dataclass
class _Part:
    """Nodes between Transposes.

    Attributes:
        nodes: what is rewritten.
        entries: the Transposes to channels-last that it reads.
        exits: the Transposes back.
    """

    nodes: set[ir.Node] = field(default_factory=set)
    entries: set[ir.Node] = field(default_factory=set)
    exits: set[ir.Node] = field(default_factory=set)

    def pays(self) -> bool:
        """Whether the Transposes cost more than the normalisations written out, by the bytes they read."""
        spent = sum(size_bytes(n.outputs[0]) for n in self.nodes if n.op_type == "LayerNormalization")
        return sum(size_bytes(t.outputs[0]) for t in (*self.entries, *self.exits)) > spent


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Rewrite all such parts of the model's graph in place."""
    graph = model.graph
    order = {node: place for place, node in enumerate(graph)}
    constants = Constants(graph)
    seen: set[ir.Node] = set()
    for node in order:
        if node not in seen and _turns(node, _LAST):
            part = _part(node, order)
            if part is not None and part.exits and part.pays():
                seen |= part.entries
                _rewrite(constants, part, order)
    if seen:
        remove_dead(graph)
        constants.drop_unused()
    return []


def _turns(node: ir.Node | None, perm: tuple[int, ...]) -> bool:
    return node is not None and node.op_type == "Transpose" and not node.domain and transpose_perm(node) == perm


def _part(entry: ir.Node, order: dict[ir.Node, int]) -> _Part | None:
    """All that must change together with what a Transpose gives; None where something cannot."""
    part = _Part()
    makers, users = [entry], list[ir.Node]()
    while makers or users:
        behind = not makers
        node = users.pop() if behind else makers.pop()
        if node in part.nodes or node in part.entries or node in part.exits:
            continue
        if behind and _turns(node, _FIRST):
            part.exits.add(node)
            continue
        if not behind and _turns(node, _LAST):
            part.entries.add(node)
        elif node in order and _allowed(node):
            part.nodes.add(node)
            makers += [m for v in node.inputs if v is not None and (m := v.producer()) is not None]
        else:
            return None
        if node.outputs[0].is_graph_output():
            return None
        users += [use.node for use in node.outputs[0].uses()]
    return part


def _allowed(node: ir.Node) -> bool:
    """Whether the same can be said with the channels first."""
    x, y = node.inputs[0] if node.inputs else None, node.outputs[0]
    facts = fact(node.op_type) if not node.domain else None
    if facts is None or rank(y) != 4 or any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        return False
    if any(v is not None and not is_const(v) and v.producer() is None for v in node.inputs):
        return False
    if node.op_type == "LayerNormalization":
        rows = all(v is None or (is_const(v) and rank(v) == 1) for v in node.inputs[1:])
        return rows and attr(node, "axis", -1) in (-1, 3) and y.dtype in _FLOATS
    if node.op_type == "MatMul":
        weight = node.inputs[1]
        plain = weight is not None and is_const(weight) and rank(weight) == 2 and len(weight.uses()) == 1
        return plain and x is not None and not is_const(x) and y.dtype in _FLOATS
    if facts.kind != "elementwise" or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return False
    return all(v is None or _follows(v) for v in node.inputs)


def _follows(value: ir.Value) -> bool:
    """A constant that broadcasts, or images."""
    return static_shape(value) is not None if is_const(value) else rank(value) == 4


def _rewrite(constants: Constants, part: _Part, order: dict[ir.Node, int]) -> None:
    for entry in part.entries:
        if entry.inputs[0] is not None:
            ir.convenience.replace_all_uses_with(entry.outputs[0], entry.inputs[0])
    for node in sorted(part.nodes, key=order.__getitem__):
        if node.op_type == "LayerNormalization":
            _replace(constants, node, _normalised(constants, node))
        elif node.op_type == "MatMul":
            _convolution(constants, node, part)
        elif node.graph is not None:
            for slot, value in enumerate(node.inputs):
                if value is not None and is_const(value):
                    node.replace_input_with(slot, _column(constants, value))
            node.outputs[0].shape = permuted_shape(node.outputs[0], _FIRST)
    for leaving in sorted(part.exits, key=order.__getitem__):
        source = leaving.inputs[0]
        if source is not None and source.is_graph_output() and leaving.outputs[0].is_graph_output():
            source = constants.node("Identity", [source], None, leaving)
        if source is not None:
            constants.replace(leaving.outputs[0], source)


def _replace(constants: Constants, node: ir.Node, made: ir.Value) -> None:
    made.shape = permuted_shape(node.outputs[0], _FIRST)
    constants.replace(node.outputs[0], made)


def _column(constants: Constants, value: ir.Value) -> ir.Value:
    """A constant that broadcasts over (n, h, w, c), for (n, c, h, w)."""
    shape = static_shape(value) or ()
    if math.prod(shape) == 1:
        return value
    old = (1,) * (4 - len(shape)) + tuple(shape)
    new = [old[i] for i in _FIRST]
    trimmed = new[1:] if new[0] == 1 else new
    return constants.derived(
        value,
        ("column", *_FIRST),
        trimmed,
        lambda a: np.ascontiguousarray(a.reshape(old).transpose(_FIRST)).reshape(trimmed),
    )


def _normalised(c: Constants, node: ir.Node) -> ir.Value:
    """(x - mean) / sqrt(variance + epsilon) · scale + bias over axis 1 (Ba et al. 2016, equation 4)."""
    x, scale = node.inputs[0], node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    dtype = np.float64 if x is not None and x.dtype == ir.DataType.DOUBLE else np.float32
    axis, epsilon = c.const([1], "axes"), c.const(np.array(attr(node, "epsilon", 1e-5), dtype), "epsilon")
    apart = c.node("Sub", [x, c.node("ReduceMean", [x, axis], None, node)], None, node)
    spread = c.node("ReduceMean", [c.node("Mul", [apart, apart], None, node), axis], None, node)
    size = c.node("Sqrt", [c.node("Add", [spread, epsilon], None, node)], None, node)
    result = c.node("Div", [apart, size], None, node)
    if scale is not None:
        result = c.node("Mul", [result, _column(c, scale)], None, node)
    return result if bias is None else c.node("Add", [result, _column(c, bias)], None, node)


def _convolution(c: Constants, node: ir.Node, part: _Part) -> None:
    """A kernel of one pixel; the bias that alone follows becomes its own."""
    x, weight = node.inputs
    assert weight is not None
    width, units = (int(d) for d in static_shape(weight) or ())
    kernel = c.derived(
        weight, ("pixel",), [units, width, 1, 1], lambda a: np.ascontiguousarray(a.T).reshape(units, width, 1, 1)
    )
    after = sole_consumer(node.outputs[0])
    bias = None
    if after is not None and after.op_type == "Add" and after in part.nodes:
        bias = next((v for v in after.inputs if v is not None and is_const(v) and static_shape(v) == (units,)), None)
    inputs = [x, kernel] if bias is None else [x, kernel, bias]
    made = c.node("Conv", inputs, {"kernel_shape": [1, 1]}, node)
    made.shape = permuted_shape(node.outputs[0], _FIRST)
    c.replace(node.outputs[0], made)
    if bias is not None and after is not None:
        c.replace(after.outputs[0], made)
        if after.graph is not None:
            after.graph.remove(after, safe=True)
