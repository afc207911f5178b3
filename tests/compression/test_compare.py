"""How the speed of two artifacts is judged: by what most of the timings say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recast._util.child import TensorSpec
from recast.compression import compare
from recast.compression.gate import Comparison
from recast.measure import latency
from recast.measure.data import Samples
from recast.measure.latency import Latency


class _Fake:
    """Stands for a subject and for its runner; never run."""

    def __init__(self, name: str) -> None:
        self.name, self.inputs = name, [TensorSpec("x", "float32", ("batch", 3))]

    def feeds(self, runner: Any, feeds: Any, rows: slice) -> Mapping[str, np.ndarray]:
        return {}


def judged(monkeypatch: pytest.MonkeyPatch, ratios: list[float]) -> tuple[Comparison, int]:
    """What is found where the timings give these ratios (the last one for ever), and how many were made."""
    made = 0

    def timed(runners: Any, feeds: Any, rounds: int) -> dict[str, Latency]:
        nonlocal made
        ratio = ratios[min(made, len(ratios) - 1)]
        made += 1
        return {"original": Latency(2e-4, 2e-4, 2e-4, 1), "result": Latency(*(2e-4 * ratio,) * 3, 1)}

    monkeypatch.setattr(latency, "interleaved", timed)
    both = _Fake("original"), _Fake("result")
    samples = Samples({"x": np.ones((5, 3), np.float32)})
    return compare._speed(Comparison((2, 1)), both, both, samples), made  # type: ignore[arg-type]


def test_clearly_faster_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, made = judged(monkeypatch, [0.5, 9.0])
    assert (found.slowdown, made) == (0.5, 1)


@pytest.mark.parametrize(("ratios", "said"), [([0.95, 0.2, 7.0, 1.125], 1.125), ([7.0, 0.2, 1.0], 1.0)])
def test_odd_timings_decide_nothing(monkeypatch: pytest.MonkeyPatch, ratios: list[float], said: float) -> None:
    found, made = judged(monkeypatch, ratios)
    assert found.slowdown == pytest.approx(said)
    assert found.latency_s == pytest.approx((2e-4, 2e-4 * said))
    assert made == compare._MOST


def test_long_runs_are_timed_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[float] = iter(np.arange(0.0, 1e4, 2 * compare._SECONDS))
    fake = SimpleNamespace(monotonic=lambda: next(clock))  # each look at the clock: seconds later
    monkeypatch.setattr("recast.compression.compare.time", fake)
    found, made = judged(monkeypatch, [1.5, 1.25, 1.0, 3.0])
    assert (found.slowdown, made) == (1.25, compare._LEAST)
