"""Bits of integers. LiteRT has BITWISE_XOR and RIGHT_SHIFT; the rest comes from ``a + b = (a ^ b) + 2 (a & b)``.

64-bit integers are two of 32 bits (BITCAST), the lower one first.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.constants import tensor_type
from recast.formats.tflite.writing.elementwise import cast_tensor
from recast.formats.tflite.writing.emitter import Emitter
from recast.graph import view

_WIDE = ("INT64", "UINT64")
_BITS = {"INT8": 8, "UINT8": 8, "INT16": 16, "UINT16": 16, "INT32": 32, "UINT32": 32, "INT64": 64, "UINT64": 64}
_MOST = 2**31 - 1


@writes("BitCast")
def bit_cast(w: Emitter, node: ir.Node) -> None:
    """BITCAST between types of one width."""
    source, out = w.take(node.inputs[0]), w.put(node.outputs[0])
    if w.tensors[source].type == w.tensors[out].type:
        w.reshape(source, w.shape(out), out)
        return
    w.op("BITCAST", [source], [out])


@writes("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(w: Emitter, node: ir.Node) -> None:
    """On 32-bit words; smaller integers are cast, larger ones are two words."""
    type_name = tensor_type(node.outputs[0].dtype)
    out = w.put(node.outputs[0])
    operands = [_words(w, w.take(v)) for v in node.inputs]
    shape = [*w.shape(out), 2] if type_name in _WIDE else w.shape(out)
    combined = _combined(w, node.op_type, operands, shape)
    _from_words(w, combined, out)


def _words(w: Emitter, index: int) -> int:
    """A tensor as int32, or as pairs of int32."""
    name = w.tensors[index].type
    if name in _WIDE:
        return w.then("BITCAST", [index], (*w.shape(index), 2), None, "INT32")
    if name == "UINT32":
        return w.then("BITCAST", [index], None, None, "INT32")
    return index if name == "INT32" else cast_tensor(w, index, name, "INT32")


def _from_words(w: Emitter, index: int, out: int) -> None:
    name = w.tensors[out].type
    if name in (*_WIDE, "UINT32"):
        w.op("BITCAST", [index], [out])
    elif name == "INT32":
        w.reshape(index, w.shape(out), out)
    else:
        cast_tensor(w, index, "INT32", name, out)


def _combined(w: Emitter, op_type: str, operands: list[int], shape: list[int] | tuple[int, ...]) -> int:
    """AND, OR or XOR of int32 words."""
    differing = w.then("BITWISE_XOR", operands, shape)
    if op_type == "BitwiseXor":
        return differing
    total = w.then("ADD", operands, shape, ("AddOptions", {}))  # wraps around
    doubled = w.then("SUB", [total, differing], shape, ("SubOptions", {}))
    # half of it as an unsigned number: the shift is arithmetic, so the sign is put in by hand
    unsigned = w.then("BITCAST", [doubled], None, None, "UINT32")
    halved = w.then("RIGHT_SHIFT", [unsigned, w.constant(np.array(1, np.uint32))])
    low = w.then("BITCAST", [halved], None, None, "INT32")
    signs = [w.then("LESS", [o, w.ints(0)], None, None, "BOOL") for o in operands]
    negative = w.then("LOGICAL_AND", signs, shape)
    top = w.temp(low)
    w.op("SELECT_V2", [negative, w.ints(-(2**31)), w.ints(0)], [top], ("SelectV2Options", {}))
    both = w.then("ADD", [low, top], None, ("AddOptions", {}))
    if op_type == "BitwiseAnd":
        return both
    return w.then("SUB", [total, both], shape, ("SubOptions", {}))


@writes("BitShift")
def bit_shift(w: Emitter, node: ir.Node) -> None:
    """To the left a product with a power of two, to the right RIGHT_SHIFT; by the width or more nothing is left."""
    type_name = tensor_type(node.outputs[0].dtype)
    x, by = (w.take(v) for v in node.inputs)
    out, width = w.put(node.outputs[0]), _BITS[type_name]
    left = view.attr(node, "direction", "") == "LEFT"
    amounts = _amounts(w, node, by, width)
    if left:
        powers = w.constant(_powers(type_name, width))
        factors = w.then("GATHER", [powers, amounts], w.shape(amounts), ("GatherOptions", {"axis": 0}))
        w.op("MUL", [x, factors], [out], ("MulOptions", {}))
        return
    if type_name in _WIDE:
        _right_64(w, node, (x, out), width)
        return
    signed = not type_name.startswith("U")
    most = w.ints(width - 1)
    small = w.then("MINIMUM", [amounts, most], None, ("MaximumMinimumOptions", {}))
    fitting = cast_tensor(w, small, "INT32", type_name) if type_name != "INT32" else small
    shifted = w.then("RIGHT_SHIFT", [x, fitting], w.shape(out))
    if signed:  # the sign is all that is left
        w.reshape(shifted, w.shape(out), out)
        return
    gone = w.then("GREATER", [amounts, most], None, None, "BOOL")
    zero = w.constant(np.zeros((), type_name.lower()))
    w.op("SELECT_V2", [gone, zero, shifted], [out], ("SelectV2Options", {}))


def _amounts(w: Emitter, node: ir.Node, by: int, width: int) -> int:
    """How far, as int32 in 0..width; a negative number shifts everything out."""
    given = view.const(node.inputs[1])
    if given is not None:
        exact = [int(v) for v in given.reshape(-1)]
        clipped = [v if 0 <= v < width else width for v in exact]
        return w.ints(np.array(clipped).reshape(given.shape))
    name = w.tensors[by].type
    if name in ("UINT64", "INT64"):
        raise Refused("shifts by 64-bit integers that are computed at run time")
    wide = cast_tensor(w, by, name, "INT64")
    limits = [w.constant(np.array(v, np.int64)) for v in (0, width)]
    low = w.then("LESS", [wide, limits[0]], None, None, "BOOL")
    high = w.then("MINIMUM", [wide, limits[1]], None, ("MaximumMinimumOptions", {}))
    chosen = w.temp(high)
    w.op("SELECT_V2", [low, limits[1], high], [chosen], ("SelectV2Options", {}))
    return cast_tensor(w, chosen, "INT64", "INT32")


def _powers(type_name: str, width: int) -> np.ndarray:
    """2**0 ... 2**(width - 1), then 0, wrapped into the type."""
    unsigned = np.array([1 << i for i in range(width)] + [0], f"uint{width}")
    return unsigned.view(type_name.lower())


def _right_64(w: Emitter, node: ir.Node, ends: tuple[int, int], width: int) -> None:
    """A constant shift of 64-bit integers, word by word."""
    given = view.const(node.inputs[1])
    x, out = ends
    if given is None:
        raise Refused("64-bit shifts to the right that are computed at run time")
    signed = w.tensors[x].type == "INT64"
    by = np.array([int(v) if 0 <= int(v) < width else width for v in given.reshape(-1)]).reshape(given.shape)
    pairs = w.then("BITCAST", [x], (*w.shape(x), 2), None, "UINT32")
    axis = len(w.shape(x))
    gathered = ("GatherOptions", {"axis": axis})
    words = w.then("BITCAST", [pairs], None, None, "INT32")
    low, high = (
        w.then("BITCAST", [w.then("GATHER", [words, w.ints(i)], w.shape(x), gathered)], None, None, "UINT32")
        for i in (0, 1)
    )
    sign = w.then("BITCAST", [high], None, None, "INT32")
    fill = (
        w.then("RIGHT_SHIFT", [sign, w.ints(31)]) if signed else w.then("SUB", [sign, sign], None, ("SubOptions", {}))
    )
    shape = w.shape(out)

    def word(lower: int, upper: int, amount: np.ndarray) -> int:
        """32 bits of the pair (upper, lower) from bit ``amount`` (0..32) on."""
        inner = w.constant(np.minimum(amount, 31).astype(np.uint32))
        right = w.then("BITCAST", [w.then("RIGHT_SHIFT", [lower, inner], shape)], None, None, "INT32")
        gone = w.constant(np.where(amount >= 32, 0, 1).astype(np.int32))
        right = w.then("MUL", [right, gone], shape, ("MulOptions", {}))
        factor = w.constant(
            np.array([(1 << (32 - int(a))) % 2**32 for a in amount.reshape(-1)], np.uint32)
            .view(np.int32)
            .reshape(amount.shape)
        )
        carried = w.then("MUL", [w.then("BITCAST", [upper], None, None, "INT32"), factor], shape, ("MulOptions", {}))
        return w.then("ADD", [right, carried], shape, ("AddOptions", {}))

    above = w.then("BITCAST", [fill], None, None, "UINT32")
    near, far = np.minimum(by, 32), np.clip(by - 32, 0, 32)
    results = []
    for first, second in ((low, high), (high, above)):
        step = word(first, second, near)
        after = w.then("BITCAST", [word(high if first is low else above, above, near)], None, None, "UINT32")
        results.append(word(w.then("BITCAST", [step], None, None, "UINT32"), after, far))
    joined = w.then("PACK", results, (*shape, 2), ("PackOptions", {"values_count": 2, "axis": len(shape)}))
    w.op("BITCAST", [joined], [out])
