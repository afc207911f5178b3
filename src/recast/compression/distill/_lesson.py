"""What a student learns from: samples, further views of images, and what the teacher says of all of them.

The teacher labels every view itself, so that a view teaches something new (Beyer et al., Knowledge distillation: a good
teacher is patient and consistent, CVPR 2022, section 3.1: teacher and student see the same crop).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from recast.errors import BadRecipe
from recast.measure.data import Samples
from recast.measure.subject import Subject

HELD_OUT = 0.1  # of the samples: they choose the best epoch
VIEWS = 8  # of each image, the image itself included
SHIFT = 8  # images move by up to an eighth of their size
LARGEST = 1 << 30  # bytes of all views
_SMALLEST = 16  # pixels: smaller images hold no more when they move
View = Literal["flip", "shift"]
NONE, AUTO = "none", "auto"


@dataclass(frozen=True)
class Lesson:
    """Samples in the order of learning: all views of the training samples, then the held-out samples as they are.

    Attributes:
        teacher: who gave the answers.
        samples: all of them.
        answers: of the teacher, (n, …).
        labels: class numbers (n,), or None.
        rows: how many are for training; the others choose the best epoch.
        views: how many of the rows are of one sample; an epoch is as long as without views.
    """

    teacher: Subject
    samples: Samples
    answers: np.ndarray
    labels: np.ndarray | None
    rows: int
    views: int = 1


def lesson(teacher: Path | Subject, samples: Samples, seed: int, augment: str = NONE) -> Lesson:
    """Choose what is held out, make views of the rest, ask the teacher once.

    Args:
        teacher: a file, or a graph at hand; it runs in its own runtime.
        samples: real or generated.
        seed: of the order and the views.
        augment: see ``kinds``.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(samples.count)
    rows = max(1, int(samples.count * (1 - HELD_OUT)))
    training, held = samples.pick(order[:rows]), samples.pick(order[rows:])
    changes = kinds(augment, samples)
    bytes_ = sum(a.nbytes for a in training.feeds.values())
    views = max(1, min(VIEWS, LARGEST // max(1, bytes_))) if changes else 1
    parts = [training, *(_view(training, changes, rng) for _ in range(views - 1)), held]
    every = _joined(parts)
    subject = teacher if isinstance(teacher, Subject) else Subject(teacher.name, teacher)
    answers, labels = teach(subject, every)
    return Lesson(subject, every, answers, labels, rows * views, views)


def teach(teacher: Subject, samples: Samples) -> tuple[np.ndarray, np.ndarray | None]:
    """The teacher's first output for all samples, in its own runtime, and the labels if they are class numbers."""
    with teacher.running() as runner:
        answers = teacher.predict(runner, samples.feeds)[0]
    labels = samples.labels
    usable = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
    return answers, labels if usable else None


def kinds(augment: str, samples: Samples) -> tuple[View, ...]:
    """How views differ: ``flip`` (left and right), ``shift``; ``auto``: both for colour images, else none.

    Grey images may be digits, or spectra: they are changed only where it is asked for.

    Raises:
        BadRecipe: there is no such change, or the samples are no images.
    """
    if augment == NONE:
        return ()
    axes = _axes(samples)
    if augment == AUTO:
        return get_args(View) if axes is not None and _colours(samples) else ()
    wanted = [w.strip() for w in augment.split(",")]
    if unknown := [w for w in wanted if w not in get_args(View)]:
        raise BadRecipe(f"augment '{', '.join(unknown)}'", fix=f"auto, none, or some of: {', '.join(get_args(View))}")
    if axes is None:
        raise BadRecipe(f"augment '{augment}' is for one input of images", fix="leave it out")
    return tuple(w for w in get_args(View) if w in wanted)


def _colours(samples: Samples) -> bool:
    (array,) = samples.feeds.values()
    return 3 in (array.shape[1], array.shape[-1])


def _axes(samples: Samples) -> tuple[int, int] | None:
    """The axes of height and width of the only input, or None where it is no image."""
    if len(samples.feeds) != 1:
        return None
    (array,) = samples.feeds.values()
    if array.ndim != 4 or array.dtype.kind not in "fiu":
        return None
    axes = (2, 3) if array.shape[1] <= array.shape[-1] else (1, 2)
    return axes if min(array.shape[a] for a in axes) >= _SMALLEST else None


def _view(samples: Samples, changes: tuple[View, ...], rng: np.random.Generator) -> Samples:
    """Every image changed at random; what a shift uncovers is a reflection."""
    axes = _axes(samples)
    ((name, array),) = samples.feeds.items()
    if axes is None:
        return samples
    made = array.copy()
    if "flip" in changes:
        turned = rng.random(len(made)) < 0.5
        made[turned] = np.flip(made[turned], axes[1])
    if "shift" in changes:
        most = [array.shape[a] // SHIFT for a in axes]
        pads = [(most[axes.index(a)],) * 2 if a in axes else (0, 0) for a in range(array.ndim)]
        wide = np.pad(made, pads, mode="reflect")
        moves = np.stack([rng.integers(0, 2 * m + 1, len(made)) for m in most], axis=1)
        for row, move in enumerate(moves):
            cut: list[slice] = [slice(None)] * (array.ndim - 1)
            for axis, start in zip(axes, move, strict=True):
                cut[axis - 1] = slice(start, start + array.shape[axis])
            made[row] = wide[row][tuple(cut)]
    return Samples({name: made}, samples.labels, samples.real, samples.names)


def _joined(parts: list[Samples]) -> Samples:
    feeds = {n: np.concatenate([p.feeds[n] for p in parts]) for n in parts[0].feeds}
    held = [p.labels for p in parts if p.labels is not None]
    return Samples(feeds, np.concatenate(held) if held else None, parts[0].real, parts[0].names)
