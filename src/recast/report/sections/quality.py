"""What changed in the answers: paired differences, output error, classes that lost most, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recast.report import units
from recast.report.blocks import Block, Figure, Note, Section, Table
from recast.report.charts.heatmap import heatmap

ORDER = 20
_MOST_CLASSES = 40
_NOTE = (
    "Difference: metric minus the original's on the same samples (percentage points; AUC as it is), paired bootstrap "
    "interval. p: McNemar's exact test; a large p means that chance explains the difference. Output error: RMS of the "
    "difference over the RMS of the original's outputs."
)


def sections(data: Mapping[str, Any]) -> list[Section]:
    """The comparison with the original."""
    models = data.get("models") or []
    if len(models) < 2:
        return []
    blocks: list[Block] = [_table(data), Note(_NOTE), *_confusions(data)]
    return [Section("Against the original", blocks)]


def _table(data: Mapping[str, Any]) -> Table:
    metric = data["data"]["metric"]
    columns = ["model", "difference", "p", "agreement", "worst class", "output error", "cosine", "largest"]
    rows = []
    for model in data["models"][1:]:
        versus = model["versus"]
        worst = versus["worst_class"]
        name = _classes(data, worst[0] + 1)[worst[0]] if worst else ""
        rows.append(
            [
                model["name"],
                units.interval(metric, versus["difference"], signed=True),
                units.precise(versus["mcnemar_p"]),
                units.interval("agreement", versus["agreement"]),
                f"{name}: {units.points(worst[1])}" if worst else units.MISSING,
                units.precise(versus["relative_rms"]),
                f"{versus['cosine']:.5f}",
                units.precise(versus["largest"]),
            ]
        )
    return Table(columns, rows)


def _classes(data: Mapping[str, Any], count: int) -> list[str]:
    names = list(data["data"]["classes"])
    return names if len(names) >= count else [str(i) for i in range(count)]


def _confusions(data: Mapping[str, Any]) -> list[Block]:
    first = data["models"][0]["confusion"]
    found: list[Block] = []
    for model in data["models"][1:]:
        counts = model["confusion"]
        if not first or not counts or len(counts) > _MOST_CLASSES or len(counts) != len(first):
            continue
        changes = _minus(counts, first)
        if not any(any(row) for row in changes):
            found.append(Note(f"{model['name']}: the same confusion matrix as the original."))
            continue
        names = _classes(data, len(counts))
        caption = f"{model['name']}: change of the confusion matrix; the diagonal holds right answers"
        found.append(Figure(heatmap(changes, names, model["name"]), caption))
    return found


def _minus(a: Sequence[Sequence[int]], b: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[x - y for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]
