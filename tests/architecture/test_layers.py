"""Rooms import downward only; formats do not know each other; no framework at module level."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "recast"
ORDER = [
    {"errors"}, {"_util"}, {"graph"}, {"ops"}, {"passes"}, {"formats", "measure"}, {"compression"},
    {"verification", "report"}, {"recipe"}, {"prove"}, {"pipeline"}, {"routes", "compressing", "evaluating"},
    {"tuning"}, {"demo"}, {"cli", "web", "__main__"},
]  # fmt: skip
FRAMEWORKS = {"torch", "tensorflow", "keras", "mindspore", "openvino", "ai_edge_litert", "onnxruntime", "sklearn"}
FILES = sorted(SRC.rglob("*.py"))


def rank(room: str) -> int:
    return next(i for i, rooms in enumerate(ORDER) if room in rooms)


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "recast")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_go_downward(path: Path) -> None:
    parts = path.relative_to(SRC).with_suffix("").parts
    if parts == ("__init__",):
        return
    here = parts[0]
    for name in imports(ast.parse(path.read_text())):
        pieces = name.split(".")
        if pieces[0] != "recast" or len(pieces) < 2 or pieces[1].startswith("__"):
            continue
        assert rank(pieces[1]) <= rank(here), f"{name} is above {here}"
        if here == "formats" and pieces[1] == "formats" and len(parts) > 2 and len(pieces) > 2:
            assert pieces[2] in (parts[1], "_format"), f"a format imports another: {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_no_framework_at_module_level(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        for name in imports(node) if isinstance(node, ast.Import | ast.ImportFrom) else ():
            assert name.split(".")[0] not in FRAMEWORKS, f"{name} is imported at the top of {path.name}"
