"""Horizontal bars in groups: one group a layer (or anything with a name), one bar a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from recast.report.charts import svg

_WIDTH, _LEFT, _RIGHT = 520, 150, 70
_BAR, _GAP = 10, 8


def bars(
    groups: Sequence[tuple[str, Mapping[int, float]]], names: Sequence[str], title: str, show: Callable[[float], str]
) -> str:
    """Draw it.

    Args:
        groups: name, and value by the model's place; a model without the layer has no bar.
        names: of the models.
        title: what the bars measure.
        show: a value as text.
    """
    key, height = svg.legend(names, 8, 44, _WIDTH - 16)
    top = 44 + height
    most = max((v for _, held in groups for v in held.values()), default=0) or 1
    x = svg.Scale(0, most, _LEFT, _WIDTH - _RIGHT)
    parts, at = [svg.label(8, 18, title, font_weight="600"), *key], float(top)
    for name, held in groups:
        tall = max(len(held), 1) * _BAR
        shown = svg.shortened(name, _LEFT - 20, 11)
        parts.append(svg.label(_LEFT - 8, at + tall / 2 + 4, shown, text_anchor="end", font_size=11))
        for row, (index, value) in enumerate(sorted(held.items())):
            wide = max(x(value) - _LEFT, 0.5)
            box = {"x": _LEFT, "y": at + row * _BAR, "width": wide, "height": _BAR - 1, "fill": svg.colour(index)}
            parts.append(svg.element("rect", svg.tip(f"{name}, {names[index]}: {show(value)}"), **box))
            if len(held) <= 4 or value == max(held.values()):
                parts.append(svg.label(_LEFT + wide + 4, at + row * _BAR + 8, show(value), font_size=9, fill=svg.FAINT))
        at += tall + _GAP
    parts.append(svg.line(_LEFT, top - 4, _LEFT, at, svg.FAINT))
    return svg.drawing(_WIDTH, at + 4, parts, title)
