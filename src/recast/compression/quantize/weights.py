"""Weight-only: weights are stored in few bits, the arithmetic stays in float.

Convolutions have one scale an output channel, dense layers one a block of inputs where the target has blocks (ONNX).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recast.compression._method import FUSED, Needs, Plan, Skip, Statistics
from recast.compression.edits import Edit, PackWeight, SetWeight, stored
from recast.compression.quantize._aware import Aware, learned_from
from recast.compression.quantize._fit import Goal, Rounded, fit, round_nearest, weight_of
from recast.compression.quantize._layers import Layer, layers
from recast.compression.quantize._probe import Probe
from recast.compression.quantize._rounding import Grid
from recast.compression.quantize.int8 import refuse_quantised
from recast.errors import BadRecipe
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

BLOCK = 32
_SMALLEST = 256  # weights with fewer elements gain nothing


@dataclass(frozen=True)
class Weights:
    """Weight-only quantisation.

    Attributes:
        bits: 2–8; fewer than 4 are stored in 4.
        rounding: ``gptq`` needs samples; ``hqq`` and ``nearest`` look at the weights only.
        block: inputs of a dense layer that share a scale; -1: 32 for ONNX, else none; 0: none.
        samples: to fit with.
        skip: names of nodes to leave alone.
        aware: train with the roundings in place; fields of ``distill.logits.Logits`` (see ``_aware``).
    """

    passes: ClassVar[tuple[str, ...]] = FUSED
    bits: int = 8
    rounding: Literal["gptq", "hqq", "nearest"] = "gptq"
    block: int = -1
    samples: int = 512
    skip: tuple[str, ...] = ()
    aware: Mapping[str, Any] | None = None

    def needs(self, model: ir.Model) -> Needs:
        """Samples, if the rounding looks at them."""
        refuse_quantised(model)
        if not 2 <= self.bits <= 8:
            raise BadRecipe(f"{self.bits} bits", fix="2 to 8")
        training = learned_from(Aware.of(self.aware))
        return Needs((), self.samples if self.rounding == "gptq" else 0, training)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Integers layer by layer, then the edits."""
        wanted, skips = self.wanted(model)
        grid = Grid.symmetric(self.bits)
        goals = {la: Goal(grid, block_of(la, self.block, self.bits, statistics.target)) for la in wanted}
        samples = statistics.samples
        rounding: str = self.rounding
        findings: list[Finding] = []
        if rounding == "gptq" and (samples is None or not samples.real):
            rounding = "hqq"
            findings.append(Finding("without data the weights are rounded by hqq instead of gptq", "", "warning"))
        if rounding == "gptq" and samples is not None:
            adjustable = [n for layer in wanted for n in (layer.weight, layer.bias) if n]
            with Probe(model, [], adjustable, (-128, 127)) as probe:
                rounded = list(fit(model, probe, goals, samples, statistics.seed).values())
        else:
            rounded = [round_nearest(model, layer, goal, rounding) for layer, goal in goals.items()]
        notes: dict[str, Any] = {"bits": self.bits, "rounding": {m.layer.node: m.how for m in rounded}}
        aware = Aware.of(self.aware)
        if aware is not None:
            rounded, told, warned = aware.train(model, (), [(m, grid) for m in rounded], statistics)
            notes, findings, rounding = notes | told, [*findings, *warned], f"{rounding}, trained"
        edits = [
            e for made in rounded for e in packed(made, self.bits, goals[made.layer].block, statistics.target == "onnx")
        ]
        return Plan(f"int{self.bits} weights ({rounding})", tuple(edits), tuple(skips), tuple(findings), notes)

    def wanted(self, model: ir.Model) -> tuple[list[Layer], list[Skip]]:
        """Layers whose weights are worth packing, and why others are left alone."""
        wanted, skips, taken = [], [], set()
        for layer in layers(model):
            size = weight_of(model, layer.weight).size
            if layer.node in self.skip:
                skips.append(Skip(layer.node, "asked to stay in float"))
            elif size < _SMALLEST:
                skips.append(Skip(layer.node, f"only {size} weights"))
            elif layer.weight not in taken:
                taken.add(layer.weight)
                wanted.append(layer)
        if not wanted:
            raise BadRecipe("no layer has weights worth packing", fix="use float16")
        return wanted, skips


def block_of(layer: Layer, wish: int, bits: int, target: str) -> int:
    """Inputs of a layer that share a scale (0: all); ``wish`` as ``Weights.block``."""
    if layer.op not in ("Gemm", "MatMul", "Gather"):
        return 0
    return wish if wish >= 0 else (BLOCK if target == "onnx" and bits <= 4 else 0)


def packed(made: Rounded, bits: int, block: int, onnx: bool) -> list[Edit]:
    """The edits that store a layer's integers."""
    layer = made.layer
    edits: list[Edit] = []
    if made.bias is not None and made.how in ("gptq", "trained"):
        edits.append(SetWeight(layer.bias, made.bias.astype("float32"), "corrected"))
    if made.scale.ndim > 1:
        axis = 1 - layer.axis
        edits.append(PackWeight(layer.weight, stored(made.integers, bits), made.scale, axis=axis, block=block))
    else:
        plain = onnx and layer.op != "Gather"
        edits.append(PackWeight(layer.weight, stored(made.integers, bits), made.scale, axis=layer.axis, plain=plain))
    return edits


@dataclass(frozen=True)
class Int4(Weights):
    """Four bits."""

    bits: int = 4


@dataclass(frozen=True)
class Int3(Weights):
    """Three bits (stored in four)."""

    bits: int = 3


METHODS = {"int8-weights": Weights, "int4": Int4, "int3": Int3}
