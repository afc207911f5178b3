"""Repair the readers of cut units in closed form.

For a reader y = W x with kept entries K and cut entries R of x, the best linear guess of what is missing,
x_R ≈ B x_K + b (least squares over the samples), is moved into the weights: W_K + W_R B, bias + W_R b. The second
moments of x are all that is needed, streamed; a convolution uses the same B at every place of its kernel (at padded
borders b is a little too much). This is the linear reconstruction of He et al., Channel Pruning for Accelerating Very
Deep Neural Networks (ICCV 2017, eq. 3), solved for the kept channels' weights without changing which they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recast.compression.edits import Edit, SetInput, SetWeight
from recast.compression.groups import Groups
from recast.compression.groups.atoms import Use
from recast.compression.prune import _statistics
from recast.graph.finding import Finding
from recast.graph.view import attr, layer_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.compression._method import Statistics
    from recast.measure.data import Samples

LARGEST = 8192  # entries of one axis: its second moments are this number squared
DAMPING = 1e-3  # of the mean square of the kept entries


@dataclass
class Moments:
    """Second moments of the entries along one axis, over everything else. Float64."""

    count: int
    total: np.ndarray
    square: np.ndarray

    def add(self, rows: np.ndarray) -> None:
        """More observations, shape (observations, entries)."""
        rows = rows.astype(np.float64)
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.square += rows.T @ rows


def edits(
    model: ir.Model, groups: Groups, gone: set[int], statistics: Statistics
) -> tuple[list[Edit], tuple[Finding, ...]]:
    """New weights (before the cut) of all readers that lose entries, and what could not be repaired."""
    if statistics.samples is None:
        return [], (Finding("no samples: the readers of what was cut are not repaired", "", "warning"),)
    lost = {}
    for use in groups.uses:
        cut = np.isin(groups.units_of(use.value, use.axis), list(gone))
        if cut.any():
            lost[use] = cut
    usable = {u: c for u, c in lost.items() if _repairable(u, len(c))}
    seen = observe(model, [(u.value.name or "", u.axis, len(c)) for u, c in usable.items()], statistics.samples)
    made: list[Edit] = []
    arrays: dict[str, np.ndarray] = {}
    for use, cut in usable.items():
        made += _one(use, cut, seen[use.value.name or "", use.axis], arrays, _stay(groups, use, gone))
    left = [layer_of(u.node) for u in lost if u not in usable]
    told = Finding(f"{len(left)} readers of cut units are not repaired", ", ".join(left[:5])) if left else None
    return made, (told,) if told else ()


def _repairable(use: Use, size: int) -> bool:
    plain = use.node.op_type in ("Gemm", "MatMul") or (use.node.op_type == "Conv" and attr(use.node, "group", 1) == 1)
    once = use.weight is use.node.inputs[1] and use.weight.const_value is not None and len(use.weight.uses()) == 1
    return plain and once and size <= LARGEST


def observe(model: ir.Model, wanted: list[tuple[str, int, int]], samples: Samples) -> dict[tuple[str, int], Moments]:
    """Second moments along axes of values, streamed: (name, axis, size) → moments."""
    from recast.measure.calibrate import Graph

    found = {(n, a): Moments(0, np.zeros(s), np.zeros((s, s))) for n, a, s in wanted}
    if not found:
        return {}
    with Graph(model) as graph, graph.open(list(dict.fromkeys(n for n, _ in found))) as runner:
        for feeds in samples.batches(runner.inputs, 16):
            results = {**feeds, **runner.run(feeds)}
            for (name, axis), moments in found.items():
                moments.add(np.moveaxis(results[name], axis, -1).reshape(-1, len(moments.total)))
    return found


def _stay(groups: Groups, use: Use, gone: set[int]) -> np.ndarray:
    """Which of the reader's own outputs stay (bool)."""
    outputs = [i for i in range(len(use.weight.shape or ())) if i != use.weight_axis]
    return ~np.isin(groups.units_of(use.weight, outputs[0]), list(gone))


def _one(use: Use, cut: np.ndarray, moments: Moments, arrays: dict[str, np.ndarray], stay: np.ndarray) -> list[Edit]:
    """One reader's new weight (before the cut) and bias (after it)."""
    name, bias = use.weight.name or "", _bias(use)
    guess, offset = regress(moments, cut, intercept=bias is not None)
    weight = arrays.get(name)
    if weight is None and use.weight.const_value is not None:
        weight = use.weight.const_value.numpy()
    if weight is None:
        return []
    moved = np.moveaxis(weight.astype(np.float64), use.weight_axis, -1).copy()
    shift = moved[..., cut] @ offset
    moved[..., ~cut] += moved[..., cut] @ guess
    made = arrays[name] = np.moveaxis(moved, -1, use.weight_axis).astype(weight.dtype)
    found: list[Edit] = [SetWeight(name, made, "repaired")]
    if bias is not None and not _absorbed(use):
        per_output = shift.reshape(len(bias), -1).sum(axis=1)  # every place of a kernel adds its own
        if np.any(bias + per_output):
            found.append(SetInput(use.node.name or "", 2, (bias + per_output)[stay].astype(weight.dtype)))
    return found


def _absorbed(use: Use) -> bool:
    """Whether a normalisation takes the offset away again: it gets its mean from the cut network (``_statistics``)."""
    readers = [u.node for v in use.node.outputs for u in v.uses()]
    return bool(readers) and all(_statistics.measured(n) for n in readers) and not use.node.outputs[0].is_graph_output()


def _bias(use: Use) -> np.ndarray | None:
    """The reader's own bias (zeros where it has room for one), or None where an offset cannot be put."""
    node = use.node
    if node.op_type == "MatMul" or (node.op_type == "Gemm" and attr(node, "beta", 1.0) != 1.0):
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        held = node.inputs[2].const_value
        return held.numpy().astype(np.float64) if held is not None and len(held.shape) == 1 else None
    if use.weight.shape is None:
        return None
    outputs = [d for i, d in enumerate(use.weight.shape) if i != use.weight_axis]
    return np.zeros(int(outputs[0]) if isinstance(outputs[0], int) else 0)


def regress(moments: Moments, cut: np.ndarray, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """B (cut, kept) and b (cut): the least-squares guess of the cut entries from the kept ones."""
    kept, count = ~cut, max(1, moments.count)
    mean = moments.total / count if intercept else np.zeros(len(cut))
    second = moments.square / count - np.outer(mean, mean)
    inside = second[np.ix_(kept, kept)]
    inside = inside + np.eye(len(inside)) * (DAMPING * float(np.trace(inside)) / max(1, len(inside)) + 1e-12)
    guess = np.linalg.solve(inside, second[np.ix_(kept, cut)]).T
    return guess, mean[cut] - guess @ mean[kept]
