"""Sums and means. The native run adds one term after another, as LiteRT and ONNX Runtime's pooling do.

How far such a sum of positive terms drifts (490 units at 4,608 terms, docs/decisions/0004) depends on the terms, so it
is computed on the feed and not put into the disturbances.
"""

from __future__ import annotations

import math

import numpy as np

from recast.verification.kernels import Call, Result, kernel


@kernel("GlobalAveragePool")
def global_average_pool(call: Call) -> Result:
    """Mean over all spatial axes, kept as 1."""
    return _mean(call, tuple(range(2, call[0].ndim)), True)


@kernel("ReduceSum", "ReduceMean")
def reduce(call: Call) -> Result:
    """Sum or mean over the axes of input 1; without axes over all, or nothing (``noop_with_empty_axes``)."""
    x, given, keep = call[0], call.get(1), bool(call.attr("keepdims", 1))
    listed = [] if given is None else given.reshape(-1).tolist()
    if not listed and call.attr("noop_with_empty_axes", 0):
        return x
    axes = tuple(int(a) % x.ndim for a in listed) or tuple(range(x.ndim))
    return _sum(call, axes, keep) if call.node.op_type == "ReduceSum" else _mean(call, axes, keep)


def _mean(call: Call, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    x = call[0]
    if x.dtype.kind != "f":
        return np.asarray(x.mean(axis=axes, keepdims=keep)).astype(x.dtype)
    count = math.prod(x.shape[a] for a in axes)
    return np.asarray(_sum(call, axes, keep) / x.dtype.type(count))


def _sum(call: Call, axes: tuple[int, ...], keep: bool) -> np.ndarray:
    x = call[0]
    if call.exact or x.dtype != np.float32 or not x.size or not axes:
        return np.asarray(x.sum(axis=axes, keepdims=keep, dtype=x.dtype))
    rest = [a for a in range(x.ndim) if a not in axes]
    terms = x.transpose(*rest, *sorted(axes)).reshape(*(x.shape[a] for a in rest), -1)
    total = np.add.accumulate(terms, axis=-1)[..., -1]
    return np.expand_dims(total, tuple(sorted(axes))) if keep else total
