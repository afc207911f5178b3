"""The search of ``recast tune`` beside random search and plain NSGA-II (population 8) at equal trials: hypervolume.

Objectives: bytes (over the original's) and loss; reference point: the original's size and the largest drop allowed.
No clock is in it. A recipe is measured once, whoever proposes it, and kept in ``results/tune_trials.json``: equal
recipes give equal bytes. The peers' repeated and empty proposals are not counted against them. ``--trials``,
``--seeds`` and ``--models`` size it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from _bench import MODELS, RESULTS, save, table
from labelled import TASKS

import recast
from recast.compressing import Settings
from recast.compression.gate import Limits
from recast.demo import MODEL as DIGITS
from recast.tuning.job import Job
from recast.tuning.sampling import Sampling, values
from recast.tuning.space import Space, described, key_of
from recast.tuning.trial import Judge, Row
from recast.tuning.worker import Session

DROP = 0.05
REFERENCE = np.array([1.0, DROP])
SOURCES = {  # file, labelled set, labels for the methods and for comparing
    "dscnn": (MODELS / "kws-dscnn/kws_ref_model", "keywords", 32, 400),
    "autoencoder": (MODELS / "ad-autoencoder/ad01.h5", "machine", 2, 40),
    "resnet8": (MODELS / "ic-resnet8-cifar10/pretrainedResnet.h5", "cifar200", 32, 160),
    "digits": (DIGITS, "", 64, 136),  # comes with Recast: a quick look
}
JUDGE = Judge(Limits(drop=DROP, slower=math.inf), True)


@dataclass
class Model:
    """One model; recipes that were measured are remembered."""

    name: str
    session: Session
    folder: Path
    known: dict[str, dict[str, Any]]
    cpu_s: float = 0.0
    fresh: int = 0

    def row(self, choices: dict[str, Any]) -> Row:
        """What the recipe gives."""
        steps = Space().choose(optuna.trial.FixedTrial(choices))
        key = f"{self.name} {key_of(steps)}"
        if key not in self.known:
            start = time.process_time()
            told, _ = self.session.trial({}, [s.as_dict() for s in steps], str(self.folder / str(len(self.known))))
            self.cpu_s += time.process_time() - start
            self.fresh += 1
            self.known[key] = {k: told[k] for k in ("comparison", "refused", "digest")}
            _keep(self.known)
        plain = tuple(s.as_dict() for s in steps)
        row = Row(choices, plain, described(steps), refused=self.known[key]["refused"])
        return Row.from_dict({**row.as_dict(), "comparison": self.known[key]["comparison"]})


def _keep(known: dict[str, dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "tune_trials.json"
    path.with_suffix(".new").write_text(json.dumps(known))
    path.with_suffix(".new").replace(path)


def opened(name: str, folder: Path, known: dict[str, dict[str, Any]]) -> Model:
    """The model with its samples: a few for the methods, others to compare on."""
    path, task, few, many = SOURCES[name]
    inputs, labels = _labelled(task)
    together = len(inputs) // len(labels)
    order = np.random.default_rng(0).permutation(len(labels))
    files = []
    for part, chosen in (("fitted", order[:few]), ("compared", order[few : few + many])):
        rows = (chosen[:, None] * together + np.arange(together)).reshape(-1)
        files.append(folder / f"{name}-{part}.npz")
        np.savez(files[-1], x=inputs[rows], y=labels[chosen].astype(np.int64))
    source = folder / f"{name}.onnx"  # quicker to read than some of the originals
    recast.convert(path, source, recast.Recipe(checking=recast.Checking(verify=False)))
    settings = Settings(data=files[1], calibration=files[0], limits=JUDGE.limits)
    job = Job(str(source), f"{name}.tflite", settings)
    return Model(name, Session("", {"job": job.told()}), folder, known)


def _labelled(task: str) -> tuple[np.ndarray, np.ndarray]:
    if not task:
        held = np.load(DIGITS.with_name("digits.npz"))
        return held["image"], held["labels"]
    found = TASKS[task](MODELS)
    return found.inputs, found.labels


def ours(model: Model, trials: int, seed: int) -> list[Row]:
    """``recast tune``'s proposals."""
    rows: list[Row] = []
    sampling = Sampling(JUDGE, seed)
    while len(rows) < trials and (proposed := sampling.propose(rows, 1)):
        rows.append(model.row(proposed[0]))
    return rows


def peer(make: Callable[[int], Any]) -> Callable[[Model, int, int], list[Row]]:
    """A sampler of Optuna on the whole space, with the same objectives and constraints."""

    def search(model: Model, trials: int, seed: int) -> list[Row]:
        study = optuna.create_study(directions=["minimize"] * 2, sampler=make(seed))
        rows: dict[str, Row] = {}
        for _ in range(20 * trials):
            if len(rows) == trials:
                break
            trial = study.ask()
            steps = Space().choose(trial)
            if not list(steps):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            row = rows.setdefault(key_of(steps), model.row(dict(trial.params)))
            for name, value in JUDGE.violations(row).items():
                trial.set_constraint(name, value)
            study.tell(trial, values(row)[:2])
        return list(rows.values())

    return search


def hypervolume(rows: list[Row]) -> float:
    """Of what meets the budget, by Optuna's own implementation, over the whole box: 0 to 1."""
    points = [values(r)[:2] for r in rows if JUDGE.meets(r)]
    inside = np.array([p for p in points if (np.array(p) < REFERENCE).all()]).reshape(-1, 2)
    if not len(inside):
        return 0.0
    return float(optuna._hypervolume.compute_hypervolume(inside, REFERENCE) / REFERENCE.prod())


SEARCHES: dict[str, Callable[[Model, int, int], list[Row]]] = {
    "recast tune": ours,
    "random": peer(lambda s: optuna.samplers.RandomSampler(seed=s)),
    "NSGA-II": peer(lambda s: optuna.samplers.NSGAIISampler(population_size=8, seed=s)),
}


def main() -> None:
    """Seed by seed, so that an early end has something of everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--models", default="dscnn,autoencoder")
    given, _ = parser.parse_known_args()
    if not MODELS.is_dir() and given.models != "digits":
        print("bench_tune: not run, ../shared/models is not here")
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = RESULTS / "tune_trials.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as text:
        models = [opened(name, Path(text), known) for name in given.models.split(",")]
        for seed in range(given.first, given.first + given.seeds):
            for model in models:
                for name, search in SEARCHES.items():
                    rows = search(model, given.trials, seed)
                    halves = {n: hypervolume(rows[:n]) for n in (given.trials // 2, given.trials)}
                    line = {"model": model.name, "search": name, "seed": seed, "hypervolume": halves}
                    found.append(line | {"trials": len(rows), "met": sum(JUDGE.meets(r) for r in rows)})
                    print(f"{model.name:12s} seed {seed} {name:20s} {halves}", flush=True)
        for model in models:
            model.session.close()
    report(found, given.trials)
    cost = {m.name: {"measured": m.fresh, "cpu_s": m.cpu_s} for m in models}
    save("tune", {"trials": given.trials, "seeds": given.seeds, "drop": DROP, "rows": found, "cost": cost})


def report(found: list[dict[str, Any]], trials: int) -> None:
    """Medians, and in how many of the pairs of equal model and seed the search is at least as good."""
    names, seeds = (list(dict.fromkeys(f[key] for f in found)) for key in ("search", "seed"))
    at = {(f["model"], f["search"], f["seed"]): f["hypervolume"] for f in found}
    lines = []
    for model in dict.fromkeys(f["model"] for f in found):
        for name in names:
            pairs = [(at[model, name, s], at[model, names[0], s]) for s in seeds]
            mine = [p[1][trials] >= p[0][trials] for p in pairs]
            halves = [statistics.median(p[0][n] for p in pairs) for n in (trials // 2, trials)]
            lines.append([model, name, *halves, f"{sum(mine)} of {len(mine)}"])
    columns = ["model", "search", f"after {trials // 2}", f"after {trials} trials", "recast tune is as good"]
    table(f"Hypervolume, median of {len(seeds)} seeds (larger is better)", columns, lines)


if __name__ == "__main__":
    main()
