"""Normalisation layers, softmax and reductions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.formats.mindspore.reading.elementwise import like
from recast.formats.mindspore.reading.linear import channels_first
from recast.formats.mindspore.types import TYPE_IDS
from recast.graph.view import dims


@reads("BatchNorm")
def batch_norm(c: Call) -> tuple[Any, ...]:
    if c.arg("is_training", 5, False):
        raise Refusal("it was exported for training; export after set_train(False)")
    channels_first(c, 8 if len(c.args) > 8 else None)
    values = [c.value(i) for i in range(5)]
    epsilon = float(c.arg("epsilon", 6, 1e-5))
    return (c.b.op("BatchNormalization", values, {"epsilon": epsilon}),)


@reads("LayerNorm", "LayerNormV3")
def layer_norm(c: Call) -> tuple[Any, ...]:
    x, scale, bias = c.value(0), c.value(1), c.value(2)
    rank = len(dims(x))
    axis, params = c.number("begin_norm_axis", 3, 1) % rank, c.number("begin_params_axis", 4, 1) % rank
    if axis != params:
        raise Refusal("begin_norm_axis and begin_params_axis differ")
    epsilon = float(c.arg("epsilon", 5, 1e-7))
    y = c.b.op("LayerNormalization", [x, scale, bias], {"axis": axis - rank, "epsilon": epsilon})
    axes = c.b.const(list(range(axis, rank)))
    mean = c.b.op("ReduceMean", [x, axes], {"keepdims": 1})
    centred = c.b.op("Sub", [x, mean])
    variance = c.b.op("ReduceMean", [c.b.op("Mul", [centred, centred]), axes], {"keepdims": 1})
    if c.op == "LayerNorm":
        return y, mean, variance
    return y, mean, c.b.op("Reciprocal", [c.b.op("Sqrt", [c.b.op("Add", [variance, like(c, epsilon, x)])])])


@reads("GroupNorm")
def group_norm(c: Call) -> tuple[Any, ...]:
    x, groups = c.value(0), c.number("num_groups", 1)
    channels = dims(x)[1]
    if not isinstance(channels, int):
        raise Refusal("its number of channels is not known")
    dtype = (x.dtype or ir.DataType.FLOAT).numpy()
    held = [c.args[i] if len(c.args) > i else None for i in (2, 3)]
    scale = c.b.const(np.ones(channels, dtype)) if held[0] is None else c.value(2)
    bias = c.b.const(np.zeros(channels, dtype)) if held[1] is None else c.value(3)
    attributes = {"num_groups": groups, "epsilon": float(c.arg("eps", 4, 1e-5))}
    y = c.b.op("GroupNormalization", [x, scale, bias], attributes)
    if y.shape is None:
        y.shape = x.shape
        y.type = None if x.dtype is None else ir.TensorType(x.dtype)
    return (y,)


@reads("LRN")
def lrn(c: Call) -> ir.Value:
    radius = c.attribute("depth_radius", 5)
    size = 2 * radius + 1
    attributes = {
        "size": size,
        "alpha": float(c.attribute("alpha", 1.0)) * size,
        "beta": float(c.attribute("beta", 0.5)),
        "bias": float(c.attribute("bias", 1.0)),
    }
    return c.b.op("LRN", [c.value(0)], attributes)


@reads("Softmax", "LogSoftmax")
def softmax(c: Call) -> ir.Value:
    axes = c.ints("axis", 1, -1)
    if len(axes) != 1:
        raise Refusal("several axes")
    return c.b.op(c.op, [c.value(0)], {"axis": axes[0]})


_REDUCTIONS = {
    "ReduceMean": "ReduceMean",
    "MeanExt": "ReduceMean",
    "ReduceSum": "ReduceSum",
    "SumExt": "ReduceSum",
    "ReduceMax": "ReduceMax",
    "ReduceMin": "ReduceMin",
    "ReduceProd": "ReduceProd",
    "ProdExt": "ReduceProd",
}


@reads(*_REDUCTIONS)
def reduce_(c: Call) -> ir.Value:
    x = c.value(0)
    given = c.arg("axis", 1, ())
    axes = [] if given is None else c.ints("axis", 1, ())
    keep = bool(c.arg("keep_dims", 2, False))
    if c.op.endswith("Ext") and c.arg("dtype", 3, None) is not None:
        raise Refusal("another element type")
    if c.op == "ReduceSum" and not axes and c.arg("skip_mode", 3, False):
        raise Refusal("skip_mode")
    inputs = [x, c.b.const(axes)] if axes else [x]
    return c.b.op(_REDUCTIONS[c.op], inputs, {"keepdims": int(keep)})


@reads("Max", "Min")
def extreme(c: Call) -> ir.Value:
    """Of all elements."""
    return c.b.op(f"Reduce{c.op}", [c.value(0)], {"keepdims": 0})


@reads("ReduceStd")
def reduce_std(c: Call) -> tuple[Any, ...]:
    x, axes, keep = c.value(0), c.ints("axis", 1, ()), bool(c.arg("keep_dims", 3, False))
    axes = [a % len(dims(x)) for a in axes] or list(range(len(dims(x))))
    sizes = [d for i, d in enumerate(dims(x)) if i in axes and isinstance(d, int)]
    if len(sizes) != len(axes):
        raise Refusal("the sizes must be known")
    count = math.prod(sizes) - (1 if c.arg("unbiased", 2, True) else 0)
    mean = c.b.op("ReduceMean", [x, c.b.const(axes)], {"keepdims": 1})
    centred = c.b.op("Sub", [x, mean])
    total = c.b.op("ReduceSum", [c.b.op("Mul", [centred, centred]), c.b.const(axes)], {"keepdims": int(keep)})
    result = c.b.op("Sqrt", [c.b.op("Div", [total, like(c, count, x)])])
    return result, mean if keep else c.b.op("Squeeze", [mean, c.b.const(axes)])


@reads("ReduceAll", "ReduceAny")
def reduce_bool(c: Call) -> ir.Value:
    given = c.arg("axis", 1, ())
    axes = [] if given is None else c.ints("axis", 1, ())
    held = c.b.op("Cast", [c.value(0)], {"to": int(ir.DataType.INT32)})
    inputs = [held, c.b.const(axes)] if axes else [held]
    op = "ReduceMin" if c.op == "ReduceAll" else "ReduceMax"
    made = c.b.op(op, inputs, {"keepdims": int(bool(c.arg("keep_dims", 2, False)))})
    return c.b.op("Cast", [made], {"to": int(ir.DataType.BOOL)})


@reads("Argmax", "Argmin")
def arg_extreme(c: Call) -> ir.Value:
    wanted = TYPE_IDS.get(c.number("output_type", 2, 34))
    if wanted not in (ir.DataType.INT32, ir.DataType.INT64):
        raise Refusal("the element type it gives is not known")
    op = "ArgMax" if c.op == "Argmax" else "ArgMin"
    found = c.b.op(op, [c.value(0)], {"axis": c.number("axis", 1, -1), "keepdims": 0})
    return found if wanted == ir.DataType.INT64 else c.b.op("Cast", [found], {"to": int(wanted)})


@reads("ArgMaxWithValue", "ArgMinWithValue")
def with_value(c: Call) -> tuple[Any, ...]:
    axis, keep = c.number("axis", 1, 0), int(bool(c.arg("keep_dims", 2, False)))
    kind = "Max" if c.op == "ArgMaxWithValue" else "Min"
    found = c.b.op(f"Arg{kind}", [c.value(0)], {"axis": axis, "keepdims": keep})
    values = c.b.op(f"Reduce{kind}", [c.value(0), c.b.const([axis])], {"keepdims": keep})
    return found, values
