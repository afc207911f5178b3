"""Division of 64-bit unsigned integers, which Keras has no form of, by signed ones (Warren, Hacker's Delight, 9-3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing._context import Context, keras_shape
from recast.formats.keras.writing._network import Tensor, array_literal
from recast.formats.keras.writing._typed import cast, compute

_TOP = array_literal(np.array(-(2**63), np.int64))
_REST = array_literal(np.array(2**63 - 1, np.int64))


def quotient_of_uint64(ctx: Context, node: ir.Node, suffix: str = "") -> Tensor:
    """The quotient of the node's inputs: as its result, or as int64 bits under ``suffix``.

    Below 2^63 the divisor fits int64: half the dividend is divided, doubled, and one is added where enough is left.
    Other divisors go once or not at all.
    """
    left, right = (cast(ctx, node, ctx.tensor(v), "int64") for v in node.inputs)
    shape = keras_shape(node.outputs[0])

    def step(name: str, path: str, *args: Any, gives: str = "int64") -> Tensor:
        return compute(ctx, node, f"numpy.{path}", list(args), shape=shape, gives=gives, suffix=f"{suffix}{name}")

    def not_below(name: str, one: Any, other: Any) -> Tensor:
        turned = [step(f"{name}{i}", "BitwiseXor", v, _TOP) for i, v in enumerate((one, other))]
        return step(name, "GreaterEqual", *turned, gives="bool")

    zero, one = (ctx.literal(np.array(n, np.int64)) for n in (0, 1))
    huge = step("huge", "Less", right, zero, gives="bool")
    once = step("once", "Where", not_below("fits", left, right), one, zero)
    divisor = step("divisor", "Where", huge, one, right)
    half = step("half", "BitwiseAnd", step("shift", "BitwiseRightShift", left, one), _REST)
    double = step("double", "BitwiseLeftShift", step("part", "FloorDivide", half, divisor), one)
    rest = step("rest", "Subtract", left, step("product", "Multiply", double, divisor))
    more = step("more", "Where", not_below("enough", rest, divisor), one, zero)
    small = step("small", "Add", double, more)
    if suffix:
        return step("", "Where", huge, once, small)
    return compute(ctx, node, "numpy.Where", [huge, once, small], gives="int64")
