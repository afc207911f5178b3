"""Prune with real samples: ``wanda`` and ``sparsegpt``, layer by layer on what the pruned layers before it give.

Wanda: Sun et al., A Simple and Effective Pruning Approach for Large Language Models (ICLR 2024, eq. 1): the score of a
weight is ``|w| · ‖x‖₂``, compared within each output's row. SparseGPT: see ``_sparsegpt``. Convolutions are matrices
over their windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recast._util import progress
from recast.compression._method import PLAIN, Needs, Plan, Skip, Statistics
from recast.compression.prune import _masks, _told
from recast.compression.prune._sparsegpt import sparsegpt
from recast.compression.quantize._fit import WIDEST, Moments, Walks, columns_of, weight_of
from recast.compression.quantize._layers import Layer, layers
from recast.compression.quantize._probe import Probe
from recast.compression.quantize._rounding import refitted
from recast.errors import BadRecipe
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

_INTEGERS = (-128, 127)  # the probe rounds nothing here


@dataclass(frozen=True)
class Wanda:
    """Zero weights of little effect on the layer's output; the others stay, biases take over the mean of what is lost.

    Attributes:
        amount: share of each row that goes.
        pattern: instead: ``N:M`` along the input axis, for example 2:4.
        samples: that are looked at.
        skip: names of nodes, layers or weights to leave alone.
    """

    passes: ClassVar[tuple[str, ...]] = PLAIN
    name: ClassVar[str] = "wanda"
    updates: ClassVar[bool] = False  # whether the weights that stay change
    amount: float | None = None
    pattern: str = ""
    samples: int = 256
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _masks.pattern(self.pattern)
        _masks.check_amount(self.amount, None, self.pattern)
        if self.samples < 1:
            raise BadRecipe(f"{self.samples} samples", fix="1 or more")

    def needs(self, model: ir.Model) -> Needs:
        """Samples."""
        return Needs(samples=self.samples)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """The weights (and, for ``sparsegpt``, biases) after pruning."""
        wanted, skips = self._wanted(model)
        samples = statistics.samples
        if samples is None:
            raise BadRecipe(f"{self.name} needs samples", fix="--data FILE.npz, or prune by magnitude")
        findings = []
        if not samples.real:
            findings.append(Finding(f"{self.name} has seen random inputs: what matters is a guess", "", "warning"))
        made: dict[str, np.ndarray] = {}
        adjustable = [n for layer in wanted for n in (layer.weight, layer.bias) if n]
        with Probe(model, [], adjustable, _INTEGERS) as probe, Walks(model, probe, wanted, samples) as walks:
            for number, layer in enumerate(wanted):
                progress.emit("pruning", number, len(wanted))
                weight = weight_of(model, layer.weight)
                rng = np.random.default_rng([statistics.seed, number])
                new = self._pruned(model, layer, weight, walks.moments(layer, rng))
                made |= new
                walks.set(new)
        return _told.plan(self.name, model, made, skips, statistics.target, findings)

    def _wanted(self, model: ir.Model) -> tuple[list[Layer], list[Skip]]:
        wanted, skips = [], []
        for layer in layers(model):
            weight = weight_of(model, layer.weight)
            columns = columns_of(model, layer)
            inputs = weight.shape[1 - layer.axis] if weight.ndim == 2 else weight.shape[1]
            if {layer.node, layer.where, layer.weight} & set(self.skip):
                skips.append(Skip(layer.where, "asked to stay as it is"))
            elif not layer.fits:
                skips.append(Skip(layer.where, f"{layer.op}: shared, or not one product with its input's windows"))
            elif columns > WIDEST:
                skips.append(Skip(layer.where, f"{columns} inputs, more than {WIDEST}"))
            elif self.pattern and inputs % (_masks.pattern(self.pattern) or (1, 1))[1]:
                skips.append(Skip(layer.where, f"{inputs} inputs are no multiple of {self.pattern.partition(':')[2]}"))
            else:
                wanted.append(layer)
        return wanted, skips

    def _pruned(self, model: ir.Model, layer: Layer, weight: np.ndarray, seen: Moments) -> dict[str, np.ndarray]:
        """New arrays by initializer."""
        order = _order(weight, layer)
        back, count = np.argsort(order), max(seen.count, 1)
        mean_x, mean_y = seen.x / count, seen.y / count
        made = []
        for group, rows in enumerate(layer.matrix(weight)):
            h, cross = seen.xx[group] / count, seen.yx[group] / count
            if layer.bias and self.updates:
                h = h - np.outer(mean_x[group], mean_x[group])
                cross = cross - np.outer(mean_y[group], mean_x[group])
            aim = refitted(rows, h, cross) if self.updates else rows
            made.append(self._sparse(aim[:, order], h[np.ix_(order, order)])[:, back])
        found = {layer.weight: layer.unmatrix(np.stack(made), weight.shape).astype(weight.dtype)}
        if layer.bias:
            bias = (mean_y - np.einsum("grc,gc->gr", np.stack(made), mean_x)).reshape(-1)
            found[layer.bias] = bias.astype(weight_of(model, layer.bias).dtype)
        return found

    def _sparse(self, w: np.ndarray, h: np.ndarray) -> np.ndarray:
        """The matrix with zeros; neighbouring columns are neighbouring inputs."""
        scores = np.abs(w) * np.sqrt(np.diag(h))
        pattern = _masks.pattern(self.pattern)
        if pattern is not None:
            return np.where(_masks.n_of_m(scores, *pattern), 0, w)
        count = round((self.amount or 0) * scores.shape[1])
        return np.where(np.stack([_masks.smallest(row, count) for row in scores]), 0, w)


@dataclass(frozen=True)
class SparseGPT(Wanda):
    """Zero weights and let the others of their row make up for them; biases take over the mean of what is left.

    Attributes:
        amount: share of each layer that goes.
    """

    name: ClassVar[str] = "sparsegpt"
    updates: ClassVar[bool] = True

    def _sparse(self, w: np.ndarray, h: np.ndarray) -> np.ndarray:
        return sparsegpt(w, h, self.amount or 0, _masks.pattern(self.pattern))


def _order(weight: np.ndarray, layer: Layer) -> np.ndarray:
    """The columns of ``layer.matrix`` with the input channels innermost: neighbours of an N:M pattern."""
    if weight.ndim <= 2:
        return np.arange(weight.size // weight.shape[layer.axis])
    channels = weight.shape[1]
    places = weight.size // (weight.shape[0] * channels)
    order: np.ndarray = np.arange(channels * places).reshape(channels, places).T.reshape(-1)
    return order


METHODS = {"wanda": Wanda, "sparsegpt": SparseGPT}
