"""A ConvNeXt block in ONNX two ways, in ONNX Runtime, one thread, in turn: which layout costs less?

*transposed*: Transpose, LayerNormalization over the last axis, two MatMuls with Gelu between, Mul, Transpose (what our
ONNX files hold, after Keras' own order). *channels first*: no Transpose; the normalisation is written out over axis 1
(ReduceMean, Sub, Mul, ReduceMean, Sqrt, Div), the dense layers are 1 x 1 convolutions. Both files compute the same (it
is checked). A block of every stage of ConvNeXtTiny at 224 x 224 pixels. ``--rounds N`` changes the number of samples.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from _bench import rounds, save, table

from recast.graph.build import Builder

STAGES = ((96, 56), (192, 28), (384, 14), (768, 7))  # channels, height and width
EPSILON = 1e-6


def weights(c: int) -> dict[str, np.ndarray]:
    """Random weights of one block."""
    rng = np.random.default_rng(c)
    shapes = {"depth": (c, 1, 7, 7), "depth_bias": (c,), "scale": (c,), "bias": (c,), "up": (c, 4 * c)}
    shapes |= {"up_bias": (4 * c,), "down": (4 * c, c), "down_bias": (c,), "gamma": (c,)}
    return {n: (rng.standard_normal(s) / max(1, np.prod(s[:-1])) ** 0.5).astype(np.float32) for n, s in shapes.items()}


def depthwise(b: Builder, x: ir.Value, held: dict[str, np.ndarray], c: int) -> ir.Value:
    """The convolution that both begin with."""
    inputs = [x, b.const(held["depth"], name="depth"), b.const(held["depth_bias"], name="depth_bias")]
    return b.op("Conv", inputs, {"group": c, "kernel_shape": [7, 7], "pads": [3, 3, 3, 3]})


def transposed(c: int, size: int, held: dict[str, np.ndarray]) -> ir.Model:
    """Two Transposes around normalisation and dense layers over the last axis."""
    b = Builder("transposed")
    x = b.input("x", ir.DataType.FLOAT, (1, c, size, size))
    k = {name: b.const(array, name=name) for name, array in held.items()}
    y = b.op("Transpose", [depthwise(b, x, held, c)], {"perm": [0, 2, 3, 1]})
    y = b.op("LayerNormalization", [y, k["scale"], k["bias"]], {"axis": -1, "epsilon": EPSILON})
    y = b.op("Gelu", [b.op("Add", [b.op("MatMul", [y, k["up"]]), k["up_bias"]])])
    y = b.op("Add", [b.op("MatMul", [y, k["down"]]), k["down_bias"]])
    y = b.op("Transpose", [b.op("Mul", [y, k["gamma"]])], {"perm": [0, 3, 1, 2]})
    b.output(b.op("Add", [x, y]), "y")
    return b.model()


def channels_first(c: int, size: int, held: dict[str, np.ndarray]) -> ir.Model:
    """No Transpose: reductions over axis 1, convolutions of one pixel."""
    b = Builder("channels_first")
    x = b.input("x", ir.DataType.FLOAT, (1, c, size, size))
    k = {n: b.const(a.reshape(-1, 1, 1), name=f"{n}_column") for n, a in held.items() if a.ndim == 1}
    axis = b.const([1])
    y = depthwise(b, x, held, c)
    y = b.op("Sub", [y, b.op("ReduceMean", [y, axis])])
    spread = b.op(
        "Add", [b.op("ReduceMean", [b.op("Mul", [y, y]), axis]), b.const(np.float32(EPSILON), name="epsilon")]
    )
    y = b.op("Div", [y, b.op("Sqrt", [spread])])
    y = b.op("Add", [b.op("Mul", [y, k["scale"]]), k["bias"]])
    for name in ("up", "down"):
        kernel = b.const(held[name].T[:, :, None, None].copy(), name=name)
        y = b.op("Conv", [y, kernel, b.const(held[f"{name}_bias"], name=f"{name}_bias")], {"kernel_shape": [1, 1]})
        if name == "up":
            y = b.op("Gelu", [y])
    b.output(b.op("Add", [x, b.op("Mul", [y, k["gamma"]])]), "y")
    return b.model()


def session(model: ir.Model) -> ort.InferenceSession:
    """One thread, all of ONNX Runtime's own optimisations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])


def measured(c: int, size: int, count: int) -> dict[str, Any]:
    """Milliseconds of both, in turn: medians, and the median of the ratios."""
    held = weights(c)
    sessions = [session(make(c, size, held)) for make in (transposed, channels_first)]
    feed = {"x": np.random.default_rng(1).standard_normal((1, c, size, size)).astype(np.float32)}
    left, right = (s.run(None, feed)[0] for s in sessions)
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)
    times: list[list[float]] = [[], []]
    for turn in range(count + 3):
        for which, one in enumerate(sessions):
            start = time.process_time()
            one.run(None, feed)
            if turn >= 3:
                times[which].append((time.process_time() - start) * 1e3)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    return {
        "channels": c,
        "size": size,
        "transposed_ms": statistics.median(times[0]),
        "channels_first_ms": statistics.median(times[1]),
        "ratio": statistics.median(ratios),
        "samples": count,
    }


def main() -> None:
    """Print a row per stage."""
    count = rounds(31)
    rows = [measured(c, size, count) for c, size in STAGES]
    table("ConvNeXt block, CPU ms", list(rows[0]), [list(r.values()) for r in rows])
    save("convnext_block", rows)


if __name__ == "__main__":
    main()
