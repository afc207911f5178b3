"""ONNX's node tests through one writer and its reader: what passed passes, what is refused is declared."""

from __future__ import annotations

import pytest

from recast import formats
from recast._util.optional import have

from . import node_table
from .node_cases import READ_BACK, cases, run


def rows(target: str) -> list[tuple[str, str]]:
    """(form, case) of every table of a target."""
    return [(form, name) for t, form in node_table.tables() if t == target for name in cases()]


def check(target: str, form: str, name: str) -> None:
    """One case is as its table says, and some of them are again when the file is read back."""
    runtime = formats.by_name(target).judge[0]
    if not have(runtime.partition(".")[0]):
        pytest.skip(f"{runtime} is not installed")
    back = target in READ_BACK and name in node_table.sampled()
    expected = ("pass", back)
    if name in node_table.load(target, form):
        expected = ("refused", False)
    elif back and name in node_table.load(target, node_table.BACK):
        expected = ("refused", True)
    found = run(cases()[name], target, form, back)
    assert (found.status, found.back) == expected, found.told
