"""Index outputs (ArgMax, TopK …): a different choice is right where the chosen values are equal within rounding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr
from recast.verification.compare import local_max
from recast.verification.oracle import Oracle, OracleUnavailable
from recast.verification.tolerances import TABLE

_CARRIERS = frozenset(["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"])


def only_ties(
    oracle: Oracle,
    output: ir.Value,
    feeds: Mapping[str, np.ndarray],
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> bool:
    """Whether source's and target's indices pick float64 values that are equal within rounding.

    Args:
        oracle: of the source's graph.
        output: the graph output that holds indices.
        feeds: by graph input name.
        arrays: source, target and float64 indices.
    """
    node = _chooser(output)
    if node is None or node.inputs[0] is None:
        return False
    name = node.inputs[0].name or ""
    try:
        exact = oracle.run(feeds, wanted=[name])[name]
        native = oracle.run(feeds, exact=False, wanted=[name])[name]
    except (OracleUnavailable, KeyError):
        return False
    axis = int(attr(node, "axis", -1 if node.op_type == "TopK" else 0)) % exact.ndim
    chosen = [_values(exact, a, axis) for a in arrays[:2]]
    if chosen[0] is None or chosen[1] is None:
        return False
    if node.op_type == "TopK" and not _distinct(arrays[1], exact.shape, axis):
        return False
    rule = TABLE["float32"]
    noise = np.abs(native.astype(np.float64) - exact)
    margin = rule.factor * max(float(noise.max()), rule.floor * rule.unit * float(local_max(np.abs(exact)).max()))
    return bool((np.abs(chosen[0] - chosen[1]) <= margin).all())


def _chooser(value: ir.Value) -> ir.Node | None:
    node = value.producer()
    while node is not None and node.op_type in _CARRIERS and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type in ("ArgMax", "ArgMin", "TopK") else None


def _values(data: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray | None:
    """The data at the indices along an axis, whatever shape the indices were brought to."""
    count = indices.size * data.shape[axis] // max(1, data.size)
    shape = [*data.shape[:axis], count, *data.shape[axis + 1 :]]
    if indices.size != int(np.prod(shape)) or indices.min(initial=0) < 0 or indices.max(initial=0) >= data.shape[axis]:
        return None
    return np.take_along_axis(data, indices.reshape(shape).astype(np.int64), axis=axis)


def _distinct(indices: np.ndarray, shape: tuple[int, ...], axis: int) -> bool:
    if indices.ndim != len(shape):
        return False
    ordered = np.sort(indices, axis=axis)
    return bool((np.diff(ordered, axis=axis) > 0).all())
