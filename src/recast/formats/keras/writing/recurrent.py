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
        array = const.load()
        return np.ascontiguousarray(_gates(array[direction % len(array)], order).T)

    weights = [
        Weight(f"{prefix}kernel", lambda: matrix(kernel), group),
        Weight(f"{prefix}recurrent_kernel", lambda: matrix(recurrent), group),
    ]
    if bias is not None:
        held = bias
        weights.append(
            Weight(
                f"{prefix}bias", lambda: _bias(held.load()[direction % held.shape[0]], unit.kind, reset_after), group
            )
        )
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


def _used(node: ir.Node) -> list[bool]:
    flags = [any(True for _ in v.uses()) or v.is_graph_output() for v in node.outputs]
    return [*flags, False, False, False][:3]


def _source(node: ir.Node) -> ir.Value | None:
    """What a node reads, without the Transpose to time-major."""
    before = None if node.inputs[0] is None else node.inputs[0].producer()
    turned = before is not None and before.op_type == "Transpose" and view.attr(before, "perm") == [1, 0, 2]
    return before.inputs[0] if turned and before is not None and not view.attr(node, "layout", 0) else node.inputs[0]


def _partner(ctx: Context, node: ir.Node, value: ir.Value | None) -> ir.Node | None:
    """The recurrent node of the same kind and settings but the other direction that gives a value."""
    for _ in range(5):
        made = None if value is None else value.producer()
        if made is None:
            return None
        if made.op_type == node.op_type:
            break
        if made.op_type not in ("Transpose", "Squeeze", "Reshape"):
            return None
        value = made.inputs[0]
    else:
        return None
    directions = {view.attr(n, "direction", "forward") for n in (node, made)}
    if directions != {"forward", "reverse"} or made in ctx.claimed or ctx.bound(made.outputs[0]) is not None:
        return None
    settings = ("hidden_size", "linear_before_reset", "layout", "activations")
    if any(view.attr(node, k) != view.attr(made, k) for k in settings) or len(node.inputs) != len(made.inputs):
        return None
    plain = len(node.inputs) <= 4 or not any(v is not None for n in (node, made) for v in n.inputs[4:])
    equal = _source(node) is _source(made) and _used(node) == _used(made)
    return made if plain and equal else None


def _pair(ctx: Context, node: ir.Node, unit: _Unit) -> bool:
    """Two nodes over the same input, one in each direction, that are concatenated or added: Bidirectional."""
    used = _used(node)
    if unit.directions != 1 or sum(used) != 1 or used[2]:
        return False
    index = used.index(True)
    labels = _labels(index, unit.batch_major)
    mine = _undone(ctx, node.outputs[index], labels, 1)
    merge = None if mine is None else ctx.follower(mine[0], "Concat", "Add", "Mul")
    if mine is None or merge is None or len(merge.inputs) != 2 or mine[1][0] != "N":
        return False
    partner = _partner(ctx, node, next((v for v in merge.inputs if v is not mine[0]), None))
    its = None if partner is None else _undone(ctx, partner.outputs[index], labels, 1)
    if partner is None or its is None or its[0] not in merge.inputs or its[1] != mine[1]:
        return False
    forward, backward = (partner, node) if unit.backwards else (node, partner)
    ends = (its, mine) if unit.backwards else (mine, its)
    rank = len(mine[1])
    if merge.op_type == "Concat" and (
        view.attr(merge, "axis") % rank != rank - 1 or list(merge.inputs) != [ends[0][0], ends[1][0]]
    ):
        return False
    parts = [_constants(ctx, n) for n in (forward, backward)]
    if (parts[0][2] is None) != (parts[1][2] is None):
        return False
    mode = {"Concat": "concat", "Add": "sum", "Mul": "mul"}[merge.op_type]
    reset_after = bool(view.attr(node, "linear_before_reset", 0))
    config = {**_config(node, unit, parts[0][2] is not None), "return_sequences": index == 0, "return_state": False}
    x = _batch_major(ctx, node, unit)
    both = _Unit(unit.kind, unit.units, 2, False, unit.batch_major)
    made = _call(ctx, merge, (both, x, config), (parts, reset_after, []), mode)
    for taken in (partner, merge, *mine[2], *its[2]):
        ctx.claim(taken)
    ctx.bind(merge.outputs[0], made[0])
    return True


_Parts = tuple[Const, Const, Const | None]


def _constants(ctx: Context, node: ir.Node) -> _Parts:
    found = [ctx.const(node.inputs[i]) if len(node.inputs) > i else None for i in (1, 2, 3)]
    kernel, recurrent_kernel, bias = found
    if kernel is None or recurrent_kernel is None or (bias is None and len(node.inputs) > 3 and node.inputs[3]):
        raise Unfit("its weights are computed at run time")
    return kernel, recurrent_kernel, bias


def _config(node: ir.Node, unit: _Unit, has_bias: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"units": unit.units, **_activations(node, unit.directions), "use_bias": has_bias}
    if unit.kind == "GRU":
        config["reset_after"] = bool(view.attr(node, "linear_before_reset", 0))
    return config


@writes("LSTM", "GRU", "RNN")
def recurrent(ctx: Context, node: ir.Node) -> None:
    """One Keras layer, and what turns its outputs into the node's."""
    unit = _unit(node)
    if _pair(ctx, node, unit):
        return
    x = _batch_major(ctx, node, unit)
    parts = _constants(ctx, node)
    used = _used(node)
    reset_after = bool(view.attr(node, "linear_before_reset", 0))
    states = _initial(ctx, node, unit)
    return_state = used[2] or (used[0] and used[1])
    config = _config(node, unit, parts[2] is not None)
    config.update(return_sequences=used[0], return_state=return_state)
    tensors = _call(ctx, node, (unit, x, config), ([parts] * unit.directions, reset_after, states))
    width = unit.units * unit.directions
    if used[0]:
        sequence = tensors[0]
        if unit.backwards and not _turned_again(ctx, (node.outputs[0], _labels(0, unit.batch_major)), sequence):
            sequence = ctx.op(
                node, "numpy.Flip", [sequence], {"axis": 1}, shape=sequence.shape, dtype=x.dtype, suffix="flip"
            )
        if ctx.bound(node.outputs[0]) is None:
            _bind(ctx, node, (node.outputs[0], _labels(0, unit.batch_major), unit), sequence)
    per = 2 if unit.kind == "LSTM" else 1
    for index in (1, 2):
        if not used[index]:
            continue
        ends = tensors[index::per] if return_state else tensors[:1]
        last = ends[0]
        if len(ends) == 2:
            shape = (x.shape[0], width)
            last = ctx.layer(node, "Concatenate", {"axis": -1}, ends, shape=shape, dtype=x.dtype, suffix="states")
        _bind(ctx, node, (node.outputs[index], _labels(index, unit.batch_major), unit), last)


def _call(
    ctx: Context,
    node: ir.Node,
    what: tuple[_Unit, Tensor, dict[str, Any]],
    given: tuple[list[_Parts], bool, list[Tensor]],
    mode: str = "concat",
) -> list[Tensor]:
    """Call the layer, or Bidirectional around it: output, then the states of each direction.

    ``given``: the weights of each direction (one node of both directions holds them at their index), whether a GRU
    resets after the product, initial states.
    """
    unit, x, config = what
    parts, reset_after, states = given
    batch, time = x.shape[0], x.shape[1]
    width = unit.units * (unit.directions if mode == "concat" else 1)
    out: Shape = (batch, time, width) if config["return_sequences"] else (batch, width)
    count = (2 if unit.kind == "LSTM" else 1) * unit.directions if config["return_state"] else 0
    outputs = [(out, x.dtype)] + [((batch, unit.units), x.dtype)] * count
    kwargs = {"initial_state": states} if states else {}
    key = tuple(None if p is None else p.key for side in parts for p in side)
    cell = _CELL[unit.kind]
    extra: dict[str, Any] = {"outputs": outputs, "kwargs": kwargs, "key": key}
    name = _LAYER[unit.kind]
    if unit.directions == 1:
        extra["weights"] = _weights(parts[0], unit, reset_after, (0, "cell", f"{cell}/"))
        return ctx.layer_outputs(node, name, {**config, "go_backwards": unit.backwards}, [x], extra)
    extra["weights"] = [
        weight
        for direction, side in enumerate(("forward", "backward"))
        for weight in _weights(
            parts[direction], unit, reset_after, (direction, f"{side}_layer/cell", f"{side}_{name.lower()}/{cell}/")
        )
    ]
    inner = {"name": name.lower(), "dtype": x.dtype, **config}
    layer = {"module": "keras.layers", "class_name": name, "config": inner, "registered_name": None}
    return ctx.layer_outputs(node, "Bidirectional", {"layer": layer, "merge_mode": mode}, [x], extra)


def _turned_again(ctx: Context, output: tuple[ir.Value, list[str]], sequence: Tensor) -> bool:
    """Bind a backward layer's reversed sequence as it is, where the graph reverses ONNX's order again next."""
    reached = _undone(ctx, output[0], output[1], 1)
    nxt = None if reached is None else ctx.follower(reached[0], "Slice")
    if reached is None or nxt is None or reached[1][0] != "N" or len(nxt.inputs) < 5:
        return False
    start, end, axis, step = (ctx.ints(v, "bounds") for v in nxt.inputs[1:5])
    if axis != [1] or step != [-1] or start[0] not in (-1, 2**31 - 1, 2**63 - 1) or end[0] > 1 - 2**31:
        return False
    for taken in (*reached[2], nxt):
        ctx.claim(taken)
    ctx.bind(nxt.outputs[0], sequence)
    ctx.bind(output[0], sequence)
    return True


def _bind(ctx: Context, node: ir.Node, what: tuple[ir.Value, list[str], _Unit], tensor: Tensor) -> None:
    """Bind an output. The reshapes and transposes that follow are taken along as far as they undo ONNX's layout.

    ``tensor`` is (N, T?, D·H); the labels say what the node's own output is: ``D`` stands for the direction axis.
    """
    value, labels, unit = what
    reached = _undone(ctx, value, labels, unit.directions)
    canonical = ["N", "T", "H"] if len(tensor.shape) == 3 else ["N", "H"]
    if reached is not None:
        value, labels, taken = reached
        for follower in taken:
            ctx.claim(follower)
        ctx.bind(value, _permute(ctx, node, tensor, canonical, labels))
        return
    shape = (*tensor.shape[:-1], unit.directions, unit.units)
    config = {"target_shape": [-1 if n is None else n for n in shape[1:]]}
    split = ctx.layer(node, "Reshape", config, [tensor], shape=shape, dtype=tensor.dtype, suffix="directions")
    ctx.bind(value, _permute(ctx, node, split, [*canonical[:-1], "D", "H"], labels))


def _undone(
    ctx: Context, value: ir.Value, labels: list[str], directions: int
) -> tuple[ir.Value, list[str], list[ir.Node]] | None:
    """Follow an output to where its direction axis is gone, batch first if it gets there: value, labels, nodes."""
    taken: list[ir.Node] = []
    reached: tuple[ir.Value, list[str], list[ir.Node]] | None = None
    while True:
        if "D" not in labels:
            reached = (value, labels, list(taken))
            if labels[0] == "N":
                return reached
        nxt = ctx.follower(value, "Transpose", "Squeeze", "Reshape")
        after = None if nxt is None else _step(nxt, labels, directions)
        if nxt is None or after is None:
            return reached
        taken.append(nxt)
        value, labels = nxt.outputs[0], after


def _labels(index: int, batch_major: bool) -> list[str]:
    """The axes of output ``index`` of a recurrent node."""
    if index:
        return ["N", "D", "H"] if batch_major else ["D", "N", "H"]
    return ["N", "T", "D", "H"] if batch_major else ["T", "D", "N", "H"]


def _step(node: ir.Node, labels: list[str], directions: int) -> list[str] | None:
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
