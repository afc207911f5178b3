"""Low rank: a layer becomes two smaller ones where that takes fewer weights *and* fewer multiply-accumulates.

The truncated singular value decomposition is the best approximation of that rank (Eckart and Young 1936). With samples
the *output* error counts instead: ``W L`` is decomposed, ``L Lᵀ = E[x xᵀ]`` (Wang et al., SVD-LLM, ICLR 2025, section
3.1: truncation-aware whitening; Zhang et al. 2016 for convolutions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recast._util import progress
from recast.compression._method import PLAIN, Needs, Plan, Skip, Statistics
from recast.compression.factorize import _forms
from recast.compression.factorize._forms import Factors
from recast.compression.quantize._fit import WIDEST, Walks, columns_of, weight_of
from recast.compression.quantize._layers import Layer, layers
from recast.compression.quantize._probe import Probe
from recast.errors import BadRecipe
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

_SMALLEST = 512  # weights of a layer below which two layers are no gain
_DAMP = 1e-4  # of the mean square of the inputs
_STEPS = 40  # of the search for the energy that meets a size


@dataclass(frozen=True)
class Choice:
    """One layer's decomposition in one form: singular vectors with the values taken in by ``right``."""

    layer: Layer
    form: str
    left: np.ndarray
    values: np.ndarray
    right: np.ndarray

    def rank(self, energy: float) -> int:
        """The least rank that holds this share of the sum of squared singular values."""
        held = np.cumsum(np.square(self.values))
        if held[-1] <= 0:
            return 1
        return int(np.searchsorted(held, energy * held[-1] * (1 - 1e-12))) + 1

    def factors(self, rank: int) -> Factors:
        """The two matrices."""
        return Factors(self.form, self.left[:, :rank] * self.values[:rank], self.right[:rank])


@dataclass(frozen=True)
class Svd:
    """Low rank by energy, or by size.

    Attributes:
        energy: share of the squared singular values that each layer keeps (0–1); its relative squared error is at
            most ``1 - energy``, of the weights or, with ``whiten``, of the outputs.
        size: instead: share of the weights of all layers that the result may have; one energy for all of them.
        whiten: look at samples, so that the outputs change least (dense layers and the ``output`` form).
        samples: that are looked at.
        skip: names of nodes or layers to leave alone.
    """

    passes: ClassVar[tuple[str, ...]] = PLAIN
    energy: float = 0.95
    size: float = 0.0
    whiten: bool = False
    samples: int = 256
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.energy <= 1 or not 0 <= self.size < 1:
            raise BadRecipe(f"energy {self.energy}, size {self.size}", fix="shares between 0 and 1")

    def needs(self, model: ir.Model) -> Needs:
        """Samples, to whiten."""
        return Needs(samples=self.samples if self.whiten else 0)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Decompose, choose ranks, replace what gets cheaper."""
        nodes = {n.name: n for n in model.graph}
        wanted, skips = self._wanted(model)
        roots = self._roots(model, wanted, statistics) if self.whiten else {}
        choices = {layer: self._choices(model, layer, roots.get(layer)) for layer in wanted}
        energy = self._energy(model, choices) if self.size else self.energy
        edits, table = [], {}
        for layer, several in choices.items():
            weight, node = weight_of(model, layer.weight), nodes[layer.node]
            best = _best(several, weight, energy, _forms.sizes_of(node, weight))
            if best is None:
                skips.append(Skip(layer.where, f"no rank of {energy:.4g} of the energy takes fewer weights and MACs"))
                continue
            edits.append(_forms.replace(node, layer, weight, best))
            count = _forms.parameters(best.form, weight.shape, best.rank)
            table[layer.where] = [best.form, best.rank, weight.size, count]
        findings = [] if edits else [Finding("no layer gets cheaper by low rank", "", "warning")]
        notes = {"energy": energy, "form, rank, weights before and after": table}
        return Plan("svd", tuple(edits), tuple(skips), tuple(findings), notes)

    def _wanted(self, model: ir.Model) -> tuple[list[Layer], list[Skip]]:
        wanted, skips = [], []
        for layer in layers(model):
            weight = weight_of(model, layer.weight)
            if {layer.node, layer.where} & set(self.skip):
                skips.append(Skip(layer.where, "asked to stay as it is"))
            elif layer.shared or not _forms.forms(layer, weight):
                skips.append(Skip(layer.where, f"{layer.op}: shared, grouped, or no matrix product"))
            elif weight.size < _SMALLEST:
                skips.append(Skip(layer.where, f"only {weight.size} weights"))
            elif not np.isfinite(weight).all():
                skips.append(Skip(layer.where, "its weights are not all finite"))
            else:
                wanted.append(layer)
        return wanted, skips

    def _choices(self, model: ir.Model, layer: Layer, root: np.ndarray | None) -> list[Choice]:
        weight = weight_of(model, layer.weight)
        kinds = _forms.forms(layer, weight)
        if root is not None:
            kinds = tuple(f for f in kinds if f in ("dense", "output"))
        return [_decompose(layer, form, _forms.matrix(form, weight, layer), root) for form in kinds]

    def _roots(self, model: ir.Model, wanted: Sequence[Layer], statistics: Statistics) -> dict[Layer, np.ndarray]:
        """Cholesky factors of the inputs' second moments."""
        if statistics.samples is None:
            raise BadRecipe("whitening needs samples", fix="--data FILE.npz")
        found = {}
        fits = [layer for layer in wanted if layer.fits and columns_of(model, layer) <= WIDEST]
        with Probe(model, [], [], (-128, 127)) as probe, Walks(model, probe, fits, statistics.samples) as walks:
            for number, layer in enumerate(wanted):
                progress.emit("looking at inputs", number, len(wanted))
                if layer not in fits:
                    continue
                seen = walks.moments(layer, np.random.default_rng([statistics.seed, number]))
                h = seen.xx[0] / max(seen.count, 1)
                damp = _DAMP * max(float(np.trace(h)) / len(h), 1e-12)
                found[layer] = np.linalg.cholesky(h + np.eye(len(h)) * damp)
        return found

    def _energy(self, model: ir.Model, choices: dict[Layer, list[Choice]]) -> float:
        """The largest energy whose layers together have the wanted share of the weights."""
        total = sum(weight_of(model, layer.weight).size for layer in choices)
        low, high = 0.0, 1.0
        for _ in range(_STEPS):
            middle = (low + high) / 2
            count = 0
            for layer, several in choices.items():
                weight = weight_of(model, layer.weight)
                node = next(n for n in model.graph if n.name == layer.node)
                best = _best(several, weight, middle, _forms.sizes_of(node, weight))
                count += weight.size if best is None else _forms.parameters(best.form, weight.shape, best.rank)
            low, high = (middle, high) if count <= self.size * total else (low, middle)
        if low <= 0:
            raise BadRecipe(f"no ranks take {self.size:.1%} of the weights", fix="ask for a larger size")
        return low


def _decompose(layer: Layer, form: str, matrix: np.ndarray, root: np.ndarray | None) -> Choice:
    """Singular vectors; with a root those of the outputs."""
    if root is None:
        return Choice(layer, form, *np.linalg.svd(matrix, full_matrices=False))
    moved = matrix.T if form == "dense" else matrix  # (out, in): outputs are W x
    left, values, right = np.linalg.svd(moved @ root, full_matrices=False)
    back = np.linalg.solve(root.T, right.T).T
    if form == "dense":
        return Choice(layer, form, back.T, values, left.T)
    return Choice(layer, form, left, values, back)


def _best(
    several: Sequence[Choice], weight: np.ndarray, energy: float, sizes: tuple[tuple[int, ...], tuple[int, ...]]
) -> Factors | None:
    """The form of fewest weights among those that need fewer weights and fewer multiply-accumulates; or None."""
    places = int(np.prod(sizes[1])) if sizes[1] else 1
    found: list[tuple[int, int, Choice]] = []
    for choice in several:
        rank = choice.rank(energy)
        count = _forms.parameters(choice.form, weight.shape, rank)
        cost = _forms.macs(choice.form, weight.shape, rank, sizes)
        if count < weight.size and cost < places * weight.size:
            found.append((count, rank, choice))
    if not found:
        return None
    _, rank, choice = min(found, key=lambda f: f[0])
    return choice.factors(rank)


METHODS = {"svd": Svd}
