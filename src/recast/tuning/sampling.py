"""What to try next. First every start of ``space.starts``; then what was good alone together with the best way to
store; then, in turns,

* twice a mutant of a recipe on the Pareto front (Knowles and Corne, Approximating the Nondominated Front Using the
  Pareto Archived Evolution Strategy, 2000): good recipes are near each other, and trials are few;
* once a proposal of the multi-objective tree-structured Parzen estimator (Ozaki et al., JAIR 2022), with the budget as
  constraints (Watanabe and Hutter, c-TPE, IJCAI 2023), as Optuna implements them: it finds what mutants do not reach.

Objectives: bytes, loss, time over the original's. A proposal depends on the seed and the trials before it only, so
that a search that was killed and resumed goes on as if it had not been.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recast._util.optional import need
from recast.compression.recipe import Steps
from recast.tuning.space import FAMILIES, NONE, STORES, TRAININGS, Space, key_of, kinds_of, starts
from recast.tuning.trial import Judge, Row

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

DIRECTIONS = ["minimize"] * 3
_WORST = (1.0, 1.0, 2.0)  # of a recipe that gave nothing: its violation is what counts
_TRIES = 60  # proposals that are known already before the sampler gives way to chance
_STEP = 0.05  # times are rounded to: noise must not make fronts
Maker = Callable[[int], "BaseSampler"]


def tpe(seed: int) -> BaseSampler:
    """The sampler of a search."""
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ``group`` is called experimental since 2.8
        return TPESampler(n_startup_trials=4, multivariate=True, group=True, constant_liar=True, seed=seed)


class Sampling:
    """Proposes recipes.

    Args:
        judge: the budget.
        seed: of the sampler.
        make: another sampler (benchmarks compare them).
        warm: whether to begin with ``space.starts``.
        mutate: whether proposals are mutants too.
    """

    def __init__(self, judge: Judge, seed: int, make: Maker = tpe, warm: bool = True, mutate: bool = True) -> None:
        self._judge, self._seed, self._make, self._mutate = judge, seed, make, mutate
        self._starts = starts(judge.real) if warm else []
        self._untaught = () if judge.real else TRAININGS  # nothing to learn from

    def propose(self, rows: Sequence[Row], count: int) -> list[dict[str, Any]]:
        """Choices of up to ``count`` recipes that were not tried; fewer where nothing is left.

        Args:
            rows: all trials so far.
            count: how many at once.
        """
        known = {key_of(recipe_of(r.choices)) for r in rows}
        begun = [c for c in self._starts if key_of(recipe_of(c)) not in known]
        if not begun and self._starts:
            begun = [c for c in self._together(rows) if key_of(recipe_of(c)) not in known]
        fresh = begun[:count]
        if len(begun) < count:
            known |= {key_of(recipe_of(c)) for c in fresh}
            fresh += self._sampled(rows, known, count - len(fresh))
        return fresh

    def _together(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """The smallest of the stores that met the budget alone, with each of the other kinds that did."""
        begun = {key_of(recipe_of(c)) for c in self._starts if len(kinds_of(c)) == 1}
        good = [r for r in rows if key_of(recipe_of(r.choices)) in begun and self._judge.meets(r)]
        stores = sorted((r for r in good if r.choices["store"] != NONE), key=values)[:1]
        others = [r.choices for r in good if r.choices["store"] == NONE]
        return [{**other, **_of_store(store.choices)} for store in stores for other in others]

    def _sampled(self, rows: Sequence[Row], known: set[str], count: int) -> list[dict[str, Any]]:
        space = Space().without({*closed(rows), *self._untaught})
        parents = self._parents(rows, space)
        made: list[dict[str, Any]] = []
        asked, chance = self._asked(rows, space, self._make), self._asked(rows, space, _chance)
        for number in range(len(rows), len(rows) + count):
            ways = [asked, chance]
            if parents and self._mutate:
                ways.insert(0 if number % 3 else 1, partial(_mutant, parents, space))
            choices = self._first_new(ways, space, known, number)
            if choices is None:
                break
            made.append(choices)
        return made

    def _first_new(
        self, ways: Sequence[Callable[[int], dict[str, Any]]], space: Space, known: set[str], number: int
    ) -> dict[str, Any] | None:
        """The first recipe that is not known and does something; each way may try for a while."""
        for way in ways:
            for attempt in range(_TRIES):
                choices = way(self._seed * 100_003 + number * 1009 + attempt)
                steps = recipe_of(choices)
                if list(steps) and key_of(steps) not in known:
                    known.add(key_of(steps))
                    return choices
        return None

    def _asked(self, rows: Sequence[Row], space: Space, make: Maker) -> Callable[[int], dict[str, Any]]:
        """Proposals of a sampler that has seen the trials."""
        studies: list[Study] = []

        def ask(seed: int) -> dict[str, Any]:
            if not studies:
                studies.append(self._study(rows, space, make(seed)))
            trial = studies[0].ask()  # stays open: the sampler avoids it from now on
            space.choose(trial)
            return dict(trial.params)

        return ask

    def _parents(self, rows: Sequence[Row], space: Space) -> list[Row]:
        """The front of what meets the budget; where nothing does, the nearest few."""
        allowed = _kinds(space)
        able = [r for r in rows if r.comparison is not None and set(kinds_of(r.choices)) <= allowed]
        good = [r for r in able if self._judge.meets(r)]
        if good:
            return [good[i] for i in nondominated([values(r) for r in good])]
        return sorted(able, key=lambda r: sum(max(v, 0.0) for v in self._judge.violations(r).values()))[:3]

    def _study(self, rows: Sequence[Row], space: Space, sampler: BaseSampler) -> Study:
        optuna: Any = need("optuna", "tune")
        study: Study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
        allowed = _kinds(space)
        study.add_trials([frozen(r, space, self._judge) for r in rows if set(kinds_of(r.choices)) <= allowed])
        return study


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


def _chance(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _of_store(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The answers about the way to store."""
    return {k: v for k, v in choices.items() if k not in ("prune", "factorize", "distill", "epochs")}


def _kinds(space: Space) -> set[str]:
    return {*space.prunes, *space.factors, *space.trainings, *space.stores}


def nondominated(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Places of the points that no other beats (none is larger, one is smaller); the first of equals."""
    found: dict[tuple[float, ...], int] = {}
    for place, point in enumerate(points):
        if not any(q != point and all(a <= b for a, b in zip(q, point, strict=True)) for q in points):
            found.setdefault(point, place)
    return list(found.values())


def _mutant(parents: Sequence[Row], space: Space, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    parent = parents[int(rng.integers(len(parents)))]
    changed = _Changed(parent.choices, rng)
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
