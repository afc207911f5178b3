"""Recurrent layers, step by step: MindSpore has a primitive for the plain LSTM only (its own cells unroll likewise)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats._format import Finding
from recast.formats.mindspore.write import Arg, Ref, Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, exact_tanh, used, value_of
from recast.formats.mindspore.writing.recurrent import DEFAULT, first_state, joined, lstm, optional, plain_lstm, size_of
from recast.graph.view import attr, const, dims, layer_of

MAX_STEPS = 1024
_ALPHA = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "Elu": 1.0, "HardSigmoid": 0.2, "ScaledTanh": 1.0, "Affine": 1.0}
_BETA = {"HardSigmoid": 0.5, "ScaledTanh": 1.0}


@dataclass(frozen=True)
class Activation:
    """One of the operator's activations, with its parameters."""

    name: str
    alpha: float
    beta: float

    def __call__(self, w: Writer, x: Arg) -> Ref:
        def number(value: float) -> np.ndarray:
            return np.asarray(value, np.float32)

        def line() -> Ref:
            return w.fn("Add", w.fn("Mul", x, number(self.alpha)), number(self.beta))

        forms: dict[str, Callable[[], Ref]] = {
            "tanh": lambda: exact_tanh(w, x),
            "sigmoid": lambda: w.fn("Sigmoid", x),
            "relu": lambda: w.fn("ReLU", x),
            "softsign": lambda: w.prim("Softsign", [x]),
            "softplus": lambda: w.fn("Log1p", w.fn("Exp", x)),
            "affine": line,
            "hardsigmoid": lambda: w.fn("Minimum", w.fn("Maximum", line(), number(0)), number(1)),
            "scaledtanh": lambda: w.fn("Mul", exact_tanh(w, w.fn("Mul", x, number(self.beta))), number(self.alpha)),
            "leakyrelu": lambda: w.fn("Select", w.fn("Less", x, number(0)), w.fn("Mul", x, number(self.alpha)), x),
            "thresholdedrelu": lambda: w.fn("Select", w.fn("Greater", x, number(self.alpha)), x, number(0)),
            "elu": lambda: w.fn(
                "Add", w.fn("ReLU", x), w.fn("Mul", w.fn("Expm1", w.fn("Minimum", x, number(0))), number(self.alpha))
            ),
        }
        if self.name.lower() not in forms:
            raise Refusal(f"activation {self.name}")
        return forms[self.name.lower()]()


@dataclass(frozen=True)
class Cell:
    """One direction: kernels (G H, in) and (G H, H), biases (G H,), peepholes (H,) of i, o, f, activations."""

    kernel: Ref
    state: Ref
    bias: tuple[Ref, Ref]
    peepholes: list[Ref]
    activations: list[Activation]
    clip: float
    flag: bool  # GRU: linear_before_reset; LSTM: input_forget

    def activate(self, w: Writer, index: int, x: Arg) -> Ref:
        if self.clip:
            high = np.asarray(self.clip, np.float32)
            x = w.fn("Minimum", w.fn("Maximum", x, -high), high)
        return self.activations[index](w, x)


@writes("GRU", "RNN", "LSTM")
def recurrent(w: Writer, node: ir.Node) -> None:
    if node.op_type == "LSTM" and not plain_lstm(node) and dtype_of(value_of(node)) == ir.DataType.FLOAT:
        lstm(w, node)
        return
    x, turned = value_of(node), bool(attr(node, "layout", 0))
    steps = dims(x)[1 if turned else 0]
    if not isinstance(steps, int) or not 0 < steps <= MAX_STEPS:
        raise Refusal(f"it is unrolled, which needs a known number of steps up to {MAX_STEPS}")
    if dtype_of(x) != ir.DataType.FLOAT:
        raise Refusal(f"element type {dtype_of(x).name}")
    data: Arg = w.fn("Transpose", x, (1, 0, 2)) if turned else x
    parts = [w.fn("Squeeze", w.item(w.fn("Split", data, 0, steps), i), (0,)) for i in range(steps)]
    direction = attr(node, "direction", "forward")
    made = [_run(w, node, parts, d, direction == "reverse" or d == 1)
            for d in range(2 if direction == "bidirectional" else 1)]  # fmt: skip
    if used(node, 0):
        whole = joined(w, [m[0] for m in made], 1)
        w.bind(node.outputs[0], w.fn("Transpose", whole, (2, 0, 1, 3)) if turned else whole)
    for index in (1, 2):
        if used(node, index):
            last = joined(w, [m[index] for m in made], 0)
            w.bind(node.outputs[index], w.fn("Transpose", last, (1, 0, 2)) if turned else last)
    w.findings.append(Finding(f"{node.op_type} is unrolled into {steps} steps", layer_of(node)))


def _activations(node: ir.Node, direction: int) -> list[Activation]:
    names = attr(node, "activations") or DEFAULT[node.op_type] * 2
    alphas, betas = list(attr(node, "activation_alpha", [])), list(attr(node, "activation_beta", []))
    made = []
    for name in names:  # the parameters are listed for those activations that have them
        title = next((n for n in _ALPHA if n.lower() == name.lower()), "")
        alpha = alphas.pop(0) if title and alphas else _ALPHA.get(title, 0.0)
        beta = betas.pop(0) if title in (*_BETA, "Affine") and betas else _BETA.get(title, 0.0)
        made.append(Activation(name, alpha, beta))
    count = len(DEFAULT[node.op_type])
    return made[direction * count : (direction + 1) * count]


def _cell(w: Writer, node: ir.Node, direction: int) -> Cell:
    kernel, state, bias = const(value_of(node, 1)), const(value_of(node, 2)), const(optional(node, 3))
    holes = const(optional(node, 7)) if node.op_type == "LSTM" else None
    missing = (bias is None and optional(node, 3) is not None) or (holes is None and optional(node, 7) is not None)
    if kernel is None or state is None or missing:
        raise Refusal("its weights must be constant")
    rows, hidden = kernel.shape[1], state.shape[2]
    biases = np.zeros(2 * rows, np.float32) if bias is None else bias[direction]
    side = f"direction{direction}" if direction else ""
    source = optional(node, 3) or value_of(node, 1)
    peepholes = []
    if holes is not None:
        cut = [holes[direction][i * hidden : (i + 1) * hidden] for i in range(3)]
        peepholes = [w.weight(value_of(node, 7), c, f"{side}peephole{i}") for i, c in enumerate(cut)]
    return Cell(
        w.weight(value_of(node, 1), kernel[direction], side),
        w.weight(value_of(node, 2), state[direction], side),
        (w.weight(source, biases[:rows], f"{side}input"), w.weight(source, biases[rows:], f"{side}state")),
        peepholes,
        _activations(node, direction),
        float(attr(node, "clip", 0.0)),
        bool(attr(node, "input_forget" if node.op_type == "LSTM" else "linear_before_reset", 0)),
    )


def _run(w: Writer, node: ir.Node, parts: list[Ref], direction: int, backwards: bool) -> tuple[Ref, Ref, Ref]:
    """One direction: (T, 1, N, H) and the last states (1, N, H)."""
    cell, hidden = _cell(w, node, direction), size_of(value_of(node, 2))
    states = [w.fn("Squeeze", first_state(w, node, index, direction, hidden), (0,)) for index in (5, 6)]
    made: list[Ref] = []
    step = {"GRU": _gru, "RNN": _rnn, "LSTM": _lstm}[node.op_type]
    lengths = optional(node, 4)
    for at in reversed(range(len(parts))) if backwards else range(len(parts)):
        fresh = step(w, cell, parts[at], states)
        result: Any = fresh[0]
        if lengths is not None:  # a sequence that has ended keeps its state and gives zeros
            going = w.fn("ExpandDims", w.fn("Greater", lengths, np.asarray(at, dtype_of(lengths).numpy())), 1)
            result = w.fn("Select", going, result, np.asarray(0, np.float32))
            fresh = [w.fn("Select", going, new, old) for new, old in zip(fresh, states, strict=False)]
        states = [*fresh, *states[len(fresh) :]]
        made.append(result)
    ordered = made[::-1] if backwards else made
    stacked = w.prim("Stack", [w.pack(ordered)], {"num": len(made), "axis": 0, "N": len(made)})
    return w.fn("ExpandDims", stacked, 1), w.fn("ExpandDims", states[0], 0), w.fn("ExpandDims", states[1], 0)


def _affine(w: Writer, x: Arg, kernel: Ref, bias: Ref) -> Ref:
    return w.fn("BiasAdd", w.fn("MatMul", x, kernel, False, True), bias, 0)


def _rnn(w: Writer, cell: Cell, x: Ref, states: list[Ref]) -> list[Ref]:
    total = w.fn("Add", _affine(w, x, cell.kernel, cell.bias[0]), _affine(w, states[0], cell.state, cell.bias[1]))
    return [cell.activate(w, 0, total)]


def _gru(w: Writer, cell: Cell, x: Ref, states: list[Ref]) -> list[Ref]:
    """ONNX's equations of GRU; gates z r h."""
    state = states[0]
    split_x = w.fn("Split", _affine(w, x, cell.kernel, cell.bias[0]), 1, 3)
    split_h = w.fn("Split", _affine(w, state, cell.state, cell.bias[1]), 1, 3)
    update, reset = (cell.activate(w, 0, w.fn("Add", w.item(split_x, i), w.item(split_h, i))) for i in (0, 1))
    if cell.flag:
        inner = w.fn("Mul", reset, w.item(split_h, 2))
    else:
        kernels, biases = w.fn("Split", cell.state, 0, 3), w.fn("Split", cell.bias[1], 0, 3)
        inner = _affine(w, w.fn("Mul", reset, state), w.item(kernels, 2), w.item(biases, 2))
    proposed = cell.activate(w, 1, w.fn("Add", w.item(split_x, 2), inner))
    kept = w.fn("Mul", update, state)
    return [w.fn("Add", w.fn("Sub", proposed, w.fn("Mul", update, proposed)), kept)]


def _lstm(w: Writer, cell: Cell, x: Ref, states: list[Ref]) -> list[Ref]:
    """ONNX's equations of LSTM; gates i o f c, peepholes i o f."""
    hidden, memory = states
    total = w.fn("Add", _affine(w, x, cell.kernel, cell.bias[0]), _affine(w, hidden, cell.state, cell.bias[1]))
    gates = [w.item(w.fn("Split", total, 1, 4), i) for i in range(4)]

    def seen(index: int, state: Ref) -> Ref:
        if not cell.peepholes:
            return gates[index]
        return w.fn("Add", gates[index], w.fn("Mul", state, cell.peepholes[index]))

    entering = cell.activate(w, 0, seen(0, memory))
    one = np.asarray(1, np.float32)  # coupled: the forget gate is what the input gate leaves
    forget = w.fn("Sub", one, entering) if cell.flag else cell.activate(w, 0, seen(2, memory))
    now = w.fn("Add", w.fn("Mul", forget, memory), w.fn("Mul", entering, cell.activate(w, 1, gates[3])))
    leaving = cell.activate(w, 0, seen(1, now))
    return [w.fn("Mul", leaving, cell.activations[2](w, now)), now]
