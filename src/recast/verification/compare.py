"""Pure comparison of arrays: from two (or four) arrays to one record of their difference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recast.verification.tolerances import FREE_FRACTION, LEAST, Tolerance

_SLICE = 8  # a slice with fewer elements says nothing about scale


@dataclass(frozen=True)
class Difference:
    """How one output of the target differs from the source on one feed.

    ``ratio`` is the worst error divided by what was allowed there (<= 1: accepted). ``problem`` is empty, or one of
    ``shape``, ``dtype``, ``non-finite``, ``values``, ``source`` (the graph is not what the source's runtime computes).
    ``slack`` is what was allowed at the median element, relative to its scale: smaller faults could hide in this run.
    ``weak``: that is too much for the run to count.
    """

    output: str
    accepted: bool
    stage: str
    problem: str = ""
    max_abs: float = 0.0
    relative: float = 0.0
    ratio: float = 0.0
    index: tuple[int, ...] = ()
    source: float | int | str = 0
    target: float | int | str = 0
    slack: float = 0.0
    weak: bool = False

    def text(self) -> str:
        """One line for messages."""
        if self.problem in ("shape", "dtype"):
            return f"output {self.output}: {self.problem} {self.source} became {self.target}"
        at = f" at {list(self.index)}" if self.index else ""
        return (
            f"output {self.output}{at}: source {self.source!r}, target {self.target!r} "
            f"(max error {self.max_abs:.3g}, {self.relative:.3g} of the output's scale, {self.ratio:.3g} × allowed)"
        )


def local_max(magnitude: np.ndarray) -> np.ndarray:
    """The scale around each element: the smallest of the maxima over the slices (one per axis) it lies in.

    So a small channel, row or sample is judged by its own size. Shape (…) float64 in, same shape out.
    """
    if magnitude.size == 0:
        return magnitude
    whole = magnitude.max()
    scale = np.full(magnitude.shape, whole)
    for axis, size in enumerate(magnitude.shape):
        if size < 2 or magnitude.size // size < _SLICE:
            continue
        others = tuple(a for a in range(magnitude.ndim) if a != axis)
        scale = np.minimum(scale, magnitude.max(axis=others, keepdims=True))
    return scale


def same_form(output: str, source: np.ndarray, target: np.ndarray) -> Difference | None:
    """A difference of shape or element type; integer widths may differ (the values are compared exactly)."""
    if source.shape != target.shape:
        return Difference(
            output, False, "form", "shape", source=str(list(source.shape)), target=str(list(target.shape)), ratio=np.inf
        )
    both_integer = source.dtype.kind in "iu" and target.dtype.kind in "iu"
    if source.dtype != target.dtype and not both_integer:
        return Difference(
            output, False, "form", "dtype", source=str(source.dtype), target=str(target.dtype), ratio=np.inf
        )
    return None


def finite_apart(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Boolean mask of the elements whose NaN, +inf or -inf state differs."""
    apart: np.ndarray = np.isnan(source) != np.isnan(target)
    infinite = np.isinf(source) | np.isinf(target)
    return np.asarray(apart | (infinite & (source != target) & ~(np.isnan(source) & np.isnan(target))))


def as_float(array: np.ndarray) -> np.ndarray:
    """float64 copy for arithmetic (int64 beyond 2**53 is compared before, exactly)."""
    return array.astype(np.float64)


def finite(array: np.ndarray) -> np.ndarray:
    """The array with NaN and infinities replaced by 0."""
    return np.where(np.isfinite(array), array, 0.0)


def tight(output: str, source: np.ndarray, target: np.ndarray, tolerance: Tolerance, blind: bool = False) -> Difference:
    """Stage 1 (or 3, ``blind``): target against source alone. Forms must already agree."""
    if source.dtype.kind not in "fV" and target.dtype.kind not in "fV":
        apart = source != target
        allowed = np.zeros(source.shape)
        if blind and tolerance.name == "quantised":
            allowed += tolerance.blind
        error = np.where(apart, np.maximum(np.abs(as_float(target) - as_float(source)), 1.0), 0.0)
        return judge(output, "equal", error, allowed, source, target)
    stage = "blind" if blind else "tight"
    wide_source, wide_target = as_float(source), as_float(target)
    apart = finite_apart(wide_source, wide_target)
    if apart.any():
        return non_finite(output, stage, apart, source, target)
    wide_source, wide_target = finite(wide_source), finite(wide_target)
    scale = local_max(np.abs(wide_source))
    units = (tolerance.blind if blind else tolerance.tight) * tolerance.unit
    allowed = units * scale + LEAST.get(tolerance.name, 0)
    return replace(judge(output, stage, np.abs(wide_target - wide_source), allowed, source, target), slack=units)


def non_finite(output: str, stage: str, apart: np.ndarray, source: np.ndarray, target: np.ndarray) -> Difference:
    """The record of NaN or infinity on one side only."""
    index = _position(apart)
    return Difference(
        output,
        False,
        stage,
        "non-finite",
        ratio=np.inf,
        max_abs=np.inf,
        relative=np.inf,
        index=index,
        source=_plain(source, index),
        target=_plain(target, index),
    )


def judge(
    output: str, stage: str, error: np.ndarray, allowed: np.ndarray, source: np.ndarray, target: np.ndarray
) -> Difference:
    """Compare errors with what is allowed, element by element; all arrays of one shape."""
    if error.size == 0:
        return Difference(output, True, stage)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error <= 0, 0.0, np.where(allowed > 0, error / allowed, np.inf))
    index = _position(ratio)
    worst = float(ratio[index])
    if worst == 0 or np.isinf(worst):
        index = _position(error)
    scale = float(np.abs(finite(as_float(source))).max())
    largest = float(error.max())
    return Difference(
        output,
        worst <= 1.0,
        stage,
        "" if worst <= 1.0 else "values",
        max_abs=largest,
        relative=largest / scale if scale > 0 else (0.0 if largest == 0 else np.inf),
        ratio=worst,
        index=index,
        source=_plain(source, index),
        target=_plain(target, index),
    )


def against_exact(
    output: str,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    noise: np.ndarray,
    tolerance: Tolerance,
) -> Difference:
    """Stage 2: source and target against the float64 run.

    Args:
        output: the output's name.
        arrays: source, target and float64 values, one shape.
        noise: measured deviation of correct low-precision runs from float64, same shape.
        tolerance: the table's entry.
    """
    source, target, exact = arrays
    wide_source, wide_target, wide_exact = as_float(source), as_float(target), as_float(exact)
    apart = finite_apart(wide_source, wide_target)
    if apart.any():
        return non_finite(output, "float64", apart, source, target)
    usable = np.isfinite(wide_exact) & np.isfinite(wide_source) & np.isfinite(noise)
    wide_source, wide_target, wide_exact, noise = (
        np.where(usable, a, 0.0) for a in (wide_source, wide_target, wide_exact, noise)
    )
    scale = local_max(np.abs(wide_exact))
    base = np.maximum(local_max(noise), tolerance.floor * tolerance.unit * scale + LEAST.get(tolerance.name, 0))
    source_error, target_error = np.abs(wide_source - wide_exact), np.abs(wide_target - wide_exact)
    if tolerance.name == "quantised":
        return _quantised(output, (source, target), (source_error, target_error), noise, tolerance)
    honest = judge(output, "float64", source_error, tolerance.factor * base, exact, source)
    if not honest.accepted:
        return _not_the_source(honest)
    allowed = tolerance.factor * np.maximum(base, np.minimum(local_max(source_error), tolerance.factor * base / 2))
    found = judge(output, "float64", target_error, allowed, source, target)
    return _with_slack(found, allowed, scale, tolerance)


def _with_slack(found: Difference, allowed: np.ndarray, scale: np.ndarray, tolerance: Tolerance) -> Difference:
    """The record with what could have hidden: the median of allowed error by scale, over elements that have a scale."""
    known = scale > 0
    slack = float(np.median(allowed[known] / scale[known])) if known.any() else 0.0
    return replace(found, slack=slack, weak=slack > tolerance.weak)


def _not_the_source(honest: Difference) -> Difference:
    return replace(honest, problem="source", accepted=False)


def _quantised(
    output: str,
    arrays: tuple[np.ndarray, np.ndarray],
    errors: tuple[np.ndarray, np.ndarray],
    noise: np.ndarray,
    tolerance: Tolerance,
) -> Difference:
    """Quantised graphs: how far (worst element) and how often (mean error) must both be explained by rounding.

    One step of the output is always allowed at single elements, but not everywhere: the mean error stays
    within ``factor`` times the jittered runs' and the source's own, plus ``FREE_FRACTION`` of a step.
    """
    source, target = arrays
    source_error, target_error = errors
    if noise.size == 0:
        return Difference(output, True, "float64")
    step = 1.0 if source.dtype.kind in "iu" else _step(target_error, source_error, noise)
    worst, usual = float(noise.max()), float(noise.mean())
    own_worst, own_usual = float(source_error.max()), float(source_error.mean())
    base = tolerance.factor * (usual + FREE_FRACTION * step)
    far = tolerance.factor * worst + step
    if own_worst > tolerance.factor * far or own_usual > tolerance.factor * base:
        allowed = np.full(noise.shape, min(far, own_worst / 2))
        return _not_the_source(judge(output, "float64", source_error, allowed, source, source))
    wanted_far = max(far, tolerance.factor * own_worst)
    wanted_mean = max(base, tolerance.factor * own_usual)
    found = judge(output, "float64", target_error, np.full(noise.shape, wanted_far), source, target)
    ratio = max(found.ratio, float(target_error.mean()) / wanted_mean if wanted_mean > 0 else 0.0)
    accepted = ratio <= 1.0
    scale = float(np.abs(as_float(source)).max(initial=0))
    slack = wanted_mean / scale if scale > 0 else 0.0
    weak = slack > tolerance.weak
    return replace(found, accepted=accepted, ratio=ratio, problem="" if accepted else "values", slack=slack, weak=weak)


def _step(*errors: np.ndarray) -> float:
    """The smallest difference that occurs: one step of a dequantised output (0 where all agree)."""
    found = [float(e[e > 0].min()) for e in errors if (e > 0).any()]
    return min(found) if found else 0.0


def _position(array: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(array)), array.shape))


def _plain(array: np.ndarray, index: tuple[int, ...]) -> float | int | str:
    value = array[index]
    if array.dtype.kind in "iub":
        return int(value)
    number = float(value)
    return number if np.isfinite(number) else str(number)
