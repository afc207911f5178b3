"""LSTM, GRU and SimpleRNN, one direction or Bidirectional. Keras works batch-major and returns (batch, time, units)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._constants import Const
from recast.formats.keras.writing._context import Context, keras_shape
from recast.formats.keras.writing._network import Shape, Tensor, Weight, slice_literal
from recast.graph import view

_LAYER = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}
_CELL = {"LSTM": "lstm_cell", "GRU": "gru_cell", "RNN": "simple_rnn_cell"}
_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}  # Keras's gates by ONNX's position
_DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ACTIVATION = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softsign": "softsign", "Softplus": "softplus"}


@dataclass(frozen=True)
class _Unit:
    """What a recurrent node says, besides its weights."""

    kind: str
    units: int
    directions: int
    backwards: bool
    batch_major: bool


def _activations(node: ir.Node, directions: int) -> dict[str, str]:
    default = _DEFAULT[node.op_type]
    names = view.attr(node, "activations") or default * directions
    if names[len(default) :] != names[: len(default)] * (directions - 1):
        raise Unfit("its directions have different activations")
    names = names[: len(default)]
    if node.op_type == "LSTM" and names[1] != names[2]:
        raise Unfit("its cell and output activations differ")
    unknown = [n for n in names if n not in _ACTIVATION]
    if unknown:
        raise Unfit(f"Keras has no equal of its activation {unknown[0]}")
    if node.op_type == "RNN":
        return {"activation": _ACTIVATION[names[0]]}
    return {"activation": _ACTIVATION[names[1]], "recurrent_activation": _ACTIVATION[names[0]]}


def _unit(node: ir.Node) -> _Unit:
    given = [*node.inputs, *[None] * (8 - len(node.inputs))]
    if given[4] is not None:
        raise Unfit("it has sequence lengths")
    if given[7] is not None:
        raise Unfit("it has peephole weights")
    if view.attr(node, "clip") is not None or view.attr(node, "input_forget", 0):
        raise Unfit("it clips its cell or couples its gates")
    direction = view.attr(node, "direction", "forward")
    return _Unit(
        node.op_type,
        view.attr(node, "hidden_size"),
        2 if direction == "bidirectional" else 1,
        direction == "reverse",
        bool(view.attr(node, "layout", 0)),
    )


def _gates(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Reorder the gates along axis 0."""
    parts = array.reshape(len(order), -1, *array.shape[1:])
    return parts[list(order)].reshape(array.shape)


def _bias(array: np.ndarray, kind: str, reset_after: bool) -> np.ndarray:
    """ONNX's input and recurrent bias as Keras's one: added, or stacked where GRU resets after the product."""
    both = array.reshape(2, -1)
    if kind == "GRU" and reset_after:
        return both
    return _gates(both[0] + both[1], _ORDER[kind])


def _weights(
    parts: tuple[Const, Const, Const | None], unit: _Unit, reset_after: bool, where: tuple[int, str, str]
) -> list[Weight]:
    """The variables of one direction; ``where``: direction, group in the archive, prefix of the roles."""
    kernel, recurrent, bias = parts
    direction, group, prefix = where
    order = _ORDER[unit.kind]

    def matrix(const: Const) -> np.ndarray:
        return np.ascontiguousarray(_gates(const.load()[direction], order).T)

    weights = [
        Weight(f"{prefix}kernel", lambda: matrix(kernel), group),
        Weight(f"{prefix}recurrent_kernel", lambda: matrix(recurrent), group),
    ]
    if bias is not None:
        held = bias
        weights.append(Weight(f"{prefix}bias", lambda: _bias(held.load()[direction], unit.kind, reset_after), group))
    return weights


def _batch_major(ctx: Context, node: ir.Node, unit: _Unit) -> Tensor:
    """The input as (batch, time, features): the Transpose before a time-major node falls away."""
    source = node.inputs[0]
    if unit.batch_major:
        return ctx.tensor(source)
    before = None if source is None else source.producer()
    if before is not None and before.op_type == "Transpose" and view.attr(before, "perm") == [1, 0, 2]:
        return ctx.tensor(before.inputs[0])
    x = ctx.tensor(source)
    shape = (x.shape[1], x.shape[0], x.shape[2])
    return ctx.op(node, "numpy.Transpose", [x], {"axes": [1, 0, 2]}, shape=shape, dtype=x.dtype, suffix="batch_major")


def _initial(ctx: Context, node: ir.Node, unit: _Unit) -> list[Tensor]:
    """Initial states, direction by direction; none where they are zero."""
    count = 2 if unit.kind == "LSTM" else 1
    given = [node.inputs[5 + i] if len(node.inputs) > 5 + i else None for i in range(count)]
    constants = [ctx.const(v) if v is not None and ctx.bound(v) is None else None for v in given]
    zero = [v is None or (c is not None and not c.load().any()) for v, c in zip(given, constants, strict=True)]
    if all(zero):
        return []
    if any(v is None for v in given):
        raise Unfit("only one of its two initial states is given")
    states = []
    for direction in range(unit.directions):
        for value in given:
            state = ctx.tensor(value)
            shape: Shape = (state.shape[0 if unit.batch_major else 1], unit.units)
            everything = slice_literal(None, None, None)
            keys: list[Any] = [everything, direction] if unit.batch_major else [direction]
            states.append(
                ctx.op(node, "numpy.GetItem", [state, keys], shape=shape, dtype=state.dtype, suffix="initial")
            )
    return states


@writes("LSTM", "GRU", "RNN")
def recurrent(ctx: Context, node: ir.Node) -> None:
    """One Keras layer, and what turns its outputs into the node's."""
    unit = _unit(node)
    x = _batch_major(ctx, node, unit)
    found = [ctx.const(node.inputs[i]) if len(node.inputs) > i else None for i in (1, 2, 3)]
    kernel, recurrent_kernel, bias = found
    if kernel is None or recurrent_kernel is None or (bias is None and len(node.inputs) > 3 and node.inputs[3]):
        raise Unfit("its weights are computed at run time")
    parts = (kernel, recurrent_kernel, bias)
    used = [any(True for _ in v.uses()) or v.is_graph_output() for v in node.outputs] + [False] * 3
    reset_after = bool(view.attr(node, "linear_before_reset", 0))
    states = _initial(ctx, node, unit)
    return_state = used[2] or (used[0] and used[1])
    config: dict[str, Any] = {
        "units": unit.units,
        **_activations(node, unit.directions),
        "use_bias": bias is not None,
        "return_sequences": used[0],
        "return_state": return_state,
    }
    if unit.kind == "GRU":
        config["reset_after"] = reset_after
    tensors = _call(ctx, node, (unit, x, config), (parts, reset_after, states))
    width = unit.units * unit.directions
    if used[0]:
        sequence = tensors[0]
        if unit.backwards:
            sequence = ctx.op(
                node, "numpy.Flip", [sequence], {"axis": 1}, shape=sequence.shape, dtype=x.dtype, suffix="flip"
            )
        labels = ["N", "T", "D", "H"] if unit.batch_major else ["T", "D", "N", "H"]
        _bind(ctx, node, (node.outputs[0], labels, unit), sequence)
    labels = ["N", "D", "H"] if unit.batch_major else ["D", "N", "H"]
    per = 2 if unit.kind == "LSTM" else 1
    for index in (1, 2):
        if not used[index]:
            continue
        ends = tensors[index::per] if return_state else tensors[:1]
        last = ends[0]
        if len(ends) == 2:
            shape = (x.shape[0], width)
            last = ctx.layer(node, "Concatenate", {"axis": -1}, ends, shape=shape, dtype=x.dtype, suffix="states")
        _bind(ctx, node, (node.outputs[index], labels, unit), last)


def _call(
    ctx: Context,
    node: ir.Node,
    what: tuple[_Unit, Tensor, dict[str, Any]],
    given: tuple[tuple[Const, Const, Const | None], bool, list[Tensor]],
) -> list[Tensor]:
    """Call the layer, or Bidirectional around it: output, then the states of each direction."""
    unit, x, config = what
    parts, reset_after, states = given
    batch, time = x.shape[0], x.shape[1]
    width = unit.units * unit.directions
    out: Shape = (batch, time, width) if config["return_sequences"] else (batch, width)
    count = (2 if unit.kind == "LSTM" else 1) * unit.directions if config["return_state"] else 0
    outputs = [(out, x.dtype)] + [((batch, unit.units), x.dtype)] * count
    kwargs = {"initial_state": states} if states else {}
    key = tuple(None if p is None else p.key for p in parts)
    cell = _CELL[unit.kind]
    extra: dict[str, Any] = {"outputs": outputs, "kwargs": kwargs, "key": key}
    name = _LAYER[unit.kind]
    if unit.directions == 1:
        extra["weights"] = _weights(parts, unit, reset_after, (0, "cell", f"{cell}/"))
        return ctx.layer_outputs(node, name, {**config, "go_backwards": unit.backwards}, [x], extra)
    extra["weights"] = [
        weight
        for direction, side in enumerate(("forward", "backward"))
        for weight in _weights(
            parts, unit, reset_after, (direction, f"{side}_layer/cell", f"{side}_{name.lower()}/{cell}/")
        )
    ]
    inner = {"name": name.lower(), "dtype": x.dtype, **config}
    layer = {"module": "keras.layers", "class_name": name, "config": inner, "registered_name": None}
    return ctx.layer_outputs(node, "Bidirectional", {"layer": layer, "merge_mode": "concat"}, [x], extra)


def _bind(ctx: Context, node: ir.Node, what: tuple[ir.Value, list[str], _Unit], tensor: Tensor) -> None:
    """Bind an output. The reshapes and transposes that follow are taken along as far as they undo ONNX's layout.

    ``tensor`` is (N, T?, D·H); the labels say what the node's own output is: ``D`` stands for the direction axis.
    """
    value, labels, unit = what
    taken: list[ir.Node] = []
    reached: tuple[ir.Value, list[str], int] | None = None
    while True:
        if "D" not in labels:
            reached = (value, labels, len(taken))
            if labels[0] == "N":
                break
        nxt = ctx.follower(value, "Transpose", "Squeeze", "Reshape")
        after = None if nxt is None else _step(ctx, nxt, labels, unit.directions)
        if nxt is None or after is None:
            break
        taken.append(nxt)
        value, labels = nxt.outputs[0], after
    canonical = ["N", "T", "H"] if len(tensor.shape) == 3 else ["N", "H"]
    if reached is not None:
        value, labels, count = reached
        for follower in taken[:count]:
            ctx.claim(follower)
        ctx.bind(value, _permute(ctx, node, tensor, canonical, labels))
        return
    value, labels = what[0], what[1]
    shape = (*tensor.shape[:-1], unit.directions, unit.units)
    config = {"target_shape": [-1 if n is None else n for n in shape[1:]]}
    split = ctx.layer(node, "Reshape", config, [tensor], shape=shape, dtype=tensor.dtype, suffix="directions")
    ctx.bind(value, _permute(ctx, node, split, [*canonical[:-1], "D", "H"], labels))


def _step(ctx: Context, node: ir.Node, labels: list[str], directions: int) -> list[str] | None:
    """The labels after a node that only moves axes; None if it does something else."""
    if node.op_type == "Transpose":
        return [labels[p] for p in view.attr(node, "perm")]
    place = labels.index("D") if "D" in labels else None
    before, after = node.inputs[0], node.outputs[0]
    if place is None or before is None:
        return None
    old, new = keras_shape(before), keras_shape(after)
    if len(new) != len(old) - 1:
        return None
    if directions == 1 and new == (*old[:place], *old[place + 1 :]):
        return [label for label in labels if label != "D"]
    width = None if old[-1] is None else old[-1] * directions
    if node.op_type == "Reshape" and labels[-2:] == ["D", "H"] and new == (*old[:-2], width):
        return [*labels[:-2], "H"]
    return None


def _permute(ctx: Context, node: ir.Node, tensor: Tensor, have: list[str], want: list[str]) -> Tensor:
    if have == want:
        return tensor
    axes = [have.index(label) for label in want]
    shape = tuple(tensor.shape[a] for a in axes)
    return ctx.op(node, "numpy.Transpose", [tensor], {"axes": axes}, shape=shape, dtype=tensor.dtype, suffix="axes")
