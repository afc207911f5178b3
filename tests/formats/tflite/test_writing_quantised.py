"""QDQ graphs become LiteRT's integer kernels with the same scales: at most a step from ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tflite_graphs import Judge, image, run_onnx

from recast.errors import UnsupportedOp
from recast.formats._format import WriteOptions
from recast.formats.tflite import FORMAT
from recast.graph.build import Builder

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


class Quantised:
    """Builds a QDQ graph: integer inputs, float operators between Q and DQ."""

    def __init__(self, rng: np.random.Generator, kind: str = "int8") -> None:
        self.b, self.rng, self.kind = Builder("net"), rng, kind

    def _zero(self, zero: int) -> ir.Value:
        return self.b.const(np.array(zero + 128 if self.kind == "uint8" else zero, self.kind))

    def input(self, shape: tuple, scale: float, zero: int, name: str = "x") -> ir.Value:
        value = self.b.input(name, ir.DataType[self.kind.upper()], shape)
        return self.b.op("DequantizeLinear", [value, self.b.const(np.float32(scale)), self._zero(zero)])

    def q(self, value: ir.Value, scale: float, zero: int) -> ir.Value:
        return self.b.op("QuantizeLinear", [value, self.b.const(np.float32(scale)), self._zero(zero)])

    def dq(self, value: ir.Value, scale: float, zero: int) -> ir.Value:
        return self.b.op("DequantizeLinear", [value, self.b.const(np.float32(scale)), self._zero(zero)])

    def both(self, value: ir.Value, scale: float, zero: int) -> ir.Value:
        return self.dq(self.q(value, scale, zero), scale, zero)

    def weight(self, shape: tuple, axis: int, x_scale: float, bias: bool = True) -> list[ir.Value]:
        """A per-channel int8 kernel, and its int32 bias of scale input times weight."""
        w = self.rng.integers(-127, 128, shape).astype(np.int8)
        scales = self.rng.uniform(0.002, 0.02, shape[axis]).astype(np.float32)
        kernel = self.b.op(
            "DequantizeLinear",
            [self.b.weight("w", w), self.b.weight("ws", scales), self.b.weight("wz", np.zeros_like(scales, np.int8))],
            {"axis": axis},
        )
        if not bias:
            return [kernel]
        offsets = self.rng.integers(-2000, 2000, shape[axis]).astype(np.int32)
        product = (np.float32(x_scale) * scales).astype(np.float32)
        zeros = self.b.weight("bz", np.zeros_like(offsets))
        inputs = [self.b.weight("b", offsets), self.b.weight("bs", product), zeros]
        return [kernel, self.b.op("DequantizeLinear", inputs, {"axis": 0})]


Make = Callable[[Quantised], ir.Value]


def conv(q: Quantised, activation: str = "", **attributes: object) -> ir.Value:
    x = q.input(("batch", 11, 13, 3), 0.04, 7)
    y = image(q.b, "Conv", [x, *q.weight((5, 3, 3, 3), 0, 0.04)], {"kernel_shape": [3, 3], **attributes})
    if activation:
        y = q.b.op(activation, [y])
    return q.q(y, 0.11, -128 if activation else -9)


def depthwise(q: Quantised) -> ir.Value:
    x = q.input((2, 11, 13, 3), 0.04, 7)
    y = image(q.b, "Conv", [x, *q.weight((6, 1, 3, 3), 0, 0.04)], {"group": 3, "pads": [1, 1, 1, 1]})
    return q.q(y, 0.07, 3)


def depthwise_per_tensor(q: Quantised) -> ir.Value:
    x = q.input((2, 11, 13, 3), 0.04, 7)
    w = q.b.weight("w", q.rng.integers(0, 256, (6, 1, 3, 3)).astype(np.uint8))
    kernel = q.b.op("DequantizeLinear", [w, q.b.const(np.float32(0.01)), q.b.const(np.array(120, np.uint8))])
    y = image(q.b, "Conv", [x, kernel], {"group": 3, "pads": [1, 1, 1, 1]})
    return q.q(y, 0.07, 3)


def dense(q: Quantised) -> ir.Value:
    x = q.input(("batch", 17), 0.04, 7)
    return q.q(q.b.op("Gemm", [x, *q.weight((11, 17), 0, 0.04)], {"transB": 1}), 0.11, -9)


def dense_relu6(q: Quantised) -> ir.Value:
    x = q.input(("batch", 17), 0.04, 7)
    y = q.b.op("Gemm", [x, *q.weight((11, 17), 0, 0.04)], {"transB": 1})
    return q.q(q.b.op("Clip", [y, q.b.const(0.0), q.b.const(6.0)]), 6 / 255, -128)


def binary(op: str) -> Make:
    def make(q: Quantised) -> ir.Value:
        x, y = q.input(("batch", 5, 7), 0.04, 7), q.input(("batch", 5, 7), 0.03, -11, "y")
        return q.q(q.b.op(op, [x, y]), 0.09, 5)

    return make


def concat(q: Quantised) -> ir.Value:
    x, y = q.input(("batch", 5, 7), 0.05, 7), q.input(("batch", 5, 3), 0.03, -11, "y")
    return q.q(q.b.op("Concat", [x, y], {"axis": 2}), 0.05, 7)


def chain(op: str, image_op: bool, scale: float, attributes: dict, *constants: object) -> Make:
    """One operator whose result has another scale than its input, or the same."""

    def make(q: Quantised) -> ir.Value:
        x = q.input((2, 10, 12, 4), 0.04, 7)
        inputs = [x, *[q.b.const(c) for c in constants]]
        y = image(q.b, op, inputs, attributes) if image_op else q.b.op(op, inputs, attributes)
        return q.q(y, scale, 7 if scale == 0.04 else -3)

    return make


def unit(op: str, scale: float, zero: int) -> Make:
    return lambda q: q.q(q.b.op(op, [q.input(("batch", 7), 0.04, 7)]), scale, zero)


CASES: dict[str, tuple[Make, str, list[str]]] = {
    "conv-plain": (conv, "int8", ["CONV_2D"]),
    "conv-same-relu": (lambda q: conv(q, "Relu", auto_pad="SAME_UPPER", strides=[2, 2]), "int8", ["CONV_2D"]),
    "conv-pads": (lambda q: conv(q, pads=[1, 0, 2, 1], strides=[2, 2]), "int8", ["PAD", "CONV_2D"]),
    "conv-depthwise": (depthwise, "int8", ["DEPTHWISE_CONV_2D"]),
    "conv-depthwise-uint8": (depthwise_per_tensor, "uint8", ["DEPTHWISE_CONV_2D"]),
    "dense-plain": (dense, "int8", ["FULLY_CONNECTED"]),
    "dense-relu6": (dense_relu6, "int8", ["FULLY_CONNECTED"]),
    "add-scales": (binary("Add"), "int8", ["ADD"]),
    "add-uint8": (binary("Add"), "uint8", ["ADD"]),
    "sub-scales": (binary("Sub"), "int8", ["SUB"]),
    "mul-scales": (binary("Mul"), "int8", ["MUL"]),
    "max-float": (binary("Max"), "int8", ["DEQUANTIZE", "DEQUANTIZE", "MAXIMUM", "QUANTIZE"]),
    "concat-requantised": (concat, "int8", ["QUANTIZE", "CONCATENATION"]),
    "maxpool-same_scale": (
        chain("MaxPool", True, 0.04, {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
        "int8",
        ["PADV2", "MAX_POOL_2D"],
    ),
    "averagepool-same_scale": (
        chain("AveragePool", True, 0.04, {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER", "count_include_pad": 0}),
        "int8",
        ["AVERAGE_POOL_2D"],
    ),
    "globalaveragepool-scales": (chain("GlobalAveragePool", True, 0.02, {}), "int8", ["MEAN"]),
    "reshape-same_scale": (chain("Reshape", False, 0.04, {}, [0, -1]), "int8", ["RESHAPE"]),
    "reshape-requantised": (chain("Reshape", False, 0.05, {}, [0, -1]), "int8", ["RESHAPE", "QUANTIZE"]),
    "transpose-uint8": (chain("Transpose", False, 0.04, {"perm": [0, 3, 1, 2]}), "uint8", ["TRANSPOSE"]),
    "pad-same_scale": (chain("Pad", False, 0.04, {}, [0, 1, 2, 0, 0, 2, 1, 0]), "int8", ["PAD"]),
    "slice-same_scale": (chain("Slice", False, 0.04, {}, [1], [9], [1], [2]), "int8", ["STRIDED_SLICE"]),
    "relu-scales": (chain("Relu", False, 0.02, {}), "int8", ["RELU"]),
    "depthtospace-same_scale": (chain("DepthToSpace", True, 0.04, {"blocksize": 2}), "int8", ["DEPTH_TO_SPACE"]),
    "sigmoid-unit": (unit("Sigmoid", 1 / 256, -128), "int8", ["LOGISTIC"]),
    "sigmoid-other": (unit("Sigmoid", 1 / 200, -128), "int8", ["DEQUANTIZE", "LOGISTIC", "QUANTIZE"]),
    "tanh-unit": (unit("Tanh", 1 / 128, 0), "int8", ["TANH"]),
    "softmax-unit": (unit("Softmax", 1 / 256, -128), "int8", ["SOFTMAX"]),
    "hardswish-float": (unit("HardSwish", 0.04, 0), "int8", ["DEQUANTIZE", "HARD_SWISH", "QUANTIZE"]),
}


def feeds_of(model: ir.Model, kind: str, rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    low, high = RANGES[kind]
    shapes = {v.name: [d if isinstance(d, int) else batch for d in v.shape or ()] for v in model.graph.inputs}
    return {n: rng.integers(low, high + 1, s).astype(kind) for n, s in shapes.items()}


@pytest.mark.parametrize("name", CASES)
def test_integers(name: str, litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    make, kind, operators = CASES[name]
    q = Quantised(rng, kind)
    q.b.output(make(q), "out")
    model = q.b.model()
    path = tmp_path / "model.tflite"
    FORMAT.write(model, path, WriteOptions())
    for batch in (1, 3):
        feeds = feeds_of(model, kind, rng, batch)
        used, found = litert.run(path, feeds)
        assert used == operators
        if name.startswith("conv"):  # XNNPACK takes the whole graph
            assert litert.delegates == 1
        wanted = run_onnx(model, feeds)["out"]
        assert found["out"].dtype == wanted.dtype
        step = np.abs(found["out"].astype(int) - wanted.astype(int))
        assert step.max() <= 1
        assert np.mean(step > 0) < 0.1
        assert len(np.unique(wanted)) > 3  # not all clipped


def test_chain_stays_integer(litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    """Conv → pool → flatten → dense → softmax with float input and output: one QUANTIZE, one DEQUANTIZE."""
    q = Quantised(rng)
    x = q.b.input("x", ir.DataType.FLOAT, ("batch", 8, 8, 3))
    y = q.both(x, 0.02, 3)
    y = q.both(q.b.op("Relu", [image(q.b, "Conv", [y, *q.weight((5, 3, 3, 3), 0, 0.02)])]), 0.05, -128)
    y = q.both(image(q.b, "MaxPool", [y], {"kernel_shape": [2, 2], "strides": [2, 2]}), 0.05, -128)
    y = q.both(q.b.op("Reshape", [y, q.b.const([0, -1])]), 0.05, -128)
    y = q.both(q.b.op("Gemm", [y, *q.weight((7, 45), 0, 0.05)], {"transB": 1}), 0.2, 0)
    q.b.output(q.both(q.b.op("Softmax", [y]), 1 / 256, -128), "out")
    model = q.b.model()
    path = tmp_path / "model.tflite"
    FORMAT.write(model, path, WriteOptions())
    feeds = {"x": rng.normal(size=(3, 8, 8, 3)).astype(np.float32)}
    used, found = litert.run(path, feeds)
    assert used == [
        "QUANTIZE", "CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX", "DEQUANTIZE",
    ]  # fmt: skip
    np.testing.assert_allclose(found["out"], run_onnx(model, feeds)["out"], atol=3.01 / 256)


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_weights_only(kind: str, litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    """Weights are stored small and dequantised when loading; the arithmetic is the graph's."""
    q = Quantised(rng)
    x = q.b.input("x", ir.DataType.FLOAT, ("batch", 11, 13, 3))
    dense_w: ir.Value
    if kind == "int8":
        kernel = q.weight((31, 3, 5, 5), 0, 1.0, bias=False)[0]
        dense_w = q.weight((31, 2), 1, 1.0, bias=False)[0]
    else:
        kernel, dense_w = (
            q.b.op("Cast", [q.b.weight("w", rng.normal(size=s).astype(np.float16))], {"to": 1})
            for s in ((31, 3, 5, 5), (31, 2))
        )
    y = q.b.op("Relu", [image(q.b, "Conv", [x, kernel], {"strides": [2, 2]})])
    q.b.output(q.b.op("MatMul", [y, dense_w]), "out")
    model = q.b.model()
    path = tmp_path / "model.tflite"
    FORMAT.write(model, path, WriteOptions())
    assert path.stat().st_size < 31 * 77 * (1.1 if kind == "int8" else 2.1) + 3200
    feeds = {"x": rng.normal(size=(2, 11, 13, 3)).astype(np.float32)}
    for delegate in (True, False):
        _, found = litert.run(path, feeds, delegate)
        np.testing.assert_allclose(found["out"], run_onnx(model, feeds)["out"], rtol=1e-4, atol=1e-4)


def test_bias_scale_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    q = Quantised(rng)
    x = q.input((2, 17), 0.04, 7)
    q.b.output(q.q(q.b.op("Gemm", [x, *q.weight((11, 17), 0, 0.05)], {"transB": 1}), 0.11, 0), "out")
    with pytest.raises(UnsupportedOp, match="bias has other scales"):
        FORMAT.write(q.b.model(), tmp_path / "model.tflite", WriteOptions())
