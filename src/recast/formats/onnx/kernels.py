"""What ONNX Runtime has no kernel for, of operators that can be written in others.

Facts of ONNX Runtime 1.32's CPU provider about models at the dialect's opset. It writes ONNX's functions out itself,
but not those whose bodies hold an operator that has changed since (Swish, of opset 24, has a Constant).
``tests/formats/onnx/test_kernels.py`` holds every row to the runtime that is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

Types = frozenset[str]

ABSENT = frozenset(("RoiAlign", "SwiGLU", "Swish"))  # in any type
_DOUBLE = {0: frozenset(("DOUBLE",))}
_ACTIVATIONS = (
    *("Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu"),
    *("Softplus", "Softsign", "ThresholdedRelu"),
)
_SMALL = frozenset(("INT16", "UINT16"))
# operator: number of an input: element types of it
LACKING: Mapping[str, Mapping[int, Types]] = {
    **dict.fromkeys(_ACTIVATIONS, _DOUBLE),
    "BitCast": {0: frozenset(("BOOL",))},
    "Max": {0: _SMALL},
    "Min": {0: _SMALL},
    "NonZero": {0: _SMALL | {"DOUBLE", "INT8", "UINT32", "UINT64"}},
    "Pow": {1: frozenset(("INT8", "INT16", "UINT8", "UINT16", "UINT32", "UINT64"))},
    "Relu": {0: frozenset(("INT16", "INT64"))},
    "TopK": {0: frozenset(("UINT16", "UINT32", "UINT64"))},
    "Where": {1: _SMALL | {"BOOL", "UINT64"}},
}


def has_kernel(node: ir.Node) -> bool:
    """Whether ONNX Runtime runs this node, as far as the tables above tell."""
    if node.domain or node.op_type in ABSENT:
        return bool(node.domain)
    given = dict(enumerate(v.dtype.name if v is not None and v.dtype is not None else "" for v in node.inputs))
    return not any(given.get(i) in types for i, types in LACKING.get(node.op_type, {}).items())
