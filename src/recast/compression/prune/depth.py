"""Cut whole blocks where a network repeats them: what is left has the weights that it had.

A block begins and ends where everything passes through one value, and both values have the same shape, so that the
network goes on without it (residual blocks, layers of transformers, convolutions that keep their shape). The blocks
that change their input least go first: block influence, one minus the cosine between input and output (Men et al.,
ShortGPT, 2024, equation 1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recast.compression._method import Needs, Plan, Skip, Statistics
from recast.compression.apply import apply
from recast.compression.edits import Edit, Piece, ReplaceNode
from recast.compression.prune import _statistics
from recast.compression.prune.structured import PASSES
from recast.errors import BadRecipe
from recast.graph.view import layer_of
from recast.measure.calibrate import Graph

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.measure.data import Samples

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Attention", "LSTM", "GRU", "RNN"})
_TABLES = frozenset({"Gather"})  # embeddings: what comes of them are activations, too
_NUMBERS = frozenset({"Shape", "Size"})  # what comes of them is no activation
_BATCH = 16


@dataclass(frozen=True)
class Block:
    """Nodes between two values of one shape.

    Attributes:
        start, end: the values; nothing else leaves the block.
        kind: its operators and the shapes of their weights: blocks that repeat have the same.
    """

    start: ir.Value
    end: ir.Value
    kind: tuple[object, ...]

    @property
    def name(self) -> str:
        """What to call it: the layer that ends it."""
        node = self.end.producer()
        return (layer_of(node) if node is not None else "") or self.end.name or ""


@dataclass(frozen=True)
class Depth:
    """Cut repeated blocks.

    Attributes:
        amount: share of the blocks that have a twin, 0–1 (exclusive); one of each kind stays.
        samples: that the blocks' influence is measured on.
    """

    amount: float = 0.5
    samples: int = 64

    passes: ClassVar[tuple[str, ...]] = PASSES

    def __post_init__(self) -> None:
        if not 0 < self.amount < 1:
            raise BadRecipe(f"amount {self.amount}", fix="a share between 0 and 1")

    def needs(self, model: ir.Model) -> Needs:
        """Samples to run."""
        return Needs(samples=self.samples)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Which blocks go; normalisations get new statistics."""
        found = blocks(model.graph)
        kinds = Counter(b.kind for b in found)
        twins = [b for b in found if kinds[b.kind] > 1]
        if not twins:
            why = "no block repeats" if found else "no block has an input and an output of one shape"
            return Plan("depth", skips=(Skip("the whole model", why),))
        if statistics.samples is None:
            raise BadRecipe("too few samples to measure the blocks with", fix="give some with --data")
        influence = measure(model, twins, statistics.samples)
        gone = _chosen(twins, influence, round(len(twins) * self.amount))
        edits = _edits(gone)
        if gone and statistics.samples.real:
            cut = apply(model, Plan("depth", tuple(edits)))
            edits += _statistics.edits(cut, statistics.samples)
        table = {b.name: round(i, 4) for b, i in zip(twins, influence, strict=True)}
        notes = {"influence": table, "cut": [b.name for b in gone], "blocks": len(found)}
        return Plan("depth", tuple(edits), (), (), notes)


def blocks(graph: ir.Graph) -> list[Block]:
    """The blocks of the main graph, in order, none inside another.

    What follows the last layer of a block (an activation, a normalisation) belongs to it where blocks repeat so: the
    normalisation behind every layer of BERT does, the single one behind the last layer of ViT does not.
    """
    found = _variants(list(graph), *_cuts(graph))
    kinds = Counter(b.kind for variants in found for b in variants)
    return [next((b for b in reversed(variants) if kinds[b.kind] > 1), variants[-1]) for variants in found]


def _variants(nodes: list[ir.Node], cuts: list[tuple[int, ir.Value]], touched: set[ir.Value]) -> list[list[Block]]:
    """Each block, with less and with more of what follows its last layer."""
    found: list[list[Block]] = []
    for at in range(len(cuts) - 1):
        if not any(_weighted(n) for n in nodes[cuts[at][0] + 1 : cuts[at + 1][0] + 1]):
            continue
        variants = []
        place, start = cuts[at]
        for stop in range(at + 1, len(cuts)):
            last, end = cuts[stop]
            if stop > at + 1 and any(_weighted(n) for n in nodes[cuts[stop - 1][0] + 1 : last + 1]):
                break
            producer = end.producer()
            if _alike(start, end) and producer is not None and len(producer.outputs) == 1 and not end.is_graph_output():
                inside = [n for n in nodes[place + 1 : last + 1] if n.outputs[0] in touched]
                variants.append(Block(start, end, tuple(_facts(n) for n in inside)))
        if variants:
            found.append(variants)
    return found


def _weighted(node: ir.Node, kinds: frozenset[str] = _LAYERS) -> bool:
    return node.op_type in kinds and any(v is not None and v.is_initializer() for v in node.inputs)


def _embeds(node: ir.Node) -> bool:
    table = node.inputs[0] if _weighted(node, _TABLES) else None
    return table is not None and table.is_initializer() and table.dtype is not None and table.dtype.is_floating_point()


def _alike(one: ir.Value, other: ir.Value) -> bool:
    return one.shape is not None and one.shape == other.shape and one.dtype == other.dtype


def _facts(node: ir.Node) -> tuple[object, ...]:
    held = [v for v in node.inputs if v is not None and v.is_initializer()]
    return (node.op_type, *(tuple(str(d) for d in v.shape or ()) for v in held))


def _cuts(graph: ir.Graph) -> tuple[list[tuple[int, ir.Value]], set[ir.Value]]:
    """(place of a node, value): after that node all later activations depend on that value alone; and all activations.

    Values that no layer with weights has touched (masks, positions, sizes) do not count.
    """
    place = {node: i for i, node in enumerate(graph)}
    touched: set[ir.Value] = set()
    live: dict[ir.Value, float] = {}
    found: list[tuple[int, ir.Value]] = []
    for at, node in enumerate(graph):
        if node.op_type not in _NUMBERS and (
            _weighted(node) or _embeds(node) or any(v in touched for v in node.inputs)
        ):
            touched.update(node.outputs)
            live |= {v: _last(v, place) for v in node.outputs}
        live = {v: last for v, last in live.items() if last > at}
        if len(live) == 1:
            (value,) = live
            if not found or found[-1][1] is not value:
                found.append((at, value))
    return found, touched


def _last(value: ir.Value, place: dict[ir.Node, int]) -> float:
    """The place of the last user; users in sub-graphs and outputs come at the end."""
    if value.is_graph_output():
        return math.inf
    return max((place.get(use.node, math.inf) for use in value.uses()), default=-1)


def measure(model: ir.Model, found: Sequence[Block], samples: Samples) -> list[float]:
    """The influence of each block: one minus the mean cosine of its input and output."""
    names = list(dict.fromkeys(v.name or "" for b in found for v in (b.start, b.end)))
    totals, count = np.zeros(len(found)), 0
    with Graph(model) as graph, graph.open(names) as runner:
        for feeds in samples.batches(runner.inputs, _BATCH):
            seen = {n: a.reshape(len(a), -1).astype(np.float64) for n, a in runner.run(feeds).items()}
            sizes = {n: np.linalg.norm(a, axis=1) for n, a in seen.items()}
            for number, block in enumerate(found):
                one, other = block.start.name or "", block.end.name or ""
                product = np.maximum(sizes[one] * sizes[other], 1e-30)
                totals[number] += float(((seen[one] * seen[other]).sum(axis=1) / product).sum())
            count += len(next(iter(seen.values())))
    return [float(v) for v in 1 - totals / max(count, 1)]


def _chosen(twins: Sequence[Block], influence: Sequence[float], wanted: int) -> list[Block]:
    """The least influential ones, in order; one of each kind stays."""
    left = Counter(b.kind for b in twins)
    gone: set[int] = set()
    for number in np.argsort(influence, kind="stable"):
        if len(gone) < wanted and left[twins[number].kind] > 1:
            left[twins[number].kind] -= 1
            gone.add(int(number))
    return [b for i, b in enumerate(twins) if i in gone]


def _edits(gone: Sequence[Block]) -> list[Edit]:
    """The end of each block is its start; of blocks in a row, the first one's."""
    begins: dict[ir.Value, ir.Value] = {}
    found: list[Edit] = []
    for block in gone:
        start = begins.get(block.start, block.start)
        begins[block.end] = start
        node = block.end.producer()
        if node is not None:
            found.append(ReplaceNode(node.name or "", (Piece("Identity", (start.name or "",), "same"),)))
    return found


METHODS = {"depth": Depth}
