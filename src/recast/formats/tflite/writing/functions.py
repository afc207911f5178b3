"""Functions without a builtin, composed of those there are."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.emitter import Emitter
from recast.graph import view

_TINY = 1e-18


class Formula:
    """Arithmetic on float tensors, step by step."""

    def __init__(self, w: Emitter, node: ir.Node) -> None:
        self.w, self.x, self.out = w, w.take(node.inputs[0]), w.put(node.outputs[0])

    def of(self, builtin: str, *operands: int | float) -> int:
        """A new tensor; the first operand is a tensor, numbers become scalars."""
        return self.w.then(builtin, self._tensors(operands))

    def end(self, builtin: str, *operands: int | float) -> None:
        """The last step, into the result."""
        self.w.op(builtin, self._tensors(operands), [self.out])

    def _tensors(self, operands: tuple[int | float, ...]) -> list[int]:
        return [self.w.number(v) if isinstance(v, float) else v for v in operands]


@writes("Erf")
def erf(w: Emitter, node: ir.Node) -> None:
    """GELU where the exact GELU is spelled out around it; else from GELU: ``gelu(v) / v`` is the normal distribution.

    ``erf(z) = sign(z) (2 gelu(v) / v - 1)`` with ``v = sqrt(2) |z|``, kept from zero; the error stays below 3e-7.
    """
    if _spelled_gelu(w, node):
        return
    t = Formula(w, node)
    v = t.of("ADD", t.of("MUL", t.of("ABS", t.x), math.sqrt(2.0)), _TINY)
    ratio = t.of("DIV", w.then("GELU", [v], None, ("GeluOptions", {"approximate": False})), v)
    t.end("MUL", t.of("SUB", t.of("MUL", ratio, 2.0), 1.0), t.of("SIGN", t.x))


def _spelled_gelu(w: Emitter, node: ir.Node) -> bool:
    """``0.5 x (1 + erf(x / sqrt(2)))`` in the orders that exporters write."""
    scaled = node.inputs[0].producer() if node.inputs[0] is not None else None
    if scaled is None or scaled.op_type not in ("Div", "Mul") or scaled.domain:
        return False
    factor = math.sqrt(2.0) if scaled.op_type == "Div" else math.sqrt(0.5)
    x = _other(scaled, factor)
    plus = view.sole_consumer(node.outputs[0])
    if x is None or plus is None or plus.op_type != "Add" or _other(plus, 1.0) is not node.outputs[0]:
        return False
    first = view.sole_consumer(plus.outputs[0])
    if first is None or first.op_type != "Mul":
        return False
    if x in first.inputs:
        second = view.sole_consumer(first.outputs[0])
        fits = second is not None and second.op_type == "Mul" and _other(second, 0.5) is first.outputs[0]
    elif _other(first, 0.5) is plus.outputs[0]:
        second = view.sole_consumer(first.outputs[0])
        fits = second is not None and second.op_type == "Mul" and x in second.inputs
    else:
        half = next((v.producer() for v in first.inputs if v is not None and v is not plus.outputs[0]), None)
        if half is None or half.op_type != "Mul" or _other(half, 0.5) is not x:
            return False
        w.done.update((plus, first))
        w.op("GELU", [w.take(x)], [w.put(first.outputs[0])], ("GeluOptions", {"approximate": False}))
        return True
    if not fits or second is None:
        return False
    w.done.update((plus, first, second))
    w.op("GELU", [w.take(x)], [w.put(second.outputs[0])], ("GeluOptions", {"approximate": False}))
    return True


def _other(node: ir.Node, constant: float) -> ir.Value | None:
    """The operand beside a scalar constant."""
    for index, value in enumerate(node.inputs[:2]):
        array = view.const(value)
        if array is not None and array.size == 1 and math.isclose(float(array.reshape(-1)[0]), constant, rel_tol=1e-6):
            return None if node.op_type == "Div" and index == 0 else node.inputs[1 - index]
    return None


@writes("Mish")
def mish(w: Emitter, node: ir.Node) -> None:
    """``x tanh(softplus(x)) = x (n^2 + 2 n) / (n^2 + 2 n + 2)`` with ``n = e^x``; above 20 it is x itself."""
    t = Formula(w, node)
    n = t.of("EXP", t.of("MINIMUM", t.x, 20.0))
    top = t.of("MUL", n, t.of("ADD", n, 2.0))
    t.end("MUL", t.x, t.of("DIV", top, t.of("ADD", top, 2.0)))


@writes("Celu")
def celu(w: Emitter, node: ir.Node) -> None:
    """``max(x, 0) + min(alpha (e^(x / alpha) - 1), 0)``."""
    alpha = float(view.attr(node, "alpha", 1.0))
    t = Formula(w, node)
    low = t.of("ELU", t.of("MUL", t.of("MINIMUM", t.x, 0.0), 1.0 / alpha))
    t.end("ADD", t.of("RELU", t.x), t.of("MUL", low, alpha))


@writes("ThresholdedRelu")
def thresholded_relu(w: Emitter, node: ir.Node) -> None:
    """x where it is above alpha, else 0."""
    alpha = float(view.attr(node, "alpha", 1.0))
    x, out = w.take(node.inputs[0]), w.put(node.outputs[0])
    above = w.then("GREATER", [x, w.number(alpha)], None, None, "BOOL")
    w.op("SELECT_V2", [above, x, w.number(0.0)], [out], ("SelectV2Options", {}))


@writes("Sinh", "Cosh")
def hyperbolic(w: Emitter, node: ir.Node) -> None:
    """``(e^x -+ e^-x) / 2``."""
    t = Formula(w, node)
    sign = "SUB" if node.op_type == "Sinh" else "ADD"
    t.end("MUL", t.of(sign, t.of("EXP", t.x), t.of("EXP", t.of("NEG", t.x))), 0.5)


@writes("Asinh", "Acosh", "Atanh")
def area(w: Emitter, node: ir.Node) -> None:
    """Logarithms: ``log(|x| + sqrt(x^2 +- 1))``, ``log((1 + x) / (1 - x)) / 2``."""
    t = Formula(w, node)
    if node.op_type == "Atanh":
        ratio = t.of("DIV", t.of("ADD", t.x, 1.0), t.of("ADD", t.of("NEG", t.x), 1.0))
        t.end("MUL", t.of("LOG", ratio), 0.5)
        return
    root = t.of("SQRT", t.of("ADD", t.of("SQUARE", t.x), 1.0 if node.op_type == "Asinh" else -1.0))
    if node.op_type == "Acosh":
        t.end("LOG", t.of("ADD", t.x, root))
        return
    t.end("MUL", t.of("LOG", t.of("ADD", t.of("ABS", t.x), root)), t.of("SIGN", t.x))


@writes("Atan", "Asin", "Acos")
def arc(w: Emitter, node: ir.Node) -> None:
    """ATAN2 of the sides of a right triangle."""
    t = Formula(w, node)
    if node.op_type == "Atan":
        t.end("ATAN2", t.x, t.of("ADD", t.of("MUL", t.x, 0.0), 1.0))
        return
    side = t.of("ADD", t.of("NEG", t.x), 1.0)
    root = t.of("SQRT", t.of("MUL", side, t.of("ADD", t.x, 1.0)))
    t.end("ATAN2", *((t.x, root) if node.op_type == "Asin" else (root, t.x)))


@writes("IsNaN")
def is_nan(w: Emitter, node: ir.Node) -> None:
    """Only NaN differs from itself."""
    x = w.take(node.inputs[0])
    w.op("NOT_EQUAL", [x, x], [w.put(node.outputs[0])])


@writes("IsInf")
def is_inf(w: Emitter, node: ir.Node) -> None:
    """Compared with infinity."""
    positive, negative = view.attr(node, "detect_positive", 1), view.attr(node, "detect_negative", 1)
    if not positive and not negative:
        raise Refused("IsInf that looks for nothing")
    x = w.take(node.inputs[0])
    if positive and negative:
        x = w.then("ABS", [x])
    w.op("EQUAL", [x, w.number(np.inf if positive else -np.inf)], [w.put(node.outputs[0])])
