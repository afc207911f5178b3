"""How many of the feeds a large model gets: by counted operations, never by a clock, so that equal runs stay equal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from recast.graph import dims
from recast.verification.feeds import Feed

BUDGET = 6e9  # operations of all feeds together: about six seconds of float64 runs on one core (measured: ResNet50)
_PER_ELEMENT = 20  # operations of one computed element outside its sum: rounding noise, copies, activation
_PER_WEIGHT = 25  # operations that each weight costs on every feed, whatever its size
_PER_NODE = 1e6  # operations that each node costs on every feed: a framework needs a millisecond for a layer
_FREE_GROWTH = 4  # a feed of another size is dispensable if it has more elements than this times the plain feed's
_KEPT = ("normal", "pixels", "photo", "sample 0")


def affordable(feeds: Sequence[Feed], model: ir.Model, sizes: Mapping[str, int]) -> list[Feed]:
    """The feeds that a model is worth, in their order; small models get all.

    Never left out are three kinds of values (real samples count), and every other size of dynamic axes up to four
    times the plain one.

    Args:
        feeds: all feeds; the first is of the plain size.
        model: the graph that the feeds are for.
        sizes: plain sizes of the dynamic dimensions.
    """
    if not feeds:
        return []
    plain = max(1, _elements(feeds[0]))
    once = operations(model, sizes)
    fixed = float(_PER_WEIGHT) * sum(math.prod(_shape(v, sizes)) for v in model.graph.initializers.values())
    fixed += _PER_NODE * len(model.graph)
    cost = {feed.name: once * _elements(feed) / plain + fixed for feed in feeds}
    kept = {f.name for f in feeds if _needed(f, plain)}
    spent = sum(cost[name] for name in kept)
    for feed in sorted(feeds, key=lambda f: f.name.partition(" ")[0] not in ("sample", "mixed")):
        if feed.name in kept:
            continue
        if len(kept) >= 3 and spent + cost[feed.name] > BUDGET:
            continue
        kept.add(feed.name)
        spent += cost[feed.name]
    return [feed for feed in feeds if feed.name in kept]


def operations(model: ir.Model, sizes: Mapping[str, int]) -> float:
    """Multiply-accumulates with constant weights, and work per computed element, of one run."""
    total = 0.0
    for node in model.graph:
        made = sum(math.prod(_shape(v, sizes)) for v in node.outputs)
        total += _PER_ELEMENT * made
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if weight is None or weight.const_value is None or not node.outputs:
            continue
        held = math.prod(_shape(weight, sizes))
        if node.op_type == "Conv":
            total += made * held / max(1, _shape(weight, sizes)[0])
        elif node.op_type in ("Gemm", "MatMul", "ConvTranspose"):
            total += made * held / max(1, _width(node, sizes))
    return total


def _width(node: ir.Node, sizes: Mapping[str, int]) -> int:
    """Output channels of a node."""
    shape = _shape(node.outputs[0], sizes)
    if len(shape) < 2:
        return max(1, math.prod(shape))
    return shape[1] if node.op_type == "ConvTranspose" else shape[-1]


def _needed(feed: Feed, plain: int) -> bool:
    kind = feed.name.partition(" (")[0]
    return kind in _KEPT or (kind == "mixed" and _elements(feed) <= _FREE_GROWTH * plain)


def _elements(feed: Feed) -> int:
    return sum(a.size for a in feed.arrays.values())


def _shape(value: ir.Value, sizes: Mapping[str, int]) -> list[int]:
    if value.shape is None:
        return [0]
    shape = [d if isinstance(d, int) else str(d.value) for d in value.shape]
    known = dict.fromkeys(dims.names(shape), 1) | dict(sizes)
    return [max(d, 1) for d in dims.filled(shape, known)]
