"""Round the layers one after another, each on the inputs that the already rounded layers give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import onnx_ir as ir

from recast._util import child, progress
from recast.compression.quantize._layers import Layer
from recast.compression.quantize._probe import Probe
from recast.compression.quantize._rounding import SHRINKS, Grid, expanded, fitted, hqq, nearest, refitted
from recast.graph.view import const
from recast.measure.calibrate import Graph
from recast.measure.data import Samples
from recast.measure.walk import BATCH, Walk

_ROWS = 40_000  # positions that a layer is fitted to
_PRUNED = 0.05  # share of exact zeros from which on they are meant
WIDEST = 6000  # columns of a layer up to which its moments are collected: they take 8 · columns² bytes


@dataclass(frozen=True)
class Rounded:
    """One layer's integers.

    Attributes:
        integers: in the weight's shape.
        scale: float32, one a channel of ``layer.axis``; with blocks: in the weight's shape, but one a block along the
            other axis.
        bias: float64, corrected; None where the layer has none.
        how: ``gptq`` or ``nearest``.
    """

    layer: Layer
    integers: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None
    how: str

    def real(self) -> np.ndarray:
        """The weights that the integers stand for, float32."""
        scale = self.scale
        if scale.ndim > 1:
            axis = 1 - self.layer.axis
            scale = np.repeat(scale, -(-self.integers.shape[axis] // scale.shape[axis]), axis=axis)
            scale = np.take(scale, np.arange(self.integers.shape[axis]), axis=axis)
        else:
            shape = [1] * self.integers.ndim
            shape[self.layer.axis] = -1
            scale = scale.reshape(shape)
        real: np.ndarray = self.integers.astype(np.float32) * scale
        return real


@dataclass
class Moments:
    """Second moments of a layer's inputs, and of its outputs with them, by group."""

    xx: np.ndarray  # (groups, columns, columns)
    yx: np.ndarray  # (groups, rows, columns)
    x: np.ndarray  # (groups, columns)
    y: np.ndarray  # (groups, rows)
    count: int = 0

    @classmethod
    def zeros(cls, groups: int, rows: int, columns: int) -> Moments:
        """Nothing seen yet."""
        shapes = (groups, columns, columns), (groups, rows, columns), (groups, columns), (groups, rows)
        xx, yx, x, y = (np.zeros(s) for s in shapes)
        return cls(xx, yx, x, y)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Rows of inputs (positions, groups, columns) and outputs (positions, groups, rows)."""
        a, b = (v.astype(np.float64).transpose(1, 0, 2) for v in (x, y))
        self.xx += a.transpose(0, 2, 1) @ a
        self.yx += b.transpose(0, 2, 1) @ a
        self.x += a.sum(axis=1)
        self.y += b.sum(axis=1)
        self.count += x.shape[0]


def weight_of(model: ir.Model, name: str) -> np.ndarray:
    """An initializer's array."""
    array = const(model.graph.initializers[name])
    return np.zeros(0) if array is None else array


@dataclass(frozen=True)
class Goal:
    """How a layer is to be rounded: its integers, and elements that share a scale (0: the whole row)."""

    grid: Grid
    block: int = 0


def round_nearest(model: ir.Model, layer: Layer, goal: Goal, method: str = "nearest") -> Rounded:
    """Without data: to nearest, or by half-quadratic splitting (``hqq``)."""
    weight = weight_of(model, layer.weight)
    w = layer.matrix(weight)
    made = [(hqq if method == "hqq" else nearest)(rows, goal.grid, goal.block) for rows in w]
    bias = weight_of(model, layer.bias).astype(np.float64) if layer.bias else None
    q, scale = (np.stack([m[i] for m in made]) for i in (0, 1))
    return _rounded(layer, (q, scale), weight.shape, bias, method)


def _rounded(
    layer: Layer, made: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...], bias: np.ndarray | None, how: str
) -> Rounded:
    q, scale = made
    integers = layer.unmatrix(q, shape).astype(np.int8)
    if scale.shape[-1] == 1:
        return Rounded(layer, integers, layer.per_channel(scale).astype(np.float32), bias, how)
    blocks = scale[0] if layer.axis == 0 else scale[0].T  # dense layers only: one group, two axes
    return Rounded(layer, integers, np.ascontiguousarray(blocks).astype(np.float32), bias, how)


def fit(
    model: ir.Model, probe: Probe, chosen: dict[Layer, Goal], samples: Samples, seed: int = 0
) -> dict[str, Rounded]:
    """Round every layer; the probe is left with the rounded weights.

    Args:
        model: the original.
        probe: an adjustable copy with the activations' roundings on.
        chosen: the layers in the order of computing, with their goals.
        samples: to fit to.
        seed: of the choice of positions.
    """
    found = {}
    fitted = [layer for layer in chosen if layer.fits and columns_of(model, layer) <= WIDEST]
    with Walks(model, probe, fitted, samples) as walks:
        for number, (layer, goal) in enumerate(chosen.items()):
            progress.emit("rounding", number, len(chosen))
            if layer in fitted:
                made = _fitted(model, layer, goal, walks.moments(layer, np.random.default_rng([seed, number])))
            else:
                made = round_nearest(model, layer, goal)
            found[layer.node] = made
            walks.set({layer.weight: made.real()} | ({} if made.bias is None else {layer.bias: made.bias}))
    return found


def columns_of(model: ir.Model, layer: Layer) -> int:
    """How many weights each output of a layer has."""
    weight = weight_of(model, layer.weight)
    return int(weight.size // max(weight.shape[layer.axis], 1))


class Walks:
    """The original and its adjustable copy, walked side by side from layer to layer (a context manager).

    Args:
        model: the original.
        probe: the copy.
        chosen: the layers whose moments will be asked for, in the order of computing.
        samples: to run on.
    """

    def __init__(self, model: ir.Model, probe: Probe, chosen: Sequence[Layer], samples: Samples) -> None:
        self._model, self._probe, self._samples = model, probe, samples
        self._open = ExitStack()
        self._open.enter_context(child.pool())
        graph = self._open.enter_context(Graph(model))
        self._exact = self._open.enter_context(Walk(graph, samples, [layer.y for layer in chosen]))
        self._adjusted = self._open.enter_context(probe.walk(samples, [probe.behind(layer.x) for layer in chosen]))

    def __enter__(self) -> Walks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def set(self, weights: Mapping[str, np.ndarray]) -> None:
        """Other weights of the copy from now on."""
        self._probe.set(weights)
        self._adjusted.changed(weights)

    def moments(self, layer: Layer, rng: np.random.Generator) -> Moments:
        """Moments of the copy's inputs and the original's outputs of a layer, at positions that ``rng`` picks."""
        groups, rows, columns = layer.matrix(weight_of(self._model, layer.weight)).shape
        found = Moments.zeros(groups, rows, columns)
        wanted = max(_ROWS * BATCH // max(self._samples.count, 1), 64)
        pairs = zip(self._exact.values(layer.y), self._adjusted.values(self._probe.behind(layer.x)), strict=True)
        for y, x in pairs:
            flat = layer.results(y, None)
            pick = rng.choice(len(flat), wanted, replace=False) if len(flat) > wanted else None
            found.add(layer.patches(x, pick), flat if pick is None else flat[pick])
        return found


def _fitted(model: ir.Model, layer: Layer, goal: Goal, seen: Moments) -> Rounded:
    weight = weight_of(model, layer.weight)
    w = layer.matrix(weight)
    n = seen.count
    mean_x, mean_y = seen.x / n, seen.y / n
    made = []
    shrinks = SHRINKS if goal.grid.high < 100 else (1.0, 0.95)
    for group in range(len(w)):
        h, cross = seen.xx[group] / n, seen.yx[group] / n
        if layer.bias:
            h = h - np.outer(mean_x[group], mean_x[group])
            cross = cross - np.outer(mean_y[group], mean_x[group])
        pruned = w[group] == 0
        zeros = pruned if pruned.mean() > _PRUNED else None
        moved = refitted(w[group], h, cross) if zeros is None else w[group]
        made.append(fitted(moved, h, (goal.grid, goal.block), shrinks, zeros))
    q, scale = (np.stack([m[i] for m in made]) for i in (0, 1))
    bias = None
    if layer.bias:
        real = q * np.stack([expanded(s, q.shape[-1], goal.block) for s in scale])
        bias = (mean_y - np.einsum("grc,gc->gr", real, mean_x)).reshape(-1)
    return _rounded(layer, (q, scale), weight.shape, bias, "gptq")
