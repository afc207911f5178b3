"""The operators that the Keras writer is tested on, one small graph each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder
from tests.formats.keras.keras_judge import image

FLOAT = ir.DataType.FLOAT
Body = Callable[[Builder, ir.Value, Callable[..., np.ndarray]], ir.Value]
CASES: dict[str, tuple[tuple[int, ...], Body]] = {}


def case(name: str, *shape: int) -> Callable[[Body], Body]:
    """Register one operator case with its input shape (batch dynamic)."""

    def register(body: Body) -> Body:
        assert name not in CASES
        CASES[name] = (shape, body)
        return body

    return register


def one(name: str, op: str, shape: tuple[int, ...], attributes: dict[str, Any] | None = None) -> None:
    CASES[name] = (shape, lambda b, x, f: b.op(op, [x], attributes or {}))


def conv(name: str, shape: tuple[int, ...], kernel: tuple[int, ...], **attributes: Any) -> None:
    def body(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
        with b.layer("conv", "Conv"):
            return image(b, "Conv", [x, b.weight("k", f(*kernel)), b.weight("b", f(kernel[0]))], **attributes)

    CASES[name] = (shape, body)


def pool(name: str, op: str, shape: tuple[int, ...], **attributes: Any) -> None:
    CASES[name] = (shape, lambda b, x, f: image(b, op, [x], **attributes))


IMG = (3, 13, 17, 5)
conv("Conv-valid", IMG, (7, 5, 3, 3))
conv("Conv-same_stride2", IMG, (7, 5, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
conv("Conv-same_lower", IMG, (7, 5, 4, 4), auto_pad="SAME_LOWER")
conv("Conv-pads_stride2", IMG, (7, 5, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
conv("Conv-pads_asymmetric", IMG, (7, 5, 3, 2), pads=[0, 2, 1, 3])
conv("Conv-dilated", IMG, (7, 5, 3, 2), dilations=[2, 3], pads=[2, 1, 2, 2])
conv("Conv-dilated_strided", IMG, (7, 5, 3, 3), dilations=[2, 2], strides=[2, 2], pads=[2, 2, 2, 2])
conv("Conv-grouped", (3, 13, 17, 6), (4, 3, 3, 3), group=2)
conv("Conv-depthwise", IMG, (10, 1, 3, 3), group=5, pads=[1, 1, 1, 1])
conv("Conv-depthwise_uneven_strides", IMG, (5, 1, 3, 3), group=5, strides=[2, 1])
conv("Conv-1d", (3, 19, 5), (7, 5, 3), strides=[2], pads=[2, 0])
conv("Conv-1d_depthwise", (3, 19, 5), (5, 1, 3), group=5)
conv("Conv-3d", (2, 7, 5, 6, 3), (4, 3, 2, 3, 3), pads=[1, 0, 1, 0, 1, 1])


def transposed(name: str, shape: tuple[int, ...], kernel: tuple[int, ...], **attributes: Any) -> None:
    def body(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
        return image(b, "ConvTranspose", [x, b.weight("k", f(*kernel)), b.weight("b", f(kernel[1]))], **attributes)

    CASES[name] = (shape, body)


transposed("ConvTranspose-valid", IMG, (5, 7, 3, 3), strides=[2, 2])
transposed("ConvTranspose-pads", IMG, (5, 7, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
transposed("ConvTranspose-output_padding", IMG, (5, 7, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
transposed("ConvTranspose-same", IMG, (5, 7, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1])
transposed("ConvTranspose-auto_same", IMG, (5, 7, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
transposed("ConvTranspose-small_kernel", IMG, (5, 7, 2, 1), strides=[3, 2])
transposed("ConvTranspose-1d", (3, 11, 5), (5, 7, 4), strides=[2], pads=[1, 2])

pool("MaxPool-valid", "MaxPool", IMG, kernel_shape=[3, 2], strides=[2, 2])
pool("MaxPool-pads_negative_input", "MaxPool", IMG, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
pool("MaxPool-same", "MaxPool", IMG, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
pool("MaxPool-ceil", "MaxPool", IMG, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
pool("MaxPool-ceil_pads", "MaxPool", IMG, kernel_shape=[3, 3], strides=[3, 2], pads=[1, 0, 1, 0], ceil_mode=1)
pool("MaxPool-1d", "MaxPool", (3, 19, 5), kernel_shape=[3], strides=[2])
pool("AveragePool-valid", "AveragePool", IMG, kernel_shape=[3, 2], strides=[2, 1])
pool("AveragePool-same", "AveragePool", IMG, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
pool("AveragePool-pads", "AveragePool", IMG, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
pool("AveragePool-pads_counted", "AveragePool", IMG, kernel_shape=[3, 3], pads=[1, 0, 1, 1], count_include_pad=1)
pool("AveragePool-ceil", "AveragePool", IMG, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
pool("AveragePool-3d", "AveragePool", (2, 7, 5, 6, 3), kernel_shape=[2, 3, 2])
pool("GlobalAveragePool-keeps", "GlobalAveragePool", IMG)
pool("GlobalMaxPool-keeps", "GlobalMaxPool", IMG)


@case("GlobalAveragePool-squeezed", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Squeeze", [image(b, "GlobalAveragePool", [x]), b.const([1, 2])])


for _name, _attrs in {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "Softplus": {},
    "Softsign": {},
    "HardSwish": {},
    "Mish": {},
    "Elu": {"alpha": 0.7},
    "Selu": {},
    "LeakyRelu": {"alpha": 0.17},
    "Gelu": {},
    "HardSigmoid": {},
    "Softmax": {"axis": -1},
    "LogSoftmax": {"axis": -1},
    "Celu": {},
}.items():
    one(f"{_name}-plain", _name, (3, 11, 5), _attrs)
one("Gelu-tanh", "Gelu", (3, 11, 5), {"approximate": "tanh"})
one("HardSigmoid-keras", "HardSigmoid", (3, 11, 5), {"alpha": 1 / 6})
one("Softmax-axis1", "Softmax", (3, 11, 5), {"axis": 1})
one("LogSoftmax-axis1", "LogSoftmax", (3, 11, 5), {"axis": 1})
one("Transpose-permute", "Transpose", (3, 11, 5), {"perm": [0, 2, 1]})
one("Transpose-batch", "Transpose", (3, 11, 5), {"perm": [1, 0, 2]})
one("Flatten-axis1", "Flatten", IMG, {"axis": 1})
for _name in ("Abs", "Exp", "Neg", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Erf", "Reciprocal", "Atan"):
    one(f"{_name}-plain", _name, (3, 7, 5))


def binary(name: str, op: str, other: tuple[int, ...], shape: tuple[int, ...] = (3, 7, 5)) -> None:
    CASES[name] = (
        shape,
        lambda b, x, f: b.op(op, [x, b.weight("other", np.asarray(np.abs(f(*other)) + np.float32(0.5)))]),
    )


for _name in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
    binary(f"{_name}-vector", _name, (5,))
    binary(f"{_name}-scalar", _name, ())
binary("Add-held_constant", "Add", (7, 5), (3, 7, 5))
binary("Mul-held_constant_image", "Mul", (13, 17, 1), IMG)
binary("MatMul-rank3", "MatMul", (5, 11))
binary("MatMul-batched_constant", "MatMul", (7, 5, 11), (3, 7, 2, 5))
binary("PRelu-channels", "PRelu", (5,), IMG)
binary("PRelu-all", "PRelu", (13, 17, 5), IMG)


@case("Add-tensors", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Add", [b.op("Relu", [x]), b.op("Tanh", [x])])


CASES["Sub-constant_first"] = ((3, 7, 5), lambda b, x, f: b.op("Sub", [b.const(1.0), x]))


@case("Mul-broadcast_gate", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    gate = image(b, "GlobalAveragePool", [x])
    return b.op("Mul", [x, b.op("Sigmoid", [gate])])


@case("Mean-three", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Mean", [x, b.op("Relu", [x]), b.op("Tanh", [x])])


CASES["Pow-square"] = ((3, 7, 5), lambda b, x, f: b.op("Pow", [x, b.const(2.0)]))


@case("Clip-relu6", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Clip", [b.op("Mul", [x, b.const(9.0)]), b.const(0.0), b.const(6.0)])


CASES["Clip-both"] = ((3, 7, 5), lambda b, x, f: b.op("Clip", [x, b.const(-0.3), b.const(0.2)]))
CASES["Clip-upper"] = ((3, 7, 5), lambda b, x, f: b.op("Clip", [x, None, b.const(0.2)]))


@case("Where-greater", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Where", [b.op("Greater", [x, b.const(0.1)]), x, b.weight("w", f(5))])


@case("Gemm-transposed_scaled", 3, 7)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    y = b.op("Gemm", [x, b.weight("w", f(11, 7)), b.weight("c", f(11))], {"transB": 1, "alpha": 0.5, "beta": 2.0})
    return b.op("Gemm", [y, b.weight("v", f(11, 5))])


@case("MatMul-bias_activation", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    with b.layer("fc", "Dense"):
        y = b.op("MatMul", [x, b.weight("w", f(5, 11))])
        return b.op("Relu", [b.op("Add", [y, b.weight("b", f(11))])])


@case("MatMul-tensors", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("MatMul", [x, b.op("Transpose", [x], {"perm": [0, 2, 1]})])


@case("Einsum-tensors", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Einsum", [x, b.weight("w", f(5, 11))], {"equation": "abc,cd->abd"})


@case("BatchNormalization-rank2", 3, 7)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    parts = [b.weight("g", f(7)), b.weight("b", f(7)), b.weight("m", f(7)), b.weight("v", np.abs(f(7)) + 1)]
    return b.op("BatchNormalization", [x, *parts], {"epsilon": 0.01})


@case("BatchNormalization-image", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    parts = [b.weight("g", f(5)), b.weight("b", f(5)), b.weight("m", f(5)), b.weight("v", np.abs(f(5)) + 1)]
    return image(b, "BatchNormalization", [x, *parts])


@case("LayerNormalization-last", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("LayerNormalization", [x, b.weight("g", f(5)), b.weight("b", f(5))], {"axis": -1, "epsilon": 0.01})


@case("LayerNormalization-two_axes_no_bias", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("LayerNormalization", [x, b.weight("g", f(7, 5))], {"axis": 1})


@case("RMSNormalization-last", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("RMSNormalization", [x, b.weight("g", f(5))], {"axis": -1, "epsilon": 0.01})


@case("GroupNormalization-two", 3, 13, 17, 6)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    first = b.channels_first(x)
    y = b.op(
        "GroupNormalization", [first, b.weight("g", f(6)), b.weight("b", f(6))], {"num_groups": 2, "epsilon": 0.01}
    )
    y.shape, y.type = first.shape, first.type
    return b.channels_last(y)


@case("InstanceNormalization-image", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return image(b, "InstanceNormalization", [x, b.weight("g", f(5)), b.weight("b", f(5))], epsilon=0.01)


@case("Dropout-rate", 3, 7)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Neg", [b.op("Dropout", [x, b.const(0.3)])])


@case("Mul-silu", 3, 7)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    with b.layer("swish", "Activation"):
        return b.op("Mul", [x, b.op("Sigmoid", [x])])


@case("Concat-tensors", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Concat", [x, b.op("Relu", [x])], {"axis": 3})


@case("Concat-constant", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    wide = b.op("Expand", [b.weight("token", f(1, 1, 5)), b.const([3, 1, 5])])
    return b.op("Concat", [wide, b.op("Slice", [x, b.const([0]), b.const([3]), b.const([0])])], {"axis": 1})


@case("Split-uneven", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    parts = b.node("Split", [x, b.const([2, 4, 1])], {"axis": 1}, num_outputs=3)
    return b.op("Concat", [parts[2], parts[0]], {"axis": 1})


@case("Slice-steps", *IMG)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Slice", [x, b.const([1, -1]), b.const([-2, -100]), b.const([1, 2]), b.const([3, -2])])


@case("Gather-scalar", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Gather", [x, b.const(-1)], {"axis": 1})


@case("Gather-list", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Gather", [x, b.const([4, 0, 4])], {"axis": 2})


@case("Reshape-keeps_batch", 3, 12, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Reshape", [x, b.const([0, 3, 4, -1])])


@case("Reshape-merges_batch", 3, 12, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Reshape", [x, b.const([-1, 5])])


@case("Unsqueeze-inner", 3, 12, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    return b.op("Unsqueeze", [x, b.const([1, -1])])


def pad(name: str, shape: tuple[int, ...], amounts: list[int], mode: str = "constant", fill: float = 0.0) -> None:
    CASES[name] = (shape, lambda b, x, f: b.op("Pad", [x, b.const(amounts), b.const(fill)], {"mode": mode}))


pad("Pad-image", IMG, [0, 1, 2, 0, 0, 3, 0, 0])
pad("Pad-fill", IMG, [0, 1, 2, 0, 0, 3, 0, 0], fill=1.5)
pad("Pad-reflect", IMG, [0, 1, 2, 0, 0, 3, 0, 0], "reflect")
pad("Pad-channels", IMG, [0, 0, 0, 1, 0, 0, 0, 2])
pad("Pad-negative", IMG, [0, -1, 2, 0, 0, 0, -3, 0])


def reduction(name: str, op: str, axes: list[int], keep: int) -> None:
    CASES[name] = (IMG, lambda b, x, f: b.op(op, [x, b.const(axes)], {"keepdims": keep}))


reduction("ReduceMean-spatial", "ReduceMean", [1, 2], 0)
reduction("ReduceMean-spatial_keep", "ReduceMean", [1, 2], 1)
reduction("ReduceMean-channels", "ReduceMean", [3], 1)
reduction("ReduceSum-two", "ReduceSum", [1, 3], 0)
reduction("ReduceMax-spatial", "ReduceMax", [1, 2], 0)
reduction("ReduceMin-one", "ReduceMin", [2], 1)
reduction("ReduceL2-channels", "ReduceL2", [-1], 1)
reduction("ReduceL1-channels", "ReduceL1", [-1], 1)
reduction("ReduceProd-one", "ReduceProd", [3], 0)
reduction("ReduceLogSumExp-one", "ReduceLogSumExp", [3], 0)


def resize(name: str, scales: list[float], **attributes: Any) -> None:
    CASES[name] = (IMG, lambda b, x, f: b.op("Resize", [x, None, b.const(scales)], attributes))


resize(
    "Resize-nearest2",
    [1.0, 2.0, 3.0, 1.0],
    mode="nearest",
    coordinate_transformation_mode="asymmetric",
    nearest_mode="floor",
)
resize("Resize-nearest_half_pixel", [1.0, 2.0, 2.0, 1.0], mode="nearest")
resize("Resize-nearest_odd", [1.0, 0.6, 1.4, 1.0], mode="nearest")
resize("Resize-linear2", [1.0, 2.0, 2.0, 1.0], mode="linear")
resize("Resize-linear_corners", [1.0, 2.0, 3.0, 1.0], mode="linear", coordinate_transformation_mode="align_corners")
resize("Resize-linear_asymmetric", [1.0, 2.0, 2.0, 1.0], mode="linear", coordinate_transformation_mode="asymmetric")
resize("Resize-cubic", [1.0, 2.0, 1.5, 1.0], mode="cubic")
pool("DepthToSpace-dcr", "DepthToSpace", (3, 5, 7, 8), blocksize=2)
pool("DepthToSpace-crd", "DepthToSpace", (3, 5, 7, 8), blocksize=2, mode="CRD")
pool("SpaceToDepth-2", "SpaceToDepth", (3, 4, 6, 5), blocksize=2)


pool("LRN-odd", "LRN", (3, 5, 7, 11), size=5, alpha=0.3, beta=0.6, bias=1.5)
one("LpNormalization-2", "LpNormalization", (3, 7, 5), {"axis": 1})
one("ThresholdedRelu-plain", "ThresholdedRelu", (3, 7, 5), {"alpha": 0.3})
one("Trilu-lower", "Trilu", (3, 7, 5), {"upper": 0})
one("IsInf-plain", "IsInf", (3, 7, 5))


@case("TopK-both", 3, 7, 11)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    values, indices = b.node("TopK", [x, b.const([4])], {"axis": -1}, num_outputs=2)
    return b.op("Add", [values, b.op("Cast", [indices], {"to": int(FLOAT)})])


@case("OneHot-values", 3, 7)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    ids = b.op("Cast", [b.op("Mul", [x, b.const(6.0)])], {"to": int(ir.DataType.INT64)})
    return b.op("OneHot", [ids, b.const(13), b.const(np.array([0.5, 2.0], np.float32))], {"axis": 1})


@case("GatherElements-last", 3, 7)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    _, indices = b.node("TopK", [x, b.const([4])], {"axis": -1}, num_outputs=2)
    return b.op("GatherElements", [x, indices], {"axis": 1})


@case("Attention-heads_causal", 3, 7, 12)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    q, k, v = (b.op("MatMul", [x, b.weight(name, f(12, width))]) for name, width in (("q", 12), ("k", 6), ("v", 10)))
    attributes = {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1}
    return b.node("Attention", [q, k, v], attributes, num_outputs=1)[0]


@case("Einsum-heads_bias", 3, 7, 5)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    y = b.op("Einsum", [x, b.weight("w", f(5, 2, 11))], {"equation": "abc,cde->abde"})
    return b.op("Add", [y, b.weight("b", f(11))])


@case("Div-integers", 3, 7)
def _(b: Builder, x: ir.Value, f: Callable[..., np.ndarray]) -> ir.Value:
    whole = b.op("Cast", [b.op("Mul", [x, b.const(40.0)])], {"to": int(ir.DataType.INT64)})
    other = b.op("Cast", [b.op("Add", [b.op("Abs", [x]), b.const(2.0)])], {"to": int(ir.DataType.INT64)})
    return b.op("Add", [b.op("Div", [whole, b.const(7)]), b.op("Div", [whole, b.op("Neg", [other])])])
