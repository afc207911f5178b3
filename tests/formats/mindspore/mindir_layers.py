"""More networks of MindSpore's own layers, for ``mindir_networks``: name, cell and inputs of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

RNG = np.random.default_rng(23)


class Each(nn.Cell):
    """Every cell, or function, on the same input: one output each."""

    def __init__(self, *members: nn.Cell) -> None:
        super().__init__()
        self.members = nn.CellList(list(members))

    def construct(self, x: Tensor) -> tuple[Any, ...]:
        results = ()
        for member in self.members:
            results = (*results, member(x))
        return results


class Of(nn.Cell):
    """A function as a cell."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def construct(self, *given: Tensor) -> Any:
        return self.function(*given)


class Inverted(nn.Cell):
    """MobileNetV2's block with a squeeze-and-excite gate."""

    def __init__(self) -> None:
        super().__init__()
        steps = [nn.Conv2d(6, 13, 1), nn.BatchNorm2d(13), nn.ReLU6()]
        steps += [nn.Conv2d(13, 13, 3, group=13, pad_mode="pad", padding=1), nn.BatchNorm2d(13), nn.HSwish()]
        self.body = nn.SequentialCell(steps)
        self.squeeze = nn.Conv2d(13, 4, 1, has_bias=True)
        self.excite = nn.Conv2d(4, 13, 1, has_bias=True)
        self.last = nn.SequentialCell([nn.Conv2d(13, 6, 1), nn.BatchNorm2d(6)])

    def construct(self, x: Tensor) -> Tensor:
        y = self.body(x)
        gate = ops.hardsigmoid(self.excite(ops.relu(self.squeeze(ops.mean(y, (2, 3), True)))))
        return x + self.last(y * gate)


class UNet(nn.Cell):
    """Down, up by a transposed convolution and by resizing, joined along the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.SequentialCell([nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.LeakyReLU(0.1)])
        self.down = nn.MaxPool2d(2, 2)
        self.deep = nn.SequentialCell([nn.Conv2d(5, 7, 3), nn.GELU()])
        self.up = nn.Conv2dTranspose(7, 5, 2, 2, pad_mode="pad", has_bias=True)
        self.leave = nn.Conv2d(17, 2, 1, has_bias=True)

    def construct(self, x: Tensor) -> Tensor:
        high = self.enter(x)
        deep = self.deep(self.down(high))
        wide = ops.interpolate(deep, size=(14, 22), mode="bilinear", align_corners=True)
        return ops.sigmoid(self.leave(ops.concat((high, self.up(deep), wide), 1)))


class Speech(nn.Cell):
    """Convolutions over time, a recurrent layer, a score per step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.SequentialCell([nn.Conv1d(7, 9, 5, 2, has_bias=True), nn.BatchNorm1d(9), nn.ReLU()])
        self.rnn = nn.GRU(9, 5, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm((10,), epsilon=1e-5)
        self.fc = nn.Dense(10, 4)

    def construct(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(self.conv(x).transpose(0, 2, 1))
        return ops.log_softmax(self.fc(self.norm(y)), -1)


class Cells(nn.Cell):
    """Steps of recurrent cells, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(5, 3), nn.GRUCell(5, 3), nn.RNNCell(5, 3)

    def construct(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        a, c = self.lstm(x[0], (h, h))
        a, c = self.lstm(x[1], (a, c))
        return a, c, self.gru(x[1], self.gru(x[0], h)), self.rnn(x[0], h)


class Simple(nn.Cell):
    """A plain recurrent network over two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(5, 4, num_layers=2, nonlinearity="tanh")

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.rnn(x)


class Encoder(nn.Cell):
    """Token and place embeddings, MindSpore's own transformer layers, the first token's score."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(29, 8), nn.Embedding(7, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 13, dropout=0.0, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.fc = nn.Dense(8, 3, activation="tanh")

    def construct(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(ops.arange(7))
        return self.fc(self.layers(x)[:, 0])


class Crossed(nn.Cell):
    """Attention of one sequence to another."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 3, batch_first=True)

    def construct(self, x: Tensor, y: Tensor) -> Tensor:
        return self.attention(x, y, y, need_weights=False)[0]


def _some(*shape: int) -> Tensor:
    return Tensor(RNG.normal(size=shape).astype(np.float32) * 2)


def _whole(high: int, *shape: int) -> Tensor:
    return Tensor(RNG.integers(0, high, shape).astype(np.int32))


def _layers() -> Iterator[tuple[str, nn.Cell, list[Tensor]]]:
    image, line, volume = _some(2, 6, 7, 11), _some(2, 6, 13), _some(2, 3, 5, 7, 6)
    yield "inverted", Inverted(), [image]
    yield "unet", UNet(), [_some(2, 3, 14, 22)]
    yield "speech", Speech(), [_some(2, 7, 23)]
    yield "cells", Cells(), [_some(2, 3, 5), _some(3, 3)]
    yield "rnn", Simple(), [_some(7, 2, 5)]
    yield "encoder", Encoder(), [_whole(29, 2, 7)]
    yield "crossed", Crossed(), [_some(2, 5, 6), _some(2, 7, 6)]
    pools = [nn.MaxPool1d(3, 2), nn.AvgPool1d(3, 2), nn.AdaptiveAvgPool1d(1), nn.AdaptiveMaxPool1d(1)]
    yield "pools1d", Each(*pools), [line]
    yield "pools3d", Each(nn.MaxPool3d(2, 2), nn.AvgPool3d(2, 2), nn.AdaptiveAvgPool3d(1)), [volume]
    pads = [nn.ZeroPad2d((1, 2, 0, 3)), nn.ReflectionPad2d((1, 2, 3, 0)), nn.ReplicationPad2d((1, 0, 2, 3))]
    yield "borders", Each(*pads, nn.ConstantPad2d((1, 2, 0, 3), 1.5), nn.ConstantPad1d((2, 1), -3.0)), [image]
    yield "transposed1d", nn.Conv1dTranspose(6, 5, 3, 2, pad_mode="pad", padding=1, has_bias=True), [line]
    yield "transposed3d", nn.Conv3dTranspose(3, 5, 3, 2, pad_mode="pad", padding=1, has_bias=True), [volume]
    norms = [nn.LayerNorm((7, 11), 2, 2), nn.GroupNorm(3, 6), nn.Softmax(1), nn.LogSoftmax(2), nn.Softmin(1)]
    yield "norms", Each(*norms), [image]
    yield "batchnorm3d", nn.SequentialCell([nn.Conv3d(3, 5, 2), nn.BatchNorm3d(5), nn.ReLU()]), [volume]
    odd = [nn.CELU(0.7), nn.GLU(1), nn.Tanhshrink(), nn.Threshold(0.3, -1.0), nn.Hardtanh(-0.7, 1.2), nn.LogSigmoid()]
    yield "odd", Each(*odd, nn.SoftShrink(0.4), nn.Softmax2d(), nn.FastGelu(), nn.ReLU6(), nn.Softsign()), [image]
    yield (
        "shuffled",
        Each(nn.PixelShuffle(2), nn.SequentialCell([nn.PixelShuffle(2), nn.PixelUnshuffle(2)])),
        [_some(2, 8, 3, 5)],
    )
    yield "flat", Each(nn.Flatten(), nn.Flatten(2), nn.Flatten(1, 2), nn.Unflatten(1, (2, 3))), [image]
    yield "bidense", nn.BiDense(5, 7, 3), [_some(2, 5), _some(2, 7)]


def joins(a: Tensor, b: Tensor) -> Any:
    return (*ops.split(a, 2, 1), *ops.chunk(b, 3, 1), ops.concat((a, b), 2), *ops.unbind(a, 0))


def reduced(a: Tensor, b: Tensor) -> Any:
    totals = a.var(), ops.norm(a, dim=1), a.prod(1), a.min(), ops.amin(b, (1, 2))
    return *totals, ops.all(a > b, 1), ops.any(b > a, 2)


def arithmetic(a: Tensor, b: Tensor) -> Any:
    rests = ops.floor_divide(a, b), ops.fmod(a, b), ops.remainder(a, b), ops.trunc(a), ops.round(b)
    roots = ops.pow(ops.abs(a), b), ops.rsqrt(ops.square(a)), ops.hypot(a, b), ops.atan2(a, b)
    return *rests, *roots, ops.lerp(a, b, 0.3), ops.addcmul(a, a, b), ops.xlogy(ops.abs(a), ops.abs(b))


def places(a: Tensor, i: Tensor) -> Any:
    wide = ops.broadcast_to(i.reshape(1, 4, 1), (2, 4, 7))
    taken = ops.gather(a, i, 1), ops.index_select(a, 1, i), ops.gather_elements(a, 1, wide)
    masked = ops.masked_fill(a, a > 0.5, -2.0), ops.tril(a), ops.triu(a, 1)
    return *taken, *masked, ops.sort(a, 1)[0], ops.argsort(a, 2)


def products(a: Tensor, b: Tensor) -> Any:
    pairs = ops.bmm(a, b.swapaxes(1, 2)), ops.matmul(a, b[0].T)
    return *pairs, ops.tensor_dot(a, b, ((2,), (2,))), ops.outer(a[0, 0], b[1, 2])


def sequences(a: Tensor) -> Any:
    runs = ops.cumprod(a, 1), ops.cumsum(a, 2), ops.diff(a, axis=1), ops.repeat_interleave(a, 2, 1)
    parts = a.expand_dims(1).squeeze(1), a[..., 1:6:2], a[:, -1], ops.meshgrid(a[0, 0], a[0, :, 0])[0]
    return *runs, *parts, a.astype(ms.int32) // 2


def resized(a: Tensor) -> Any:
    double = ops.interpolate(a, scale_factor=2.0, mode="nearest", recompute_scale_factor=True)
    return double, ops.interpolate(a, size=(3, 17), mode="bilinear", align_corners=True)


def _functions() -> Iterator[tuple[str, nn.Cell, list[Tensor]]]:
    x, y = _some(2, 6, 7), _some(2, 6, 7)
    for function in (joins, reduced, arithmetic, products):
        yield function.__name__, Of(function), [x, y]
    yield "places", Of(places), [x, _whole(6, 4)]
    yield "sequences", Of(sequences), [x]
    yield "resized", Of(resized), [_some(2, 3, 6, 7)]


def networks() -> Iterator[tuple[str, nn.Cell, list[Tensor]]]:
    """Name, cell, inputs."""
    yield from _layers()
    yield from _functions()
