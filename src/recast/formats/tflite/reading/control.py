"""Sub-graphs: conditions, loops and calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.read_call import Call
from recast.formats.tflite.read_scope import Scope
from recast.formats.tflite.reading import reads
from recast.graph.build import Builder


def _inline(c: Call, number: int, builder: Builder, inputs: Sequence[ir.Value]) -> list[ir.Value]:
    """Read another subgraph into a builder with the given values (as stored) as its inputs."""
    graphs = c.scope.reading.file.subgraphs
    if not 0 < number < len(graphs):
        raise c.bad(f"subgraph {number} does not exist")
    graph = graphs[number]
    if len(graph.inputs) != len(inputs):
        raise c.bad(f"subgraph {number} takes {len(graph.inputs)} inputs, {len(inputs)} are given")
    scope = Scope(c.scope.reading, graph, builder)
    for index, value in zip(graph.inputs, inputs, strict=True):
        scope.bind(index, value)
    scope.run()
    return [scope.raw_value(i) for i in graph.outputs]


def _branch(c: Call, number: int, inputs: Sequence[ir.Value]) -> ir.Graph:
    builder = Builder(c.b.unique(f"{c.path}/branch"), c.scope.reading.names)
    for value in _inline(c, number, builder, inputs):
        builder.output(builder.op("Identity", [value]))
    return builder.graph()


@reads("CALL")
def call(c: Call) -> None:
    """The subgraph's operators take the call's place."""
    values = [c.raw(i) for i in range(c.count)]
    for number, value in enumerate(_inline(c, int(c.opt("subgraph")), c.b, values)):
        c.out_raw(value, number)


@reads("IF")
def if_(c: Call) -> None:
    """Both branches see the outer values directly."""
    values = [c.raw(i) for i in range(1, c.count)]
    condition = c.raw(0)
    if condition.shape:
        condition = c.reshape(condition, [])
    branches = {
        "then_branch": _branch(c, int(c.opt("then_subgraph_index")), values),
        "else_branch": _branch(c, int(c.opt("else_subgraph_index")), values),
    }
    if any(len(b.outputs) != len(c.operator.outputs) for b in branches.values()):
        raise c.bad("the branches have different numbers of outputs")
    results = c.b.node("If", [condition], branches, len(c.operator.outputs))
    for number, value in enumerate(results):
        kind = branches["then_branch"].outputs[number].dtype
        if kind is not None:
            value.dtype = kind
        _common(value, [b.outputs[number] for b in branches.values()])
        c.out_raw(value, number)


def _common(value: ir.Value, sources: Sequence[ir.Value]) -> None:
    """The shape two values share; None where they differ."""
    shapes = [s.shape for s in sources]
    first = shapes[0]
    if first is None or any(s is None or len(s) != len(first) for s in shapes):
        return
    dims = [d if all(s is not None and s[i] == d for s in shapes) else None for i, d in enumerate(first)]
    value.shape = ir.Shape(dims)


@reads("WHILE")
def while_(c: Call) -> None:
    """The condition is computed before the loop and at the end of its body."""
    test, work = int(c.opt("cond_subgraph_index")), int(c.opt("body_subgraph_index"))
    start = [c.raw(i) for i in range(c.count)]
    body = Builder(c.b.unique(f"{c.path}/body"), c.scope.reading.names)
    body.input(f"{c.path}/turn", ir.DataType.INT64, ())
    body.input(f"{c.path}/go", ir.DataType.BOOL, ())
    carried = [_carried(c, body, number, value) for number, value in enumerate(start)]
    results = _inline(c, work, body, carried)
    if len(results) != len(start) or len(c.operator.outputs) != len(start):
        raise c.bad("the body's outputs do not fit the loop's values")
    go_on = _scalar(body, _inline(c, test, body, results))
    first = _scalar(c.b, _inline(c, test, c.b, start))
    body.output(body.op("Identity", [go_on]))
    for value in results:
        body.output(body.op("Identity", [value]))
    outputs = c.b.node("Loop", [None, first, *start], {"body": body.graph()}, len(start))
    for number, (value, inner) in enumerate(zip(outputs, results, strict=True)):
        kind = start[number].dtype
        if kind is not None:
            value.dtype = kind
        _common(value, [carried[number], inner])
        c.out_raw(value, number)


def _carried(c: Call, body: Builder, number: int, value: ir.Value) -> ir.Value:
    """A loop value inside the body: sizes that the file leaves open may change from turn to turn."""
    told = c.tensor(number).signature
    dims = [d if d >= 0 else None for d in told] if value.shape is None or len(value.shape) != len(told) else []
    if value.shape is not None and len(value.shape) == len(told):
        dims = [h if s >= 0 and isinstance(h, int) else None for h, s in zip(value.shape, told, strict=True)]
    dtype = value.dtype or ir.DataType.FLOAT
    return body.input(f"{c.path}/value{number}", dtype, dims)


def _scalar(builder: Builder, values: Sequence[ir.Value]) -> ir.Value:
    value = values[0]
    if value.shape is not None and len(value.shape) == 0:
        return value
    return builder.op("Reshape", [value, builder.const(np.zeros(0, np.int64), np.int64, "shape")])
