"""Run the original and the result side by side, in one format and runtime, on the same samples."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from recast.compression.gate import Comparison
from recast.errors import RecastError
from recast.formats._format import Runner
from recast.measure import accuracy, latency
from recast.measure.accuracy import Answers
from recast.measure.data import Samples
from recast.measure.subject import Subject

_ROUNDS = 6
_CLEARLY = 0.9  # of the original's time: nothing to look at again
_LEAST, _MOST, _SECONDS = 3, 35, 4.0  # timings of what is not clearly faster
_NAMES = ("original", "result")


def compare(files: tuple[Sequence[Path], Sequence[Path]], samples: Samples, timed: bool = True) -> Comparison:
    """Size, agreement, accuracy and (if ``timed``) speed of two artifacts (each: main file first, then companions).

    Raises:
        MissingDependency: the runtime is not installed.
        RecastError: a runtime refuses or dies.
    """
    old, new = (Subject(name, paths[0]) for name, paths in zip(_NAMES, files, strict=True))
    found = Comparison((_size(files[0]), _size(files[1])))
    with ExitStack() as ends:
        runners = ends.enter_context(old.running()), ends.enter_context(new.running())
        outputs = old.predict(runners[0], samples.feeds), new.predict(runners[1], samples.feeds)
        found = _agreement(found, outputs, samples)
        return _speed(found, (old, new), runners, samples) if timed else found


def time_runs(found: Comparison, files: tuple[Path, Path], samples: Samples) -> Comparison:
    """``found`` with the speed of two files (original, result) that Recast has written, in this or another process.

    Raises:
        MissingDependency: the runtime is not installed.
        RecastError: a runtime refuses or dies.
    """
    old, new = (Subject(name, path, trust=True) for name, path in zip(_NAMES, files, strict=True))
    with ExitStack() as ends:
        runners = ends.enter_context(old.running()), ends.enter_context(new.running())
        return _speed(found, (old, new), runners, samples)


def _fixed(shape: tuple[int | str, ...]) -> bool:
    return bool(shape) and isinstance(shape[0], int)


def _tiled(samples: Samples, rows: slice) -> Mapping[str, np.ndarray]:
    """Enough samples to fill one run."""
    return {n: np.resize(a, (rows.stop, *a.shape[1:])) if len(a) < rows.stop else a for n, a in samples.feeds.items()}


def _size(files: Sequence[Path]) -> int:
    return sum(f.stat().st_size for p in files for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file())


def _agreement(found: Comparison, both: tuple[list[np.ndarray], list[np.ndarray]], samples: Samples) -> Comparison:
    """Error over all outputs; scores and answers of the first output, where it has a meaning."""
    if any(a.shape != b.shape for a, b in zip(*both, strict=True)):
        return replace(found, error=float("inf"))
    found = replace(found, error=max((relative_error(a, b) for a, b in zip(*both, strict=True)), default=0.0))
    if not both[0] or not np.isfinite(both[1][0]).all() or not np.isfinite(both[0][0]).all():
        return found
    inputs = next(iter(samples.feeds.values()))
    try:
        task = accuracy.task_of(both[0][0], inputs, samples.labels)
    except RecastError:  # labels of another kind of task
        task = accuracy.task_of(both[0][0], inputs, None)
    old, new = (Answers(task, o[0], inputs) for o in both)
    rng = np.random.default_rng(0)
    told = accuracy.compare(old, new, rng)
    scores = old.score(rng), new.score(rng)
    if told.agreement is not None and (samples.labels is not None or task.kind == "classes"):
        found = replace(found, disagree=1 - told.agreement.value)
    if scores[0] is not None and scores[1] is not None:
        figures = scores[0].figure.value, scores[1].figure.value
        interval = None if told.difference is None else (told.difference.low, told.difference.high)
        found = replace(found, accuracy=figures, metric=task.metric, interval=interval)
    return found


def relative_error(old: np.ndarray, new: np.ndarray) -> float:
    """Root mean square difference over the standard deviation of the old values; infinite for NaN."""
    if not np.isfinite(new).all():
        return 0.0 if np.array_equal(old, new, equal_nan=True) else float("inf")
    a, b = old.astype(np.float64), new.astype(np.float64)
    spread = float(a.std()) or float(np.abs(a).max(initial=0.0)) or 1.0
    return float(np.sqrt(np.mean(np.square(b - a))) / spread) if a.size else 0.0


def _speed(
    found: Comparison, subjects: tuple[Subject, Subject], runners: tuple[Runner, Runner], samples: Samples
) -> Comparison:
    """Interleaved timing, several times over unless the result is clearly faster; the median of the ratios counts.

    Small models take microseconds, so that one timing tells little.
    """
    rows = slice(0, next((int(s.shape[0]) for s in runners[0].inputs if _fixed(s.shape)), 1))
    tiled = _tiled(samples, rows)
    feeds = {s.name: dict(s.feeds(r, tiled, rows)) for s, r in zip(subjects, runners, strict=True)}
    opened = dict(zip(feeds, runners, strict=True))
    tries, begin = [_ratio(opened, feeds, _ROUNDS)], time.monotonic()
    while tries[0][0] > _CLEARLY and len(tries) < _MOST:
        if len(tries) >= _LEAST and time.monotonic() - begin > _SECONDS:
            break
        tries.append(_ratio(opened, feeds, _ROUNDS))
    ratio = statistics.median(r for r, _ in tries)
    times = statistics.median(t[0] for _, t in tries), statistics.median(t[1] for _, t in tries)
    return replace(found, slowdown=ratio, latency_s=times)


def _ratio(
    opened: dict[str, Runner], feeds: dict[str, dict[str, np.ndarray]], rounds: int
) -> tuple[float, tuple[float, float]]:
    """How many times as long the result takes, by median and by fastest tenth, averaged; and both medians."""
    times = latency.interleaved(opened, feeds, rounds)
    old, new = (times[name] for name in _NAMES)
    return statistics.mean((new.median_s / old.median_s, new.fast_s / old.fast_s)), (old.median_s, new.median_s)
