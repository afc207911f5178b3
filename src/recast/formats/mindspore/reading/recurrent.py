"""MindSpore's LSTM: all weights in one column, worked out from the parameters it is joined from."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.graph.view import attr, const


def worked_out(value: ir.Value, depth: int = 0) -> np.ndarray:
    """The array of a value that is reshaped, added and joined from constants."""
    array, node = const(value), value.producer()
    if array is not None:
        return array
    if node is None or depth > 8:
        raise Refusal("its weights are not constant")
    held = [worked_out(v, depth + 1) for v in node.inputs if v is not None]
    if node.op_type == "Reshape":
        return held[0].reshape(held[1])
    if node.op_type == "Concat":
        return np.concatenate(held, axis=attr(node, "axis"))
    if node.op_type == "Add":
        return np.asarray(held[0] + held[1])
    if node.op_type in ("Unsqueeze", "Squeeze"):
        axes = tuple(int(a) for a in held[1].reshape(-1))
        return np.expand_dims(held[0], axes) if node.op_type == "Unsqueeze" else held[0].squeeze(axes)
    raise Refusal(f"its weights come from {node.op_type}")


@reads("LSTM")
def lstm(c: Call) -> tuple[Any, ...]:
    if c.attribute("num_layers", 1) != 1 or c.attribute("bidirectional", False) or c.attribute("proj_size", 0):
        raise Refusal("several layers, both directions or a projection in one primitive")
    size, hidden, biased = c.attribute("input_size"), c.attribute("hidden_size"), c.attribute("has_bias", True)
    flat = worked_out(c.value(3)).reshape(-1)
    counts = [4 * hidden * size, 4 * hidden * hidden, 4 * hidden if biased else 0]
    if sum(counts) != flat.size:
        raise Refusal("its weights have another size")
    kernel, state, bias = np.split(flat, np.cumsum(counts)[:2])
    layer = c.reader.layer or "lstm"

    def ordered(array: np.ndarray) -> np.ndarray:
        i, f, g, o = np.split(array, 4)
        return np.concatenate([i, o, f, g])

    inputs: list[ir.Value | None] = [
        c.value(0),
        c.b.weight(f"{layer}/kernel", ordered(kernel.reshape(4 * hidden, size))[None]),
        c.b.weight(f"{layer}/recurrent_kernel", ordered(state.reshape(4 * hidden, hidden))[None]),
        None,
        None,
        c.value(1),
        c.value(2),
    ]
    if biased:
        joined = np.concatenate([ordered(bias), np.zeros_like(bias)])
        inputs[3] = c.b.weight(f"{layer}/bias", joined[None])
    y, last, cell = c.b.node("LSTM", inputs, {"hidden_size": hidden}, 3)
    return c.b.op("Squeeze", [y, c.b.const([1])]), last, cell
