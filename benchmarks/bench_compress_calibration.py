"""Peak memory of calibrating: streamed histograms beside ONNX Runtime's own percentile calibrator, on BERT's shapes.

The encoder has random weights: only shapes matter. ``--layers 12 --length 384 --samples 16`` is BERT-base; the peer
keeps every activation of every sample, so that its memory grows with all three.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _bench import child, save, table

WIDTH, HEADS, INNER = 768, 12, 3072


def encoder(path: Path, layers: int, length: int) -> None:
    """An encoder of so many layers as ``.onnx``."""
    import onnx_ir as ir

    from recast import formats
    from recast.formats._format import WriteOptions
    from recast.graph.build import Builder

    b, rng = Builder("encoder"), np.random.default_rng(0)
    x = b.input("x", ir.DataType.FLOAT, (1, length, WIDTH))

    def dense(value: ir.Value, name: str, inner: int, outer: int) -> ir.Value:
        weight = b.weight(name, (rng.standard_normal((inner, outer)) / np.sqrt(inner)).astype(np.float32))
        return b.op("Add", [b.op("MatMul", [value, weight]), b.weight(f"{name}.b", np.zeros(outer, np.float32))])

    def heads(value: ir.Value, perm: list[int]) -> ir.Value:
        split = b.op("Reshape", [value, b.const([1, length, HEADS, WIDTH // HEADS])])
        return b.op("Transpose", [split], {"perm": perm})

    def norm(value: ir.Value, name: str) -> ir.Value:
        scale, bias = (b.weight(f"{name}.{n}", np.full(WIDTH, v, np.float32)) for n, v in (("s", 1), ("b", 0)))
        return b.op("LayerNormalization", [value, scale, bias], {"axis": -1})

    for n in range(layers):
        q, k, v = (dense(x, f"{n}.{r}", WIDTH, WIDTH) for r in "qkv")
        scores = b.op("MatMul", [heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1])])
        shares = b.op("Softmax", [b.op("Mul", [scores, b.const(0.125)])], {"axis": -1})
        mixed = b.op("Transpose", [b.op("MatMul", [shares, heads(v, [0, 2, 1, 3])])], {"perm": [0, 2, 1, 3]})
        x = norm(
            b.op("Add", [x, dense(b.op("Reshape", [mixed, b.const([1, length, WIDTH])]), f"{n}.o", WIDTH, WIDTH)]),
            f"{n}.n",
        )
        x = norm(
            b.op("Add", [x, dense(b.op("Gelu", [dense(x, f"{n}.i", WIDTH, INNER)]), f"{n}.p", INNER, WIDTH)]), f"{n}.m"
        )
    b.output(x, "y")
    formats.by_name("onnx").write(b.model(), path, WriteOptions())


def ours(path: Path, length: int, samples: int) -> None:
    """Histograms of every activation."""
    import recast
    from recast.measure.calibrate import Graph
    from recast.measure.data import Samples

    model = recast.load(path)
    names = [v.name or "" for n in model.graph for v in n.outputs]
    data = np.random.default_rng(1).standard_normal((samples, length, WIDTH)).astype(np.float32)
    with Graph(model) as graph:
        seen = graph.observe(Samples({"x": data}), names, batch=1)
    assert len(seen) == len(names)


def theirs(path: Path, length: int, samples: int) -> None:
    """ONNX Runtime's percentile calibrator, as its documentation calls it."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(1)
            self.left = iter([rng.standard_normal((1, length, WIDTH)).astype(np.float32) for _ in range(samples)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            array = next(self.left, None)
            return None if array is None else {"x": array}

    augmented = str(path.with_name("augmented.onnx"))
    calibrator = create_calibrator(str(path), None, augmented, calibrate_method=CalibrationMethod.Percentile)
    calibrator.collect_data(Reader())
    calibrator.compute_data()


def main() -> None:
    """Each side in a process of its own; its children count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        {"ours": ours, "theirs": theirs}[given.side](given.model, given.length, given.samples)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "encoder.onnx"
        encoder(model, given.layers, given.length)
        shape = ["--length", str(given.length), "--samples", str(given.samples), "--model", str(model)]
        for side in ("ours", "theirs"):
            cost = child([sys.executable, __file__, "--side", side, *shape])
            rows.append(
                {"side": side, "peak_mb": cost.peak_mb, "cpu_s": cost.cpu_s, "model_mb": model.stat().st_size / 1e6}
            )
    title = f"Calibrating an encoder of {given.layers} layers, length {given.length}, {given.samples} samples"
    table(title, ["side", "peak MB", "CPU s"], [[r["side"], r["peak_mb"], r["cpu_s"]] for r in rows])
    print(f"ratio {rows[0]['peak_mb'] / rows[1]['peak_mb']:.3f} (goal: at most 0.1)")
    save("compress_calibration", {**vars(given), "rows": rows, "side": "", "model": ""})


if __name__ == "__main__":
    main()
