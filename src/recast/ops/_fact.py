"""The shape of one operator's facts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal[
    "image",  # axes (n, c, *spatial) by meaning: fixed by the target's layout
    "recurrent",  # axes (time, batch, …) by meaning
    "elementwise",  # broadcast, element by element: any common order of axes
    "along",  # works along the axis of the attribute ``axis``; its operands marked with all dims move together
    "reduce",  # removes or shrinks ``axes``
    "trailing",  # works over all axes from ``axis`` on
    "concat",
    "split",
    "slice",
    "pad",
    "resize",
    "expand",
    "tile",
    "cumulate",
    "gather",
    "squeeze",
    "unsqueeze",
    "reshape",
    "flatten",
    "transpose",
    "dense",  # contracts the last axis with a weight
    "shape",
    "fixed",  # its axes have a meaning of their own: leave them where they are
]


@dataclass(frozen=True)
class Operand:
    """One input or output: a role, its named dims (``*s``: any number; ``...``: any), and whether it may be absent."""

    role: str
    dims: tuple[str, ...]
    optional: bool = False
    many: bool = False


@dataclass(frozen=True)
class Fact:
    """Facts about one operator that ONNX does not state.

    Attributes:
        dims: named dims, e.g. ``x[n,c,*s] w[k,c,*z] b[k]? -> y[n,k,*t]``; the same letter is the same dim;
            ``?`` optional, ``+`` one or more of it; ``...`` dims without a name (element by element, or by attribute).
        kind: how a change of axis order passes through.
        weights: which inputs are weights: (input index, axis of the output channel; None: it has none).
        macs: multiply-accumulates as a product of named dims and operands (``y`` = all elements of y); "" = none.
        axis: default of the attribute ``axis``.
        note: coupling that dims cannot say (``group`` splits c and k …).
    """

    dims: str
    kind: Kind
    weights: tuple[tuple[int, int | None], ...] = ()
    macs: str = ""
    axis: int = -1
    note: str = ""

    @cached_property
    def inputs(self) -> tuple[Operand, ...]:
        """The inputs, in ONNX order."""
        return _operands(self.dims.split("->")[0])

    @cached_property
    def outputs(self) -> tuple[Operand, ...]:
        """The outputs, in ONNX order."""
        return _operands(self.dims.split("->")[1])


def _operands(text: str) -> tuple[Operand, ...]:
    found = []
    for word in text.split():
        role, _, rest = word.partition("[")
        dims, _, marks = rest.partition("]")
        names = tuple(d for d in dims.split(",") if d)
        found.append(Operand(role, names, "?" in marks, "+" in marks))
    return tuple(found)
