"""Write recurrent layers out step by step, for targets without recurrent operators.

Given: LSTM, GRU and RNN nodes with constant weights and a known number of time steps (either ``layout``).
Result: one matrix product for all inputs, then per step a matrix product with the state and element-wise gates;
    forward, reverse and both directions, peepholes, ``clip``, ``linear_before_reset`` (ONNX operator specification,
    equations of LSTM, GRU and RNN).
Refuses when: the number of steps is unknown or above 1024, sequence lengths differ, gates are coupled
    (``input_forget``), weights are computed, or an activation has parameters of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.graph.finding import Finding
from recast.graph.view import attr, const, layer_of
from recast.passes import PassOptions
from recast.passes._editor import Editor

_MOST_STEPS = 1024
_ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softsign": "Softsign", "softplus": "Softplus"}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Unroll the recurrent nodes of the model in place.

    Raises:
        UnsupportedOp: recurrent nodes that cannot be unrolled (all of them).
    """
    nodes = [n for n in model.graph if n.op_type in _DEFAULTS and n.domain == ""]
    refused = [f"{layer_of(n)} ({n.op_type}: {why})" for n in nodes if (why := _refusal(n))]
    if refused:
        raise UnsupportedOp(
            f"{len(refused)} recurrent layers cannot be written out step by step",
            "; ".join(refused[:20]),
            "fix the input's shape (--input NAME=…), or convert to a target with recurrent layers",
        )
    editor = Editor(model.graph)
    for node in nodes:
        _unroll(editor, node)
    return []


def _steps(node: ir.Node) -> int | None:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None or len(shape) != 3:
        return None
    found = shape[1 if attr(node, "layout", 0) else 0]
    return found if isinstance(found, int) else None


def _refusal(node: ir.Node) -> str:
    steps = _steps(node)
    if steps is None or not 0 < steps <= _MOST_STEPS:
        return f"the number of time steps is {'unknown' if steps is None else steps}"
    given = [_input(node, i) for i in (1, 2, 3, 7)]
    if any(v is not None and const(v) is None for v in given):
        return "its weights are computed"
    lengths = _input(node, 4)
    if lengths is not None:
        array = const(lengths)
        if array is None or not np.all(array == steps):
            return "sequence lengths differ"
    if attr(node, "input_forget", 0):
        return "input and forget gates are coupled"
    if attr(node, "activation_alpha") or attr(node, "activation_beta"):
        return "an activation has parameters"
    unknown = [a for a in attr(node, "activations", []) if a.lower() not in _ACTIVATIONS]
    return f"activation {unknown[0]}" if unknown else ""


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


@dataclass
class State:
    """Hidden and cell state (N, H); None: zero."""

    h: ir.Value | None
    c: ir.Value | None


class Cell:
    """One direction of one layer: emits the nodes of single steps."""

    def __init__(self, editor: Editor, node: ir.Node, direction: int) -> None:
        self.editor, self.node, self.name = editor, node, layer_of(node)
        self.gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[node.op_type]
        w, r, b, p = (self._weights(i, direction) for i in (1, 2, 3, 7))
        if w is None or r is None:
            raise UnsupportedOp(f"{node.op_type} without weights", self.name, "export the model again")
        self.size = r.shape[1]
        rows = self.gates * self.size
        bias = np.zeros(2 * rows, w.dtype) if b is None else b
        self.wb, self.rb = bias[:rows].copy(), bias[rows:].copy()
        self.late = node.op_type == "GRU" and bool(attr(node, "linear_before_reset", 0))
        keep = 2 * self.size if self.late else rows  # the rest of the recurrent bias is added before the reset
        self.wb[:keep] += self.rb[:keep]
        self.w = editor.weight(f"{self.name}/kernel", np.ascontiguousarray(w.T))
        self.r = r
        self.peepholes = None if p is None else p.reshape(3, self.size)
        given = attr(node, "activations") or []
        count = len(_DEFAULTS[node.op_type])
        names = given[direction * count : (direction + 1) * count] or _DEFAULTS[node.op_type]
        self.activations = [_ACTIVATIONS[a.lower()] for a in names]
        self._shared: dict[str, ir.Value] = {}

    def _weights(self, index: int, direction: int) -> np.ndarray | None:
        found = const(_input(self.node, index))
        return None if found is None else found[direction]

    def op(self, op_type: str, *inputs: ir.Value, **attributes: object) -> ir.Value:
        """A node with one result."""
        return self.editor.node(op_type, inputs, attributes, before=self.node)

    def const(self, role: str, array: np.ndarray) -> ir.Value:
        """A weight of this layer, made once."""
        if role not in self._shared:
            self._shared[role] = self.editor.weight(f"{self.name}/{role}", np.ascontiguousarray(array))
        return self._shared[role]

    def project(self, x: ir.Value) -> ir.Value:
        """All inputs (T, N, I) times the kernel, plus bias: (T, N, gates * H)."""
        return self.op("Add", self.op("MatMul", x, self.w), self.const("bias", self.wb))

    def split(self, gates: ir.Value, count: int) -> list[ir.Value]:
        """Cut (N, count * H) into its gates."""
        return [self._cut(gates, i * self.size, (i + 1) * self.size) for i in range(count)]

    def _cut(self, value: ir.Value, start: int, end: int) -> ir.Value:
        ints = [self.editor.const([n], "index") for n in (start, end, -1)]
        return self.op("Slice", value, *ints)

    def activate(self, index: int, value: ir.Value) -> ir.Value:
        """Clip (if the layer does), then the activation."""
        clip = attr(self.node, "clip")
        if clip:
            dtype = self.wb.dtype
            limits = [self.editor.const(np.array(v, dtype), "clip") for v in (-float(clip), float(clip))]
            value = self.op("Clip", value, *limits)
        return self.op(self.activations[index], value)

    def step(self, x: ir.Value, state: State) -> State:
        """One step: ``x`` (N, gates * H) is the projected input."""
        if self.node.op_type == "LSTM":
            return self._lstm(x, state)
        return State(self._gru(x, state.h) if self.node.op_type == "GRU" else self._rnn(x, state.h), None)

    def _recur(self, h: ir.Value | None, x: ir.Value) -> ir.Value:
        if h is None:
            return x
        return self.op("Add", x, self.op("MatMul", h, self.const("recurrent", self.r.T)))

    def _rnn(self, x: ir.Value, h: ir.Value | None) -> ir.Value:
        return self.activate(0, self._recur(h, x))

    def _gru(self, x: ir.Value, h: ir.Value | None) -> ir.Value:
        n = self.size
        xz = self._cut(x, 0, 2 * n)
        if h is not None:
            xz = self.op("Add", xz, self.op("MatMul", h, self.const("recurrent_zr", self.r[: 2 * n].T)))
        z, r = (self.activate(0, g) for g in self.split(xz, 2))
        xh = self._cut(x, 2 * n, 3 * n)
        kernel = self.r[2 * n :].T
        if self.late:
            inner = self.const("recurrent_bias", self.rb[2 * n :])
            if h is not None:
                inner = self.op("Add", self.op("MatMul", h, self.const("recurrent_h", kernel)), inner)
            xh = self.op("Add", xh, self.op("Mul", r, inner))
        elif h is not None:
            xh = self.op("Add", xh, self.op("MatMul", self.op("Mul", r, h), self.const("recurrent_h", kernel)))
        fresh = self.activate(1, xh)
        one = self.editor.const(np.array(1, self.wb.dtype), "one")
        kept = self.op("Mul", self.op("Sub", one, z), fresh)
        return kept if h is None else self.op("Add", kept, self.op("Mul", z, h))

    def _peep(self, gate: ir.Value, index: int, c: ir.Value | None) -> ir.Value:
        if self.peepholes is None or c is None:
            return gate
        return self.op("Add", gate, self.op("Mul", c, self.const(f"peephole_{'iof'[index]}", self.peepholes[index])))

    def _lstm(self, x: ir.Value, state: State) -> State:
        i, o, f, c = self.split(self._recur(state.h, x), 4)
        entering = self.activate(0, self._peep(i, 0, state.c))
        cell = self.op("Mul", entering, self.activate(1, c))
        if state.c is not None:
            kept = self.op("Mul", self.activate(0, self._peep(f, 2, state.c)), state.c)
            cell = self.op("Add", kept, cell)
        leaving = self.activate(0, self._peep(o, 1, cell))
        return State(self.op("Mul", leaving, self.op(self.activations[2], cell)), cell)


def _unroll(editor: Editor, node: ir.Node) -> None:
    steps = _steps(node) or 0
    batch_major = bool(attr(node, "layout", 0))

    def turned(value: ir.Value | None, perm: list[int]) -> ir.Value | None:
        if value is None or not batch_major:
            return value
        return editor.node("Transpose", [value], {"perm": perm}, before=node)

    x, h0, c0 = (turned(_input(node, i), [1, 0, 2]) for i in (0, 5, 6))
    kind = attr(node, "direction", "forward")
    count = 2 if kind == "bidirectional" else 1
    rows: list[list[ir.Value]] = []
    last: list[State] = []
    for direction in range(count):
        cell = Cell(editor, node, direction)
        state = State(_pick(editor, node, h0, direction), _pick(editor, node, c0, direction))
        projected = cell.project(x)  # type: ignore[arg-type]
        hidden: list[ir.Value] = []
        backwards = kind == "reverse" or direction == 1
        for step in reversed(range(steps)) if backwards else range(steps):
            state = cell.step(cell.op("Gather", projected, editor.const(step, "step"), axis=0), state)
            if state.h is not None:
                hidden.append(state.h)
        rows.append(hidden[::-1] if backwards else hidden)
        last.append(state)
    _finish(editor, node, rows, last)


def _pick(editor: Editor, node: ir.Node, states: ir.Value | None, direction: int) -> ir.Value | None:
    """The initial state (N, H) of one direction."""
    if states is None:
        return None
    return editor.node("Gather", [states, editor.const(direction, "direction")], {"axis": 0}, before=node)


def _stack(editor: Editor, node: ir.Node, values: list[ir.Value], axis: int) -> ir.Value:
    wide = [editor.node("Unsqueeze", [v, editor.const([axis], "axes")], None, before=node) for v in values]
    return wide[0] if len(wide) == 1 else editor.node("Concat", wide, {"axis": axis}, before=node)


def _finish(editor: Editor, node: ir.Node, rows: list[list[ir.Value]], last: list[State]) -> None:
    """Build the outputs that are used: Y (T, dirs, N, H), the last h and c (dirs, N, H)."""
    results: list[ir.Value | None] = [None, None, None]
    used = [v.uses() or v.is_graph_output() for v in node.outputs]
    batch_major = bool(attr(node, "layout", 0))
    if used[0]:
        sides = [_stack(editor, node, row, 0) for row in rows]
        whole = _stack(editor, node, sides, 1)
        perm = {"perm": [2, 0, 1, 3]}
        results[0] = editor.node("Transpose", [whole], perm, before=node) if batch_major else whole
    for index, states in ((1, [s.h for s in last]), (2, [s.c for s in last])):
        present = [v for v in states if v is not None]
        if index < len(used) and used[index] and present:
            whole = _stack(editor, node, present, 0)
            perm = {"perm": [1, 0, 2]}
            results[index] = editor.node("Transpose", [whole], perm, before=node) if batch_major else whole
    for old, new in zip(node.outputs, results, strict=False):
        if new is not None:
            editor.replace(old, new)
    editor.graph.remove(node, safe=True)
