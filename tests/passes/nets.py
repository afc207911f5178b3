"""Random networks of asymmetric prime sizes, written channels-first or as a channels-last reader writes them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder


class Net:
    """A network under construction. ``last``: as a reader of a channels-last format writes it."""

    def __init__(
        self, last: bool, rng: np.random.Generator, shape: tuple[int, ...] = (3, 13, 17), batch: int | str = "batch"
    ) -> None:
        self.b, self.last, self.rng = Builder("net"), last, rng
        channels, *spatial = shape
        self.shape = (*spatial, channels) if last else (channels, *spatial)
        self.x = self.b.input("x", ir.DataType.FLOAT, (batch, *self.shape))

    def feeds(self, batch: int = 2) -> dict[str, np.ndarray]:
        """Random input."""
        return {"x": self.rng.standard_normal((batch, *self.shape)).astype(np.float32)}

    def weight(self, *shape: int) -> ir.Value:
        """Random weights, small enough that deep sums stay near one."""
        scale = 1 / np.sqrt(max(1, np.prod(shape[1:])))
        return self.b.weight("w", (self.rng.standard_normal(shape) * scale).astype(np.float32))

    def image(self, op: str, x: ir.Value, rest: tuple[ir.Value, ...] = (), **attributes: object) -> ir.Value:
        """An image operator in this network's layout."""
        if not self.last:
            return self.b.op(op, [x, *rest], attributes)
        return self.b.channels_last(self.b.op(op, [self.b.channels_first(x), *rest], attributes))

    def axis(self, canonical: int, rank: int = 4) -> int:
        """The place of a channels-first axis."""
        order = [0, *range(2, rank), 1] if self.last else list(range(rank))
        return order.index(canonical)

    def channels(self, x: ir.Value) -> int:
        """Number of channels."""
        assert x.shape is not None
        found = x.shape[self.axis(1, len(x.shape))]
        assert isinstance(found, int)
        return found

    def dim(self, x: ir.Value, canonical: int) -> int:
        """A channels-first dim."""
        assert x.shape is not None
        found = x.shape[self.axis(canonical, len(x.shape))]
        assert isinstance(found, int)
        return found

    # -- blocks -----------------------------------------------------------------------------------------------------

    def conv(self, x: ir.Value, to: int, kernel: int = 3, stride: int = 1, group: int = 1) -> ir.Value:
        w = self.weight(to, self.channels(x) // group, kernel, kernel)
        return self.image("Conv", x, (w,), auto_pad="SAME_UPPER", strides=[stride, stride], group=group)

    def norm(self, x: ir.Value) -> ir.Value:
        c = self.channels(x)
        parts = [self.rng.standard_normal(c), self.rng.standard_normal(c), self.rng.standard_normal(c) / 3]
        parts.append(self.rng.uniform(0.5, 2, c))
        rest = tuple(self.b.weight("bn", p.astype(np.float32)) for p in parts)
        return self.image("BatchNormalization", x, rest, epsilon=1e-3)

    def bias(self, x: ir.Value) -> ir.Value:
        c = self.channels(x)
        return self.b.op("Add", [x, self.weight(c) if self.last else self.weight(c, 1, 1)])

    def residual(self, x: ir.Value) -> ir.Value:
        return self.b.op("Add", [x, self.b.op("Relu", [self.conv(x, self.channels(x))])])

    def branches(self, x: ir.Value) -> ir.Value:
        return self.b.op("Concat", [self.conv(x, 5), self.conv(x, 2, 1), x], {"axis": self.axis(1)})

    def gate(self, x: ir.Value) -> ir.Value:
        axes = self.b.const([self.axis(2), self.axis(3)])
        return self.b.op("Mul", [x, self.b.op("Sigmoid", [self.b.op("ReduceMean", [x, axes], {"keepdims": 1})])])

    def squeeze_gate(self, x: ir.Value) -> ir.Value:
        """Squeeze-and-excitation through rank 2, as Keras writes it."""
        c = self.channels(x)
        flat = self.b.op("Reshape", [self.image("GlobalAveragePool", x), self.b.const([0, -1])])
        dense = self.b.op("Gemm", [flat, self.weight(c, c)])
        wide = self.b.op("Reshape", [dense, self.b.const([-1, 1, 1, c] if self.last else [-1, c, 1, 1])])
        return self.b.op("Mul", [x, self.b.op("Sigmoid", [wide])])

    def pad(self, x: ir.Value) -> ir.Value:
        before, after = [0, 0, 0, 0], [0, 0, 0, 0]
        before[self.axis(2)], after[self.axis(3)], after[self.axis(1)] = 2, 3, 1
        return self.b.op("Pad", [x, self.b.const([*before, *after])])

    def slice(self, x: ir.Value) -> ir.Value:
        ends = [self.dim(x, 2) - 1, self.dim(x, 1)]
        axes = self.b.const([self.axis(2), self.axis(1)])
        return self.b.op("Slice", [x, self.b.const([1, 1]), self.b.const(ends), axes])

    def split(self, x: ir.Value) -> ir.Value:
        c = self.channels(x)
        sizes = self.b.const([1, c - 1])
        small, large = self.b.node("Split", [x, sizes], {"axis": self.axis(1)}, 2)
        return self.b.op("Mul", [large, small])

    def upsample(self, x: ir.Value) -> ir.Value:
        scales = [1.0] * 4
        scales[self.axis(2)], scales[self.axis(3)] = 2.0, 3.0
        return self.b.op("Resize", [x, None, self.b.const(np.array(scales, np.float32))], {"mode": "nearest"})

    def softmax(self, x: ir.Value) -> ir.Value:
        return self.b.op("Softmax", [x], {"axis": self.axis(1)})

    def pool(self, x: ir.Value) -> ir.Value:
        return self.image("MaxPool", x, kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")

    def mean_pool(self, x: ir.Value) -> ir.Value:
        return self.image("AveragePool", x, kernel_shape=[3, 2], strides=[1, 1])

    def prelu(self, x: ir.Value) -> ir.Value:
        c = self.channels(x)
        return self.b.op("PRelu", [x, self.weight(1, 1, c) if self.last else self.weight(c, 1, 1)])

    def row_bias(self, x: ir.Value) -> ir.Value:
        """Along the width: of lower rank, and not constant."""
        axes = self.b.const([a for a in range(4) if a != self.axis(3)])
        row = self.b.op("ReduceMax", [x, axes], {"keepdims": 0})
        if self.last:
            row = self.b.op("Unsqueeze", [row, self.b.const([1])])
        return self.b.op("Sub", [x, row])

    def largest(self, x: ir.Value) -> ir.Value:
        """A float tensor made from ArgMax and Shape."""
        best = self.b.op("Cast", [self.b.op("ArgMax", [x], {"axis": self.axis(1), "keepdims": 1})], {"to": 1})
        return self.b.op("Add", [x, best])

    def shape_scale(self, x: ir.Value) -> ir.Value:
        """Uses Shape: the order of its entries must not change."""
        dims = self.b.op("Cast", [self.b.op("Shape", [x], {"start": 1, "end": 3})], {"to": 1})
        first = self.b.op("Gather", [dims, self.b.const(0)], {"axis": 0})
        return self.b.op("Div", [x, first])

    def cumsum(self, x: ir.Value) -> ir.Value:
        return self.b.op("CumSum", [x, self.b.const(self.axis(3))])

    def gather(self, x: ir.Value) -> ir.Value:
        return self.b.op("Gather", [x, self.b.const([2, 0, 1])], {"axis": self.axis(1)})

    def layer_norm(self, x: ir.Value) -> ir.Value:
        """Over the last axis, whichever that is here."""
        assert x.shape is not None
        size = x.shape[-1]
        assert isinstance(size, int)
        return self.b.op("LayerNormalization", [x, self.weight(size), self.weight(size)], {"axis": -1})

    def tile(self, x: ir.Value) -> ir.Value:
        repeats = [1] * 4
        repeats[self.axis(1)] = 2
        return self.norm(self.b.op("Tile", [x, self.b.const(repeats)]))  # equal channels would make ArgMax a toss-up

    def detector(self, x: ir.Value, name: str) -> None:
        """(n, h, w, boxes * 5) → (n, h * w, 5): the head of a detector."""
        head = self.conv(x, 10, 1)
        if not self.last:
            head = self.b.op("Transpose", [head], {"perm": [0, 2, 3, 1]})
        flat = self.b.op("Reshape", [head, self.b.const([0, -1, 10])])
        self.b.output(self.b.op("Softmax", [flat], {"axis": -1}), name)

    def classifier(self, x: ir.Value, name: str, how: int = 0) -> None:
        """Flatten, then dense: the order of the flattened axis matters."""
        n = int(np.prod([self.dim(x, i) for i in (1, 2, 3)]))
        flat = self.b.op("Flatten", [x], {"axis": 1}) if how % 2 else self.b.op("Reshape", [x, self.b.const([0, -1])])
        if how // 2 % 2:
            flat = self.b.op("Mul", [self.b.op("Relu", [flat]), self.weight(n)])
        trans = how // 4 % 2
        w = self.weight(7, n) if trans else self.weight(n, 7)
        y = self.b.op("Gemm", [flat, w, self.weight(7)], {"transB": trans})
        self.b.output(y, name)

    def pooled(self, x: ir.Value, name: str) -> None:
        """Global pooling, then dense."""
        flat = self.b.op("Reshape", [self.image("GlobalAveragePool", x), self.b.const([0, -1])])
        self.b.output(self.b.op("Gemm", [flat, self.weight(self.channels(x), 7)]), name)


PLAIN = ["norm", "bias", "residual", "branches", "gate", "squeeze_gate"]
PLAIN += ["pad", "slice", "split", "pool", "prelu", "tile"]
AWKWARD = ["upsample", "softmax", "mean_pool", "row_bias", "largest", "shape_scale", "cumsum", "gather", "layer_norm"]
STEPS = [*PLAIN, *AWKWARD]
