"""Few distinct weights: k-means of each tensor's values, stored as small indices into a palette.

Han et al., Deep Compression (ICLR 2016, section 3): linear initialisation between the extremes, Lloyd's algorithm; here
on the sorted values, so that an iteration costs k binary searches. ONNX: ``Gather(palette, Cast(indices))`` with
uint8 or uint4 indices, which ONNX Runtime computes once, when it loads the file. TFLite: LiteRT would gather again in
every run, and other formats have no such form: refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import ml_dtypes
import numpy as np

from recast.compression._method import PLAIN, Needs, Plan, Skip, Statistics
from recast.compression.edits import Edit, PalettePack
from recast.compression.prune._targets import Target, array_of, find
from recast.errors import BadRecipe
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

_NODES_BYTES = 400  # what the two operators and their names take in the file
_ROUNDS = 100
_MOVES = 32


@dataclass(frozen=True)
class Palette:
    """At most ``2^bits`` distinct values a tensor; zeros of a pruned tensor stay zeros.

    Attributes:
        bits: 1–8; up to 4 are stored in 4.
        skip: names of nodes, layers or weights to leave alone.
    """

    passes: ClassVar[tuple[str, ...]] = PLAIN
    bits: int = 4
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise BadRecipe(f"{self.bits} bits", fix="1 to 8")

    def needs(self, model: ir.Model) -> Needs:
        """Nothing but the weights."""
        return Needs()

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """A palette and indices for every tensor that gets smaller.

        Raises:
            BadRecipe: the target cannot store palettes in less.
        """
        if statistics.target not in ("", "onnx"):
            raise BadRecipe(
                f"palettes cannot be stored in {statistics.target} so that the file is smaller and as fast",
                fix="write .onnx, or use --quantize int4",
            )
        targets, skips = find(model, tuple(self.skip))
        edits: list[Edit] = []
        errors = {}
        for target in targets:
            made = self._one(target, array_of(model, target), skips)
            if made is not None:
                edits.append(made[0])
                errors[target.weight] = made[1]
        findings = [] if edits else [Finding("no tensor gets smaller by a palette", "", "warning")]
        notes = {"bits": self.bits, "relative squared error": errors}
        return Plan(f"palette of {2**self.bits}", tuple(edits), tuple(skips), tuple(findings), notes)

    def _one(self, target: Target, array: np.ndarray, skips: list[Skip]) -> tuple[PalettePack, float] | None:
        palette_bytes = 2**self.bits * array.itemsize
        packed = -(-array.size // 2) if self.bits <= 4 else array.size
        if packed + palette_bytes + _NODES_BYTES >= array.nbytes:
            skips.append(Skip(target.where, f"{array.size} weights: palette and indices would not be smaller"))
            return None
        if not np.isfinite(array).all():
            skips.append(Skip(target.where, "its weights are not all finite"))
            return None
        centres, indices = cluster(array.astype(np.float64).reshape(-1), 2**self.bits)
        kind = ml_dtypes.uint4 if self.bits <= 4 else np.uint8
        palette = centres.astype(array.dtype)
        real = palette.astype(np.float64)[indices]
        flat = array.astype(np.float64).reshape(-1)
        error = float(np.square(real - flat).sum() / max(np.square(flat).sum(), 1e-300))
        return PalettePack(target.weight, palette, indices.astype(kind).reshape(array.shape)), error


def cluster(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (at most ``count``, ascending) and the index of each value's nearest one.

    A value that occurs more often than anything else could explain, zero after pruning, keeps a centre of its own.
    Deterministic: no random start.
    """
    ordered = np.sort(values)
    distinct = np.unique(ordered)
    if len(distinct) <= count:
        return distinct, np.searchsorted(distinct, values)
    pinned = bool((values == 0).mean() > 1 / count)
    found = [_lloyd(ordered, start, pinned) for start in _starts(distinct, count, ordered, pinned)]
    centres, lost = min(found, key=lambda f: f[1])
    for _ in range(_MOVES):  # a centre goes from where it is of least use to where most is lost
        moved, left = _lloyd(ordered, _moved(ordered, centres), pinned)
        if left >= lost:
            break
        centres, lost = moved, left
    return centres, np.searchsorted((centres[1:] + centres[:-1]) / 2, values)


def _lloyd(ordered: np.ndarray, centres: np.ndarray, pinned: bool) -> tuple[np.ndarray, float]:
    """Lloyd's algorithm on sorted values until nothing moves: the centres and the squared error."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(_ROUNDS):
        bounds = _bounds(ordered, centres)
        size = np.diff(bounds)
        mean = np.where(size > 0, np.diff(sums[bounds]) / np.maximum(size, 1), centres)
        if pinned:
            mean[int(np.argmin(np.abs(centres)))] = 0.0
        mean.sort()
        if np.array_equal(mean, centres):
            break
        centres = mean
    owner = np.searchsorted((centres[1:] + centres[:-1]) / 2, ordered)
    return centres, float(np.square(ordered - centres[owner]).sum())


def _bounds(ordered: np.ndarray, centres: np.ndarray) -> np.ndarray:
    edges = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
    return np.concatenate([[0], edges, [len(ordered)]])


def _moved(ordered: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The two neighbours whose union costs least become one; the cluster that loses most becomes two."""
    bounds = _bounds(ordered, centres)
    size = np.diff(bounds).astype(np.float64)
    lost = np.array([np.square(ordered[i:j] - c).sum() for i, j, c in zip(bounds, bounds[1:], centres, strict=False)])
    worst = int(np.argmax(lost))
    union = size[:-1] * size[1:] / np.maximum(size[:-1] + size[1:], 1) * np.square(np.diff(centres))
    union[[i for i in (worst - 1, worst) if 0 <= i < len(union)]] = np.inf
    if not np.isfinite(union).any():
        return centres
    gone = int(np.argmin(union))
    weight = size[gone : gone + 2] if size[gone : gone + 2].any() else np.ones(2)
    merged = np.average(centres[gone : gone + 2], weights=weight)
    spread = np.sqrt(lost[worst] / max(size[worst], 1))
    kept = np.delete(centres, [gone, gone + 1, worst])
    return np.asarray(np.sort([*kept, merged, centres[worst] - spread, centres[worst] + spread]))


def _starts(distinct: np.ndarray, count: int, ordered: np.ndarray, pinned: bool) -> list[np.ndarray]:
    """Equal steps, equal shares of the values, and half way between; one of them 0 where zeros are many."""
    linear = np.linspace(distinct[0], distinct[-1], count)
    shares = np.quantile(ordered[ordered != 0] if pinned else ordered, (np.arange(count) + 0.5) / count)
    found = [linear, shares, (linear + shares) / 2]
    for centres in found:
        if pinned:
            centres[int(np.argmin(np.abs(centres)))] = 0.0
        centres.sort()
    return found


METHODS = {"palette": Palette}
