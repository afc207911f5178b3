"""Attention (ONNX's operator) by products and a softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context
from recast.formats.keras.writing._network import Tensor
from recast.graph import view

_MASKED = -1e9


def _heads(ctx: Context, node: ir.Node, index: int, count: int | None) -> Tensor:
    """Query, key or value as (N, heads, T, size)."""
    x = ctx.tensor(node.inputs[index])
    if len(x.shape) == 4:
        return x
    width = x.shape[2]
    if count is None or width is None:
        raise Unfit("the number of its heads is not known")
    name = ("query", "key", "value")[index]
    split = (x.shape[0], x.shape[1], count, width // count)
    config = {"target_shape": [-1 if n is None else n for n in split[1:]]}
    y = ctx.layer(node, "Reshape", config, [x], shape=split, dtype=x.dtype, suffix=f"{name}_heads")
    shape = (split[0], split[2], split[1], split[3])
    return ctx.layer(node, "Permute", {"dims": [2, 1, 3]}, [y], shape=shape, dtype=x.dtype, suffix=f"{name}_axes")


def _masked(ctx: Context, node: ir.Node, scores: Tensor) -> Tensor:
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    extra: dict[str, Any] = {"shape": scores.shape, "dtype": scores.dtype}
    if mask is not None:
        if mask.dtype == ir.DataType.BOOL:
            _check_rows(ctx, node, mask, scores)
            scores = ctx.op(node, "numpy.Where", [ctx.operand(mask), scores, _MASKED], suffix="mask", **extra)
        else:
            scores = ctx.op(node, "numpy.Add", [scores, ctx.operand(mask)], suffix="mask", **extra)
    if view.attr(node, "is_causal", 0):
        rows, columns = scores.shape[-2:]
        if rows is None or columns is None:
            raise Unfit("its causal mask depends on a length that is only known at run time")
        allowed = ctx.literal(np.tri(rows, columns, dtype=bool))
        scores = ctx.op(node, "numpy.Where", [allowed, scores, _MASKED], suffix="causal", **extra)
    return scores


def _check_rows(ctx: Context, node: ir.Node, mask: ir.Value, scores: Tensor) -> None:
    """A query that sees no key gives 0 in ONNX; a softmax of equally low scores would give the mean."""
    found = ctx.const(mask)
    rows, columns = scores.shape[-2:]
    if found is None or rows is None or columns is None:
        raise Unfit("its mask may hide all keys from a query")
    allowed = found.load()
    if view.attr(node, "is_causal", 0):
        allowed = allowed & np.tri(rows, columns, dtype=bool)
    if not allowed.any(axis=-1).all():
        raise Unfit("its mask hides all keys from a query")


@writes("Attention")
def attention(ctx: Context, node: ir.Node) -> None:
    """softmax(scale · Q Kᵀ + mask) V."""
    if any(v is not None for v in node.inputs[4:]) or view.attr(node, "softcap", 0.0):
        raise Unfit("it has cached keys or a soft cap")
    if any(view.attr(node, f"{side}_window_size", -1) >= 0 for side in ("left", "right")):
        raise Unfit("it looks through a window")
    if any(v.is_graph_output() or any(True for _ in v.uses()) for v in node.outputs[1:]):
        raise Unfit("its further outputs are used")
    count, groups = view.attr(node, "q_num_heads"), view.attr(node, "kv_num_heads")
    q, k, v = _heads(ctx, node, 0, count), _heads(ctx, node, 1, groups), _heads(ctx, node, 2, groups)
    batch, heads, rows, size = q.shape
    if heads is None or k.shape[1] is None or size is None:
        raise Unfit("the number of its heads is not known")
    if heads != k.shape[1]:
        config = {"repeats": heads // k.shape[1], "axis": 1}
        k, v = (
            ctx.op(node, "numpy.Repeat", [t], config, shape=(t.shape[0], heads, *t.shape[2:]), suffix="repeat")
            for t in (k, v)
        )
    scale = view.attr(node, "scale") or 1 / math.sqrt(size)
    q = ctx.op(node, "numpy.Multiply", [q, scale], shape=q.shape, suffix="scale")
    turned = (*k.shape[:2], k.shape[3], k.shape[2])
    k = ctx.layer(node, "Permute", {"dims": [1, 3, 2]}, [k], shape=turned, suffix="transpose")
    scores = ctx.op(node, "numpy.Matmul", [q, k], shape=(batch, heads, rows, turned[3]), suffix="scores")
    scores = _masked(ctx, node, scores)
    weights = ctx.layer(node, "Softmax", {"axis": -1}, [scores], shape=scores.shape, suffix="softmax")
    shape = (batch, heads, rows, v.shape[3])
    if node.inputs[0] is not None and view.rank(node.inputs[0]) == 4:
        ctx.bind(node.outputs[0], ctx.op(node, "numpy.Matmul", [weights, v], shape=shape))
        return
    y = ctx.op(node, "numpy.Matmul", [weights, v], shape=shape, suffix="product")
    merged = (batch, rows, heads, v.shape[3])
    y = ctx.layer(node, "Permute", {"dims": [2, 1, 3]}, [y], shape=merged, suffix="merge")
    width = heads * (v.shape[3] or 0)
    merge: dict[str, Any] = {"target_shape": [-1 if rows is None else rows, width]}
    ctx.bind(node.outputs[0], ctx.layer(node, "Reshape", merge, [y], shape=(batch, rows, width)))
