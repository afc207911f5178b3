"""Constants inside a Keras graph, which has none of its own: whatever is looked up or added at a zero that is computed.

A zero is the sum of ``zeros_like`` of any tensor. An Embedding of one row looked up there is a weight, a literal added
to it is that literal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.arguments import numpy_type, promote
from recast.formats.keras.call import LayerCall


def constant(value: ir.Value) -> np.ndarray | None:
    """The array behind a value that depends on no input, else None."""
    held = value.const_value if value.producer() is None else None
    return None if held is None else held.numpy()


def constant_as(c: LayerCall, before: ir.Value, array: np.ndarray) -> ir.Value:
    """A constant made of another one; of a zero it is a zero."""
    value = c.b.weight(c.layer.path, np.ascontiguousarray(array).reshape(array.shape))
    if before in c.reading.zeros:
        c.reading.zeros.add(value)
    return value


def zero(c: LayerCall, dtype: np.dtype) -> ir.Value:
    """A single zero that the file computes."""
    value = c.b.weight(c.layer.path, np.zeros((), dtype))
    c.reading.zeros.add(value)
    return value


def added(c: LayerCall, values: Sequence[Any]) -> ir.Value | None:
    """What an array is when it is added to a zero: itself. None: this is no such sum."""
    zeros = [v for v in values if isinstance(v, ir.Value) and v in c.reading.zeros and len(c.dims(v)) == 0]
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    if len(zeros) != 1 or len(arrays) != 1:
        return None
    return c.b.weight(c.layer.path, arrays[0].astype(numpy_type(c, promote(c, values))))
