"""One report: measured data, and three renderings made from nothing but them: text, JSON, HTML.

``sections/`` holds one module a part of the report, found by folder: ``ORDER`` and ``sections(data) -> list[Section]``
(empty where the data have no such part).
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from recast.errors import BadModel
from recast.report.blocks import Note, Section, Table


@dataclass(frozen=True)
class Report:
    """What was measured. ``data`` is JSON-ready: of an evaluation, or a certificate (``OUT.recast.json``)."""

    data: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a report or certificate back.

        Raises:
            BadModel: it is not there, no JSON, or nothing that a report is made of.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadModel("there is no such file", str(path), "give a .recast.json file") from error
        except (ValueError, RecursionError) as error:
            raise BadModel(f"the file is no JSON: {str(error)[:200]}", str(path), "give a .recast.json file") from error
        report = cls(data if isinstance(data, dict) else {})
        try:
            found = report.sections()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise BadModel(
                f"the report is damaged: {type(error).__name__}: {str(error)[:200]}", str(path), "make it again"
            ) from error
        if not found:
            raise BadModel("nothing to report is in this file", str(path), "give a .recast.json file")
        return report

    def sections(self) -> list[Section]:
        """The parts, in their order."""
        return [section for module in _modules() for section in module.sections(self.data)]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(self.data)

    def json(self) -> str:
        """The data as JSON text."""
        return json.dumps(self.data, indent=1, ensure_ascii=False) + "\n"

    def text(self) -> str:
        """Tables and notes for a terminal."""
        lines: list[str] = []
        for section in self.sections():
            shown = [b for b in section.blocks if isinstance(b, Note | Table)]
            if not shown:
                continue
            lines += ["", section.title, "─" * len(section.title)]
            for block in shown:
                lines += _table(block) if isinstance(block, Table) else [f"{_MARKS[block.level]}{block.text}"]
        return "\n".join(lines).strip("\n") + "\n"

    def html(self) -> str:
        """One self-contained page with pictures; it loads nothing from anywhere."""
        from recast.report.html import page

        return page(self)


_MARKS = {"info": "", "warning": "note: "}


@cache
def _modules() -> list[ModuleType]:
    from recast.report import sections

    found = [importlib.import_module(f"{sections.__name__}.{m.name}") for m in pkgutil.iter_modules(sections.__path__)]
    return sorted((m for m in found if hasattr(m, "sections")), key=lambda m: m.ORDER)


def _table(table: Table) -> list[str]:
    rows = [list(table.columns), *[list(r) for r in table.rows]]
    widths = [max(len(r[i]) for r in rows) for i in range(len(table.columns))]
    made = []
    for row in rows:
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        made.append("  ".join(cells).rstrip())
    return [*([table.caption] if table.caption else []), *made, ""]
