"""Recurrent layers: nn.LSTM, nn.GRU, nn.RNN; variants that those lack run step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter, Weight, layer_parts
from recast.formats.torch.writing._literals import number
from recast.formats.torch.writing._types import FLOATS
from recast.formats.torch.writing.convolution import dtype_option, plain
from recast.graph import view

# Where PyTorch's gates are in ONNX's order: LSTM iofc → ifgo, GRU zrh → rzn.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def _native(node: ir.Node) -> bool:
    kind = node.op_type
    directions = 2 if view.attr(node, "direction", "forward") == "bidirectional" else 1
    chosen = [a.capitalize() for a in view.attr(node, "activations") or _DEFAULTS[kind] * directions]
    usual = chosen == _DEFAULTS[kind] * directions or (kind == "RNN" and chosen == ["Relu"] * directions)
    inputs = list(node.inputs) + [None] * 8
    stored = plain(inputs[1]) and plain(inputs[2]) and (inputs[3] is None or plain(inputs[3]))
    whole = inputs[4] is None and inputs[7] is None
    limits = not view.attr(node, "clip") and not view.attr(node, "input_forget", 0)
    reset = kind != "GRU" or view.attr(node, "linear_before_reset", 0) == 1
    given = inputs[0]
    same = given is not None and given.dtype in FLOATS and inputs[1] is not None and inputs[1].dtype == given.dtype
    return usual and stored and whole and limits and reset and same


def _gates(kind: str, direction: int, half: int | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Pick a direction and order its gates; ``half`` picks the input's (0) or the state's (1) bias."""

    def change(array: np.ndarray) -> np.ndarray:
        part = array[direction]
        order = _GATES[kind]
        if half is not None:
            part = part.reshape(2, -1)[half]
        blocks = part.reshape(len(order), -1, *part.shape[1:])
        ordered: np.ndarray = blocks[list(order)].reshape(part.shape)
        return ordered

    return change


@writes("LSTM", "GRU", "RNN")
def recurrent(e: Emitter, node: ir.Node) -> None:
    if not _native(node):
        _stepwise(e, node)
        return
    kind = node.op_type
    w, r, b = node.inputs[1], node.inputs[2], e.value(node, 3)
    shape = view.static_shape(w) if w is not None else None
    if w is None or r is None or shape is None:
        raise Refuse("its weights have no known shape")
    hidden = view.attr(node, "hidden_size") or (view.static_shape(r) or (0, 0, 0))[2]
    directions, rows, features = shape
    weights: dict[str, Weight] = {}
    for d in range(directions):
        end = "_l0" + ("_reverse" if d else "")
        weights["weight_ih" + end] = Weight(w, (rows, features), _gates(kind, d))
        weights["weight_hh" + end] = Weight(r, (rows, hidden), _gates(kind, d))
        for half, name in enumerate(("ih", "hh")):
            if b is not None:
                weights[f"bias_{name}{end}"] = Weight(b, (rows,), _gates(kind, d, half))
    x, batch_first, following = _time(e, node, directions)
    relu = kind == "RNN" and "Relu" in [a.capitalize() for a in view.attr(node, "activations") or []]
    extra = ", bias=False" if b is None else ""
    extra += (', nonlinearity="relu"' if relu else "") + (", batch_first=True" if batch_first else "")
    extra += (", bidirectional=True" if directions == 2 else "") + dtype_option(e, node)
    module = e.module(node, f"nn.{kind}({features}, {hidden}{extra})", weights)
    reverse = view.attr(node, "direction", "forward") == "reverse"
    time_axis = 1 if batch_first else 0
    fed = f"{x}.flip({time_axis})" if reverse else x
    out = e.temporary(f"{layer_parts(node)[-1].lower()}_out")
    h, c = e.temporary("h_n"), e.temporary("c_n")
    state = f"({h}, {c})" if kind == "LSTM" else h
    e.emit(f"{out}, {state} = {module}({fed}{_state(e, node, directions)})")
    if reverse:
        e.emit(f"{out} = {out}.flip({time_axis})")
    _results(e, node, (out, h, c), (directions, hidden, batch_first), following)


def _state(e: Emitter, node: ir.Node, directions: int) -> str:
    """The initial state as the module's second argument."""
    if e.value(node, 5) is None and e.value(node, 6) is None:
        return ""
    turn = ".transpose(0, 1)" if view.attr(node, "layout", 0) else ""
    parts = [e.x(node, i) + turn if e.value(node, i) is not None else None for i in (5, 6)]
    if node.op_type != "LSTM":
        return f", {parts[0]}"
    known = parts[0] or parts[1]
    return f", ({', '.join(p or f'torch.zeros_like({known})' for p in parts)})"


def _time(e: Emitter, node: ir.Node, directions: int) -> tuple[str, bool, list[ir.Node]]:
    """The input, whether it is batch-major, and the nodes after Y that disappear by that choice."""
    if view.attr(node, "layout", 0):
        return e.x(node), True, []
    value = node.inputs[0]
    before = value.producer() if value is not None else None
    if before is None or before.op_type != "Transpose" or view.attr(before, "perm") != [1, 0, 2] or directions != 1:
        return e.x(node), False, []
    squeeze = view.sole_consumer(node.outputs[0]) if node.outputs else None
    if squeeze is None or squeeze.op_type != "Squeeze" or not _squeezes(e, squeeze):
        return e.x(node), False, []
    after = view.sole_consumer(squeeze.outputs[0])
    if after is None or after.op_type != "Transpose" or view.attr(after, "perm") != [1, 0, 2]:
        return e.x(node), False, []
    return e.x(before), True, [squeeze, after]


def _squeezes(e: Emitter, node: ir.Node) -> bool:
    axes = e.ints(node, 1)
    return axes is not None and axes.constant == [1]


def _results(
    e: Emitter, node: ir.Node, names: tuple[str, str, str], facts: tuple[int, int, bool], following: list[ir.Node]
) -> None:
    out, h, c = names
    directions, hidden, batch_first = facts
    turn = ".transpose(0, 1)" if view.attr(node, "layout", 0) else ""
    for index, state in ((1, h), (2, c)):
        if index < len(node.outputs):
            e.alias(node.outputs[index], state + turn)
    if following:
        e.done.update(following)
        e.alias(following[-1].outputs[0], out)
        return
    y = node.outputs[0]
    squeeze = view.sole_consumer(y)
    gone = 2 if batch_first else 1
    ints = e.ints(squeeze, 1) if squeeze is not None and squeeze.op_type == "Squeeze" else None
    if directions == 1 and squeeze is not None and ints is not None and ints.constant == [gone]:
        e.done.add(squeeze)
        e.alias(squeeze.outputs[0], out)
        return
    if not y.name or not (y.uses() or y.is_graph_output()):
        return
    code = f"{out}.unflatten(-1, ({directions}, {hidden}))"
    e.alias(y, code if batch_first else f"{code}.transpose(1, 2)")


_ACTIVATIONS: dict[str, Callable[[str, str], str]] = {
    "sigmoid": lambda a, b: "torch.sigmoid",
    "tanh": lambda a, b: "torch.tanh",
    "relu": lambda a, b: "torch.relu",
    "softsign": lambda a, b: "F.softsign",
    "softplus": lambda a, b: "F.softplus",
    "affine": lambda a, b: f"(lambda v: {a} * v + {b})",
    "leakyrelu": lambda a, b: f"(lambda v: F.leaky_relu(v, {a}))",
    "thresholdedrelu": lambda a, b: f"(lambda v: F.threshold(v, {a}, 0.0))",
    "scaledtanh": lambda a, b: f"(lambda v: {a} * torch.tanh({b} * v))",
    "hardsigmoid": lambda a, b: f"(lambda v: torch.clamp({a} * v + {b}, 0.0, 1.0))",
    "elu": lambda a, b: f"(lambda v: F.elu(v, {a}))",
}
_ALPHA = {"leakyrelu": 0.01, "hardsigmoid": 0.2, "elu": 1.0, "affine": 1.0, "thresholdedrelu": 1.0, "scaledtanh": 1.0}
_BETA = {"hardsigmoid": 0.5, "affine": 0.0, "scaledtanh": 1.0}


def _activations(node: ir.Node, directions: int) -> str:
    names = [a.lower() for a in view.attr(node, "activations") or _DEFAULTS[node.op_type] * directions]
    alphas = list(view.attr(node, "activation_alpha") or [])
    betas = list(view.attr(node, "activation_beta") or [])
    made = []
    for name in names:
        if name not in _ACTIVATIONS:
            raise Refuse(f"activation {name!r}")
        a = alphas.pop(0) if name in _ALPHA and alphas else _ALPHA.get(name, 0.0)
        b = betas.pop(0) if name in _BETA and betas else _BETA.get(name, 0.0)
        made.append(_ACTIVATIONS[name](number(a), number(b)))
    return "[" + ", ".join(made) + "]"


def _stepwise(e: Emitter, node: ir.Node) -> None:
    direction = view.attr(node, "direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    tensors = [e.optional(node, i) for i in range(8)]
    layout = view.attr(node, "layout", 0)
    clip = view.attr(node, "clip")
    cell = {"LSTM": "lstm_step", "GRU": "gru_step", "RNN": "rnn_step"}[node.op_type]
    flags = f"{bool(view.attr(node, 'input_forget', 0) or view.attr(node, 'linear_before_reset', 0))}"
    args = f"[{', '.join(tensors)}], {e.helper(cell)}, {_activations(node, directions)}"
    call = f"{e.helper('run_recurrent')}({args}, {direction == 'reverse'}, {number(clip) if clip else None}, {flags}"
    call += f", {bool(layout)})"
    names = [e.new(v) if v.name and (v.uses() or v.is_graph_output()) else "_" for v in node.outputs]
    e.emit(f"{', '.join([*names, '_', '_', '_'][:3])} = {call}")
