"""Whether the models look at the same places as the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recast.report import units
from recast.report.blocks import Block, Figure, Note, Section, Table
from recast.report.charts import pixels

ORDER = 60
_TITLES = {"saliency": "saliency", "integrated_gradients": "integrated gradients"}


def sections(data: Mapping[str, Any]) -> list[Section]:
    """Rank correlation and overlap by method, and maps as pictures."""
    found = data.get("attribution")
    if not found:
        return []
    top = units.share(found["top"])
    about = (
        f"{found['samples']} samples; maps explain the original's answer, for every model. Rank correlation: Spearman "
        f"over all places. Overlap: share of the {top} strongest places in common (chance gives {top}). Brackets: "
        "bootstrap over samples. Quantised models: through their rounding with straight-through gradients, an "
        "approximation. Completeness gap: median difference between the sum of an integrated-gradients map and the "
        "change of the score; large where rounding makes the score jump."
    )
    blocks: list[Block] = [_table(found), Note(about), *[Note(t, "warning") for t in found["notes"]]]
    if found["pictures"]:
        blocks.append(_sheet(found))
    return [Section("Attribution", blocks)]


def _table(found: Mapping[str, Any]) -> Table:
    rows = []
    for model in found["models"]:
        for name, held in (model["methods"] or {}).items():
            rank = held["spearman"]
            shown = f"{rank['value']:.3f} ({rank['low']:.3f} … {rank['high']:.3f})" if rank else units.MISSING
            overlap = units.interval("overlap", held["overlap"])
            rows.append([model["name"], _TITLES[name], shown, overlap, units.precise(held["completeness"])])
    return Table(["model", "method", "rank correlation", "overlap of the top", "completeness gap"], rows)


def _sheet(found: Mapping[str, Any]) -> Figure:
    names = ["image", *(m["name"] for m in found["models"])]
    rows = []
    for picture in found["pictures"]:
        row = [pixels.png(picture["image"])]
        for strengths in picture["maps"]:
            row.append(pixels.png(pixels.shaded(strengths)) if strengths else pixels.png([[(128, 128, 128)]]))
        rows.append(row)
    caption = "strength of integrated gradients, each map on its own scale: dark is nothing, yellow its largest"
    return Figure(pixels.sheet(names, rows, [""] * len(rows), "Where the models look"), caption, wide=True)
