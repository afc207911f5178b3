"""Rounding with training beside rounding without it: same integers, same calibration images, accuracy of others.

Without labels: the float model is the teacher. The images are JPEG copies, so absolute figures are not the published
ones; the difference is paired (bootstrap interval of the two files' answers to the same test images).
``--only resnet8-int4 --images 2000 --epochs 8 --compared 2500`` choose.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import save, table
from bench_compress_quantize import R8, cifar, limited, resnet

from recast._util import child
from recast.compressing import Settings, compress
from recast.compression.compare import compare
from recast.compression.gate import Limits
from recast.compression.quantize._aware import RATE
from recast.compression.recipe import Quantize
from recast.measure.data import Samples

ROWS = {
    "resnet8-int4": (R8, False, ".tflite", "int4", {}),
    "resnet8-int3": (R8, False, ".tflite", "int3", {}),
    "resnet8-w4a8": (R8, False, ".tflite", "int8", {"bits": 4}),
    "resnet8-int8": (R8, False, ".tflite", "int8", {}),
    "resnet20-int3": (resnet(20), True, ".onnx", "int3", {}),
}
LIMITS = Limits(slower=100.0, allow_worse=True)
HEADS = ["model", "bytes", "float", "rounded", "trained", "gain", "interval", "seconds"]


def measured(name: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Both files, each compared with the float model, and with each other."""
    source, normal, suffix, kind, options = ROWS[name]
    data = limited(cifar(normal)(folder), folder, given.compared)
    assert data[1] is not None
    held = np.load(data[1])
    few = folder / f"{name}-training.npz"
    np.savez(few, x=held["x"][: given.images])
    settings = Settings(data=data[0], calibration=few, limits=LIMITS, seed=given.seed)
    made, seconds = [], []
    for aware in (None, {"epochs": given.epochs, "rate": given.rate}):
        told = {**options, "samples": given.samples} | ({} if aware is None else {"aware": aware})
        start = time.perf_counter()
        made.append(compress(source(folder), folder / f"{name}-{len(made)}{suffix}", Quantize(kind, told), settings))
        seconds.append(time.perf_counter() - start)
        assert made[-1].comparison is not None, made[-1].reasons
    test = np.load(data[0])
    pair = compare(tuple(m.files[:1] for m in made), Samples({"x": test["x"]}, test["y"]))
    first = made[0].comparison
    assert first is not None
    assert first.accuracy is not None
    assert pair.accuracy is not None
    figures = {"float": first.accuracy[0], "rounded": pair.accuracy[0], "trained": pair.accuracy[1]}
    return {
        "model": name, "bytes": pair.size_bytes, **figures, "interval": pair.interval, "seconds": seconds,
        "notes": [dict(m.plans[0].notes) for m in made], "compared": len(test["y"]), "images": given.images,
    }  # fmt: skip


def main() -> None:
    """Print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--only", default="resnet8-int4,resnet8-int3", help="names of rows, separated by commas; all: ''")
    add("--images", type=int, default=2000, help="to learn from")
    add("--samples", type=int, default=256, help="of them, to calibrate with")
    add("--epochs", type=int, default=8)
    add("--rate", type=float, default=RATE)
    add("--compared", type=int, default=2500)
    add("--seed", type=int, default=0)
    given = parser.parse_args()
    names, rows = [n for n in ROWS if not given.only or n in given.only.split(",")], []
    with tempfile.TemporaryDirectory(prefix="recast-bench-") as folder, child.pool():
        for name in names:
            rows.append(measured(name, Path(folder), given))
            print(rows[-1]["notes"][1].get("loss by epoch (training, held out)"), flush=True)
            table("Rounded without and with training", HEADS, [line(r) for r in rows])
    save("aware", {"setting": vars(given), "rows": rows})


def line(row: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    low, high = row["interval"] or (float("nan"),) * 2
    return [
        row["model"], f"{row['bytes'][1]:,}", *(f"{row[k]:.2%}" for k in ("float", "rounded", "trained")),
        f"{100 * (row['trained'] - row['rounded']):+.2f}", f"{100 * low:+.2f} … {100 * high:+.2f}",
        f"{row['seconds'][0]:.0f} / {row['seconds'][1]:.0f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
