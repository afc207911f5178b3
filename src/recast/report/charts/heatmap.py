"""A square of changes: blue where a count grew, orange where it shrank, nothing where it stayed."""

from __future__ import annotations

from collections.abc import Sequence

from recast.report.charts import svg

_SIDE, _LEFT, _TOP = 300, 70, 52
_MORE, _LESS = "#0072B2", "#D55E00"


def heatmap(changes: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> str:
    """Rows are true classes, columns answers; the number in a cell is the change of its count."""
    count = len(changes)
    cell = _SIDE / count
    most = max((abs(v) for row in changes for v in row), default=0) or 1
    parts = [svg.label(8, 16, title, font_weight="600")]
    parts.append(svg.label(_LEFT + _SIDE / 2, 34, "answer", text_anchor="middle", font_size=11, fill=svg.FAINT))
    every = max(1, -(-count // 20))
    for index, name in enumerate(classes):
        middle = (index + 0.5) * cell
        if index % every == 0:
            shown = svg.shortened(name, 52, 10)
            parts.append(svg.label(_LEFT - 6, _TOP + middle + 3, shown, text_anchor="end", font_size=10))
            narrow = svg.shortened(name, max(cell * every - 2, 14), 10)
            parts.append(svg.label(_LEFT + middle, _TOP - 5, narrow, text_anchor="middle", font_size=10))
    for row, held in enumerate(changes):
        for column, value in enumerate(held):
            at, up = _LEFT + column * cell, _TOP + row * cell
            box = {"x": at, "y": up, "width": cell, "height": cell, "stroke": svg.GRID, "stroke_width": 0.5}
            told = svg.tip(f"true {classes[row]}, answer {classes[column]}: {value:+d}")
            strong = 0.15 + 0.75 * abs(value) / most if value else 0
            paint = {"fill": _MORE if value > 0 else _LESS, "fill_opacity": strong}
            parts.append(svg.element("rect", told, **box, **paint))
            if value and cell >= 16:
                ink = "#fff" if strong > 0.6 else svg.INK
                text = f"{value:+d}".replace("-", "−")
                place = {"text_anchor": "middle", "font_size": min(11, cell * 0.42), "fill": ink}
                parts.append(svg.label(at + cell / 2, up + cell / 2 + 4, text, **place))
    for index in range(count):  # the diagonal: right answers
        place = {"x": _LEFT + index * cell, "y": _TOP + index * cell, "width": cell, "height": cell}
        parts.append(svg.element("rect", **place, fill="none", stroke=svg.FAINT, stroke_width=1.2))
    return svg.drawing(_LEFT + _SIDE + 14, _TOP + _SIDE + 10, parts, title)
