"""Activations: layers of their own, or the ``activation`` of the layer they were part of in the source."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Tensor, Weight
from recast.formats.keras.writing._typed import cast, compute, operand, wide
from recast.graph import ORIGIN, view

_PLAIN = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSwish": "hard_silu",
    "Mish": "mish",
}
_SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
FUSIBLE = (*_PLAIN, "Softmax", "LogSoftmax", "Elu", "Selu", "Gelu", "HardSigmoid", "Clip", "Celu")


def bounds(ctx: Context, node: ir.Node) -> tuple[float | None, float | None]:
    """The limits of a Clip."""
    values: list[float | None] = []
    for index in (1, 2):
        given = node.inputs[index] if len(node.inputs) > index else None
        values.append(None if given is None else float(ctx.array(given, "limit").reshape(-1)[0]))
    return values[0], values[1]


def activation_name(ctx: Context, node: ir.Node) -> str | None:
    """Keras's name of an activation without settings, or None if it has settings that a name cannot carry."""
    kind = node.op_type
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in ("Softmax", "LogSoftmax"):
        rank = view.rank(node.inputs[0]) if node.inputs[0] is not None else None
        last = rank is not None and view.attr(node, "axis", -1) % rank == rank - 1
        return {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[kind] if last else None
    if kind in ("Elu", "Celu"):
        return kind.lower() if view.attr(node, "alpha", 1.0) == 1.0 else None
    if kind == "Selu":
        given = {k: view.attr(node, k, v) for k, v in _SELU.items()}
        return "selu" if all(abs(given[k] - v) < 1e-6 for k, v in _SELU.items()) else None
    if kind == "Gelu":
        return "gelu" if view.attr(node, "approximate", "none") == "none" else None
    if kind == "HardSigmoid":
        alpha, beta = view.attr(node, "alpha", 0.2), view.attr(node, "beta", 0.5)
        return "hard_sigmoid" if abs(alpha - 1 / 6) < 1e-6 and abs(beta - 0.5) < 1e-7 else None
    if kind == "Clip" and ctx.const(node.inputs[1] if len(node.inputs) > 1 else None) is not None:
        low, high = bounds(ctx, node)
        return {6.0: "relu6", None: "relu"}.get(high) if low == 0.0 else None
    return None


def fused(ctx: Context, node: ir.Node) -> tuple[str | None, ir.Value]:
    """The activation that was part of the same source layer, taken into it.

    Returns:
        Keras's name of it (None: there is none) and the value that the layer now computes.
    """
    out = node.outputs[0]
    silu = _silu(ctx, node, out)
    if silu is not None:
        return "silu", silu
    nxt = ctx.follower(out, *FUSIBLE)
    if nxt is None or not ctx.same_layer(node, nxt):
        return None, out
    name = activation_name(ctx, nxt)
    if name is None:
        return None, out
    ctx.claim(nxt)
    return name, nxt.outputs[0]


def _silu(ctx: Context, node: ir.Node, value: ir.Value) -> ir.Value | None:
    """``Mul(x, Sigmoid(x))`` of the same layer, with nothing else using either."""
    users = [use.node for use in value.uses()]
    if value.is_graph_output() or {u.op_type for u in users} != {"Sigmoid", "Mul"} or len(users) != 2:
        return None
    sigmoid = next(u for u in users if u.op_type == "Sigmoid")
    mul = next(u for u in users if u.op_type == "Mul")
    if view.sole_consumer(sigmoid.outputs[0]) is not mul or not all(ctx.same_layer(node, u) for u in users):
        return None
    ctx.claim(sigmoid)
    ctx.claim(mul)
    return mul.outputs[0]


def with_activation(config: dict[str, Any], name: str | None) -> dict[str, Any]:
    """A layer's settings with its activation, if any."""
    return config if name is None else {**config, "activation": name}


@writes(*_PLAIN, "LogSoftmax", "Selu", "Gelu", "HardSigmoid", "Celu", "Elu", "LeakyRelu", "Softmax")
def activation(ctx: Context, node: ir.Node) -> None:
    """An activation of its own."""
    source = node.inputs[0]
    if node.op_type == "Sigmoid" and source is not None and _standalone_silu(ctx, node, source):
        return
    x = ctx.tensor(source)
    name = activation_name(ctx, node)
    out = node.outputs[0]
    if name is not None and node.metadata_props.get(ORIGIN) == "Activation":
        ctx.bind(out, ctx.layer(node, "Activation", {"activation": name}, [x]))
    elif node.op_type == "Relu":
        ctx.bind(out, ctx.layer(node, "ReLU", {}, [x]))
    elif node.op_type == "Softmax":
        config = {"axis": view.attr(node, "axis", -1)}
        x = cast(ctx, node, x, wide(x.dtype))  # halves are summed in float32
        suffix = "" if x.dtype == keras_dtype(out) else "softmax"
        y = ctx.layer(node, "Softmax", config, [x], dtype=x.dtype, suffix=suffix)
        ctx.bind(out, cast(ctx, node, y, keras_dtype(out), suffix=""))
    elif node.op_type == "LeakyRelu":
        slope = view.attr(node, "alpha", 0.01)
        ctx.bind(out, ctx.layer(node, "LeakyReLU", {"negative_slope": round(slope, 9)}, [x]))
    elif node.op_type == "Elu":
        ctx.bind(out, ctx.layer(node, "ELU", {"alpha": view.attr(node, "alpha", 1.0)}, [x]))
    elif name is not None:
        ctx.bind(out, ctx.layer(node, "Activation", {"activation": name}, [x]))
    else:
        ctx.bind(out, _with_settings(ctx, node, x))


def _with_settings(ctx: Context, node: ir.Node, x: Tensor) -> Tensor:
    if node.op_type == "Gelu":
        return ctx.op(node, "nn.Gelu", [x], {"approximate": True})
    if node.op_type == "Celu":
        return ctx.op(node, "nn.Celu", [x], {"alpha": view.attr(node, "alpha", 1.0)})
    if node.op_type == "LogSoftmax":
        return ctx.op(node, "nn.LogSoftmax", [x], {"axis": view.attr(node, "axis", -1)})
    if node.op_type == "HardSigmoid":
        scaled = ctx.op(node, "numpy.Multiply", [x, view.attr(node, "alpha", 0.2)], suffix="scale")
        moved = ctx.op(node, "numpy.Add", [scaled, view.attr(node, "beta", 0.5)], suffix="offset")
        return ctx.op(node, "numpy.Clip", [moved], {"x_min": 0.0, "x_max": 1.0})
    if node.op_type == "Selu":
        alpha, gamma = (view.attr(node, name, default) for name, default in _SELU.items())
        y = ctx.op(node, "nn.Elu", [x], {"alpha": alpha}, suffix="elu")
        return ctx.op(node, "numpy.Multiply", [y, gamma])
    raise Unfit("Keras has no such activation with these settings")


def _standalone_silu(ctx: Context, node: ir.Node, source: ir.Value) -> bool:
    """Write ``Mul(x, Sigmoid(x))`` of one layer as one activation."""
    mul = ctx.follower(node.outputs[0], "Mul")
    if mul is None or source not in mul.inputs or not ctx.same_layer(node, mul):
        return False
    ctx.claim(mul)
    out = ctx.layer(node, "Activation", {"activation": "silu"}, [ctx.tensor(source)])
    ctx.bind(mul.outputs[0], out)
    return True


@writes("Swish")
def swish(ctx: Context, node: ir.Node) -> None:
    """``x · sigmoid(alpha · x)``."""
    x, alpha = ctx.tensor(node.inputs[0]), view.attr(node, "alpha", 1.0)
    if alpha == 1.0:
        ctx.bind(node.outputs[0], ctx.layer(node, "Activation", {"activation": "silu"}, [x]))
        return
    scaled = ctx.op(node, "numpy.Multiply", [x, alpha], suffix="scale")
    gate = ctx.op(node, "nn.Sigmoid", [scaled], suffix="gate")
    ctx.bind(node.outputs[0], ctx.op(node, "numpy.Multiply", [x, gate]))


@writes("Clip")
def clip(ctx: Context, node: ir.Node) -> None:
    """ReLU with a ceiling where it starts at 0, else a Clip operation."""
    x, out = ctx.tensor(node.inputs[0]), node.outputs[0]
    given = [node.inputs[i] if len(node.inputs) > i else None for i in (1, 2)]
    if "float" not in x.dtype or any(v is not None and ctx.const(v) is None for v in given):
        for index, (value, path) in enumerate(zip(given, ("numpy.Maximum", "numpy.Minimum"), strict=True)):
            if value is not None:
                limit = operand(ctx, node, value, x.dtype)
                extra: dict[str, Any] = {"suffix": "low"} if index == 0 and given[1] is not None else {}
                x = compute(ctx, node, path, [x, limit], shape=x.shape, **extra)
        ctx.bind(out, x)
        return
    low, high = bounds(ctx, node)
    if low is not None and high is not None and low > high:  # the upper limit is applied last
        low = None if high == -math.inf else high
    if "float" in x.dtype and low == 0.0 and (high is None or high >= 0):
        ctx.bind(out, ctx.layer(node, "ReLU", {} if high is None else {"max_value": high}, [x]))
    elif low is None and high is None:
        ctx.bind(out, ctx.layer(node, "Identity", {}, [x]))
    elif high is None:
        ctx.bind(out, ctx.op(node, "numpy.Maximum", [x, low]))
    elif low is None:
        ctx.bind(out, ctx.op(node, "numpy.Minimum", [x, high]))
    else:
        ctx.bind(out, ctx.op(node, "numpy.Clip", [x], {"x_min": low, "x_max": high}))


@writes("PRelu")
def prelu(ctx: Context, node: ir.Node) -> None:
    """PReLU with its slopes as a weight; a slope axis of length 1 is shared."""
    x = ctx.tensor(node.inputs[0])
    slope = ctx.const(node.inputs[1])
    rank = len(keras_shape(node.outputs[0]))
    if slope is None:
        raise Unfit("its slope is computed at run time")
    if len(slope.shape) >= rank and slope.shape[0] != 1:
        raise Unfit("its slope differs between the samples of a batch")
    shape = ((1,) * rank + slope.shape)[-(rank - 1) :] if rank > 1 else ()
    if not shape:
        raise Unfit("its input has no axis besides the batch")
    full = tuple(x.shape[1:])
    shared = [i + 1 for i, d in enumerate(shape) if d == 1 and full[i] != 1]
    if any(d not in (1, full[i]) for i, d in enumerate(shape)):
        raise Unfit("its slope does not fit its input")
    weight = Weight("alpha", lambda: np.ascontiguousarray(slope.load().reshape(shape)))
    config = {"shared_axes": shared or None}
    ctx.bind(node.outputs[0], ctx.layer(node, "PReLU", config, [x], weights=[weight], key=slope.key))


@writes("Dropout")
def dropout(ctx: Context, node: ir.Node) -> None:
    """Dropout with its rate: identity when the model is used, active when it is trained."""
    x = ctx.tensor(node.inputs[0])
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        raise Unfit("its mask is used")
    ratio = ctx.const(node.inputs[1]) if len(node.inputs) > 1 else None
    rate = 0.5 if ratio is None else float(ratio.load().reshape(-1)[0])
    if not 0 <= rate <= 1:
        raise Unfit(f"its rate {rate} is not between 0 and 1")
    state = Weight("seed", lambda: np.array([0, 1337], np.uint32), "seed_generator", "state")
    weights = [state] if rate > 0 else []
    ctx.bind(node.outputs[0], ctx.layer(node, "Dropout", {"rate": round(rate, 7)}, [x], weights=weights, key=id(node)))


@writes("Identity")
def identity(ctx: Context, node: ir.Node) -> None:
    """Nothing: the value is the same tensor (a layer that was there stays as Identity)."""
    ctx.bind(node.outputs[0], ctx.tensor(node.inputs[0]))
