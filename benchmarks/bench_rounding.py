"""Rounding single layers of a real ResNet-20: what is left of the output error, method beside method.

AdaRound (Nagel et al. 2020, eq. 21 to 24, the linear form) is implemented here only to be compared: each weight may go
up or down, by a sigmoid that is pushed to 0 or 1 while Adam lowers the layer's output error. It gets the scales that
our fit found, and those of the ranges; the better one counts. All errors are over the same second moments of real
inputs, relative to rounding to nearest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import save, table
from bench_compress_quantize import TRAIN, images, resnet

import recast
from recast import passes
from recast.compression._method import FUSED
from recast.compression.quantize._layers import Layer, layers
from recast.compression.quantize._rounding import Grid, fitted, hqq, nearest
from recast.measure.calibrate import Graph
from recast.measure.data import Samples

_ROWS = 20_000


def adaround(w: np.ndarray, h: np.ndarray, scale: np.ndarray, grid: Grid, steps: int) -> np.ndarray:
    """Integers, float64 (rows, columns)."""
    low = np.floor(w / scale)
    rest = np.clip(w / scale - low, 1e-3, 1 - 1e-3)
    v = -np.log(1.2 / (rest + 0.1) - 1)  # so that the soft rounding is the weight itself
    first, second = np.zeros_like(v), np.zeros_like(v)
    plain = grid.round(w / scale) * scale - w
    unit = max(float(((plain @ h) * plain).sum()), 1e-12) / w.size
    for step in range(1, steps + 1):
        sigmoid = 1 / (1 + np.exp(-v))
        soft = np.clip(1.2 * sigmoid - 0.1, 0, 1)
        real = np.clip(low + soft, grid.low, grid.high)
        inside = (real > grid.low) & (real < grid.high)
        slope = 2 * ((real * scale - w) @ h) * scale * inside / unit
        warm = step / steps
        if warm > 0.2:
            beta = 2 + 18 * (1 - (warm - 0.2) / 0.8)
            away = 2 * soft - 1
            slope -= 0.01 * 2 * beta * np.sign(away) * np.abs(away) ** (beta - 1)
        slope *= 1.2 * sigmoid * (1 - sigmoid) * ((soft > 0) & (soft < 1))
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        v -= 1e-2 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    made: np.ndarray = np.clip(low + (v > 0), grid.low, grid.high)
    return made


def moments(graph: Graph, layer: Layer, samples: Samples) -> np.ndarray:
    """``E[x xᵀ]`` of a layer's patches, float64."""
    x = samples.feeds[layer.x] if layer.x in samples.feeds else graph.run(samples, [layer.x])[layer.x]
    patches = layer.patches(x, None)[:, 0]
    patches = patches[np.random.default_rng(0).permutation(len(patches))[:_ROWS]].astype(np.float64)
    found: np.ndarray = patches.T @ patches / len(patches)
    return found


def compared(w: np.ndarray, h: np.ndarray, bits: int, steps: int) -> dict[str, float]:
    """Output errors over that of rounding to nearest, and CPU seconds."""
    grid = Grid.symmetric(bits)

    def error(q: np.ndarray, scale: np.ndarray) -> float:
        lost = q * scale - w
        return float(((lost @ h) * lost).sum())

    q, range_ = nearest(w, grid)
    base = error(q, range_)
    start = time.process_time()
    ours = fitted(w, h, (grid, 0))
    middle = time.process_time()
    theirs = min(error(adaround(w, h, s, grid, steps), s) for s in (range_, ours[1]))
    end = time.process_time()
    found = {"hqq": error(*hqq(w, grid)), "adaround": theirs, "ours": error(*ours)}
    return {n: e / base for n, e in found.items()} | {"ours_s": middle - start, "adaround_s": (end - middle) / 2}


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="of Adam")
    parser.add_argument("--layers", type=int, default=6, help="evenly chosen ones")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = recast.load(resnet(20)(folder))
        passes.run(model, FUSED, passes.PassOptions())
        samples = Samples({"x": np.load(images(folder, TRAIN, 64, True))["x"]})
        chosen = [la for la in layers(model) if la.op == "Conv"]
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, given.layers).astype(int)]
        with Graph(model) as graph:
            for layer in chosen:
                held = model.graph.initializers[layer.weight].const_value
                assert held is not None
                w, h = layer.matrix(held.numpy())[0], moments(graph, layer, samples)
                for bits in (4, 3):
                    rows.append(
                        {"layer": layer.where, "shape": f"{w.shape[0]}×{w.shape[1]}", "bits": bits}
                        | compared(w, h, bits, given.steps)
                    )
                    print(*rows[-1].values(), flush=True)
    columns = ["layer", "shape", "bits", "hqq", "adaround", "ours", "adaround_s", "ours_s"]
    table("Output error over that of rounding to nearest", columns, [[r[c] for c in columns] for r in rows])
    print(f"AdaRound is better on {sum(r['adaround'] < r['ours'] for r in rows)} of {len(rows)}")
    save("rounding", {"rows": rows, "steps": given.steps, "samples": 64})


if __name__ == "__main__":
    main()
