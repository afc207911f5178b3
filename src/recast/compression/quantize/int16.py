"""Integer weights with 16-bit activations: nearly the accuracy of floats on hardware without them (LiteRT's 16×8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recast.compression.quantize.int8 import Int8


@dataclass(frozen=True)
class Int16(Int8):
    """int8 weights, symmetric int16 activations; see ``Int8``."""

    ranges: Literal["auto", "minmax", "99.99%", "99.9%", "mse", "entropy"] = "minmax"
    activations: Literal["int8", "int16"] = "int16"


METHODS = {"int16": Int16}
