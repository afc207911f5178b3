"""Which LiteRT release first had an operator version: written into the file's metadata."""

from __future__ import annotations

from collections.abc import Iterable

# Builtins and versions that need more than release 1.14.0 (the first with int8 kernels).
_NEEDS: dict[str, str] = {
    "2.0.0": "FULLY_CONNECTED:5 ELU:1 ADD_N:1 NON_MAX_SUPPRESSION_V4:1",
    "2.1.0": "FULLY_CONNECTED:6 STRIDED_SLICE:3 DEPTH_TO_SPACE:1 WHILE:1 IF:1 GATHER:3 TRANSPOSE:3 HARD_SWISH:1",
    "2.2.0": "DENSIFY:1 TRANSPOSE_CONV:2 DEPTHWISE_CONV_2D:4 RESIZE_BILINEAR:3 STRIDED_SLICE:4 UNPACK:3 REVERSE_V2:2",
    "2.3.0": (
        "CONV_2D:4 DEPTHWISE_CONV_2D:5 FULLY_CONNECTED:7 AVERAGE_POOL_2D:3 MAX_POOL_2D:3 BATCH_MATMUL:1 SUB:3 DIV:2 "
        "MAXIMUM:3 MINIMUM:3 MUL:4 SOFTMAX:3 TRANSPOSE:4 TRANSPOSE_CONV:3 CONCATENATION:3 PACK:3 UNPACK:4 SPLIT:4 "
        "RESIZE_NEAREST_NEIGHBOR:3 TANH:3 LOGISTIC:3 LEAKY_RELU:2 SPLIT_V:2 MIRROR_PAD:2 EQUAL:3 "
        "SCATTER_ND:1 SELECT_V2:1"
    ),
    "2.4.0": (
        "ADD:3 SUB:4 PAD:3 PADV2:3 SLICE:4 TRANSPOSE:5 MEAN:3 BATCH_MATMUL:3 GATHER:4 "
        "RESIZE_NEAREST_NEIGHBOR:4 CUMSUM:1"
    ),
    "2.5.0": (
        "BROADCAST_TO:2 SLICE:5 GATHER:5 GATHER_ND:3 DEPTH_TO_SPACE:2 REDUCE_MAX:3 REDUCE_MIN:3 RELU6:3 "
        "RESIZE_BILINEAR:4 SQUARED_DIFFERENCE:2 CONV_3D:1"
    ),
    "2.6.0": "ADD:4 MUL:5 PAD:4 PADV2:4 REDUCE_PROD:2 CONV_3D_TRANSPOSE:1",
    "2.7.0": "DEQUANTIZE:5 CAST:2 QUANTIZE:3 EXP:2",
    "2.8.0": "CAST:3 TILE:3 TRANSPOSE_CONV:4",
    "2.9.0": "CONV_2D:6 CAST:4 GELU:1 ARG_MAX:3 ARG_MIN:3",
    "2.10.0": "RELU_0_TO_1:1 ATAN2:1 SIGN:1 ABS:4 LOG:2 RSQRT:2",
    "2.12.0": (
        "CAST:5 FLOOR_DIV:3 FLOOR_MOD:2 LESS:3 GREATER_EQUAL:3 BITWISE_XOR:1 RIGHT_SHIFT:1 TRANSPOSE:6 ABS:5 BITCAST:1"
    ),
    "2.14.0": "CONV_2D:7 DEPTHWISE_CONV_2D:7 FULLY_CONNECTED:10 DEQUANTIZE:6 MUL:7 ADD:5 TOPK_V2:3 SELECT_V2:2",
}


def minimum_runtime(codes: Iterable[tuple[str, int]]) -> str:
    """The first release that runs all of these (builtin, version) pairs."""
    used = dict[str, int]()
    for name, number in codes:
        used[name] = max(number, used.get(name, 0))
    best = "1.14.0"
    for release, needs in _NEEDS.items():
        for item in needs.split():
            name, _, least = item.partition(":")
            if used.get(name, 0) >= int(least):
                best = release
    return best
