"""Quantisation that training simulated: quantise, then dequantise, with the file's own ranges."""

from __future__ import annotations

import math

import numpy as np

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.reading import reads


def _nudged(low: float, high: float, least: int, most: int) -> tuple[float, int]:
    """Scale and zero point: the range is moved so that zero is one of the steps (Jacob et al. 2018, section 3).

    As TensorFlow's ``Nudge``: the zero point is rounded half away from zero and kept within the steps.
    """
    scale = (np.float32(high) - np.float32(low)) / np.float32(most - least)
    place = np.float32(least) - np.float32(low) / scale
    zero = least if place < least else most if place > most else math.floor(float(place) + 0.5)
    return float(scale), int(zero)


def _fake(c: Call, lows: np.ndarray, highs: np.ndarray) -> None:
    """Steps are those of uint8; a narrow range leaves out the lowest one, fewer bits the highest ones."""
    bits, narrow = int(c.attr("num_bits", 8)), c.flag("narrow_range")
    if not 2 <= bits <= 8 or not (np.isfinite(lows).all() and np.isfinite(highs).all()):
        raise UnsupportedOp(f"{bits} bits, or a range that is not finite")
    if (lows > 0).any() or (highs < 0).any() or (lows >= highs).any():
        raise UnsupportedOp("a range that does not hold zero")
    least, most = int(narrow), (1 << bits) - 1
    pairs = [_nudged(float(a), float(b), least, most) for a, b in zip(lows.reshape(-1), highs.reshape(-1), strict=True)]
    scales, zeros = np.array([p[0] for p in pairs], np.float32), np.array([p[1] for p in pairs], np.uint8)
    value = c.x(0)
    if least or most != 255:
        low = (least - zeros.astype(np.float32)) * scales
        high = (most - zeros.astype(np.float32)) * scales
        limits = [c.b.const(v[0] if lows.ndim == 0 else v, np.float32, "limit") for v in (low, high)]
        value = c.op("Min", [c.op("Max", [value, limits[0]]), limits[1]])
    single = lows.ndim == 0
    scale = c.b.const(scales[0] if single else scales, np.float32, "scale")
    zero = c.b.const(zeros[0] if single else zeros, np.uint8, "zero_point")
    attributes = {} if single else {"axis": c.rank(0) - 1}
    made = c.b.op("QuantizeLinear", [value, scale, zero], attributes)
    c.out(c.b.op("DequantizeLinear", [made, scale, zero], attributes))


@reads("FakeQuantWithMinMaxArgs")
def fake_quant_args(c: Call) -> None:
    """One range, as attributes."""
    _fake(c, np.array(float(c.attr("min", -6.0))), np.array(float(c.attr("max", 6.0))))


@reads("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")
def fake_quant_vars(c: Call) -> None:
    """One range, or one for every channel of the last axis."""
    low, high = c.array(1), c.array(2)
    if low is None or high is None or low.shape != high.shape:
        raise UnsupportedOp("a range that is computed")
    if c.kind.endswith("Channel") and (low.ndim != 1 or low.size != c.shape(0)[-1]):
        raise c.bad(f"{low.size} ranges for {c.shape(0)[-1]} channels")
    if not c.kind.endswith("Channel"):
        low, high = low.reshape(()), high.reshape(())
    _fake(c, low, high)
