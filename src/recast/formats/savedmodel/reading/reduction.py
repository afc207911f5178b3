"""Reductions, arg-max, top-k and running sums."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import SMALL, Call
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.scope import Held

_REDUCE = {
    "Mean": "ReduceMean",
    "Sum": "ReduceSum",
    "Prod": "ReduceProd",
    "Max": "ReduceMax",
    "Min": "ReduceMin",
    "EuclideanNorm": "ReduceL2",
}


def _axes(c: Call) -> list[int]:
    rank = c.rank(0)
    return sorted({c.axis(a, rank) for a in c.ints(1, "the axes")})


def _keep(c: Call) -> int:
    return int(c.flag("keep_dims"))


@reads(*_REDUCE)
def reduce(c: Call) -> None:
    """Over constant axes; no axes at all leave the input as it is."""
    axes, thing = _axes(c), c.thing(0)
    small = isinstance(thing, Held) and 0 < thing.array.size <= SMALL and thing.array.dtype.kind in "iu"
    if isinstance(thing, Held) and small and c.kind in ("Prod", "Sum", "Max", "Min"):
        made = getattr(np, c.kind.lower())(thing.array, axis=tuple(axes), keepdims=bool(_keep(c)))
        c.out(Held(np.asarray(made, thing.array.dtype), c.scope.place(c.node)))
        return
    if not axes:
        c.out(c.op("Abs", [c.x(0)]) if c.kind == "EuclideanNorm" else thing)
        return
    c.out(c.op(_REDUCE[c.kind], [c.x(0), c.axes(*axes)], keepdims=_keep(c)))


@reads("Any", "All")
def reduce_bool(c: Call) -> None:
    """Any is the greatest, all the smallest of 0 and 1."""
    operator = "ReduceMax" if c.kind == "Any" else "ReduceMin"
    axes = _axes(c)
    if not axes:
        c.out(c.thing(0))
        return
    counted = c.cast(c.x(0), ir.DataType.INT32)
    c.out(c.cast(c.op(operator, [counted, c.axes(*axes)], keepdims=_keep(c)), ir.DataType.BOOL))


@reads("L2Loss")
def l2_loss(c: Call) -> None:
    """Half the sum of all squares."""
    value = c.x(0)
    total = c.op("ReduceSumSquare", [value], keepdims=0)
    c.out(c.op("Mul", [total, c.ones(value, 0.5)]))


@reads("ArgMax", "ArgMin")
def arg(c: Call) -> None:
    """The first place of the greatest or smallest element."""
    axis = c.axis(c.int_(1, "the axis"), c.rank(0))
    value = c.x(0)
    if value.dtype == ir.DataType.BOOL:
        value = c.cast(value, ir.DataType.INT32)
    c.out(c.cast(c.op(c.kind, [value], axis=axis, keepdims=0), c.type_attr("output_type", 9)))


@reads("TopKV2")
def top_k(c: Call) -> None:
    """The k greatest along the last axis, in falling order."""
    count = c.reshape(c.int64(1), [1])
    values, places = c.b.node("TopK", [c.x(0), count], {"axis": -1, "largest": 1, "sorted": 1}, 2)
    c.outs([values, c.cast(places, c.type_attr("index_type", 3))])


@reads("InTopK", "InTopKV2")
def in_top_k(c: Call) -> None:
    """Whether the score of the target is among the k greatest: fewer than k are greater."""
    scores, targets = c.x(0), c.cast(c.x(1), ir.DataType.INT64)
    count = int(c.attr("k", 0)) if c.kind == "InTopK" else c.int_(2, "k")
    chosen = c.op("GatherElements", [scores, c.op("Unsqueeze", [targets, c.axes(1)])], axis=1)
    greater = c.cast(c.op("Greater", [scores, chosen]), ir.DataType.INT32)
    number = c.op("ReduceSum", [greater, c.axes(1)], keepdims=0)
    c.out(c.op("Less", [number, c.b.const(np.array(count, np.int32))]))


@reads("Cumsum")
def cumsum(c: Call) -> None:
    """Running sums along a constant axis."""
    axis = c.axis(c.int_(1, "the axis"), c.rank(0))
    attributes = {"exclusive": int(c.flag("exclusive")), "reverse": int(c.flag("reverse"))}
    c.out(c.op("CumSum", [c.x(0), c.b.const(axis, np.int64, "axis")], **attributes))


_MOST_FACTORS = 256


@reads("Cumprod")
def cumprod(c: Call) -> None:
    """Running products along an axis of known size, one after the other (ONNX has no such operator at this opset)."""
    axis = c.axis(c.int_(1, "the axis"), c.rank(0))
    size = c.shape(0)[axis]
    if not isinstance(size, int) or not 0 < size <= _MOST_FACTORS:
        raise UnsupportedOp(f"running products of {size} elements")
    value = c.x(0)
    parts = list(c.b.node("Split", [value], {"axis": axis, "num_outputs": size}, size)) if size > 1 else [value]
    if c.flag("reverse"):
        parts.reverse()
    made = [parts[0]]
    for part in parts[1:]:
        made.append(c.op("Mul", [made[-1], part]))
    if c.flag("exclusive"):
        ones = c.op("ConstantOfShape", [c.op("Shape", [parts[0]])], value=ir.Tensor(np.ones(1, c.dtype(0).numpy())))
        made = [ones, *made[:-1]]
    c.out(c.op("Concat", made[::-1] if c.flag("reverse") else made, axis=axis))


@reads("Unique", "UniqueV2")
def unique(c: Call) -> None:
    """Different elements in the order in which they come, and each element's number among them."""
    if c.kind == "UniqueV2" and c.ints(1, "the axis") not in ([], [0]):
        raise UnsupportedOp("different rows along an axis")
    c.rank(0, 1)
    kind = c.dtype(0)
    value = c.cast(c.x(0), ir.DataType.INT64) if kind == ir.DataType.INT32 else c.x(0)  # ONNX Runtime has no int32 form
    found = c.b.node("Unique", [value], {"sorted": 0}, 4)
    c.outs([c.cast(found[0], kind), c.cast(found[2], c.type_attr("out_idx", 3))])


@reads("Bincount", "DenseBincount")
def bincount(c: Call) -> None:
    """How often each number below ``size`` comes, or the sum of its weights."""
    size = c.int_(1, "the size")
    weights = c.x(2)
    if c.rank(0) != 1 or not 0 < size < 1 << 24 or c.flag("binary_output"):
        raise UnsupportedOp("counting rows, or only whether a number comes")
    if (weights.shape or [None])[0] == 0:
        kind = c.type_attr("T", 1)
        weights = c.op("Expand", [c.b.const(np.ones(1, kind.numpy())), c.op("Shape", [c.x(0)])])
    zero = ir.Tensor(np.zeros(1, (weights.dtype or ir.DataType.FLOAT).numpy()))
    places = c.int64(0)
    low = c.op("Less", [places, c.b.const(size, np.int64)])
    inside = c.op("Where", [low, places, c.b.const(size, np.int64)])  # what is too large goes to one more place
    base = c.op("ConstantOfShape", [c.b.const([size + 1], np.int64, "shape")], value=zero)
    total = c.op("ScatterND", [base, c.op("Unsqueeze", [inside, c.axes(1)]), weights], reduction="add")
    c.out(c.op("Slice", [total, c.axes(0), c.axes(size), c.axes(0)]))
