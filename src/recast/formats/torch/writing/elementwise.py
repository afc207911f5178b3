"""Arithmetic, comparison, logic and functions of one number."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._ints import Ints
from recast.formats.torch.writing._types import FLOATS, WIDE_UNSIGNED
from recast.graph import view

_INFIX = {"Add": "+", "Sub": "-", "Mul": "*", "Equal": "==", "Less": "<", "LessOrEqual": "<=", "Greater": ">"}
_INFIX |= {"GreaterOrEqual": ">=", "And": "&", "Or": "|", "Xor": "^", "BitwiseAnd": "&", "BitwiseOr": "|"}
_INFIX |= {"BitwiseXor": "^"}
_COMPARES = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}


def input_type(node: ir.Node, index: int = 0) -> ir.DataType | None:
    """Element type of an input."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None else value.dtype


def widened(e: Emitter, node: ir.Node, index: int) -> str:
    """An input as a type that PyTorch computes with: the wide unsigned ones go to int64, modulo 2**64."""
    if input_type(node, index) in WIDE_UNSIGNED:
        return f"{e.x(node, index)}.to(torch.int64)"
    return e.operand(node, index)


def comparable(e: Emitter, node: ir.Node, index: int) -> str:
    """An input as a type in which PyTorch tells larger from smaller."""
    if input_type(node, index) == ir.DataType.UINT64:
        return f"{e.helper('ordered')}({e.x(node, index)})"
    return widened(e, node, index)


def compared(e: Emitter, node: ir.Node, code: str) -> str:
    """The way back from ``comparable``."""
    if input_type(node) == ir.DataType.UINT64:
        return f"{e.helper('unordered')}({code})"
    return _narrow(e, node, code)


def _narrow(e: Emitter, node: ir.Node, code: str) -> str:
    if input_type(node) in WIDE_UNSIGNED:
        return f"({code}).to({e.dtype(node.outputs[0])})"
    return code


def _host(e: Emitter, node: ir.Node) -> Ints | None:
    """The same arithmetic on host integers, when an operand was made from shapes."""
    if not (e.is_host(node, 0) or e.is_host(node, 1)):
        return None
    a, b = e.ints(node, 0), e.ints(node, 1)
    if a is None or b is None or (len(a.items) != len(b.items) and 1 not in (len(a.items), len(b.items))):
        return None
    sign = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "//"}.get(node.op_type)
    natural = a.natural and b.natural
    if sign is None or (sign == "//" and not natural):
        return None
    count = max(len(a.items), len(b.items))
    pairs = zip(
        a.items * (count if len(a.items) == 1 else 1), b.items * (count if len(b.items) == 1 else 1), strict=True
    )
    items = tuple(f"({x} {sign} {y})" for x, y in pairs)
    return Ints(items, a.scalar and b.scalar, natural and sign != "-")


@writes(*_INFIX)
def infix(e: Emitter, node: ir.Node) -> str | Ints:
    host = _host(e, node)
    if host is not None:
        return host
    if node.op_type in _COMPARES and input_type(node) == ir.DataType.STRING:
        raise Refuse("PyTorch has no strings")
    side = comparable if node.op_type in _COMPARES and node.op_type != "Equal" else widened
    code = f"{side(e, node, 0)} {_INFIX[node.op_type]} {side(e, node, 1)}"
    return code if node.op_type in _COMPARES else _narrow(e, node, code)


@writes("Div")
def div(e: Emitter, node: ir.Node) -> str | Ints:
    host = _host(e, node)
    if host is not None:
        return host
    if input_type(node) == ir.DataType.UINT64:
        return f"{e.helper('divide_unsigned')}({e.x(node)}, {e.x(node, 1)})"
    a, b = widened(e, node, 0), widened(e, node, 1)
    if input_type(node) in FLOATS:
        return f"{a} / {b}"
    return _narrow(e, node, f"torch.div({_tensor_first(e, node, a)}, {b}, rounding_mode='trunc')".replace("'", '"'))


def _tensor_first(e: Emitter, node: ir.Node, code: str) -> str:
    return e.x(node) if code[:1] in "-0123456789m" or code in ("True", "False") else code


@writes("Mod")
def mod(e: Emitter, node: ir.Node) -> str:
    if input_type(node) == ir.DataType.UINT64:
        return f"{e.helper('remainder_unsigned')}({e.x(node)}, {e.x(node, 1)})"
    call = "torch.fmod" if view.attr(node, "fmod", 0) else "torch.remainder"
    a = _tensor_first(e, node, widened(e, node, 0))
    return _narrow(e, node, f"{call}({a}, {widened(e, node, 1)})")


@writes("Pow")
def pow_(e: Emitter, node: ir.Node) -> str:
    a, b = widened(e, node, 0), widened(e, node, 1)
    mixed = input_type(node) != input_type(node, 1)
    if mixed or input_type(node) not in FLOATS:
        base = e.x(node) if input_type(node) in FLOATS else f"{e.x(node)}.to(torch.float64)"
        wide = f"torch.pow({base}, {e.x(node, 1)})" if mixed else f"torch.pow({_tensor_first(e, node, a)}, {b})"
        return f"{wide}.to({e.dtype(node.outputs[0])})"
    return f"({a}) ** {b}" if a.startswith("-") else f"{a} ** {b}"


@writes("BitShift")
def bit_shift(e: Emitter, node: ir.Node) -> str:
    call = "left" if view.attr(node, "direction") == "LEFT" else "right"
    if input_type(node) == ir.DataType.UINT64 and call == "right":
        return f"{e.helper('shift_right_unsigned')}({e.x(node)}, {e.x(node, 1)})"
    a, b = (f"{e.x(node, i)}.to(torch.int64)" if input_type(node) in WIDE_UNSIGNED else e.x(node, i) for i in (0, 1))
    return _narrow(e, node, f"torch.bitwise_{call}_shift({a}, {b})")


def _folded(e: Emitter, node: ir.Node, call: str) -> str:
    wide = input_type(node) in WIDE_UNSIGNED
    items = [comparable(e, node, i) if wide else e.x(node, i) for i in range(len(node.inputs))]
    code = items[0]
    for item in items[1:]:
        code = f"{call}({code}, {item})"
    return compared(e, node, code)


@writes("Max")
def maximum(e: Emitter, node: ir.Node) -> str:
    return _folded(e, node, "torch.maximum")


@writes("Min")
def minimum(e: Emitter, node: ir.Node) -> str:
    return _folded(e, node, "torch.minimum")


@writes("Sum")
def sum_(e: Emitter, node: ir.Node) -> str:
    return " + ".join(e.xs(node))


@writes("Mean")
def mean(e: Emitter, node: ir.Node) -> str:
    return f"({' + '.join(e.xs(node))}) / {len(node.inputs)}"


# Functions of one tensor: {} is its expression.
_UNARY = {
    "Abs": "torch.abs({})", "Neg": "-{}", "Sqrt": "torch.sqrt({})", "Exp": "torch.exp({})", "Log": "torch.log({})",
    "Reciprocal": "torch.reciprocal({})", "Floor": "torch.floor({})", "Ceil": "torch.ceil({})",
    "Round": "torch.round({})", "Sin": "torch.sin({})", "Cos": "torch.cos({})", "Tan": "torch.tan({})",
    "Asin": "torch.asin({})", "Acos": "torch.acos({})", "Atan": "torch.atan({})", "Sinh": "torch.sinh({})",
    "Cosh": "torch.cosh({})", "Asinh": "torch.asinh({})", "Acosh": "torch.acosh({})", "Atanh": "torch.atanh({})",
    "Erf": "torch.erf({})", "Sign": "torch.sign({})", "Not": "~{}", "BitwiseNot": "~{}", "IsNaN": "torch.isnan({})",
}  # fmt: skip


@writes(*_UNARY)
def unary(e: Emitter, node: ir.Node) -> str:
    kind = input_type(node)
    x = e.x(node)
    if kind in WIDE_UNSIGNED and node.op_type in ("Abs", "Sign"):  # none of them is negative
        return f"{x}.clone()" if node.op_type == "Abs" else f"(~({x} == 0)).to({e.dtype(node.outputs[0])})"
    if kind in WIDE_UNSIGNED:
        return _narrow(e, node, _UNARY[node.op_type].format(f"{x}.to(torch.int64)"))
    return _UNARY[node.op_type].format(x)


@writes("IsInf")
def is_inf(e: Emitter, node: ir.Node) -> str:
    low, high = view.attr(node, "detect_negative", 1), view.attr(node, "detect_positive", 1)
    call = {(1, 1): "isinf", (1, 0): "isneginf", (0, 1): "isposinf"}.get((low, high))
    x = e.x(node)
    return f"torch.{call}({x})" if call else f"torch.zeros_like({x}, dtype=torch.bool)"


@writes("Identity")
def identity(e: Emitter, node: ir.Node) -> Ints | None:
    if e.is_host(node, 0):
        return e.ints(node, 0)
    e.alias(node.outputs[0], e.x(node))
    return None


@writes("Where")
def where(e: Emitter, node: ir.Node) -> str:
    return f"torch.where({e.x(node)}, {e.x(node, 1)}, {e.x(node, 2)})"


@writes("Clip")
def clip(e: Emitter, node: ir.Node) -> str:
    x = e.x(node)
    bounds = [e.operand(node, i) if e.value(node, i) is not None else "None" for i in (1, 2)]
    kind = input_type(node)
    constant = [e.const(node, i) for i in (1, 2)]
    if kind in FLOATS and [None if c is None else float(c.reshape(-1)[0]) for c in constant] == [0.0, 6.0]:
        return f"{e.module(node, 'nn.ReLU6()', {})}({x})"
    if bounds == ["None", "None"]:
        e.alias(node.outputs[0], x)
        return x
    if kind in WIDE_UNSIGNED:
        bounds = ["None" if b == "None" else comparable(e, node, i + 1) for i, b in enumerate(bounds)]
        return compared(e, node, f"torch.clamp({comparable(e, node, 0)}, {', '.join(bounds)})")
    if "None" not in bounds and any(c is None for c in constant):
        bounds = [e.x(node, 1), e.x(node, 2)]
    if "None" not in bounds and all(c is not None for c in constant):
        return f"torch.clamp({x}, {bounds[0]}, {bounds[1]})"
    # one side at a time: the upper bound wins, as in ONNX
    code = x if bounds[0] == "None" else f"torch.clamp({x}, min={bounds[0]})"
    return code if bounds[1] == "None" else f"torch.clamp({code}, max={bounds[1]})"


_UNSIGNED_TARGETS = WIDE_UNSIGNED - {ir.DataType.UINT64}


@writes("Cast", "CastLike")
def cast(e: Emitter, node: ir.Node) -> str | Ints:
    target = e.type(node.outputs[0].dtype).torch
    value = node.inputs[0]
    if e.is_host(node, 0) and target == "int64":
        return e.ints(node, 0) or e.x(node)
    if value is None or value.dtype == ir.DataType.STRING:
        raise Refuse("PyTorch has no strings")
    e.type(value.dtype)
    out = node.outputs[0].dtype
    if out is not None and "INT4" in out.name or out is not None and "INT2" in out.name:
        raise Refuse("PyTorch has no arithmetic on 4-bit integers")
    if target.startswith("float8") and view.attr(node, "saturate", 1):
        limit = 448.0 if target == "float8_e4m3fn" else 57344.0
        x = e.x(node)
        return f"torch.where(torch.isnan({x}), {x}, {x}.clamp(-{limit}, {limit})).to(torch.{target})"
    if target == "float8_e4m3fn" and value.dtype in FLOATS:
        x = e.x(node)  # beyond the largest number (ties go to it) there is only NaN
        return f"torch.where({x}.abs() > 464.0, math.nan, {x}).to(torch.float8_e4m3fn)"
    if value.dtype in FLOATS and out in (ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.INT16, *_UNSIGNED_TARGETS):
        return f"{e.x(node)}.to(torch.int64).to(torch.{target})"
    return f"{e.x(node)}.to(torch.{target})"


@writes("BitCast")
def bit_cast(e: Emitter, node: ir.Node) -> str:
    return f"{e.x(node)}.view({e.dtype(node.outputs[0])})"
