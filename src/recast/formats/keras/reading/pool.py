"""Pooling. SAME average pooling counts only real positions, as TensorFlow does."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads
from recast.formats.keras.reading.conv import padding, spatial_rank

_MAX = [f"{name}{n}D" for name in ("MaxPooling", "MaxPool") for n in (1, 2, 3)]
_AVERAGE = [f"{name}{n}D" for name in ("AveragePooling", "AvgPool") for n in (1, 2, 3)]


@reads(*_MAX, *_AVERAGE, masking="drop")
def pool(c: LayerCall) -> ir.Value:
    """MaxPool or AveragePool."""
    size = spatial_rank(c)
    key = "pool_size" if "pool_size" in c.layer.config else "pool_length"
    window = c.tuple(key, size, 2)
    strides = window if c.layer.config.get("strides") is None else c.tuple("strides", size)
    attributes: dict[str, Any] = {"kernel_shape": window, "strides": strides}
    attributes.update(padding(c, window, strides, [1] * size))
    if c.layer.class_name.startswith("Max"):
        return c.last(c.op("MaxPool", [c.first(c.x)], attributes))
    return c.last(c.op("AveragePool", [c.first(c.x)], {**attributes, "count_include_pad": 0}))


_GLOBAL = [f"Global{kind}{n}D" for kind in ("MaxPooling", "MaxPool", "AveragePooling", "AvgPool") for n in (1, 2, 3)]


@reads(*_GLOBAL, masking="use")
def global_pool(c: LayerCall) -> ir.Value:
    """GlobalAveragePool or GlobalMaxPool, then the spatial axes are dropped unless ``keepdims``."""
    size = spatial_rank(c)
    kind = "GlobalMaxPool" if "Max" in c.layer.class_name else "GlobalAveragePool"
    if c.masked and kind == "GlobalAveragePool":
        return _masked_average(c)
    y = c.op(kind, [c.first(c.x)])
    if c.get("keepdims", False):
        return c.last(y)
    return c.op("Squeeze", [y, c.const(list(range(2, 2 + size)))])


def _masked_average(c: LayerCall) -> ir.Value:
    """Mean over the steps that are not masked."""
    if c.channels_first:
        raise c.refuse("a mask with channels_first")
    x, mask = c.x, c.mask()
    weight = c.op("Unsqueeze", [c.op("Cast", [mask], {"to": int(x.dtype or ir.DataType.FLOAT)}), c.const([2])])
    keep = {"keepdims": int(bool(c.get("keepdims", False)))}
    total = c.op("ReduceSum", [c.op("Mul", [x, weight]), c.const([1])], keep)
    return c.op("Div", [total, c.op("ReduceSum", [weight, c.const([1])], keep)])
