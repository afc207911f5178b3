"""The gate: a result is delivered only if it is smaller, not slower and not worse than asked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from recast.errors import BadRecipe

DROP = 0.02  # accuracy, in shares: 2 points
DISAGREE = 0.05  # samples with another answer than the original's
ERROR = 0.2  # of outputs that are no classes: root mean square difference, relative to the original's deviation
SLOWER = 1.05  # a run by the original's; more than what a file's own copy is found to take (bench_int8_speed)
_UNITS = {"B": 1, "KB": 1000, "KIB": 1024, "MB": 10**6, "MIB": 2**20, "GB": 10**9, "GIB": 2**30}
_TIMES = {"US": 1e-6, "MS": 1e-3, "S": 1.0}


@dataclass(frozen=True)
class Limits:
    """What the result must keep; None: the default (for sizes and times: the original's).

    Attributes:
        size_bytes: of the main file and its companions.
        drop: loss of accuracy (with labels), in shares of one.
        disagree: share of samples whose answer changes.
        error: relative root mean square difference of the outputs.
        latency_s: median of one run.
        slower: how many times as long as the original's a run may take.
        allow_worse: deliver whatever came out.
    """

    size_bytes: int | None = None
    drop: float | None = None
    disagree: float | None = None
    error: float | None = None
    latency_s: float | None = None
    slower: float | None = None
    allow_worse: bool = False

    @property
    def timed(self) -> bool:
        """Whether anything is asked of the speed; ``slower=math.inf`` asks nothing."""
        return self.latency_s is not None or self.slower != math.inf


@dataclass(frozen=True)
class Comparison:
    """The result beside the original, both in the target's format and runtime, on the same samples.

    Attributes:
        size_bytes: (original, result): all files.
        source_bytes: the source file as it was given; 0 where it is no file.
        accuracy: (original, result) by ``metric`` (accuracy or AUC), or None without labels.
        interval: 95 % of the difference of both, paired.
        disagree: share of samples whose largest output is another one, or None where outputs are no classes.
        error: root mean square difference of the outputs over the original's standard deviation.
        latency_s: (original, result) medians of interleaved runs, or None where not measured.
        slowdown: median of the ratios of neighbouring runs.
    """

    size_bytes: tuple[int, int]
    source_bytes: int = 0
    accuracy: tuple[float, float] | None = None
    metric: str = ""
    interval: tuple[float, float] | None = None
    disagree: float | None = None
    error: float | None = None
    latency_s: tuple[float, float] | None = None
    slowdown: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))


def reasons(found: Comparison, limits: Limits, real: bool) -> list[str]:
    """Why a result is refused; [] if it is good.

    Args:
        found: what was measured.
        limits: what was asked.
        real: whether the samples are the user's; generated ones only tell a collapse (outputs unlike the original's).
    """
    told = []
    old, new = found.size_bytes
    if limits.size_bytes is not None and new > limits.size_bytes:
        told.append(f"{new:,} bytes, asked for at most {limits.size_bytes:,}")
    if new >= old:
        told.append(f"not smaller: {new:,} bytes, the original takes {old:,} in this format")
    drop = limits.drop if limits.drop is not None else DROP
    if found.accuracy is not None and found.accuracy[0] - found.accuracy[1] > drop + 1e-9:
        before, after = found.accuracy
        told.append(f"{found.metric or 'accuracy'} {after:.2%}, was {before:.2%}: more than {drop:.2%} lost")
    told += _unlike(found, limits, real)
    if limits.latency_s is not None and found.latency_s is not None and found.latency_s[1] > limits.latency_s:
        told.append(f"{found.latency_s[1] * 1e3:.3g} ms a run, asked for at most {limits.latency_s * 1e3:.3g}")
    if found.slowdown is not None and found.slowdown > (limits.slower or SLOWER):
        told.append(f"slower: a run takes {found.slowdown:.2f} times as long as the original's")
    return told


def _unlike(found: Comparison, limits: Limits, real: bool) -> list[str]:
    """Outputs that are not the original's; where labels tell the accuracy, only what was asked for counts."""
    disagree = limits.disagree if limits.disagree is not None else (DISAGREE if found.accuracy is None else None)
    if real and found.disagree is not None and disagree is not None:
        if found.disagree > disagree + 1e-9:
            return [f"{found.disagree:.2%} of the answers changed, at most {disagree:.2%} may"]
        return []
    error = limits.error if limits.error is not None else ERROR
    judged = found.disagree is None or limits.error is not None or not real
    if judged and found.error is not None and not found.error <= error:
        return [f"the outputs differ by {found.error:.3f} of their deviation, at most {error:.3f} may"]
    return []


def parse_budget(text: str, allow_worse: bool = False) -> Limits:
    """``size<100KB, drop<0.5%, latency<2ms`` (also ``disagree<3%``, ``error<0.1``, ``slower<1.5x``).

    Raises:
        BadRecipe: something else is written there.
    """
    found: dict[str, Any] = {"allow_worse": allow_worse}
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(r"(size|drop|disagree|error|latency|slower)\s*<=?\s*([0-9.]+)\s*([A-Za-z%]*)", part)
        unit = match.group(3).upper() if match else ""
        if match is None or match.group(2).count(".") > 1:
            raise BadRecipe(f"--budget '{part}'", fix="write for example: size<100KB, drop<0.5%, latency<2ms")
        name, number = match.group(1), float(match.group(2))
        if name == "size" and unit in _UNITS:
            found["size_bytes"] = int(number * _UNITS[unit])
        elif name == "latency" and unit in _TIMES:
            found["latency_s"] = number * _TIMES[unit]
        elif name == "slower" and unit in ("", "X"):
            found[name] = number
        elif name in ("drop", "disagree", "error") and unit in ("", "%"):
            found[name] = number / 100 if unit else number
        else:
            raise BadRecipe(
                f"--budget '{part}': the unit '{unit}' does not fit", fix="sizes KB or MB, times ms, shares %"
            )
    return Limits(**found)
