"""Run the original and the result side by side, in one format and runtime, on the same samples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from recast._util.child import RemoteRunner
from recast.compression.gate import SLOWER, Comparison
from recast.formats._format import Format, Runner
from recast.measure.data import Samples

_ROUNDS = 7
_REPEATS = 20


def compare(format_: Format, files: tuple[Sequence[Path], Sequence[Path]], samples: Samples) -> Comparison:
    """Size, agreement, accuracy and speed of two artifacts (each: main file first, then companions).

    Raises:
        MissingDependency: the runtime is not installed.
        RecastError: a runtime refuses or dies.
    """
    first, second = files
    found = Comparison((_size(first), _size(second)))
    old = format_.open_deployed(first[0])
    try:
        new = format_.open_deployed(second[0])
        try:
            found = _agreement(found, (outputs(old, samples), outputs(new, samples)), samples)
            if isinstance(old, RemoteRunner) and isinstance(new, RemoteRunner):
                found = _speed(found, (old, new), samples)
        finally:
            new.close()
    finally:
        old.close()
    return found


def _size(files: Sequence[Path]) -> int:
    return sum(f.stat().st_size for p in files for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file())


def outputs(runner: Runner, samples: Samples) -> list[np.ndarray]:
    """The outputs for all samples, float64, each of shape (count, elements)."""
    parts: list[list[np.ndarray]] = [[] for _ in runner.outputs]
    for feeds in samples.batches(runner.inputs):
        given = runner.run(feeds)
        rows = len(next(iter(feeds.values())))
        for part, spec in zip(parts, runner.outputs, strict=True):
            value = given[spec.name]
            part.append(value.reshape(rows, -1) if value.ndim and len(value) == rows else value.reshape(1, -1))
    return [np.concatenate(p)[: samples.count].astype(np.float64) for p in parts]


def _agreement(found: Comparison, both: tuple[list[np.ndarray], list[np.ndarray]], samples: Samples) -> Comparison:
    old, new = both
    if any(a.shape != b.shape for a, b in zip(old, new, strict=True)):
        return replace(found, error=float("inf"))
    errors = [relative_error(a, b) for a, b in zip(old, new, strict=True)]
    found = replace(found, error=max(errors, default=0.0))
    if len(old) == 1 and old[0].shape[1] >= 2 and len(old[0]) == samples.count and samples.labels is not None:
        answers = old[0].argmax(axis=1), new[0].argmax(axis=1)
        labels = np.asarray(samples.labels)
        found = replace(found, disagree=float(np.mean(answers[0] != answers[1])))
        if labels.shape == answers[0].shape and labels.dtype.kind in "iu":
            found = replace(
                found, accuracy=(float(np.mean(answers[0] == labels)), float(np.mean(answers[1] == labels)))
            )
    return found


def relative_error(old: np.ndarray, new: np.ndarray) -> float:
    """Root mean square difference over the standard deviation of the old values; infinite for NaN."""
    if not np.isfinite(new).all():
        return 0.0 if np.array_equal(old, new, equal_nan=True) else float("inf")
    spread = float(old.std()) or float(np.abs(old).max(initial=0.0)) or 1.0
    return float(np.sqrt(np.mean(np.square(new - old))) / spread)


def _speed(found: Comparison, runners: tuple[RemoteRunner, RemoteRunner], samples: Samples) -> Comparison:
    """Medians of interleaved rounds of single samples; a result that looks slower is measured a second time."""
    feeds = [next(iter(samples.take(1).batches(r.inputs, 1))) for r in runners]
    best: tuple[float, tuple[float, float]] | None = None
    for _ in range(2):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(_ROUNDS):
            for side in (0, 1):
                taken, _ = runners[side].call("latency", feeds[side], repeats=_REPEATS)
                times[side].append(statistics.median(taken))
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        if best is None or ratio < best[0]:
            best = (ratio, (statistics.median(times[0]), statistics.median(times[1])))
        if ratio <= SLOWER:
            break
    return found if best is None else replace(found, slowdown=best[0], latency_s=best[1])
