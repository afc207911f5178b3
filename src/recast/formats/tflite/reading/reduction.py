"""Reductions, arg-max, top-k and running sums."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads

_REDUCE = {
    "MEAN": "ReduceMean",
    "SUM": "ReduceSum",
    "REDUCE_PROD": "ReduceProd",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
}


def _axes(c: Call) -> ir.Value:
    rank = c.rank(0)
    axes = sorted({c.axis(a, rank) for a in c.ints(1, "the axes")})
    return c.b.const(axes, np.int64, "axes")


@reads(*_REDUCE)
def reduce(c: Call) -> None:
    """Over constant axes; no axes at all leave the input as it is."""
    axes = _axes(c)
    if axes.shape is not None and axes.shape[0] == 0:
        c.out(c.b.op("Identity", [c.x(0)]))
        return
    c.out(c.b.op(_REDUCE[c.kind], [c.x(0), axes], {"keepdims": int(bool(c.opt("keep_dims")))}))


@reads("REDUCE_ANY", "REDUCE_ALL")
def reduce_bool(c: Call) -> None:
    """Any is the greatest, all the smallest of 0 and 1."""
    operator = "ReduceMax" if c.kind == "REDUCE_ANY" else "ReduceMin"
    counted = c.cast(c.x(0), ir.DataType.INT32)
    value = c.b.op(operator, [counted, _axes(c)], {"keepdims": int(bool(c.opt("keep_dims")))})
    c.out(c.cast(value, ir.DataType.BOOL))


@reads("ARG_MAX", "ARG_MIN")
def arg(c: Call) -> None:
    """The first place of the greatest or smallest element."""
    axis = c.axis(c.ints(1, "the axis")[0] if c.ints(1) else c.rank(0), c.rank(0))
    operator = "ArgMax" if c.kind == "ARG_MAX" else "ArgMin"
    c.out(c.b.op(operator, [c.x(0)], {"axis": axis, "keepdims": 0}))


@reads("TOPK_V2")
def top_k(c: Call) -> None:
    """The k greatest along the last axis, in falling order."""
    count = c.reshape(c.int64(1), [1])
    values, places = c.b.node("TopK", [c.x(0), count], {"axis": -1, "largest": 1, "sorted": 1}, 2)
    c.out(values, 0)
    c.out(places, 1)


@reads("CUMSUM")
def cumsum(c: Call) -> None:
    """Running sums along a constant axis."""
    axis = c.axis((c.ints(1, "the axis") or [0])[0], c.rank(0))
    attributes = {"exclusive": int(bool(c.opt("exclusive"))), "reverse": int(bool(c.opt("reverse")))}
    c.out(c.b.op("CumSum", [c.x(0), c.b.const(axis, np.int64, "axis")], attributes))
