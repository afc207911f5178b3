"""Numbers as Python source, exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def literal(item: Any) -> str:
    """One array element as source: the shortest text that gives the same value back."""
    dtype = np.dtype(getattr(item, "dtype", type(item)))
    if dtype == np.bool_:
        return str(bool(item))
    if dtype.kind in "iu" or "int" in dtype.name:
        return str(int(item))
    if dtype.kind == "c":
        return f"complex({literal(item.real)}, {literal(item.imag)})"
    number = float(item)
    if math.isnan(number):
        return "math.nan"
    if math.isinf(number):
        return "math.inf" if number > 0 else "-math.inf"
    # half precision is computed in single: only the exact value will do
    return repr(float(str(item))) if dtype == np.float32 else repr(number)


def list_literal(array: np.ndarray) -> str:
    """A (nested) list of literals; a scalar for rank 0."""
    if array.ndim == 0:
        return literal(array[()])
    return "[" + ", ".join(list_literal(part) for part in array) + "]"


def number(value: float) -> str:
    """A float attribute (stored in single precision) as source."""
    return literal(np.float32(value))
