"""Small networks for the round trips: every size is a prime of its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder

F = ir.DataType.FLOAT


class Nets:
    """Seeded weights for one graph under construction."""

    def __init__(self, name: str, seed: int) -> None:
        self.b, self.rng = Builder(name), np.random.default_rng(seed)

    def weight(self, name: str, *shape: int) -> ir.Value:
        """Weights whose sums stay near one."""
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return self.b.weight(name, (self.rng.standard_normal(shape) * scale).astype(np.float32))

    def conv(self, path: str, x: ir.Value, shape: tuple[int, ...], **attributes: object) -> ir.Value:
        """A convolution layer with bias; ``shape`` is that of its kernel."""
        with self.b.layer(path, "Conv2D"):
            parts = [x, self.weight(f"{path}/kernel", *shape), self.weight(f"{path}/bias", shape[0])]
            return self.b.op("Conv", parts, attributes)

    def one(self, path: str, op: str, inputs: list[ir.Value | None], **attributes: object) -> ir.Value:
        """One operator that is a layer."""
        with self.b.layer(path, op):
            return self.b.op(op, inputs, attributes)


def image() -> ir.Model:
    """Residual, depthwise, concatenation, padding, upsampling, pooling, flatten into dense."""
    n = Nets("image", 3)
    b = n.b
    x = b.input("image", F, ("batch", 3, 19, 23))
    stem = n.conv("stem", x, (5, 3, 3, 5), auto_pad="SAME_UPPER", strides=[2, 2])
    parts = [b.weight(f"norm/{k}", n.rng.uniform(0.5, 1.5, 5).astype(np.float32)) for k in ("g", "b", "m", "v")]
    y = n.one("norm", "BatchNormalization", [stem, *parts], epsilon=1e-3)
    y = n.one("relu", "Relu", [y])
    y = n.conv("depthwise", y, (5, 1, 3, 3), pads=[1, 1, 1, 1], group=5)
    y = n.one("residual", "Add", [y, stem])
    y = n.one("join", "Concat", [y, n.conv("side", stem, (2, 5, 1, 1))], axis=1)
    y = n.one("pad", "Pad", [y, b.const([0, 0, 1, 2, 0, 0, 3, 0])])
    y = n.one("pool", "MaxPool", [y], kernel_shape=[2, 3], strides=[2, 3])
    scales = b.const(np.array([1, 1, 2, 3], np.float32))
    y = n.one("up", "Resize", [y, None, scales], mode="nearest", coordinate_transformation_mode="asymmetric",
              nearest_mode="floor")  # fmt: skip
    y = n.conv("last", y, (3, 7, 3, 3), strides=[2, 3])
    y = n.one("flat", "Reshape", [y, b.const([0, -1])])
    assert y.shape is not None
    rows = int(y.shape[1])  # type: ignore[arg-type]
    with b.layer("scores", "Dense"):
        y = b.op("Gemm", [y, n.weight("scores/kernel", rows, 11), n.weight("scores/bias", 11)])
    b.output(y, "probabilities")
    return b.model()


def sequence() -> ir.Model:
    """An LSTM, a GRU, attention between their steps, layer normalisation."""
    n = Nets("sequence", 5)
    b = n.b
    x = b.input("words", F, ("batch", 7, 5))
    with b.layer("lstm", "LSTM"):
        y = recurrent(n, "LSTM", x, (5, 13), 4)
    with b.layer("gru", "GRU"):
        y = recurrent(n, "GRU", y, (13, 11), 3, linear_before_reset=1)
    with b.layer("attention", "Attention"):
        query, key, value = (b.op("MatMul", [y, n.weight(f"attention/{k}", 11, 17)]) for k in "qkv")
        marks = b.op("MatMul", [query, b.op("Transpose", [key], {"perm": [0, 2, 1]})])
        marks = b.op("Softmax", [b.op("Mul", [marks, b.const(np.float32(17**-0.5))])], {"axis": -1})
        y = b.op("MatMul", [marks, value])
    with b.layer("norm", "LayerNormalization"):
        y = b.op("LayerNormalization", [y, n.weight("norm/gamma", 17), n.weight("norm/beta", 17)], {"axis": -1})
    with b.layer("scores", "Dense"):
        y = b.op("Add", [b.op("MatMul", [y, n.weight("scores/kernel", 17, 3)]), n.weight("scores/bias", 3)])
    b.output(y, "meaning")
    return b.model()


def recurrent(n: Nets, op: str, x: ir.Value, sizes: tuple[int, int], gates: int, **attributes: object) -> ir.Value:
    """One direction, all steps: (batch, time, features) in and out."""
    (features, units), b, path = sizes, n.b, op.lower()
    steps = b.op("Transpose", [x], {"perm": [1, 0, 2]})
    parts = [n.weight(f"{path}/w", 1, gates * units, features), n.weight(f"{path}/r", 1, gates * units, units)]
    count = 3 if op == "LSTM" else 2
    whole = b.node(op, [steps, *parts, n.weight(f"{path}/b", 1, 2 * gates * units)],
                   {"hidden_size": units, **attributes}, count)  # fmt: skip
    return b.op("Transpose", [b.op("Squeeze", [whole[0], b.const([1])])], {"perm": [1, 0, 2]})


def anywhere() -> ir.Model:
    """Convolutions, pooling, upsampling and sums over images of any size."""
    n = Nets("anywhere", 7)
    b = n.b
    x = b.input("x", F, ("batch", 3, "height", "width"))
    y = n.one("relu", "Relu", [n.conv("stem", x, (5, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])])
    stem = y
    y = n.conv("depthwise", y, (5, 1, 3, 3), pads=[1, 1, 1, 1], group=5)
    y = n.one("join", "Concat", [n.one("residual", "Add", [y, stem]), n.conv("side", stem, (2, 5, 1, 1))], axis=1)
    y = n.one("pad", "Pad", [y, b.const([0, 0, 1, 2, 0, 0, 3, 0])])
    y = n.one("pool", "MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2])
    scales = b.const(np.array([1, 1, 2, 3], np.float32))
    y = n.one("up", "Resize", [y, None, scales], mode="nearest", coordinate_transformation_mode="asymmetric",
              nearest_mode="floor")  # fmt: skip
    b.output(n.conv("map", y, (3, 7, 3, 3), pads=[1, 1, 1, 1]), "map")
    y = n.one("mean", "GlobalAveragePool", [y])
    y = n.one("flat", "Reshape", [y, b.const([-1, 7])])
    b.output(n.one("scores", "Gemm", [y, n.weight("scores/kernel", 7, 11), n.weight("scores/bias", 11)]), "scores")
    return b.model()


def any_length() -> ir.Model:
    """A convolution over steps, a GRU, attention between all steps, means over them."""
    n = Nets("any_length", 11)
    b = n.b
    x = b.input("x", F, ("batch", "steps", 5))
    with b.layer("conv", "Conv1D"):
        y = b.op("Transpose", [x], {"perm": [0, 2, 1]})
        y = b.op("Conv", [y, n.weight("conv/kernel", 13, 5, 3), n.weight("conv/bias", 13)], {"pads": [2, 0]})
        y = b.op("Transpose", [y], {"perm": [0, 2, 1]})
    with b.layer("gru", "GRU"):
        y = recurrent(n, "GRU", y, (13, 11), 3, linear_before_reset=1)
    with b.layer("attention", "Attention"):
        query, key, value = (b.op("MatMul", [y, n.weight(f"attention/{k}", 11, 17)]) for k in "qkv")
        marks = b.op("MatMul", [query, b.op("Transpose", [key], {"perm": [0, 2, 1]})])
        y = b.op("MatMul", [b.op("Softmax", [marks], {"axis": -1}), value])
    b.output(y, "steps")
    with b.layer("mean", "GlobalAveragePooling1D"):
        b.output(b.op("ReduceMean", [y, b.const([1])], {"keepdims": 0}), "mean")
    return b.model()
