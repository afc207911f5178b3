"""Curves over a common axis, one a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recast.report.charts import svg

_WIDTH, _HEIGHT = 520, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 34, 54


@dataclass(frozen=True)
class Curve:
    """Points of one model; ``dashed`` tells two kinds apart."""

    model: int
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def curves(
    found: Sequence[Curve], names: Sequence[str], titles: tuple[str, str], texts: tuple[Callable[[float], str], ...]
) -> str:
    """Draw them; the vertical axis goes from 0 to 1. ``texts`` show a number of each axis."""
    key, height = svg.legend(names, 8, _HEIGHT + 8, _WIDTH - 16)
    values = [p for c in found for p, _ in c.points]
    x = svg.Scale(min(values), max(values), _LEFT, _WIDTH - _RIGHT)
    y = svg.Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = svg.Plot(x, y, *titles).axes(texts[0], texts[1])
    for curve in found:
        path = "L".join(f"{x(a):.1f},{y(b):.1f}" for a, b in curve.points)
        paint = svg.colour(curve.model)
        dash = "5 4" if curve.dashed else None
        parts.append(
            svg.element("path", d=f"M{path}", fill="none", stroke=paint, stroke_width=2, stroke_dasharray=dash)
        )
        for a, b in curve.points:
            told = svg.tip(f"{names[curve.model]}: {texts[1](b)} at {texts[0](a)}")
            parts.append(svg.element("circle", told, cx=x(a), cy=y(b), r=3, fill=paint))
    return svg.drawing(_WIDTH, _HEIGHT + height, [*parts, *key], f"{titles[1]} against {titles[0]}")
