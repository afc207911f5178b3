"""Operations of ``keras.ops`` on the bits of numbers."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.keras.arguments import argument, numpy_type, operands, pair, promote, type_of, typed
from recast.formats.keras.call import LayerCall
from recast.formats.keras.promotion import is_float
from recast.formats.keras.reading import reads
from recast.graph import integers

_LOGIC = {"BitwiseAnd": "BitwiseAnd", "BitwiseOr": "BitwiseOr", "BitwiseXor": "BitwiseXor"}


@reads(*(f"ops.{name}" for name in _LOGIC))
def logic(c: LayerCall) -> ir.Value:
    """Bit by bit; booleans as logic."""
    left, right = operands(c, weak=False)
    kind = _LOGIC[c.layer.class_name]
    return c.op(kind.removeprefix("Bitwise") if left.dtype == ir.DataType.BOOL else kind, [left, right])


@reads("ops.BitwiseNot", "ops.BitwiseInvert")
def invert(c: LayerCall) -> ir.Value:
    """Every bit turned."""
    return c.op("Not" if c.x.dtype == ir.DataType.BOOL else "BitwiseNot", [c.x])


@reads("ops.BitwiseLeftShift", "ops.LeftShift", "ops.BitwiseRightShift", "ops.RightShift")
def shift(c: LayerCall) -> ir.Value:
    """Shifts by fewer bits than there are."""
    x, by = pair(c)
    name = type_of(c, x) if isinstance(by, int) else promote(c, [x, by], weak=False)
    if is_float(name) or name == "bool":
        raise c.refuse(f"a shift of {name}")
    return integers.shift(c.b, typed(c, x, name), typed(c, by, name), c.layer.class_name.endswith("LeftShift"))


@reads("ops.View")
def view(c: LayerCall) -> ir.Value:
    """The same bits as another type of the same width."""
    name = str(argument(c, "dtype", 1) or type_of(c, c.x))
    wanted, held = numpy_type(c, name), numpy_type(c, type_of(c, c.x))
    if wanted.itemsize != held.itemsize:
        raise c.refuse(f"{held} as {wanted}, which changes the number of elements")
    if "b" in (wanted.kind, held.kind) or (wanted.kind in "iu" and held.kind in "iu"):
        return typed(c, c.x, name)
    return c.op("BitCast", [c.x], {"to": int(ir.DataType.from_numpy(wanted))})
