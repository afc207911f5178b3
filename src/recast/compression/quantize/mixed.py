"""Mixed precision: 4, 8 or 16 bits a layer, by how much the outputs suffer and how many bytes it saves.

Each layer is rounded alone and the error of the model's outputs measured (the additive model of Dong et al. 2020,
"HAWQ-V2", eq. 1, with measured errors in place of Hessian traces). Then the layers are lowered one step at a time,
always the one with the least error a byte saved (a greedy knapsack), until the budget is met. Three bits are no choice:
files store them in four.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from recast._util import progress
from recast.compression._method import FUSED, Needs, Plan, Skip, Statistics
from recast.compression.edits import Edit, StoreAs
from recast.compression.quantize._fit import Goal, Rounded, fit, round_nearest, weight_of
from recast.compression.quantize._layers import Layer
from recast.compression.quantize._probe import Probe
from recast.compression.quantize._rounding import Grid
from recast.compression.quantize.weights import Weights, block_of, packed
from recast.errors import BadRecipe

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.measure.data import Samples

_LADDER = (16, 8, 4)
_JUDGED = 64  # samples that a layer's error is measured on


@dataclass(frozen=True)
class Mixed:
    """Bits a layer under a budget.

    Attributes:
        budget: ``size<20%`` of the float weights, ``size<60KB`` of weights, or ``error<0.05`` of the outputs' deviation
            (predicted; the gate measures the result).
        rounding: as ``Weights``.
        block: as ``Weights``.
        samples: to fit with.
        skip: names of nodes to leave alone.
    """

    passes: ClassVar[tuple[str, ...]] = FUSED
    budget: str = "size<20%"
    rounding: Literal["gptq", "hqq", "nearest"] = "gptq"
    block: int = -1
    samples: int = 512
    skip: tuple[str, ...] = ()

    @property
    def _weights(self) -> Weights:
        return Weights(4, self.rounding, self.block, self.samples, self.skip)

    def needs(self, model: ir.Model) -> Needs:
        """Samples."""
        parse(self.budget)
        self._weights.needs(model)
        return Needs((), self.samples)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Errors, bits, integers, edits."""
        wanted, skips = self._weights.wanted(model)
        samples = statistics.samples
        if samples is None:
            raise BadRecipe("mixed precision needs inputs to measure errors on", fix="pass --data")
        blocks = {la: block_of(la, self.block, 4, statistics.target) for la in wanted}
        table = Table(wanted, {la: weight_of(model, la.weight).size for la in wanted}, blocks)
        adjustable = [n for la in wanted for n in (la.weight, la.bias) if n]
        with Probe(model, [], adjustable, (-128, 127)) as probe:
            errors = measured(model, probe, table, samples.take(_JUDGED))
            bits = allotted(table, errors, parse(self.budget))
            goals = {la: Goal(Grid.symmetric(b), blocks[la] if b == 4 else 0) for la, b in bits.items() if b < 16}
            if self.rounding == "gptq" and samples.real:
                rounded = list(fit(model, probe, goals, samples, statistics.seed).values())
            else:
                how = "hqq" if self.rounding == "gptq" else self.rounding
                rounded = [round_nearest(model, la, goal, how) for la, goal in goals.items()]
        edits = _edits(rounded, bits, blocks, statistics.target == "onnx")
        notes = {
            "bits": {la.node: b for la, b in bits.items()},
            "errors": {la.node: {str(b): e for b, e in found.items()} for la, found in errors.items()},
            "bytes": sum(table.size(la, b) for la, b in bits.items()),
        }
        left = [Skip(la.node, "16 bits: the budget leaves room") for la, b in bits.items() if b == 16]
        return Plan(f"mixed weights ({self.budget})", tuple(edits), (*skips, *left), (), notes)


@dataclass
class Table:
    """The layers, and what each takes."""

    layers: list[Layer]
    sizes: dict[Layer, int]
    blocks: dict[Layer, int]

    def size(self, layer: Layer, bits: int) -> int:
        """Bytes of its integers, and of one float32 scale a block where there are blocks."""
        block = self.blocks[layer] if bits == 4 else 0
        return self.sizes[layer] * bits // 8 + (4 * self.sizes[layer] // block if block else 0)


def parse(budget: str) -> tuple[str, float]:
    """(``share`` | ``bytes`` | ``error``, number).

    Raises:
        BadRecipe: something else is written there.
    """
    match = re.fullmatch(r"\s*(size|error)\s*<=?\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|KB|MB|B)?\s*", budget)
    kind, unit = (match.group(1), match.group(3)) if match else ("", None)
    if match is None or (kind == "error" and unit not in (None, "%")) or (kind == "size" and unit is None):
        raise BadRecipe(f"budget '{budget}'", fix="write for example: size<20%, size<60KB or error<0.05")
    number = float(match.group(2)) * {None: 1.0, "%": 0.01, "B": 1.0, "KB": 1e3, "MB": 1e6}[unit]
    return ("error" if kind == "error" else "share" if unit == "%" else "bytes"), number


def measured(model: ir.Model, probe: Probe, table: Table, samples: Samples) -> dict[Layer, dict[int, float]]:
    """Squared error of the outputs over their variance, by layer and bits, each layer rounded alone."""
    outputs = [v.name or "" for v in model.graph.outputs]
    found: dict[Layer, dict[int, float]] = {}
    with probe.open(outputs) as runner:
        batches = list(samples.batches(runner.inputs, 32))

        def run() -> list[np.ndarray]:
            parts = [list(runner.run(feeds).values()) for feeds in batches]
            return [np.concatenate(p)[: samples.count].astype(np.float64) for p in zip(*parts, strict=True)]

        exact = run()
        spreads = [float(a.var()) or 1.0 for a in exact]
        for number, layer in enumerate(table.layers):
            progress.emit("measuring layers", number, len(table.layers))
            weight = weight_of(model, layer.weight)
            found[layer] = {16: 0.0}
            for bits in _LADDER[1:]:
                goal = Goal(Grid.symmetric(bits), table.blocks[layer] if bits == 4 else 0)
                probe.set({layer.weight: round_nearest(model, layer, goal, "hqq").real()})
                probe.update(runner)
                pairs = zip(exact, run(), spreads, strict=True)
                found[layer][bits] = sum(float(np.square(a - b).mean()) / spread for a, b, spread in pairs)
            probe.set({layer.weight: weight})
            probe.update(runner)
    return found


def allotted(table: Table, errors: dict[Layer, dict[int, float]], budget: tuple[str, float]) -> dict[Layer, int]:
    """Bits a layer: from 16 down, the cheapest step first.

    Raises:
        BadRecipe: 4 bits everywhere are still too many bytes.
    """
    kind, limit = budget
    most = limit * 4 * sum(table.sizes.values()) if kind == "share" else limit
    bits = dict.fromkeys(table.layers, 16)
    size, error = sum(table.size(la, 16) for la in bits), 0.0
    while kind == "error" or size > most:
        best: tuple[float, Layer, int] | None = None
        for layer, now in bits.items():
            for step in (b for b in _LADDER if b < now):
                saved = table.size(layer, now) - table.size(layer, step)
                price = max(errors[layer][step] - errors[layer][now], 0.0) / max(saved, 1e-9)
                fits = kind != "error" or error + errors[layer][step] - errors[layer][now] <= limit**2
                if fits and (best is None or price < best[0]):
                    best = price, layer, step
        if best is None:
            break
        _, layer, step = best
        error += errors[layer][step] - errors[layer][bits[layer]]
        size -= table.size(layer, bits[layer]) - table.size(layer, step)
        bits[layer] = step
    if kind != "error" and size > most:
        raise BadRecipe(
            f"with 4 bits everywhere the weights still take {size:,} bytes", "", "allow more, or prune first"
        )
    return bits


def _edits(rounded: list[Rounded], bits: dict[Layer, int], blocks: dict[Layer, int], onnx: bool) -> list[Edit]:
    edits: list[Edit] = []
    for made in rounded:
        count = bits[made.layer]
        edits += packed(made, count, blocks[made.layer] if count == 4 else 0, onnx)
    return [*edits, *(StoreAs(la.weight, "float16") for la, b in bits.items() if b == 16)]


METHODS = {"mixed": Mixed}
