"""``keras.applications`` to every target, verified in the target's own runtime.

``.keras`` goes to all targets; of ``.h5`` it is shown that it reads to the very same graph and weights, so that every
target is the same too. ``--names A,B`` chooses architectures, ``--targets h5,onnx,tflite`` targets, ``--folder`` keeps
the sources, ``--resume`` runs only what is not good in ``results/applications.json`` yet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _bench import RESULTS, save, table
from applications import NAMES

import recast
from recast._util.child import pool
from recast.verification.memory import Memory

TARGETS = ["onnx", "tflite", "keras", "py", "pt2", "mindir"]
GOOD = ("verified", "same graph")


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


def made(name: str, folder: Path) -> Path:
    """The ``.keras`` file of an architecture; both files are made by stock Keras if they are not there yet."""
    source = folder / f"{name}.keras"
    if not source.exists() or not source.with_suffix(".h5").exists():
        maker = Path(__file__).with_name("applications.py")
        subprocess.run([sys.executable, str(maker), name, str(folder)], check=True, capture_output=True)
    return source


def reading(source: Path) -> dict[str, Any]:
    """Whether the ``.h5`` file reads to the same graph."""
    start = time.perf_counter()
    try:
        verdict = same_graph(source, source.with_suffix(".h5")) or "same graph"
    except recast.RecastError as error:
        verdict = f"refused: {error.what}"
    return {"verdict": verdict, "seconds": time.perf_counter() - start}


def converting(source: Path, target: str, memory: Memory) -> dict[str, Any]:
    """Convert to one target and verify; what the source's runtime says is asked once for all targets."""
    start = time.perf_counter()
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = recast.convert(source, Path(folder) / f"{source.stem}.{target}", memory=memory)
            row["verdict"] = result.verdict
            row["convert_s"] = sum(s for k, s in result.seconds.items() if k != "verify")
            if result.report is not None:
                row["inputs"] = len(result.report.feeds)
                row["told"] = result.report.summary()[2:]
                worst = result.report.worst
                row["relative_error"] = worst.relative if worst else None
        except recast.RecastError as error:
            row["verdict"] = f"refused: {error.what}"
    row["seconds"] = time.perf_counter() - start
    return row


def main() -> None:
    """Print a row per cell as it is done; the JSON grows with every cell and keeps cells of earlier runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", default=",".join(NAMES))
    parser.add_argument("--targets", default=",".join(["h5", *TARGETS]))
    parser.add_argument("--folder", type=Path, help="where the sources are made and kept")
    parser.add_argument("--resume", action="store_true", help="leave out cells that are good in the JSON already")
    chosen, _ = parser.parse_known_args()
    kept = RESULTS / "applications.json"
    cells: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    with pool(), tempfile.TemporaryDirectory() as temporary:
        for name in chosen.names.split(","):
            with Memory() as memory:
                for target in chosen.targets.split(","):
                    key = f"{name} {target}"
                    if chosen.resume and cells.get(key, {}).get("verdict") in GOOD:
                        continue
                    source = made(name, chosen.folder or Path(temporary))
                    cells[key] = row = reading(source) if target == "h5" else converting(source, target, memory)
                    print(f"{name:18s} {target:7s} {row['seconds']:7.1f} s  {row['verdict']}", flush=True)
                    if row["verdict"] not in GOOD:
                        print(*row.get("told", ()), sep="\n", flush=True)
                    save("applications", cells)
    good = sum(row["verdict"] in GOOD for row in cells.values())
    table("keras.applications", ["cells", "good"], [[len(cells), good]])


if __name__ == "__main__":
    main()
