"""GRU and RNN, step by step: MindSpore has no primitive for them on the CPU (and unrolls its own cells likewise)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.formats._format import Finding
from recast.formats.mindspore.write import Arg, Ref, Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, exact_tanh, value_of
from recast.formats.mindspore.writing.recurrent import first_state, joined, optional, size_of
from recast.graph.view import attr, const, dims, layer_of

MAX_STEPS = 1024
_DEFAULT = {"GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@dataclass(frozen=True)
class Cell:
    """The constant weights of one direction: kernels (G H, in), (G H, H), biases (G H,)."""

    kernel: Ref
    state: Ref
    bias: tuple[Ref, Ref]
    activations: list[str]
    reset_after: bool


@writes("GRU", "RNN")
def unrolled(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    steps, direction = dims(x)[0], attr(node, "direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    given = attr(node, "activations", _DEFAULT[node.op_type] * count)
    if not isinstance(steps, int) or not 0 < steps <= MAX_STEPS:
        raise Refusal(f"it is unrolled, which needs a known number of steps up to {MAX_STEPS}")
    if optional(node, 4) is not None or attr(node, "clip", 0.0) or attr(node, "layout", 0):
        raise Refusal("sequence lengths, clip or layout")
    if dtype_of(x) != ir.DataType.FLOAT or not set(given) <= {"Sigmoid", "Tanh", "Relu"}:
        raise Refusal("its element type or activations")
    parts = [w.fn("Squeeze", w.item(w.fn("Split", x, 0, steps), i), (0,)) for i in range(steps)]
    per = len(given) // count
    made = []
    for d in range(count):
        cell = _cell(w, node, d, given[d * per : (d + 1) * per])
        made.append(_run(w, node, parts, (cell, d, direction == "reverse" or d == 1)))
    if node.outputs:
        w.bind(node.outputs[0], joined(w, [m[0] for m in made], 1))
    if len(node.outputs) > 1:
        w.bind(node.outputs[1], joined(w, [m[1] for m in made], 0))
    w.findings.append(Finding(f"{node.op_type} is unrolled into {steps} steps", layer_of(node)))


def _cell(w: Writer, node: ir.Node, direction: int, activations: list[str]) -> Cell:
    kernel, state, bias = const(value_of(node, 1)), const(value_of(node, 2)), const(optional(node, 3))
    if kernel is None or state is None or (bias is None and optional(node, 3) is not None):
        raise Refusal("its weights must be constant")
    rows = kernel.shape[1]
    biases = np.zeros(2 * rows, np.float32) if bias is None else bias[direction]
    side = f"direction{direction}" if direction else ""
    source = optional(node, 3) or value_of(node, 1)
    return Cell(
        w.weight(value_of(node, 1), kernel[direction], side),
        w.weight(value_of(node, 2), state[direction], side),
        (w.weight(source, biases[:rows], f"{side}input"), w.weight(source, biases[rows:], f"{side}state")),
        activations,
        bool(attr(node, "linear_before_reset", 0)),
    )


def _run(w: Writer, node: ir.Node, parts: list[Ref], one: tuple[Cell, int, bool]) -> tuple[Ref, Ref]:
    """One direction: (T, 1, N, H) and the last state (1, N, H)."""
    cell, direction, backwards = one
    hidden = size_of(value_of(node, 2))
    state = w.fn("Squeeze", first_state(w, node, 5, direction, hidden), (0,))
    made: list[Ref] = []
    step = _gru if node.op_type == "GRU" else _rnn
    for part in reversed(parts) if backwards else parts:
        state = step(w, cell, part, state)
        made.append(state)
    ordered = made[::-1] if backwards else made
    stacked = w.prim("Stack", [w.pack(ordered)], {"num": len(made), "axis": 0, "N": len(made)})
    return w.fn("ExpandDims", stacked, 1), w.fn("ExpandDims", state, 0)


def _activate(w: Writer, x: Arg, name: str) -> Ref:
    return exact_tanh(w, x) if name == "Tanh" else w.fn("ReLU" if name == "Relu" else name, x)


def _affine(w: Writer, x: Arg, kernel: Ref, bias: Ref) -> Ref:
    return w.fn("BiasAdd", w.fn("MatMul", x, kernel, False, True), bias, 0)


def _rnn(w: Writer, cell: Cell, x: Ref, state: Ref) -> Ref:
    total = w.fn("Add", _affine(w, x, cell.kernel, cell.bias[0]), _affine(w, state, cell.state, cell.bias[1]))
    return _activate(w, total, cell.activations[0])


def _gru(w: Writer, cell: Cell, x: Ref, state: Ref) -> Ref:
    """ONNX's equations of GRU; gates z r h."""
    gate, new = cell.activations
    split_x = w.fn("Split", _affine(w, x, cell.kernel, cell.bias[0]), 1, 3)
    split_h = w.fn("Split", _affine(w, state, cell.state, cell.bias[1]), 1, 3)
    update, reset = (_activate(w, w.fn("Add", w.item(split_x, i), w.item(split_h, i)), gate) for i in (0, 1))
    if cell.reset_after:
        inner = w.fn("Mul", reset, w.item(split_h, 2))
    else:
        kernels, biases = w.fn("Split", cell.state, 0, 3), w.fn("Split", cell.bias[1], 0, 3)
        inner = _affine(w, w.fn("Mul", reset, state), w.item(kernels, 2), w.item(biases, 2))
    proposed = _activate(w, w.fn("Add", w.item(split_x, 2), inner), new)
    kept = w.fn("Mul", update, state)
    return w.fn("Add", w.fn("Sub", proposed, w.fn("Mul", update, proposed)), kept)
