"""Graphs with figures that can be counted by hand, and a way to write them as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from recast import formats
from recast.formats._format import WriteOptions
from recast.graph.build import Builder

FLOAT = ir.DataType.FLOAT


def dense_net(weights: np.ndarray, bias: np.ndarray, softmax: bool = False, batch: int | str = "batch") -> ir.Model:
    """``x @ weights + bias``, with a softmax if asked."""
    b = Builder("dense")
    x = b.input("x", FLOAT, (batch, len(weights)))
    with b.layer("head", "Dense"):
        y = b.op("Gemm", [x, b.weight("head/kernel", weights), b.weight("head/bias", bias)])
    b.output(b.op("Softmax", [y], {"axis": -1}) if softmax else y, "y")
    return b.model()


def mixed_net(rng: np.random.Generator) -> ir.Model:
    """A plain, a grouped, a depthwise and a transposed convolution, then dense; every size is another prime."""
    b = Builder("mixed")

    def weight(name: str, *shape: int) -> ir.Value:
        return b.weight(name, rng.standard_normal(shape).astype(np.float32))

    x = b.input("x", FLOAT, ("batch", 3, 13, 11))
    with b.layer("plain", "Conv2D"):
        y = b.op("Conv", [x, weight("plain/kernel", 10, 3, 3, 5), weight("plain/bias", 10)])  # -> 10, 11, 7
    with b.layer("grouped", "Conv2D"):
        y = b.op("Conv", [y, weight("grouped/kernel", 14, 5, 3, 3)], {"group": 2})  # -> 14, 9, 5
    with b.layer("depth", "DepthwiseConv2D"):
        y = b.op("Conv", [y, weight("depth/kernel", 14, 1, 3, 3)], {"group": 14})  # -> 14, 7, 3
    with b.layer("up", "Conv2DTranspose"):
        y = b.op("ConvTranspose", [y, weight("up/kernel", 14, 6, 2, 2)], {"strides": [2, 2]})  # -> 6, 14, 6
    y = b.op("Reshape", [y, b.const([0, -1])])
    with b.layer("head", "Dense"):
        y = b.op("Gemm", [y, weight("head/kernel", 7, 504), weight("head/bias", 7)], {"transB": 1})
    b.output(y, "y")
    return b.model()


# multiply-accumulates of mixed_net by hand: outputs × inputs of each
MIXED_MACS = {
    "plain": 10 * 11 * 7 * 3 * 3 * 5,
    "grouped": 14 * 9 * 5 * 5 * 3 * 3,
    "depth": 14 * 7 * 3 * 3 * 3,
    "up": 14 * 7 * 3 * 6 * 2 * 2,
    "head": 7 * 504,
}


def written(model: ir.Model, path: Path) -> Path:
    """The model as a file in the format of its suffix."""
    from recast import passes

    format_ = formats.for_writing(path)
    options = passes.PassOptions(format_.layout, "keep", None, format_.rnn_batch_major, format_.keep_functions)
    passes.run(copy := model.clone(), list(format_.passes), options)
    return format_.write(copy, path, WriteOptions()).files[0]
