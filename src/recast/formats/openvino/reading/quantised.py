"""Rounding to a few levels."""

from __future__ import annotations

import numpy as np

from recast.formats.openvino.call import Call
from recast.formats.openvino.reading import reads


@reads("FakeQuantize")
def fake_quantize(c: Call) -> None:
    """round((x − l) / (h − l) · (levels − 1)) / (levels − 1) · (h′ − l′) + l′ of x within l … h.

    256 levels around an exact zero, handed on as they are, become QuantizeLinear → DequantizeLinear.
    """
    levels, dtype = int(c.text("levels")), c.x(0).dtype
    if dtype is None or dtype.name != "FLOAT":
        raise c.cannot("a FakeQuantize of other numbers than float32")
    low, high, new_low, new_high = (c.const(place).astype(np.float32) for place in range(1, 5))
    if levels < 2 or not (low < high).all() or not all(np.isfinite(e).all() for e in (low, high, new_low, new_high)):
        raise c.cannot(f"{levels} levels, or an empty or infinite range")
    if levels == 256 and _same(low, new_low) and _same(high, new_high) and low.size == high.size == 1:
        scale = (np.float64(high.item()) - low.item()) / 255
        zero = round(-low.item() / scale)
        if 0 <= zero <= 255 and abs(zero * scale + low.item()) <= 1e-4 * scale:
            ends = [
                c.b.weight(f"{c.layer.name}/scale", np.array(scale, np.float32)),
                c.b.weight(f"{c.layer.name}/zero", np.array(zero, np.uint8)),
            ]
            c.out(c.b.op("DequantizeLinear", [c.b.op("QuantizeLinear", [c.x(0), *ends]), *ends]))
            return
    inside = c.b.op("Min", [c.b.op("Max", [c.x(0), c.x(1)]), c.x(2)])
    step, new_step = (high - low) / np.float32(levels - 1), (new_high - new_low) / np.float32(levels - 1)
    units = c.b.op("Round", [c.b.op("Div", [c.b.op("Sub", [inside, c.x(1)]), c.b.const(step)])])
    c.out(c.b.op("Add", [c.b.op("Mul", [units, c.b.const(new_step)]), c.x(3)]))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-6, atol=0)
