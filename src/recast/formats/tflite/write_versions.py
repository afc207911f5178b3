"""Which element types LiteRT's kernels take, and from which operator version on.

``TYPES`` says it per builtin as ``TYPE:version``, for the input that decides (``DECIDES``, else input 0). A type that
is not listed has no kernel. ``_RANKS`` is the largest rank a kernel takes. ``_RULES``
says what depends on options and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from recast.formats.tflite.schema import names
from recast.formats.tflite.writing import Refused

if TYPE_CHECKING:
    from recast.formats.tflite.writing.constants import Quant

_ARITHMETIC = "FLOAT32:1 INT32:1 UINT8:1 INT8:2"
_COMPARISON = "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2"
_FLOAT = "FLOAT32:1"
_REDUCE = "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2"
_MOVE = "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2"  # kernels that only move elements
_BOOL = "BOOL:1"
_ANY = "FLOAT32:1 FLOAT16:1 INT32:1 INT64:1 UINT8:1 INT8:1 INT16:1 BOOL:1 UINT32:1 UINT16:1 FLOAT64:1 UINT64:1"
_SQUASH = "FLOAT32:1 UINT8:1 INT8:2 INT16:3"

TYPES: dict[str, str] = {
    "CONV_2D": "FLOAT32:1 UINT8:1 INT8:3 INT16:4",
    "DEPTHWISE_CONV_2D": "FLOAT32:1 UINT8:1 INT8:3 INT16:5",
    "TRANSPOSE_CONV": "FLOAT32:1 UINT8:1 INT8:2 INT16:3",
    "CONV_3D": _FLOAT,
    "CONV_3D_TRANSPOSE": _FLOAT,
    "FULLY_CONNECTED": "FLOAT32:1 UINT8:1 INT8:4 INT16:7",
    "BATCH_MATMUL": "FLOAT32:1 INT8:2 INT16:3 INT32:1",
    "MAX_POOL_2D": "FLOAT32:1 UINT8:1 INT8:2 INT16:3",
    "AVERAGE_POOL_2D": "FLOAT32:1 UINT8:1 INT8:2 INT16:3",
    "L2_POOL_2D": _FLOAT,
    "ADD": _ARITHMETIC + " INT16:3 INT64:4",
    "SUB": _ARITHMETIC + " INT16:5 INT64:4",
    "MUL": _ARITHMETIC + " INT16:4 INT64:5 UINT32:7",
    "DIV": "FLOAT32:1 INT32:1 UINT8:1",
    "MAXIMUM": _COMPARISON + " INT16:4",
    "MINIMUM": _COMPARISON + " INT16:4",
    "POW": "FLOAT32:1 INT32:1",
    "FLOOR_DIV": "FLOAT32:2 INT32:1 INT8:3 INT16:3",
    "FLOOR_MOD": "FLOAT32:1 INT32:1 INT64:1 INT8:2 INT16:2",
    "SQUARED_DIFFERENCE": "FLOAT32:1 INT32:1 INT8:2",
    "EQUAL": _COMPARISON + " BOOL:1 INT16:4",
    "NOT_EQUAL": _COMPARISON + " BOOL:1",
    "GREATER": _COMPARISON,
    "LESS_EQUAL": _COMPARISON,
    "LESS": _COMPARISON + " INT16:3",
    "GREATER_EQUAL": _COMPARISON + " INT16:3",
    "LOGICAL_AND": _BOOL,
    "LOGICAL_OR": _BOOL,
    "LOGICAL_NOT": _BOOL,
    "BITWISE_XOR": "INT8:1 UINT8:1 INT16:1 UINT16:1 INT32:1 UINT32:1",
    "RIGHT_SHIFT": "INT8:1 UINT8:1 INT16:1 UINT16:1 INT32:1 UINT32:1",
    "BITCAST": _ANY,
    "ATAN2": _FLOAT,
    "ABS": "FLOAT32:1 INT8:2 INT16:3 INT32:5",
    "NEG": "FLOAT32:1 INT32:1 INT64:1",
    "SIGN": "FLOAT32:1 INT32:2",
    "FLOOR": _FLOAT,
    "CEIL": _FLOAT,
    "ROUND": _FLOAT,
    "SQRT": _FLOAT,
    "RSQRT": "FLOAT32:1 INT8:2 INT16:3",
    "SQUARE": _FLOAT,
    "EXP": "FLOAT32:1 INT8:2 INT16:2",
    "LOG": "FLOAT32:1 INT8:2 INT16:2",
    "SIN": _FLOAT,
    "COS": _FLOAT,
    "RELU": "FLOAT32:1 UINT8:2 INT8:2 INT16:3",
    "RELU6": "FLOAT32:1 UINT8:1 INT8:2 INT16:3",
    "RELU_N1_TO_1": "FLOAT32:1 UINT8:1 INT8:1",
    "RELU_0_TO_1": "FLOAT32:1 UINT8:1 INT8:1",
    "TANH": _SQUASH,
    "LOGISTIC": _SQUASH,
    "ELU": "FLOAT32:1 INT8:1",
    "HARD_SWISH": "FLOAT32:1 UINT8:1 INT8:1",
    "LEAKY_RELU": "FLOAT32:1 UINT8:1 INT8:1 INT16:2",
    "PRELU": "FLOAT32:1 UINT8:1 INT8:1",
    "GELU": "FLOAT32:1 UINT8:2 INT8:2",
    "SOFTMAX": _SQUASH,
    "LOG_SOFTMAX": "FLOAT32:1 UINT8:1 INT8:2",
    "L2_NORMALIZATION": "FLOAT32:1 UINT8:1 INT8:2",
    "LOCAL_RESPONSE_NORMALIZATION": _FLOAT,
    "CONCATENATION": _MOVE + " INT16:3 BOOL:1 UINT32:4",
    "SPLIT": "FLOAT32:1 UINT8:1 INT8:2 INT32:3 INT16:4",
    "SPLIT_V": "FLOAT32:1 UINT8:1 INT16:1 INT32:1 INT64:1 INT8:2",
    "RESHAPE": _ANY,
    "EXPAND_DIMS": _ANY,
    "SQUEEZE": _ANY,
    "TRANSPOSE": _MOVE + " BOOL:3 INT16:5",
    "PAD": _MOVE + " INT16:3 BOOL:1",
    "PADV2": _MOVE + " INT16:3",
    "MIRROR_PAD": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2 INT16:3",
    "SLICE": _MOVE + " INT16:4 BOOL:1 UINT32:6",
    "STRIDED_SLICE": _MOVE + " BOOL:3 INT16:4 UINT32:7",
    "REVERSE_V2": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT16:1 BOOL:2 INT8:3",
    "GATHER": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2 BOOL:3 INT16:4",
    "GATHER_ND": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:1 INT16:3 BOOL:5",
    "SCATTER_ND": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:1 BOOL:1",
    "TILE": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 BOOL:1 INT8:3",
    "BROADCAST_TO": "FLOAT32:2 INT32:2 INT64:2 UINT8:2 BOOL:2 INT8:3 INT16:3",
    "PACK": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2 INT16:3 UINT32:4",
    "UNPACK": "FLOAT32:1 INT32:1 UINT8:2 INT8:2 BOOL:3 INT16:4",
    "FILL": "INT32:1 INT64:1",
    "RANGE": "FLOAT32:1 INT32:1 INT64:2",
    "SHAPE": _ANY,
    "DYNAMIC_UPDATE_SLICE": "FLOAT32:1 INT32:1 INT64:1 INT8:1 BOOL:1",
    "CUMSUM": "FLOAT32:1 INT32:1 INT64:1",
    "ONE_HOT": "INT32:1 INT64:1",
    "WHERE": "BOOL:1",
    "SELECT": _MOVE + " BOOL:1 INT16:1",
    "SELECT_V2": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:1 INT16:1 BOOL:1 UINT32:2",
    "CAST": "FLOAT32:1 INT32:1 INT64:1 BOOL:1 UINT8:1 INT16:1 UINT32:2 INT8:3 UINT16:4 FLOAT16:5 FLOAT64:5",
    "SUM": _REDUCE + " INT16:2",
    "MEAN": _REDUCE + " INT16:3",
    "REDUCE_MAX": _REDUCE + " INT16:3",
    "REDUCE_MIN": _REDUCE + " INT16:3",
    "REDUCE_PROD": "FLOAT32:1 INT32:1 INT64:1 INT8:2 INT16:2",
    "REDUCE_ANY": _BOOL,
    "REDUCE_ALL": _BOOL,
    "ARG_MAX": "FLOAT32:1 INT32:1 UINT8:1 INT8:2 BOOL:3",
    "ARG_MIN": "FLOAT32:1 INT32:1 UINT8:1 INT8:2 BOOL:3",
    "TOPK_V2": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2 INT16:3",
    "DEPTH_TO_SPACE": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2",
    "SPACE_TO_DEPTH": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT8:2",
    "RESIZE_BILINEAR": "FLOAT32:1 UINT8:1 INT8:2 INT16:4",
    "RESIZE_NEAREST_NEIGHBOR": "FLOAT32:1 UINT8:1 INT8:2 INT16:4",
    "QUANTIZE": "FLOAT32:1 INT8:1 UINT8:1 INT16:1 INT32:1",
    "DEQUANTIZE": "UINT8:1 INT8:2 INT16:3 FLOAT16:3 INT4:6",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _FLOAT,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _FLOAT,
    "WHILE": _ANY,
    "IF": _BOOL,
    "NON_MAX_SUPPRESSION_V4": _FLOAT,
    "REVERSE_SEQUENCE": "FLOAT32:1 INT32:1 INT64:1 UINT8:1 INT16:1",
}

DECIDES: dict[str, int] = {
    "SPLIT": 1,
    "SCATTER_ND": 1,
    "TRANSPOSE_CONV": 2,
    "SELECT": 1,
    "SELECT_V2": 1,
    "CONV_3D_TRANSPOSE": 2,
}

_RANKS: dict[str, int] = {
    "TRANSPOSE": 6,
    "SLICE": 5,
    "STRIDED_SLICE": 5,
    "PAD": 5,
    "PADV2": 5,
    "MIRROR_PAD": 5,
    "BATCH_MATMUL": 5,
    "TILE": 8,
    "BROADCAST_TO": 8,
    "SELECT_V2": 5,
    "ADD": 6,
    "MUL": 6,
    "SUB": 5,
    "DIV": 5,
    "MAXIMUM": 5,
    "MINIMUM": 5,
    "POW": 4,
    "FLOOR_DIV": 4,
    "FLOOR_MOD": 4,
    "SQUARED_DIFFERENCE": 4,
    "EQUAL": 4,
    "NOT_EQUAL": 4,
    "GREATER": 4,
    "LESS": 4,
    "GREATER_EQUAL": 4,
    "LESS_EQUAL": 4,
    "LOGICAL_AND": 4,
    "LOGICAL_OR": 4,
    "PRELU": 4,
}
_ONLY_BROADCAST = frozenset(_RANKS) - {
    "TRANSPOSE", "SLICE", "STRIDED_SLICE", "PAD", "PADV2", "MIRROR_PAD", "BATCH_MATMUL", "TILE", "BROADCAST_TO",
}  # fmt: skip


# kernels that compute: 8- and 16-bit integers must have scales
_COMPUTES = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL", "AVERAGE_POOL_2D"),
        *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD"),
        *("EQUAL", "NOT_EQUAL", "GREATER", "LESS_EQUAL", "LESS", "GREATER_EQUAL", "ABS", "RSQRT", "EXP", "LOG"),
        *("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH", "LOGISTIC", "ELU", "HARD_SWISH", "LEAKY_RELU"),
        *("PRELU", "GELU", "SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION", "SUM", "MEAN", "REDUCE_PROD"),
        *("RESIZE_BILINEAR", "DEQUANTIZE"),
    }
)
_SMALL = ("INT8", "UINT8", "INT16", "UINT16")


@cache
def _versions(builtin: str) -> dict[str, int]:
    return {t: int(v) for t, _, v in (item.partition(":") for item in TYPES[builtin].split())}


def takes(builtin: str, type_name: str, scaled: bool = False) -> bool:
    """Whether a builtin has a kernel for elements of a type (``scaled``: integers with a scale)."""
    if type_name not in _versions(builtin):
        return False
    return scaled or type_name not in _SMALL or builtin not in _COMPUTES


def version(
    builtin: str,
    types: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    quants: Sequence[Quant | None],
    options: dict[str, Any],
) -> int:
    """The smallest version of a builtin that takes these inputs.

    Args:
        builtin: its name.
        types: TensorType names of the inputs ("" where left out).
        shapes: their shapes.
        quants: the quantisation of inputs, then outputs.
        options: its options by field name.

    Raises:
        Refused: LiteRT has no kernel for the type or rank.
    """
    which = DECIDES.get(builtin, 0)
    type_name = types[which] if which < len(types) else ""
    known = _versions(builtin)
    if type_name not in known and types:
        raise Refused(f"LiteRT's {builtin} has no kernel for {type_name}")
    if type_name in _SMALL and builtin in _COMPUTES and quants[which] is None:
        raise Refused(f"LiteRT's {builtin} takes {type_name} only with a scale")
    rank = max((len(s) for s in shapes), default=0)
    limit = _RANKS.get(builtin, 99)
    if rank > limit and not (builtin in _ONLY_BROADCAST and len(set(shapes)) == 1):
        raise Refused(f"LiteRT's {builtin} takes at most {limit} dimensions, not {rank}")
    rule = _RULES.get(builtin)
    facts = Facts(types, shapes, quants, options)
    return (
        max(known.get(type_name, 1), *(v for holds, v in rule(facts) if holds), 1) if rule else known.get(type_name, 1)
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What the version of an operator can depend on."""

    types: Sequence[str]
    shapes: Sequence[tuple[int, ...]]
    quants: Sequence[Quant | None]
    options: dict[str, Any]

    @property
    def wide(self) -> bool:
        """More than four dimensions."""
        return max(len(s) for s in self.shapes) > 4

    @property
    def wide_broadcast(self) -> bool:
        """More than four dimensions, of different shapes."""
        return self.wide and self.shapes[0] != self.shapes[1]

    def per_channel(self, which: int) -> bool:
        """Whether a tensor has several scales."""
        quant = self.quants[which]
        return quant is not None and not quant.per_tensor

    def on(self, *names_: str) -> bool:
        """Whether any of these options is set."""
        return any(self.options.get(n) for n in names_)


_Rule = Callable[[Facts], "Sequence[tuple[bool, int]]"]

_RULES: dict[str, _Rule] = {
    "CONV_2D": lambda f: [(f.shapes[0][-1] != f.shapes[1][-1], 6), ("INT4" in f.types, 7)],
    "DEPTHWISE_CONV_2D": lambda f: [
        (any(f.options.get(f"dilation_{a}_factor", 1) != 1 for a in "hw"), 2),
        ("INT4" in f.types, 7),
    ],
    "FULLY_CONNECTED": lambda f: [(f.on("keep_num_dims"), 5), (len(f.types) == 2, 6), ("INT4" in f.types, 10)],
    "TRANSPOSE_CONV": lambda f: [(len(f.types) > 3, 3), (f.on("fused_activation_function"), 4)],
    "TRANSPOSE": lambda f: [(f.wide, 4), (len(f.shapes[0]) > 5, 6)],
    "SLICE": lambda f: [(f.wide, 5)],
    "PAD": lambda f: [(f.wide, 4)],
    "PADV2": lambda f: [(f.wide, 4)],
    "STRIDED_SLICE": lambda f: [(f.wide, 4)],
    "MAXIMUM": lambda f: [(f.wide_broadcast, 3)],
    "MINIMUM": lambda f: [(f.wide_broadcast, 3)],
    "SUB": lambda f: [(f.wide_broadcast, 3)],
    "DIV": lambda f: [(f.wide_broadcast, 2)],
    "GATHER": lambda f: [(f.on("batch_dims"), 5)],
    "RESIZE_BILINEAR": lambda f: [(f.on("half_pixel_centers"), 3)],
    "RESIZE_NEAREST_NEIGHBOR": lambda f: [(f.on("half_pixel_centers", "align_corners"), 3)],
    "MUL": lambda f: [(_large_product(f.quants), 3)],
    "DEQUANTIZE": lambda f: [(f.per_channel(0), 5)],
    "QUANTIZE": lambda f: [(f.per_channel(-1), 3)],
    "CAST": lambda f: [(True, _versions("CAST").get(_cast_target(f.options), 1))],
}


def _cast_target(options: dict[str, Any]) -> str:
    return names("TensorType")[int(options.get("out_data_type", 0))]


def _large_product(quants: Sequence[Quant | None]) -> bool:
    """Whether MUL's scales multiply to at least the result's."""
    if len(quants) < 3 or any(q is None for q in quants[:3]):
        return False
    first, second, out = (q.scale[0] for q in quants[:3] if q is not None)
    return first * second / out >= 1.0
