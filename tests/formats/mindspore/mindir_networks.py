"""Networks made with MindSpore itself, exported with ``mindspore.export``; run as a program in its own process.

``python mindir_networks.py FOLDER [layers]`` writes NAME.mindir and NAME.npz (inputs ``x0`` …, outputs ``y0`` …) of the
networks here, or of those in ``mindir_layers``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["GLOG_v"] = "4"  # noqa: SIM112 the name that MindSpore reads

import mindir_layers
import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

RNG = np.random.default_rng(7)
BLOCK = nn.SequentialCell


class Residual(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(5, 5, 3, pad_mode="same", has_bias=True)
        self.bn = nn.BatchNorm2d(5)
        self.relu = nn.ReLU()

    def construct(self, x):
        return self.relu(x + self.bn(self.conv(x)))


class Net(nn.Cell):
    """Convolution, residual block, pooling, concatenation, two outputs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, (3, 2), stride=2, pad_mode="pad", padding=(1, 2, 0, 1), has_bias=True)
        self.blocks = BLOCK([Residual(), Residual()])
        self.pool = nn.MaxPool2d(3, 2, pad_mode="same")
        self.drop = nn.Dropout(p=0.3)
        self.fc = nn.Dense(10, 7)

    def construct(self, x):
        y = self.pool(self.blocks(self.stem(x)))
        y = ops.concat((ops.mean(y, (2, 3)), ops.amax(y, (2, 3))), 1)
        scores = self.fc(self.drop(y))
        return ops.softmax(scores, 1), scores[:, 1:5:2]


class Sequence(nn.Cell):
    def __init__(self, bidirectional=False):
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.rnn = nn.LSTM(6, 4, num_layers=2, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Dense(8 if bidirectional else 4, 3)

    def construct(self, ids):
        y, (h, _) = self.rnn(self.table(ids))
        return self.fc(y[:, -1]), h


class Attention(nn.Cell):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Dense(8, 24)
        self.norm = nn.LayerNorm((8,))
        self.up = nn.Dense(8, 13)
        self.act = nn.GELU(False)
        self.down = nn.Dense(13, 8)

    def construct(self, x):
        b, t, _ = x.shape
        q, k, v = ops.split(self.qkv(self.norm(x)).reshape(b, t, 3, 2, 4).transpose(2, 0, 3, 1, 4), 1, 0)
        scores = ops.softmax(ops.matmul(q[0], k[0].swapaxes(-1, -2)) / 2.0, -1)
        x = x + ops.matmul(scores, v[0]).transpose(0, 2, 1, 3).reshape(b, t, 8)
        return x + self.down(self.act(self.up(x)))


class Activations(nn.Cell):
    def __init__(self):
        super().__init__()
        cells = [nn.ReLU6(), nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.LeakyReLU(0.3), nn.GELU(), nn.SiLU(), nn.HSwish()]
        cells += [nn.HSigmoid(), nn.PReLU(3), nn.SeLU(), nn.Mish(), nn.Softsign(), nn.LogSoftmax(1), nn.HShrink()]
        self.members = nn.CellList(cells)

    def construct(self, x):
        results = ()
        for cell in self.members:
            results = (*results, cell(x))
        return results


class Pooling(nn.Cell):
    def __init__(self):
        super().__init__()
        cells = [nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2, pad_mode="same"), nn.MaxPool2d(3, 2, pad_mode="pad", padding=1)]
        cells += [nn.AvgPool2d(3, 2), nn.AvgPool2d(3, 2, pad_mode="same")]
        cells += [nn.AvgPool2d(3, 2, pad_mode="pad", padding=1), nn.AdaptiveAvgPool2d((1, 1))]
        self.members = nn.CellList(cells)

    def construct(self, x):
        results = ()
        for cell in self.members:
            results = (*results, cell(x))
        return results


class Shapes(nn.Cell):
    def construct(self, x):
        a = ops.pad(x, (1, 2, 0, 3), value=1.5)
        b = ops.flip(x.transpose(0, 2, 3, 1), (1,))
        c = ops.stack((x, x * 2.0 - 1.0), 1)
        d = ops.tile(x[:, 1:2, ::2, 3], (1, 2, 1))
        e = ops.where(x > 0, x, ops.exp(x))
        values, found = ops.topk(x, 3)
        g = ops.cumsum(ops.clamp(x, -1.0, 2.0), 1)
        h = ops.one_hot(x.argmax(1), 3)
        i = ops.interpolate(x, size=(17, 19), mode="bilinear", align_corners=False)
        j = ops.interpolate(x, size=(22, 26), mode="nearest")
        k = ops.broadcast_to(x[:, :, :1], (2, 3, 5, 13))
        return a, b, c, d, e, values, found, g, h, i, j, k, ops.std(x, 1), ops.logsumexp(x, 2), x.sum()


def some(*shape):
    return Tensor(RNG.normal(size=shape).astype(np.float32) * 2)


def networks():
    x = some(2, 3, 11, 13)
    yield "net", Net(), [some(2, 3, 17, 19)]
    yield "lstm", Sequence(), [Tensor(RNG.integers(0, 11, (2, 5)).astype(np.int32))]
    yield "bilstm", Sequence(True), [Tensor(RNG.integers(0, 11, (2, 5)).astype(np.int32))]
    yield "gru", nn.GRU(6, 4), [some(3, 2, 6)]
    yield "attention", Attention(), [some(2, 5, 8)]
    yield "activations", Activations(), [x]
    yield "pooling", Pooling(), [x]
    yield "shapes", Shapes(), [x]
    yield "depthwise", nn.Conv2d(4, 8, (3, 2), group=4, dilation=2, pad_mode="same"), [some(2, 4, 11, 13)]
    yield "conv1d", nn.Conv1d(3, 5, 3, stride=2, pad_mode="same", has_bias=True), [some(2, 3, 11)]
    yield "conv3d", nn.Conv3d(3, 5, 3, pad_mode="pad", padding=1, has_bias=True), [some(2, 3, 7, 5, 6)]
    yield "transposed", nn.Conv2dTranspose(3, 5, 3, stride=2, pad_mode="same", has_bias=True), [x]
    yield "transposedpad", nn.Conv2dTranspose(3, 5, 3, 2, pad_mode="pad", padding=1, output_padding=1), [x]
    yield "batchnorm1d", BLOCK([nn.Dense(5, 7), nn.BatchNorm1d(7)]), [some(3, 5)]
    yield "groupnorm", nn.GroupNorm(3, 6), [some(2, 6, 5, 7)]
    yield "dense3", nn.Dense(7, 5, activation="relu"), [some(2, 3, 7)]
    dynamic = BLOCK([nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Dense(5 * 143, 3)])
    dynamic.set_inputs(Tensor(shape=[None, 3, 11, 13], dtype=ms.float32))
    yield "dynamic", dynamic, [x]


def main(folder: Path, more: bool) -> None:
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    ms.set_seed(3)
    for name, cell, feeds in mindir_layers.networks() if more else networks():
        cell.set_train(False)
        if name == "net":
            ms.save_checkpoint(cell, str(folder / "net.ckpt"))
            values = {p.name: p.asnumpy() for p in cell.get_parameters()}
            np.savez(folder / "checkpoint.npz", **values)
        for parameter in cell.get_parameters():
            noise = RNG.normal(size=parameter.shape).astype(np.float32) * 0.3
            parameter.set_data(Tensor(np.abs(noise) + 0.2 if "variance" in parameter.name else noise))
        given = [Tensor(shape=[None, 3, 11, 13], dtype=ms.float32)] if name == "dynamic" else feeds
        ms.export(cell, *given, file_name=str(folder / name), file_format="MINDIR")
        result, flat = cell(*feeds), []
        stack = [result]
        while stack:
            held = stack.pop(0)
            if isinstance(held, (tuple, list)):
                stack = [*held, *stack]
            else:
                flat.append(held.asnumpy())
        arrays = {f"x{i}": t.asnumpy() for i, t in enumerate(feeds)} | {f"y{i}": a for i, a in enumerate(flat)}
        np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["layers"])
