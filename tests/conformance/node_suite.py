"""ONNX's node tests through one writer: what passed passes, what is refused is declared, nothing is wrong."""

from __future__ import annotations

import pytest

from recast import formats
from recast._util.optional import have

from . import node_table
from .node_cases import cases, run


def rows(target: str) -> list[tuple[str, str]]:
    """(form, case) of every table of a target."""
    return [(form, name) for t, form in node_table.tables() if t == target for name in cases()]


def check(target: str, form: str, name: str) -> None:
    """One case is as its table says."""
    runtime = formats.by_name(target).judge[0]
    if not have(runtime.partition(".")[0]):
        pytest.skip(f"{runtime} is not installed")
    found = run(cases()[name], target, form)
    expected = "refused" if name in node_table.load(target, form) else "pass"
    assert found.status == expected, found.told
