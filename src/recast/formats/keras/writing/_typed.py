"""Operations in an exact element type: arguments are cast to it, the result is cast to what the graph says.

Keras promotes types in its own way (sums of int8 are int32, uint64 becomes uint32, which loses bits): where an
operation is not known to keep a type, it is told which one to work in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit
from recast.formats.keras.writing._context import INLINE_ELEMENTS, Context, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Shape, Tensor, array_literal

_TOP = -(2**63)  # the bit that makes a uint64 negative when it is read as int64


def working_type(dtype: str) -> str:
    """The type in which sums, products and bits of ``dtype`` are computed: uint64 has the bits of int64."""
    return "int64" if dtype == "uint64" else dtype


def wide(dtype: str) -> str:
    """The type in which products and sums of many terms are computed: halves accumulate in float32."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def cast(ctx: Context, node: ir.Node, x: Tensor, dtype: str, suffix: str = "cast") -> Tensor:
    """A tensor in another type; itself where it has that type. What was rounded to halves is not rounded twice."""
    if x.dtype == dtype:
        return x
    if x in ctx.wider and ctx.wider[x].dtype == dtype:
        return ctx.wider[x]
    y = ctx.op(node, "core.Cast", [x], {"dtype": dtype}, shape=x.shape, dtype=dtype, suffix=suffix)
    if wide(dtype) == x.dtype != dtype:
        ctx.wider[y] = x
    return y


def number(value: Any, dtype: str) -> Any:
    """One number of a type as an argument."""
    if dtype in ("float32", "float64", "int32", "int64"):
        return np.asarray(value).astype(dtype).item()
    return array_literal(np.asarray(value).astype(dtype))


def operand(ctx: Context, node: ir.Node, value: ir.Value | None, dtype: str) -> Any:
    """A graph value as an argument of a type: a tensor, a number, a small array."""
    if value is None:
        raise Unfit("a needed input is missing")
    if ctx.bound(value) is None and ctx.const(value) is not None:
        array = ctx.const(value).load()  # type: ignore[union-attr]
        with np.errstate(all="ignore"):
            typed = (
                array
                if array.dtype.name == dtype
                else array.astype(ir.DataType[_ONNX.get(dtype, dtype.upper())].numpy())
            )
        if typed.ndim == 0:
            return number(typed, dtype)
        if typed.size <= INLINE_ELEMENTS:
            return array_literal(typed)
        return cast(ctx, node, ctx.tensor(value), dtype)
    return cast(ctx, node, ctx.tensor(value), dtype)


_ONNX = {"float32": "FLOAT", "float64": "DOUBLE"}


def operands(ctx: Context, node: ir.Node, values: Sequence[ir.Value | None], dtype: str) -> list[Any]:
    """Several; at least one is a tensor."""
    found = [operand(ctx, node, v, dtype) for v in values]
    if not any(isinstance(t, Tensor) for t in found):
        found[0] = cast(ctx, node, ctx.tensor(values[0]), dtype)
    return found


def compute(
    ctx: Context, node: ir.Node, path: str, args: Sequence[Any], config: Mapping[str, Any] | None = None, **extra: Any
) -> Tensor:
    """An operation whose arguments are ready.

    Args:
        ctx: the network that is written.
        node: the graph's node.
        path: module and class of the operation.
        args: tensors and constants.
        config: constructor arguments.
        extra: ``gives`` is the type that Keras returns (else the first tensor's); the last operation of a node (no
            ``suffix``) is cast to the node's type; ``shape`` of the result.
    """
    last = "suffix" not in extra
    shape: Shape = extra["shape"] if "shape" in extra else keras_shape(node.outputs[0])
    gives: str = extra.get("gives") or _first_dtype(args)
    wanted = keras_dtype(node.outputs[0]) if last else gives
    suffix = extra.get("suffix", "") if not last or wanted == gives else path.split(".")[1].lower()
    y = ctx.op(node, path, args, config, shape=shape, dtype=gives, suffix=suffix)
    return y if wanted == gives else cast(ctx, node, y, wanted, suffix="")


def _first_dtype(args: Sequence[Any]) -> str:
    for arg in args:
        if isinstance(arg, Tensor):
            return arg.dtype
        if isinstance(arg, (list, tuple)):
            return _first_dtype(arg)
    raise Unfit("all its inputs are constants")


def ordered(ctx: Context, node: ir.Node, values: Sequence[ir.Value | None]) -> list[Any]:
    """Arguments of a comparison: uint64 as int64 with the top bit turned, which keeps their order."""
    dtype = keras_dtype(values[0]) if values[0] is not None else "float32"
    if dtype == "bool":
        return operands(ctx, node, values, "int32")
    found = operands(ctx, node, values, working_type(dtype))
    if dtype != "uint64":
        return found
    turned: list[Any] = []
    for index, (arg, value) in enumerate(zip(found, values, strict=True)):
        if not isinstance(arg, Tensor) and value is not None:
            array = ctx.array(value, "operand").astype(np.int64) ^ np.int64(_TOP)
            turned.append(array_literal(array))
        else:
            turned.append(
                ctx.op(
                    node,
                    "numpy.BitwiseXor",
                    [arg, array_literal(np.array(_TOP, np.int64))],
                    shape=arg.shape,
                    dtype="int64",
                    suffix=f"order{index}",
                )
            )
    return turned
