"""``keras.applications`` to every target, verified in the target's own runtime.

``.keras`` goes to all targets; of ``.h5`` it is shown that it reads to the very same graph and weights, so that every
target is the same too. ``--names A,B`` chooses architectures, ``--targets onnx,tflite`` targets.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _bench import save, table
from applications import NAMES

import recast

TARGETS = ["onnx", "tflite", "keras", "py", "pt2", "mindir"]


def same_graph(first: Path, second: Path) -> str:
    """Empty if both files read to the same nodes and bit-equal weights, else the first difference."""
    a, b = recast.load(first).graph, recast.load(second).graph
    if [n.op_type for n in a] != [n.op_type for n in b]:
        return "other operators"
    for left, right in zip(a, b, strict=True):
        if {k: v.value for k, v in left.attributes.items()} != {k: v.value for k, v in right.attributes.items()}:
            return f"other attributes at {left.name}"
        for x, y in zip(left.inputs, right.inputs, strict=True):
            p, q = (v.const_value if v is not None else None for v in (x, y))
            if (p is None) != (q is None) or (p is not None and q is not None and p.tobytes() != q.tobytes()):
                return f"other weights at {left.name}"
    return ""


def one(name: str, targets: list[str], folder: Path) -> list[dict[str, Any]]:
    """Convert one architecture to all targets."""
    maker = Path(__file__).with_name("applications.py")
    subprocess.run([sys.executable, str(maker), name, str(folder)], check=True, capture_output=True)
    source = folder / f"{name}.keras"
    found: list[dict[str, Any]] = []
    difference = same_graph(source, source.with_suffix(".h5"))
    found.append({"model": name, "target": "(.h5)", "verdict": difference or "same graph", "seconds": 0.0})
    for target in targets:
        out = folder / f"{name}-out.{target}"
        start = time.perf_counter()
        row: dict[str, Any] = {"model": name, "target": target}
        try:
            result = recast.convert(source, out, recast.Recipe(writing=recast.Writing(force=True)))
            row["verdict"] = "verified" if result.passed else f"FAILED: {result.report.text() if result.report else ''}"
            row["error"] = result.report.max_error if result.report else None
            row["convert_s"] = sum(s for k, s in result.seconds.items() if k != "verify")
        except recast.RecastError as error:
            row["verdict"] = f"refused: {error.what}"
        row["seconds"] = time.perf_counter() - start
        found.append(row)
        for file in folder.glob(f"{name}-out*"):
            file.unlink()
    return found


def main() -> None:
    """Print a row per cell as it is done; write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", default=",".join(NAMES))
    parser.add_argument("--targets", default=",".join(TARGETS))
    chosen, _ = parser.parse_known_args()
    rows: list[dict[str, Any]] = []
    for name in chosen.names.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for row in one(name, chosen.targets.split(","), Path(folder)):
                rows.append(row)
                print(f"{row['model']:18s} {row['target']:7s} {row['seconds']:7.1f} s  {row['verdict']}", flush=True)
        save("applications", rows)
    good = sum(r["verdict"] in ("verified", "same graph") for r in rows)
    table("keras.applications", ["cells", "good"], [[len(rows), good]])


if __name__ == "__main__":
    main()
