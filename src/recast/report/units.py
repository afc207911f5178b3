"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MISSING = "–"


def data_size(count: float | None) -> str:
    """``98.5 KB``."""
    if count is None:
        return MISSING
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def seconds(value: float | None) -> str:
    """``1.23 ms``."""
    if value is None:
        return MISSING
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def count(value: float | None) -> str:
    """``12.5 M``; small ones in full."""
    if value is None:
        return MISSING
    for limit, unit in ((1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:,.0f}"


def share(value: float | None) -> str:
    """``85.5 %``."""
    return MISSING if value is None else f"{value * 100:.1f} %"


def points(value: float | None) -> str:
    """A difference of shares in percentage points: ``−1.5``."""
    return MISSING if value is None else f"{value * 100:+.1f}".replace("-", "−")


def figure(metric: str, value: float | None) -> str:
    """An accuracy in percent, an AUC as it is."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if metric == "AUC" else share(value)


def change(metric: str, value: float | None) -> str:
    """A difference of such figures."""
    if value is None:
        return MISSING
    return f"{value:+.3f}".replace("-", "−") if metric == "AUC" else points(value)


def interval(metric: str, found: Mapping[str, Any] | None, signed: bool = False) -> str:
    """``85.5 % (80.0 … 89.7)``."""
    if found is None:
        return MISSING
    show = change if signed else figure
    low, high = (show(metric, found[k]).removesuffix(" %") for k in ("low", "high"))
    return f"{show(metric, found['value'])} ({low} … {high})"


def precise(value: float | str | None) -> str:
    """Three digits: ``0.0844``, ``7.2e-07``; ``inf`` as it is."""
    if value is None or isinstance(value, str):
        return MISSING if value is None else value
    return f"{value:.3g}"
