"""Reductions over axes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.schema import number
from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.emitter import Emitter, Site, dims_of
from recast.formats.tflite.writing.move import as_int32
from recast.formats.tflite.writing.pool import same_scale
from recast.graph import view

_BUILTIN = {
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
}
# what is done before and after a SUM
_AROUND = {
    "ReduceL1": ("ABS", ""),
    "ReduceL2": ("SQUARE", "SQRT"),
    "ReduceSumSquare": ("SQUARE", ""),
    "ReduceLogSum": ("", "LOG"),
}


def axes_tensor(w: Emitter, node: ir.Node) -> int | None:
    """The axes as int32, computed at run time if need be; None where nothing is reduced.

    Raises:
        Refused: it is only known at run time whether there are any.
    """
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if node.inputs[0] is not None and 0 in dims_of(node.inputs[0]):
        raise Refused("a reduction of no elements")
    if value is None or view.is_const(value):
        known = _axes(node)
        return None if known is None else w.ints(known)
    if view.static_shape(value) in (None, (0,)):
        raise Refused("a number of axes that is only known at run time")
    return as_int32(w, value)


def _axes(node: ir.Node) -> list[int] | None:
    """The axes, None where nothing is reduced."""
    x = node.inputs[0]
    assert x is not None
    rank = len(dims_of(x))
    value = node.inputs[1] if len(node.inputs) > 1 else None
    given = view.const(value)
    if value is not None and given is None:
        raise Refused("axes that are computed at run time")
    if given is None or given.size == 0:
        return None if view.attr(node, "noop_with_empty_axes", 0) else list(range(rank))
    return sorted(int(a) % rank for a in given.reshape(-1))


def _not_empty(node: ir.Node) -> bool:
    """Whether there are elements; over none, the result is a constant."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return shape is None or 0 not in shape


@writes(*_BUILTIN, when=_not_empty)
def reduce(w: Emitter, node: ir.Node) -> None:
    """MEAN, SUM and the like."""
    axes = axes_tensor(w, node)
    if axes is None:
        w.alias(node.outputs[0], w.take(node.inputs[0]))
        return
    builtin = _BUILTIN[node.op_type]
    fits = None if builtin in ("MEAN", "SUM") else same_scale
    whole = node.op_type == "ReduceProd"
    site = w.site(node, [node.inputs[0]], fits=(lambda _, __: False) if whole else fits)
    _reduce(w, node, builtin, axes, site)


def _reduce(w: Emitter, node: ir.Node, builtin: str, axes: int, site: Site) -> None:
    options = ("ReducerOptions", {"keep_dims": bool(view.attr(node, "keepdims", 1))})
    w.op(builtin, [site.inputs[0], axes], [site.output], options)


@writes(*_AROUND, when=_not_empty)
def reduce_composed(w: Emitter, node: ir.Node) -> None:
    """Norms and logarithms of sums."""
    before, after = _AROUND[node.op_type]
    axes = axes_tensor(w, node)
    if axes is None:
        raise Refused("a reduction over no axes")
    source, out = w.take(node.inputs[0]), w.put(node.outputs[0])
    if before:
        source = w.then(before, [source])
    target = w.temp(out) if after else out
    options = ("ReducerOptions", {"keep_dims": bool(view.attr(node, "keepdims", 1))})
    w.op("SUM", [source, axes], [target], options)
    if after:
        w.op(after, [target], [out])


@writes("ReduceLogSumExp", when=_not_empty)
def log_sum_exp(w: Emitter, node: ir.Node) -> None:
    """``max + log(sum(exp(x - max)))``: does not overflow."""
    axes = _axes(node)
    if axes is None:
        raise Refused("a reduction over no axes")
    x, out = w.take(node.inputs[0]), w.put(node.outputs[0])
    kept = [1 if i in axes else d for i, d in enumerate(w.shape(x))]
    keep = ("ReducerOptions", {"keep_dims": True})
    top = w.then("REDUCE_MAX", [x, w.ints(axes)], kept, keep)
    small = w.then("EXP", [w.then("SUB", [x, top], None, ("SubOptions", {}))])
    total = w.then("LOG", [w.then("SUM", [small, w.ints(axes)], kept, keep)])
    result = w.then("ADD", [total, top], None, ("AddOptions", {}))
    w.reshape(result, w.shape(out), out)


@writes("ArgMax", "ArgMin", when=lambda n: not view.attr(n, "select_last_index", 0))
def arg_extremum(w: Emitter, node: ir.Node) -> None:
    """ARG_MAX or ARG_MIN: the first of equal elements."""
    x, result = node.inputs[0], node.outputs[0]
    assert x is not None
    rank = len(dims_of(x))
    axis = int(view.attr(node, "axis", 0)) % rank
    keep = bool(view.attr(node, "keepdims", 1))
    source = w.integer(x)
    source = w.take(x) if source is None else source
    out = w.put(result)
    dims = [d for i, d in enumerate(dims_of(x)) if i != axis]
    target = w.tensor(f"{result.name}/flat", "INT64", dims) if keep else out
    builtin = "ARG_MAX" if node.op_type == "ArgMax" else "ARG_MIN"
    table = (
        "ArgMaxOptions" if builtin == "ARG_MAX" else "ArgMinOptions",
        {"output_type": number("TensorType", "INT64")},
    )
    w.op(builtin, [source, w.ints(axis)], [target], table)
    if keep:
        w.reshape(target, w.shape(out), out)


@writes("TopK", when=lambda n: bool(view.attr(n, "largest", 1)))
def top_k(w: Emitter, node: ir.Node) -> None:
    """TOPK_V2 over the last axis: the largest, sorted."""
    x, k = node.inputs
    assert x is not None
    count = w.reshape(as_int32(w, k), ())
    rank = len(dims_of(x))
    axis = int(view.attr(node, "axis", -1)) % rank
    source = w.take(x)
    values, places = (w.put(v) for v in node.outputs)
    perm = [i for i in range(rank) if i != axis] + [axis]
    last = axis == rank - 1
    if not last:
        source = w.transpose(source, perm)
    dims = [w.shape(values)[p] for p in perm]
    best = values if last else w.temp(values, dims)
    where = w.tensor(f"{w.tensors[places].name}/int32", "INT32", dims)
    w.op("TOPK_V2", [source, count], [best, where], ("TopKV2Options", {}))
    if not last:
        back = w.ints(np.argsort(perm))
        w.op("TRANSPOSE", [best, back], [values], ("TransposeOptions", {}))
        where = w.transpose(where, list(np.argsort(perm)))
    w.op("CAST", [where], [places], ("CastOptions", {"in_data_type": 2, "out_data_type": 4}))


@writes("CumSum")
def cumsum(w: Emitter, node: ir.Node) -> None:
    """CUMSUM."""
    axis = view.const(node.inputs[1])
    if axis is None:
        raise Refused("an axis that is computed at run time")
    options = {"exclusive": bool(view.attr(node, "exclusive", 0)), "reverse": bool(view.attr(node, "reverse", 0))}
    inputs = [w.take(node.inputs[0]), w.ints(int(axis.reshape(-1)[0]))]
    w.op("CUMSUM", inputs, [w.put(node.outputs[0])], ("CumsumOptions", options))
