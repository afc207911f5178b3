"""SVG text: elements, axes with round numbers, colours that colour-blind people can tell apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

# Okabe and Ito 2008, without the yellow that white paper swallows
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#5B5B5B", "#8C510A")
INK, FAINT, GRID = "var(--ink, #1f2328)", "var(--faint, #6b7280)", "var(--grid, #e5e7eb)"
_WIDE = {"m", "w", "M", "W", "@", "%"}
_NARROW = set("ijl.,:;|'!()[] ")


def colour(index: int) -> str:
    """The colour of a model by its place."""
    return COLOURS[index % len(COLOURS)]


def element(tag: str, content: str = "", /, **attributes: Any) -> str:
    """One element; ``_`` in attribute names stands for ``-``, and a trailing one is dropped."""
    given = "".join(
        f' {k.rstrip("_").replace("_", "-")}="{escape(_number(v))}"' for k, v in attributes.items() if v is not None
    )
    return f"<{tag}{given}>{content}</{tag}>" if content else f"<{tag}{given}/>"


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def label(x: float, y: float, words: str, /, **attributes: Any) -> str:
    """Text; it may come from a file, so it is escaped."""
    return element("text", escape(words) or " ", x=x, y=y, **{"fill": INK, "font_size": 12, **attributes})


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = GRID, **attributes: Any) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, **attributes)


def tip(words: str) -> str:
    """What a browser shows under the pointer."""
    return element("title", escape(words))


def drawing(width: float, height: float, parts: Iterable[str], title: str) -> str:
    """The whole picture; it shrinks with the page."""
    body = tip(title) + "".join(parts)
    return element(
        "svg", body, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {height:g}", role="img",
        width=f"{width:g}", height=f"{height:g}", style="max-width:100%;height:auto",
    )  # fmt: skip


def text_width(words: str, size: float = 12) -> float:
    """About how wide a text is, without knowing the font."""
    units = sum(0.85 if c in _WIDE else 0.3 if c in _NARROW else 0.56 for c in words)
    return units * size


def shortened(words: str, width: float, size: float = 12) -> str:
    """The text, cut in the middle if it is too wide."""
    if text_width(words, size) <= width:
        return words
    keep = max(3, int(len(words) * width / text_width(words, size)) - 1)
    head = keep // 2
    return f"{words[:head]}…{words[-(keep - head) :]}"


@dataclass(frozen=True)
class Scale:
    """Data to pixels along one axis."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, 1e-300))
        return self.start + (at - low) / ((high - low) or 1) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers inside the range."""
        if not self.log:
            return round_numbers(self.low, self.high)
        powers = range(math.floor(math.log10(self.low)) - 1, math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
            found = [s * 10.0**p for p in powers for s in steps]
            found = [v for v in found if self.low <= v <= self.high]
            if len(found) >= 3:
                return found
        return found


def round_numbers(low: float, high: float, wanted: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = min((s * power for s in (1, 2, 5, 10)), key=lambda s: abs(span / s - wanted))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def fitted(values: Sequence[float], start: float, end: float, log: bool | None = None, room: float = 0.12) -> Scale:
    """A scale that shows all values with some room; logarithmic (if not told) where they span more than a decade."""
    low, high = min(values), max(values)
    if log is None:
        log = low > 0 and high / low > 10
    if log:
        extra = max((high / low) ** room, 1.3)
        return Scale(low / extra, high * extra, start, end, True)
    extra = (high - low) * room or abs(high) * room or 1.0
    return Scale(low - extra, high + extra, start, end)


@dataclass(frozen=True)
class Plot:
    """The area between two axes. ``x_name``/``y_name`` are the axes' titles."""

    x: Scale
    y: Scale
    x_name: str
    y_name: str

    def axes(self, x_text: Callable[[float], str], y_text: Callable[[float], str]) -> list[str]:
        """Grid, numbers and titles."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        parts = []
        for value in self.y.ticks():
            parts.append(line(left, self.y(value), right, self.y(value)))
            parts.append(label(left - 8, self.y(value) + 4, y_text(value), text_anchor="end", fill=FAINT, font_size=11))
        for value in self.x.ticks():
            parts.append(line(self.x(value), bottom, self.x(value), bottom + 4, FAINT))
            parts.append(
                label(self.x(value), bottom + 18, x_text(value), text_anchor="middle", fill=FAINT, font_size=11)
            )
        parts.append(line(left, bottom, right, bottom, FAINT))
        middle = (bottom + top) / 2
        parts.append(label((left + right) / 2, bottom + 38, self.x_name, text_anchor="middle"))
        parts.append(label(left, top - 10, self.y_name, font_weight="600") if middle else "")
        return parts


def legend(names: Sequence[str], x: float, y: float, width: float) -> tuple[list[str], float]:
    """Coloured squares with names, wrapped to a width; gives the parts and the height used."""
    parts, at, row = [], x, y
    for index, name in enumerate(names):
        shown = shortened(name, width - 24)
        needed = 30 + text_width(shown)
        if at > x and at + needed > x + width:
            at, row = x, row + 20
        parts.append(element("rect", x=at, y=row - 10, width=12, height=12, rx=2, fill=colour(index)))
        parts.append(label(at + 17, row, shown))
        at += needed
    return parts, row - y + 20
