"""How important each unit of a group is; larger is more important."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recast.compression.groups import Group, Groups, Place
from recast.compression.prune import _taylor

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.compression._method import Statistics

CRITERIA = ("l1", "l2", "bn-scale", "activation", "taylor")
LOOKING = ("activation", "taylor")  # at samples


def measure(model: ir.Model, groups: Groups, criterion: str, statistics: Statistics) -> list[np.ndarray]:
    """One float64 array a group, in the order of its units."""
    if criterion == "activation":
        seen = _activations(model, groups, statistics)
        return [_gathered(g, seen) for g in groups.groups]
    if criterion == "taylor":
        return _taylor.measure(model, groups, statistics)
    return [_norms(g, criterion) for g in groups.groups]


def _norms(group: Group, criterion: str) -> np.ndarray:
    """Norms of all slices that make a unit: of weights with two axes or more, or of the normalisation's scales."""
    made = [p for p in group.places if not p.read]
    if criterion == "bn-scale":
        chosen = [p for p in made if _is_scale(p)]
    else:
        chosen = [p for p in made if len(p.weight.shape or ()) > 1]
    total = np.zeros(len(group.units))
    for place in chosen or made:
        total += _slices(place, group.units, 1 if criterion == "l1" else 2)
    return total if criterion == "l1" else np.sqrt(total)


def _is_scale(place: Place) -> bool:
    return any(u.node.op_type == "BatchNormalization" and u.idx == 1 for u in place.weight.uses())


def _slices(place: Place, units: np.ndarray, power: int) -> np.ndarray:
    """Sum of |w|^power over the entries of each unit."""
    tensor = place.weight.const_value
    array = np.moveaxis(tensor.numpy(), place.axis, 0).reshape(len(place.units), -1) if tensor is not None else None
    if array is None:
        return np.zeros(len(units))
    return _taylor.by_unit(place, units, (np.abs(array.astype(np.float64)) ** power).sum(axis=1))


def _activations(model: ir.Model, groups: Groups, statistics: Statistics) -> dict[int, float]:
    """Mean magnitude of each unit's entries wherever they are read."""
    from recast.measure.calibrate import Graph

    if statistics.samples is None:
        return {}
    wanted = {(u.value.name or "", u.axis): u for u in groups.uses}
    sums: dict[int, float] = {}
    with Graph(model) as graph, graph.open([n for n, _ in wanted]) as runner:
        for feeds in statistics.samples.batches(runner.inputs, 16):
            results = {**feeds, **runner.run(feeds)}
            for (name, axis), use in wanted.items():
                value = np.abs(np.moveaxis(results[name], axis, 0).astype(np.float64))
                means = value.reshape(len(value), -1).mean(axis=1)
                for unit, mean in zip(groups.units_of(use.value, use.axis).tolist(), means.tolist(), strict=True):
                    sums[unit] = sums.get(unit, 0.0) + mean
    return sums


def _gathered(group: Group, seen: dict[int, float]) -> np.ndarray:
    return np.array([seen.get(int(u), 0.0) for u in group.units])
