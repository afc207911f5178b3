"""How much of a model's quality is left under attack and under corruption, each judged in the model's own runtime.

Attacks (FGSM, PGD; largest change of an element at most ε) are made on the original and on each model itself, through
its differentiable graph. ε is a share of the range of the samples' values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast._util import progress
from recast._util.optional import have
from recast.errors import BadRecipe, RecastError
from recast.formats._format import Runner
from recast.measure import coding, corruptions, differentiable, intervals, ranking
from recast.measure.accuracy import Answers, Task
from recast.measure.corruptions import Range
from recast.measure.differentiable import Network
from recast.measure.subject import Subject

RADII = (1 / 255, 2 / 255, 4 / 255, 8 / 255)
SEVERITIES = (1, 3, 5)
STEPS = {"FGSM": 1, "PGD": 10}
MOST = 200  # samples that are attacked
_UNLIKE = 0.95  # a differentiable graph that agrees less with its own runtime says little about it


@dataclass(frozen=True)
class _Case:
    """What every model is asked: samples with the answers that count as right."""

    task: Task
    x: np.ndarray
    labels: np.ndarray  # one for each sample
    limits: Range
    seed: int


def of(
    subjects: Sequence[Subject], real: Mapping[str, np.ndarray], answers: Sequence[Answers], seed: int = 0
) -> dict[str, Any]:
    """Attack and corrupt.

    Args:
        subjects: the models, the original first.
        real: samples as the original takes them.
        answers: each model's answers to them.
        seed: of random starts and noise.

    Returns:
        JSON-ready: ``samples``, ``range``, ``radii``, ``models`` (each: ``clean``, ``attacks``, ``corruptions``),
        ``notes``. Scores are accuracies or AUC; without labels the share of the original's clean answers that is kept.

    Raises:
        BadRecipe: outputs are no classes, or samples are no real numbers.
    """
    case = _case(real, answers[0], seed)
    notes: list[str] = []
    with ExitStack() as ends:
        networks = [_network(s, case.task, ends, notes) for s in subjects]
        made = [_attacked(n, case, i) for i, n in enumerate(networks)]
        fidelity = [_fidelity(n, a, case) for n, a in zip(networks, answers, strict=True)]
    spoiled = _spoiled(case)
    rows = []
    for index, subject in enumerate(subjects):
        progress.emit(f"judging {subject.name}", index, len(subjects))
        with subject.running() as runner:
            judge = _Judge(subject, runner, next(iter(real)), case, answers[index].outputs.shape[1:])
            rows.append(_row(judge, made, index, spoiled) | {"fidelity": fidelity[index]})
        if (match := fidelity[index]) is not None and match < _UNLIKE:
            notes.append(f"{subject.name}: its graph with gradients answers only {match:.1%} as its own runtime does")
    return {
        "samples": len(case.x), "range": [case.limits.low, case.limits.high], "radii": list(RADII),
        "steps": STEPS["PGD"], "models": rows, "notes": notes,
    }  # fmt: skip


def _case(real: Mapping[str, np.ndarray], original: Answers, seed: int) -> _Case:
    task = original.task
    if len(real) != 1:
        raise BadRecipe(f"{len(real)} inputs: robustness is measured for one")
    (x,) = real.values()
    if task.kind == "values":
        raise BadRecipe("outputs are no classes: robustness needs classes or labels", "the model's first output")
    labels = task.labels if task.labels is not None else original.top
    if labels is None or x.dtype.kind not in "fiu" or x.max() <= x.min():
        raise BadRecipe("the samples are no numbers that can be changed a little")
    limits = Range(float(x.min()), float(x.max()))
    if task.kind == "reconstruction":
        return _Case(task, x.astype(np.float32), np.repeat(labels, len(x) // len(labels)), limits, seed)
    rows = np.linspace(0, len(x) - 1, min(MOST, len(x))).round().astype(np.int64)
    chosen = Task(task.kind, labels[rows], task.threshold)
    return _Case(chosen, x[rows].astype(np.float32), labels[rows], limits, seed)


def _network(subject: Subject, task: Task, ends: ExitStack, notes: list[str]) -> Network | None:
    """The model with gradients; where it cannot be had a note says why."""
    if not have("torch"):
        notes.append("attacks were left out: they need PyTorch (pip install 'recast-nn[torch]')")
        return None
    try:
        return ends.enter_context(differentiable.opened(subject, task))
    except RecastError as error:
        notes.append(f"{subject.name} was not attacked on itself: {error.what}")
        return None


def _attacked(network: Network | None, case: _Case, index: int) -> dict[tuple[str, float], np.ndarray]:
    """Adversarial samples of one model by attack and radius."""
    found: dict[tuple[str, float], np.ndarray] = {}
    for name, steps in STEPS.items() if network is not None else ():
        for radius in RADII:
            progress.emit(f"{name} on model {index + 1}")
            limits = [case.limits.low, case.limits.high]
            settings = {"limits": limits, "steps": steps, "seed": case.seed}
            assert network is not None  # noqa: S101 the loop is empty without one
            found[name, radius] = network.attack(case.x, case.labels, radius * case.limits.span, settings)
    return found


def _fidelity(network: Network | None, answers: Answers, case: _Case) -> float | None:
    """Share of samples that the differentiable graph answers as the runtime does; None where there are no classes."""
    if network is None or answers.top is None:
        return None
    rows = np.linspace(0, len(answers.top) - 1, len(case.x)).round().astype(np.int64)
    outputs = network.outputs(case.x)
    if case.task.kind == "binary":
        found = (outputs.reshape(-1) > network.threshold).astype(np.int64)
    else:
        found = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return float((found == answers.top[rows]).mean())


def _spoiled(case: _Case) -> dict[tuple[str, int], np.ndarray]:
    rng = np.random.default_rng(case.seed)
    wanted = [(n, s) for n in corruptions.names(case.x.shape) for s in SEVERITIES]
    return {(n, s): corruptions.corrupt(n, case.x, s, case.limits, rng) for n, s in wanted}


@dataclass(frozen=True)
class _Judge:
    """One model in its own runtime."""

    subject: Subject
    runner: Runner
    input: str
    case: _Case
    shape: tuple[int, ...]

    def score(self, x: np.ndarray) -> dict[str, float | None]:
        """Accuracy or AUC on these samples, with an interval for accuracies."""
        outputs = coding.back(self.subject.predict(self.runner, {self.input: x})[0], self.shape)
        answers = Answers(self.case.task, outputs, x)
        if answers.right is not None:
            found = intervals.wilson(int(answers.right.sum()), len(x))
            return {"score": found.value, "low": found.low, "high": found.high}
        labels = self.case.task.labels
        assert labels is not None  # noqa: S101 reconstruction has labels
        return {"score": ranking.auc(answers.errors, labels), "low": None, "high": None}


def _row(
    judge: _Judge,
    made: Sequence[Mapping[tuple[str, float], np.ndarray]],
    index: int,
    spoiled: Mapping[tuple[str, int], np.ndarray],
) -> dict[str, Any]:
    attacks = []
    sources = {"itself": made[index]} if index == 0 else {"the original": made[0], "itself": made[index]}
    for source, found in sources.items():
        for (name, radius), x in found.items():
            attacks.append({"attack": name, "made_on": source, "radius": radius, **judge.score(x)})
    hurt = [{"corruption": n, "severity": s, **judge.score(x)} for (n, s), x in spoiled.items()]
    return {
        "name": judge.subject.name,
        "clean": judge.score(judge.case.x),
        "attacks": attacks,
        "corruptions": hurt,
    }
