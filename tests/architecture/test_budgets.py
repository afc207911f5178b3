"""Size budgets: files, functions, arguments, options. Data tables are excepted by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
MAX_FILE, MAX_FUNCTION, MAX_ARGUMENTS = 400, 60, 6
DATA_TABLES = {"schema_tables.py", "reading_cases.py"}  # nothing but facts or cases
PASTED = "support"  # functions whose text goes into generated modules: they take their operators' own arguments


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_budget(path: Path) -> None:
    text = path.read_text()
    if path.name in DATA_TABLES:
        return
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or 0) - node.lineno + 1
        assert lines <= MAX_FUNCTION, f"{node.name}: {lines} lines"
        names = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
        count = len([n for n in names if n not in ("self", "cls")])
        if "src" in path.parts and PASTED not in path.parts:
            assert count <= MAX_ARGUMENTS, f"{node.name}: {count} arguments"
