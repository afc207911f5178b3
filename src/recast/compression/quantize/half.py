"""Half precision: weights and arithmetic in float16 where the target can (the ``to_float16`` pass)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recast.compression._method import FUSED, Needs, Plan, Statistics

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Float16:
    """Weights and activations as float16; the pass does it, the plan says so."""

    passes: ClassVar[tuple[str, ...]] = (*FUSED, "to_float16")

    def needs(self, model: ir.Model) -> Needs:
        """Nothing."""
        return Needs()

    def plan(self, model: ir.Model, statistics: Statistics) -> Plan:
        """No edits: the pass has changed the types."""
        return Plan("float16")


METHODS = {"float16": Float16}
