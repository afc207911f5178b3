"""Element types without a kernel: computed, exactly, in a type that has one.

What a builtin does with its elements decides what may stand for them:

* it only moves them: the same bits as a signed integer (BITCAST), also for float64;
* sums and products wrap around: unsigned integers are the signed ones of that width; 8 and 16 bits are computed in 32
  and cut;
* it compares them: a wider integer, or the unsigned integer less half its range.

Nothing is ever narrowed: float64 is moved, but no builtin computes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recast.formats.tflite.schema import number
from recast.formats.tflite.write_versions import DECIDES, takes

if TYPE_CHECKING:
    from recast.formats.tflite.writing.emitter import Emitter

_MOVES = frozenset(
    {
        *("TRANSPOSE", "GATHER", "GATHER_ND", "CONCATENATION", "SLICE", "STRIDED_SLICE", "TILE", "BROADCAST_TO"),
        *("PAD", "PADV2", "MIRROR_PAD", "SELECT_V2", "REVERSE_V2", "PACK", "UNPACK", "SPLIT", "SPLIT_V"),
        *("REVERSE_SEQUENCE", "DYNAMIC_UPDATE_SLICE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "RESIZE_NEAREST_NEIGHBOR"),
    }
)
_RING = frozenset({"ADD", "SUB", "MUL", "SUM", "REDUCE_PROD", "CUMSUM", "NEG", "SQUARED_DIFFERENCE", "SCATTER_ND"})
_ORDER = frozenset(
    {
        *("MAXIMUM", "MINIMUM", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "REDUCE_MAX", "REDUCE_MIN"),
        *("TOPK_V2", "ARG_MAX", "ARG_MIN"),
    }
)
_EQUAL = frozenset({"EQUAL", "NOT_EQUAL"})
_VALUE = frozenset({"DIV", "FLOOR_DIV", "FLOOR_MOD", "POW", "ABS", "SIGN"})  # need the number itself
_SIGNED = {"UINT8": "INT8", "UINT16": "INT16", "UINT32": "INT32", "UINT64": "INT64", "FLOAT64": "INT64"}
_MOVED = {**_SIGNED, "FLOAT16": "INT16", "FLOAT32": "INT32", "BOOL": "INT8"}
_SMALL = ("INT8", "UINT8", "INT16", "UINT16", "BOOL")


@dataclass(frozen=True)
class StandIn:
    """Another type for the elements: cast to it, or its bits; ``flipped``: less half the unsigned range."""

    type: str
    bits: bool
    flipped: bool = False


def stand_in(builtin: str, type_name: str) -> StandIn | None:
    """What stands for elements that a builtin has no kernel for; None where nothing does."""
    choices: list[StandIn] = []
    if builtin in _MOVES and type_name in _MOVED:
        choices.append(StandIn(_MOVED[type_name], True))
    exact = builtin in _MOVES or builtin in _RING or builtin in _ORDER or builtin in _EQUAL or builtin in _VALUE
    if exact and type_name in _SMALL:
        choices += [StandIn("INT32", False), StandIn("INT64", False)]
    if builtin in (_RING | _EQUAL) and type_name in ("UINT32", "UINT64"):
        choices.append(StandIn(_SIGNED[type_name], True))
    if builtin in (_ORDER | _VALUE) and type_name == "UINT32":
        choices.append(StandIn("INT64", False))
    if builtin in _ORDER and type_name in ("UINT32", "UINT64"):
        choices.append(StandIn(_SIGNED[type_name], True, True))
    return next((c for c in choices if takes(builtin, c.type)), None)


def brought(w: Emitter, index: int, chosen: StandIn) -> int:
    """A tensor in the type that stands for its own."""
    if not chosen.bits:
        return w.then("CAST", [index], None, _cast(w.tensors[index].type, chosen.type), chosen.type)
    moved = w.then("BITCAST", [index], None, None, chosen.type)
    return w.then("SUB", [moved, _half(w, chosen)], None, ("SubOptions", {})) if chosen.flipped else moved


def bring_back(w: Emitter, index: int, target: int, chosen: StandIn) -> None:
    """A result in the type that it has in the graph."""
    if not chosen.bits:
        w.op("CAST", [index], [target], _cast(chosen.type, w.tensors[target].type))
        return
    if chosen.flipped:
        index = w.then("ADD", [index, _half(w, chosen)], None, ("AddOptions", {}))
    w.op("BITCAST", [index], [target])


def _half(w: Emitter, chosen: StandIn) -> int:
    """The least signed integer: taken away or added, it turns the order of unsigned integers into that of signed."""
    dtype = np.int32 if chosen.type == "INT32" else np.int64
    return w.constant(np.array(np.iinfo(dtype).min, dtype))


def _cast(before: str, after: str) -> tuple[str, dict[str, int]]:
    kinds = {"in_data_type": number("TensorType", before), "out_data_type": number("TensorType", after)}
    return "CastOptions", kinds


def chosen_for(w: Emitter, builtin: str, inputs: Sequence[int]) -> StandIn | None:
    """What stands for the elements of a builtin's operands; None where it takes them as they are (or not at all)."""
    which = DECIDES.get(builtin, 0)
    if which >= len(inputs) or inputs[which] < 0:
        return None
    tensor = w.tensors[inputs[which]]
    if takes(builtin, tensor.type, tensor.quant is not None):
        return None
    return stand_in(builtin, tensor.type) if tensor.quant is None else None
