"""TensorFlow functions in Keras 2 graphs (``TFOpLambda``, ``SlicingOpLambda``), as operations of ``keras.ops``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from recast.formats.keras.arguments import type_of
from recast.formats.keras.call import LayerCall
from recast.formats.keras.config import Layer
from recast.formats.keras.promotion import is_float
from recast.formats.keras.reading import entries, reads
from recast.formats.keras.reading.resize import resize_to
from recast.formats.keras.reading.shape_ops import item

_PAIR = {"x": "x1", "y": "x2", "a": "x1", "b": "x2"}
_IGNORED = ("name", "keep_dims", "data_format", "half_pixel_centers")


@dataclass(frozen=True)
class _Function:
    """How a TensorFlow function maps: operation, argument names, and defaults that differ."""

    operation: str
    rename: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)


_BINARY = {
    **{"add": "Add", "subtract": "Subtract", "multiply": "Multiply", "divide": "Divide", "truediv": "Divide"},
    **{"pow": "Power", "maximum": "Maximum", "minimum": "Minimum", "greater": "Greater", "less": "Less"},
    **{"greater_equal": "GreaterEqual", "less_equal": "LessEqual", "equal": "Equal", "not_equal": "NotEqual"},
    **{"squared_difference": "SquaredDifference", "sub": "Subtract", "mul": "Multiply"},
}
_UNARY = {
    **{"abs": "Abs", "negative": "Negative", "neg": "Negative", "exp": "Exp", "log": "Log", "sqrt": "Sqrt"},
    **{"rsqrt": "Rsqrt", "square": "Square", "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "sigmoid": "Sigmoid"},
    **{"softplus": "Softplus", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sign": "Sign", "erf": "Erf"},
    **{"relu": "Relu", "relu6": "Relu6", "elu": "Elu", "selu": "Selu", "silu": "Silu", "swish": "Silu"},
    **{"softsign": "Softsign", "reciprocal": "Reciprocal", "log1p": "Log1p", "expm1": "Expm1"},
}
_REDUCE = {f"reduce_{key}": name for key, name in (("mean", "Mean"), ("sum", "Sum"), ("max", "Max"), ("min", "Min"))}
_OTHER_TYPES = ("Divide", "Mean", "Sum", "Prod")
_OTHER = {
    "reshape": _Function("Reshape", {"shape": "newshape"}),
    "transpose": _Function("Transpose", {"perm": "axes"}),
    "concat": _Function("Concatenate"),
    "stack": _Function("Stack"),
    "expand_dims": _Function("ExpandDims"),
    "squeeze": _Function("Squeeze"),
    "cast": _Function("Cast"),
    "clip_by_value": _Function("Clip", {"clip_value_min": "x_min", "clip_value_max": "x_max"}),
    "softmax": _Function("Softmax"),
    "log_softmax": _Function("LogSoftmax"),
    "leaky_relu": _Function("LeakyRelu", {"alpha": "negative_slope"}),
    "gelu": _Function("Gelu", {}, {"approximate": False}),
    "matmul": _Function("Matmul", _PAIR),
    "l2_normalize": _Function("Normalize", {}, {"epsilon": 1e-6}),
    "tile": _Function("Tile", {"multiples": "repeats"}),
    "pad": _Function("Pad", {"paddings": "pad_width"}),
    "where": _Function("Where", {"x": "x1", "y": "x2"}),
    "reduce_prod": _Function("Prod"),
}


def _known(name: str) -> _Function | None:
    short = name.split(".")[-1]
    if short in _BINARY:
        return _Function(_BINARY[short], _PAIR)
    plain = _UNARY.get(short) or _REDUCE.get(short)
    return _Function(plain) if plain is not None else _OTHER.get(short)


@reads("TFOpLambda")
def function(c: LayerCall) -> Any:
    """One TensorFlow function by its public name."""
    name = str(c.get("function", ""))
    if name.endswith("image.resize"):
        return _image_resize(c)
    if name in ("identity", "stop_gradient", "convert_to_tensor"):
        return c.op("Identity", [c.x])
    known = _known(name)
    if known is None:
        raise c.refuse(f"the TensorFlow function tf.{name}", "replace it by a Keras layer and save again")
    kwargs = {known.rename.get(k, k): v for k, v in c.kwargs.items() if k not in _IGNORED and v is not None}
    for key in ("transpose_a", "transpose_b", "adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse"):
        if kwargs.pop(key, False):
            raise c.refuse(f"{key}=True in tf.{name}")
    if known.operation == "Normalize" and "epsilon" in kwargs:
        kwargs["epsilon"] = float(kwargs["epsilon"]) ** 0.5
    if "mode" in kwargs:
        kwargs["mode"] = str(kwargs["mode"]).lower()
    if known.operation in _OTHER_TYPES and any(not is_float(type_of(c, v)) for v in c.tensors):
        raise c.refuse(f"whole numbers in tf.{name}, which has them of another type than Keras", "cast them before")
    layer = Layer(known.operation, c.layer.name, {}, c.layer.path, operation=True)
    call = LayerCall(c.reading, layer, c.args, {**known.defaults, **kwargs})
    return entries()[f"ops.{known.operation}"].handler(call)


@reads("SlicingOpLambda")
def slicing(c: LayerCall) -> ir.Value:
    """``x[...]``."""
    spec = c.kwargs.get("slice_spec", c.args[1] if len(c.args) > 1 else None)
    parts = spec if isinstance(spec, list) else [spec]
    return item(c, c.x, [_slice(p) for p in parts])


def _slice(part: Any) -> Any:
    if isinstance(part, dict) and set(part) <= {"start", "stop", "step"}:
        return slice(part.get("start"), part.get("stop"), part.get("step"))
    return part


def _image_resize(c: LayerCall) -> ir.Value:
    size = c.kwargs.get("size", c.args[1] if len(c.args) > 1 else None)
    if c.kwargs.get("preserve_aspect_ratio") or c.kwargs.get("antialias") or not isinstance(size, list):
        raise c.refuse("preserve_aspect_ratio, antialias or a size that is a tensor")
    if "v1" in str(c.get("function")):
        raise c.refuse("tf.compat.v1.image.resize", "use the Resizing layer")
    return resize_to(c, c.x, int(size[0]), int(size[1]), str(c.kwargs.get("method", "bilinear")))
