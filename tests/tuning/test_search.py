"""Whole searches: what is delivered, interrupted at any moment, resumed; the last ones with a real model."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")

from recast import formats
from recast._util.optional import have
from recast.compression.gate import Limits
from recast.demo import MODEL
from recast.errors import BadRecipe, Busy, OutputExists
from recast.tuning import search
from recast.tuning.search import Search, Settings, Tuning
from recast.tuning.store import held
from tests.tuning import fake

ROOT = Path(__file__).resolve().parents[2]
DATA = MODEL.with_name("digits.npz")


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "ENGINES", dict(search.ENGINES))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stored(storage: Path) -> list[dict[str, Any]]:
    """The trials in a file, read without our own code; a torn last line does not count."""
    lines = storage.read_bytes().split(b"\n")[:-1] if storage.exists() else []
    return [told["user_attrs"]["row"] for line in lines if (told := json.loads(line)).get("user_attrs")]


def test_the_smallest_within_the_budget_is_delivered(tmp_path: Path) -> None:
    target = tmp_path / "s.tflite"
    found = fake.run(target)
    sizes = [r.size for r in found.rows if r.comparison]
    assert found.passed
    assert found.rows[found.best or 0].size == min(sizes)
    assert digest(target) == found.rows[found.best or 0].digest
    certificate = json.loads((tmp_path / "s.tflite.recast.json").read_text())
    assert certificate["outcome"] == "accepted"
    assert certificate["comparison"]["slowdown"] == 1.0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.tflite", "s.tflite.recast.json", "s.tflite.tune"]


def test_a_search_that_is_done_is_not_made_again(tmp_path: Path) -> None:
    first = fake.run(tmp_path / "s.tflite")
    again = fake.run(tmp_path / "s.tflite")
    assert again.rows == first.rows
    assert again.files == first.files
    more = fake.run(tmp_path / "s.tflite", trials=fake.TRIALS + 4)
    assert more.rows[: fake.TRIALS] == first.rows
    assert len(more.rows) == fake.TRIALS + 4


def test_a_result_that_was_lost_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "s.tflite"
    first = fake.run(target)
    target.unlink()
    again = fake.run(target, trials=3)  # fewer than there are: none is made but the lost one
    assert digest(target) == first.rows[first.best or 0].digest
    assert {r.words for r in again.rows} == {r.words for r in first.rows}


def test_without_a_result_in_the_budget_the_nearest_is_left_unverified(tmp_path: Path) -> None:
    search.ENGINES["local"] = fake.Fake
    target = tmp_path / "s.tflite"
    strict = Tuning(Settings(limits=Limits(size_bytes=1)), trials=6)
    found = search.tune("no-model.h5", target, strict)
    assert not found.passed
    assert not target.exists()
    left = tmp_path / "s.tflite.unverified"
    assert digest(left) == found.rows[found.best or 0].digest
    assert found.rows[found.best or 0].size == min(r.size for r in found.rows if r.comparison)
    better = fake.run(target)  # another budget: what was measured is judged anew, what was not timed is made again
    assert better.passed
    assert not left.exists()
    assert digest(target) == better.rows[better.best or 0].digest


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "s.tflite"
    target.write_text("mine")
    with pytest.raises(OutputExists):
        fake.run(target)
    assert target.read_text() == "mine"


def test_one_search_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "s.tflite.tune").touch()
    with held(tmp_path / "s.tflite.tune"), pytest.raises(Busy):
        fake.run(tmp_path / "s.tflite")


def test_weights_are_no_target(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="weights only"):
        Search("m.h5", tmp_path / "s.safetensors", Tuning())


@pytest.mark.parametrize("name", ["s.tflite", "companion.onnx"])
def test_killed_at_each_renaming_the_target_is_whole_and_the_search_goes_on(tmp_path: Path, name: str) -> None:
    """The main file comes last; an old one never stands beside a new companion."""
    target, storage = tmp_path / name, tmp_path / f"{name}.tune"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    before: list[str] = []
    for count in (1, 2, 3, 2, 4, 5, 0):
        command = [sys.executable, "-m", "tests.tuning.fake", str(target), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.returncode == (9 if count and done.returncode else 0), done.stderr
        rows = stored(storage)
        assert [r["digest"] for r in rows][: len(before)] == before
        before = [r["digest"] for r in rows]
        if target.exists():
            assert digest(target) in before
            if "companion" in name:
                assert digest(tmp_path / "companion.bin") == digest(target)
    good = [r for r in rows if r["comparison"]]
    best = min(good, key=lambda r: r["comparison"]["size_bytes"][1])
    assert digest(target) == best["digest"]
    certificate = json.loads((tmp_path / f"{name}.recast.json").read_text())
    assert certificate["outputs"][0]["sha256"] == best["digest"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    whole = fake.run(tmp_path / "once.onnx" if "companion" not in name else tmp_path / "companion2.onnx")
    assert {r["words"] for r in rows} == {r.words for r in whole.rows}


def command(target: Path, *more: str) -> list[str]:
    budget = "drop<10%, slower<50x"
    return [
        sys.executable, "-m", "recast", "tune", str(MODEL), str(target), "--data", str(DATA), "--budget", budget,
        "--json", *more,
    ]  # fmt: skip


def loads(target: Path) -> None:
    """LiteRT runs the file, and it is one that the search has recorded."""
    runner = formats.of_file(target).open(target)
    try:
        feeds = {s.name: np.zeros([d if isinstance(d, int) else 3 for d in s.shape], s.dtype) for s in runner.inputs}
        assert all(np.isfinite(v).all() for v in runner.run(feeds).values())
    finally:
        runner.close()


def test_killed_at_any_moment_a_real_search_leaves_a_good_file(tmp_path: Path, rng: np.random.Generator) -> None:
    """SIGINT, SIGTERM and SIGKILL, each some time after a trial was recorded; then to the end."""
    target, storage = tmp_path / "s.tflite", tmp_path / "s.tflite.tune"
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        before = len(stored(storage))
        process = subprocess.Popen(command(target, "--trials", "60"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(stored(storage)) == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0, 1.5)))
        process.send_signal(number)
        out, told = process.communicate(timeout=120)
        assert process.returncode == codes[number], told.decode()
        rows = stored(storage)
        assert len(rows) > before
        if number != signal.SIGKILL:  # what was found is shown
            assert len(json.loads(out)["trials"]) == len(rows)
        assert target.exists()
        assert digest(target) in [r["digest"] for r in rows]
        loads(target)
    count = len(rows) + 1
    done = subprocess.run(command(target, "--trials", str(count)), capture_output=True, check=True)
    shown = json.loads(done.stdout)
    assert len(shown["trials"]) == count
    assert shown["passed"]
    assert digest(target) == stored(storage)[shown["best"]]["digest"]
    certificate = json.loads((tmp_path / "s.tflite.recast.json").read_text())
    assert certificate["outputs"][0]["sha256"] == digest(target)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_the_time_is_kept_and_a_budget_that_is_missed_is_6(tmp_path: Path) -> None:
    start = time.monotonic()
    done = subprocess.run(command(tmp_path / "s.tflite", "--time", "0.5s"), capture_output=True)
    assert done.returncode == 6
    assert json.loads(done.stdout)["trials"] == []
    assert time.monotonic() - start < 60
    assert not (tmp_path / "s.tflite").exists()


@pytest.mark.skipif(not have("ray"), reason="Ray is not installed (extra 'ray')")
def test_a_ray_cluster_gives_what_this_machine_gives(tmp_path: Path) -> None:
    for engine in ("local", "ray"):
        extra = ["--engine", engine, "--trials", "2", "--jobs", "2"]
        subprocess.run(command(tmp_path / f"{engine}.tflite", *extra), check=True, capture_output=True)
    rows = [stored(tmp_path / f"{engine}.tflite.tune") for engine in ("local", "ray")]
    assert [r["words"] for r in rows[0]] == [r["words"] for r in rows[1]]
    assert [r["digest"] for r in rows[0]] == [r["digest"] for r in rows[1]]
    assert digest(tmp_path / "local.tflite") == digest(tmp_path / "ray.tflite")
