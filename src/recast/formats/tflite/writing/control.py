"""If and Loop: IF and WHILE. Sub-graphs of a file see nothing around them, so what they read is handed in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Missing, Refused, handlers, writes
from recast.formats.tflite.writing.constants import tensor_type
from recast.formats.tflite.writing.elementwise import cast_tensor
from recast.formats.tflite.writing.emitter import Dims, Emitter, Subgraph, dims_of
from recast.graph import view

_ZERO = {"BOOL": np.bool_}


@writes("If")
def if_(w: Emitter, node: ir.Node) -> None:
    """IF, with everything that either branch reads as inputs."""
    graphs = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    seen = captured(graphs)
    taken = [w.take(v) for v in seen]
    numbers = []
    for graph in graphs:
        inner = w.inner()
        inputs = _handed_in(w, inner, seen)
        _run(inner, graph)
        outputs = [_own(inner, v, inputs) for v in graph.outputs]
        w.findings.extend(inner.findings)
        numbers.append(w.subgraph((inner, inputs, outputs)))
    options = {"then_subgraph_index": numbers[0], "else_subgraph_index": numbers[1]}
    results = [w.put(v) for v in node.outputs]
    w.op("IF", [_scalar(w, w.take(node.inputs[0])), *taken], results, ("IfOptions", options))


def captured(graphs: Sequence[ir.Graph]) -> list[ir.Value]:
    """Values from around some sub-graphs that they read, constants left out."""
    inside: set[ir.Value] = set()
    wanted: dict[ir.Value, None] = {}
    for graph in graphs:
        inside.update(graph.inputs)
        for node in graph.all_nodes():
            inside.update(node.outputs)
            for inner in node.attributes.values():
                if inner.type == ir.AttributeType.GRAPH:
                    inside.update(inner.as_graph().inputs)
    for graph in graphs:
        used = [v for n in graph.all_nodes() for v in n.inputs]
        used += list(graph.outputs)
        used += [
            v
            for n in graph.all_nodes()
            for a in n.attributes.values()
            if a.type == ir.AttributeType.GRAPH
            for v in a.as_graph().outputs
        ]
        wanted.update(dict.fromkeys(v for v in used if v is not None and v not in inside and v.const_value is None))
    return list(wanted)


def _handed_in(w: Emitter, inner: Emitter, values: Sequence[ir.Value]) -> list[int]:
    """Inputs of a sub-graph for values of the graph around it."""
    numbers = []
    for value in values:
        index = inner.like(w, w.take(value))
        inner.alias(value, index)
        numbers.append(index)
    return numbers


def _run(inner: Emitter, graph: ir.Graph) -> None:
    """Emit the nodes of a sub-graph.

    Raises:
        Refused: the first that TFLite cannot express.
    """
    known = handlers()
    for node in graph:
        if node in inner.done:
            continue
        handler = known.get((node.domain, node.op_type))
        if handler is None:
            raise Refused(f"{node.op_type} inside of a branch or loop")
        try:
            handler(inner, node)
        except Missing:
            raise
        except Refused as reason:
            raise Refused(f"{node.op_type} inside of a branch or loop: {reason}") from reason


def _own(inner: Emitter, value: ir.Value, inputs: Sequence[int]) -> int:
    """A sub-graph's result; inputs, constants and results of others are copied."""
    index = inner.take(value)
    tensor = inner.tensors[index]
    return _copied(inner, index) if index in inputs or tensor.buffer else index


def _copied(inner: Emitter, index: int) -> int:
    dims = inner.shape(index)
    if sum(d < 0 for d in dims) <= 1:
        return inner.reshape(index, dims)
    shape = inner.then("SHAPE", [index], (len(dims),), ("ShapeOptions", {"out_type": 2}), "INT32")
    return inner.then("RESHAPE", [index, shape], None, ("ReshapeOptions", {}))


def _scalar(w: Emitter, index: int) -> int:
    return w.reshape(index, ()) if w.shape(index) else index


class _Loop:
    """WHILE over (turn, going, limit, carried ..., captured ..., collected ...)."""

    def __init__(self, w: Emitter, node: ir.Node) -> None:
        self.w, self.node, self.body = w, node, node.attributes["body"].as_graph()
        self.count = len(node.inputs) - 2
        self.limited = node.inputs[0] is not None
        self.captured = captured([self.body])
        self.rows = list(self.body.outputs[1 + self.count :])
        self.whole = self.limited and self._never_stops()

    def _never_stops(self) -> bool:
        """Whether only the number of turns ends the loop."""
        first, last = self.node.inputs[1], self.body.outputs[0]
        if first is not None and not view.is_scalar(first, 1.0):
            return False
        while (producer := last.producer()) is not None and producer.op_type == "Identity":
            last = producer.inputs[0] or last
        return last is self.body.inputs[1] or view.is_scalar(last, 1.0)

    def start(self) -> list[int]:
        """The variables before the first turn."""
        w, node = self.w, self.node
        going = w.constant(np.array(True)) if node.inputs[1] is None else _scalar(w, w.take(node.inputs[1]))
        variables = [w.constant(np.array(0, np.int64)), going]
        if self.limited:
            variables.append(_scalar(w, w.take(node.inputs[0])))
        variables += [w.take(v) for v in node.inputs[2:]]
        variables += [w.take(v) for v in self.captured]
        return variables + [self._empty(v) for v in self.rows]

    def _empty(self, row: ir.Value) -> int:
        """Room for all rows where their number is known beforehand, else for none yet.

        One row more than needed where that may be nothing: WHILE takes no tensor without elements. ``finish`` cuts it.
        """
        w, dims = self.w, dims_of(row)
        if -1 in dims:
            raise Refused("collecting results of a size that is only known at run time")
        type_name = "FLOAT32" if row.dtype == ir.DataType.FLOAT16 else tensor_type(row.dtype)
        zero = w.constant(np.zeros((), _ZERO.get(type_name, type_name.lower())))
        limit = view.const(self.node.inputs[0])
        if not self.whole or limit is not None:
            turns = int(limit.reshape(-1)[0]) if self.whole and limit is not None else 1
            shape, known = w.ints([turns, *dims]), (turns if self.whole else -1, *dims)
        else:
            count = w.reshape(cast_tensor(w, w.take(self.node.inputs[0]), "INT64", "INT32"), (1,))
            count = w.then("ADD", [count, w.ints(1)], None, ("AddOptions", {}))
            parts = [count, w.ints(dims)] if dims else [count]
            options = ("ConcatenationOptions", {"axis": 0})
            shape = w.then("CONCATENATION", parts, (1 + len(dims),), options) if dims else count
            known = (-1, *dims)
        return w.then("FILL", [shape, zero], known, ("FillOptions", {}), type_name)

    def variables(self, inner: Emitter, start: list[int]) -> list[int]:
        """The variables inside; a dimension that a turn may change is unknown."""
        found = [inner.like(self.w, i) for i in start]
        first = 2 + self.limited
        for place in range(self.count):
            after = self.body.outputs[1 + place]
            tensor = inner.tensors[found[first + place]]
            if after.shape is None or len(after.shape) != len(tensor.shape):
                raise Refused("a value whose rank changes from turn to turn")
            tensor.shape = tuple(d if d == a else -1 for d, a in zip(tensor.shape, dims_of(after), strict=True))
        return found

    def condition(self, start: list[int]) -> Subgraph:
        """Still going, and turns are left."""
        inner = self.w.inner()
        inputs = self.variables(inner, start)
        going = inputs[1]
        left = inner.then("LESS", [inputs[0], inputs[2]], None, None, "BOOL") if self.limited else going
        return inner, inputs, [inner.then("LOGICAL_AND", [going, left])]

    def turn(self, start: list[int]) -> Subgraph:
        """One turn of the body."""
        inner = self.w.inner()
        inputs = self.variables(inner, start)
        head = 2 + self.limited
        for value, index in zip(self.body.inputs[:2], inputs[:2], strict=True):
            inner.alias(value, inner.reshape(index, (1,) * len(value.shape)) if value.shape else index)
        for value, index in zip([*self.body.inputs[2:], *self.captured], inputs[head:], strict=False):
            inner.alias(value, index)
        _run(inner, self.body)
        one = inner.constant(np.array(1, np.int64))
        outputs = [inner.then("ADD", [inputs[0], one], None, ("AddOptions", {}))]
        going = _own(inner, self.body.outputs[0], inputs)
        outputs.append(_scalar(inner, going))
        outputs += [_copied(inner, i) for i in inputs[2:head]]
        outputs += [_own(inner, v, inputs) for v in self.body.outputs[1 : 1 + self.count]]
        fixed = inputs[head + self.count : head + self.count + len(self.captured)]
        outputs += [_copied(inner, i) for i in fixed]
        held = inputs[len(inputs) - len(self.rows) :] if self.rows else []
        outputs += [self._with(inner, b, v, inputs[0]) for b, v in zip(held, self.rows, strict=True)]
        self.w.findings.extend(inner.findings)
        return inner, inputs, outputs

    def _with(self, inner: Emitter, held: int, value: ir.Value, turn: int) -> int:
        """The collected rows and one more."""
        row = inner.take(value)
        dims = inner.shape(row)
        more = inner.reshape(row, (1, *dims))
        if not self.whole:
            shape = (-1, *dims)
            return inner.then("CONCATENATION", [held, more], shape, ("ConcatenationOptions", {"axis": 0}))
        place = inner.reshape(cast_tensor(inner, turn, "INT64", "INT32"), (1,))
        parts = [place, inner.ints([0] * len(dims))]
        options = ("ConcatenationOptions", {"axis": 0})
        start = inner.then("CONCATENATION", parts, (1 + len(dims),), options) if dims else place
        return inner.then("DYNAMIC_UPDATE_SLICE", [held, more, start])

    def finish(self, held: int, result: int) -> None:
        """The rows without the one too many."""
        w, rank = self.w, len(self.w.shape(held))
        rest = (1 << rank) - 2
        begin, end = ([0] * rank, [-1, *[0] * (rank - 1)]) if self.whole else ([1, *[0] * (rank - 1)], [0] * rank)
        masks = {"begin_mask": rest, "end_mask": rest if self.whole else rest + 1}
        bounds = [w.ints(begin), w.ints(end), w.ints([1] * rank)]
        w.op("STRIDED_SLICE", [held, *bounds], [result], ("StridedSliceOptions", masks))

    @property
    def exact(self) -> bool:
        """Whether the collected rows have their final size from the start."""
        return self.whole and view.is_const(self.node.inputs[0])


@writes("Loop")
def loop(w: Emitter, node: ir.Node) -> None:
    """WHILE; rows that turns give are collected in a tensor of the right size, or in one that grows."""
    made = _Loop(w, node)
    start = made.start()
    results = [w.temp(i, inner_shape) for i, inner_shape in zip(start, _shapes(made, start), strict=True)]
    options = {"cond_subgraph_index": w.subgraph(made.condition(start))}
    options["body_subgraph_index"] = w.subgraph(made.turn(start))
    head = 2 + made.limited
    w.op("WHILE", start, results, ("WhileOptions", options))
    for value, index in zip(node.outputs[: made.count], results[head:], strict=False):
        w.tensors[index].name = value.name or w.tensors[index].name
        w.alias(value, index)
    for value, index in zip(node.outputs[made.count :], results[len(results) - len(made.rows) :], strict=True):
        if made.exact:
            w.alias(value, index)
            continue
        row = dims_of(made.rows[node.outputs.index(value) - made.count])
        w.alias(value, w.tensor(value.name or "", w.tensors[index].type, (-1, *row)))
        made.finish(index, w.take(value))


def _shapes(made: _Loop, start: list[int]) -> list[Dims]:
    probe = made.w.inner()
    return [probe.shape(i) for i in made.variables(probe, start)]
