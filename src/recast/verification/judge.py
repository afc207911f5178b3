"""Judge one output on one feed: a quick comparison first, the float64 run only where that is not tight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from recast.verification import compare
from recast.verification.compare import Difference
from recast.verification.feeds import Feed
from recast.verification.memory import Memory, Truth, digest
from recast.verification.oracle import Oracle, OracleUnavailable
from recast.verification.ties import only_ties
from recast.verification.tolerances import (
    CAREFUL_RUNS,
    DISTURBED_RUNS,
    DOUBTFUL,
    JITTER_RUNS,
    LARGEST_OF_THREE,
    TABLE,
    Tolerance,
    for_dtype,
)


class Judge:
    """Keeps the oracle of one source graph, and its runs on the feed at hand.

    Args:
        model: the source's graph, or None: everything is judged without float64.
        names: (graph input, runtime input) names, in order.
        coarse: ``float16`` or ``bfloat16`` where the target computes in that: its rounding is no fault.
        memory: float64 results that another target of the same source has asked for.
    """

    def __init__(
        self,
        model: ir.Model | None,
        names: Sequence[tuple[str | None, str]],
        coarse: str = "",
        memory: Memory | None = None,
    ) -> None:
        self._truths = memory.truths if memory is not None else None
        self._coarse = TABLE[coarse] if coarse else None
        self.state = "not needed"
        self.applied: dict[str, Tolerance] = {}
        self._model, self._names = model, names
        self._oracle: Oracle | None = None
        self._feed: Feed | None = None
        self._exact: dict[str, np.ndarray] = {}
        self._noise: dict[str, np.ndarray] = {}
        self._careful_noise: dict[str, np.ndarray] = {}

    def compare(self, output: tuple[int, str], source: np.ndarray, target: np.ndarray, feed: Feed) -> Difference:
        """Judge one output.

        Args:
            output: its position and name.
            source: what the source's runtime computed.
            target: what the target's runtime computed, axes as in the source.
            feed: the inputs.
        """
        position, name = output
        source, target = np.asarray(source), np.asarray(target)
        form = compare.same_form(name, source, target)
        if form is not None:
            return form
        tolerance = for_dtype(source.dtype.name)
        if self._coarse is not None and source.dtype.kind in "fV":
            tolerance = self._coarse
        self.applied[tolerance.name] = tolerance
        first = compare.tight(name, source, target, tolerance)
        if first.accepted or first.problem == "non-finite":
            return first
        if not self._evaluate(feed):
            return self._blind(name, source, target, tolerance)
        exact = list(self._exact.values())[position]
        noise = list(self._noise.values())[position]
        if exact.shape != source.shape:
            return replace(first, problem="source", source=str(list(exact.shape)), target=str(list(source.shape)))
        if self._oracle is not None and self._oracle.quantised:
            tolerance = TABLE["quantised"]
            self.applied[tolerance.name] = tolerance
        elif tolerance.name == "exact":
            return self._integers(position, first, (source, target), exact)
        found = compare.against_exact(name, (source, target, exact), noise, tolerance)
        if found.accepted or found.ratio > DOUBTFUL or self._oracle is None or self._oracle.quantised:
            return found
        noise = list(self._careful(self._oracle, feed).values())[position]
        return compare.against_exact(name, (source, target, exact), noise, tolerance)

    def _careful(self, oracle: Oracle, feed: Feed) -> dict[str, np.ndarray]:
        """The noise on this feed, measured with many runs (once)."""
        if not self._careful_noise:
            self._careful_noise = careful_noise(oracle, self._graph_feeds(feed), self._exact)
        return self._careful_noise

    def _blind(self, name: str, source: np.ndarray, target: np.ndarray, tolerance: Tolerance) -> Difference:
        return compare.tight(name, source, target, tolerance, blind=True)

    def _integers(
        self, position: int, first: Difference, arrays: tuple[np.ndarray, np.ndarray], exact: np.ndarray
    ) -> Difference:
        """Indices may differ where float64 shows that the choice is a tie within rounding."""
        oracle = self._oracle
        if oracle is None or self._feed is None:
            return first
        value = oracle.model.graph.outputs[position]
        feeds = self._graph_feeds(self._feed)
        if only_ties(oracle, value, feeds, (arrays[0], arrays[1], exact)):
            return replace(first, accepted=True, problem="", stage="tie", ratio=1.0)
        return first

    def _graph_feeds(self, feed: Feed) -> dict[str, np.ndarray]:
        return {graph or runtime: feed.arrays[runtime] for graph, runtime in self._names}

    def _evaluate(self, feed: Feed) -> bool:
        """Run the oracle on this feed (once); False where it is unavailable."""
        if self._model is None or self.state.startswith("unavailable"):
            self.state = self.state if self._model is not None else "unavailable: no graph"
            return False
        if self._feed is feed:
            return True
        try:
            if self._oracle is None:
                self._oracle = Oracle(self._model, self._coarse.unit if self._coarse else 0.0)
            self._exact, self._noise = self._truth(self._oracle, self._graph_feeds(feed))
        except OracleUnavailable as error:
            self.state = f"unavailable: {error}"
            return False
        self._feed, self._careful_noise = feed, {}
        self.state = "used"
        return True

    def _truth(self, oracle: Oracle, feeds: dict[str, np.ndarray]) -> Truth:
        key = digest(feeds, str(oracle.unit)) if self._truths is not None else b""
        if self._truths is not None and key in self._truths:
            return self._truths[key]
        exact = oracle.run(feeds)
        found = exact, measure_noise(oracle, feeds, exact)
        if self._truths is not None:
            self._truths[key] = found
        return found


LARGE_BYTES = 20_000_000  # weights beyond this: one disturbed run instead of several, to stay within seconds


def weight_bytes(model: ir.Model) -> int:
    """Size of all weights."""
    return sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)


def measure_noise(
    oracle: Oracle, feeds: dict[str, np.ndarray], exact: dict[str, np.ndarray], wanted: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """How far correct runs stray from float64: disturbed float64 runs, and one in the graph's own types."""
    runs = [] if oracle.quantised else [oracle.run(feeds, exact=False, wanted=wanted)]
    count = JITTER_RUNS if oracle.quantised else DISTURBED_RUNS
    if weight_bytes(oracle.model) > LARGE_BYTES:
        count = 1
    for number in range(count):
        runs.append(oracle.run(feeds, wanted=wanted, jitter=np.random.default_rng([7, number])))
    return {name: np.max(_strays(name, base, runs), axis=0) for name, base in exact.items()}


def careful_noise(oracle: Oracle, feeds: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same as ``measure_noise`` in the mean, without its luck: three runs may all happen to stray little.

    The largest of three normal deviates is ``LARGEST_OF_THREE`` standard deviations in the mean; the standard deviation
    is measured over ``CAREFUL_RUNS`` disturbed runs (docs/decisions/0008).
    """
    native = [oracle.run(feeds, exact=False)]
    runs = [oracle.run(feeds, jitter=np.random.default_rng([13, number])) for number in range(CAREFUL_RUNS)]
    noise = {}
    for name, base in exact.items():
        deviation = np.sqrt(np.mean(np.square(_strays(name, base, runs)), axis=0))
        noise[name] = np.maximum(LARGEST_OF_THREE * deviation, np.max(_strays(name, base, native), axis=0))
    return noise


def _strays(name: str, exact: np.ndarray, runs: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """How far each run is off, (runs, *shape); a run that chose other elements (NonZero …) tells nothing: zeros."""
    base = exact.astype(np.float64)
    strays = np.zeros((len(runs), *base.shape))
    with np.errstate(invalid="ignore"):
        for number, run in enumerate(runs):
            if run[name].shape == base.shape:
                np.abs(run[name].astype(np.float64) - base, out=strays[number, ...])
    return strays
