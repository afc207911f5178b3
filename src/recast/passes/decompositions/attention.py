"""Attention over four axes as two products and a softmax."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr, const
from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.selecting import counted

Dim = int | str | None


def plain(node: ir.Node) -> bool:
    """Whether it is attention of (batch, heads, length, size), at most with a mask as long as the keys.

    In half precision the order of roundings shows: there ONNX's own function body is written out.
    """
    given = [*node.inputs, *[None] * 7]
    if given[0] is None or given[0].dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return False
    sizes = [size for value in given[:3] for size in _sizes(value)]
    if len(sizes) != 3 * 3 or any(v is not None for v in given[4:7]):
        return False
    window = any(attr(node, f"{side}_window_size", -1) >= 0 for side in ("left", "right"))
    further = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    if window or further or attr(node, "softcap", 0.0) or attr(node, "softmax_precision"):
        return False
    keys, mask = _length(given[1], 2), given[3]
    return mask is None or (keys is not None and _length(mask, -1) == keys)


def _sizes(value: ir.Value | None) -> list[int]:
    """Rank, heads and size where these are numbers, as they must be."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return []
    return [d for d in (4, value.shape[1], value.shape[3]) if isinstance(d, int)]


def _length(value: ir.Value | None, axis: int) -> Dim:
    if value is None or value.shape is None or not len(value.shape):
        return None
    dim = value.shape[axis]
    return dim if isinstance(dim, int) else dim.value


@decomposes("Attention", when=plain)
def attention(e: Expansion) -> Results:
    """softmax(scale Q Kᵀ + mask) V (Vaswani et al. 2017, equation 1); a query that sees no key gives 0, as in ONNX."""
    q, k, v, mask = e.input(0), e.input(1), e.input(2), e.optional(3)
    heads, size = e.size(q, 1), e.size(q, 3)
    k, v = _repeated(e, k, heads), _repeated(e, v, heads)
    scale = e.attr("scale") or size**-0.5
    scores = e.op("MatMul", e.op("Mul", q, e.number(scale, q)), e.op("Transpose", k, perm=[0, 1, 3, 2]))
    lowest = e.number(float(np.finfo(e.dtype(q).numpy()).min), q)
    allowed = _causal(e, q, k) if e.attr("is_causal", 0) else None
    may_hide_all = False
    if mask is not None and mask.dtype == ir.DataType.BOOL:
        allowed = mask if allowed is None else e.op("And", allowed, mask)
        may_hide_all = True
    elif mask is not None:
        scores = e.op("Add", scores, mask)
        may_hide_all = not _finite(mask)
    if allowed is not None:
        scores = e.op("Where", allowed, scores, lowest)
    hidden = None
    if may_hide_all and mask is not None and mask.dtype != ir.DataType.BOOL:
        hidden = e.op("LessOrEqual", scores, lowest)
        scores = e.op("Max", scores, lowest)  # the softmax of minus infinities alone would be no number
    weights = e.op("Softmax", scores, axis=-1)
    if hidden is not None:
        weights = e.op("Where", hidden, e.number(0.0, q), weights)
    elif may_hide_all:
        weights = e.op("Where", allowed, weights, e.number(0.0, q))
    return (e.op("MatMul", weights, v),)


def _repeated(e: Expansion, x: ir.Value, heads: int) -> ir.Value:
    """Keys or values once for each query head of their group (Ainslie et al. 2023)."""
    own = e.size(x, 1)
    if own == heads:
        return x
    if heads % own:
        raise Unfit(f"{heads} heads of queries and {own} of keys")
    apart = e.op("Expand", e.op("Unsqueeze", x, e.ints(2)), e.ints(1, 1, heads // own, 1, 1))
    return e.op("Reshape", apart, e.ints(0, heads, -1, e.size(x, 3)))


def _causal(e: Expansion, q: ir.Value, k: ir.Value) -> ir.Value:
    rows, columns = e.dims(q)[2], e.dims(k)[2]
    if rows is not None and columns is not None:
        return e.array(np.tri(rows, columns, dtype=bool))
    return e.op("LessOrEqual", counted(e, k, 2), e.op("Unsqueeze", counted(e, q, 2), e.ints(1)))


def _finite(mask: ir.Value) -> bool:
    array = const(mask)
    return array is not None and bool(np.isfinite(array.astype(np.float64)).all())
