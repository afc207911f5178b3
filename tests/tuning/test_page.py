"""The page of a search in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("optuna")

from recast.report.document import Report
from recast.tuning.job import Job
from recast.tuning.outcome import Tuned
from recast.tuning.search import Settings
from recast.tuning.space import starts
from tests.report.test_browser import browser, rendered
from tests.tuning.test_parts import ANY, refused, row

__all__ = ["browser"]  # the fixture


def found() -> Report:
    chosen = [dict(c) for c in starts()]
    rows = (row(chosen[0], 300, 0.01), row(chosen[1], 400), row(chosen[3], 100, 0.3, None), refused(chosen[9]))
    evil = Settings(limits=ANY.limits, data=Path("<script>.npz"))
    return Tuned(Job("m.h5", "<b>.tflite", evil), rows, 0, (Path("<b>.tflite"),), "the end").report()


def test_the_browser_shows_the_search(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    page.write_text(found().html(), encoding="utf-8")
    dom = rendered(browser, page.as_uri(), tmp_path / "profile")
    assert dom.count("<svg") == 2
    assert "#1 ★ int8 gptq auto bits 8" in dom
    assert "[E301] no" in dom
    assert "<script" not in dom
    assert "<b>" not in dom
