"""Steps that help rounding, on real image nets: what each is worth in accuracy, beside the same recipe without it.

Calibration on real images, on inputs synthesised from the model's own statistics, and on noise; equalisation before
plain rounding; bits a layer under a budget beside the same bits everywhere. ``--only 'resnet20 W4;vww'`` chooses rows
by the start of their names. Every row is compared with its float original on the same images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import save, table
from bench_compress_quantize import cifar, limited, resnet
from bench_int8_speed import NETS

import recast
from recast.compressing import SYNTHETIC, Settings, compress, input_specs
from recast.compression.gate import Limits
from recast.compression.recipe import Quantize, Step, Steps
from recast.measure import data

SAMPLES = 64
PLAIN = {"rounding": "nearest", "ranges": "minmax", "samples": SAMPLES}


@dataclass(frozen=True)
class Row:
    """One recipe on one model; ``calibration``: ``real``, ``synthetic`` or ``noise``."""

    model: str
    method: str
    steps: Step | Steps
    suffix: str = ".onnx"
    calibration: str = "real"


def _rows() -> list[Row]:
    fitted = Quantize("int8", {"samples": SAMPLES})
    found = [Row("resnet20", f"int8, {c} data", fitted, ".onnx", c) for c in ("real", "synthetic", "noise")]
    found += [Row("vww", f"int8, {c} data", fitted, ".tflite", c) for c in ("real", "synthetic", "noise")]
    for model in ("vww", "resnet20"):
        suffix = ".tflite" if model == "vww" else ".onnx"
        for bits in (8, 4):
            rough = Quantize("int8", {**PLAIN, "bits": bits})
            found.append(Row(model, f"W{bits}A8 nearest", rough, suffix))
            found.append(Row(model, f"W{bits}A8 equalise, nearest", Quantize("equalise") >> rough, suffix))
    for budget in ("size<14%", "size<17%", "size<20%"):
        mixed = Quantize("mixed", {"budget": budget, "rounding": "nearest", "samples": SAMPLES})
        found.append(Row("resnet20", f"mixed {budget}, nearest", mixed))
    for kind in ("int4", "int8-weights"):
        found.append(Row("resnet20", f"{kind} nearest", Quantize(kind, {"rounding": "nearest"})))
    return found


def noise(source: Path, folder: Path) -> Path:
    """The random inputs that stand for data where there are none."""
    specs = input_specs(recast.load(source))
    path = folder / f"{source.stem}-noise.npz"
    np.savez(path, **data.generated(specs, SAMPLES).feeds)
    return path


def run(row: Row, folder: Path, most: int) -> dict[str, Any]:
    """Compress, whatever comes out; the accuracy of both."""
    sets: Callable[[Path], tuple[Path, Path | None]] = cifar(True) if row.model == "resnet20" else NETS[row.model].data
    test, train = limited(sets(folder), folder, most)
    source = (resnet(20) if row.model == "resnet20" else NETS[row.model].source)(folder)
    calibration = {"real": train, "synthetic": SYNTHETIC, "noise": None}[row.calibration]
    calibration = noise(source, folder) if row.calibration == "noise" else calibration
    settings = Settings(data=test, calibration=calibration, limits=Limits(allow_worse=True))
    target = folder / f"{row.model}-{row.method}{row.suffix}".replace(" ", "_").replace("%", "").replace("<", "-")
    found = compress(source, target, row.steps, settings).comparison
    assert found is not None
    return {"model": row.model, "method": row.method, **found.as_dict()}


def line(found: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    old, new = found["accuracy"]
    low, high = found["interval"]
    agree = f"{1 - found['disagree']:.2%}"
    sizes = found["size_bytes"]
    return [
        found["model"], found["method"], f"{sizes[1] / sizes[0]:.3f}", f"{old:.2%}", f"{new:.2%}",
        f"{100 * low:+.1f} … {100 * high:+.1f}", agree, f"{found['error']:.3f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="beginnings of 'model method', separated by ;")
    parser.add_argument("--compared", type=int, default=1000, help="most images to compare on")
    parser.add_argument("--name", default="quantize_methods", help="of the file with the results")
    given = parser.parse_args()
    wanted = tuple(n for n in given.only.split(";") if n)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows():
            if not wanted or f"{row.model} {row.method}".startswith(wanted):
                found.append(run(row, Path(folder), given.compared))
                print(*line(found[-1]), sep="  ", flush=True)
    columns = ["model", "method", "bytes ×", "float", "result", "95 % (points)", "agree", "error"]
    table("Methods side by side", columns, [line(f) for f in found])
    save(given.name, {"rows": found, "samples": SAMPLES, "compared": given.compared})


if __name__ == "__main__":
    main()
