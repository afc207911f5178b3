"""How well a model does on labelled samples, and how far it agrees with the original: arrays in, figures out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from recast.errors import BadModel, BadRecipe
from recast.measure import intervals, ranking
from recast.measure.intervals import Interval

Kind = Literal["classes", "binary", "reconstruction", "values"]
_DRAWS_AUC = 500
_LARGE = 0.5  # a probability


@dataclass(frozen=True)
class Task:
    """What outputs mean.

    Attributes:
        kind: ``classes``: (n, c) scores, the largest wins; ``binary``: one score a sample; ``reconstruction``: the
            output is the input again, its squared error is the score of class 1; ``values``: numbers without labels.
        labels: integers (m,); None without labels. In ``reconstruction`` n may be a multiple of m: consecutive
            samples belong together, and their mean error counts.
        threshold: of ``binary``.
    """

    kind: Kind
    labels: np.ndarray | None = None
    threshold: float = _LARGE

    @property
    def metric(self) -> str:
        """``accuracy``, ``AUC``, or ``agreement`` where there are no labels."""
        if self.labels is None:
            return "agreement"
        return "AUC" if self.kind == "reconstruction" else "accuracy"


@dataclass(frozen=True)
class Score:
    """The figure of one model: accuracy (0–1) or AUC, with its 95 % interval; per class for accuracies."""

    metric: str
    figure: Interval
    per_class: dict[int, float]


@dataclass(frozen=True)
class Comparison:
    """A model against the original on the same samples.

    Attributes:
        agreement: share of equal top-1 answers; None where outputs are no classes.
        difference: metric of this model minus that of the original, with its paired 95 % interval; None without labels.
        mcnemar_p: exact p of McNemar's test; None but for accuracies.
        worst_class: the class that lost most, and by how much (negative: it lost); None without classes.
        relative_rms: RMS of the outputs' difference over the RMS of the original's outputs.
        cosine: mean over samples of the cosine between both outputs.
        largest: largest absolute difference of an output element.
    """

    agreement: Interval | None
    difference: Interval | None
    mcnemar_p: float | None
    worst_class: tuple[int, float] | None
    relative_rms: float
    cosine: float
    largest: float


def task_of(outputs: np.ndarray, inputs: np.ndarray, labels: np.ndarray | None) -> Task:
    """What a model's outputs mean, from shapes and labels.

    Args:
        outputs: (n, …) of the original.
        inputs: (n, …) that gave them.
        labels: integers (m,), or None.

    Raises:
        BadRecipe: the labels do not fit the outputs.
    """
    count, width = len(outputs), outputs[0].size if len(outputs) else 0
    if labels is None:
        return Task("classes" if width > 1 and outputs.shape != inputs.shape and _rank(outputs) == 2 else "values")
    if labels.ndim != 1 or not len(labels) or not np.array_equal(labels, np.rint(labels)):
        raise BadRecipe(f"labels of shape {list(labels.shape)}", "--data", "give one integer a sample")
    labels = labels.astype(np.int64)
    if outputs.shape == inputs.shape and width > 1 and set(np.unique(labels)) == {0, 1} and not count % len(labels):
        return Task("reconstruction", labels)
    if len(labels) != count:
        raise BadRecipe(f"{len(labels)} labels for {count} samples", "--data", "give one integer a sample")
    if _rank(outputs) > 2 or width == 0:
        raise BadRecipe(
            f"outputs of shape {list(outputs.shape)} are not scores of classes",
            "the model's first output",
            "leave the labels out; agreement and output error are measured without them",
        )
    if width == 1:
        if set(np.unique(labels)) - {0, 1}:
            raise BadRecipe("one score a sample, but labels besides 0 and 1", "--data", "give labels 0 and 1")
        probability = bool(outputs.min() >= 0 and outputs.max() <= 1)
        return Task("binary", labels, _LARGE if probability else 0.0)
    if labels.min() < 0 or labels.max() >= width:
        raise BadRecipe(
            f"labels {labels.min()} to {labels.max()} for {width} classes", "--data", "count the classes from 0"
        )
    return Task("classes", labels)


def _rank(outputs: np.ndarray) -> int:
    """Axes that are longer than 1, the samples' own included."""
    return 1 + sum(d > 1 for d in outputs.shape[1:]) if len(outputs) else 0


@dataclass(frozen=True)
class Answers:
    """One model's outputs as a task reads them. ``outputs`` (n, …) and ``inputs`` (n, …), both real numbers."""

    task: Task
    outputs: np.ndarray
    inputs: np.ndarray

    def __post_init__(self) -> None:
        if not np.isfinite(self.outputs).all():
            bad = int((~np.isfinite(self.outputs)).reshape(len(self.outputs), -1).any(axis=1).sum())
            raise BadModel(f"{bad} of {len(self.outputs)} samples give outputs that are not finite", "", "")

    @cached_property
    def top(self) -> np.ndarray | None:
        """The chosen class of each sample (n,), or None where outputs are no classes."""
        if self.task.kind == "classes":
            return np.asarray(self.outputs.reshape(len(self.outputs), -1).argmax(axis=1))
        if self.task.kind == "binary":
            return (self.outputs.reshape(-1) > self.task.threshold).astype(np.int64)
        return None

    @cached_property
    def right(self) -> np.ndarray | None:
        """Which samples are answered right (n,), or None without labels or classes."""
        if self.top is None or self.task.labels is None:
            return None
        return np.asarray(self.top == self.task.labels)

    @cached_property
    def errors(self) -> np.ndarray:
        """Reconstruction: mean squared error of each label's samples, (m,)."""
        assert self.task.labels is not None  # noqa: S101 reconstruction has labels
        squares = np.square(self.outputs.astype(np.float64) - self.inputs.astype(np.float64))
        found: np.ndarray = squares.reshape(len(self.task.labels), -1).mean(axis=1)
        return found

    def score(self, rng: np.random.Generator) -> Score | None:
        """The model's own figure; None without labels."""
        labels = self.task.labels
        if labels is None:
            return None
        if self.right is not None:
            found = intervals.wilson(int(self.right.sum()), len(labels))
            return Score("accuracy", found, self.per_class())
        errors = self.errors
        figure = intervals.paired_statistic(lambda i: ranking.auc(errors[i], labels[i]), labels, rng, _DRAWS_AUC)
        return Score("AUC", figure, {})

    def per_class(self) -> dict[int, float]:
        """Accuracy of each class that has samples."""
        labels, right = self.task.labels, self.right
        if labels is None or right is None:
            return {}
        return {int(c): float(right[labels == c].mean()) for c in np.unique(labels)}

    def confusion(self) -> np.ndarray | None:
        """Counts (label, answer) of shape (c, c); None without classes."""
        if self.top is None or self.task.labels is None:
            return None
        width = 2 if self.task.kind == "binary" else self.outputs[0].size
        counts = np.zeros((width, width), np.int64)
        np.add.at(counts, (self.task.labels, self.top), 1)
        return counts


def compare(original: Answers, other: Answers, rng: np.random.Generator) -> Comparison:
    """Compare a model with the original, sample by sample.

    Raises:
        BadModel: the outputs have different numbers of elements.
    """
    if original.outputs.size != other.outputs.size or len(original.outputs) != len(other.outputs):
        raise BadModel(
            f"outputs of shape {list(other.outputs.shape)} instead of {list(original.outputs.shape)}",
            "",
            "compare models of the same task",
        )
    agreement = None
    if original.top is not None and other.top is not None:
        agreement = intervals.wilson(int((original.top == other.top).sum()), len(original.top))
    difference, p, worst = None, None, None
    if original.right is not None and other.right is not None:
        a, b = original.right, other.right
        difference = intervals.paired_difference(a, b, rng)
        p = intervals.mcnemar(int((a & ~b).sum()), int((b & ~a).sum()))
        before, after = original.per_class(), other.per_class()
        worst = min(((c, after[c] - before[c]) for c in before), key=lambda pair: pair[1])
    elif original.task.labels is not None:
        labels, e, f = original.task.labels, original.errors, other.errors
        difference = intervals.paired_statistic(
            lambda i: ranking.auc(f[i], labels[i]) - ranking.auc(e[i], labels[i]), labels, rng, _DRAWS_AUC
        )
    return Comparison(agreement, difference, p, worst, *_distance(original.outputs, other.outputs))


def _distance(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    a = first.reshape(len(first), -1).astype(np.float64)
    b = second.reshape(len(second), -1).astype(np.float64)
    scale = float(np.sqrt(np.square(a).mean()))
    rms = float(np.sqrt(np.square(b - a).mean()))
    norms = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    cosines = np.where(norms > 0, (a * b).sum(axis=1) / np.where(norms > 0, norms, 1), (a == b).all(axis=1))
    relative = rms / scale if scale else (0.0 if rms == 0 else float("inf"))
    return relative, float(cosines.mean()), float(np.abs(b - a).max(initial=0))
