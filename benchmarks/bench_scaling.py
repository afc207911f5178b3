"""Cost by number of nodes: ONNX → every format, of residual networks with 2,000 and 20,000 nodes.

Goal: ten times the nodes cost at most twelve times the CPU time. ``convert`` runs in this process, warm, so that
start-up does not hide the growth. What it leaves behind is collected inside the measured time, for both sizes: Python
does so by itself only for the large one. Older objects are frozen, so that looking at them is in neither. The speed of
the machine changes, so the ratio is taken within each turn, and the median of the turns counts.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from _bench import rounds, save, table

import recast
from recast import formats
from recast.formats._format import WriteOptions
from recast.graph.build import Builder

SIZES = (2_000, 20_000)
GOAL = 12.0
TARGETS = ("onnx", "tflite", "keras", "py", "mindir")
_CHANNELS = 4


def network(nodes: int) -> ir.Model:
    """Blocks of ten nodes: two convolutions, normalisation, activations, a gate, a residual sum."""
    rng = np.random.default_rng(nodes)
    b = Builder("deep")
    x = b.input("x", ir.DataType.FLOAT, ("batch", _CHANNELS, 7, 5))
    for number in range(nodes // 10):

        def weight(name: str, *shape: int, block: int = number) -> ir.Value:
            return b.weight(f"b{block}/{name}", rng.uniform(0.5, 1, shape).astype(np.float32))

        with b.layer(f"b{number}", "Block"):
            y = b.op("Conv", [x, weight("k", _CHANNELS, _CHANNELS, 1, 1), weight("bias", _CHANNELS)])
            scale = [weight(name, _CHANNELS) for name in ("gamma", "beta", "mean", "variance")]
            y = b.op("Relu", [b.op("BatchNormalization", [y, *scale], {"epsilon": 1e-3})])
            y = b.op("Conv", [y, weight("d", _CHANNELS, 1, 3, 3)], {"group": _CHANNELS, "pads": [1, 1, 1, 1]})
            gate = b.op("Sigmoid", [b.op("GlobalAveragePool", [y])])
            y = b.op("Mul", [b.op("Tanh", [y]), gate])
            x = b.op("Relu", [b.op("Add", [x, y])])
    b.output(x, "y")
    return b.model()


def cost(source: Path, target: Path) -> float:
    """CPU seconds of one conversion without verification."""
    recipe = recast.Recipe(writing=recast.Writing(force=True), checking=recast.Checking(verify=False))
    gc.collect()
    gc.freeze()
    start = time.process_time()
    recast.convert(source, target, recipe)
    gc.collect()
    spent = time.process_time() - start
    gc.unfreeze()
    return spent


def turn(folder: Path, suffix: str) -> tuple[float, float]:
    """CPU seconds of the small network (median of five) and of the large one, right after each other."""
    small, large = (folder / f"{size}.onnx" for size in SIZES)
    target = folder / f"out.{suffix}"
    return statistics.median(cost(small, target) for _ in range(5)), cost(large, target)


def main() -> None:
    """Print the table, write the JSON."""
    count = rounds(5)
    rows: list[list[Any]] = []
    data: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in SIZES:
            formats.by_name("onnx").write(network(size), folder / f"{size}.onnx", WriteOptions())
        for suffix in TARGETS:
            turns = [turn(folder, suffix) for _ in range(count)]
            small, large = (statistics.median(t[place] for t in turns) for place in (0, 1))
            growth = statistics.median(t[1] / t[0] for t in turns)
            print(suffix, *(f"{t[1] / t[0]:.1f}" for t in turns), flush=True)
            rows.append([suffix, small, large, growth, min(t[1] for t in turns) / min(t[0] for t in turns), GOAL])
            data.append({"target": suffix, "cpu_s": turns, "growth": growth})
    columns = ["to", *(f"CPU s, {n:,} nodes" for n in SIZES), "growth", "of the fastest", "goal"]
    table("cost by number of nodes (ten times the nodes)", columns, rows)
    save("scaling", data)


if __name__ == "__main__":
    main()
