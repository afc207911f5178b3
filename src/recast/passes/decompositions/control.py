"""Scan as a Loop; a Loop of a known, small number of turns written out."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.infer import infer_node, refine_node
from recast.graph.view import const, is_scalar
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.selecting import FAR, extent

_MOST_NODES = 4096  # of a loop that is written out


@decomposes("Scan")
def scan(e: Expansion) -> Results:
    """A Loop whose body picks this turn's elements; what it collects is turned around and moved afterwards."""
    refine_node(e.node)  # the body's shapes follow from what is known by now
    body = e.node.attributes["body"].as_graph()
    scanned = e.attr("num_scan_inputs")
    states = len(e.node.inputs) - scanned
    sequences = [e.input(states + i) for i in range(scanned)]
    axes = [a % e.rank(s) for a, s in zip(e.attr("scan_input_axes") or [0] * scanned, sequences, strict=True)]
    back = e.attr("scan_input_directions") or [0] * scanned
    count = len(body.outputs) - states
    out_axes = e.attr("scan_output_axes") or [0] * count
    out_back = e.attr("scan_output_directions") or [0] * count
    ranks = [e.rank(v) + 1 for v in body.outputs[states:]]
    turns = e.op("Reshape", extent(e, sequences[0], axes[0]), e.ints())
    backwards = [
        e.op("Slice", s, e.ints(-1), e.ints(-FAR), e.ints(a), e.ints(-1)) if b else s
        for s, a, b in zip(sequences, axes, back, strict=True)
    ]
    _as_loop_body(e, body, states, list(zip(backwards, axes, strict=True)))
    inputs = [turns, None, *e.node.inputs[:states]]
    results = list(e.ops("Loop", inputs, {"body": ir.AttrGraph("body", body)}, states + count))
    total = e.dims(sequences[0])[axes[0]]
    for index, value in enumerate(results):
        inner = body.outputs[1 + index]
        value.type = inner.type
        if index < states:
            value.shape = inner.shape
            continue
        value.shape = ir.Shape([total, *(inner.shape or ())])
        results[index] = _placed(e, value, (ranks, out_axes, out_back), index - states)
    return tuple(results)


def _placed(e: Expansion, value: ir.Value, how: tuple[list[int], list[int], list[int]], index: int) -> ir.Value:
    """Collected rows in the direction and along the axis that the Scan wants."""
    ranks, axes, back = how
    if back[index]:
        value = e.op("Slice", value, e.ints(-1), e.ints(-FAR), e.ints(0), e.ints(-1))
    axis = axes[index] % ranks[index]
    if axis:
        value = e.op("Transpose", value, perm=[*range(1, axis + 1), 0, *range(axis + 1, ranks[index])])
    return value


def _as_loop_body(e: Expansion, body: ir.Graph, states: int, sequences: list[tuple[ir.Value, int]]) -> None:
    """Change a Scan's body: turn and condition come in, the elements are gathered, the condition goes out."""
    unique = e.editor.unique
    turn = ir.Value(name=unique("turn"), shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
    going = ir.Value(name=unique("going"), shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
    picked = []
    for (sequence, axis), old in zip(sequences, body.inputs[states:], strict=True):
        node = ir.node("Gather", [sequence, turn], {"axis": axis}, name=unique("pick"))
        node.outputs[0].name = unique("picked")
        infer_node(node)
        ir.convenience.replace_all_uses_with(old, node.outputs[0], replace_graph_outputs=True)
        picked.append(node)
    del body.inputs[states:]
    body.inputs.insert(0, going)
    body.inputs.insert(0, turn)
    go_on = ir.node("Identity", [going], name=unique("go_on"))
    go_on.outputs[0].name = unique("goes_on")
    infer_node(go_on)
    nodes = [*picked, go_on]
    first = next(iter(body), None)
    if first is None:
        body.extend(nodes)
    else:
        body.insert_before(first, nodes)
    body.outputs.insert(0, go_on.outputs[0])


@decomposes("Loop")
def loop(e: Expansion) -> Results:
    """Written out turn by turn, where only the constant number of turns ends it."""
    body = e.node.attributes["body"].as_graph()
    turns = e.constant(0, "a number of turns")
    if turns is None or not _never_stops(e, body):
        raise Unfit("a loop that ends by a condition")
    count = int(turns.reshape(-1)[0])
    if count * max(len(body), 1) > _MOST_NODES:
        raise Unfit(f"a loop of {count} turns")
    carried = list(e.node.inputs[2:])
    rows: list[list[ir.Value]] = [[] for _ in body.outputs[1 + len(carried) :]]
    for turn in range(count):
        copy = body.clone(allow_outer_scope_values=True)
        finals = e.inlined(copy, [e.int(turn), e.array(np.array(True)), *carried])
        carried = list(finals[1 : 1 + len(carried)])
        for kept, value in zip(rows, finals[1 + len(carried) :], strict=True):
            kept.append(e.op("Unsqueeze", value, e.ints(0)))
    if not count and rows:
        raise Unfit("a loop without turns that collects rows")
    results = [v if v is not None and v not in e.node.inputs else e.op("Identity", v) for v in carried]
    stacked = [kept[0] if len(kept) == 1 else e.op("Concat", *kept, axis=0) for kept in rows]
    return (*results, *stacked)


def _never_stops(e: Expansion, body: ir.Graph) -> bool:
    first, last = e.optional(1), body.outputs[0]
    if first is not None and not is_scalar(first, 1.0):
        return False
    while (producer := last.producer()) is not None and producer.op_type == "Identity":
        last = producer.inputs[0] or last
    array = const(last)
    return last is body.inputs[1] or (array is not None and bool(array.all()))
