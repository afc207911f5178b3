"""What to try next. First every start of ``space.starts``; then the multi-objective tree-structured Parzen estimator
(Ozaki et al., Multiobjective Tree-Structured Parzen Estimator, JAIR 2022) on what is open, with the budget as
constraints (Watanabe and Hutter, c-TPE, IJCAI 2023, as Optuna implements it).

Objectives: bytes, loss, time over the original's. A proposal depends on the seed and the trials before it only, so
that a search that was killed and resumed goes on as if it had not been.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from recast._util.optional import need
from recast.tuning.space import Space, key_of, kinds_of, starts
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
    """

    def __init__(self, judge: Judge, seed: int, make: Maker = tpe, warm: bool = True) -> None:
        self._judge, self._seed, self._make = judge, seed, make
        self._starts = starts() if warm else []

    def propose(self, rows: Sequence[Row], count: int) -> list[dict[str, Any]]:
        """Choices of up to ``count`` recipes that were not tried; fewer where nothing is left.

        Args:
            rows: all trials so far.
            count: how many at once.
        """
        known = {key_of(_recipe(r.choices)) for r in rows}
        fresh = [c for c in self._starts if key_of(_recipe(c)) not in known][:count]
        if len(fresh) < count and len(fresh) == len([c for c in self._starts if key_of(_recipe(c)) not in known]):
            known |= {key_of(_recipe(c)) for c in fresh}
            fresh += self._sampled(rows, known, count - len(fresh))
        return fresh

    def _sampled(self, rows: Sequence[Row], known: set[str], count: int) -> list[dict[str, Any]]:
        space = Space().without(closed(rows))
        made: list[dict[str, Any]] = []
        for make in (self._make, _chance):
            study = self._study(rows, space, make(self._seed * 100_003 + len(rows)))
            for _ in range(_TRIES * count):
                if len(made) == count:
                    return made
                trial = study.ask()
                steps = space.choose(trial)
                if list(steps) and key_of(steps) not in known:
                    known.add(key_of(steps))
                    made.append(dict(trial.params))
                else:
                    study.tell(trial, state=_state("FAIL"))
        return made

    def _study(self, rows: Sequence[Row], space: Space, sampler: BaseSampler) -> Study:
        optuna: Any = need("optuna", "tune")
        study: Study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
        allowed = {"none", *space.prunes, *space.factors, *space.stores}
        study.add_trials([frozen(r, space, self._judge) for r in rows if set(kinds_of(r.choices)) <= allowed])
        return study


def closed(rows: Sequence[Row]) -> set[str]:
    """Kinds that gave nothing to measure when they were tried alone: the model or the target does not allow them."""
    alone = [(kinds_of(r.choices), r) for r in rows]
    tried = [(kinds[0], r.comparison is not None) for kinds, r in alone if len(kinds) == 1]
    return {kind for kind, _ in tried} - {kind for kind, measured in tried if measured}


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


def _recipe(choices: Any) -> Any:
    optuna: Any = need("optuna", "tune")
    return Space().choose(optuna.trial.FixedTrial(dict(choices)))


def _chance(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
