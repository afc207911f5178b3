"""What is thought of recipes that were not tried, and what is proposed because of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")

from recast.compression.gate import SLOWER, Comparison, Limits
from recast.tuning.sampling import Sampling, values
from recast.tuning.space import FIRST, NONE, STORES, described, kinds_of, starts
from recast.tuning.surrogate import Surrogate
from recast.tuning.trial import Judge, Row
from tests.tuning.test_parts import ANY, recipe, refused, row

BOX = (1.0, 0.05, 2.0)
ALONE = {kinds_of(c)[0]: c for c in starts() if len(kinds_of(c)) == 1}
BOTH = {**ALONE["structured"], **{k: v for k, v in ALONE["int8"].items() if k not in ("prune", "factorize", "distill")}}


def surrogate(seen: dict[str, tuple[float, float]]) -> Surrogate:
    """Of kinds that were tried alone: bytes, loss."""
    told = np.array([(size, loss, 1.0) for size, loss in seen.values()])
    return Surrogate([ALONE[kind] for kind in seen], told, BOX)


def test_what_was_seen_is_believed() -> None:
    """The odd figures are far from what is thought beforehand."""
    seen = {"int8": (0.6, 0.04), "structured": (0.5, 0.001), "svd": (0.3, 0.03), "int4": (0.5, 0.03)}
    learned = surrogate(seen)
    for kind, (size, loss) in seen.items():
        expected = learned.expected(ALONE[kind])
        assert expected[0] == pytest.approx(size, rel=0.1)
        assert math.sqrt(expected[1]) == pytest.approx(math.sqrt(loss), abs=0.3 * math.sqrt(0.05))
    before, after = (s.told([ALONE["int8"]])[1] for s in (surrogate({}), learned))
    assert (after[:, :2] < before[:, :2] / 2).all()


def test_what_two_kinds_do_alone_tells_what_they_do_together() -> None:
    small, large = (surrogate({"int8": (0.25, 0.001), "structured": (size, 0.01)}) for size in (0.5, 0.9))
    sizes = [s.expected(BOTH)[0] for s in (small, large)]
    assert sizes[0] < 0.25 * 0.75
    assert sizes[0] < 0.75 * sizes[1]
    good, bad = (surrogate({"int8": (0.25, 0.001), "structured": (0.8, loss)}) for loss in (0.0, 0.4))
    assert good.expected(BOTH)[1] < BOX[1] < bad.expected(BOTH)[1]


def test_a_recipe_that_gave_nothing_says_nothing_of_bytes() -> None:
    outcomes = np.array([[math.nan, 1.0, math.nan]])
    learned, fresh = Surrogate([ALONE["palette"]], outcomes, BOX), surrogate({})
    assert learned.expected(ALONE["palette"])[0] == pytest.approx(fresh.expected(ALONE["palette"])[0])
    assert learned.expected(ALONE["palette"])[1] > 2 * fresh.expected(ALONE["palette"])[1]


def test_what_is_dominated_by_what_is_known_is_worth_least() -> None:
    learned = surrogate({"int8": (0.25, 0.001), "float16": (0.5, 0.0)})
    front = np.array([(0.25, 0.001, 1.0), (0.5, 0.0, 1.0)])
    for seed in range(5):
        asked = [ALONE["int8"], BOTH, ALONE["bfloat16"]]
        assert learned.best(asked, front, np.random.default_rng(seed)) == 1


def test_where_nothing_seems_to_meet_the_budget_the_nearest_is_taken() -> None:
    tight = Surrogate([ALONE["int8"]], np.array([(0.25, 0.001, 1.0)]), (1e-4, 0.05, 2.0))
    asked = [ALONE["float16"], ALONE["int4"], ALONE["bfloat16"]]
    assert tight.best(asked, np.zeros((0, 3)), np.random.default_rng(1)) == 1


def test_a_budget_is_a_box() -> None:
    tried = row(ALONE["int8"], 500)  # of 1000 bytes, with labels, 1 ms
    assert Judge(Limits(drop=0.02, size_bytes=300), True).box([tried]) == (0.3, 0.02, SLOWER)
    assert Judge(Limits(latency_s=5e-4), True).box([refused(ALONE["int4"]), tried]) == (1.0, 0.02, 0.5)
    answers = Comparison((1000, 500), 0, None, "", None, 0.0, 0.1)
    assert Judge(Limits(disagree=0.3), True).box([Row({}, (), "", answers)])[1] == 0.3
    assert Judge(Limits(error=0.4), True).box([Row({}, (), "", Comparison((9, 5), 0, error=0.1))])[1] == 0.4
    assert all(0 < b < math.inf for b in Judge(Limits(drop=0.0, slower=math.inf), True).box([tried]))


def test_a_kind_is_new_to_one_recipe_at_a_time_and_not_tried_again_where_it_is_refused() -> None:
    rows: list[Row] = []
    sampling = Sampling(ANY, 4)
    while len(rows) < 25:
        choices = sampling.propose(rows, 1)[0]
        works = {k for r in rows if r.comparison for k in kinds_of(r.choices)}
        closed = {kinds_of(r.choices)[0] for r in rows if not r.comparison and len(kinds_of(r.choices)) == 1}
        assert len(set(kinds_of(choices)) - works) <= 1 or len(rows) < FIRST
        assert not set(kinds_of(choices)) & closed
        number = sum(map(ord, str(choices)))
        broken = set(kinds_of(choices)) & {"palette", "int16", "int8-dynamic"}
        rows.append(refused(choices) if broken else row(choices, 200 + number % 600, number % 7 / 100))
    assert len({k for r in rows for k in kinds_of(r.choices)}) > 8


class Landscape:
    """Made-up outcomes: every answer has its share, small or large by chance; some kinds are refused."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def _share(self, name: str, low: float, high: float) -> float:
        return float(np.random.default_rng((self._seed, *map(ord, name))).uniform(low, high))

    def row(self, choices: dict[str, Any]) -> Row:
        if any(self._share(f"{k} refused", 0, 1) < 0.15 for k in kinds_of(choices)):
            return refused(choices)
        size, root = 1.0, 0.0
        for name, value in choices.items():
            strength = {"cut": lambda v: v, "zeros": lambda v: v / 4, "energy": lambda v: 1 - v}.get(name)
            if strength:
                size *= 1 - self._share(name, 0.5, 1) * strength(value)
                root += self._share(f"{name} loss", 1, 6) * strength(value)
            elif value in STORES:
                size *= self._share(value, 0.15, 0.6)
                root += self._share(f"{value} loss", 0, 0.8)
            elif value != NONE:
                root += self._share(f"{name} {value} loss", 0, 0.3)
        steps = recipe(choices)
        drop = min(0.05 * root**2, 0.9)
        found = Comparison((10**6, round(10**6 * size)), 0, (0.9, 0.9 - drop), "accuracy", None, 0.0, 0.0, None, None)
        return Row(choices, tuple(s.as_dict() for s in steps), described(steps), found)


def hypervolume(rows: Sequence[Row], judge: Judge) -> float:
    """Of what meets the budget, over the box of the original's size and the drop allowed."""
    total, above = 0.0, 0.05
    for size, loss in sorted(values(r)[:2] for r in rows if judge.meets(r)):
        total += (1 - size) * max(above - loss, 0)
        above = min(above, loss)
    return total / 0.05


def searched(land: Landscape, judge: Judge) -> list[Row]:
    rows: list[Row] = []
    sampling = Sampling(judge, 1)
    while len(rows) < 16:
        rows.append(land.row(sampling.propose(rows, 1)[0]))
    return rows


def test_a_search_finds_more_than_chance_among_the_same_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal trials after equal starts, on landscapes where answers' shares add up."""
    judge = Judge(Limits(drop=0.05, slower=math.inf), True)
    found = [hypervolume(searched(Landscape(seed), judge), judge) for seed in range(4)]

    def chance(self: Surrogate, asked: Sequence[Any], front: Any, rng: np.random.Generator) -> int:
        return int(rng.integers(len(asked)))

    monkeypatch.setattr(Surrogate, "best", chance)
    guessed = [hypervolume(searched(Landscape(seed), judge), judge) for seed in range(4)]
    assert sum(found) > sum(guessed) + 0.1
    assert sum(a >= b for a, b in zip(found, guessed, strict=True)) >= 3
