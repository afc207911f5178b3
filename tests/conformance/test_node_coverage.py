"""The page of operator coverage, its tables, and the judge of the node tests (``test_node_<target>.py`` run them)."""

from __future__ import annotations

import numpy as np
import pytest

from . import node_table
from .node_cases import cases, compare

KNOWN = {key: node_table.load(*key) for key in node_table.tables()}


def test_every_table_is_run() -> None:
    """A table without a file of tests would hold nobody to it."""
    here = node_table.FOLDER.parent
    assert all((here / f"test_node_{target}.py").exists() for target, _ in node_table.tables())


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
