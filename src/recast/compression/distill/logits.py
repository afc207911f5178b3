"""Train a network to answer as a teacher does; with labels, without, or with generated inputs.

The teacher is a file of any format and runs in its own runtime, once. The student is the graph at hand: a given small
model, or a pruned copy (then this is recovery). Losses: Hinton, Vinyals, Dean 2015; decoupled: Zhao et al., CVPR 2022;
outputs that are no classes: mean squares, in units of the teacher's variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from recast.compression._method import Needs, Plan, Skip, Statistics
from recast.compression.distill import _loop, _maps
from recast.compression.distill._checkpoint import Checkpoint, mark_of
from recast.compression.distill._lesson import AUTO, Lesson, lesson
from recast.compression.edits import SetWeight
from recast.errors import BadRecipe
from recast.graph.finding import Finding
from recast.measure import trainable
from recast.measure.subject import Subject
from recast.passes import PassOptions

if TYPE_CHECKING:
    import onnx_ir as ir


SAMPLES = 50_000  # at most
ORIGINAL = "the original"
Loss = Literal["kd", "dkd", "attention", "hints"]


@dataclass(frozen=True)
class Logits:
    """Distil the teacher's scores.

    Attributes:
        teacher: a model file; none: the model as it was before the recipe's first step.
        loss: ``kd``, ``dkd`` (needs labels), or for images ``kd`` and what the teacher sees on its way (``_maps``):
            ``attention``: where it looks; ``hints``: its middle layer.
        temperature: softens the scores (Hinton et al. found 2.5–20 useful).
        hard: share of the loss that is cross-entropy with the labels, where there are any.
        epochs: at most.
        rate: of AdamW, falling to 0 along a cosine.
        checkpoint: a file (``.npz``) to save each epoch in; if it is there, the training goes on from it and ends with
            the same weights as one that was never cut off.
        augment: further views of images, which the teacher labels too: ``flip``, ``shift`` or both; ``auto``: both for
            colour images; ``none``.
    """

    teacher: str = ""
    loss: Loss = "kd"
    temperature: float = 4.0
    hard: float = 0.1
    epochs: int = 30
    rate: float = 1e-3
    checkpoint: str = ""
    augment: str = AUTO

    passes: ClassVar[tuple[str, ...]] = trainable.passes()
    pass_options: ClassVar[PassOptions] = PassOptions(keep_tied=True)

    def __post_init__(self) -> None:
        if self.loss not in get_args(Loss):
            raise BadRecipe(f"loss '{self.loss}'", fix=f"one of {', '.join(get_args(Loss))}")
        if not (self.temperature > 0 and 0 <= self.hard <= 1 and self.epochs > 0 and self.rate > 0):
            raise BadRecipe("temperature, epochs and rate are positive, hard is 0–1")

    def needs(self, model: ir.Model) -> Needs:
        """Samples."""
        return Needs(samples=SAMPLES)

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """The trained weights."""
        samples = statistics.samples
        if samples is None or samples.count < 16:
            raise BadRecipe("too few samples to learn from", fix="give more with --data")
        told = lesson(self._subject(statistics.original), samples, statistics.seed, self.augment)
        return self.learn(model, told, _loop.Schedule(self.epochs, self.rate, statistics.seed))

    def _subject(self, original: ir.Model | None) -> Subject:
        """The teacher.

        Raises:
            BadRecipe: it is not there.
        """
        if not self.teacher and original is not None:
            return Subject(ORIGINAL, Path(), made=original)
        if not self.teacher or not Path(self.teacher).exists():
            raise BadRecipe("the teacher is not there", self.teacher, "--distill-from MODEL")
        return Subject(Path(self.teacher).name, Path(self.teacher))

    def learn(self, model: ir.Model, told: Lesson, schedule: _loop.Schedule) -> Plan:
        """The trained weights."""
        notes, best = self.trained(model.clone(), told, schedule)
        kept = {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}
        changed = [n for n in best if n in kept and not np.array_equal(best[n], kept[n])]
        if not changed:
            return Plan("distill", skips=(Skip("the whole model", "no epoch was better than none"),), notes=notes)
        real = told.samples.real
        warned = () if real else (Finding("distilled on generated inputs: give real ones", "", "warning"),)
        return Plan("distill", tuple(SetWeight(n, best[n], "trained") for n in changed), (), warned, notes)

    def trained(
        self,
        student: ir.Model,
        told: Lesson,
        schedule: _loop.Schedule,
        prepare: Callable[[trainable.Trainable], None] = lambda network: None,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a plan notes, and the best weights; the student (changed: its outputs) after ``prepare``."""
        how = self._loss(student, told.answers, told.labels)
        maps: list[np.ndarray] = []
        if self.loss in ("attention", "hints"):
            look = _maps.watch if self.loss == "attention" else _maps.hint
            maps = look(student, told.teacher, told.samples)
            how["maps"] = _maps.WEIGHT if self.loss == "attention" else 1.0
        with trainable.opened(student) as network:
            inputs, scores, labels = network.feeds_of(told.samples), how.pop("scores"), told.labels
            network.load(inputs, scores, labels, maps)
            prepare(network)
            file = None
            if self.checkpoint:
                given = [*inputs, scores, *maps, *network.weights().values(), *([labels] if labels is not None else [])]
                file = Checkpoint(Path(self.checkpoint), mark_of({**how, **vars(schedule)}, given))
            sizes, device = (told.rows, told.samples.count, told.views), network.device()
            history, best = _loop.train(network, sizes, how, schedule, file)
        notes = {"loss by epoch (training, held out)": history, "teacher": told.teacher.name, "views": told.views}
        return {**notes, "device": device}, best

    def _loss(self, student: ir.Model, answers: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
        """How the student is compared, and the teacher's scores for it (before a last Softmax)."""
        from recast.measure.differentiable import strip

        flat = answers.reshape(len(answers), -1).astype(np.float64)
        sums_to_one = flat.shape[1] > 1 and flat.min() >= 0 and np.allclose(flat.sum(axis=1), 1, atol=1e-2)
        classes = sums_to_one or (labels is not None and 1 < flat.shape[1] > int(labels.max()))
        if not classes:
            spread = float(flat.var()) or 1.0
            return {"kind": "values", "spread": spread, "scores": answers}
        strip(student)
        scores = np.log(np.maximum(flat, 1e-7)) if sums_to_one else flat
        kind = "dkd" if self.loss == "dkd" and labels is not None else "kd"
        return {"kind": kind, "temperature": self.temperature, "hard": self.hard, "scores": scores}


METHODS = {"logits": Logits}
