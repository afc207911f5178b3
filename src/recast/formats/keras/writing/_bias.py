"""Sums that Keras's TensorFlow backend would get wrong, and how they are written instead.

``keras.ops.add(x, y)`` takes any ``y`` that has one axis longer than 1 for a bias, if that length is the one of axis 1
or of the last axis of ``x``, and adds it along that axis, wherever the axis of ``y`` lies (3.15.1,
``backend/tensorflow/numpy.py``): (3, 4, 4) + (1, 4, 1) is added along the last axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recast.formats.keras.writing._network import Literal, Shape, Tensor, array_literal


def _shape(argument: Any) -> Shape:
    if isinstance(argument, Tensor):
        return argument.shape
    return () if not isinstance(argument, Literal) else np.shape(argument.json["config"]["value"])


def misread(x: Shape, y: Shape) -> bool:
    """Whether ``add(x, y)`` may add along a wrong axis, for some length of the unknown axes."""
    if x == y or len(x) < 2:
        return False
    if len(y) > len(x):
        return sum(n != 1 for n in y) <= 1 or any(n is None for n in y)
    for axis, size in enumerate(y):
        if size == 1 or any(n not in (1, None) for i, n in enumerate(y) if i != axis):
            continue
        place = len(x) - len(y) + axis
        last, second = ((size is None or n is None or n == size) and n != 1 for n in (x[-1], x[1]))
        if place == len(x) - 1:
            if x[-1] != size and second:
                return True
        elif last or (second and place != 1):
            return True
    return False


def safe_sum(arguments: list[Any]) -> list[Any] | None:
    """The two arguments in an order that is read right; None: neither is."""
    x, y = arguments
    if not misread(_shape(x), _shape(y)):
        return arguments
    return [y, x] if not misread(_shape(y), _shape(x)) else None


def negated(literal: Any) -> Any:
    """A constant with the other sign."""
    if not isinstance(literal, Literal):
        return -literal
    config = literal.json["config"]
    return array_literal(np.negative(np.array(config["value"], config["dtype"])))
