"""Bits a layer by measured sensitivity beside the same bits everywhere: ResNet-8 and DS-CNN, bytes and accuracy.

Weights only, all rounded alike (GPTQ) from the same samples. ``size<16%`` is a budget of bytes (of the float weights),
``error<0.1`` one of accuracy (of the outputs' deviation). Every row is compared with its float original on the same
samples. ``--only resnet8``, ``--suffix .onnx``, ``--compared 1000`` and ``--samples 64`` choose.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _bench import save, table
from bench_compress_quantize import limited
from bench_int8_speed import NETS

from recast.compressing import Settings, compress
from recast.compression.gate import Limits
from recast.compression.recipe import Quantize

BUDGETS = ("size<14%", "size<16%", "size<20%", "error<0.3", "error<0.1", "error<0.03")
COLUMNS = ["model", "bits", "layers", "bytes", "bytes ×", "float", "result", "95 % (points)", "agree"]


def run(name: str, label: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One recipe on one model, whatever comes out."""
    data = limited(NETS[name].data(folder), folder, given.compared)
    options = {"samples": given.samples}
    step = Quantize("mixed", {**options, "budget": label}) if "<" in label else Quantize(label, options)
    target = folder / f"{name}-{label.replace('<', '-').replace('%', '')}{given.suffix}"
    settings = Settings(data=data[0], calibration=data[1], limits=Limits(allow_worse=True))
    result = compress(NETS[name].source(folder), target, step, settings)
    assert result.comparison is not None, result.reasons
    bits = result.plans[0].notes.get("bits")  # of each layer, or of all
    counts = sorted(Counter(bits.values()).items()) if isinstance(bits, dict) else []
    layers = ", ".join(f"{count} × {b}" for b, count in counts) or "all"
    compared = len(np.load(data[0])["x"]) // (2 if data[1] is None else 1)
    return {"model": name, "bits": label, "layers": layers, "compared": compared, **result.comparison.as_dict()}


def line(found: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    (before, after), (old, new), (low, high) = found["size_bytes"], found["accuracy"], found["interval"]
    span, agree = f"{100 * low:+.1f} … {100 * high:+.1f}", f"{1 - found['disagree']:.1%}"
    share = f"{after / before:.3f}"
    return [found["model"], found["bits"], found["layers"], after, share, f"{old:.1%}", f"{new:.1%}", span, agree]


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="resnet8,dscnn")
    parser.add_argument("--suffix", default=".tflite")
    parser.add_argument("--compared", type=int, default=1000, help="most samples to compare on")
    parser.add_argument("--samples", type=int, default=64, help="to round with")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="recast-bench-") as folder:
        for name in given.only.split(","):
            for label in ("int8-weights", "int4", *BUDGETS):
                found.append(run(name, label, Path(folder), given))
                print(*line(found[-1]), sep="  ", flush=True)
    table("Weights of 4, 8 and 16 bits", COLUMNS, [line(f) for f in found])
    save(f"mixed{given.suffix.replace('.', '_')}", {"rows": found, "samples": given.samples})


if __name__ == "__main__":
    main()
