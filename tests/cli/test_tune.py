"""``recast tune`` as a user calls it: options, exit codes, a small search with a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from recast.cli.commands.tune import seconds_of
from recast.demo import MODEL
from recast.errors import BadRecipe
from recast.tuning.store import held
from tests.cli.test_app import run

DATA = MODEL.with_name("digits.npz")


def test_times() -> None:
    assert [seconds_of(t) for t in ("", "90", "90s", "10m", "1.5h")] == [None, 90, 90, 600, 5400]
    for bad in ("x", "10d", "-5s", "0", "m", "infs", "nan"):
        with pytest.raises(BadRecipe):
            seconds_of(bad)


def test_exit_codes(tmp_path: Path) -> None:
    target = tmp_path / "s.tflite"
    source = str(MODEL)
    assert run("tune", source, str(target), "--time", "soon").returncode == 2
    assert run("tune", source, str(target), "--budget", "size<1%").returncode == 2
    assert run("tune", source, str(tmp_path / "no" / "s.tflite")).returncode == 5
    target.write_text("mine")
    done = run("tune", source, str(target), "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (5, "E303")
    assert target.read_text() == "mine"
    target.unlink()
    storage = tmp_path / "s.tflite.tune"
    with held(storage):
        done = run("tune", source, str(target))
    assert (done.returncode, done.stdout) == (4, "")
    assert "another search" in done.stderr
    done = run("tune", str(tmp_path / "none.h5"), str(target))
    assert done.returncode == 3, done.stderr


def test_a_small_search_with_a_page(tmp_path: Path) -> None:
    target, page = tmp_path / "s.onnx", tmp_path / "r.html"
    budget = "drop<5%, size<30KB, slower<100x"
    done = run(
        "tune", str(MODEL), str(target), "--data", str(DATA), "--trials", "3", "--budget", budget, "--html", str(page)
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert re.search(r"best: #\d .*s\.onnx, s\.onnx\.recast\.json", done.stdout)
    assert target.stat().st_size < 30_000
    text = page.read_text()
    assert "Pareto front" in text
    assert "<script" not in text
    assert text.count("<svg") == 2
    assert run("report", str(tmp_path / "s.onnx.recast.json")).returncode == 0
