"""The trade-off: one point a model, the Pareto front joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recast.report.charts import svg

_WIDTH, _HEIGHT = 520, 340
_HALO = "paint-order:stroke;stroke:var(--card,#fff);stroke-width:4px"  # keeps names readable over lines
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 34, 56


@dataclass(frozen=True)
class Point:
    """A model: its cost (less is better), how good it is (more is better) with its interval, and its name.

    One without a name is a small grey dot.
    """

    name: str
    cost: float
    good: float
    low: float
    high: float
    tip: str = ""


def front(points: Sequence[Point]) -> list[int]:
    """Places of the points that no other beats in both, by cost."""
    order = sorted(range(len(points)), key=lambda i: (points[i].cost, -points[i].good))
    found: list[int] = []
    for index in order:
        if not found or points[index].good > points[found[-1]].good:
            found.append(index)
    return found


def scatter(
    points: Sequence[Point], names: tuple[str, str], x_text: Callable[[float], str], y_text: Callable[[float], str]
) -> str:
    """Draw it. ``names`` are the titles of the axes."""
    x = svg.fitted([p.cost for p in points], _LEFT, _WIDTH - _RIGHT)
    y = svg.fitted([v for p in points for v in (p.low, p.high)], _HEIGHT - _BOTTOM, _TOP, log=False, room=0.08)
    parts = svg.Plot(x, y, *names).axes(x_text, y_text)
    best = front(points)
    for a, b in zip(best, best[1:], strict=False):  # a step: what is reached at each cost
        path = f"M{x(points[a].cost):.1f},{y(points[a].good):.1f}H{x(points[b].cost):.1f}V{y(points[b].good):.1f}"
        parts.append(svg.element("path", d=path, fill="none", stroke=svg.FAINT, stroke_dasharray="4 3", class_="front"))
    taken: list[tuple[float, float, float, float]] = [(x(p.cost) - 8, y(p.good) - 8, 16, 16) for p in points]
    for index, point in enumerate(points):
        at, up, paint = x(point.cost), y(point.good), _paint(points, index)
        if not point.name and index not in best:
            parts.append(svg.element("circle", svg.tip(point.tip), cx=at, cy=up, r=3, fill=svg.FAINT, opacity=0.6))
            continue
        parts.append(svg.line(at, y(point.low), at, y(point.high), paint, stroke_width=1.5, opacity=0.45))
        for end in (point.low, point.high):
            parts.append(svg.line(at - 4, y(end), at + 4, y(end), paint, stroke_width=1.5, opacity=0.45))
        ring = svg.element("circle", cx=at, cy=up, r=9, fill="none", stroke=paint, stroke_width=1.5)
        parts.append(ring if index in best else "")
        parts.append(svg.element("circle", svg.tip(point.tip or point.name), cx=at, cy=up, r=5.5, fill=paint))
    for index, point in enumerate(points):
        if point.name:
            parts.append(_name(point, x(point.cost), y(point.good), _paint(points, index), taken))
    return svg.drawing(_WIDTH, _HEIGHT, parts, f"{names[1]} against {names[0]}")


def _paint(points: Sequence[Point], index: int) -> str:
    """The colour of a point: its place among those with a name."""
    return svg.colour(sum(bool(p.name) for p in points[:index])) if points[index].name else svg.FAINT


def _name(point: Point, at: float, up: float, paint: str, taken: list[tuple[float, float, float, float]]) -> str:
    """The point's name beside it, where nothing else is."""
    shown = svg.shortened(point.name, 170, 11)
    width = svg.text_width(shown, 11.6)  # bold
    places = [(dx, dy) for dy in (4, -13, 21, -29, 37, -45, 53) for dx in (13, -13 - width)]
    best, least = places[0], float("inf")
    for dx, dy in places:
        box = (at + dx, up + dy - 10, width, 13)
        outside = max(0.0, _LEFT - box[0]) + max(0.0, box[0] + width - (_WIDTH - 4)) + max(0.0, _TOP - 4 - box[1])
        cost = outside * 20 + sum(_overlap(box, other) for other in taken)
        if cost < least:
            best, least = (dx, dy), cost
    taken.append((at + best[0], up + best[1] - 10, width, 13))
    place, anchor = (at + 13, "start") if best[0] > 0 else (at - 13, "end")
    return svg.label(
        place, up + best[1], shown, font_size=11, fill=paint, font_weight="600", text_anchor=anchor, style=_HALO
    )


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    tall = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, tall)
