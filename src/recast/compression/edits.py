"""The kinds of edits. An edit names what it changes; ``apply`` does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SetWeight:
    """Replace the content of an initializer; its type and shape may change."""

    weight: str
    array: np.ndarray
    note: str = ""

    def told(self) -> str:
        """In words."""
        return f"set {self.weight} {self.array.dtype}{list(self.array.shape)} {self.note}".rstrip()


@dataclass(frozen=True)
class PackWeight:
    """Replace a float initializer by integers and a DequantizeLinear.

    Attributes:
        weight: its name.
        integers: int8, int16, int32, uint8 or ml_dtypes.int4, in the weight's shape.
        scale: float32: a scalar, one a channel of ``axis``, or with ``block`` one a block along ``axis``.
        zero: of the integers' type and the scale's shape; None for 0.
        axis: the channel's (or block's) axis.
        block: elements of one block along ``axis``; 0: no blocks.
        users: names of the nodes that take the dequantised weight; (): all.
        plain: Cast and Mul instead of DequantizeLinear: ONNX Runtime computes them once, when it loads the file.
    """

    weight: str
    integers: np.ndarray
    scale: np.ndarray
    zero: np.ndarray | None = None
    axis: int = 0
    block: int = 0
    users: tuple[str, ...] = ()
    plain: bool = False

    def told(self) -> str:
        """In words."""
        grain = f"blocks of {self.block}" if self.block else ("per channel" if self.scale.size > 1 else "per tensor")
        return f"pack {self.weight} as {self.integers.dtype}, {grain}"


@dataclass(frozen=True)
class StoreAs:
    """Store a float32 initializer as ``float16`` or ``bfloat16`` and cast it where it is used."""

    weight: str
    dtype: str

    def told(self) -> str:
        """In words."""
        return f"store {self.weight} as {self.dtype}"


@dataclass(frozen=True)
class Mark:
    """Note a wish for the writer in a node's ``metadata_props``."""

    node: str
    key: str
    value: str

    def told(self) -> str:
        """In words."""
        return f"mark {self.node}: {self.key} = {self.value}"


@dataclass(frozen=True)
class RoundValue:
    """Put QuantizeLinear → DequantizeLinear behind an activation (or graph input).

    Attributes:
        value: its name; a graph output keeps its name behind the pair.
        scale, zero, dtype: per-tensor parameters; ``dtype`` is ``int8``, ``uint8`` or ``int16``.
        port: a graph input takes the integers, a graph output gives them.
    """

    value: str
    scale: float
    zero: int
    dtype: str = "int8"
    port: bool = False

    def told(self) -> str:
        """In words."""
        done, to = ("hand over", "as") if self.port else ("round", "to")
        return f"{done} {self.value} {to} {self.dtype}, scale {self.scale:.6g}, zero {self.zero}"


@dataclass(frozen=True)
class Cut:
    """Keep only some entries of an initializer along one axis."""

    weight: str
    axis: int
    keep: np.ndarray

    def told(self) -> str:
        """In words."""
        return f"cut {self.weight} axis {self.axis} to {len(self.keep)}"


@dataclass(frozen=True)
class SetInput:
    """Give a node a constant of its own as one of its inputs (a shape, sizes, bounds)."""

    node: str
    index: int
    array: np.ndarray

    def told(self) -> str:
        """In words."""
        return f"{self.node}: input {self.index} = {self.array.reshape(-1).tolist()}"


@dataclass(frozen=True)
class SetAttribute:
    """Give a node's attribute another value (``group`` after a cut …); None removes it."""

    node: str
    name: str
    value: Any

    def told(self) -> str:
        """In words."""
        return f"{self.node}: {self.name} = {self.value}"


@dataclass(frozen=True)
class Piece:
    """One node of a replacement. Inputs are value names: of the graph, of earlier pieces, or of ``constants``.

    ``further`` names its second, third … output.
    """

    op_type: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplaceNode:
    """Replace a node with one output by pieces; the last piece's output takes the node's output's place."""

    node: str
    pieces: tuple[Piece, ...]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    def told(self) -> str:
        """In words."""
        return f"replace {self.node} by {' → '.join(p.op_type for p in self.pieces)}"


@dataclass(frozen=True)
class PalettePack:
    """Replace a float initializer by Gather(palette, indices).

    Attributes:
        weight: its name.
        palette: its distinct values, of its type.
        indices: uint8 or ml_dtypes.uint4, in its shape.
    """

    weight: str
    palette: np.ndarray
    indices: np.ndarray

    def told(self) -> str:
        """In words."""
        return f"pack {self.weight} as {self.indices.dtype} indices of {len(self.palette)} values"


Edit = PackWeight | PalettePack | SetWeight | StoreAs | Mark | RoundValue | Cut | SetInput | SetAttribute | ReplaceNode


def stored(integers: np.ndarray, bits: int) -> np.ndarray:
    """Integers of so many bits in the smallest type that graphs have: int4 (``ml_dtypes``), int8 or int16."""
    if bits > 8:
        return integers.astype(np.int16)
    if bits > 4:
        return integers.astype(np.int8)
    import ml_dtypes

    return integers.astype(ml_dtypes.int4)
