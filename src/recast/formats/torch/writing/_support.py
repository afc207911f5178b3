"""Functions that generated source brings along: text of ``support/*.py``, pasted where used, never executed here."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "support"


@dataclass(frozen=True)
class Part:
    """One function or class and the names it uses."""

    text: str
    uses: frozenset[str]


@cache
def parts() -> dict[str, Part]:
    """All of them by name."""
    found: dict[str, Part] = {}
    for file in sorted(_FOLDER.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        lines = text.splitlines()
        for item in ast.parse(text).body:
            if isinstance(item, ast.FunctionDef | ast.ClassDef):
                if item.name in found:
                    raise ValueError(f"two support functions are called {item.name}")
                uses = {n.id for n in ast.walk(item) if isinstance(n, ast.Name)}
                found[item.name] = Part("\n".join(lines[item.lineno - 1 : item.end_lineno]), frozenset(uses))
    return found


def closure(names: Iterable[str]) -> list[str]:
    """The texts of ``names`` and of all that they use, in a fixed order."""
    wanted: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo.extend(u for u in parts()[name].uses if u in parts())
    return [part.text for name, part in parts().items() if name in wanted]
