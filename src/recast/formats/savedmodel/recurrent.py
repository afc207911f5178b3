"""Loops that are recurrent layers become LSTM and GRU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.formats.savedmodel import constants
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.cells import Cell, Finder
from recast.formats.savedmodel.graph_def import Node
from recast.formats.savedmodel.loops import Loop
from recast.formats.savedmodel.names import below
from recast.formats.savedmodel.scope import Handle, Held, Scope, TensorList, Thing

_STEPS = 64
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}  # ONNX: i o f c; z r h


@dataclass(frozen=True)
class _Write:
    """The list that every new hidden state is written to, and the counter (None: always to place 0)."""

    place: int
    item: str
    counter: int | None


def recurrent(c: Call, loop: Loop, changing: list[int], turns: ir.Value | None) -> bool:
    """Set the loop's outputs from a recurrent operator; False where it is no plain recurrent layer."""
    written = _written(loop, changing)
    cell = None if written is None or turns is None else Finder(loop, written.item).find()
    if written is None or cell is None or turns is None:
        return False
    data = c.given[cell.read[0]]
    counters = set(changing) - {written.place, *cell.state}
    runs = [cell.read[1], *([] if written.counter is None else [written.counter])]
    if not isinstance(data, TensorList) or data.value is None or not loop.unchanged(cell.read[0]):
        return False
    if any(loop.step(i) is None for i in counters) or any(loop.step(i) != 1 or _zero(c, i) is False for i in runs):
        return False
    length = None if data.value.shape is None else data.value.shape[0]
    if length is None or not _as_long(c, turns, length) or len(data.value.shape or ()) != 3:
        return False
    weights = _weights(c, loop, cell)
    if weights is None:
        return False
    _emit(c, (cell, written), data.value, weights)
    for place in counters:
        begin = c.value(c.given[place])
        step = c.b.const(np.array(loop.step(place), begin.dtype.numpy() if begin.dtype else np.int32))
        c.out(c.op("Add", [begin, c.op("Mul", [step, c.cast(turns, begin.dtype or ir.DataType.INT32)])]), place)
    for place in set(range(c.count)) - set(changing):
        c.out(c.given[place], place)
    return True


def _written(loop: Loop, changing: list[int]) -> _Write | None:
    found: list[tuple[int, Node]] = []
    for place in changing:
        node = loop.node(loop.body, loop.body.results[place])
        if node is not None and node.op == "TensorListSetItem" and len(node.data) == 3:
            found.append((place, node))
    if len(found) != 1 or loop.origin(loop.body, found[0][1].data[0]) != found[0][0]:
        return None
    place, node = found[0]
    counter = loop.origin(loop.body, node.data[1])
    if counter is None and loop.number(loop.body, node.data[1]) != 0:
        return None
    return _Write(place, node.data[2], counter)


def _zero(c: Call, place: int) -> bool:
    begin = c.array(place)
    return begin is not None and begin.size == 1 and int(begin.reshape(-1)[0]) == 0


def _as_long(c: Call, turns: ir.Value, length: int | ir.SymbolicDim) -> bool:
    """Whether the loop runs once for every element."""
    known = constants.known(c.scope.reading, turns)
    if known is not None:
        return bool(known.size == 1 and int(known.reshape(-1)[0]) == length)
    part = constants.partial(c.scope.reading, turns)
    return part is not None and not isinstance(length, int) and part.entries == (length.value,) and bool(length.value)


def _weights(c: Call, loop: Loop, cell: Cell) -> list[np.ndarray] | None:
    """W, R and B as ONNX stores them, or None where a weight is no constant or does not fit."""
    inner = Scope(c.scope.reading, loop.body, c.b, below(c.scope.prefix, c.node), c.given)
    held = [_held(inner, loop, t) for t in (cell.x[0], cell.h[0])]
    if held[0] is None or held[1] is None or held[0].array.ndim != 2 or held[1].array.ndim != 2:
        return None
    gates, (units, columns) = len(cell.order), held[1].array.shape
    if columns != gates * units or held[0].array.shape[1] != columns:
        return None
    if any(
        b != k * units or (e is None and k != 2) or (e is not None and e != (k + 1) * units) for k, b, e in cell.spans
    ):
        return None
    biases = []
    for text in (cell.x[1], cell.h[1]):
        found = None if text is None else _held(inner, loop, text)
        if text is not None and (found is None or found.array.shape != (columns,)):
            return None
        biases.append(np.zeros(columns, held[1].array.dtype) if found is None else found.array)
    rows = [cell.order[g] for g in _ORDER[cell.kind]]
    turned = [h.array.T.reshape(gates, units, -1)[rows].reshape(1, columns, -1) for h in held if h is not None]
    bias = np.concatenate([b.reshape(gates, units)[rows].reshape(-1) for b in biases])[None]
    for array in (*turned, bias):
        c.scope.reading.allocate(array.nbytes // 16, c.place())
    return [*turned, bias]


def _held(inner: Scope, loop: Loop, text: str) -> Held | None:
    """A weight inside the body that depends on nothing that changes."""
    waiting, steps = [text], 0
    while waiting:
        steps += 1
        name, _ = loop.program.reference(loop.body, waiting.pop())
        node = loop.body.nodes.get(name)
        if steps > _STEPS or (node is None and not loop.unchanged(loop.body.arguments.index(name))):
            return None
        waiting += [] if node is None else node.data
    found: Thing = inner.thing(text)
    found = inner.reading.variable(found) if isinstance(found, Handle) else found
    return found if isinstance(found, Held) else None


def _emit(c: Call, found: tuple[Cell, _Write], data: ir.Value, weights: list[np.ndarray]) -> None:
    cell, written = found
    roles = ("kernel", "recurrent_kernel", "bias")
    values = [
        c.b.weight(f"{c.path}/{r}", ir.Tensor(np.ascontiguousarray(w))) for r, w in zip(roles, weights, strict=True)
    ]
    states = [_state(c, c.given[place]) for place in cell.state]
    while states and states[-1] is None:
        states.pop()
    if cell.kind == "LSTM" and states and states[0] is None:
        states[0] = c.op("Unsqueeze", [c.value(c.given[cell.state[0]]), c.axes(0)])
    attributes: dict[str, object] = {"hidden_size": weights[1].shape[2]}
    if cell.kind == "GRU":
        attributes["linear_before_reset"] = 1
    inputs = [data, *values, *([None, *states] if states else [])]
    results = c.b.node(cell.kind, inputs, attributes, 1 + len(cell.state))
    for place, value in zip(cell.state, results[1:], strict=True):
        c.out(c.op("Squeeze", [value, c.axes(0)]), place)
    before = c.given[written.place]
    made = results[1] if written.counter is None else c.op("Squeeze", [results[0], c.axes(1)])
    if isinstance(before, TensorList):
        c.out(TensorList(made, before.count, before.element, before.dtype), written.place)


def _state(c: Call, thing: Thing) -> ir.Value | None:
    """An initial state (1, batch, units); None for zeros, which ONNX starts with."""
    if isinstance(thing, Held):
        if not thing.array.any():
            return None
    elif isinstance(thing, ir.Value):
        node = thing.producer()
        if node is not None and node.op_type == "Expand" and node.inputs[0] is not None:
            filled = node.inputs[0].const_value
            if filled is not None and not filled.numpy().any():
                return None
    return c.op("Unsqueeze", [c.value(thing), c.axes(0)])
