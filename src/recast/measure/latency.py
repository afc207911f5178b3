"""How long a run takes: timed inside each model's own child process, the models taking turns.

Turns matter: a machine slows down and speeds up by minutes, so that models timed one after another are not comparable.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast._util import progress
from recast.formats._format import Runner

Feeds = Mapping[str, np.ndarray]
_TURN_S = 0.05  # a turn is about this long, so that slow models are not run dozens of times before the next one's turn
_MOST = 50


@dataclass(frozen=True)
class Latency:
    """Seconds of one run. ``fast_s``: the fastest tenth, which holds still where other programs run."""

    median_s: float
    p95_s: float
    fast_s: float
    runs: int


def interleaved(runners: Mapping[str, Runner], feeds: Mapping[str, Feeds], rounds: int = 20) -> dict[str, Latency]:
    """Time several models, turn by turn; who goes first changes every round.

    Args:
        runners: open models by name. A runner in a child process times itself, so that handing arrays over is not
            counted; any other is timed around its ``run``.
        feeds: what each is run on, by the same names.
        rounds: turns of each model; each begins with warm-up runs.
    """
    names = list(runners)
    repeats = {name: _repeats(_turn(runners[name], feeds[name], 2, 3)) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        progress.emit("timing", number, rounds)
        start = number % len(names) if names else 0
        for name in [*names[start:], *names[:start]]:
            times[name] += _turn(runners[name], feeds[name], repeats[name], max(1, repeats[name] // 5))
    return {name: summary(found) for name, found in times.items()}


def summary(times: list[float]) -> Latency:
    """Median, 95th percentile and fastest tenth of measured seconds."""
    p95, fast = (float(np.percentile(times, q)) for q in (95, 10))
    return Latency(statistics.median(times), p95, fast, len(times))


def _repeats(times: list[float]) -> int:
    return int(np.clip(_TURN_S / max(min(times), 1e-7), 1, _MOST))


def _turn(runner: Runner, feeds: Feeds, repeats: int, warmup: int) -> list[float]:
    call: Any = getattr(runner, "call", None)
    if call is not None:
        seconds: list[float] = call("latency", feeds, repeats=repeats, warmup=warmup)[0]
        return seconds
    times = []
    for turn in range(warmup + repeats):
        start = time.perf_counter()
        runner.run(feeds)
        if turn >= warmup:
            times.append(time.perf_counter() - start)
    return times
