"""Small networks of asymmetric prime sizes for the oracle of structured pruning: name → maker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from recast import passes
from recast.graph.build import Builder

Maker = Callable[[np.random.Generator], ir.Model]
NETS: dict[str, Maker] = {}


class Net:
    """A network under construction."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int | str, ...]) -> None:
        self.b, self.rng = Builder("net"), rng
        self.x = self.b.input("x", ir.DataType.FLOAT, shape)

    def w(self, *shape: int, name: str = "w") -> ir.Value:
        """Random weights of a size that keeps sums near one."""
        scale = 1 / np.sqrt(max(1, np.prod(shape[1:])))
        return self.b.weight(name, (self.rng.standard_normal(shape) * scale).astype(np.float32))

    def op(self, op: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        """One operator with one output."""
        return self.b.op(op, list(inputs), attributes)

    def conv(self, x: ir.Value, to: int, kernel: int = 3, group: int = 1, bias: bool = True) -> ir.Value:
        """A convolution of the same size."""
        assert x.shape is not None
        wide = int(x.shape[1]) // group  # type: ignore[arg-type]
        parts = [x, self.w(to, wide, kernel, kernel), *([self.w(to, name="bias")] if bias else [])]
        return self.op("Conv", *parts, pads=[kernel // 2] * 4, group=group, kernel_shape=[kernel, kernel])

    def norm(self, x: ir.Value) -> ir.Value:
        """BatchNormalization."""
        assert x.shape is not None
        size = int(x.shape[1])  # type: ignore[arg-type]
        made = [self.b.weight(n, self.rng.uniform(0.5, 1.5, size).astype(np.float32)) for n in ("s", "b", "m", "v")]
        return self.op("BatchNormalization", x, *made)

    def dense(self, x: ir.Value, to: int, flip: bool = False) -> ir.Value:
        """A Gemm with bias."""
        assert x.shape is not None
        size = int(x.shape[1])  # type: ignore[arg-type]
        w = self.w(to, size) if flip else self.w(size, to)
        return self.op("Gemm", x, w, self.w(to, name="bias"), transB=int(flip))

    def end(self, *outputs: ir.Value) -> ir.Model:
        """The model."""
        for number, value in enumerate(outputs):
            self.b.output(value, f"y{number}")
        return self.b.model()

    def scores(self, x: ir.Value) -> ir.Model:
        """Pool, flatten, classify."""
        pooled = self.op("GlobalAveragePool", x)
        return self.end(self.dense(self.op("Flatten", pooled, axis=1), 5))


def net(shape: tuple[int | str, ...]) -> Callable[[Callable[[Net], ir.Model]], Callable[[Net], ir.Model]]:
    """Register a network with that input."""

    def register(body: Callable[[Net], ir.Model]) -> Callable[[Net], ir.Model]:
        NETS[body.__name__] = lambda rng: body(Net(rng, shape))
        return body

    return register


IMAGE = ("batch", 3, 11, 13)


@net(("batch", 17))
def mlp(n: Net) -> ir.Model:
    return n.end(n.dense(n.op("Relu", n.dense(n.op("Sigmoid", n.dense(n.x, 23)), 19, flip=True)), 5))


@net(("batch", 7, 17))
def matmul_dense(n: Net) -> ir.Model:
    hidden = n.op("Gelu", n.op("Add", n.op("MatMul", n.x, n.w(17, 29)), n.w(29)))
    return n.end(n.op("Add", n.op("MatMul", hidden, n.w(29, 11)), n.w(11)))


@net(IMAGE)
def plain(n: Net) -> ir.Model:
    return n.scores(n.op("Relu", n.norm(n.conv(n.op("Sigmoid", n.norm(n.conv(n.x, 7, bias=False))), 13, bias=False))))


@net(IMAGE)
def residual(n: Net) -> ir.Model:
    x = n.op("Relu", n.norm(n.conv(n.x, 11)))
    for _ in range(2):
        inside = n.op("Relu", n.norm(n.conv(x, 7)))
        x = n.op("Relu", n.op("Add", x, n.norm(n.conv(inside, 11))))
    return n.scores(x)


@net(IMAGE)
def dense_block(n: Net) -> ir.Model:
    x = n.conv(n.x, 5)
    for _ in range(3):
        x = n.op("Concat", x, n.conv(n.op("Relu", n.norm(x)), 7), axis=1)
    return n.scores(x)


@net(IMAGE)
def depthwise(n: Net) -> ir.Model:
    x = n.op("Relu", n.norm(n.conv(n.x, 7)))
    x = n.op("Relu", n.norm(n.conv(x, 7, group=7, bias=False)))
    x = n.norm(n.conv(x, 14, group=7))  # two kernels a channel
    return n.scores(n.conv(x, 11, kernel=1))


@net(IMAGE)
def grouped(n: Net) -> ir.Model:
    x = n.op("Relu", n.conv(n.x, 15))
    x = n.op("Relu", n.conv(x, 21, group=3))
    return n.scores(n.conv(x, 11, kernel=1))


@net(IMAGE)
def shuffle(n: Net) -> ir.Model:
    x = n.op("Relu", n.conv(n.x, 14))
    x = n.b.op("Reshape", [x, n.b.const([0, 2, 7, 11, 13])])
    x = n.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = n.b.op("Reshape", [x, n.b.const([0, 14, 11, 13])])
    return n.scores(n.conv(x, 5))


@net(IMAGE)
def channel_split(n: Net) -> ir.Model:
    x = n.op("Relu", n.conv(n.x, 12))
    a, b = n.b.node("Split", [x], {"axis": 1, "num_outputs": 2}, num_outputs=2)
    x = n.op("Concat", n.op("Relu", n.conv(a, 7)), b, axis=1)
    return n.scores(n.conv(x, 5))


@net(IMAGE)
def sliced(n: Net) -> ir.Model:
    x = n.op("Relu", n.conv(n.x, 12))
    one = n.b.op("Slice", [x, n.b.const([0]), n.b.const([5]), n.b.const([1])])
    two = n.b.op("Slice", [x, n.b.const([5]), n.b.const([2**31]), n.b.const([1])])
    return n.scores(n.op("Concat", n.conv(two, 3), n.op("Sigmoid", one), axis=1))


@net(IMAGE)
def padded_shortcut(n: Net) -> ir.Model:
    x = n.op("Relu", n.norm(n.conv(n.x, 5)))
    short = n.b.op("Pad", [x, n.b.const([0, 3, 0, 0, 0, 3, 0, 0])])
    return n.scores(n.op("Relu", n.op("Add", n.norm(n.conv(n.op("Relu", n.conv(x, 7)), 11)), short)))


@net(IMAGE)
def squeeze_excite(n: Net) -> ir.Model:
    x = n.op("Relu", n.conv(n.x, 13))
    gate = n.op("Sigmoid", n.conv(n.op("Relu", n.conv(n.op("GlobalAveragePool", x), 7, kernel=1)), 13, kernel=1))
    return n.scores(n.conv(n.op("Mul", x, gate), 11))


@net((2, 3, 11, 13))
def flatten_dense(n: Net) -> ir.Model:
    x = n.op("MaxPool", n.op("Relu", n.conv(n.x, 7)), kernel_shape=[2, 2], strides=[2, 2])
    return n.end(n.dense(n.op("Relu", n.dense(n.op("Flatten", x, axis=1), 17)), 5))


@net(("batch", 11, 13, 3))
def channels_last(n: Net) -> ir.Model:
    x = n.x
    for size in (7, 11):
        x = n.op("Transpose", n.conv(n.op("Transpose", x, perm=[0, 3, 1, 2]), size), perm=[0, 2, 3, 1])
        x = n.op("Relu", n.op("Add", x, n.w(size)))
    flat = n.b.op("Reshape", [x, n.b.const([-1, 11 * 13 * 11])])
    return n.end(n.dense(flat, 5))


@net(IMAGE)
def transposed(n: Net) -> ir.Model:
    x = n.op("Relu", n.conv(n.x, 7))
    x = n.op("ConvTranspose", x, n.w(7, 11, 2, 2), n.w(11), strides=[2, 2])
    x = n.op("Relu", n.op("InstanceNormalization", x, n.w(11), n.w(11)))
    return n.end(n.conv(x, 3))


@net(IMAGE)
def upsampled(n: Net) -> ir.Model:
    x = n.op("Relu", n.conv(n.x, 7))
    x = n.b.op("Resize", [x, None, n.b.const([1.0, 1.0, 2.0, 2.0])], {"mode": "nearest"})
    return n.end(n.conv(n.op("PRelu", x, n.w(7, 1, 1)), 3))


def attention(n: Net, fused: bool) -> ir.Model:
    """Self-attention with 3 heads of 5, hidden 11; ``fused``: queries, keys and values from one product."""
    heads, size, steps = 3, 5, 7
    parts = []
    if fused:
        every = n.op("Add", n.op("MatMul", n.x, n.w(11, 3 * heads * size)), n.w(3 * heads * size))
        table = n.b.op("Reshape", [every, n.b.const([0, steps, 3, heads, size])])
        table = n.op("Transpose", table, perm=[2, 0, 3, 1, 4])
        parts = [n.b.op("Gather", [table, n.b.const(i)], {"axis": 0}) for i in range(3)]
    else:
        for _ in range(3):
            one = n.op("Add", n.op("MatMul", n.x, n.w(11, heads * size)), n.w(heads * size))
            one = n.b.op("Reshape", [one, n.b.const([0, steps, heads, size])])
            parts.append(n.op("Transpose", one, perm=[0, 2, 1, 3]))
    keys = n.op("Transpose", parts[1], perm=[0, 1, 3, 2])
    weights = n.op("Softmax", n.op("Mul", n.op("MatMul", parts[0], keys), n.b.const(0.4)), axis=-1)
    mixed = n.op("Transpose", n.op("MatMul", weights, parts[2]), perm=[0, 2, 1, 3])
    flat = n.b.op("Reshape", [mixed, n.b.const([0, steps, heads * size])])
    x = n.op("Add", n.x, n.op("Add", n.op("MatMul", flat, n.w(heads * size, 11)), n.w(11)))
    x = n.op("LayerNormalization", x, n.w(11), n.w(11), axis=-1)
    hidden = n.op("Gelu", n.op("Add", n.op("MatMul", x, n.w(11, 23)), n.w(23)))
    return n.end(n.op("Add", x, n.op("MatMul", hidden, n.w(23, 11))))


NETS["attention"] = lambda rng: attention(Net(rng, ("batch", 7, 11)), False)
NETS["attention_fused"] = lambda rng: attention(Net(rng, ("batch", 7, 11)), True)


@net(("batch", "length", 11))
def attention_of_any_length(n: Net) -> ir.Model:
    """As GPT-2 is exported: flattened products, shapes put together while running, keys spread over groups of heads."""
    heads, size = 3, 5

    def dense(x: ir.Value, wide: int, to: int) -> ir.Value:
        flat = n.op("Gemm", n.b.op("Reshape", [x, n.b.const([-1, wide])]), n.w(wide, to), n.w(to))
        lengths = [n.op("Shape", n.x, start=i, end=i + 1) for i in (0, 1)]
        return n.op("Reshape", flat, n.op("Concat", *lengths, n.b.const([to]), axis=0))

    every = n.b.node("Split", [dense(n.x, 11, 3 * heads * size)], {"axis": 2, "num_outputs": 3}, 3)
    q, k, v = (n.op("Transpose", n.b.op("Reshape", [p, n.b.const([0, 0, -1, size])]), perm=[0, 2, 1, 3]) for p in every)
    k, v = (
        n.b.op("Expand", [n.b.op("Unsqueeze", [p, n.b.const([2])]), n.b.const([1, heads, 1, 1, size])]) for p in (k, v)
    )
    k, v = (n.b.op("Reshape", [p, n.b.const([0, heads, -1, size])]) for p in (k, v))
    weights = n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2]))
    shift = n.op("CastLike", n.w(1), n.op("ReduceMax", n.x, n.b.const([-1]), keepdims=1))
    mixed = n.op("MatMul", n.op("Softmax", n.op("Add", weights, shift), axis=-1), v)
    flat = n.b.op("Reshape", [n.op("Transpose", mixed, perm=[0, 2, 1, 3]), n.b.const([0, 0, -1])])
    x = n.op("LayerNormalization", n.op("Add", n.x, dense(flat, heads * size, 11)), n.w(11), n.w(11), axis=-1)
    model = n.end(dense(n.op("Tanh", dense(x, 11, 23)), 23, 7))
    passes.run(model, ("refine_shapes",), passes.PassOptions())
    return model


@net((7, 2, 11))
def recurrent(n: Net) -> ir.Model:
    x = n.x
    for kind, gates, hidden in (("LSTM", 4, 13), ("GRU", 3, 7)):
        size = int(x.shape[2])  # type: ignore[index,arg-type]
        w, r = n.w(1, gates * hidden, size), n.w(1, gates * hidden, hidden)
        x = n.b.node(kind, [x, w, r, n.w(1, 2 * gates * hidden)], {"hidden_size": hidden}, num_outputs=1)[0]
        x = n.b.op("Squeeze", [x, n.b.const([1])])
    return n.end(n.op("MatMul", x, n.w(7, 5)))


@net(("batch", 5))
def embedding(n: Net) -> ir.Model:
    ids = n.op("Cast", n.op("Abs", n.op("Round", n.x)), to=int(ir.DataType.INT64))
    x = n.b.op("Gather", [n.w(97, 11), n.op("Clip", ids, n.b.const(0), n.b.const(96))], {"axis": 0})
    return n.end(n.op("MatMul", n.op("Tanh", n.op("MatMul", x, n.w(11, 13))), n.w(13, 3)))
