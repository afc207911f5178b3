"""Graphs with prime sizes for examining the checker: each maker takes a generator and gives a model in the dialect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder

F32 = ir.DataType.FLOAT
Maker = Callable[[np.random.Generator], ir.Model]


class Net:
    """A builder with random weights."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.b, self.count = rng, Builder("net"), 0

    def w(self, *shape: int, scale: float | None = None) -> ir.Value:
        fan = int(np.prod(shape[1:])) or 1
        self.count += 1
        data = self.rng.standard_normal(shape) * (scale if scale is not None else 1 / np.sqrt(fan))
        return self.b.weight(f"w{self.count}", data.astype(np.float32))

    def pos(self, *shape: int) -> ir.Value:
        self.count += 1
        return self.b.weight(f"w{self.count}", self.rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def conv(self, x: ir.Value, c: int, m: int, k: tuple[int, ...] = (3, 3), **attrs: object) -> ir.Value:
        group = int(attrs.get("group", 1))  # type: ignore[call-overload]
        with self.b.layer(f"conv{self.count}", "Conv2D"):
            return self.b.op("Conv", [x, self.w(m, c // group, *k), self.w(m, scale=0.3)], dict(attrs))

    def bn(self, x: ir.Value, c: int, epsilon: float = 1e-3) -> ir.Value:
        with self.b.layer(f"bn{self.count}", "BatchNormalization"):
            inputs = [x, self.pos(c), self.w(c, scale=0.3), self.w(c, scale=0.3), self.pos(c)]
            return self.b.op("BatchNormalization", inputs, {"epsilon": epsilon})

    def dense(self, x: ir.Value, i: int, o: int) -> ir.Value:
        with self.b.layer(f"dense{self.count}", "Dense"):
            attrs = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
            return self.b.op("Gemm", [x, self.w(i, o, scale=1 / np.sqrt(i)), self.w(o, scale=0.3)], attrs)

    def done(self, *values: ir.Value) -> ir.Model:
        for index, value in enumerate(values):
            self.b.output(value, f"out{index}")
        return self.b.model()


def cnn(rng: np.random.Generator) -> ir.Model:
    """Conv, BatchNormalization, Relu, MaxPool, dense head."""
    n = Net(rng)
    x = n.b.input("image", F32, ("batch", 3, 17, 13))
    y = n.b.op("Relu", [n.bn(n.conv(x, 3, 7, pads=[1, 0, 2, 1], strides=[2, 1]), 7)])
    y = n.b.op("MaxPool", [y], {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 1, 1, 1], "ceil_mode": 1})
    y = n.b.op("Clip", [n.conv(y, 7, 5, auto_pad="SAME_UPPER", strides=[2, 2]), n.b.const(0.0), n.b.const(6.0)])
    y = n.b.op("Reshape", [n.b.op("GlobalAveragePool", [y]), n.b.const([0, -1])])
    return n.done(n.b.op("Softmax", [n.dense(y, 5, 11)], {"axis": -1}))


def plain_cnn(rng: np.random.Generator) -> ir.Model:
    """Square kernels, average pooling that counts its padding, raw feature map out."""
    n = Net(rng)
    x = n.b.input("image", F32, (1, 3, 19, 11))
    y = n.b.op("LeakyRelu", [n.conv(x, 3, 5, (5, 5), pads=[2, 2, 2, 2])], {"alpha": 0.1})
    y = n.b.op(
        "AveragePool", [y], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    )
    return n.done(n.b.op("Sigmoid", [n.conv(y, 5, 7, dilations=[2, 1])]))


def residual(rng: np.random.Generator) -> ir.Model:
    """Two residual blocks."""
    n = Net(rng)
    x = n.b.input("image", F32, ("batch", 7, 11, 13))
    for _ in range(2):
        y = n.b.op("Relu", [n.bn(n.conv(x, 7, 7, pads=[1, 1, 1, 1]), 7)])
        x = n.b.op("Relu", [n.b.op("Add", [n.bn(n.conv(y, 7, 7, pads=[1, 1, 1, 1]), 7), x])])
    return n.done(n.b.op("Flatten", [n.b.op("GlobalMaxPool", [x])], {"axis": 1}))


def depthwise(rng: np.random.Generator) -> ir.Model:
    """Depthwise separable blocks."""
    n = Net(rng)
    x = n.b.input("image", F32, ("batch", 5, 13, 17))
    low, high = n.b.const(0.0), n.b.const(6.0)
    y = n.b.op("Clip", [n.bn(n.conv(x, 5, 5, group=5, auto_pad="SAME_UPPER", strides=[2, 2]), 5), low, high])
    y = n.b.op("Clip", [n.bn(n.conv(y, 5, 11, (1, 1)), 11), low, high])
    y = n.b.op("Clip", [n.conv(y, 11, 22, group=11, pads=[1, 1, 1, 1]), low, high])
    y = n.b.op("Reshape", [n.b.op("GlobalAveragePool", [y]), n.b.const([0, -1])])
    return n.done(n.dense(y, 22, 3))


def conv1d(rng: np.random.Generator) -> ir.Model:
    """One-dimensional causal convolutions."""
    n = Net(rng)
    x = n.b.input("signal", F32, ("batch", 2, 67))
    y = n.b.op("Tanh", [n.conv(x, 2, 5, (3,), pads=[4, 0], dilations=[2])])
    y = n.b.op("Elu", [n.conv(y, 5, 7, (5,), strides=[3])], {"alpha": 0.7})
    return n.done(n.b.op("ReduceMean", [y, n.b.const([2])], {"keepdims": 0}))


def conv3d(rng: np.random.Generator) -> ir.Model:
    """Three spatial axes."""
    n = Net(rng)
    x = n.b.input("volume", F32, (1, 2, 5, 7, 11))
    y = n.b.op("Relu", [n.conv(x, 2, 3, (3, 3, 3), pads=[1, 1, 1, 1, 1, 1])])
    y = n.b.op("AveragePool", [y], {"kernel_shape": [2, 2, 3], "strides": [2, 2, 2]})
    return n.done(y)


def transposed(rng: np.random.Generator) -> ir.Model:
    """Encoder and decoder with a skip through Concat."""
    n = Net(rng)
    x = n.b.input("image", F32, (1, 3, 16, 12))
    d = n.b.op("Relu", [n.conv(x, 3, 5, strides=[2, 2], pads=[1, 1, 1, 1])])
    attrs = {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    u = n.b.op("ConvTranspose", [d, n.w(5, 7, 3, 3, scale=0.2), n.w(7, scale=0.3)], attrs)
    return n.done(n.conv(n.b.op("Concat", [u, x], {"axis": 1}), 10, 2, (1, 1)))


def resize(rng: np.random.Generator) -> ir.Model:
    """Bilinear, half-pixel and nearest, asymmetric upsampling."""
    n = Net(rng)
    x = n.b.input("image", F32, (1, 3, 7, 11))
    y = n.conv(x, 3, 5, pads=[1, 1, 1, 1])
    empty = n.b.const(np.zeros(0, np.float32))
    a = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    y = n.b.op("Resize", [y, empty, empty, n.b.const([1, 5, 17, 23])], a)
    a = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return n.done(n.b.op("Resize", [y, empty, empty, n.b.const([1, 5, 29, 31])], a))


def lstm(rng: np.random.Generator) -> ir.Model:
    """LSTM over time and a dense head on the last step."""
    n = Net(rng)
    x = n.b.input("sequence", F32, ("batch", 7, 5))
    t = n.b.op("Transpose", [x], {"perm": [1, 0, 2]})
    with n.b.layer("lstm", "LSTM"):
        inputs = [t, n.w(1, 44, 5), n.w(1, 44, 11, scale=0.3), n.w(1, 88, scale=0.3)]
        y = n.b.node("LSTM", inputs, {"hidden_size": 11}, 3)[1]
    return n.done(n.dense(n.b.op("Squeeze", [y, n.b.const([0])]), 11, 3))


def gru(rng: np.random.Generator) -> ir.Model:
    """GRU with reset after, all steps out."""
    n = Net(rng)
    x = n.b.input("sequence", F32, ("batch", 5, 3))
    t = n.b.op("Transpose", [x], {"perm": [1, 0, 2]})
    inputs = [t, n.w(1, 21, 3), n.w(1, 21, 7, scale=0.4), n.w(1, 42, scale=0.3)]
    y = n.b.node("GRU", inputs, {"hidden_size": 7, "linear_before_reset": 1}, 2)[0]
    y = n.b.op("Squeeze", [y, n.b.const([1])])
    return n.done(n.b.op("Transpose", [y], {"perm": [1, 0, 2]}))


def bidirectional(rng: np.random.Generator) -> ir.Model:
    """Simple recurrent network in both directions."""
    n = Net(rng)
    x = n.b.input("sequence", F32, (7, 2, 3))
    inputs = [x, n.w(2, 5, 3), n.w(2, 5, 5, scale=0.4), n.w(2, 10, scale=0.3)]
    return n.done(n.b.node("RNN", inputs, {"hidden_size": 5, "direction": "bidirectional"}, 2)[0])


def attention(rng: np.random.Generator) -> ir.Model:
    """One pre-norm transformer block written out."""
    n, d = Net(rng), 12
    x = n.b.input("tokens", F32, ("batch", 7, d))
    h = n.b.op("LayerNormalization", [x, n.pos(d), n.w(d, scale=0.3)], {"axis": -1, "epsilon": 1e-5})
    heads = []
    for _ in range(3):
        y = n.b.op("Add", [n.b.op("MatMul", [h, n.w(d, d)]), n.w(d, scale=0.3)])
        y = n.b.op("Reshape", [y, n.b.const([0, 7, 3, 4])])
        heads.append(n.b.op("Transpose", [y], {"perm": [0, 2, 1, 3]}))
    s = n.b.op("MatMul", [heads[0], n.b.op("Transpose", [heads[1]], {"perm": [0, 1, 3, 2]})])
    p = n.b.op("Softmax", [n.b.op("Div", [s, n.b.const(2.0)])], {"axis": -1})
    y = n.b.op("Transpose", [n.b.op("MatMul", [p, heads[2]])], {"perm": [0, 2, 1, 3]})
    y = n.b.op("MatMul", [n.b.op("Reshape", [y, n.b.const([0, 7, d])]), n.w(d, d)])
    x = n.b.op("Add", [x, y])
    h = n.b.op("LayerNormalization", [x, n.pos(d), n.w(d, scale=0.3)], {"axis": -1, "epsilon": 1e-5})
    h = n.b.op(
        "Gelu", [n.b.op("Add", [n.b.op("MatMul", [h, n.w(d, 23)]), n.w(23, scale=0.3)])], {"approximate": "none"}
    )
    return n.done(n.b.op("Add", [x, n.b.op("MatMul", [h, n.w(23, d)])]))


def embedding(rng: np.random.Generator) -> ir.Model:
    """Token ids through an embedding and a mean."""
    n = Net(rng)
    ids = n.b.input("ids", ir.DataType.INT64, ("batch", 7))
    y = n.b.op("Gather", [n.w(53, 11, scale=1.0), ids], {"axis": 0})
    y = n.b.op("ReduceMean", [y, n.b.const([1])], {"keepdims": 0})
    return n.done(n.b.op("Softmax", [n.dense(y, 11, 5)], {"axis": -1}))


def mlp(rng: np.random.Generator) -> ir.Model:
    """Dense autoencoder with many activations."""
    n = Net(rng)
    x = n.b.input("features", F32, ("batch", 31))
    y = n.b.op("Relu", [n.bn(n.dense(x, 31, 17), 17)])
    y = n.b.op("PRelu", [n.dense(y, 17, 5), n.w(5, scale=0.2)])
    y = n.b.op("HardSigmoid", [n.dense(y, 5, 13)], {"alpha": 0.2, "beta": 0.5})
    return n.done(n.dense(y, 13, 31))


def two_inputs(rng: np.random.Generator) -> ir.Model:
    """Two inputs, subtraction, division, slices, two outputs."""
    n = Net(rng)
    a, c = n.b.input("left", F32, ("batch", 7, 5)), n.b.input("right", F32, ("batch", 7, 5))
    d = n.b.op("Sub", [a, c])
    s = n.b.op("Slice", [d, n.b.const([1]), n.b.const([6]), n.b.const([1]), n.b.const([1])])
    y = n.b.op("Div", [s, n.b.op("Add", [n.b.op("Abs", [s]), n.b.const(1.5)])])
    m = n.b.op("MatMul", [y, n.w(5, 3)])
    p = n.b.op("Pad", [m, n.b.const([0, 1, 0, 0, 2, 1]), n.b.const(0.25)], {"mode": "constant"})
    return n.done(p, n.b.op("ReduceMax", [d, n.b.const([2])], {"keepdims": 0}))


def detection(rng: np.random.Generator) -> ir.Model:
    """Feature map to boxes and class scores, flattened and concatenated."""
    n = Net(rng)
    x = n.b.input("image", F32, (1, 3, 23, 29))
    y = n.b.op("Relu", [n.conv(x, 3, 7, strides=[2, 2])])
    boxes, scores = n.conv(y, 7, 8, (1, 1)), n.conv(y, 7, 6, (1, 1))
    boxes = n.b.op("Reshape", [n.b.op("Transpose", [boxes], {"perm": [0, 2, 3, 1]}), n.b.const([1, -1, 4])])
    scores = n.b.op("Reshape", [n.b.op("Transpose", [scores], {"perm": [0, 2, 3, 1]}), n.b.const([1, -1, 3])])
    split = n.b.node("Split", [boxes, n.b.const([2, 2])], {"axis": 2}, 2)
    half = n.b.op("Mul", [n.b.op("Exp", [n.b.op("Clip", [split[1], n.b.const(-4.0), n.b.const(4.0)])]), n.b.const(0.5)])
    corners = n.b.op("Concat", [n.b.op("Sub", [split[0], half]), n.b.op("Add", [split[0], half])], {"axis": 2})
    return n.done(corners, n.b.op("Softmax", [scores], {"axis": -1}))


def space(rng: np.random.Generator) -> ir.Model:
    """SpaceToDepth, instance and group normalisation, DepthToSpace."""
    n = Net(rng)
    x = n.b.input("image", F32, (1, 3, 10, 14))
    y = n.b.op("SpaceToDepth", [x], {"blocksize": 2})
    y = n.b.op("InstanceNormalization", [y, n.pos(12), n.w(12, scale=0.3)], {"epsilon": 1e-3})
    y = n.b.op("Relu", [n.conv(y, 12, 20)])
    y = n.b.op("GroupNormalization", [y, n.pos(20), n.w(20, scale=0.3)], {"num_groups": 5, "epsilon": 1e-5})
    return n.done(n.b.op("DepthToSpace", [y], {"blocksize": 2, "mode": "DCR"}))


def classes(rng: np.random.Generator) -> ir.Model:
    """An index output beside its scores."""
    n = Net(rng)
    x = n.b.input("features", F32, ("batch", 13))
    y = n.dense(n.b.op("Softplus", [n.dense(x, 13, 17)]), 17, 7)
    return n.done(y, n.b.op("ArgMax", [y], {"axis": -1, "keepdims": 0}))


def gated(rng: np.random.Generator) -> ir.Model:
    """Squeeze and excitation, swish, RMS normalisation over channels-last."""
    n = Net(rng)
    x = n.b.input("image", F32, ("batch", 5, 11, 7))
    y = n.conv(x, 5, 11, pads=[1, 1, 1, 1])
    y = n.b.op("Mul", [y, n.b.op("Sigmoid", [y])])
    s = n.b.op("Relu", [n.conv(n.b.op("GlobalAveragePool", [y]), 11, 3, (1, 1))])
    y = n.b.op("Mul", [y, n.b.op("HardSigmoid", [n.conv(s, 3, 11, (1, 1))], {"alpha": 1 / 6, "beta": 0.5})])
    y = n.b.op("Transpose", [y], {"perm": [0, 2, 3, 1]})
    return n.done(n.b.op("RMSNormalization", [y, n.pos(11)], {"axis": -1, "epsilon": 1e-5}))


def local_norm(rng: np.random.Generator) -> ir.Model:
    """LRN, strided slices, power, log-softmax."""
    n = Net(rng)
    x = n.b.input("image", F32, (1, 7, 9, 11))
    y = n.b.op("LRN", [n.conv(x, 7, 7)], {"size": 5, "alpha": 0.1, "beta": 0.75, "bias": 1.0})
    y = n.b.op("Slice", [y, n.b.const([0, 1]), n.b.const([7, 9]), n.b.const([2, 3]), n.b.const([2, 1])])
    return n.done(n.b.op("LogSoftmax", [y], {"axis": 1}))


class _Quant(Net):
    def q(self, x: ir.Value, scale: float, zero: int, dtype: type = np.int8) -> ir.Value:
        s, z = self.b.const(np.float32(scale), name="scale"), self.b.const(np.array(zero, dtype), name="zero")
        return self.b.op("QuantizeLinear", [x, s, z])

    def dq(self, x: ir.Value, scale: float, zero: int, dtype: type = np.int8) -> ir.Value:
        s, z = self.b.const(np.float32(scale), name="scale"), self.b.const(np.array(zero, dtype), name="zero")
        return self.b.op("DequantizeLinear", [x, s, z])

    def weights8(self, shape: tuple[int, ...], input_scale: float) -> tuple[ir.Value, ir.Value]:
        """An int8 kernel with one scale per output channel, and its int32 bias in the accumulator's scale."""
        self.count += 1
        m, tag = shape[0], self.count
        scales = self.rng.uniform(0.002, 0.004, m).astype(np.float32)
        s, z = self.b.weight(f"s{tag}", scales), self.b.weight(f"z{tag}", np.zeros(m, np.int8))
        data = self.rng.integers(-127, 128, shape, dtype=np.int8)
        w = self.b.op("DequantizeLinear", [self.b.weight(f"w{tag}", data), s, z], {"axis": 0})
        s = self.b.weight(f"bs{tag}", scales * np.float32(input_scale))
        z = self.b.weight(f"bz{tag}", np.zeros(m, np.int32))
        data32 = self.rng.integers(-3000, 3000, m, dtype=np.int32)
        return w, self.b.op("DequantizeLinear", [self.b.weight(f"b{tag}", data32), s, z], {"axis": 0})


def qdq_cnn(rng: np.random.Generator) -> ir.Model:
    """Quantised convolutions with a residual, int8 in and out."""
    n = _Quant(rng)
    x = n.b.input("image", ir.DataType.INT8, (1, 3, 13, 11))
    x0 = n.dq(x, 0.02, -5)
    y = n.b.op("Relu", [n.b.op("Conv", [x0, *n.weights8((5, 3, 3, 3), 0.02)], {"pads": [1, 1, 1, 1]})])
    y = n.dq(n.q(y, 0.03, -128), 0.03, -128)
    z = n.b.op("Conv", [y, *n.weights8((5, 5, 3, 3), 0.03)], {"pads": [1, 1, 1, 1]})
    z = n.dq(n.q(z, 0.05, 3), 0.05, 3)
    y = n.b.op("Add", [y, z])
    y = n.dq(n.q(y, 0.06, -11), 0.06, -11)
    y = n.b.op("GlobalAveragePool", [y])
    return n.done(n.q(n.b.op("Reshape", [y, n.b.const([0, -1])]), 0.03, -20))


def qdq_dense(rng: np.random.Generator) -> ir.Model:
    """Quantised dense layers, float in and out."""
    n = _Quant(rng)
    x = n.b.input("features", F32, ("batch", 17))
    y = n.dq(n.q(x, 0.03, 7), 0.03, 7)
    y = n.b.op("Gemm", [y, *n.weights8((11, 17), 0.03)], {"transB": 1})
    y = n.dq(n.q(n.b.op("Relu", [y]), 0.02, -128), 0.02, -128)
    y = n.b.op("Gemm", [y, *n.weights8((7, 11), 0.02)], {"transB": 1})
    return n.done(n.dq(n.q(y, 0.02, 4), 0.02, 4))


def weight_only(rng: np.random.Generator) -> ir.Model:
    """Int8 weights, float activations."""
    n = _Quant(rng)
    x = n.b.input("image", F32, ("batch", 3, 11, 13))
    y = n.b.op("Relu", [n.b.op("Conv", [x, n.weights8((7, 3, 3, 3), 1.0)[0], n.w(7, scale=0.2)], {"strides": [2, 2]})])
    return n.done(n.b.op("Flatten", [n.b.op("GlobalAveragePool", [y])], {"axis": 1}))


MAKERS: dict[str, Maker] = {
    f.__name__: f
    for f in (
        cnn, plain_cnn, residual, depthwise, conv1d, conv3d, transposed, resize, lstm, gru, bidirectional, attention,
        embedding, mlp, two_inputs, detection, space, classes, gated, local_norm, qdq_cnn, qdq_dense, weight_only,
    )
}  # fmt: skip
