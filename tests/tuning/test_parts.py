"""The parts of a search: recipes, verdicts, proposals, the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("optuna")

import optuna

from recast.compressing import SYNTHETIC
from recast.compression.gate import Comparison, Limits
from recast.compression.recipe import Factorize, Prune, Quantize
from recast.demo import DATA, MODEL
from recast.errors import BadRecipe, Busy
from recast.measure import synthetic
from recast.measure.data import Samples
from recast.report.document import Report
from recast.tuning.job import Job, steps_of
from recast.tuning.outcome import Tuned, best_of
from recast.tuning.sampling import Sampling, _mutant, closed, frozen
from recast.tuning.search import Settings, Tuning
from recast.tuning.space import STORES, TRAININGS, Space, described, key_of, kinds_of, starts
from recast.tuning.store import Store, held
from recast.tuning.trial import Judge, Row
from recast.tuning.worker import Session

ANY = Judge(Limits(drop=0.05), True)


def recipe(choices: dict[str, Any]) -> Any:
    return Space().choose(optuna.trial.FixedTrial(choices))


def row(choices: dict[str, Any], size: int = 500, drop: float = 0.0, slowdown: float | None = 0.9) -> Row:
    steps = recipe(choices)
    times = None if slowdown is None else (1e-3, slowdown * 1e-3)
    found = Comparison((1000, size), 0, (0.9, 0.9 - drop), "accuracy", None, 0.01, 0.02, times, slowdown)
    return Row(choices, tuple(s.as_dict() for s in steps), described(steps), found, "", f"d{size}")


def refused(choices: dict[str, Any]) -> Row:
    return replace(row(choices), comparison=None, refused="[E301] no", digest="")


def test_the_search_begins_with_every_kind_once_and_no_recipe_twice() -> None:
    recipes = [recipe(c) for c in starts()]
    assert len({key_of(r) for r in recipes}) == len(recipes)
    alone = [kinds_of(c)[0] for c in starts() if len(kinds_of(c)) == 1]
    assert {*STORES, "structured", "magnitude", "sparsegpt", "svd"} == set(alone)
    for steps in recipes:
        for step in steps:
            step.method()  # every option is known to its method


def test_every_choice_of_the_space_is_a_valid_recipe() -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=optuna.samplers.RandomSampler(seed=3))
    seen = set()
    for _ in range(300):
        trial = study.ask()
        for step in Space().choose(trial):
            step.method()
        seen |= set(kinds_of(trial.params))
        study.tell(trial, (0.0, 0.0))
    assert seen >= {*STORES, "structured", "sparsegpt", "svd"}


def test_a_recipe_survives_its_way_through_json() -> None:
    steps = Prune(0.25, structured=True, options={"scope": "global"}) >> Factorize("svd") >> Quantize("int8")
    told = json.loads(json.dumps([s.as_dict() for s in steps]))
    assert key_of(steps_of(told)) == key_of(steps)


def test_a_job_survives_its_way_through_json(tmp_path: Path) -> None:
    data = tmp_path / "d.npz"
    data.write_bytes(b"x")
    job = Job("m.h5", "s.tflite", Settings(data=data, limits=Limits(drop=0.01), seed=3))
    back = Job.of(json.loads(json.dumps(job.told())))
    assert back.settings == job.settings
    assert back.identity() == job.identity()
    assert replace(job, settings=replace(job.settings, limits=Limits())).identity() == job.identity()
    data.write_bytes(b"y")
    assert back.identity() != Job.of(job.told() | {"seed": 4}).identity()
    assert job.untimed.limits.timed is False


numbers = st.floats(0, 2, allow_nan=False)
maybe = st.none() | numbers


@given(
    size=st.integers(1, 2000), after=numbers, change=numbers, error=numbers, slowdown=numbers,
    limits=st.tuples(st.none() | st.integers(1, 2000), maybe, maybe, maybe, maybe),
    kind=st.sampled_from(["labels", "answers", "values"]), real=st.booleans(),
)  # fmt: skip
def test_the_distance_to_the_budget_is_nought_where_it_is_met(
    size: int, after: float, change: float, error: float, slowdown: float, limits: Any, kind: str, real: bool
) -> None:
    budget = Limits(*limits[:4], limits[4])
    accuracy = (0.9, after) if kind == "labels" else None
    disagree = None if kind == "values" else change
    found = Comparison((1000, size), 0, accuracy, "accuracy", None, disagree, error, (1e-3, slowdown * 1e-3), slowdown)
    judge, tried = Judge(budget, real), replace(row({**starts()[0]}), comparison=found)
    far = judge.violations(tried)
    if judge.meets(tried):
        assert all(v <= 1e-6 for v in far.values())
    else:
        assert any(v > 0 for v in far.values())


def test_the_best_is_the_preferred_of_those_that_meet_the_budget() -> None:
    a, b, c = (dict(x) for x in starts()[:3])
    rows = [row(a, 100, drop=0.2), row(b, 300, drop=0.01, slowdown=1.0), row(c, 400, drop=0.0, slowdown=0.5)]
    assert [best_of(rows, ANY, p) for p in ("size", "quality", "latency")] == [1, 2, 2]
    assert best_of([row(a, 100, drop=0.2), row(b, 100, drop=0.1)], ANY, "size") == 1  # the nearest
    assert best_of([refused(a), row(b, 300, slowdown=None)], ANY, "size") is None  # not timed: not judged


def test_kinds_that_are_refused_alone_are_closed() -> None:
    palette = next(c for c in starts() if c["store"] == "palette")
    both = next(c for c in starts() if len(kinds_of(c)) == 2)
    useless = row(next(c for c in starts() if c["store"] == "bfloat16"), 1000)
    assert closed([refused(palette), refused(both), useless, row(starts()[0])]) == {"palette", "bfloat16"}
    assert "palette" not in Space().without({"palette"}).stores


def test_training_is_tried_where_there_is_something_to_learn_from() -> None:
    trained = [c for c in starts() if set(kinds_of(c)) & set(TRAININGS)]
    assert [[s.as_dict()["family"] for s in recipe(c)] for c in trained] == [
        ["prune", "distill", "quantize"],
        ["quantize"],
    ]
    assert [s.as_dict()["options"].get("aware") for s in recipe(trained[1])] == [{"epochs": 3}]
    assert described(recipe(trained[1])) == "int4 gptq aware epochs 3"
    assert closed([refused(c) for c in trained]) == set(TRAININGS)
    assert closed([refused(trained[0]), row(trained[0])]) == set()
    for real in (True, False):
        sampling, rows = Sampling(Judge(Limits(), real), 5), []
        for _ in range(len(starts()) + 25):
            rows.append(row(choices := sampling.propose(rows, 1)[0], 300 + len(rows)))
            assert real or not set(kinds_of(choices)) & set(TRAININGS)
        assert any(set(kinds_of(r.choices)) & set(TRAININGS) for r in rows) == real


def test_a_trial_trains_towards_the_original(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    session = Session("", {"job": Job(str(MODEL), "small.tflite", Settings(data=DATA)).told()})
    session.original({}, folder=str(tmp_path / "original"))
    choices = next(c for c in starts() if "aware" in kinds_of(c))
    told, _ = session.trial({}, [s.as_dict() for s in recipe(choices)], str(tmp_path / "trial"))
    assert not told["refused"]
    before, after = told["comparison"]["accuracy"]
    assert after > before - 0.05
    (certificate,) = (f for f in told["files"] if f.endswith(".json"))
    assert json.loads(Path(certificate).read_text())["plans"][0]["notes"]["teacher"] == "the model before rounding"


def test_inputs_are_made_once_for_all_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def made(model: Any, seed: int = 0) -> Samples:
        asked.append(seed)
        return Samples({model.graph.inputs[0].name: np.load(DATA)["image"][:40]}, real=False)

    monkeypatch.setattr(synthetic, "made", made)
    session = Session("", {"job": Job(str(MODEL), "small.tflite", Settings(calibration=SYNTHETIC, seed=3)).told()})
    session.original({}, folder=str(tmp_path / "original"))
    for place, choices in enumerate(starts()[:2]):
        told, _ = session.trial({}, [s.as_dict() for s in recipe(choices)], str(tmp_path / str(place)))
        assert not told["refused"]
    session.close()
    assert asked == [3]


def test_inputs_made_from_the_model_are_no_real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic").touch()  # the word is no file
    job = Job("net.h5", "small.tflite", Settings(calibration=SYNTHETIC))
    assert not job.real
    again = Job.of(job.told())
    assert again.settings.calibration == SYNTHETIC
    assert not again.real
    assert Job("net.h5", "small.tflite", Settings(calibration=tmp_path / "real.npz")).real


def test_proposals_follow_from_the_trials_alone() -> None:
    """Killed and resumed, a search goes on as if it had not been; nothing is proposed twice."""

    def searched(stops: set[int]) -> list[Row]:
        rows: list[Row] = []
        sampling = Sampling(ANY, 7)
        while len(rows) < len(starts()) + 8:
            if len(rows) in stops:
                sampling = Sampling(ANY, 7)
            choices = sampling.propose(rows, 1)[0]
            number = sum(map(ord, key_of(recipe(choices))))
            rows.append(refused(choices) if number % 5 == 0 else row(choices, 100 + number % 800, number % 7 / 50))
        return rows

    once, again = searched(set()), searched({3, 17, 20})
    assert once == again
    assert len({r.words for r in once}) == len(once)


def test_mutants_stay_in_the_space_and_near_their_parents() -> None:
    parent = row(next(dict(c) for c in starts() if len(kinds_of(c)) == 2))
    kept = 0
    for seed in range(200):
        choices = _mutant([parent.choices], Space().without({"int4"}), np.random.default_rng(seed))
        steps = recipe(choices)
        assert "int4" not in kinds_of(choices)
        for step in steps:
            step.method()
        kept += len({s["family"] for s in parent.steps if s in [x.as_dict() for x in steps]})
    assert kept >= 200  # of 400 steps


def test_several_proposals_at_once_differ() -> None:
    rows = [row(c, 300 + i) for i, c in enumerate(starts())]
    made = Sampling(ANY, 1).propose(rows, 6)
    assert len({key_of(recipe(c)) for c in made} | {r.words for r in rows}) == 6 + len(rows)


def test_the_file_keeps_whole_trials_and_loses_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "s.tune"
    path.touch()
    rows = [row(dict(c), 100 + i) for i, c in enumerate(starts()[:3])]
    store = Store(path, "one")
    for each in rows:
        store.add(each)
    assert Store(path, "one").rows() == rows
    assert Store(path, "another").rows() == []
    whole = path.read_bytes()
    for cut in (1, 40, len(whole) - whole.rstrip(b"\n").rfind(b"\n") - 2):
        path.write_bytes(whole + whole.splitlines(keepends=True)[-2][:-cut])
        assert Store(path, "one").rows() == rows
    path.write_bytes(whole + whole.splitlines(keepends=True)[-2][:30])
    Store(path, "one").add(row(dict(starts()[3]), 99))
    assert len(Store(path, "one").rows()) == 4


def test_optuna_itself_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.tune"
    path.touch()
    Store(path, "one").add(row(dict(starts()[0])))
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.load_study(study_name="recast-one", storage=optuna.storages.JournalStorage(backend))
    assert study.trials[0].values == frozen(row(dict(starts()[0]))).values


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.tune"
    for text in ("hello\n", '{"a": 1}\n', "[]\n"):
        path.write_text(text)
        with pytest.raises(BadRecipe, match="no journal"):
            Store(path, "one")
        assert path.read_text() == text


def test_two_searches_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s.tune"
    path.touch()
    with held(path), pytest.raises(Busy), held(path):
        pass
    with held(path):
        pass


def test_the_front_and_the_report(tmp_path: Path) -> None:
    chosen = [dict(c) for c in starts()]
    rows = (
        row(chosen[0], 300, 0.01), row(chosen[1], 400, 0.0), row(chosen[2], 500, 0.02), refused(chosen[9]),
        row(chosen[3], 100, 0.3, None),
    )  # fmt: skip
    found = Tuned(Job("m.h5", "s.tflite", Settings(limits=ANY.limits, data=Path("d.npz"))), rows, 0, (), "the end")
    assert found.front == [0, 1]
    report = found.report()
    assert "best: #1 int8" in report.text()
    assert "#5" in report.text()
    page = report.html()
    assert page.count("<svg") == 2
    assert ">#2</text>" in page
    path = tmp_path / "r.json"
    path.write_text(report.json())
    assert Report.load(path).text() == report.text()


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"trials": 0}, {"time_s": -1.0}, {"engine": "x"}, {"prefer": "x"}])
def test_wrong_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(BadRecipe):
        Tuning(**wrong)
