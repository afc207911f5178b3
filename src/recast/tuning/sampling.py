"""What to try next. The first of ``space.starts``; then whatever is expected to add most to the Pareto front within the
budget (``surrogate``) among

* the other starts, as they are and with the ways to store of the front: by them a kind is tried for the first time;
* mutants of recipes on the front (Knowles and Corne, Approximating the Nondominated Front Using the Pareto Archived
  Evolution Strategy, 2000) and chance, of the kinds that were tried.

Objectives: bytes, loss, time over the original's. A proposal depends on the seed and the trials before it only, so
that a search that was killed and resumed goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recast._util.optional import need
from recast.compression.recipe import Steps
from recast.tuning.space import ANSWERS, FAMILIES, FIRST, NONE, STORES, TRAININGS, Space, key_of, kinds_of, starts
from recast.tuning.surrogate import Surrogate
from recast.tuning.trial import Judge, Row

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

DIRECTIONS = ["minimize"] * 3
_WORST = (1.0, 1.0, 2.0)  # of a recipe that gave nothing: its violation is what counts
_MUTANTS, _OTHERS = 150, 150  # that are thought about
_STEP = 0.05  # times are rounded to: noise must not make fronts


class Sampling:
    """Proposes recipes.

    Args:
        judge: the budget.
        seed: of what is drawn.
    """

    def __init__(self, judge: Judge, seed: int) -> None:
        self._judge, self._seed = judge, seed
        self._starts = starts(judge.real)
        self._untaught = () if judge.real else TRAININGS  # nothing to learn from

    def propose(self, rows: Sequence[Row], count: int) -> list[dict[str, Any]]:
        """Choices of up to ``count`` recipes that were not tried; fewer where nothing is left.

        Args:
            rows: all trials so far.
            count: how many at once.
        """
        known = {key_of(recipe_of(r.choices)) for r in rows}
        fresh = [c for c in self._starts[:FIRST] if key_of(recipe_of(c)) not in known][:count]
        known |= {key_of(recipe_of(c)) for c in fresh}
        if len(fresh) < count:
            fresh += self._promising(rows, known, count - len(fresh))
        return fresh

    def _promising(self, rows: Sequence[Row], known: set[str], count: int) -> list[dict[str, Any]]:
        """The best of the candidates; several at once as if those before had given what is expected of them.

        (Ginsbourger, Le Riche and Carraro, Kriging Is Well-Suited to Parallelize Optimization, 2010: the believer.)
        """
        rng = np.random.default_rng((self._seed, len(rows)))
        asked, box = self._candidates(rows, known, rng), self._judge.box(rows)
        seen = [r.choices for r in rows]
        outcomes = [_outcome(r, self._judge, box) for r in rows]
        front = [values(r) for r in rows if self._judge.meets(r)]
        made: list[dict[str, Any]] = []
        while asked and len(made) < count:
            surrogate = Surrogate(seen, np.reshape(outcomes, (-1, 3)), box)
            made.append(asked.pop(surrogate.best(asked, np.reshape(front, (-1, 3)), rng)))
            if len(made) < count:
                believed = surrogate.expected(made[-1])
                seen, outcomes, front = [*seen, made[-1]], [*outcomes, believed], [*front, believed]
        return made

    def _candidates(self, rows: Sequence[Row], known: set[str], rng: np.random.Generator) -> list[dict[str, Any]]:
        """Recipes that were not tried and do something, each once; at most one kind of a recipe is new."""
        space = Space().without({*closed(rows), *self._untaught})
        tried = {k for r in rows if r.comparison is not None for k in kinds_of(r.choices)}
        front = [r.choices for r in self._parents(rows, space)]
        drawn = [c for c in self._starts if set(kinds_of(c)) <= _kinds(space)]
        drawn += [{**c, **_of_store(f)} for c in drawn if c["store"] == NONE for f in front]
        drawn = [c for c in drawn if len(set(kinds_of(c)) - tried) <= 1]
        space = space.without(_kinds(space) - tried)
        drawn += [_mutant(front or [{}], space, rng) for _ in range(_MUTANTS)]
        drawn += [_mutant([{}], space, rng) for _ in range(_OTHERS)]
        found = {key_of(steps): c for c in drawn if list(steps := recipe_of(c))}
        return [c for key, c in found.items() if key not in known]

    def _parents(self, rows: Sequence[Row], space: Space) -> list[Row]:
        """The front of what meets the budget; where nothing does, the nearest few."""
        allowed = _kinds(space)
        able = [r for r in rows if r.comparison is not None and set(kinds_of(r.choices)) <= allowed]
        good = [r for r in able if self._judge.meets(r)]
        if good:
            return [good[i] for i in nondominated([values(r) for r in good])]
        return sorted(able, key=lambda r: sum(max(v, 0.0) for v in self._judge.violations(r).values()))[:3]


def _outcome(row: Row, judge: Judge, box: tuple[float, float, float]) -> tuple[float, float, float]:
    """What the surrogate learns from a trial; what misses the budget elsewhere is told as lost."""
    size, loss, slowdown = values(row)
    if row.comparison is None:
        return math.nan, loss, math.nan
    if not judge.meets(row) and not judge.open(row) and size < box[0] and slowdown < box[2]:
        loss = max(loss, 1.5 * box[1])
    return size, loss, slowdown if row.slowdown is not None or not judge.limits.timed else math.nan


def closed(rows: Sequence[Row]) -> set[str]:
    """Kinds that gave nothing to measure when they were tried alone, and ways to store that made no file smaller.

    The model or the target does not allow them. Training is closed where it never gave anything.
    """
    alone = [(kinds_of(r.choices), r) for r in rows]
    tried = [(kinds[0], _helps(kinds[0], r)) for kinds, r in alone if len(kinds) == 1]
    tried += [(k, r.comparison is not None) for kinds, r in alone for k in kinds if k in TRAININGS]
    return {kind for kind, _ in tried} - {kind for kind, helps in tried if helps}


def _helps(kind: str, row: Row) -> bool:
    found = row.comparison
    return found is not None and (kind not in STORES or found.size_bytes[1] < found.size_bytes[0])


def values(row: Row) -> tuple[float, float, float]:
    """The objectives: bytes over the original's, loss, time over the original's (1 where it was not timed)."""
    found = row.comparison
    if found is None:
        return _WORST
    slowdown = 1.0 if row.slowdown is None else max(_STEP, round(row.slowdown / _STEP) * _STEP)
    return found.size_bytes[1] / found.size_bytes[0], min(row.loss, _WORST[1]), slowdown


def frozen(row: Row, space: Space | None = None, judge: Judge | None = None) -> FrozenTrial:
    """A trial as Optuna keeps it; with a judge its constraints."""
    optuna: Any = need("optuna", "tune")
    fixed = optuna.trial.FixedTrial(dict(row.choices))
    (space or Space()).choose(fixed)
    made: FrozenTrial = optuna.trial.create_trial(
        values=list(values(row)),
        params=dict(row.choices),
        distributions=fixed.distributions,
        user_attrs={} if judge else {"row": row.as_dict()},
        constraints=judge.violations(row) if judge else None,
    )
    return made


def recipe_of(choices: Mapping[str, Any]) -> Steps:
    """The recipe that was chosen."""
    optuna: Any = need("optuna", "tune")
    return Space().choose(optuna.trial.FixedTrial(dict(choices)))


def _of_store(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The answers about the way to store."""
    return {k: v for k, v in choices.items() if k in ANSWERS["store"]}


def _kinds(space: Space) -> set[str]:
    return {*space.prunes, *space.factors, *space.trainings, *space.stores}


def nondominated(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Places of the points that no other beats (none is larger, one is smaller); the first of equals."""
    found: dict[tuple[float, ...], int] = {}
    for place, point in enumerate(points):
        if not any(q != point and all(a <= b for a, b in zip(q, point, strict=True)) for q in points):
            found.setdefault(point, place)
    return list(found.values())


def _mutant(parents: Sequence[Mapping[str, Any]], space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """One of the parents, changed; from one without answers, chance."""
    changed = _Changed(parents[int(rng.integers(len(parents)))], rng)
    space.choose(changed)
    return changed.params


class _Changed:
    """A parent's answers, those about one family changed: numbers to a neighbour, new numbers to a gentle one."""

    _AGAIN = 0.5  # how often the other answers about that family change too

    def __init__(self, parent: Mapping[str, Any], rng: np.random.Generator) -> None:
        self._parent, self._rng = parent, rng
        self._family = FAMILIES[int(rng.integers(len(FAMILIES)))]
        self._at = ""  # the family that the questions are about
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """See ``Chooser``."""
        if name in FAMILIES:
            self._at = name
        kept = self._parent.get(name, None)
        changed = self._at == self._family and self._rng.random() < self._AGAIN
        value = kept if kept in choices and not changed else choices[int(self._rng.integers(len(choices)))]
        self.params[name] = value
        return value

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        """See ``Chooser``."""
        size = step or (high - low) / 10
        if name in self._parent:
            moved = int(self._rng.integers(-2, 3)) if self._at == self._family else 0
            places = round((self._parent[name] - low) / size) + moved
        else:
            places = int(self._rng.geometric(0.4)) - 1
        value = low + size * min(max(places, 0), round((high - low) / size))
        self.params[name] = round(value, 6)
        return float(self.params[name])
