"""Shapes of the commonest operators without protobuf, exactly as ONNX's own inference gives them.

Whatever is not plain (unknown dimensions, unusual attributes, inputs that contradict each other) is left to ONNX: the
answer is then False and nothing was changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

Dim = int | ir.SymbolicDim
Dims = list[Dim]

_SMALL = 64  # entries of a constant shape


def retype(value: ir.Value, dtype: ir.DataType) -> None:
    """Set a value's element type and leave its clones alone, which share the type object."""
    if value.dtype != dtype:
        value.type = ir.TensorType(dtype)


def quick(node: ir.Node) -> bool:
    """Set type and shape of a node's output; False where ONNX must tell."""
    op_type, inputs, outputs = node.op_type, node.inputs, node.outputs
    rule = _RULES.get(op_type)
    if rule is None or node.domain or len(outputs) != 1 or not inputs:
        return False
    x = inputs[0]
    shape = x.shape if x is not None else None
    if x is None or shape is None or x.type is None:
        return False
    if op_type in _ARITY and not _plain(node, _ARITY[op_type]):
        return False
    dims = rule(node, list(shape))
    if dims is None:
        return False
    result = outputs[0]
    result.shape = ir.Shape(dims)
    told = x if op_type not in _TOLD else inputs[_TOLD[op_type]]
    retype(result, told.dtype)  # type: ignore[union-attr, arg-type]
    return True


def _plain(node: ir.Node, most: int) -> bool:
    """Whether there are no more inputs than the operator has, all of one floating-point type."""
    inputs = [v for v in node.inputs if v is not None]
    return len(inputs) <= most and inputs[0].dtype in _FLOATS and all(v.dtype == inputs[0].dtype for v in inputs)


def _dims(value: ir.Value | None) -> Dims | None:
    return None if value is None or value.shape is None else list(value.shape)


def _ints(node: ir.Node, name: str, count: int, default: int) -> list[int] | None:
    """A repeated attribute with ``count`` entries."""
    found = node.attributes.data.get(name)
    if found is None:
        return [default] * count
    values = list(found.value)
    return values if len(values) == count and all(type(v) is int for v in values) else None


def _one(node: ir.Node, name: str, default: int) -> int:
    found = node.attributes.data.get(name)
    return default if found is None else int(found.value)


def _same(node: ir.Node, x: Dims) -> Dims | None:
    return x


def _softmax(node: ir.Node, x: Dims) -> Dims | None:
    return x if len(x) >= 2 else None


def _batch_normalization(node: ir.Node, x: Dims) -> Dims | None:
    if len(x) < 2 or len(node.inputs) != 5:
        return None
    return x if all(_dims(v) == [x[1]] for v in node.inputs[1:]) else None


def _quantised(node: ir.Node, x: Dims) -> Dims | None:
    index = _TOLD[node.op_type]
    told = node.inputs[index] if index < len(node.inputs) else None
    return x if told is not None and told.type is not None and node.attributes.data.keys() <= {"axis"} else None


def _transpose(node: ir.Node, x: Dims) -> Dims | None:
    found = node.attributes.data.get("perm")
    perm = list(found.value) if found is not None else None
    return [x[axis] for axis in perm] if perm is not None and sorted(perm) == list(range(len(x))) else None


def _elementwise(node: ir.Node, x: Dims) -> Dims | None:
    if len(node.inputs) != 2:
        return None
    y = _dims(node.inputs[1])
    if y is None:
        return None
    if len(x) < len(y):
        x, y = y, x
    out: Dims = x[: len(x) - len(y)]
    for a, b in zip(x[len(x) - len(y) :], y, strict=True):
        if type(b) is int and b == 1:
            out.append(a)
        elif type(a) is int and a == 1:
            out.append(b)
        elif type(a) is type(b) and a == b and (type(a) is int or a.value is not None):  # type: ignore[union-attr]
            out.append(a)
        else:
            return None
    return out


def _gemm(node: ir.Node, x: Dims) -> Dims | None:
    y = _dims(node.inputs[1]) if len(node.inputs) > 1 else None
    if y is None or len(x) != 2 or len(y) != 2:
        return None
    rows, inner = reversed(x) if _one(node, "transA", 0) else x
    wanted, columns = reversed(y) if _one(node, "transB", 0) else y
    return [rows, columns] if type(inner) is int and type(wanted) is int and inner == wanted else None


def _matmul(node: ir.Node, x: Dims) -> Dims | None:
    y = _dims(node.inputs[1]) if len(node.inputs) > 1 else None
    if y is None or len(y) != 2 or len(x) < 2 or type(x[-1]) is not int or type(y[0]) is not int or x[-1] != y[0]:
        return None
    return [*x[:-1], y[1]]


def _conv(node: ir.Node, x: Dims) -> Dims | None:
    w = _dims(node.inputs[1]) if len(node.inputs) > 1 else None
    group = _one(node, "group", 1)
    if w is None or len(w) != len(x) or len(x) < 3 or any(type(d) is not int for d in (*w, x[1])):
        return None
    kernel = [int(d) for d in w[2:]]  # type: ignore[arg-type]
    if x[1] != w[1] * group or _ints(node, "kernel_shape", len(kernel), 0) not in (kernel, [0] * len(kernel)):
        return None
    moved = _slide(node, x[2:], kernel)
    return [x[0], w[0], *moved] if moved is not None else None


def _pool(node: ir.Node, x: Dims) -> Dims | None:
    kernel = _ints(node, "kernel_shape", len(x) - 2, 0) if len(x) >= 3 else None
    if kernel is None or 0 in kernel or _one(node, "ceil_mode", 0):
        return None
    moved = _slide(node, x[2:], kernel)
    return [*x[:2], *moved] if moved is not None else None


def _slide(node: ir.Node, space: Dims, kernel: list[int]) -> list[int] | None:
    """How many places a window has on every spatial axis (ONNX: convPoolShapeInference)."""
    size = len(kernel)
    strides, dilations = _ints(node, "strides", size, 1), _ints(node, "dilations", size, 1)
    pads = _ints(node, "pads", 2 * size, 0)
    if strides is None or dilations is None or pads is None or min(*strides, *dilations, *pads, 1) < 0:
        return None
    if 0 in strides or 0 in dilations:
        return None
    auto = node.attributes.data.get("auto_pad")
    mode = "NOTSET" if auto is None else auto.value
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER") or (
        auto is not None and "pads" in node.attributes.data
    ):
        return None
    out = []
    for axis, dim in enumerate(space):
        if type(dim) is not int:
            return None
        stride, reach = strides[axis], (kernel[axis] - 1) * dilations[axis] + 1
        padded = dim + pads[axis] + pads[axis + size]
        if mode.startswith("SAME"):
            padded = dim + max(0, reach - (dim % stride or stride))
        if padded < reach:
            return None
        out.append(1 + (padded - reach) // stride)
    return out


def _global_pool(node: ir.Node, x: Dims) -> Dims | None:
    return [*x[:2], *[1] * (len(x) - 2)] if len(x) >= 3 else None


def _reshape(node: ir.Node, x: Dims) -> Dims | None:
    target = node.inputs[1] if len(node.inputs) == 2 else None
    tensor = target.const_value if target is not None else None
    if tensor is None or tensor.dtype != ir.DataType.INT64 or tensor.size > _SMALL or _one(node, "allowzero", 0):
        return None
    wanted: list[int] = tensor.numpy().reshape(-1).tolist()
    rest = list(x)
    out: Dims = list(wanted)
    for axis in reversed(range(len(wanted))):
        if wanted[axis] == 0:
            if axis >= len(x):
                return None
            out[axis] = rest.pop(axis)
    given = [d for d in wanted if d != 0]
    if min(given, default=0) < -1 or given.count(-1) > 1:
        return None
    known = math.prod(d for d in given if d > 0)
    if any(type(d) is not int for d in rest):
        return _reshape_rest(out, rest, known)
    total = math.prod(rest)
    if -1 not in given:
        return out if total == known else None
    if known == 0 or total == 0 or total % known:
        return None
    out[wanted.index(-1)] = total // known
    return out


def _reshape_rest(out: Dims, rest: Dims, known: int) -> Dims | None:
    """The inferred dimension is the one without a number, where all numbers are spoken for."""
    named = [d for d in rest if isinstance(d, ir.SymbolicDim) and d.value is not None]
    sizes = [d for d in rest if isinstance(d, int)]
    if len(named) != 1 or len(sizes) != len(rest) - 1 or -1 not in out or math.prod(sizes) != known or known == 0:
        return None
    out[out.index(-1)] = named[0]
    return out


_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
_ARITY = {  # operators whose inputs' types ONNX would check
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "MatMul"), 2),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), 1),
    **dict.fromkeys(("Conv", "Gemm"), 3),
}
_TOLD = {"DequantizeLinear": 1, "QuantizeLinear": 2}  # operator: the input whose type is the output's

_RULES: dict[str, Callable[[ir.Node, Dims], Sequence[Dim] | None]] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Softplus", "Softsign"), _same),
    **dict.fromkeys(("Identity", "Clip", "Gelu", "HardSigmoid", "HardSwish", "Mish", "Neg", "Exp", "Sqrt"), _same),
    **dict.fromkeys(("Abs", "GroupNormalization", "Dropout"), _same),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _elementwise),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(_TOLD, _quantised),
    "BatchNormalization": _batch_normalization,
    "Transpose": _transpose,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
}
