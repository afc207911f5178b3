"""Static int8: weights, activations and biases are integers, and so is the arithmetic.

Weights are symmetric per output channel, activations asymmetric per tensor, biases int32 of scale input × weight
(LiteRT's 8-bit specification; ONNX Runtime's QLinear kernels take the same).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from recast.compression._method import FUSED, Needs, Plan, Skip, Statistics
from recast.compression.edits import Edit, PackWeight, RoundValue, stored
from recast.compression.quantize._aware import Aware, learned_from
from recast.compression.quantize._fit import Goal, Rounded, fit, round_nearest, weight_of
from recast.compression.quantize._layers import Layer, layers
from recast.compression.quantize._probe import Probe, Range
from recast.compression.quantize._ranges import candidates, decide, range_of
from recast.compression.quantize._rounding import Grid
from recast.compression.quantize._values import Values, choose
from recast.errors import BadRecipe
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

_RESCALING = frozenset({"Concat"})  # in ONNX Runtime; a ReLU is only taken in where its result's lowest integer is 0
_INTEGER_IO = ("tflite", "onnx")  # formats that say which real numbers integer inputs stand for
_BIAS_LIMIT = 2**30  # of the 32-bit sums; a bias beyond it makes its channel's scale larger


@dataclass(frozen=True)
class Int8:
    """Static int8.

    Attributes:
        ranges: calibrator of the activations; ``auto`` chooses by output error.
        rounding: ``gptq`` fits every layer to the outputs, with its bias; ``nearest`` only rounds.
        samples: to calibrate with.
        bits: of the weights: 8 or 4.
        skip: names of nodes to leave in float.
        io: ``integer``: inputs and outputs are handed over as integers, with the scales in the file, as kernels for
            microcontrollers and NPUs want them; ``float``: the file rounds inputs itself and gives real numbers.
        aware: train with the roundings in place; fields of ``distill.logits.Logits`` (see ``_aware``).
    """

    passes: ClassVar[tuple[str, ...]] = FUSED
    ranges: Literal["auto", "minmax", "99.99%", "99.9%", "mse", "entropy"] = "auto"
    rounding: Literal["gptq", "nearest"] = "gptq"
    samples: int = 512
    bits: int = 8
    skip: tuple[str, ...] = ()
    activations: Literal["int8", "int16"] = "int8"
    io: Literal["float", "integer"] = "float"
    aware: Mapping[str, Any] | None = None

    @property
    def _integers(self) -> tuple[int, int]:
        return (-128, 127) if self.activations == "int8" else (-32767, 32767)

    def _values(self, model: ir.Model, target: str = "") -> Values:
        rescaling = _RESCALING if target == "onnx" else frozenset[str]()
        return choose(model.graph, frozenset(self.skip), self.activations == "int8", rescaling)

    def needs(self, model: ir.Model) -> Needs:
        """The distribution of every value that is rounded."""
        refuse_quantised(model)
        return Needs(tuple(self._values(model).names), self.samples, learned_from(Aware.of(self.aware)))

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Ranges, then integers layer by layer, then the edits."""
        if self.io == "integer" and statistics.target and statistics.target not in _INTEGER_IO:
            raise BadRecipe(f"integer inputs for {statistics.target}", fix=f"write {' or '.join(_INTEGER_IO)}")
        values = self._values(model, statistics.target)
        wanted = [layer for layer in layers(model) if self._is_integer(layer, values)]
        samples = statistics.samples
        if samples is None or not values.groups:
            raise BadRecipe("nothing in this model can be computed in int8", fix="use int8-weights or float16")
        adjustable = [n for layer in wanted for n in (layer.weight, layer.bias) if n]
        proposals = candidates(values, dict(statistics.values), self._integers)
        if self.ranges != "auto":
            proposals = [{self.ranges: p.get(self.ranges, next(iter(p.values())))} for p in proposals]
        goal = Goal(Grid.symmetric(self.bits))
        with Probe(model, values.groups, adjustable, self._integers) as probe:
            outputs = [v.name or "" for v in model.graph.outputs]
            ranges = decide(probe, values, proposals, samples, outputs)
            if self.rounding == "gptq":
                rounded = fit(model, probe, dict.fromkeys(wanted, goal), samples, statistics.seed)
            else:
                rounded = {layer.node: round_nearest(model, layer, goal) for layer in wanted}
        by_value = {n: r for group, r in zip(values.groups, ranges, strict=True) for n in group}
        form = _Form(self.activations, self.bits, statistics.target == "onnx")
        made, notes = list(rounded.values()), {"values": len(by_value)}
        findings: tuple[Finding, ...] = (
            () if samples.real else (Finding("int8 ranges come from random inputs", "", "warning"),)
        )
        aware = Aware.of(self.aware)
        if aware is not None:
            roundings = [form.rounding(n, *by_value[n]) for n in values.names]
            made, told, warned = aware.train(model, roundings, [(m, goal.grid) for m in made], statistics)
            notes, findings = notes | told, findings + warned
        ports = _ports(model) if self.io == "integer" else frozenset[str]()
        edits = _edits(model, values, by_value, made, form, ports)
        stay = sorted(ports - by_value.keys())
        skips = tuple(
            Skip(where, why) for where, why in [*values.left, *((n, "stays float: not rounded") for n in stay)]
        )
        how = f"{self.rounding}, trained" if aware else self.rounding
        return Plan(f"{self.activations} ({how})", tuple(edits), skips, findings, notes)

    def _is_integer(self, layer: Layer, values: Values) -> bool:
        return layer.op != "Gather" and layer.x in values.names and layer.node not in {w for w, _ in values.left}


def refuse_quantised(model: ir.Model) -> None:
    """Already quantised models are left alone.

    Raises:
        BadRecipe: the model holds integers with scales.
    """
    nodes = [n for n in model.graph if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    if nodes:
        raise BadRecipe(
            f"the model is already quantised ({len(nodes)} QuantizeLinear and DequantizeLinear)",
            nodes[0].name or "",
            "quantise the float model it was made from",
        )


@dataclass(frozen=True)
class _Form:
    """How integers are stored.

    ONNX Runtime has its kernels for unsigned activations (it rewrites signed ones only where each pair stands together)
    and fuses Gemm only where weights and biases have zero points.
    """

    activations: Literal["int8", "int16"]
    bits: int
    onnx: bool

    @property
    def unsigned(self) -> bool:
        return self.onnx and self.activations == "int8"

    def rounding(self, name: str, scale: float, zero: int) -> RoundValue:
        """Of an activation."""
        if self.unsigned:
            return RoundValue(name, scale, zero + 128, dtype="uint8")
        return RoundValue(name, scale, zero, dtype=self.activations)

    def operand(self, name: str, array: np.ndarray) -> PackWeight:
        """A constant operand of an integer kernel, of the activations' type."""
        wide = self.activations == "int16"
        low, high = (-32767, 32767) if wide else ((0, 255) if self.unsigned else (-128, 127))
        scale, zero = range_of((float(array.min()), float(array.max())), (low, high), symmetric=wide)
        dtype = "uint8" if self.unsigned else self.activations
        integers = np.clip(np.rint(array / scale) + zero, low, high).astype(dtype)
        return PackWeight(name, integers, np.array(scale, np.float32), np.array(zero, dtype))

    def zeros(self, integers: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
        """Zero points of a weight."""
        return np.zeros(scale.shape, integers.dtype) if self.unsigned else None


def _ports(model: ir.Model) -> frozenset[str]:
    """Float inputs and outputs (what is both at once cannot change its type)."""
    sides = (model.graph.inputs, model.graph.outputs)
    inputs, outputs = ({v.name or "" for v in s if v.dtype and v.dtype.name == "FLOAT"} for s in sides)
    return frozenset(inputs ^ outputs)


def _edits(
    model: ir.Model,
    values: Values,
    ranges: dict[str, Range],
    rounded: list[Rounded],
    form: _Form,
    ports: frozenset[str] = frozenset(),
) -> list[Edit]:
    edits: list[Edit] = [replace(form.rounding(n, *ranges[n]), port=n in ports) for n in values.names]
    taken: set[str] = set()
    for made in rounded:
        layer = made.layer
        if layer.weight in taken:
            continue
        taken.add(layer.weight)
        scale = made.scale
        if made.bias is not None:
            scale, bias = _bias(made, ranges[layer.x][0])
            edits.append(replace(bias, zero=form.zeros(bias.integers, bias.scale)))
        integers = stored(made.integers, form.bits)
        edits.append(PackWeight(layer.weight, integers, scale, form.zeros(integers, scale), layer.axis))
    for name in values.constants:
        if name not in taken and name in model.graph.initializers:
            taken.add(name)
            edits.append(form.operand(name, weight_of(model, name)))
    return edits


def _bias(made: Rounded, source: float) -> tuple[np.ndarray, PackWeight]:
    """The int32 bias, and the weight's scales (larger where the bias would not fit)."""
    bias = made.bias if made.bias is not None else np.zeros(0)
    scale = np.maximum(made.scale, (np.abs(bias) / (_BIAS_LIMIT * source)).astype(np.float32))
    step = np.float32(source) * scale
    integers = np.rint(bias / step.astype(np.float64)).astype(np.int32)
    return scale, PackWeight(made.layer.bias, integers, step, axis=0)


METHODS = {"int8": Int8}
