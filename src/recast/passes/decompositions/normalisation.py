"""Normalisations with results that hardly any target has."""

from __future__ import annotations

import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, decomposes


@decomposes("LayerNormalization")
def layer_normalization(e: Expansion) -> Results:
    """Mean and inverse deviation over the trailing axes, as results too; computed in ``stash_type``."""
    x, scale, bias = e.input(0), e.input(1), e.optional(2)
    stash = ir.DataType(e.attr("stash_type", 1))
    rank = e.rank(x)
    axes = e.ints(*range(e.attr("axis", -1) % rank, rank))
    real = e.cast(x, stash)
    mean = e.op("ReduceMean", real, axes, keepdims=1)
    apart = e.op("Sub", real, mean)
    variance = e.op("ReduceMean", e.op("Mul", apart, apart), axes, keepdims=1)
    spread = e.op("Sqrt", e.op("Add", variance, e.number(e.attr("epsilon", 1e-5), variance)))
    y = e.op("Mul", e.cast(e.op("Div", apart, spread), x.dtype), scale)
    y = y if bias is None else e.op("Add", y, bias)
    return y, mean, e.op("Reciprocal", spread)
