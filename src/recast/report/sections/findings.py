"""What was changed, left out or could not be measured: never silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recast.report.blocks import Note, Section

ORDER = 90


def sections(data: Mapping[str, Any]) -> list[Section]:
    """Findings and notes."""
    found = [*data.get("findings", ()), *data.get("notes", ())]
    if not found:
        return []
    blocks = []
    for item in found:
        where = f" ({item['where']})" if item.get("where") else ""
        blocks.append(Note(f"{item['what']}{where}", "warning" if item.get("level") == "warning" else "info"))
    return [Section("Findings", blocks)]
