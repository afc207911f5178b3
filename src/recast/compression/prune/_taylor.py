"""What each unit adds to the loss, to first order, from gradients of the network as it is.

Molchanov et al., Importance Estimation for Neural Network Pruning (CVPR 2019, eq. 8 and section 3.3): the square of the
sum of gradient · weight over everything that makes the unit, averaged over batches. At a normalisation the sum over its
scale and bias is exactly gradient · activation of the channel (their gate behind a normalisation). Without labels the
loss is a random projection of the outputs: the average is then the squared change of the outputs themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from recast.compression.groups import Group, Groups, Place
from recast.errors import BadRecipe

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.compression._method import Statistics
    from recast.measure.data import Samples

BATCH = 8  # samples whose gradients are summed before they are squared

Parts = list[list[Place]]  # the places of one node each


def measure(model: ir.Model, groups: Groups, statistics: Statistics) -> list[np.ndarray]:
    """One float64 array a group, in the order of its units; infinite where gradients of none of its weights are known.

    Raises:
        BadRecipe: there are no samples.
        UnsupportedOp: PyTorch cannot express the network.
        MissingDependency: PyTorch is not installed.
    """
    from recast.measure import trainable
    from recast.measure.differentiable import strip

    samples = statistics.samples
    if samples is None:
        raise BadRecipe("the Taylor criterion looks at samples", fix="give --data, or another criterion")
    network_graph = trainable.prepared(model)
    strip(network_graph)
    made = [parts(g) for g in groups.groups]
    totals = [np.zeros(len(g.units)) for g in groups.groups]
    known: set[str] = set()
    with trainable.opened(network_graph) as network:
        network.load(network.feeds_of(samples), labels=_labels(samples, network_graph))
        size = network.rows(BATCH)
        for start in range(0, samples.count - size + 1, size):
            slopes = network.gradients(start, start + size, statistics.seed)
            known |= slopes.keys()
            for group, nodes, total in zip(groups.groups, made, totals, strict=True):
                for places in nodes:
                    total += np.square(sum(_contribution(p, group.units, slopes) for p in places))
    told = [any(p.weight.name in known for places in nodes for p in places) for nodes in made]
    return [total if t else np.full(len(total), np.inf) for total, t in zip(totals, told, strict=True)]


def _labels(samples: Samples, model: ir.Model) -> np.ndarray | None:
    """Class numbers, if the labels are such and the first output has a score for each."""
    labels, shape = samples.labels, model.graph.outputs[0].shape
    scores = shape[-1] if shape is not None and len(shape) == 2 else None
    usable = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu" and len(labels) > 0
    if labels is None or not usable or not isinstance(scores, int):
        return None
    return labels if int(labels.min()) >= 0 and int(labels.max()) < scores else None


def parts(group: Group) -> Parts:
    """What makes the units, node by node; a layer in front of a normalisation is told by that alone."""
    nodes: dict[object, list[Place]] = {}
    for place in group.places:
        user = next((u.node for u in place.weight.uses()), None)
        if place.read or user is None or place.weight.const_value is None:
            continue
        following = [u.node.op_type for v in user.outputs for u in v.uses()]
        if "BatchNormalization" not in following or user.op_type == "BatchNormalization":
            nodes.setdefault(user, []).append(place)
    return list(nodes.values())


def _contribution(place: Place, units: np.ndarray, slopes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sum of gradient · weight over the entries of each unit."""
    held, slope = place.weight.const_value, slopes.get(place.weight.name or "")
    if held is None or slope is None or slope.shape != tuple(held.shape.numpy()):
        return np.zeros(len(units))
    product = np.moveaxis(held.numpy().astype(np.float64) * slope, place.axis, 0).reshape(len(place.units), -1)
    return by_unit(place, units, product.sum(axis=1))


def by_unit(place: Place, units: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums over each unit of one number an entry of the place's axis."""
    index = np.searchsorted(units, place.units)
    index[index == len(units)] = 0
    mine = units[index] == place.units
    return np.bincount(index[mine], values[mine], len(units))
