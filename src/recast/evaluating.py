"""The map of an evaluation: every model beside the first one, on the same samples, in the same run.

measure.subject      each model's file, graph and runtime
measure.data         the samples
measure.size, cost   what can be read off the file
Subject.predict      outputs of all samples, each in its own runtime
measure.accuracy     scores, agreement and error with paired intervals
measure.latency      timed in turns, all models open at once
robustness, attribution   on request
report.Report        one object: text, JSON, HTML
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast import prove
from recast._util import child, progress
from recast.errors import BadRecipe, MissingDependency, RecastError
from recast.formats._format import Runner
from recast.measure import accuracy, coding, cost, data, latency, size
from recast.measure.accuracy import Answers, Task
from recast.measure.subject import Subject
from recast.report.document import Report
from recast.verification.certificate import plain

if TYPE_CHECKING:
    from recast.measure.data import Samples

GENERATED = 64  # inputs where there are no data
ALSO = ("robustness", "interpret")


@dataclass(frozen=True)
class Measuring:
    """What is measured.

    Attributes:
        samples: at most so many, evenly spaced.
        threads: latency is measured with each of these numbers of threads; 0: all of the machine; () : not at all.
        rounds: turns of each model in a timing.
        also: ``robustness`` (attacks and corruptions), ``interpret`` (attribution maps).
        seed: of resamples, attacks and generated inputs.
        trust: allow formats whose own libraries run code from the file.
    """

    samples: int = 2000
    threads: tuple[int, ...] = (1, 0)
    rounds: int = 20
    also: frozenset[str] = frozenset()
    seed: int = 0
    trust: bool = False

    def __post_init__(self) -> None:
        if unknown := self.also - set(ALSO):
            raise BadRecipe(f"cannot measure {', '.join(sorted(unknown))}", fix=f"one of: {', '.join(ALSO)}")
        if self.samples < 1 or self.rounds < 1 or any(t < 0 for t in self.threads):
            raise BadRecipe("samples and rounds are at least 1, threads at least 0 (all)")


@dataclass
class Sides:
    """All models with what was found so far; the first is the original."""

    subjects: list[Subject]
    samples: Samples
    real: Mapping[str, np.ndarray]
    task: Task
    answers: list[Answers] = field(default_factory=list)

    @property
    def inputs(self) -> np.ndarray:
        """The first input's samples."""
        return next(iter(self.real.values()))


def evaluate(
    models: Sequence[str | Path],
    samples: str | Path | Samples | None = None,
    measuring: Measuring = Measuring(),  # noqa: B008 frozen
) -> Report:
    """Measure models side by side; the first is the original.

    Args:
        models: files, of any formats.
        samples: ``.npz``, ``.npy`` or folder of images (``measure.data``), or ``Samples``; None: generated inputs.
        measuring: what to measure.

    Raises:
        RecastError: a file cannot be read, its runtime is missing, or the samples do not fit.
    """
    if not models:
        raise BadRecipe("no model to evaluate")
    subjects = [Subject(n, Path(m), measuring.trust) for n, m in zip(_names(models), models, strict=True)]
    rng = np.random.default_rng(measuring.seed)
    with ExitStack() as ends:
        progress.emit("starting the runtimes")
        runners = [ends.enter_context(s.running()) for s in subjects]
        held = _samples(subjects[0], runners[0], samples, measuring)
        sides, memory = _predict(subjects, runners, held)
        rows = [_row(sides, i, memory[i], rng) for i in range(len(subjects))]
        _time(sides, runners, rows, measuring)
    report: dict[str, Any] = {
        "recast": _version(),
        "kind": "evaluation",
        "data": _told(samples, sides),
        "machine": {"system": platform.platform(), "processor": _processor(), "threads": available_threads()},
        "models": rows,
        "findings": [],
    }
    if not held.real:
        _find(
            report, "no data were given: generated inputs say how far outputs agree, not how good a model is", "--data"
        )
    with child.pool():
        _also(report, sides, measuring)
    return Report(plain(report))


def _also(report: dict[str, Any], sides: Sides, measuring: Measuring) -> None:
    """What was asked for besides; what cannot be done here is told, the rest of the report stands."""
    for name in ALSO:
        if name not in measuring.also:
            continue
        try:
            if name == "robustness":
                from recast.measure import robustness

                report[name] = robustness.of(sides.subjects, sides.real, sides.answers, measuring.seed)
            else:
                from recast.measure import attribution

                report["attribution"] = attribution.of(sides.subjects, sides.real, sides.answers, measuring.seed)
        except MissingDependency:
            raise
        except RecastError as error:
            _find(report, f"{name} was not measured: {error.what}", error.where)


def _find(report: dict[str, Any], what: str, where: str) -> None:
    report["findings"].append({"what": what, "where": where, "level": "warning"})


def _names(models: Sequence[str | Path]) -> list[str]:
    """File names; with their folders where two are the same."""
    paths = [Path(m) for m in models]
    names = [p.name for p in paths]
    if len(set(names)) < len(names):
        names = [str(p) for p in paths]
    if len(set(names)) < len(names):
        raise BadRecipe("the same file is given twice", ", ".join(names))
    return names


def _samples(subject: Subject, runner: Runner, given: str | Path | Samples | None, measuring: Measuring) -> Samples:
    if given is None:
        return data.generated(runner.inputs, GENERATED, measuring.seed)
    found = data.load(Path(given), runner.inputs) if isinstance(given, str | Path) else given
    return found if found.labels is not None and len(found.labels) != found.count else found.take(measuring.samples)


def _predict(
    subjects: list[Subject], runners: list[Runner], samples: Samples
) -> tuple[Sides, list[tuple[int, int] | None]]:
    """All models' outputs, and their processes' memory after a run of one sample."""
    first = {s.name: s for s in runners[0].inputs}
    codes = subjects[0].codes
    real = {n: coding.as_real(a, first[n], codes) if n in first else a for n, a in samples.feeds.items()}
    memory, outputs = [], []
    for number, (subject, runner) in enumerate(zip(subjects, runners, strict=True)):
        progress.emit(f"running {subject.name}", number, len(subjects))
        one = subject.feeds(runner, real, _first_rows(runner))
        runner.run(one)
        memory.append(runner.memory() if hasattr(runner, "memory") else None)
        outputs.append(_scored(subject.predict(runner, real)))
    inputs = next(iter(real.values()))
    task = accuracy.task_of(outputs[0], inputs, samples.labels)
    sides = Sides(subjects, samples, real, task)
    sides.answers = [Answers(task, coding.back(o, outputs[0].shape[1:]), inputs) for o in outputs]
    return sides, memory


def _first_rows(runner: Runner) -> np.ndarray:
    """One sample, or as often as a fixed batch wants it."""
    fixed = [s.shape[0] for s in runner.inputs if s.shape and isinstance(s.shape[0], int)]
    return np.zeros(int(fixed[0]) if fixed else 1, np.int64)


def _scored(outputs: list[np.ndarray]) -> np.ndarray:
    """The output that is scored: the first."""
    return outputs[0]


def _row(sides: Sides, index: int, memory: tuple[int, int] | None, rng: np.random.Generator) -> dict[str, Any]:
    """Everything about one model that needs no clock."""
    subject, answers = sides.subjects[index], sides.answers[index]
    row: dict[str, Any] = {
        "name": subject.name,
        "format": subject.format.name,
        "runtime": prove.runtime_of(subject.format),
        "size": asdict(subject.size),
        "memory": {"runtime_bytes": memory[0], "peak_bytes": memory[1]} if memory else None,
        "parameters": None,
        "cost": None,
    }
    if subject.graph is not None:
        row["parameters"] = asdict(size.parameters(subject.graph))
        row["cost"] = asdict(cost.of(subject.graph))
    score, confusion = answers.score(rng), answers.confusion()
    row["score"] = asdict(score) if score else None
    row["confusion"] = confusion.tolist() if confusion is not None else None
    row["versus"] = asdict(accuracy.compare(sides.answers[0], answers, rng)) if index else None
    return row


def _time(sides: Sides, runners: list[Runner], rows: list[dict[str, Any]], measuring: Measuring) -> None:
    """Latency of one sample by number of threads, all models in turns."""
    for row in rows:
        row["latency"] = {}
    counts = dict.fromkeys(t or available_threads() for t in measuring.threads)
    for threads in counts:
        with ExitStack() as ends:
            opened = runners if threads == 1 else [ends.enter_context(s.running(threads)) for s in sides.subjects]
            names = [s.name for s in sides.subjects]
            feeds = {
                s.name: s.feeds(r, sides.real, _first_rows(r)) for s, r in zip(sides.subjects, opened, strict=True)
            }
            found = latency.interleaved(dict(zip(names, opened, strict=True)), feeds, measuring.rounds)
        for row in rows:
            row["latency"][str(threads)] = asdict(found[row["name"]])


def available_threads() -> int:
    """How many threads this process may use at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _told(given: str | Path | Samples | None, sides: Sides) -> dict[str, Any]:
    labels = sides.task.labels
    return {
        "file": Path(given).name
        if isinstance(given, str | Path)
        else ("given arrays" if given else "generated inputs"),
        "samples": sides.samples.count,
        "real": sides.samples.real,
        "labels": 0 if labels is None else len(labels),
        "task": sides.task.kind,
        "metric": sides.task.metric,
        "classes": list(sides.samples.names),
    }


def _version() -> str:
    from recast import __version__

    return __version__
