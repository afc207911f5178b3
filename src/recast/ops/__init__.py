"""Operator facts that ONNX does not state: named dims, weights, cost, and how a change of axis order passes through.

One file per operator family, each with ``FACTS: dict[str, Fact]``; families are found by folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from recast.errors import InternalError
from recast.ops._fact import Fact as Fact
from recast.ops._fact import Operand as Operand


@cache
def facts() -> dict[str, Fact]:
    """All facts by operator name.

    Raises:
        InternalError: two families state the same operator.
    """
    found: dict[str, Fact] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        family = getattr(importlib.import_module(f"{__name__}.{module}"), "FACTS", {})
        if twice := found.keys() & family.keys():
            raise InternalError(f"operators {sorted(twice)} are stated twice", f"recast/ops/{module}.py")
        found.update(family)
    return found


def fact(op_type: str) -> Fact | None:
    """The facts of an operator, or None where nothing is stated."""
    return facts().get(op_type)
