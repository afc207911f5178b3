"""Which recipes there are: prune, factorise, train, store in fewer bits. A recipe is made from named choices.

A kind is tried on its own or with a way to store before it is tried with others; kinds that the model or the target
refuses are closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from recast.compression.recipe import Distill, Factorize, Prune, Quantize, Step, Steps

NONE = "none"
FIRST = 3  # of ``starts``: a search begins with them
FAMILIES = ("prune", "factorize", "distill", "store")  # in the order of the steps
PRUNES = ("structured", "magnitude", "sparsegpt")
FACTORS = ("svd",)
LOGITS, AWARE = "logits", "aware"
TRAININGS = (LOGITS, AWARE)  # towards the original: before rounding, or with the roundings in place
_TRAINABLE = ("int8", "int4", "int8-weights")  # stores that can be trained
STORES = (
    "int8", "int8-dynamic", "float16", "int4", "int8-weights", "mixed", "palette", "float16-weights", "int16",
    "bfloat16",
)  # fmt: skip
BITS = {
    "int8": 8, "int8-dynamic": 8, "float16": 16, "int4": 4, "int8-weights": 8, "mixed": 6, "palette": 4,
    "float16-weights": 16, "int16": 8, "bfloat16": 16, NONE: 32,
}  # of a weight, roughly  # fmt: skip
ANSWERS = {
    "prune": ("prune", "cut", "criterion", "scope", "zeros"),
    "factorize": ("factorize", "energy", "whiten"),
    "distill": ("distill", "epochs"),
    "store": ("store", "colours", "rounding", "share", "fitted", "ranges", "bits"),
}  # the names of each family's
Choices = Mapping[str, Any]


class Chooser(Protocol):
    """What a sampler offers (``optuna.trial.Trial``, ``FixedTrial``)."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of these."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        """A number, a multiple of ``step`` above ``low``."""


@dataclass(frozen=True)
class Space:
    """The kinds that are open, of each family."""

    prunes: tuple[str, ...] = PRUNES
    factors: tuple[str, ...] = FACTORS
    trainings: tuple[str, ...] = TRAININGS
    stores: tuple[str, ...] = STORES

    def without(self, closed: Iterable[str]) -> Space:
        """The space without some kinds."""
        gone = set(closed)
        every = (self.prunes, self.factors, self.trainings, self.stores)
        return Space(*(tuple(k for k in kinds if k not in gone) for kinds in every))

    def choose(self, ask: Chooser) -> Steps:
        """A recipe from a sampler's answers; without steps where every answer is ``none``."""
        steps = [*self._prune(ask), *self._factorize(ask)]
        kind = ask.suggest_categorical("distill", [NONE, *self.trainings])
        length = {} if kind == NONE else {"epochs": ask.suggest_categorical("epochs", [3, 10])}
        if kind == LOGITS:
            steps.append(Distill(options=length))
        return Steps((*steps, *self._store(ask, {AWARE: length} if kind == AWARE else {})))

    def _prune(self, ask: Chooser) -> list[Step]:
        kind = ask.suggest_categorical("prune", [NONE, *self.prunes])
        if kind == NONE:
            return []
        if kind != "structured":
            amount = ask.suggest_float("zeros", 0.3, 0.9, step=0.1)
            return [Prune(round(amount, 2), kind=kind)]
        amount = ask.suggest_float("cut", 0.05, 0.6, step=0.05)
        options = {
            "criterion": ask.suggest_categorical("criterion", ["l2", "l1", "activation"]),
            "scope": ask.suggest_categorical("scope", ["uniform", "global"]),
        }
        return [Prune(round(amount, 2), structured=True, options=options)]

    def _factorize(self, ask: Chooser) -> list[Step]:
        kind = ask.suggest_categorical("factorize", [NONE, *self.factors])
        if kind == NONE:
            return []
        energy = ask.suggest_categorical("energy", [0.8, 0.9, 0.95, 0.98, 0.995])
        return [Factorize(kind, {"energy": energy, "whiten": ask.suggest_categorical("whiten", [True, False])})]

    def _store(self, ask: Chooser, aware: dict[str, Any]) -> list[Step]:
        kind = ask.suggest_categorical("store", [NONE, *self.stores])
        if kind == NONE:
            return []
        if kind == "palette":
            return [Factorize(kind, {"bits": ask.suggest_categorical("colours", [3, 4, 5, 6, 8])})]
        options: dict[str, Any] = {}
        if kind in ("int8", "int8-dynamic", "int16"):
            options["rounding"] = ask.suggest_categorical("rounding", ["gptq", "nearest"])
        elif kind == "mixed":
            options["budget"] = ask.suggest_categorical("share", ["size<15%", "size<20%", "size<30%"])
        elif kind in ("int4", "int8-weights"):
            options["rounding"] = ask.suggest_categorical("fitted", ["gptq", "hqq", "nearest"])
        if kind == "int8":
            options["ranges"] = ask.suggest_categorical("ranges", ["auto", "minmax", "mse", "99.9%"])
            options["bits"] = ask.suggest_categorical("bits", [8, 4])
        return [Quantize(kind, options | (aware if kind in _TRAINABLE else {}))]


def starts(trained: bool = True) -> list[dict[str, Any]]:
    """Choices to begin with: what is known to be good on its own, and every other kind once, the promising first.

    Args:
        trained: some with training, too.
    """
    alone = [_store(kind) for kind in STORES]
    cut = {"prune": "structured", "cut": 0.1, "criterion": "l2", "scope": "uniform"}
    four = _store("int8") | {"bits": 4}
    pruned = [cut | {"factorize": NONE, "distill": NONE} | _only(kind) for kind in (NONE, "int8")]
    zeroed = [
        {"prune": kind, "zeros": 0.5, "factorize": NONE, "distill": NONE, "store": NONE}
        for kind in PRUNES
        if kind != "structured"
    ]
    low = {"prune": NONE, "factorize": "svd", "energy": 0.98, "whiten": False, "distill": NONE, "store": NONE}
    learned = {"distill": LOGITS, "epochs": 3}
    training = [
        cut | {"cut": 0.3, "factorize": NONE} | learned | _only("int8"),
        _store("int4") | learned | {"distill": AWARE},
    ]
    return [*alone[:4], four, *pruned, *(training if trained else ()), low, *alone[4:], *zeroed]


def kinds_of(choices: Choices) -> list[str]:
    """The kinds that a recipe uses."""
    return [choices[f] for f in FAMILIES if choices.get(f, NONE) != NONE]


def key_of(steps: Steps) -> str:
    """A recipe's identity."""
    return json.dumps([s.as_dict() for s in steps], sort_keys=True)


def described(steps: Steps) -> str:
    """A recipe in a few words: ``structured 0.25 l2 uniform, int8 gptq auto``."""
    return ", ".join(_words(s.as_dict()) for s in steps)


def _words(told: dict[str, Any]) -> str:
    return " ".join([told["method"], *_worded(told["options"])])


def _worded(options: Mapping[str, Any]) -> list[str]:
    """Texts speak for themselves, numbers and tables are named; what is empty is left out."""
    found = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            found += [name, *_worded(value)]
        elif value != "":
            found.append(f"{name} {value}" if isinstance(value, bool | int) else str(value))
    return found


def _store(kind: str) -> dict[str, Any]:
    return {"prune": NONE, "factorize": NONE, "distill": NONE} | _only(kind)


def _only(kind: str) -> dict[str, Any]:
    """The choices of one way to store, at their usual values."""
    further: dict[str, dict[str, Any]] = {
        "int8": {"rounding": "gptq", "ranges": "auto", "bits": 8},
        "int8-dynamic": {"rounding": "gptq"},
        "int16": {"rounding": "gptq"},
        "int4": {"fitted": "gptq"},
        "int8-weights": {"fitted": "gptq"},
        "mixed": {"share": "size<20%"},
        "palette": {"colours": 4},
    }
    return {"store": kind} | further.get(kind, {})
