"""Dimensions that are sums of named ones, as exporters and people write them: ``past_sequence + sequence``.

A dimension is a number or a text. A text of names and numbers with ``+`` and ``-`` between blanks, each with a number
before it at most (``2*width``), is a sum; any other text is one name (``seq-len``, ``floor(h/2)``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Dim = int | str
_TERM = re.compile(r"(?:(\d+)\*)?([A-Za-z_][\w.]*)|(\d+)")
_NUMBER = ""  # the key of the number among the terms


def parse(dim: Dim) -> dict[str, int]:
    """The factors of a sum by name, that of the number under ""; a text that is no sum is one name."""
    if isinstance(dim, int):
        return {_NUMBER: dim}
    found: dict[str, int] = {}
    sign = 1
    for number, part in enumerate(re.split(r" ([+-]) ", dim)):
        if number % 2:
            sign = 1 if part == "+" else -1
            continue
        minus, text = (-1, part[1:]) if number == 0 and part.startswith("-") else (1, part)
        match = _TERM.fullmatch(text)
        if match is None:
            return {dim: 1}
        factor, name, constant = match.groups()
        key, times = (name, int(factor or 1)) if name else (_NUMBER, int(constant))
        found[key] = found.get(key, 0) + sign * minus * times
    return {k: n for k, n in found.items() if n} or {_NUMBER: 0}


def text(terms: Mapping[str, int]) -> Dim:
    """The one way to write a sum: names in order, the number last."""
    names = sorted(k for k, n in terms.items() if k != _NUMBER and n)
    constant = terms.get(_NUMBER, 0)
    if not names:
        return constant
    names.sort(key=lambda name: terms[name] < 0)  # a sum starts with what is added
    out = ""
    for key in [*names, *([_NUMBER] if constant else [])]:
        factor = terms[key]
        times = str(abs(factor)) if key == _NUMBER else key if abs(factor) == 1 else f"{abs(factor)}*{key}"
        sign = "-" if factor < 0 else "+"
        out += f" {sign} {times}" if out else ("-" if factor < 0 else "") + times
    return out


def add(first: Dim, second: Dim, factor: int = 1) -> Dim:
    """``first + factor * second``."""
    total = dict(parse(first))
    for name, times in parse(second).items():
        total[name] = total.get(name, 0) + factor * times
    return text(total)


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """A dimension with its names replaced; a text that is no sum stays where its own name is not among them."""
    total: Dim = 0
    for name, times in parse(dim).items():
        total = add(total, 1 if name == _NUMBER else values.get(name, name), times)
    return total


def names(shape: Iterable[Dim | None]) -> list[str]:
    """The names in a shape, each once, in order."""
    parts = (parse(d) for d in shape if isinstance(d, str))
    return list(dict.fromkeys(name for terms in parts for name in terms if name != _NUMBER))


def filled(shape: Iterable[Dim], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with its names replaced by sizes.

    Raises:
        KeyError: a name has no size.
    """
    return tuple(
        d if isinstance(d, int) else sum(n * (1 if k == _NUMBER else sizes[k]) for k, n in parse(d).items())
        for d in shape
    )
