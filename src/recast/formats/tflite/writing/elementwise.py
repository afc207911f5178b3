"""Operators on one, two or three tensors, element by element."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.schema import number
from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.constants import tensor_type
from recast.formats.tflite.writing.emitter import FLOATS, Emitter, Options
from recast.formats.tflite.writing.pool import same_scale
from recast.graph import view

_BINARY = {
    "Add": ("ADD", "AddOptions"),
    "Sub": ("SUB", "SubOptions"),
    "Mul": ("MUL", "MulOptions"),
    "Div": ("DIV", "DivOptions"),
}
_PLAIN = {
    "Pow": "POW",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "And": "LOGICAL_AND",
    "Or": "LOGICAL_OR",
}
_THROUGH = {"UINT8": "INT32", "INT8": "INT32", "INT16": "INT32", "UINT16": "INT32", "UINT32": "INT64"}
_UNARY = {
    "Abs": "ABS",
    "Neg": "NEG",
    "Ceil": "CEIL",
    "Floor": "FLOOR",
    "Round": "ROUND",
    "Sqrt": "SQRT",
    "Exp": "EXP",
    "Log": "LOG",
    "Sin": "SIN",
    "Cos": "COS",
    "Sign": "SIGN",
    "Not": "LOGICAL_NOT",
}


@writes(*_BINARY)
def arithmetic(w: Emitter, node: ir.Node) -> None:
    """ADD, SUB, MUL, DIV with a fused activation."""
    builtin, table = _BINARY[node.op_type]
    if node.outputs[0].dtype not in FLOATS:  # DIV truncates integers towards zero, as ONNX does
        _as_they_are(w, node, builtin, (table, {}))
        return
    quantised = node.op_type != "Div"
    site = w.site(node, fuse=True, fits=lambda _, __: quantised)
    w.op(builtin, site.inputs, [site.output], (table, site.options))


def _as_they_are(w: Emitter, node: ir.Node, builtin: str, options: Options = None) -> None:
    """One builtin; integers wrap around as ONNX's do (``stand_in``)."""
    w.op(builtin, [w.take(v) for v in node.inputs], [w.put(node.outputs[0])], options)


def _same_types(node: ir.Node) -> bool:
    """POW computes floats and 32-bit integers."""
    base, exponent = node.inputs[:2]
    if node.op_type != "Pow" or base is None or exponent is None:
        return True
    kinds = {*FLOATS, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.UINT16}
    return base.dtype == exponent.dtype and base.dtype in kinds


@writes(*_PLAIN, when=_same_types)
def plain(w: Emitter, node: ir.Node) -> None:
    """Two inputs, no options."""
    if len({v.dtype for v in node.inputs if v is not None}) > 1:
        raise Refused("operands of different types")
    _as_they_are(w, node, _PLAIN[node.op_type])


@writes("Max", "Min")
def extremum(w: Emitter, node: ir.Node) -> None:
    """MAXIMUM or MINIMUM, folded over any number of inputs."""
    builtin = "MAXIMUM" if node.op_type == "Max" else "MINIMUM"
    _fold(w, node, builtin, ("MaximumMinimumOptions", {}))


@writes("Sum")
def sum_all(w: Emitter, node: ir.Node) -> None:
    """ADD, folded over any number of inputs."""
    _fold(w, node, "ADD", ("AddOptions", {}))


@writes("Mean")
def mean_all(w: Emitter, node: ir.Node) -> None:
    """The mean of several tensors: their sum times a constant."""
    taken = [w.take(v) for v in node.inputs]
    out = w.put(node.outputs[0])
    total = taken[0]
    for other in taken[1:]:
        total = w.then("ADD", [total, other], np.broadcast_shapes(_ones(w, total), _ones(w, other)))
        w.tensors[total].shape = _merged(w.shape(total), w.shape(out))
    w.op("MUL", [total, w.number(1 / len(taken))], [out], ("MulOptions", {}))


def _ones(w: Emitter, index: int) -> tuple[int, ...]:
    return tuple(1 if d < 0 else d for d in w.shape(index))


def _merged(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(o if o < 0 else s for s, o in zip(shape, out[len(out) - len(shape) :], strict=True))


def _fold(w: Emitter, node: ir.Node, builtin: str, options: tuple[str, dict[str, int]]) -> None:
    if len(node.inputs) == 1:
        w.alias(node.outputs[0], w.take(node.inputs[0]))
        return
    if node.outputs[0].dtype not in FLOATS and len(node.inputs) == 2:
        _as_they_are(w, node, builtin, options)
        return
    moves = builtin != "ADD"
    site = w.site(node, fits=lambda a, b: len(a) == 2 and (not moves or same_scale(a, b)))
    total, *others = site.inputs
    for other in others[:-1]:
        shape = _merged(np.broadcast_shapes(_ones(w, total), _ones(w, other)), w.shape(site.output))
        total = w.then(builtin, [total, other], shape, options)
    w.op(builtin, [total, others[-1]], [site.output], options)


def _has_kernel(node: ir.Node) -> bool:
    """ABS has none for 64-bit integers."""
    x = node.inputs[0]
    return node.op_type != "Abs" or x is None or x.dtype != ir.DataType.INT64


@writes(*_UNARY, when=_has_kernel)
def unary(w: Emitter, node: ir.Node) -> None:
    """One input, no options. ROUND rounds halves to even, as ONNX does."""
    _as_they_are(w, node, _UNARY[node.op_type])


@writes("Reciprocal")
def reciprocal(w: Emitter, node: ir.Node) -> None:
    """``1 / x``; ``1 / sqrt(x)`` is RSQRT only where the square root is used by nothing else."""
    one = w.number(1.0)
    w.op("DIV", [one, w.take(node.inputs[0])], [w.put(node.outputs[0])], ("DivOptions", {}))


@writes("Tan")
def tan(w: Emitter, node: ir.Node) -> None:
    """``sin x / cos x``."""
    x = w.take(node.inputs[0])
    w.op("DIV", [w.then("SIN", [x]), w.then("COS", [x])], [w.put(node.outputs[0])], ("DivOptions", {}))


def _remainder(node: ir.Node) -> bool:
    return not view.attr(node, "fmod", 0) or node.outputs[0].dtype in FLOATS


@writes("Mod", when=_remainder)
def modulo(w: Emitter, node: ir.Node) -> None:
    """``fmod=0`` takes the divisor's sign: FLOOR_MOD. ``fmod=1`` takes the dividend's: of the absolute values both
    are the same, and nothing is rounded."""
    if view.attr(node, "fmod", 0):
        a, b = (w.take(v) for v in node.inputs)
        out = w.put(node.outputs[0])
        rest = w.temp(out)
        w.op("FLOOR_MOD", [w.then("ABS", [a]), w.then("ABS", [b])], [rest])
        negative = w.then("LESS", [a, w.number(0.0)], None, None, "BOOL")
        w.op("SELECT_V2", [negative, w.then("NEG", [rest]), rest], [out], ("SelectV2Options", {}))
        return
    _as_they_are(w, node, "FLOOR_MOD")


@writes("Xor")
def exclusive_or(w: Emitter, node: ir.Node) -> None:
    """Booleans differ."""
    w.op("NOT_EQUAL", [w.take(v) for v in node.inputs], [w.put(node.outputs[0])])


@writes("Where")
def where(w: Emitter, node: ir.Node) -> None:
    """SELECT_V2 broadcasts all three inputs."""
    w.op("SELECT_V2", [w.take(v) for v in node.inputs], [w.put(node.outputs[0])], ("SelectV2Options", {}))


@writes("Cast")
def cast(w: Emitter, node: ir.Node) -> None:
    """CAST; half-precision constants are kept and dequantised when loading."""
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    before, after = (_computed(v.dtype) for v in (source, result))
    if before == after:
        w.later(result, lambda: w.take(source))
        return
    index, out = w.take(source), w.put(result)
    if before.startswith("FLOAT") and after in _THROUGH:  # wraps around as ONNX Runtime's does
        index, before = cast_tensor(w, index, before, _THROUGH[after]), _THROUGH[after]
    if "UINT64" in (before, after):
        _cast_uint64(w, (index, out), before, after)
        return
    cast_tensor(w, index, before, after, out)


def cast_tensor(w: Emitter, index: int, before: str, after: str, out: int | None = None) -> int:
    """CAST of a tensor, into a new one or ``out``."""
    options = {"in_data_type": number("TensorType", before), "out_data_type": number("TensorType", after)}
    target = w.temp(index, None, after) if out is None else out
    w.op("CAST", [index], [target], ("CastOptions", options))
    return target


def _cast_uint64(w: Emitter, ends: tuple[int, int], before: str, after: str) -> None:
    """CAST has no uint64: its bits are int64's, except for the sign that floats would see."""
    index, out = ends
    if "FLOAT" in before + after:
        raise Refused(f"casting {before} to {after}")
    if after == "UINT64":
        w.op("BITCAST", [index if before == "INT64" else cast_tensor(w, index, before, "INT64")], [out])
        return
    if after == "INT64":
        w.op("BITCAST", [index], [out])
        return
    whole = w.then("BITCAST", [index], None, None, "INT64")
    cast_tensor(w, whole, "INT64", after, out)


def _computed(dtype: ir.DataType | None) -> str:
    """The type that values of this type have while LiteRT computes."""
    name = tensor_type(dtype)
    return "FLOAT32" if name == "FLOAT16" else name
