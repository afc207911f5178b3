"""Elementwise, shaping and matrix operators, casts, quantisers and If."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.verification.kernels import Call, Result, kernel
from recast.verification.tolerances import JITTER_STEPS

_PYTHON_ERF = np.frompyfunc(math.erf, 1, 1)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(_PYTHON_ERF(x)).astype(x.dtype)


_UNARY: dict[str, Callable[[np.ndarray], Any]] = {
    "Abs": np.abs, "Neg": np.negative, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt, "Tanh": np.tanh, "Sin": np.sin,
    "Cos": np.cos, "Floor": np.floor, "Ceil": np.ceil, "Round": np.rint, "Sign": np.sign, "Not": np.logical_not,
    "Reciprocal": lambda x: 1 / x, "Relu": lambda x: np.maximum(x, 0), "Identity": lambda x: x,
    "Sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)), "Softsign": lambda x: x / (1 + np.abs(x)),
    "Softplus": lambda x: np.logaddexp(x, np.zeros((), x.dtype)), "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(np.logaddexp(x, np.zeros((), x.dtype))), "Erf": _erf,
}  # fmt: skip
_BINARY = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Equal": np.equal, "Greater": np.greater, "Less": np.less,
    "GreaterOrEqual": np.greater_equal, "LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or,
    "Xor": np.logical_xor, "MatMul": np.matmul,
}  # fmt: skip
_NARROW = {ir.DataType.INT4: (-8, 7), ir.DataType.UINT4: (0, 15), ir.DataType.INT2: (-2, 1), ir.DataType.UINT2: (0, 3)}
_FOLD = {"Max": np.maximum, "Min": np.minimum, "Sum": np.add}


@kernel(*_UNARY)
def unary(call: Call) -> Result:
    """One input, one NumPy function."""
    return np.asarray(_UNARY[call.node.op_type](call[0]))


@kernel(*_BINARY)
def binary(call: Call) -> Result:
    """Two inputs, one NumPy function (broadcasting)."""
    return np.asarray(_BINARY[call.node.op_type](call[0], call[1]))


@kernel(*_FOLD)
def fold(call: Call) -> Result:
    """Any number of inputs."""
    total = call[0]
    for index in range(1, len(call.inputs)):
        total = _FOLD[call.node.op_type](total, call[index])
    return total


@kernel("Div")
def div(call: Call) -> Result:
    """Integers divide towards zero."""
    a, b = call[0], call[1]
    if a.dtype.kind in "iu":
        quotient = np.abs(a) // np.abs(b)
        return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype))
    return np.asarray(a / b)


@kernel("Pow")
def power(call: Call) -> Result:
    """The result has the base's type."""
    return np.asarray(
        np.power(call[0], call[1].astype(call[0].dtype) if call[0].dtype.kind == "f" else call[1]).astype(call[0].dtype)
    )


@kernel("LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "HardSigmoid", "Gelu", "PRelu")
def activation(call: Call) -> Result:
    """Activations with parameters."""
    x, name = call[0], call.node.op_type
    default = {"LeakyRelu": 0.01, "HardSigmoid": 0.2, "Selu": 1.67326319217681884765625}.get(name, 1.0)
    alpha = float(call.attr("alpha", default))
    if name in ("LeakyRelu", "PRelu"):
        return np.asarray(np.where(x < 0, x * (call[1] if name == "PRelu" else alpha), x))
    if name == "ThresholdedRelu":
        return np.where(x > alpha, x, np.zeros((), x.dtype))
    if name == "HardSigmoid":
        return np.asarray(np.clip(alpha * x + float(call.attr("beta", 0.5)), 0, 1))
    if name == "Gelu":
        if call.attr("approximate", "none") == "tanh":
            return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))))
        return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))
    negative = np.minimum(x, 0)
    if name == "Celu":
        return np.asarray(np.maximum(x, 0) + alpha * np.expm1(negative / alpha))
    gamma = float(call.attr("gamma", 1.05070102214813232421875)) if name == "Selu" else 1.0
    return np.asarray(gamma * (np.maximum(x, 0) + alpha * np.expm1(negative)))


@kernel("Swish", "SwiGLU")
def swish(call: Call) -> Result:
    """By the exponential, which loses no digits where the gate is nearly shut."""
    found = call[0] / (1 + np.exp(-float(call.attr("alpha", 1.0)) * call[0]))
    return np.asarray(found if call.node.op_type == "Swish" else found * call[1])


@kernel("Clip")
def clip(call: Call) -> Result:
    """Bounds may be left out."""
    x, low, high = call[0], call.get(1), call.get(2)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@kernel("Softmax", "LogSoftmax")
def softmax(call: Call) -> Result:
    """Along ``axis``, shifted by the maximum."""
    axis = int(call.attr("axis", -1))
    shifted = call[0] - call[0].max(axis=axis, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=axis, keepdims=True)
    return np.asarray(powers / total if call.node.op_type == "Softmax" else shifted - np.log(total))


@kernel("Gemm")
def gemm(call: Call) -> Result:
    """alpha A' B' + beta C."""
    a = call[0].T if call.attr("transA", 0) else call[0]
    b = call[1].T if call.attr("transB", 0) else call[1]
    alpha, beta, c = float(call.attr("alpha", 1.0)), float(call.attr("beta", 1.0)), call.get(2)
    y = a @ b if alpha == 1.0 else alpha * (a @ b)
    return np.asarray(y if c is None else y + (c if beta == 1.0 else beta * c))


@kernel("Dropout")
def dropout(call: Call) -> Result:
    """Inference: identity, with a mask of ones where it is asked for."""
    x, training = call[0], call.get(2)
    if training is not None and bool(training.reshape(-1)[0]):
        raise ValueError("Dropout in training mode is not evaluated")
    return (x, np.ones(x.shape, bool)) if len(call.node.outputs) > 1 else x


@kernel("Transpose")
def transpose(call: Call) -> Result:
    """Axes permuted; reversed without ``perm``."""
    return call[0].transpose(call.attr("perm"))


@kernel("Reshape")
def reshape(call: Call) -> Result:
    """0 copies a dimension unless ``allowzero``."""
    x, wanted = call[0], [int(d) for d in call[1]]
    if not call.attr("allowzero", 0):
        wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    return x.reshape(wanted)


@kernel("Flatten")
def flatten(call: Call) -> Result:
    """To rank 2."""
    x = call[0]
    axis = int(call.attr("axis", 1))
    axis = axis if axis >= 0 else axis + x.ndim
    return x.reshape(math.prod(x.shape[:axis]), -1)


@kernel("Concat")
def concat(call: Call) -> Result:
    """Along ``axis``."""
    return np.concatenate([call[i] for i in range(len(call.inputs))], axis=int(call.attr("axis")))


@kernel("Cast")
def cast(call: Call) -> Result:
    """In the exact run every float type is float64."""
    kind = ir.DataType(int(call.attr("to")))
    x, dtype = call[0], kind.numpy()
    floating = kind in (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    if call.exact and floating:
        return x.astype(np.float64)
    if kind in (ir.DataType.INT4, ir.DataType.UINT4) or (dtype.kind not in "iub" and not floating):
        raise ValueError(f"Cast to {kind.name} is not evaluated")
    with np.errstate(invalid="ignore"):
        return x.astype(dtype)


def _aligned(values: np.ndarray, call: Call, x: np.ndarray) -> np.ndarray:
    """Scales or zero points, broadcast against x: per tensor, per axis, or blocked."""
    if values.size == 1:
        return values.reshape(())
    axis, block = int(call.attr("axis", 1)) % x.ndim, int(call.attr("block_size", 0))
    if block:
        return np.take(values, np.arange(x.shape[axis]) // block, axis=axis)
    return values.reshape([-1 if a == axis else 1 for a in range(x.ndim)])


@kernel("QuantizeLinear")
def quantize_linear(call: Call) -> Result:
    """saturate(round half to even(x / scale) + zero point)."""
    x, zero = call[0], call.get(2)
    output = call.node.outputs[0].dtype
    dtype = zero.dtype if zero is not None else (output.numpy() if output is not None else np.dtype(np.uint8))
    if dtype.kind not in "iu":
        raise ValueError(f"QuantizeLinear to {dtype} is not evaluated")
    steps = x / _aligned(call[1], call, x)
    if call.jitter is not None:
        steps = steps + call.jitter.uniform(-JITTER_STEPS, JITTER_STEPS, steps.shape)
    shift = 0 if zero is None else _aligned(zero, call, x).astype(np.float64)
    low, high = _NARROW[output] if output in _NARROW else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.asarray(np.clip(np.rint(steps) + shift, low, high).astype(dtype))


@kernel("DequantizeLinear")
def dequantize_linear(call: Call) -> Result:
    """(x - zero point) · scale, exactly."""
    x, scale, zero = call[0], call[1], call.get(2)
    wide = x.astype(np.float64)
    if zero is not None:
        wide = wide - _aligned(zero, call, x).astype(np.float64)
    return np.asarray((wide * _aligned(scale, call, x)).astype(scale.dtype))


@kernel("If")
def if_(call: Call) -> Result:
    """Only the chosen branch runs."""
    branch = call.attr("then_branch" if bool(call[0].reshape(-1)[0]) else "else_branch")
    return tuple(call.subgraph(branch, call.scope))
