"""How much to cut so that a budget is met: what a cut model costs, and the least cut that is cheap enough."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from recast.errors import BadRecipe, BudgetMissed
from recast.measure import cost

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.compression.groups import Group
    from recast.measure.data import Samples

Kind = Literal["parameters", "macs", "latency"]
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_TIMES = {"US": 1e-6, "MS": 1e-3, "S": 1.0}
_TURNS = 12  # halvings: the share that goes is found to 1/4096
_ROUNDS = 8  # turns of a measured latency
_MIXES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Budget:
    """What a cut model may cost.

    Attributes:
        kind: ``parameters``, ``macs`` or ``latency`` (measured here, in ONNX Runtime, one thread).
        limit: at most so much: a number of them, or seconds; where ``relative`` a share of the original's.
    """

    kind: Kind
    limit: float
    relative: bool


def parse(text: str) -> tuple[Budget, ...]:
    """``macs<0.5``: half of the original's; ``macs<60M``, ``parameters<400K``, ``latency<2ms``: absolute.

    Several, with commas between, must all be met.

    Raises:
        BadRecipe: something else is written there.
    """
    return tuple(_parse(part) for part in text.split(","))


def _parse(text: str) -> Budget:
    match = re.fullmatch(r"\s*(macs|parameters|latency)\s*<=?\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z%]*)\s*", text)
    if match is None:
        raise BadRecipe(f"budget '{text}'", fix="write for example: macs<0.5, parameters<400K, latency<2ms")
    kind, number, unit = match.group(1), float(match.group(2)), match.group(3).upper()
    units = _TIMES if kind == "latency" else _UNITS
    relative = unit == "%" or (unit == "" and number < 1)
    limit = number / 100 if unit == "%" else number * (1.0 if relative else units.get(unit, 0.0))
    broken = not relative and unit == "" and number % 1 != 0  # 1.5 of what?
    if limit <= 0 or broken or (relative and limit >= 1):
        raise BadRecipe(f"budget '{text}'", fix="a share below 1, or a number with K, M, G (latency: us, ms, s)")
    return Budget(kind, limit, relative)  # type: ignore[arg-type]


def price(model: ir.Model, original: ir.Model, budget: Budget, samples: Samples | None = None) -> float:
    """What a model costs in the units of ``budget.limit``; a latency is measured beside the original's.

    Raises:
        BadRecipe: the latency cannot be measured without samples.
    """
    if budget.kind == "latency":
        if samples is None:
            raise BadRecipe("latency is measured on samples", fix="give --data, or a budget of macs or parameters")
        seconds = _latency({"original": original, "cut": model}, samples)
        return seconds["cut"] / (seconds["original"] if budget.relative else 1.0)
    mine, whole = (_count(m, budget.kind) for m in (model, original))
    return mine / (whole if budget.relative else 1)


def _count(model: ir.Model, kind: Kind) -> int:
    found = cost.of(model)
    return found.macs if kind == "macs" else sum(line.parameters for line in found.layers)


def _latency(models: Mapping[str, ir.Model], samples: Samples) -> dict[str, float]:
    """Seconds of one run of each, in turns in ONNX Runtime; the fastest tenth, since it holds still."""
    import onnx_ir as ir

    from recast import formats
    from recast.measure import latency

    onnx = formats.by_name("onnx")
    with tempfile.TemporaryDirectory(prefix="recast-") as folder, ExitStack() as open_ones:
        runners, feeds = {}, {}
        for number, (name, model) in enumerate(models.items()):
            path = Path(folder) / f"model{number}.onnx"
            ir.save(model, path)
            runner = runners[name] = onnx.open_deployed(path)
            open_ones.callback(runner.close)
            feeds[name] = next(samples.pick(slice(0, 1)).batches(runner.inputs, 1))
        return {n: found.fast_s for n, found in latency.interleaved(runners, feeds, _ROUNDS).items()}


def least(
    cut: Callable[[float], ir.Model | None], original: ir.Model, budgets: Sequence[Budget], samples: Samples | None
) -> float:
    """The smallest share to cut that meets all budgets, by halving.

    Args:
        cut: the model with a share (0–1) of its units cut, or None where nothing is.
        original: the uncut model.
        budgets: see ``parse``.
        samples: for a latency.

    Raises:
        BudgetMissed: the largest possible cut costs more.
    """

    def missed(share: float) -> list[str]:
        made = cut(share)
        model = original if made is None else made
        return [b.kind for b in budgets if price(model, original, b, samples) > b.limit]

    low, high = 0.0, 1.0
    if not missed(low):
        return low
    if kinds := missed(high):
        raise BudgetMissed(f"too many {', '.join(kinds)} however much is cut", "", "allow more, or prune less")
    for _ in range(_TURNS):
        middle = (low + high) / 2
        low, high = (middle, high) if missed(middle) else (low, middle)
    return high


def mixes(budgets: Sequence[Budget]) -> tuple[float, ...]:
    """How much of a unit's savings may be parameters, where work is limited, too."""
    return _MIXES if len({b.kind == "parameters" for b in budgets}) > 1 else (0.5,)


def worth(groups: Sequence[Group], values: list[np.ndarray], budgets: Sequence[Budget], mix: float) -> list[np.ndarray]:
    """Importance for what cutting the unit saves, relative to all groups' savings.

    ``mix``: where budgets limit both, savings are this share parameters, the rest multiply-accumulates (0–1).
    """
    kinds = {b.kind == "parameters" for b in budgets}
    spared = np.zeros(len(groups))
    for parameters in kinds:
        each = np.array([_saved(g, "parameters" if parameters else "macs") for g in groups])
        share = 1.0 if len(kinds) == 1 else mix if parameters else 1 - mix
        spared += share * each / max(sum(e * len(g.units) for e, g in zip(each, groups, strict=True)), 1e-30)
    return [v / max(s, 1e-30) for v, s in zip(values, spared, strict=True)]


def _saved(group: Group, kind: Kind) -> float:
    """What cutting one unit saves, about: the unit's share of every weight, or of the work of every node, in its group.

    For a latency the multiply-accumulates stand in.
    """
    total = 0.0
    for place in group.places:
        held = place.weight.const_value
        if held is None or len(place.units) == 0:
            continue
        share = float(np.isin(place.units, group.units).sum()) / len(group.units) / len(place.units)
        if kind == "parameters":
            total += held.size * share
        elif len(held.shape) > 1:
            total += sum(cost.of_node(u.node) for u in place.weight.uses()) * share
    return total
