"""Small graphs, one operator each, with sizes that are prime and all different."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindir_recurrent
import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder

F, I32, I64, B = ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL
Case = Callable[[Builder, np.random.Generator], Any]
CASES: dict[str, Case] = {}


def one(op: str, shapes: list[Any], attributes: dict[str, Any] | None = None, dtype: Any = F, num: int = 1) -> Case:
    """A graph of one node.

    ``shapes``: tuples are inputs, arrays constants, ``("w", shape)`` random weights, None is absent.
    """

    def build(b: Builder, rng: np.random.Generator) -> None:
        values: list[ir.Value | None] = []
        for i, shape in enumerate(shapes):
            if shape is None:
                values.append(None)
            elif isinstance(shape, np.ndarray):
                values.append(b.const(shape, name=f"c{i}"))
            elif shape and shape[0] == "w":
                values.append(b.weight(f"layer/w{i}", rng.normal(size=shape[1]).astype(np.float32)))
            else:
                values.append(b.input(f"x{i}", dtype, shape))
        with b.layer("block/layer", op):
            for i, y in enumerate(b.node(op, values, attributes, num)):
                if y.shape is None and values[0] is not None:  # ONNX cannot tell: functions that keep the shape
                    y.shape, y.dtype = values[0].shape, values[0].dtype
                b.output(y, f"y{i}")

    return build


def add(name: str, *args: Any, **more: Any) -> None:
    if name in CASES:
        raise ValueError(name)
    CASES[name] = one(*args, **more)


def a(*numbers: Any, dtype: Any = np.int64) -> np.ndarray:
    return np.asarray(numbers, dtype)


def f(value: float) -> np.ndarray:
    return np.asarray(value, np.float32)


X4 = ("batch", 3, 11, 13)
X3 = ("batch", 3, 11)
X5 = ("batch", 3, 5, 7, 11)
X2 = ("batch", 7)

UNARY = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Exp",
    "Abs",
    "Neg",
    "Floor",
    "Ceil",
    "Sign",
    "Sin",
    "Cos",
    "Tan",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Erf",
    "Softplus",
    "Softsign",
    "Mish",
    "HardSwish",
    "Round",
    "Identity",
    "Selu",
    "Elu",
    "Celu",
    "HardSigmoid",
    "Gelu",
    "LeakyRelu",
    "ThresholdedRelu",
    "Swish",
    "Reciprocal",
    "Dropout",
)
for unary in UNARY:
    add(f"{unary}-plain", unary, [X4])
add("Elu-alpha", "Elu", [X4], {"alpha": 0.3})
add("Celu-alpha", "Celu", [X4], {"alpha": 0.3})
add("Selu-alpha", "Selu", [X4], {"alpha": 0.3, "gamma": 1.7})
add("Gelu-tanh", "Gelu", [X4], {"approximate": "tanh"})
add("Swish-alpha", "Swish", [X4], {"alpha": 1.7})
add("LeakyRelu-alpha", "LeakyRelu", [X4], {"alpha": 0.3})
add("LeakyRelu-large", "LeakyRelu", [X4], {"alpha": 1.3})
add("LeakyRelu-negative", "LeakyRelu", [X4], {"alpha": -0.3})
add("HardSigmoid-alpha", "HardSigmoid", [X4], {"alpha": 0.3, "beta": 0.4})
add("PRelu-channel", "PRelu", [X4, ("w", (3, 1, 1))])
add("PRelu-shared", "PRelu", [X4, ("w", (1,))])
add("PRelu-full", "PRelu", [X4, ("w", (3, 11, 13))])
add("Clip-relu6", "Clip", [X4, f(0), f(6)])
add("Clip-both", "Clip", [X4, f(-0.5), f(0.7)])
add("Clip-low", "Clip", [X4, f(-0.5)])
add("Clip-high", "Clip", [X4, None, f(0.5)])
for binary in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
    add(f"{binary}-inputs", binary, [X4, X4])
    add(f"{binary}-constant", binary, [X4, ("w", (11, 1))])
for binary in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "Equal", "Less"):
    add(f"{binary}-int32", binary, [X2, a(3, -2, 5, 1, -7, 2, 4, dtype=np.int32)], dtype=I32)
for binary in ("Add", "Sub", "Mul", "Div", "Mod"):
    add(f"{binary}-int64", binary, [X2, a(3, -2, 5, 1, -7, 2, 4)], dtype=I64)
add("Mod-fmod", "Mod", [X4, ("w", (13,))], {"fmod": 1})
add("Mod-fmodint", "Mod", [X2, a(3, -2, 5, 1, -7, 2, 4, dtype=np.int32)], {"fmod": 1}, dtype=I32)
add("Pow-square", "Pow", [X4, f(2)])
add("Pow-cube", "Pow", [X4, f(3)])
add("Sum-three", "Sum", [X4, X4, ("w", (13,))])
add("Mean-three", "Mean", [X4, X4, ("w", (13,))])
add("Max-three", "Max", [X4, X4, ("w", (13,))])
for logical in ("And", "Or", "Xor"):
    add(f"{logical}-plain", logical, [X4, X4], dtype=B)
add("Not-plain", "Not", [X4], dtype=B)
add("IsNaN-plain", "IsNaN", [X4])
add("IsInf-plain", "IsInf", [X4])
for bits in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
    add(f"{bits}-plain", bits, [X2, a(3, -2, 5, 1, -7, 2, 4, dtype=np.int32)], dtype=I32)
for to in (I32, I64, B, ir.DataType.INT8, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
    add(f"Cast-{to.name}", "Cast", [X4], {"to": int(to)})
add("Cast-fromint", "Cast", [X2], {"to": int(F)}, dtype=I64)
add("Cast-frombool", "Cast", [X2], {"to": int(F)}, dtype=B)

# convolutions
add("Conv-plain", "Conv", [X4, ("w", (5, 3, 3, 2)), ("w", (5,))], {"kernel_shape": [3, 2]})
add("Conv-nobias", "Conv", [X4, ("w", (5, 3, 3, 2))])
add("Conv-pads", "Conv", [X4, ("w", (5, 3, 3, 2))], {"pads": [1, 2, 0, 1], "strides": [2, 1]})
add("Conv-dilated", "Conv", [X4, ("w", (5, 3, 3, 2))], {"dilations": [2, 3], "pads": [1, 0, 2, 1]})
add("Conv-same", "Conv", [X4, ("w", (5, 3, 3, 2))], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})
add("Conv-samelower", "Conv", [X4, ("w", (5, 3, 4, 2))], {"auto_pad": "SAME_LOWER", "strides": [2, 2]})
add("Conv-valid", "Conv", [X4, ("w", (5, 3, 3, 2))], {"auto_pad": "VALID"})
add("Conv-depthwise", "Conv", [X4, ("w", (6, 1, 3, 2)), ("w", (6,))], {"group": 3, "pads": [1, 1, 1, 1]})
add("Conv-grouped", "Conv", [("batch", 4, 11, 13), ("w", (6, 2, 3, 2))], {"group": 2})
add("Conv-1d", "Conv", [X3, ("w", (5, 3, 3)), ("w", (5,))], {"pads": [2, 1], "strides": [2]})
add("Conv-1dsame", "Conv", [X3, ("w", (5, 3, 3))], {"auto_pad": "SAME_UPPER", "strides": [2]})
add("Conv-3d", "Conv", [X5, ("w", (7, 3, 3, 2, 1)), ("w", (7,))], {"pads": [1, 0, 2, 0, 1, 1], "strides": [2, 1, 3]})
add("ConvTranspose-plain", "ConvTranspose", [X4, ("w", (3, 5, 3, 2)), ("w", (5,))], {"strides": [2, 3]})
add("ConvTranspose-pads", "ConvTranspose", [X4, ("w", (3, 5, 3, 4))], {"strides": [2, 2], "pads": [1, 2, 0, 1]})
add("ConvTranspose-outpad", "ConvTranspose", [X4, ("w", (3, 5, 3, 3))],
    {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]})  # fmt: skip
add("ConvTranspose-same", "ConvTranspose", [X4, ("w", (3, 5, 3, 3))], {"strides": [2, 2], "auto_pad": "SAME_UPPER"})
add("ConvTranspose-grouped", "ConvTranspose", [("batch", 4, 5, 7), ("w", (4, 3, 3, 2))], {"group": 2})
add("ConvTranspose-1d", "ConvTranspose", [X3, ("w", (3, 5, 3))], {"strides": [2]})
add("ConvTranspose-dilated", "ConvTranspose", [X4, ("w", (3, 5, 3, 2))], {"dilations": [2, 3]})

# products
add("Gemm-plain", "Gemm", [X2, ("w", (7, 5)), ("w", (5,))])
add("Gemm-transB", "Gemm", [X2, ("w", (5, 7)), ("w", (5,))], {"transB": 1})
add("Gemm-alpha", "Gemm", [X2, ("w", (5, 7)), ("w", (1, 5))], {"transB": 1, "alpha": 0.3, "beta": 0.7})
add("MatMul-rank2", "MatMul", [X2, ("w", (7, 5))])
add("MatMul-rank3", "MatMul", [("batch", 5, 7), ("w", (7, 3))])
add("MatMul-batched", "MatMul", [("batch", 3, 5, 7), ("batch", 3, 7, 2)])
add("MatMul-broadcast", "MatMul", [("batch", 3, 5, 7), ("batch", 1, 7, 2)])
add("MatMul-vector", "MatMul", [("batch", 5, 7), ("w", (7,))])
add("Einsum-matmul", "Einsum", [("batch", 5, 7), ("batch", 7, 3)], {"equation": "bij,bjk->bik"})
add("Einsum-attention", "Einsum", [("batch", 5, 3, 7), ("batch", 11, 3, 7)], {"equation": "bqhd,bkhd->bhqk"})
add("Einsum-outer", "Einsum", [X2, ("batch", 5)], {"equation": "bi,bj->bji"})
add("Einsum-reduce", "Einsum", [X4], {"equation": "nchw->wn"})
add("Einsum-general", "Einsum", [("batch", 2, 3, 5), ("w", (2, 3, 7, 2))], {"equation": "bxyz,xypq->bzpq"})

# pooling
K = {"kernel_shape": [3, 2]}
for pool in ("MaxPool", "AveragePool"):
    add(f"{pool}-plain", pool, [X4], {**K, "strides": [2, 1]})
    add(f"{pool}-pads", pool, [X4], {**K, "strides": [2, 2], "pads": [1, 0, 2, 1]})
    add(f"{pool}-same", pool, [X4], {**K, "strides": [2, 2], "auto_pad": "SAME_UPPER"})
    add(f"{pool}-samelower", pool, [X4], {**K, "strides": [2, 2], "auto_pad": "SAME_LOWER"})
    add(f"{pool}-ceil", pool, [X4], {**K, "strides": [3, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1]})
    add(f"{pool}-1d", pool, [X3], {"kernel_shape": [3], "strides": [2], "pads": [1, 0]})
    add(f"{pool}-3d", pool, [X5], {"kernel_shape": [3, 2, 5], "strides": [2, 1, 3], "pads": [1, 0, 2, 0, 1, 1]})
add("MaxPool-dilated", "MaxPool", [X4], {**K, "dilations": [2, 3], "pads": [1, 1, 1, 0]})
add("MaxPool-dilated1d", "MaxPool", [X3], {"kernel_shape": [3], "dilations": [2]})
add("AveragePool-include", "AveragePool", [X4], {**K, "strides": [2, 2], "pads": [1, 0, 2, 1], "count_include_pad": 1})
add("AveragePool-includeceil", "AveragePool", [X4],
    {**K, "strides": [3, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1, "ceil_mode": 1})  # fmt: skip
for rank, shape in (("1d", X3), ("2d", X4), ("3d", X5)):
    add(f"GlobalAveragePool-{rank}", "GlobalAveragePool", [shape])
    add(f"GlobalMaxPool-{rank}", "GlobalMaxPool", [shape])

# normalisation
STAT = [np.float32([0.3, -1.2, 2]), np.float32([0.1, 0.2, -0.3]), np.float32([1, -1, 0.5]), np.float32([0.5, 2, 0.1])]
for rank, shape in (("2d", ("batch", 3)), ("3d", X3), ("4d", X4), ("5d", X5)):
    add(f"BatchNormalization-{rank}", "BatchNormalization", [shape, *STAT], {"epsilon": 1e-3})
add("LayerNormalization-last", "LayerNormalization", [X3, ("w", (11,)), ("w", (11,))], {"epsilon": 1e-3})
add("LayerNormalization-two", "LayerNormalization", [X3, ("w", (3, 11)), ("w", (3, 11))], {"axis": 1})
add("LayerNormalization-nobias", "LayerNormalization", [X3, ("w", (11,))])
add("InstanceNormalization-4d", "InstanceNormalization", [X4, ("w", (3,)), ("w", (3,))])
add("InstanceNormalization-3d", "InstanceNormalization", [X3, ("w", (3,)), ("w", (3,))])
add("GroupNormalization-4d", "GroupNormalization", [("batch", 6, 5, 7), ("w", (6,)), ("w", (6,))], {"num_groups": 3})
add("RMSNormalization-last", "RMSNormalization", [X3, ("w", (11,))])
add("LRN-plain", "LRN", [("batch", 7, 5, 3)], {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5})
add("LpNormalization-l2", "LpNormalization", [X4], {"axis": 1})
add("LpNormalization-l1", "LpNormalization", [X4], {"axis": -1, "p": 1})
add("MeanVarianceNormalization-plain", "MeanVarianceNormalization", [X4])
for axis in (-1, 1):
    add(f"Softmax-axis{axis}", "Softmax", [X4], {"axis": axis})
    add(f"LogSoftmax-axis{axis}", "LogSoftmax", [X4], {"axis": axis})
for name in ("Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2", "LogSumExp"):
    add(f"Reduce{name}-axes", f"Reduce{name}", [X4, a(1, -1)], {"keepdims": 0})
    add(f"Reduce{name}-keep", f"Reduce{name}", [X4, a(2)], {"keepdims": 1})
    add(f"Reduce{name}-all", f"Reduce{name}", [X4])

# shapes
add("Reshape-copy", "Reshape", [X4, a(0, -1)])
add("Reshape-fixed", "Reshape", [X4, a(-1, 13, 33)])
add("Reshape-zeros", "Reshape", [X4, a(0, 0, 143)])
add("Flatten-axis1", "Flatten", [X4])
add("Flatten-axis2", "Flatten", [X4], {"axis": 2})
add("Transpose-nhwc", "Transpose", [X4], {"perm": [0, 2, 3, 1]})
add("Squeeze-axes", "Squeeze", [("batch", 1, 7, 1), a(1, 3)])
add("Unsqueeze-axes", "Unsqueeze", [X2, a(0, 3)])
add("Concat-axis1", "Concat", [X4, ("batch", 2, 11, 13), X4], {"axis": 1})
add("Split-equal", "Split", [("batch", 6, 5)], {"axis": 1, "num_outputs": 3}, num=3)
add("Split-sizes", "Split", [("batch", 7, 5), a(2, 4, 1)], {"axis": 1}, num=3)
add("Slice-plain", "Slice", [X4, a(1, 2), a(3, -1), a(1, 3)])
add("Slice-steps", "Slice", [X4, a(-1, 1), a(-100, 100), a(2, 3), a(-2, 3)])
add("Slice-batch", "Slice", [X4, a(1), a(2**62), a(0)])
add("Gather-axis1", "Gather", [X4, a([2, 0], [1, 1])], {"axis": 1})
add("Gather-negative", "Gather", [X4, a(-1, 0)], {"axis": 2})
add("Gather-scalar", "Gather", [X4, np.asarray(-1)], {"axis": 2})
add(
    "GatherElements-axis1",
    "GatherElements",
    [(2, 3, 5), np.int64([[[0, 2, -1, 1, 0]], [[1, 1, 1, 0, -2]]])],
    {"axis": 1},
)
add("GatherND-plain", "GatherND", [(5, 3, 2), np.int64([[0, 1], [4, 2]])])
add("ScatterND-plain", "ScatterND", [(5, 3), np.int64([[1], [3]]), (2, 3)])
add("ScatterND-add", "ScatterND", [(5, 3), np.int64([[1], [1]]), (2, 3)], {"reduction": "add"})
add("ScatterElements-plain", "ScatterElements", [(5, 3), np.int64([[1, 0, 4]]), (1, 3)], {"axis": 0})
add("Expand-plain", "Expand", [("batch", 1, 7), a(1, 3, 7)])
add("Expand-rank", "Expand", [(3, 1), a(2, 3, 5)])
add("Tile-plain", "Tile", [X4, a(1, 2, 1, 3)])
add("Pad-constant", "Pad", [X4, a(0, 1, 2, 0, 0, 0, 1, 3), f(1.5)])
add("Pad-negative", "Pad", [X4, a(0, 0, -1, 0, 0, 0, 1, -3)])
add("Pad-axes", "Pad", [X4, a(2, 1), f(-1), a(1)])
add("Pad-reflect", "Pad", [X4, a(0, 1, 2, 0, 0, 0, 1, 3)], {"mode": "reflect"})
add("Pad-edge", "Pad", [X4, a(0, 1, 2, 0, 0, 0, 1, 3)], {"mode": "edge"})
add("Pad-wrap", "Pad", [X4, a(0, 1, 2, 0, 0, 0, 1, 3)], {"mode": "wrap"})
add("Pad-batch", "Pad", [X2, a(1, 1, 2, 0)])
add("DepthToSpace-dcr", "DepthToSpace", [("batch", 12, 5, 7)], {"blocksize": 2})
add("DepthToSpace-crd", "DepthToSpace", [("batch", 12, 5, 7)], {"blocksize": 2, "mode": "CRD"})
add("SpaceToDepth-plain", "SpaceToDepth", [("batch", 3, 6, 10)], {"blocksize": 2})
add("Shape-dynamic", "Shape", [X4])
add("Shape-part", "Shape", [X4], {"start": 0, "end": 2})
add("Trilu-upper", "Trilu", [("batch", 5, 7)])
add("Trilu-lower", "Trilu", [("batch", 5, 7), np.asarray(1)], {"upper": 0})
add("ArgMax-keep", "ArgMax", [X4], {"axis": 1})
add("ArgMax-drop", "ArgMax", [X4], {"axis": -1, "keepdims": 0})
add("ArgMin-keep", "ArgMin", [X4], {"axis": 2})
add("TopK-last", "TopK", [X4, a(3)], num=2)
add("TopK-smallest", "TopK", [X4, a(2)], {"axis": 1, "largest": 0}, num=2)
add("OneHot-plain", "OneHot", [("batch", 5), a(7), np.float32([-1, 2])], dtype=I64)
add("OneHot-axis1", "OneHot", [("batch", 5), a(7), np.float32([0, 1])], {"axis": 1}, dtype=I64)
add("CumSum-plain", "CumSum", [X4, np.asarray(1)])
add("CumSum-flags", "CumSum", [X4, np.asarray(2)], {"exclusive": 1, "reverse": 1})

# resizing
for how in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
    for mode in ("linear", "cubic"):
        options = {"mode": mode, "coordinate_transformation_mode": how}
        add(f"Resize-{mode}-{how}", "Resize", [X4, None, None, a(17, 7)], {**options, "axes": [2, 3]})
    for rule in ("floor", "round_prefer_floor", "ceil", "round_prefer_ceil"):
        options = {"mode": "nearest", "coordinate_transformation_mode": how, "nearest_mode": rule}
        add(f"Resize-nearest-{how}-{rule}", "Resize", [X4, None, None, a(23, 6)], {**options, "axes": [2, 3]})
add("Resize-double", "Resize", [X4, None, np.float32([1, 1, 2, 2])],
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})  # fmt: skip
add("Resize-scales", "Resize", [X4, None, np.float32([1, 1, 1.7, 0.6])], {"mode": "linear"})
add("Resize-linear1d", "Resize", [X3, None, np.float32([1, 1, 2.5])], {"mode": "linear"})
add("Resize-linear3d", "Resize", [X5, None, np.float32([1, 1, 2, 0.5, 1.5])], {"mode": "linear"})


def _where(b: Builder, rng: np.random.Generator) -> None:
    x, y = b.input("x0", F, X4), b.input("x1", F, X4)
    b.output(b.op("Where", [b.op("Less", [x, y]), x, b.weight("w", rng.normal(size=(13,)).astype(np.float32))]), "y")


def _positive(op: str) -> Case:
    def build(b: Builder, rng: np.random.Generator) -> None:
        x = b.op("Add", [b.op("Abs", [b.input("x0", F, X4)]), b.const(1.1)])
        b.output(b.op(op, [x]), "y")

    return build


def _small(op: str) -> Case:
    def build(b: Builder, rng: np.random.Generator) -> None:
        x = b.op("Mul", [b.op("Sin", [b.input("x0", F, X4)]), b.const(0.9)])
        b.output(b.op(op, [x]), "y")

    return build


def _embedding(b: Builder, rng: np.random.Generator) -> None:
    ids = b.op("Mod", [b.input("ids", I32, ("batch", 5)), b.const(11, np.int32)])
    table = b.weight("embedding/table", rng.normal(size=(11, 7)).astype(np.float32))
    b.output(b.op("Gather", [table, ids]), "y")


def _quantised(per_axis: bool) -> Case:
    def build(b: Builder, rng: np.random.Generator) -> None:
        x = b.input("x0", F, X4)
        scale = np.float32([0.1, 0.03, 0.07]) if per_axis else np.float32(0.1)
        zero = np.int8([1, -3, 7]) if per_axis else np.int8(3)
        pair = [b.const(scale, name="scale"), b.const(zero, name="zero")]
        q = b.op("QuantizeLinear", [x, *pair], {"axis": 1} if per_axis else None)
        b.output(q, "q")
        b.output(b.op("DequantizeLinear", [q, *pair], {"axis": 1} if per_axis else None), "y")

    return build


def _ties(b: Builder, rng: np.random.Generator) -> None:
    x = b.op("Mul", [b.op("Cast", [b.input("x0", I32, X2)], {"to": int(F)}), b.const(0.5)])
    b.output(b.op("Round", [x]), "y")
    pair = [b.const(np.float32(1.0)), b.const(np.uint8(3))]
    b.output(b.op("QuantizeLinear", [x, *pair]), "q")


def _several(b: Builder, rng: np.random.Generator) -> None:
    x, y = b.input("first", F, X2), b.input("second", F, X2)
    total = b.op("Add", [x, y])
    b.output(total, "sum")
    b.output(x, "same")
    b.output(b.op("Sub", [total, y]), "difference")
    b.output(total, "again")


CASES |= mindir_recurrent.CASES
CASES["Where-plain"] = _where
for op in ("Sqrt", "Log", "Acosh"):
    CASES[f"{op}-plain"] = _positive(op)
for op in ("Asin", "Acos", "Atanh"):
    CASES[f"{op}-plain"] = _small(op)
CASES["Gather-embedding"] = _embedding
CASES["Quantize-tensor"] = _quantised(False)
CASES["Quantize-axis"] = _quantised(True)
CASES["Round-ties"] = _ties
CASES["outputs-several"] = _several


def model_of(name: str, rng: np.random.Generator) -> ir.Model:
    b = Builder("net")
    CASES[name](b, rng)
    return b.model()


def feeds_of(model: ir.Model, rng: np.random.Generator, batch: int = 2) -> dict[str, np.ndarray]:
    """Random feeds; unknown dimensions become ``batch``."""
    feeds = {}
    for value in model.graph.inputs:
        shape = [d if isinstance(d, int) else batch for d in value.shape or ()]
        assert value.dtype is not None
        assert value.name
        dtype = value.dtype.numpy()
        if dtype.kind == "f":
            feeds[value.name] = (rng.normal(size=shape) * 2).astype(dtype)
        else:
            feeds[value.name] = (
                rng.integers(0, 2, shape).astype(bool) if dtype.kind == "b" else rng.integers(-9, 9, shape, dtype)
            )
    return feeds
