"""ONNX's node tests through every writer: what passed passes, what is refused is declared, nothing is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from recast import formats
from recast._util.optional import have

from . import node_table
from .node_cases import cases, compare, run

ROWS = [(t, f, n) for t, f in node_table.tables() for n in cases()]
KNOWN = {key: node_table.load(*key) for key in node_table.tables()}


@pytest.mark.parametrize(("target", "form", "name"), ROWS, ids=[f"{t}-{f}-{n}" for t, f, n in ROWS])
def test_node(target: str, form: str, name: str) -> None:
    runtime = formats.by_name(target).judge[0]
    if not have(runtime.partition(".")[0]):
        pytest.skip(f"{runtime} is not installed")
    found = run(cases()[name], target, form)
    expected = "refused" if name in KNOWN[target, form] else "pass"
    assert found.status == expected, found.told


def test_the_page_is_what_the_tables_say() -> None:
    assert node_table.DOCUMENT.read_text(encoding="utf-8") == node_table.render()


def test_every_refusal_has_a_reason_and_a_case() -> None:
    for key, refused in KNOWN.items():
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
