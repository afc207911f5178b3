"""The page of operator coverage, its tables, and the judge of the node tests (``test_node_<target>.py`` run them)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recast import formats
from recast._util.optional import have
from recast.graph.build import Builder

from . import node_table
from .node_cases import READ_BACK, Result, cases, compare, run

KNOWN = {key: node_table.load(*key) for key in node_table.tables()}


def test_every_table_is_run() -> None:
    """A table without a file of tests would hold nobody to it."""
    here = node_table.FOLDER.parent
    assert all((here / f"test_node_{target}.py").exists() for target, _ in node_table.tables())


def test_the_page_is_what_the_tables_say() -> None:
    assert node_table.DOCUMENT.read_text(encoding="utf-8") == node_table.render()


def test_every_refusal_has_a_reason_and_a_case() -> None:
    back = {(t, node_table.BACK): node_table.load(t, node_table.BACK) for t in READ_BACK}
    for key, refused in (KNOWN | back).items():
        for name, reason in refused.items():
            assert name in cases(), (key, name)
            assert reason.startswith("E"), (key, name)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (np.array([1.0, 2.0], np.float32), "pass"),
        (np.array([1.0, 2.003], np.float32), "wrong"),
        (np.array([1.0, 2.0]), "wrong"),
        (np.array([[1.0, 2.0]], np.float32), "wrong"),
    ],
)
def test_the_judge_can_fail(found: np.ndarray, status: str) -> None:
    assert compare((np.array([1.0, 2.0], np.float32),), (found,)).status == status


def test_integers_are_compared_exactly() -> None:
    wanted = np.array([3, 2**40])
    assert compare((wanted,), (wanted + [0, 1],)).status == "wrong"
    assert compare((wanted[:1],), (wanted[:1].astype(np.int32),)).status == "pass"


@pytest.mark.parametrize(
    ("target", "case"), [("keras", "exp"), ("tflite", "cos"), ("mindspore", "sin")], ids=lambda v: v
)
def test_a_reader_that_is_wrong_is_found_out(target: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file, read by a reader that takes every function for the sine or cosine it is not."""
    if not have(formats.by_name(target).judge[0].partition(".")[0]):
        pytest.skip(f"no runtime for {target}")
    plain = Builder.op

    def mistaken(self: Builder, op_type: str, *args: Any, **more: Any) -> Any:
        return plain(self, {"Exp": "Sin", "Cos": "Sin", "Sin": "Cos"}.get(op_type, op_type), *args, **more)

    assert run(cases()[case], target, "constant", back=True) == Result("pass", "", True)
    monkeypatch.setattr(Builder, "op", mistaken)
    found = run(cases()[case], target, "constant", back=True)
    assert (found.status, found.back) == ("wrong", True), found


def test_the_suite_reads_every_operator_back() -> None:
    operators = {o for case in cases().values() for o in case.operators}
    assert operators == {o for name in node_table.sampled() for o in cases()[name].operators}
    assert len(node_table.sampled()) < len(cases()) / 2
