"""One layer being read: its inputs, attributes, and where its results go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from recast._util.bounded import check_size, element_count
from recast.errors import BadModel, RecastError, UnsupportedOp, UnsupportedType
from recast.formats.openvino.ir_file import File, Layer
from recast.formats.openvino.names import TYPES

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.graph.build import Builder


@dataclass
class Call:
    """What a handler of ``reading/`` gets."""

    file: File
    layer: Layer
    b: Builder
    values: dict[tuple[str, int], ir.Value]
    used: set[str] = field(default_factory=lambda: {"auto_broadcast"})

    @property
    def where(self) -> str:
        """The place for errors."""
        return f"layer '{self.layer.name}' ({self.layer.kind}) of {self.file.where}"

    def x(self, place: int) -> ir.Value:
        """An input.

        Raises:
            BadModel: the layer has fewer.
        """
        if place >= len(self.layer.sources):
            raise self.bad(f"input {place} is missing")
        return self.values[self.layer.sources[place]]

    def xs(self) -> list[ir.Value]:
        """All inputs."""
        return [self.x(i) for i in range(len(self.layer.sources))]

    def rank(self, place: int) -> int:
        """Number of dimensions of an input.

        Raises:
            UnsupportedOp: it is not known.
        """
        shape = self.x(place).shape
        if shape is None:
            raise self.cannot("an input's number of dimensions is not known")
        return len(shape)

    def const(self, place: int) -> np.ndarray:
        """The numbers of an input that is constant.

        Raises:
            UnsupportedOp: it is computed.
        """
        held = self.x(place).const_value
        if held is None:
            raise self.cannot(f"input {place} is not constant")
        return held.numpy()

    def out(self, value: ir.Value) -> None:
        """The first output."""
        self.values[(self.layer.id, 0)] = value

    def text(self, name: str, default: str | None = None) -> str:
        """An attribute as it is written.

        Raises:
            BadModel: it is missing and has no default.
        """
        self.used.add(name)
        found = self.layer.data.get(name, default)
        if found is None:
            raise self.bad(f"attribute '{name}' is missing")
        return found

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """An attribute of a few words.

        Raises:
            UnsupportedOp: another word.
        """
        found = self.text(name, default).lower()
        if found not in allowed:
            raise self.cannot(f"{name}={found[:40]}")
        return found

    def flag(self, name: str, default: bool) -> bool:
        """A boolean attribute."""
        return self.choice(name, str(default).lower(), ("true", "false", "1", "0")) in ("true", "1")

    def integers(self, name: str, default: str | None = None) -> list[int]:
        """A list of integers."""
        return [int(part) for part in self.text(name, default).split(",") if part.strip()]

    def number(self, name: str, default: str | None = None) -> float:
        """One real number, finite.

        Raises:
            BadModel: it is not.
        """
        found = float(self.text(name, default))
        if not math.isfinite(found):
            raise self.bad(f"{name}={found}")
        return found

    def array(self) -> np.ndarray:
        """The bytes of a Const, as a view into the file.

        Raises:
            TooLarge, BadModel: they are not there.
            UnsupportedType: numbers that NumPy does not have.
        """
        kind = self.text("element_type").lower()
        if kind not in TYPES:
            raise UnsupportedType(f"constants of type {kind[:40]} are not read", self.where)
        import ml_dtypes

        dtype = np.dtype(ml_dtypes.bfloat16 if kind == "bf16" else TYPES[kind])
        shape = self.integers("shape", "")
        offset, size = int(self.text("offset")), int(self.text("size"))
        if offset < 0 or size != element_count(shape, self.where) * dtype.itemsize:
            raise self.bad(f"{size} bytes at {offset} do not hold {kind} of shape {shape}")
        check_size(offset + size, len(self.file.weights), self.where)
        return np.frombuffer(self.file.weights[offset : offset + size], dtype).reshape(shape)

    def bad(self, what: str) -> RecastError:
        """The file is wrong here."""
        return BadModel(what, self.where, "export the model again")

    def cannot(self, what: str) -> RecastError:
        """The file is right, and this is not read."""
        return UnsupportedOp(f"cannot be read: {what}", self.where, "export the model without it")

    def check_attributes(self) -> None:
        """Every attribute was looked at: one that is not understood may change the meaning.

        Raises:
            UnsupportedOp: one was not.
        """
        unknown = sorted(set(self.layer.data) - self.used)
        if unknown:
            raise self.cannot(f"attributes {', '.join(unknown)[:200]}")
        if self.layer.data.get("auto_broadcast", "numpy") not in ("numpy", "none"):
            raise self.cannot(f"auto_broadcast={self.layer.data['auto_broadcast'][:40]}")
