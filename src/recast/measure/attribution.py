"""Whether a model still looks at the same places: attribution maps beside the original's, for the original's answers.

A map is compared by what orders it: Spearman's rank correlation of all places, and the overlap of the top tenth.
Channels of an image are summed (absolute values).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from recast._util import progress
from recast._util.optional import need
from recast.errors import BadRecipe, RecastError
from recast.measure import corruptions, differentiable, intervals, ranking
from recast.measure.accuracy import Answers
from recast.measure.subject import Subject

METHODS = ("saliency", "integrated_gradients")
MOST = 100  # samples that are explained
SHOWN = 4  # samples whose maps are kept as pictures
TOP = 0.1
_SIDE = 48  # pixels of a kept picture


def of(
    subjects: Sequence[Subject], real: Mapping[str, np.ndarray], answers: Sequence[Answers], seed: int = 0
) -> dict[str, Any]:
    """Compare attribution maps.

    Args:
        subjects: the models, the original first.
        real: samples as the original takes them.
        answers: each model's answers; the original's answer is what is explained, for every model.
        seed: of the bootstrap.

    Returns:
        JSON-ready: ``samples``, ``top``, ``models`` (each: by method ``spearman`` and ``overlap`` with intervals,
        ``completeness``), ``pictures`` for image inputs, ``notes``.

    Raises:
        MissingDependency: PyTorch or Captum is not installed.
        BadRecipe: outputs are no classes, or there is more than one input.
        RecastError: the original has no differentiable graph.
    """
    need_both()
    original = answers[0]
    if len(real) != 1 or original.task.kind == "values":
        raise BadRecipe("attribution needs one input, and outputs that are classes or a reconstruction")
    (x,) = real.values()
    rows = np.linspace(0, len(x) - 1, min(MOST, len(x))).round().astype(np.int64)
    chosen = x[rows].astype(np.float32)
    target = original.top[rows] if original.top is not None else np.zeros(len(rows), np.int64)
    notes: list[str] = []
    maps: list[dict[str, tuple[list[float], np.ndarray]] | None] = []
    for index, subject in enumerate(subjects):
        progress.emit(f"explaining {subject.name}", index, len(subjects))
        try:
            with differentiable.opened(subject, original.task) as network:
                maps.append({m: network.attribute(chosen, target, m) for m in METHODS})
        except RecastError as error:
            if index == 0:
                raise
            maps.append(None)
            notes.append(f"{subject.name} was not explained: {error.what}")
    base = maps[0]
    assert base is not None  # noqa: S101 raised above
    rng = np.random.default_rng(seed)
    models = []
    for subject, found in zip(subjects, maps, strict=True):
        held = None if found is None else {m: _compared(base[m][1], found[m], rng) for m in METHODS}
        for method, told in (held or {}).items():
            if told["left_out"]:
                what = f"{told['left_out']} of {len(rows)} maps are the same everywhere and were left out"
                notes.append(f"{subject.name}, {method.replace('_', ' ')}: {what}")
        models.append({"name": subject.name, "methods": held})
    return {
        "samples": len(rows), "top": TOP, "models": models, "notes": notes,
        "pictures": _pictures(chosen, maps),
    }  # fmt: skip


def need_both() -> None:
    """Refuse before any work where PyTorch or Captum is missing. Nothing is imported.

    Raises:
        MissingDependency: with the extra that brings it.
    """
    from recast._util.optional import have

    for package, extra in (("torch", "torch"), ("captum", "interpret")):
        if not have(package):
            need(package, extra)


def places(maps: np.ndarray) -> np.ndarray:
    """Strength of each place, (n, k): absolute values; channels of an image are summed."""
    axis = corruptions.channel_axis(maps.shape)
    strength = np.abs(maps) if axis is None else np.abs(maps).sum(axis=axis)
    return np.asarray(strength.reshape(len(maps), -1))


def _compared(base: np.ndarray, found: tuple[list[float], np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    deltas, maps = found
    a, b = places(base), places(maps)
    correlation = ranking.spearman(a, b)
    usable = np.isfinite(correlation)
    left_out = int((~usable).sum())
    if left_out == len(usable):
        return {"spearman": None, "overlap": None, "completeness": None, "left_out": left_out}
    overlap = ranking.top_overlap(a[usable], b[usable], max(1, round(TOP * a.shape[1])))
    return {
        "spearman": asdict(intervals.mean(correlation[usable], rng)),
        "overlap": asdict(intervals.mean(overlap, rng)),
        "completeness": float(np.median(np.abs(deltas))) if deltas else None,
        "left_out": left_out,
    }


def _pictures(x: np.ndarray, maps: Sequence[dict[str, tuple[list[float], np.ndarray]] | None]) -> list[dict[str, Any]]:
    """Small images 0–255 with the models' integrated gradients, each map scaled to its own largest value."""
    axis = corruptions.channel_axis(x.shape)
    if axis is None:
        return []
    rows = np.linspace(0, len(x) - 1, min(SHOWN, len(x))).round().astype(np.int64)
    low, high = float(x.min()), float(x.max())
    found = []
    for row in rows:
        image = np.moveaxis(x[row], axis - 1, 2)[..., :3] if x.shape[axis] >= 3 else np.moveaxis(x[row], axis - 1, 2)
        image = _small((image - low) / ((high - low) or 1))
        image = np.repeat(image, 3, axis=2) if image.shape[2] != 3 else image
        strengths: list[list[list[int]] | None] = []
        for held in maps:
            if held is None:
                strengths.append(None)
                continue
            one = np.abs(held["integrated_gradients"][1][row]).sum(axis=axis - 1)
            one = _small(one[..., None])[..., 0]
            strengths.append((one / (one.max() or 1) * 255).round().astype(int).tolist())
        found.append({"image": (image * 255).round().astype(int).tolist(), "maps": strengths})
    return found


def _small(image: np.ndarray) -> np.ndarray:
    """Means over squares, so that the longer side is at most ``_SIDE``; (h, w, c)."""
    step = -(-max(image.shape[:2]) // _SIDE)
    height, width = (d // step * step for d in image.shape[:2])
    cut = image[:height, :width].reshape(height // step, step, width // step, step, -1)
    result: np.ndarray = cut.mean(axis=(1, 3))
    return result
