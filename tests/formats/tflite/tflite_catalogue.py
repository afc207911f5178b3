"""One small graph per operator and case, with prime sizes: id → function(b, rng) that returns the outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from tflite_graphs import image

from recast.graph.build import Builder

F, I32, I64, B = ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL
Make = Callable[[Builder, np.random.Generator], Any]
CASES: dict[str, Make] = {}


def case(name: str, make: Make) -> None:
    assert name not in CASES, name
    CASES[name] = make


def x(b: Builder, *shape: int | str, dtype: ir.DataType = F, name: str = "x") -> ir.Value:
    return b.input(name, dtype, shape)


def f(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def conv(shape: tuple, kernel: tuple, bias: bool = True, op: str = "Conv", **attributes: Any) -> Make:
    def make(b: Builder, rng: np.random.Generator) -> ir.Value:
        inputs: list = [x(b, *shape), b.weight("w", f(rng, *kernel))]
        count = kernel[0] if op == "Conv" else kernel[1] * attributes.get("group", 1)
        if bias:
            inputs.append(b.weight("b", f(rng, count)))
        return image(b, op, inputs, {"kernel_shape": list(kernel[2:]), **attributes})

    return make


case("conv-valid", conv(("batch", 19, 23, 3), (7, 3, 3, 5)))
case("conv-same-stride2-odd", conv(("batch", 19, 23, 3), (7, 3, 3, 5), auto_pad="SAME_UPPER", strides=[2, 2]))
case("conv-same-stride2-even", conv(("batch", 18, 22, 3), (7, 3, 3, 5), auto_pad="SAME_UPPER", strides=[2, 2]))
case("conv-same_lower", conv(("batch", 18, 22, 3), (7, 3, 4, 2), auto_pad="SAME_LOWER"))
case("conv-pads-as-same", conv(("batch", 19, 23, 3), (7, 3, 3, 5), pads=[1, 2, 1, 2]))
case("conv-pads-uneven", conv(("batch", 19, 23, 3), (7, 3, 3, 5), pads=[2, 0, 1, 3], strides=[2, 3]))
case("conv-torch-stride2", conv(("batch", 16, 16, 3), (5, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
case("conv-dilated", conv(("batch", 19, 23, 3), (7, 3, 3, 5), dilations=[2, 3], pads=[2, 6, 2, 6]))
case("conv-nobias", conv((2, 11, 13, 3), (7, 3, 1, 1), bias=False))
case("conv-grouped", conv((2, 11, 13, 6), (15, 2, 3, 3), group=3))
case("conv-depthwise", conv(("batch", 11, 13, 5), (5, 1, 3, 3), group=5, pads=[1, 1, 1, 1]))
case("conv-depthwise-multiplier", conv(("batch", 11, 13, 5), (15, 1, 3, 2), group=5, strides=[2, 2]))
case("conv-depthwise-dilated", conv(("batch", 11, 13, 5), (10, 1, 3, 3), group=5, dilations=[2, 2], bias=False))
case("conv-one-channel-in", conv((2, 11, 13, 1), (7, 1, 3, 3)))
case("conv-1d", conv(("batch", 23, 3), (7, 3, 5), strides=[2], pads=[3, 1]))
case("conv-1d-same", conv((2, 23, 3), (7, 3, 4), auto_pad="SAME_UPPER"))
case("conv-1d-depthwise", conv((2, 23, 3), (6, 1, 4), group=3))
case("conv-3d", conv((2, 5, 7, 11, 3), (13, 3, 3, 2, 5), pads=[1, 0, 2, 1, 1, 2], strides=[1, 2, 2]))
case("conv-3d-same", conv(("batch", 5, 7, 11, 3), (13, 3, 3, 3, 3), auto_pad="SAME_UPPER", bias=False))
for name, more in {
    "valid": {},
    "stride2": {"strides": [2, 3]},
    "same": {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "pads": {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    "pads-outpad": {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    "pads-uneven": {"strides": [3, 2], "pads": [0, 1, 2, 1], "output_padding": [2, 0]},
    "dilated": {"dilations": [2, 1], "pads": [1, 0, 1, 1]},
    "shape": {"strides": [2, 2], "output_shape": [21, 27]},
}.items():
    case(f"convtranspose-{name}", conv(("batch", 11, 13, 3), (3, 5, 3, 3), op="ConvTranspose", **more))
for side in (2, 3):  # no two tiles overlap: a convolution and DEPTH_TO_SPACE, also where sizes are told at run time
    case(
        f"convtranspose-tiles{side}",
        conv(("batch", 11, 13, 3), (3, 5, side, side), side == 2, "ConvTranspose", strides=[side, side]),
    )
case("convtranspose-tiles-fixed", conv((2, 11, 13, 3), (3, 5, 2, 2), op="ConvTranspose", strides=[2, 2]))
case("convtranspose-nobias", conv((2, 11, 13, 3), (3, 5, 4, 4), False, "ConvTranspose", strides=[2, 2]))
case("convtranspose-grouped", conv((2, 5, 7, 6), (6, 5, 3, 3), op="ConvTranspose", group=3, strides=[2, 2]))
case("convtranspose-3d", conv(("batch", 5, 7, 3, 4), (4, 5, 3, 2, 3), op="ConvTranspose", strides=[2, 1, 3]))
case(
    "convtranspose-3d-pads",
    conv((2, 5, 7, 3, 4), (4, 5, 3, 2, 3), op="ConvTranspose", strides=[2, 3, 1], pads=[1, 0, 1, 0, 1, 2]),
)
case(
    "convtranspose-3d-dilated",
    conv(
        (2, 5, 7, 3, 4),
        (4, 5, 3, 2, 2),
        False,
        "ConvTranspose",
        dilations=[1, 3, 2],
        strides=[1, 2, 2],
        output_padding=[0, 1, 0],
    ),
)
case("convtranspose-1d", conv((2, 11, 3), (3, 5, 4), op="ConvTranspose", strides=[2], pads=[1, 1]))


def after(first: Make, *ops: tuple) -> Make:
    """Operators on a result, each ``(name, attributes, *constants)``."""

    def make(b: Builder, rng: np.random.Generator) -> ir.Value:
        y = first(b, rng)
        for name, attributes, *rest in ops:
            y = b.op(name, [y, *[None if r is None else b.const(r) for r in rest]], attributes)
        return y

    return make


small = conv(("batch", 7, 11, 3), (5, 3, 3, 3), auto_pad="SAME_UPPER")
case("fuse-conv-relu", after(small, ("Relu", {})))
case("fuse-conv-relu6", after(small, ("Clip", {}, 0.0, 6.0)))
case("fuse-conv-relu_n1_to_1", after(small, ("Clip", {}, -1.0, 1.0)))
case("fuse-conv-clip-zero", after(small, ("Clip", {}, 0.0)))
case("fuse-conv-clip-other", after(small, ("Clip", {}, -0.3, 0.7)))
case("fuse-conv-tanh", after(small, ("Tanh", {})))
case("fuse-1d-relu", after(conv((2, 23, 3), (7, 3, 5)), ("Relu", {})))
case("fuse-transpose-relu", after(CASES["convtranspose-pads"], ("Relu", {})))


def fan_out(b: Builder, rng: np.random.Generator) -> list[ir.Value]:
    y = small(b, rng)
    return [b.op("Relu", [y]), b.op("Add", [y, b.op("Relu", [y])])]


def output_before(b: Builder, rng: np.random.Generator) -> list[ir.Value]:
    y = small(b, rng)
    return [y, b.op("Relu", [y])]


case("fuse-not-fan-out", fan_out)
case("fuse-not-output", output_before)


def pool(op: str, shape: tuple, **attributes: Any) -> Make:
    return lambda b, rng: image(b, op, [x(b, *shape)], attributes)


for op in ("MaxPool", "AveragePool"):
    low = op.lower()
    for name, more in {
        "valid": {"strides": [2, 2]},
        "same": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        "same_lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        "pads": {"pads": [1, 0, 1, 1], "strides": [2, 2]},
        "pads-as-same": {"pads": [1, 0, 1, 1]},
        "ceil": {"ceil_mode": 1, "strides": [2, 3]},
        "ceil-pads": {"ceil_mode": 1, "strides": [2, 2], "pads": [1, 1, 1, 1]},
    }.items():
        case(f"{low}-{name}", pool(op, ("batch", 17, 12, 5), kernel_shape=[3, 2], **more))
    case(f"{low}-1d", pool(op, (2, 17, 5), kernel_shape=[3], strides=[2]))
    case(f"{low}-1d-pads", pool(op, (2, 17, 5), kernel_shape=[3], strides=[2], pads=[1, 1]))
    case(f"{low}-3d", pool(op, ("batch", 5, 7, 11, 3), kernel_shape=[2, 3, 2], strides=[2, 1, 3]))
case("maxpool-3d-pads", pool("MaxPool", (2, 5, 7, 11, 3), kernel_shape=[2, 3, 2], pads=[1, 0, 1, 0, 1, 1]))
for name, more in {
    "pads": {"pads": [1, 0, 1, 1], "strides": [2, 2]},
    "pads-as-same": {"pads": [1, 0, 1, 1]},
    "ceil": {"ceil_mode": 1, "pads": [1, 1, 1, 1], "strides": [2, 3]},
}.items():
    case(
        f"averagepool-include-{name}",
        pool("AveragePool", (2, 17, 12, 5), kernel_shape=[3, 2], count_include_pad=1, **more),
    )
for op in ("GlobalAveragePool", "GlobalMaxPool"):
    case(f"{op.lower()}-2d", pool(op, ("batch", 7, 11, 5)))
    case(f"{op.lower()}-1d", pool(op, ("batch", 7, 5)))
    case(f"{op.lower()}-3d", pool(op, (2, 7, 3, 5, 2)))
    case(f"{op.lower()}-flat", after(pool(op, ("batch", 7, 11, 5)), ("Flatten", {"axis": 1})))


def gemm(shape: tuple, weight: tuple, bias: tuple | None = None, **attributes: Any) -> Make:
    def make(b: Builder, rng: np.random.Generator) -> ir.Value:
        inputs = [x(b, *shape), b.weight("w", f(rng, *weight))]
        if bias is not None:
            inputs.append(b.weight("b", f(rng, *bias)))
        return b.op("Gemm", inputs, attributes)

    return make


case("gemm-bias", gemm(("batch", 7), (7, 11), (11,)))
case("gemm-nobias", gemm(("batch", 7), (7, 11)))
case("gemm-transb", gemm(("batch", 7), (11, 7), (11,), transB=1))
case("gemm-alpha-beta", gemm((3, 7), (7, 11), (3, 1), alpha=0.5, beta=2.0))
case("gemm-transa", gemm((7, 3), (7, 11), (11,), transA=1))
case("gemm-relu", after(gemm(("batch", 7), (7, 11), (11,)), ("Relu", {})))


def matmul(left: tuple, right: tuple, constant: bool = True, bias: tuple | None = None) -> Make:
    def make(b: Builder, rng: np.random.Generator) -> ir.Value:
        other = b.weight("w", f(rng, *right)) if constant else x(b, *right, name="y")
        y = b.op("MatMul", [x(b, *left), other])
        return y if bias is None else b.op("Add", [y, b.weight("b", f(rng, *bias))])

    return make


case("matmul-2d", matmul(("batch", 7), (7, 11)))
case("matmul-3d-bias", matmul(("batch", 5, 7), (7, 11), bias=(11,)))
case("matmul-3d-bias-other", matmul((2, 5, 7), (7, 11), bias=(5, 1)))
case("matmul-4d", matmul((2, 3, 5, 7), (7, 11)))
case("matmul-two-inputs", matmul((2, 3, 5, 7), (2, 3, 7, 11), False))
case("matmul-broadcast", matmul((2, 3, 5, 7), (3, 7, 11), False))
case("matmul-constant-batch", matmul((2, 3, 5, 7), (3, 7, 11)))
case("matmul-vector-right", matmul((3, 5, 7), (7,), False))
case("matmul-vector-left", matmul((7,), (3, 7, 5), False))
case("matmul-constant-left", lambda b, r: b.op("MatMul", [b.weight("w", f(r, 5, 7)), x(b, 3, 7, 2)]))

for op in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
    case(
        f"{op.lower()}-two",
        lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7, 3), x(b, "batch", 5, 7, 3, name="y")]),
    )
    case(f"{op.lower()}-channel", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7, 3), b.weight("w", f(r, 3) + 2)]))
    case(
        f"{op.lower()}-left", lambda b, r, op=op: b.op(op, [b.weight("w", f(r, 1)), b.op("Exp", [x(b, "batch", 5, 3)])])
    )
    case(f"{op.lower()}-5d", lambda b, r, op=op: b.op(op, [x(b, 2, 3, 5, 2, 3), b.weight("w", f(r, 3, 1, 2, 1) + 3)]))
    case(
        f"{op.lower()}-int32",
        lambda b, r, op=op: b.op(op, [x(b, 2, 5, dtype=I32), b.const(np.array([3, -7, 2, 5, -1], np.int32))]),
    )
case("add-relu", lambda b, r: b.op("Relu", [b.op("Add", [x(b, "batch", 5, 3), x(b, "batch", 5, 3, name="y")])]))
case("max-three", lambda b, r: b.op("Max", [x(b, 2, 5), x(b, 5, name="y"), x(b, 2, 1, name="z")]))
case("sum-three", lambda b, r: b.op("Sum", [x(b, 2, 5), x(b, 5, name="y"), x(b, 2, 1, name="z")]))
case("mean-three", lambda b, r: b.op("Mean", [x(b, 2, 5), x(b, 5, name="y"), x(b, 2, 1, name="z")]))
case("pow-two", lambda b, r: b.op("Pow", [b.op("Abs", [x(b, 2, 5)]), b.const(1.7)]))
case("pow-square", lambda b, r: b.op("Pow", [x(b, 2, 5), b.const(2.0)]))
for op in ("Abs", "Neg", "Ceil", "Floor", "Round", "Exp", "Sin", "Cos", "Sign", "Tan", "Reciprocal", "Relu", "Sigmoid",
           "Tanh", "Softplus", "Softsign", "Selu", "Elu", "LeakyRelu", "HardSwish", "HardSigmoid", "Gelu", "Erf",
           "Mish", "Identity", "Celu", "ThresholdedRelu", "Atan", "Asinh", "Sinh", "Cosh", "IsInf"):  # fmt: skip
    case(f"{op.lower()}-float", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7)]))
for op in ("Asin", "Acos"):
    case(f"{op.lower()}-float", lambda b, r, op=op: b.op(op, [b.op("Sin", [x(b, "batch", 5, 7)])]))
case("atanh-float", lambda b, r: b.op("Atanh", [b.op("Mul", [b.op("Sin", [x(b, 2, 31)]), b.const(0.75)])]))
case("acosh-float", lambda b, r: b.op("Acosh", [b.op("Add", [b.op("Abs", [x(b, 2, 31)]), b.const(1.1)])]))
for op in ("Sqrt", "Log"):
    case(f"{op.lower()}-float", lambda b, r, op=op: b.op(op, [b.op("Abs", [x(b, "batch", 5, 7)])]))
case("round-halves", lambda b, r: b.op("Round", [b.op("Mul", [b.op("Round", [x(b, 2, 31)]), b.const(0.5)])]))
case("gelu-tanh", lambda b, r: b.op("Gelu", [x(b, 2, 31)], {"approximate": "tanh"}))
case("elu-alpha", lambda b, r: b.op("Elu", [x(b, 2, 31)], {"alpha": 0.3}))
case(
    "hardsigmoid-hardswish",
    lambda b, r: (lambda v: b.op("Mul", [v, b.op("HardSigmoid", [v], {"alpha": 1 / 6})]))(x(b, 2, 31)),
)
case("prelu-channel", lambda b, r: b.op("PRelu", [x(b, "batch", 5, 7, 3), b.weight("s", f(r, 1, 1, 1, 3))]))
case("prelu-full", lambda b, r: b.op("PRelu", [x(b, "batch", 5, 3), b.weight("s", f(r, 5, 3))]))
case("clip-both", lambda b, r: b.op("Clip", [x(b, 2, 31), b.const(-0.5), b.const(0.25)]))
case("clip-max", lambda b, r: b.op("Clip", [x(b, 2, 31), None, b.const(0.25)]))
for op in ("Softmax", "LogSoftmax"):
    case(f"{op.lower()}-last", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7)], {"axis": -1}))
    case(f"{op.lower()}-middle", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7)], {"axis": 1}))
for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
    case(f"{op.lower()}-float", lambda b, r, op=op: b.op(op, [b.op("Round", [x(b, 2, 31)]), b.const(1.0)]))
for op in ("And", "Or", "Xor"):
    case(f"{op.lower()}-bool", lambda b, r, op=op: b.op(op, [x(b, 2, 31, dtype=B), x(b, 31, dtype=B, name="y")]))
case("not-bool", lambda b, r: b.op("Not", [x(b, 2, 31, dtype=B)]))
case("where-float", lambda b, r: b.op("Where", [x(b, 2, 31, dtype=B, name="c"), x(b, 31), b.const(0.5)]))
case("mod-int32", lambda b, r: b.op("Mod", [x(b, 2, 31, dtype=I32), b.const(np.array([5], np.int32))]))
case("cast-int32-float", lambda b, r: b.op("Cast", [x(b, 2, 31, dtype=I32)], {"to": 1}))
case("cast-float-int64", lambda b, r: b.op("Cast", [x(b, 2, 31)], {"to": 7}))
case("cast-bool-float", lambda b, r: b.op("Cast", [x(b, 2, 31, dtype=B)], {"to": 1}))
case("isnan-float", lambda b, r: b.op("IsNaN", [b.op("Log", [x(b, 2, 31)])]))

for op in ("Add", "Sub", "Mul", "Max", "Min", "Greater", "Equal"):
    case(
        f"{op.lower()}-int8-plain",
        lambda b, r, op=op: b.op(
            op, [x(b, 2, 31, dtype=ir.DataType.INT8), x(b, 2, 31, dtype=ir.DataType.INT8, name="y")]
        ),
    )
