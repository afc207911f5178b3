"""What recipes that were not tried would give, told from those that were: a Gaussian process (Rasmussen and Williams,
Gaussian Processes for Machine Learning, 2006, algorithm 2.1) each for bytes, loss and time.

On the scales of ``_bent`` each answer has its share in the outcome and the shares add up (a dot product); recipes that
differ in little differ in little (a squared exponential). Before the first trial fewer bits, channels and ranks are
thought to take less and to cost more; the recipe that does nothing gives the original's bytes and time, and no loss.

A recipe is worth the hypervolume that it is expected to add to the front within the budget (Emmerich, Giannakoglou and
Naujoks, Single- and Multiobjective Evolutionary Optimization Assisted by Gaussian Random Field Metamodels, 2006; both
integrals by Monte Carlo).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recast.tuning.space import BITS, NONE

Array = NDArray[np.float64]
Choices = Mapping[str, Any]
_NOTHING = [[1.0, 0.0, 1.0]]
_CEILING = 3.0  # of a bent loss: how far it is beyond nine times the budget teaches nothing
_SCALE = (0.25, 0.4, 0.2)  # deviation of what one answer does to bent bytes, loss, time
_NOISE = (0.02, 0.1, 0.05)  # deviation of what the answers do not say
_DOUBT = 1.0  # deviation of the loss of a recipe that gave nothing: any of its answers may be why
_TOGETHER = 0.3  # variance of what answers do together, over that of one
_UNSIZED = 0.1  # share of ``_SCALE`` of answers that should not change bytes
_DRAWS, _POINTS = 64, 1024  # the points not yet behind the front
_AMOUNTS: dict[str, Callable[[float], float]] = {
    "cut": lambda v: v / 0.3,
    "zeros": lambda v: v / 0.5,
    "energy": lambda v: math.sqrt((1 - v) / 0.05),
    "colours": lambda v: 4 / v,
    "bits": lambda v: 4 / v,
    "epochs": lambda v: v / 10,
}  # answers that are numbers: 1 is what costs as much as a choice
_SIZED = ("prune", "cut", "zeros", "factorize", "energy", "whiten", "store", "colours", "share", "bits")


class Surrogate:
    """What was seen, and what follows from it.

    Args:
        seen: the choices of n trials.
        outcomes: (n, 3): bytes over the original's, loss, time over the original's; NaN: not known.
        box: the most that the budget allows of each.
    """

    def __init__(self, seen: Sequence[Choices], outcomes: Array, box: tuple[float, float, float]) -> None:
        self._box = np.asarray(box, np.float64)
        self._seen = [{}, *seen]
        self._told = self._bent(np.concatenate([_NOTHING, outcomes.reshape(-1, 3)]))

    def best(self, asked: Sequence[Choices], front: Array, rng: np.random.Generator) -> int:
        """The place of the recipe that is worth most; where none seems to meet the budget, of the nearest to it.

        Args:
            asked: the choices of at least one recipe.
            front: (f, 3), outcomes that meet the budget.
            rng: draws outcomes, and points of the box that measure volume.
        """
        points = rng.random((4 * _POINTS, 3)) * self._box
        for outcome in front:
            points = points[~(outcome <= points).all(1)]
        points = points[:_POINTS]
        mean, deviation = self.told(asked)
        worth = np.zeros(len(asked))
        for _ in range(_DRAWS):
            drawn = self._straight(mean + deviation * rng.standard_normal(mean.shape))
            worth += _covered(drawn, points)
        if not worth.any():
            worth = -np.maximum(self._straight(mean) / self._box - 1, 0).sum(1)
        return int(worth.argmax())

    def expected(self, asked: Choices) -> tuple[float, float, float]:
        """The outcome that is thought of for a recipe."""
        size, loss, slowdown = self._straight(self.told([asked])[0])[0].tolist()
        return size, loss, slowdown

    def told(self, asked: Sequence[Choices]) -> tuple[Array, Array]:
        """Mean and standard deviation of the bent outcomes of m recipes, each (m, 3)."""
        recipes = [*self._seen, *asked]
        features, sized = _features(recipes)
        before = np.array([_prior(c) for c in recipes])
        count, mean, deviation = len(self._seen), [], []
        for column in range(3):
            known = np.flatnonzero(~np.isnan(self._told[:, column]))
            missed = self._told[known, column] - before[known, column]
            noise = np.where(np.isnan(self._told[known, 0]), _DOUBT, _NOISE[column])
            columns = features * sized if column == 0 else features
            variance = _SCALE[column] ** 2
            cross = variance * _kernel(columns[known], columns[count:])
            covariance = variance * _kernel(columns[known], columns[known]) + np.diag(noise**2)
            solved = np.linalg.solve(covariance, np.column_stack([missed, cross]))
            own = variance * ((columns[count:] ** 2).sum(1) + _TOGETHER)
            mean.append(before[count:, column] + cross.T @ solved[:, 0])
            deviation.append(np.sqrt(np.maximum(own - (cross * solved[:, 1:]).sum(0), 0.0)))
        return np.stack(mean, 1), np.stack(deviation, 1)

    def _bent(self, outcomes: Array) -> Array:
        """Logarithm of bytes, root of loss over the budget's, time: what answers do to them adds up."""
        size, loss, slowdown = outcomes.T
        return np.stack([np.log(size), np.minimum(np.sqrt(loss / self._box[1]), _CEILING), slowdown], 1)

    def _straight(self, bent: Array) -> Array:
        size, loss, slowdown = bent.T
        return np.stack([np.exp(size), np.maximum(loss, 0.0) ** 2 * self._box[1], slowdown], 1)


def _covered(outcomes: Array, points: Array) -> Array:
    """How many of the points each outcome is not behind."""
    found = [(outcome[:, None] <= point) for outcome, point in zip(outcomes.T, points.T, strict=True)]
    return np.asarray((found[0] & found[1] & found[2]).sum(1), np.float64)


def _kernel(a: Array, b: Array) -> Array:
    """(n, m) covariances of what n and m recipes give, over the variance of what one answer does."""
    apart = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(a @ b.T + _TOGETHER * np.exp(-apart / 2))


def _features(recipes: Sequence[Choices]) -> tuple[Array, Array]:
    """A column for each answer: whether it was given, or how much of it; and how much columns tell of bytes."""
    rows = [_answers(c) for c in recipes]
    names = {n: i for i, n in enumerate(dict.fromkeys(n for r in rows for n in r))}
    made = np.zeros((len(rows), len(names)))
    for place, row in enumerate(rows):
        for name, value in row.items():
            made[place, names[name]] = value
    return made, np.array([1.0 if n.split("=")[0] in _SIZED else _UNSIZED for n in names])


def _answers(choices: Choices) -> dict[str, float]:
    """A way to store counts whole; what else is chosen counts half, so that amounts are blamed before kinds."""
    found = {}
    for name, value in choices.items():
        if name in _AMOUNTS:
            found[name] = _AMOUNTS[name](value)
        elif value != NONE:
            found[f"{name}={value}"] = 1.0 if name == "store" else 0.5
    return found


def _prior(choices: Choices) -> tuple[float, float, float]:
    """What is thought of a recipe before the first trial, bent."""
    bits = BITS[choices.get("store", NONE)]
    bits = min(bits, choices.get("bits", bits), choices.get("colours", bits))
    cut, zeros, dropped = choices.get("cut", 0.0), choices.get("zeros", 0.0), 1 - choices.get("energy", 1.0)
    size = math.log(bits / BITS[NONE]) + math.log(1 - cut) - 1.5 * dropped
    rounding = 3.2 / bits if bits < BITS[NONE] else 0.0
    return size, rounding + 3 * (cut + zeros**2 + math.sqrt(dropped)), 1.0
