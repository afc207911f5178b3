"""Operations of ``keras.ops`` along axes: reductions, places of extremes, running sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras import holding
from recast.formats.keras.arguments import argument, axes_of, numpy_type, type_of, typed
from recast.formats.keras.call import LayerCall
from recast.formats.keras.promotion import is_float, result_type
from recast.formats.keras.reading import reads

_REDUCE = {
    **{"Mean": "ReduceMean", "Sum": "ReduceSum", "Max": "ReduceMax", "Min": "ReduceMin", "Prod": "ReduceProd"},
    **{"Amax": "ReduceMax", "Amin": "ReduceMin", "Logsumexp": "ReduceLogSumExp"},
}
_COUNTED = {
    **{"bool": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"},
}


def over(c: LayerCall, op_type: str, x: ir.Value, axis: Any, keep: bool) -> ir.Value:
    """Reduce over axes; no axes at all leave every element."""
    axes = axes_of(c, axis)
    if not axes:
        return c.op("ReduceLogSumExp" if op_type == "ReduceLogSumExp" else "Identity", [x])
    return c.op(op_type, [x, c.const(axes)], {"keepdims": int(keep)})


@reads(*(f"ops.{name}" for name in _REDUCE))
def reduce(c: LayerCall) -> ir.Value:
    """Reduce over axes; sums and products of narrow integers are counted in 32 bits, means are fractions."""
    if argument(c, "initial", 9) is not None or argument(c, "where", 9) is not None:
        raise c.refuse("initial values")
    name, kind, axis = type_of(c, c.x), c.layer.class_name, argument(c, "axis", 1)
    given = c.layer.config.get("dtype") if kind == "Prod" else None
    if kind in ("Sum", "Prod"):
        work = str(given or _COUNTED.get(name, name))
    elif kind in ("Mean", "Logsumexp"):
        work = name if is_float(name) else result_type(name, "float32")
    else:
        work = "int32" if name == "bool" else name
    if kind == "Sum" and axis is None and c.x in c.reading.zeros:
        return holding.zero(c, numpy_type(c, work))
    y = over(c, _REDUCE[kind], typed(c, c.x, work), axis, bool(argument(c, "keepdims", 2, False)))
    return y if kind in ("Sum", "Prod", "Mean", "Logsumexp") else typed(c, y, name)


@reads("ops.Any", "ops.All")
def reduce_bool(c: LayerCall) -> ir.Value:
    """Any is the greatest, all the smallest of 0 and 1."""
    bits = typed(c, typed(c, c.x, "bool"), "int32")
    kind = "ReduceMax" if c.layer.class_name == "Any" else "ReduceMin"
    return typed(c, over(c, kind, bits, argument(c, "axis", 1), bool(argument(c, "keepdims", 2, False))), "bool")


@reads("ops.Var", "ops.Std")
def spread(c: LayerCall) -> ir.Value:
    """Population variance, or its root."""
    x = c.x if is_float(type_of(c, c.x)) else typed(c, c.x, "float32")
    axis = argument(c, "axis", 1)
    centred = c.op("Sub", [x, over(c, "ReduceMean", x, axis, True)])
    y = over(c, "ReduceMean", c.op("Mul", [centred, centred]), axis, bool(argument(c, "keepdims", 2, False)))
    return c.op("Sqrt", [y]) if c.layer.class_name == "Std" else y


@reads("ops.Argmax", "ops.Argmin")
def arg(c: LayerCall) -> ir.Value:
    """Index of the largest or smallest; Keras gives int32."""
    axis = argument(c, "axis", 1)
    if axis is None:
        raise c.refuse("without an axis")
    keep = int(bool(argument(c, "keepdims", 2, False)))
    y = c.op("ArgMax" if c.layer.class_name == "Argmax" else "ArgMin", [c.x], {"axis": axis % c.rank, "keepdims": keep})
    return typed(c, y, "int32")


@reads("ops.TopK")
def top_k(c: LayerCall) -> list[ir.Value]:
    """The k greatest along the last axis and their places, in falling order."""
    attributes = {"axis": -1, "largest": 1, "sorted": int(bool(argument(c, "sorted", 2, True)))}
    values, places = c.b.node("TopK", [c.x, c.const([int(argument(c, "k", 1))])], attributes, 2)
    return [values, typed(c, places, "int32")]


@reads("ops.Cumsum", "ops.Cumprod")
def running(c: LayerCall) -> ir.Value:
    """Running sums and products along an axis, or along all elements."""
    axis, name = argument(c, "axis", 1), str(argument(c, "dtype", 2) or type_of(c, c.x))
    x = typed(c, c.x, "int32" if name == "bool" else name)
    if axis is None:
        x, axis = c.op("Reshape", [x, c.const([-1])]), 0
    place = c.b.const(np.asarray(int(axis), np.int64))
    return c.op("CumSum" if c.layer.class_name == "Cumsum" else "CumProd", [x, place])
