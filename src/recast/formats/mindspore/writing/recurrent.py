"""The plain LSTM as MindSpore's own primitive (``unrolled`` writes all other recurrent layers)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Ref, Writer
from recast.formats.mindspore.writing import Refusal
from recast.formats.mindspore.writing.elementwise import value_of
from recast.graph.view import attr, const, dims

DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def optional(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def plain_lstm(node: ir.Node) -> str:
    """Why a node is no plain LSTM ('' if it is one)."""
    directions = 2 if attr(node, "direction", "forward") == "bidirectional" else 1
    if optional(node, 4) is not None:
        return "sequence lengths"
    if optional(node, 7) is not None:
        return "peepholes"
    if attr(node, "clip", 0.0) or attr(node, "input_forget", 0) or attr(node, "layout", 0):
        return "clip, input_forget or layout"
    if attr(node, "activations", DEFAULT["LSTM"] * directions) != DEFAULT["LSTM"] * directions:
        return "other activations"
    if any(const(optional(node, i)) is None for i in (1, 2)) or (
        optional(node, 3) and const(optional(node, 3)) is None
    ):
        return "its weights must be constant"
    return ""


def lstm(w: Writer, node: ir.Node) -> None:
    """A node that ``plain_lstm`` has nothing against."""
    direction = attr(node, "direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    made = [_one(w, node, d, direction == "reverse" or d == 1) for d in range(count)]
    outputs = list(node.outputs)
    if outputs:
        w.bind(outputs[0], joined(w, [w.fn("ExpandDims", m[0], 1) for m in made], 1))
    for index in (1, 2):
        if len(outputs) > index:
            w.bind(outputs[index], joined(w, [m[index] for m in made], 0))


def size_of(kernel: ir.Value) -> int:
    """The last dimension of a kernel (D, 4 H, size)."""
    size = dims(kernel)[-1]
    if not isinstance(size, int):
        raise Refusal("its weights' shape is not known")
    return size


def joined(w: Writer, parts: list[Ref], axis: int) -> Ref:
    return parts[0] if len(parts) == 1 else w.fn("Concat", w.pack(parts), axis)


def _one(w: Writer, node: ir.Node, direction: int, backwards: bool) -> tuple[Ref, Ref, Ref]:
    """One direction: (T, N, H) and the last two states (1, N, H)."""
    x, kernel = value_of(node), value_of(node, 1)
    hidden = int(attr(node, "hidden_size", 0)) or size_of(value_of(node, 2))
    states = [first_state(w, node, index, direction, hidden) for index in (5, 6)]
    flat, biased = _flattened(node, direction, hidden)
    packed = w.weight(kernel, flat, f"direction{direction}" if direction else "")
    attributes: dict[str, Any] = {
        "input_size": size_of(kernel),
        "hidden_size": hidden,
        "num_layers": 1,
        "has_bias": biased,
        "bidirectional": False,
        "dropout": 0.0,
        "proj_size": 0,
    }
    data: Arg = w.fn("ReverseV2", x, (0,)) if backwards else x
    result = w.prim("LSTM", [data, *states, packed], attributes)
    y = w.item(result, 0)
    return (w.fn("ReverseV2", y, (0,)) if backwards else y), w.item(result, 1), w.item(result, 2)


def _flattened(node: ir.Node, direction: int, hidden: int) -> tuple[np.ndarray, bool]:
    """All weights of a direction in one column: gates i f g o, input kernel, state kernel, bias."""

    def ordered(array: np.ndarray) -> np.ndarray:
        i, o, f, g = (array[k * hidden : (k + 1) * hidden] for k in range(4))
        return np.concatenate([i, f, g, o])

    parts = [ordered(np.asarray(const(value_of(node, k)))[direction]).reshape(-1) for k in (1, 2)]
    bias = const(optional(node, 3))
    if bias is not None:
        both = bias[direction]
        parts.append(ordered(both[: 4 * hidden]) + ordered(both[4 * hidden :]))
    return np.concatenate(parts).reshape(-1, 1, 1), bias is not None


def first_state(w: Writer, node: ir.Node, index: int, direction: int, hidden: int) -> Arg:
    """The first state (1, N, H) of a direction; zeros where none is given."""
    held, turned = optional(node, index), bool(attr(node, "layout", 0))
    axis = 0 if turned else 1
    batch = dims(value_of(node))[axis]
    if held is not None:
        state: Arg = w.fn("Transpose", held, (1, 0, 2)) if turned else held
        if dims(held)[1 - axis] == 1:
            return state
        masks = 0b110  # all of the batch and the state
        return w.fn("StridedSlice", state, (direction, 0, 0), (direction + 1, 0, 0), (1, 1, 1), masks, masks, 0, 0, 0)
    if isinstance(batch, int):
        return np.zeros((1, batch, hidden), np.float32)
    now = w.item(w.fn("Shape", value_of(node)), axis)
    return w.fn("FillV2", w.pack([1, now, hidden]), np.asarray(0, np.float32))
