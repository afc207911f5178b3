"""One step of an LSTM, GRU or RNN, on (batch, ·) tensors. Gates in ONNX's order: i o f c, z r h."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recast.formats.tflite.writing.constants import Weight
from recast.formats.tflite.writing.emitter import Emitter

ACTIVATIONS = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU"}

States = list[int | None]


@dataclass(frozen=True)
class Cell:
    """Weights W [gates * hidden, in] and R [gates * hidden, hidden], biases of both, for one direction."""

    kind: str
    hidden: int
    weights: tuple[Weight, Weight]
    bias: np.ndarray
    activations: tuple[str, ...]
    reset_after: bool  # GRU: linear_before_reset

    @property
    def gates(self) -> int:
        """Number of gates."""
        return self.weights[0].shape[0] // self.hidden

    def project(self, w: Emitter, source: int, shape: tuple[int, ...]) -> int:
        """The input's part of all gates, for all steps at once."""
        given, own = np.split(self.bias, 2)
        added = own.copy()
        if self.kind == "GRU" and self.reset_after:
            added[2 * self.hidden :] = 0
        return self._dense(w, source, self.weights[0], given + added, shape)

    def step(self, w: Emitter, now: int, states: States) -> tuple[int, ...]:
        """The next states; the first is the output. A state that is None is zero."""
        if self.kind == "LSTM":
            return self._lstm(w, now, states)
        if self.kind == "GRU":
            return (self._gru(w, now, states[0]),)
        total = now if states[0] is None else _add(w, now, self._recur(w, states[0]))
        return (w.then(ACTIVATIONS[self.activations[0]], [total]),)

    def _lstm(self, w: Emitter, now: int, states: States) -> tuple[int, int]:
        state, cell = states
        total = now if state is None else _add(w, now, self._recur(w, state))
        gate, inside, outside = (ACTIVATIONS[a] for a in self.activations)
        squashed, candidate = _parts(w, total, (3 * self.hidden, self.hidden))
        into, out, forget = _parts(w, w.then(gate, [squashed]), (self.hidden,) * 3)
        new = _mul(w, into, w.then(inside, [candidate]))
        if cell is not None:
            new = _add(w, _mul(w, forget, cell), new)
        return _mul(w, out, w.then(outside, [new])), new

    def _gru(self, w: Emitter, now: int, state: int | None) -> int:
        gate, inside = (ACTIVATIONS[a] for a in self.activations)
        pair, candidate = _parts(w, now, (2 * self.hidden, self.hidden))
        own = np.split(self.bias, 2)[1][2 * self.hidden :]
        recurrent: int | None = None
        if state is not None and self.reset_after:
            both, recurrent = _parts(w, self._recur(w, state, own), (2 * self.hidden, self.hidden))
            pair = _add(w, pair, both)
        elif state is not None:
            pair = _add(w, pair, self._recur(w, state, None, (0, 2)))
        update, reset = _parts(w, w.then(gate, [pair]), (self.hidden, self.hidden))
        if self.reset_after:
            right = w.constant(own[None]) if recurrent is None else recurrent
            candidate = _add(w, candidate, _mul(w, reset, right))
        elif state is not None:
            candidate = _add(w, candidate, self._recur(w, _mul(w, reset, state), None, (2, 3)))
        new = w.then(inside, [candidate])
        if state is None:
            return w.then("SUB", [new, _mul(w, update, new)], None, ("SubOptions", {}))
        kept = _mul(w, update, w.then("SUB", [state, new], None, ("SubOptions", {})))
        return _add(w, new, kept)

    def _recur(
        self, w: Emitter, state: int, own: np.ndarray | None = None, gates: tuple[int, int] | None = None
    ) -> int:
        """The state's part of some gates; ``own`` is the bias of the last one."""
        weight = self.weights[1]
        first, last = gates or (0, self.gates)
        rows = (last - first) * self.hidden
        if gates is not None:
            start = first * self.hidden
            weight = weight.rows(start, rows)
        bias = np.zeros(rows, np.float32)
        if own is not None:
            bias[-len(own) :] = own
        return self._dense(w, state, weight, bias, (w.shape(state)[0], rows))

    def _dense(self, w: Emitter, source: int, weight: Weight, bias: np.ndarray, shape: tuple[int, ...]) -> int:
        filters = w.weight(weight)
        if weight.type != "FLOAT32":
            filters = w.dequantised(filters)
        options = ("FullyConnectedOptions", {"keep_num_dims": len(shape) > 2})
        return w.then("FULLY_CONNECTED", [source, filters, w.constant(bias)], shape, options)


def _parts(w: Emitter, index: int, sizes: tuple[int, ...]) -> list[int]:
    batch = w.shape(index)[0]
    parts = [w.temp(index, (batch, size)) for size in sizes]
    if len(set(sizes)) == 1:
        w.op("SPLIT", [w.ints(1), index], parts, ("SplitOptions", {"num_splits": len(sizes)}))
    else:
        inputs = [index, w.ints(sizes), w.ints(1)]
        w.op("SPLIT_V", inputs, parts, ("SplitVOptions", {"num_splits": len(sizes)}))
    return parts


def _add(w: Emitter, a: int, b: int) -> int:
    return w.then("ADD", [a, b], None, ("AddOptions", {}))


def _mul(w: Emitter, a: int, b: int) -> int:
    return w.then("MUL", [a, b], None, ("MulOptions", {}))
