"""Ranges of activations: several calibrators propose, the model's output error decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recast.compression.quantize._probe import Probe, Range
from recast.compression.quantize._values import Values
from recast.measure.data import Samples
from recast.measure.histogram import BINS, Histogram

Span = tuple[float, float]  # lowest, highest real number; holds 0
_MOST, _FEWEST = 96, 12  # samples that a trial runs on
_ELEMENTS = 64 << 20  # of activations that a trial computes: networks of more than that by _MOST get fewer samples
_TRIALS = 400  # runs of the probe for single values, after the runs for whole calibrators
_WORK = 16 << 30  # elements that all trials may compute


def range_of(span: Span, integers: tuple[int, int], symmetric: bool = False) -> Range:
    """Scale and zero point; 0.0 is exactly an integer."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    least, most = integers
    if symmetric:
        return float(np.float32(max(-low, high, 1e-12) / most)), 0
    scale = float(np.float32(max(high - low, 1e-12) / (most - least)))
    return scale, int(np.clip(round(least - low / scale), least, most))


def spans(seen: Histogram, integers: tuple[int, int]) -> dict[str, Span]:
    """What each calibrator proposes: min and max, percentiles, least squared error, least divergence."""
    full = (min(seen.low, 0.0), max(seen.high, 0.0))
    found = {"minmax": full}
    for name, share in (("99.99%", 1e-4), ("99.9%", 1e-3)):
        low, high = seen.quantile(share / 2), seen.quantile(1 - share / 2)
        found[name] = (min(low, 0.0), max(high, 0.0))
    found["mse"] = _least_squares(seen, full, integers)
    found["entropy"] = _least_divergence(seen, full)
    return {n: s for n, s in found.items() if s[1] > s[0]} or {"minmax": full}


def _least_squares(seen: Histogram, full: Span, integers: tuple[int, int]) -> Span:
    """The shrunk range whose rounding and clipping cost the least squared error (by bins)."""
    centers, weights = seen.centers(), seen.counts
    best, least = full, np.inf
    for shrink in np.linspace(1.0, 0.2, 41):
        span = (full[0] * shrink, full[1] * shrink)
        scale, zero = range_of(span, integers)
        q = np.clip(np.rint(centers / scale) + zero, *integers) - zero
        error = float((weights * np.square(q * scale - centers)).sum())
        if error < least:
            best, least = span, error
    return best


def _least_divergence(seen: Histogram, full: Span, levels: int = 128) -> Span:
    """TensorRT's calibration (Migacz 2017): the clipping of |x| with the least Kullback-Leibler divergence."""
    half = BINS // 2
    folded = seen.counts[half:] + seen.counts[:half][::-1]
    best, least = half, np.inf
    for end in range(levels, half + 1, max(half // 128, 1)):
        p = folded[:end].astype(np.float64)
        p[-1] += folded[end:].sum()
        if not p.any():
            continue
        edges = np.arange(levels + 1) * end // levels
        total = np.add.reduceat(folded[:end].astype(np.float64), edges[:-1])
        filled = np.add.reduceat((folded[:end] > 0).astype(np.float64), edges[:-1])
        share = np.repeat(np.divide(total, filled, out=np.zeros(levels), where=filled > 0), np.diff(edges))
        q = np.where(folded[:end] > 0, share, 0.0)
        q = np.where((p > 0) & (q == 0), 1e-9 * p.sum(), q)
        p, q = p / p.sum(), q / q.sum()
        used = p > 0
        divergence = float((p[used] * np.log(p[used] / q[used])).sum())
        if divergence < least:
            best, least = end, divergence
    bound = seen.reach * best / half
    return max(full[0], -bound), min(full[1], bound)


def candidates(values: Values, seen: dict[str, Histogram], integers: tuple[int, int]) -> list[dict[str, Range]]:
    """For every group the range each calibrator proposes; a prescribed one is the only proposal."""
    found = []
    for group in values.groups:
        fixed = next((values.fixed[n] for n in group if n in values.fixed), None)
        if fixed is not None:
            found.append({"prescribed": _prescribed(fixed, integers)})
            continue
        held = [spans(seen[n], integers) for n in group if n in seen and seen[n].count]
        names = list(dict.fromkeys(n for h in held for n in h)) or ["minmax"]
        proposals = {}
        for name in names:
            known = [h.get(name, h["minmax"]) if "minmax" in h else next(iter(h.values())) for h in held] or [
                (0.0, 0.0)
            ]
            span = (min(s[0] for s in known), max(s[1] for s in known))
            proposals[name] = range_of(span, integers, symmetric=integers[1] > 255)
        found.append(proposals)
    return found


def _prescribed(fixed: Range, integers: tuple[int, int]) -> Range:
    """LiteRT's: 1/256 and 1/128 in 8 bits, 1/32768 in 16."""
    if integers[1] > 255:
        return 1 / 32768, 0
    scale, zero = fixed
    return scale, zero if integers[0] < 0 else zero + 128


def decide(
    probe: Probe, values: Values, proposals: Sequence[dict[str, Range]], samples: Samples, outputs: Sequence[str]
) -> list[Range]:
    """One range a group: the calibrator that suits all, then better ones for single groups, as the budget allows.

    Args:
        probe: the adjustable model; left with the chosen ranges on.
        values: the groups.
        proposals: of ``candidates``.
        samples: for the error.
        outputs: the graph's outputs.
    """
    seen = [probe.behind(n) for n in outputs]
    samples = samples.take(max(_FEWEST, min(_MOST, _ELEMENTS // probe.elements)))
    for name in values.names:
        probe.turn_on(name, None)
    wanted = list(probe.run(samples, seen).values())
    with probe.open(seen) as runner:
        batches = list(samples.batches(runner.inputs, 32))

        def error(chosen: Sequence[Range]) -> float:
            for group, parameters in zip(values.groups, chosen, strict=True):
                probe.turn_on(group[0], parameters)
            probe.update(runner, probe.parameters)
            parts = [list(runner.run(feeds).values()) for feeds in batches]
            made = [np.concatenate(p)[: samples.count] for p in zip(*parts, strict=True)]
            return sum(_relative(a, b) for a, b in zip(wanted, made, strict=True))

        names = list(dict.fromkeys(n for p in proposals for n in p if n != "prescribed")) or ["prescribed"]
        tried = {n: [p.get(n, p.get("minmax", next(iter(p.values())))) for p in proposals] for n in names}
        errors = {n: error(chosen) for n, chosen in tried.items()}
        best = min(errors, key=lambda n: errors[n])
        chosen, least = tried[best], errors[best]
        trials, most = 0, min(_TRIALS, _WORK // (samples.count * probe.elements))
        for number, options in enumerate(proposals):
            for parameters in options.values():
                if parameters == chosen[number] or trials >= most:
                    continue
                trials += 1
                other = [*chosen[:number], parameters, *chosen[number + 1 :]]
                found = error(other)
                if found < least:
                    chosen, least = other, found
        error(chosen)
    return chosen


def _relative(old: np.ndarray, new: np.ndarray) -> float:
    spread = float(np.var(old)) or 1.0
    return float(np.mean(np.square(old.astype(np.float64) - new))) / spread
