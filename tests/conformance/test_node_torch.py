"""ONNX's node tests through the PyTorch writer (see ``node_suite``)."""

from __future__ import annotations

import pytest

from .node_suite import check, rows

ROWS = rows("torch")


@pytest.mark.parametrize(("form", "name"), ROWS, ids=[f"{f}-{n}" for f, n in ROWS])
def test_node(form: str, name: str) -> None:
    check("torch", form, name)
