"""Layers around other layers."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.config import Layer
from recast.formats.keras.reading import reads
from recast.formats.keras.reading.recurrent import Run, inner_layer, reverse, run_layer

_STEPWISE = ("Dense", "Activation", "Dropout", "ReLU", "LeakyReLU", "ELU", "LayerNormalization")


def _inner(layer: Layer) -> list[tuple[str, Layer]]:
    return [("layer", inner_layer(layer, layer.config["layer"]))]


@reads("TimeDistributed", children=_inner, masking="keep")
def time_distributed(c: LayerCall) -> Any:
    """Apply the inner layer to every step: steps are folded into the batch, unless it works on any rank."""
    (inner,) = (child for child in c.layer.values["children"].values())
    x = c.x
    last_axis = inner.config.get("axis", -1) in (-1, [-1])
    if inner.class_name in _STEPWISE and last_axis and len(c.dims(x)) >= 3:
        return c.reading.call(inner, [x], {})
    batch = x.shape[0] if x.shape is not None else None
    steps, rest = c.fixed(x, 1), [c.fixed(x, axis) for axis in range(2, c.rank)]
    folded = c.op("Reshape", [x, c.const([-1, *rest])])
    first: Any = batch * steps if isinstance(batch, int) else f"{c.layer.path}_steps"
    folded.shape = ir.Shape([first, *rest])
    made = c.reading.call(inner, [folded], {})
    if not isinstance(made, ir.Value):
        raise c.refuse("an inner layer with several outputs")
    after = [c.fixed(made, axis) for axis in range(1, len(c.dims(made)))]
    y = c.op("Reshape", [made, c.const([-1, steps, *after])])
    y.shape = ir.Shape([batch, steps, *after])
    return y


def _both(layer: Layer) -> list[tuple[str, Layer]]:
    forward = inner_layer(layer, layer.config["layer"])
    spec = layer.config.get("backward_layer")
    if spec is None:
        backward = inner_layer(layer, layer.config["layer"])
        backward.config = {**backward.config, "go_backwards": not backward.config.get("go_backwards", False)}
    else:
        backward = inner_layer(layer, spec)
    forward.path, backward.path = f"{layer.path}/forward", f"{layer.path}/backward"
    return [("forward_layer", forward), ("backward_layer", backward)]


@reads("Bidirectional", children=_both, masking="use")
def bidirectional(c: LayerCall) -> Any:
    """Two recurrent layers, one in each direction, merged."""
    c.refuse_mask()
    forward, backward = c.layer.values["children"].values()
    x, states = c.x, _states(c)
    half = len(states) // 2
    config = forward.config
    made: list[Run] = []
    for layer, given in ((forward, states[:half]), (backward, states[half:])):
        inner = LayerCall(c.reading, layer, [x])
        with c.b.layer(layer.path, layer.class_name):
            made.append(run_layer(inner, layer, x, given))
    if config.get("return_sequences"):
        first, second = made[0].sequence, made[1].sequence
        if config.get("go_backwards"):
            first = reverse(c, first)
        if not backward.config.get("go_backwards"):
            second = reverse(c, second)
    else:
        first, second = made[0].last, made[1].last
    merged = _merge(c, first, second)
    if config.get("return_state"):
        return [*merged, *made[0].states, *made[1].states]
    return merged[0] if len(merged) == 1 else merged


def _states(c: LayerCall) -> list[ir.Value]:
    value = c.kwargs.get("initial_state")
    found = [*c.tensors[1:], *(value if isinstance(value, list) else [])]
    if len(found) % 2 or not all(isinstance(v, ir.Value) for v in found):
        raise c.refuse("an odd number of initial states")
    return found


def _merge(c: LayerCall, first: ir.Value, second: ir.Value) -> list[ir.Value]:
    mode = c.layer.config.get("merge_mode", "concat")
    if mode is None:
        return [first, second]
    if mode == "concat":
        return [c.op("Concat", [first, second], {"axis": len(c.dims(first)) - 1})]
    if mode in ("sum", "mul"):
        return [c.op("Add" if mode == "sum" else "Mul", [first, second])]
    if mode == "ave":
        return [c.op("Mul", [c.op("Add", [first, second]), c.like(0.5, first)])]
    raise c.refuse(f"merge_mode '{mode}'")


@reads("LayerScale", weights=lambda _: ["gamma"], masking="keep")
def layer_scale(c: LayerCall) -> ir.Value:
    """Multiply each channel by a learnt factor (keras.applications ConvNeXt)."""
    return c.op("Mul", [c.x, c.param("gamma", (c.fixed(c.x, -1),))])


@reads("StochasticDepth", masking="keep")
def stochastic_depth(c: LayerCall) -> ir.Value:
    """Identity at inference."""
    return c.op("Identity", [c.x])
