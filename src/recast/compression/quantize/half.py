"""Half precision: as arithmetic (the ``to_float16`` pass), or only as storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from recast.compression._method import FUSED, PLAIN, Needs, Plan, Skip, Statistics
from recast.compression.edits import StoreAs
from recast.compression.quantize.int8 import refuse_quantised
from recast.graph.view import const

if TYPE_CHECKING:
    import onnx_ir as ir

_SMALLEST = 64  # elements; a smaller constant gains less than its Cast takes
_MOST = 65504.0  # the largest float16


@dataclass(frozen=True)
class Float16:
    """Weights and activations as float16; the pass does it, the plan says so."""

    passes: ClassVar[tuple[str, ...]] = (*FUSED, "to_float16")

    def needs(self, model: ir.Model) -> Needs:
        """Nothing."""
        return Needs()

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """No edits: the pass has changed the types.

        Raises:
            BadRecipe: the model is quantised already, and the target has no integers with float16 scales.
        """
        if statistics.target == "tflite":
            refuse_quantised(model)
        return Plan("float16")


@dataclass(frozen=True)
class Float16Weights:
    """Weights stored in 16 bits and cast when the file is loaded; the arithmetic stays float32."""

    passes: ClassVar[tuple[str, ...]] = PLAIN
    dtype: Literal["float16", "bfloat16"] = "float16"

    def needs(self, model: ir.Model) -> Needs:
        """Nothing."""
        return Needs()

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """Every weight of at least 64 elements that float16 can hold."""
        edits, skips = [], []
        for name, value in model.graph.initializers.items():
            array = const(value)
            if array is None or array.dtype != np.float32 or array.size < _SMALLEST or value.is_graph_output():
                continue
            if not value.uses():
                continue
            if self.dtype == "float16" and not np.abs(array).max(initial=0.0) <= _MOST:
                skips.append(Skip(name, "holds numbers beyond 65504"))
                continue
            edits.append(StoreAs(name, self.dtype))
        return Plan(f"{self.dtype} weights", tuple(edits), tuple(skips))


@dataclass(frozen=True)
class BFloat16(Float16Weights):
    """Weights stored as bfloat16."""

    dtype: Literal["float16", "bfloat16"] = "bfloat16"


METHODS = {"float16": Float16, "float16-weights": Float16Weights, "bfloat16": BFloat16}
