"""Training with the roundings in place: the file holds the very integers, scales and ranges that were trained.

Straight-through rounding with observed ranges of activations (Jacob et al., CVPR 2018, section 3) and learned scales
of the weights (LSQ, Esser et al., ICLR 2020), towards a teacher with the losses of ``distill``. It begins with the
integers that rounding without training found, and what does not get better on held-out samples stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.compression._method import Plan, Statistics
from recast.compression.apply import apply
from recast.compression.distill import _loop
from recast.compression.distill._lesson import Lesson, lesson
from recast.compression.distill.logits import SAMPLES, Logits
from recast.compression.edits import Edit, SetWeight
from recast.compression.quantize._fit import Rounded, weight_of
from recast.compression.quantize._rounding import Grid
from recast.errors import BadRecipe
from recast.graph.finding import Finding
from recast.measure import trainable
from recast.measure.subject import Subject

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.measure.data import Samples

RATE, EPOCHS = 2e-3, 20  # relative to the size of each weight tensor
_NEAR = 0.25  # of a step: how far what is behind an integer may begin from it; at 0.5 the first noise flips it


@dataclass(frozen=True)
class Aware:
    """Training of rounded layers.

    Attributes:
        method: teacher (none: the model before rounding), loss, epochs, rate.
    """

    method: Logits

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Aware | None:
        """From the option ``aware``: fields of ``distill.logits.Logits``; {} is all by default, None: no training.

        Raises:
            BadRecipe: there is no such field, or a value makes no sense.
        """
        if told is None:
            return None
        if not isinstance(told, Mapping):
            raise BadRecipe(f"aware = {told!r}", fix="a table: {} or {teacher = 'big.h5', epochs = 10}")
        try:
            return cls(Logits(**{"rate": RATE, "epochs": EPOCHS, **told}))
        except TypeError as error:
            raise BadRecipe(f"aware: {error}", fix="see docs/howto/distill.md") from error

    def train(
        self, model: ir.Model, roundings: Sequence[Edit], drafts: Sequence[tuple[Rounded, Grid]], told: Statistics
    ) -> tuple[list[Rounded], dict[str, Any], tuple[Finding, ...]]:
        """The layers with trained integers, scales and biases, notes and findings for the plan.

        Args:
            model: before rounding.
            roundings: of activations, as edits.
            drafts: the layers as they were rounded, with their integers.
            told: with samples to learn from.

        Raises:
            BadRecipe: there are too few samples.
        """
        samples = told.training
        if samples is None or samples.count < 16:
            raise BadRecipe("too few samples to learn from", fix="give more with --data")
        learned = self._lesson(model, samples, told.seed)
        first = _first(drafts)
        start: list[Edit] = [*roundings]
        for name, (made, _) in first.items():
            start.append(SetWeight(name, _behind(made, weight_of(model, name))))
            if made.bias is not None:
                start.append(SetWeight(made.layer.bias, made.bias.astype(np.float32)))
        student = apply(model, Plan("rounded", tuple(start)))
        grids = {n: _grid(made, grid) for n, (made, grid) in first.items()}
        others = [made.layer.bias for made, _ in first.values() if made.bias is not None]
        schedule = _loop.Schedule(self.method.epochs, self.method.rate, told.seed)

        def rounded(network: trainable.Trainable) -> None:
            network.round_weights(grids, others)

        notes, best = self.method.trained(student, learned, schedule, rounded)
        finished = {n: _finished(made, grid, best) for n, (made, grid) in first.items()}
        warned = () if samples.real else (Finding("trained on generated inputs: give real ones", "", "warning"),)
        return [finished[made.layer.weight] for made, _ in drafts], notes, warned

    def _lesson(self, model: ir.Model, samples: Samples, seed: int) -> Lesson:
        """The samples with what the teacher says of them."""
        path = Path(self.method.teacher)
        if self.method.teacher and not path.exists():
            raise BadRecipe("the teacher is not there", str(path), "aware = {teacher = MODEL}")
        itself = Subject("the model before rounding", path, made=model)
        return lesson(path if self.method.teacher else itself, samples, seed, self.method.augment)


def learned_from(told: Aware | None) -> int:
    """How many samples are learned from."""
    return SAMPLES if told is not None else 0


def _first(drafts: Sequence[tuple[Rounded, Grid]]) -> dict[str, tuple[Rounded, Grid]]:
    """By weight: where layers share one, the first of them."""
    found: dict[str, tuple[Rounded, Grid]] = {}
    for made, grid in drafts:
        found.setdefault(made.layer.weight, (made, grid))
    return found


def _behind(made: Rounded, weight: np.ndarray) -> np.ndarray:
    """Where a weight begins: it rounds to the integers that are there, as near to the original as that allows."""
    units = replace(made, integers=np.ones_like(made.integers)).real()
    integers = made.integers.astype(np.float32)
    near = np.clip(weight / units, integers - _NEAR, integers + _NEAR) * units
    return np.asarray(near, np.float32)


def _grid(made: Rounded, grid: Grid) -> trainable.Grid:
    places = np.arange(made.scale.size, dtype=np.float64).reshape(made.scale.shape)
    which = replace(made, integers=np.ones(made.integers.shape), scale=places).real().astype(np.int32)
    return trainable.Grid(which, made.scale.reshape(-1), (grid.low, grid.high))


def _finished(made: Rounded, grid: Grid, best: Mapping[str, np.ndarray]) -> Rounded:
    """The layer as it was trained; one that is no tensor of the network stays as it was rounded."""
    name = made.layer.weight
    scale = best.get(f"{name}{trainable.SCALE}")
    if scale is None:
        return made
    changed = replace(made, scale=scale.reshape(made.scale.shape), how="trained")
    units = replace(changed, integers=np.ones(made.integers.shape, np.float32)).real()
    integers = grid.round(best[name] / units).astype(made.integers.dtype)
    bias = best.get(made.layer.bias) if made.bias is not None else None
    return replace(changed, integers=integers, bias=made.bias if bias is None else bias.astype(np.float64))
