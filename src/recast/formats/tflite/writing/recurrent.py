"""LSTM, GRU and RNN: unrolled over a short known sequence, else a WHILE loop.

LiteRT's own UNIDIRECTIONAL_SEQUENCE_LSTM is not used: it keeps its state from one inference to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.cells import ACTIVATIONS, Cell
from recast.formats.tflite.writing.emitter import Emitter, dims_of
from recast.formats.tflite.writing.weights import float_constant, weight_operand
from recast.graph import view

_LONGEST = 64  # steps up to which a sequence is unrolled
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True)
class Run:
    """One direction of a recurrent operator, over tensors (batch, time, ·) or (time, batch, ·)."""

    cell: Cell
    axis: int  # of time
    steps: int  # -1: not known
    batch: int
    backward: bool
    states: list[int | None]

    def dims(self, *rest: int) -> tuple[int, ...]:
        """A shape with batch and time in order."""
        return (self.batch, self.steps, *rest) if self.axis else (self.steps, self.batch, *rest)


@writes("LSTM", "GRU", "RNN")
def recurrent(w: Emitter, node: ir.Node) -> None:
    """All directions, and the results that are used."""
    _check(node)
    x = node.inputs[0]
    assert x is not None
    axis = int(view.attr(node, "layout", 0))
    dims = dims_of(x)
    names = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    directions = names[view.attr(node, "direction", "forward")]
    source = w.take(x)
    sequences, finals = [], []
    wanted = bool(node.outputs[0].uses()) or node.outputs[0].is_graph_output()
    for index, backward in enumerate(directions):
        cell = _cell(w, node, index)
        states = [_initial(w, node, i, index, axis) for i in range(2 if node.op_type == "LSTM" else 1)]
        run = Run(cell, axis, dims[axis], dims[1 - axis], backward, states)
        projected = cell.project(w, source, run.dims(cell.gates * cell.hidden))
        if 0 < run.steps <= _LONGEST:
            sequence, final = _unrolled(w, run, projected, wanted)
        else:
            sequence, final = _looped(w, run, projected)
        sequences.append(sequence)
        finals.append(final)
    _results(w, node, sequences, finals)


def _check(node: ir.Node) -> None:
    for name in ("clip", "input_forget"):
        if view.attr(node, name, 0):
            raise Refused(f"'{name}'")
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        raise Refused("sequence lengths")
    if len(node.inputs) > 7 and node.inputs[7] is not None:
        raise Refused("peephole weights")


def _cell(w: Emitter, node: ir.Node, direction: int) -> Cell:
    hidden = int(view.attr(node, "hidden_size"))
    gates = _GATES[node.op_type]
    given = view.attr(node, "activations") or []
    count = {"LSTM": 3, "GRU": 2, "RNN": 1}[node.op_type]
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[node.op_type]
    activations = given[direction * count : (direction + 1) * count] or usual
    if any(a not in ACTIVATIONS for a in activations):
        raise Refused(f"activations {activations}")
    if view.attr(node, "activation_alpha") or view.attr(node, "activation_beta"):
        raise Refused("activations with parameters")
    bias = float_constant(w, node.inputs[3]) if len(node.inputs) > 3 else None
    if len(node.inputs) > 3 and node.inputs[3] is not None and bias is None:
        raise Refused("its bias is not a constant")
    both = np.zeros(2 * gates * hidden, np.float32) if bias is None else bias[direction]
    weights = []
    for value in node.inputs[1:3]:
        whole = weight_operand(w, value)
        shape = whole.shape[1:]
        if whole.quant is not None and not whole.quant.per_tensor and whole.quant.axis == 0:
            raise Refused("weights quantised per direction")
        piece = whole.then(("D", direction), shape, _direction(direction))
        weights.append(piece.with_quant(whole.quant and whole.quant.along(max(whole.quant.axis - 1, 0))))
    after = bool(view.attr(node, "linear_before_reset", 0))
    return Cell(node.op_type, hidden, (weights[0], weights[1]), both, tuple(activations), after)


def _direction(index: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array[index]


def _initial(w: Emitter, node: ir.Node, which: int, direction: int, axis: int) -> int | None:
    """The initial state (batch, hidden) of one direction, None for zeros."""
    value = node.inputs[5 + which] if len(node.inputs) > 5 + which else None
    if value is None:
        return None
    index = w.take(value)
    dims = w.shape(index)
    place = 1 if axis else 0
    rest = (dims[0] if axis else dims[1], dims[2])
    if dims[place] == 1:
        return w.reshape(index, rest)
    return w.then("GATHER", [index, w.ints(direction)], rest, ("GatherOptions", {"axis": place}))


def _unrolled(w: Emitter, run: Run, projected: int, wanted: bool) -> tuple[int, list[int]]:
    width = w.shape(projected)[-1]
    steps = [w.temp(projected, (run.batch, width)) for _ in range(run.steps)]
    w.op("UNPACK", [projected], steps, ("UnpackOptions", {"num": run.steps, "axis": run.axis}))
    states: list[int | None] = list(run.states)
    made: list[int] = []
    for step in reversed(steps) if run.backward else steps:
        states = list(run.cell.step(w, step, states))
        made.append(_known(states[0]))
    final = [_known(s) for s in states]
    if not wanted:
        return -1, final
    ordered = made[::-1] if run.backward else made
    options = ("PackOptions", {"values_count": run.steps, "axis": run.axis})
    return w.then("PACK", ordered, run.dims(run.cell.hidden), options), final


def _known(state: int | None) -> int:
    if state is None:
        raise Refused("a recurrent operator without steps")
    return state


def _size(w: Emitter, index: int, axis: int) -> int:
    """One dimension of a tensor, at run time if need be, as a vector of one."""
    dims = w.shape(index)
    if dims[axis] >= 0:
        return w.ints([dims[axis]])
    whole = w.then("SHAPE", [index], (len(dims),), ("ShapeOptions", {"out_type": 2}), "INT32")
    return w.then("SLICE", [whole, w.ints([axis]), w.ints([1])], (1,), ("SliceOptions", {}))


def _zeros(w: Emitter, projected: int, axes: tuple[int, ...], width: int) -> int:
    """Zeros of some dimensions of the projected input and a width."""
    dims = [w.shape(projected)[a] for a in axes] + [width]
    if -1 not in dims:
        return w.constant(np.zeros(dims, np.float32))
    parts = [_size(w, projected, a) for a in axes] + [w.ints([width])]
    shape = w.then("CONCATENATION", parts, (len(parts),), ("ConcatenationOptions", {"axis": 0}))
    return w.then("FILL", [shape, w.number(0.0)], dims, ("FillOptions", {}), "FLOAT32")


def _looped(w: Emitter, run: Run, projected: int) -> tuple[int, list[int]]:
    """WHILE over (step, steps, input, output, states…)."""
    hidden = run.cell.hidden
    count = w.reshape(_size(w, projected, run.axis), ())
    states = [_zeros(w, projected, (1 - run.axis,), hidden) if s is None else s for s in run.states]
    output = _zeros(w, projected, (0, 1), hidden)
    variables = [w.ints(0), count, projected, output, *states]
    results = [w.temp(v) for v in variables]
    options = {
        "cond_subgraph_index": w.subgraph(_condition(w, variables)),
        "body_subgraph_index": w.subgraph(_body(w, run, variables)),
    }
    w.op("WHILE", variables, results, ("WhileOptions", options))
    return results[3], results[4:]


def _condition(w: Emitter, variables: list[int]) -> tuple[Emitter, list[int], list[int]]:
    inner = w.inner()
    inputs = [inner.like(w, v) for v in variables]
    return inner, inputs, [inner.then("LESS", inputs[:2], None, None, "BOOL")]


def _body(w: Emitter, run: Run, variables: list[int]) -> tuple[Emitter, list[int], list[int]]:
    inner = w.inner()
    inputs = [inner.like(w, v) for v in variables]
    step, count, projected, output, *states = inputs
    one = inner.ints(1)
    following = inner.then("ADD", [step, one], None, ("AddOptions", {}))
    place = inner.then("SUB", [count, following], None, ("SubOptions", {})) if run.backward else step
    width = inner.shape(projected)[-1]
    gathered = ("GatherOptions", {"axis": run.axis})
    now = inner.then("GATHER", [projected, place], (run.batch, width), gathered)
    after = [_known(s) for s in run.cell.step(inner, now, list(states))]
    hidden = run.cell.hidden
    shape = (run.batch, 1, hidden) if run.axis else (1, run.batch, hidden)
    update = inner.reshape(after[0], shape)
    where = inner.reshape(place, (1,))
    starts = [inner.ints([0]), where, inner.ints([0])] if run.axis else [where, inner.ints([0, 0])]
    start = inner.then("CONCATENATION", starts, (3,), ("ConcatenationOptions", {"axis": 0}), "INT32")
    written = inner.then("DYNAMIC_UPDATE_SLICE", [output, update, start])
    passed = inner.then("ADD", [count, inner.ints(0)], None, ("AddOptions", {}))
    kept = inner.reshape(projected, inner.shape(projected)) if -1 not in inner.shape(projected) else projected
    return inner, inputs, [following, passed, kept, written, *after]


def _results(w: Emitter, node: ir.Node, sequences: list[int], finals: list[list[int]]) -> None:
    """Y with its axis of directions, Y_h and Y_c; a following Squeeze of that axis is taken in."""
    axis = int(view.attr(node, "layout", 0))
    result = node.outputs[0]
    if result.uses() or result.is_graph_output():
        _sequence(w, result, sequences, axis)
    for which, value in enumerate(node.outputs[1:]):
        if not (value.uses() or value.is_graph_output()):
            continue
        parts = [final[which] for final in finals]
        if len(parts) == 1:
            w.reshape(parts[0], dims_of(value), w.put(value))
        else:
            options = ("PackOptions", {"values_count": len(parts), "axis": 1 if axis else 0})
            w.op("PACK", parts, [w.put(value)], options)


def _sequence(w: Emitter, result: ir.Value, sequences: list[int], axis: int) -> None:
    place = 2 if axis else 1
    if len(sequences) > 1:
        options = ("PackOptions", {"values_count": len(sequences), "axis": place})
        w.op("PACK", sequences, [w.put(result)], options)
        return
    follower = view.sole_consumer(result)
    axes = view.const(follower.inputs[1]) if follower is not None and follower.op_type == "Squeeze" else None
    if follower is not None and axes is not None and [int(a) % 4 for a in axes.reshape(-1)] == [place]:
        w.done.add(follower)
        w.alias(follower.outputs[0], sequences[0])
        return
    dims = dims_of(result)
    if sum(d < 0 for d in dims) <= 1:
        w.reshape(sequences[0], dims, w.put(result))
    else:
        w.op("EXPAND_DIMS", [sequences[0], w.ints(place)], [w.put(result)], ("ExpandDimsOptions", {}))
