"""Making models smaller. Each method is one file under its family's folder; nothing else is edited to add one.

A method looks at the graph and at statistics and returns a ``Plan``: edits and skips as data. ``apply`` alone edits.
Importing this package loads nothing heavy.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from recast.errors import BadRecipe, InternalError

if TYPE_CHECKING:
    from recast.compression._method import Method

FAMILIES = ("prune", "distill", "factorize", "quantize")


@cache
def methods(family: str) -> dict[str, type[Method]]:
    """The methods of a family by the name that recipes use (``METHODS`` of every module of its folder).

    Raises:
        InternalError: two files offer the same name.
    """
    found: dict[str, type[Method]] = {}
    folder = Path(__file__).parent / family
    for module in sorted(m.name for m in pkgutil.iter_modules([str(folder)])):
        if module.startswith("_"):
            continue
        offered = getattr(importlib.import_module(f"{__name__}.{family}.{module}"), "METHODS", {})
        if twice := found.keys() & offered.keys():
            raise InternalError(f"{family}: {sorted(twice)} are offered twice", module)
        found.update(offered)
    return found


def method(family: str, name: str) -> type[Method]:
    """One method.

    Raises:
        BadRecipe: there is none of that name.
    """
    found = methods(family)
    if name not in found:
        raise BadRecipe(f"{family}: no method is called '{name}'", fix=f"one of: {', '.join(found) or 'none yet'}")
    return found[name]
