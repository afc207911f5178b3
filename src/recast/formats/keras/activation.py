"""Activation functions by Keras's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

if TYPE_CHECKING:
    from recast.formats.keras.call import LayerCall

Function = Callable[["LayerCall", ir.Value], ir.Value]


def activate(c: LayerCall, value: ir.Value, spec: Any) -> ir.Value:
    """Apply an activation given by name, by serialised function, or by a layer's config.

    Raises:
        UnsupportedOp: an unknown function.
    """
    if isinstance(spec, dict):
        name, config = spec.get("class_name"), spec.get("config")
        if name == "function" or isinstance(config, str):
            return activate(c, value, config)
        from recast.formats.keras.config import Layer

        inner = Layer(str(name), c.layer.name, config if isinstance(config, dict) else {}, c.layer.path)
        return _layer(c, value, inner)
    if spec is None:
        return value
    function = FUNCTIONS.get(str(spec))
    if function is None:
        raise c.refuse(f"unknown activation '{spec}'", "use an activation of Keras")
    return function(c, value)


def _layer(c: LayerCall, value: ir.Value, inner: Any) -> ir.Value:
    from recast.formats.keras.reading import entry

    known = entry(inner)
    if known is None or known.weights(inner.config):
        raise c.refuse(f"unknown activation '{inner.class_name}'", "use it as a layer of its own")
    made: ir.Value = c.reading.call(inner, [value], {})
    return made


def _node(op_type: str, **attributes: Any) -> Function:
    return lambda c, x: c.op(op_type, [x], attributes)


def _clip(low: float, high: float) -> Function:
    return lambda c, x: c.op("Clip", [x, c.like(low, x), c.like(high, x)])


def swish(c: LayerCall, x: ir.Value) -> ir.Value:
    """x · sigmoid(x)."""
    return c.op("Mul", [x, c.op("Sigmoid", [x])])


def hard_sigmoid(c: LayerCall, x: ir.Value) -> ir.Value:
    """Keras 1 and 2: clip(0.2 x + 0.5); Keras 3: clip(x / 6 + 0.5)."""
    return c.op("HardSigmoid", [x], {"alpha": 0.2 if c.version < 3 else 1 / 6, "beta": 0.5})


def _hard_swish(c: LayerCall, x: ir.Value) -> ir.Value:
    return c.op("HardSwish", [x])


def _softmax(c: LayerCall, x: ir.Value) -> ir.Value:
    return c.op("Softmax", [x], {"axis": len(c.dims(x)) - 1})


def _log_softmax(c: LayerCall, x: ir.Value) -> ir.Value:
    return c.op("LogSoftmax", [x], {"axis": len(c.dims(x)) - 1})


def _log_sigmoid(c: LayerCall, x: ir.Value) -> ir.Value:
    return c.op("Neg", [c.op("Softplus", [c.op("Neg", [x])])])


def _tanh_shrink(c: LayerCall, x: ir.Value) -> ir.Value:
    return c.op("Sub", [x, c.op("Tanh", [x])])


def _squareplus(c: LayerCall, x: ir.Value) -> ir.Value:
    root = c.op("Sqrt", [c.op("Add", [c.op("Mul", [x, x]), c.like(4.0, x)])])
    return c.op("Mul", [c.op("Add", [x, root]), c.like(0.5, x)])


def _glu(c: LayerCall, x: ir.Value) -> ir.Value:
    left, right = c.b.node("Split", [x], {"axis": len(c.dims(x)) - 1, "num_outputs": 2}, 2)
    return c.op("Mul", [left, c.op("Sigmoid", [right])])


FUNCTIONS: dict[str, Function] = {
    "linear": lambda c, x: x,
    "relu": _node("Relu"),
    "relu6": _clip(0.0, 6.0),
    "leaky_relu": _node("LeakyRelu", alpha=0.2),
    "elu": _node("Elu", alpha=1.0),
    "celu": _node("Celu", alpha=1.0),
    "selu": _node("Selu", alpha=1.6732632423543772, gamma=1.0507009873554805),
    "softplus": _node("Softplus"),
    "softsign": _node("Softsign"),
    "tanh": _node("Tanh"),
    "sigmoid": _node("Sigmoid"),
    "exponential": _node("Exp"),
    "hard_sigmoid": hard_sigmoid,
    "silu": swish,
    "swish": swish,
    "hard_silu": _hard_swish,
    "hard_swish": _hard_swish,
    "gelu": _node("Gelu", approximate="none"),
    "mish": _node("Mish"),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "log_sigmoid": _log_sigmoid,
    "hard_tanh": _clip(-1.0, 1.0),
    "hard_shrink": _node("Shrink", lambd=0.5, bias=0.0),
    "soft_shrink": _node("Shrink", lambd=0.5, bias=0.5),
    "tanh_shrink": _tanh_shrink,
    "squareplus": _squareplus,
    "glu": _glu,
}
