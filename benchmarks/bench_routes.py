"""Third-party routes against our own on real models: made or not, verified or not, CPU and wall seconds, peak memory.

Every cell is run twice as a process of its own: without verification (what the conversion costs) and with it (the
verdict; the same proof for every tool). A tool that is not installed is a row too. ``--only a,b`` chooses models,
``--rounds N`` how often the cost is measured (median).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _bench import MODELS, ROOT, Cost, child, median_cost, recast, rounds, save, table

from recast.routes import interpreters
from recast.routes._route import by_name

KERAS = {".onnx": ("tf2onnx", "keras-export"), ".tflite": ("tf-lite", "keras-export")}


@dataclass(frozen=True)
class Case:
    """A real model, the tools for each target, what the command line must be told, and what only a tool must."""

    source: str
    targets: dict[str, tuple[str, ...]]
    options: tuple[str, ...] = ()
    tool_options: tuple[str, ...] = ()


CASES = {
    "resnet8": Case("ic-resnet8-cifar10/pretrainedResnet.h5", KERAS),
    "vww": Case("vww-mobilenet/vww_96.h5", KERAS),
    "autoencoder": Case("ad-autoencoder/ad01.h5", {".onnx": ("tf2onnx", "keras-export")}),
    "xception": Case("mini-xception-keras2/fer2013_mini_XCEPTION.102-0.66.hdf5", KERAS),
    "kws-savedmodel": Case("kws-dscnn/kws_ref_model", {".onnx": ("tf2onnx",), ".tflite": ("tf-lite",)}),
    "mobilenet-pb": Case("mobilenetv1-025-128-imagenet/mobilenet_v1_0_25_128_frozen.pb", {".onnx": ("tf2onnx",)}),
    "resnet8-int8": Case("ic-resnet8-cifar10/pretrainedResnet_quant.tflite", {".onnx": ("tf2onnx",)}),
    "vww-tflite": Case("vww-mobilenet/vww_96_float.tflite", {".onnx": ("tf2onnx",), ".xml": ("openvino",)}),
    "mnist-onnx": Case("mnist-mixed/chainer_mnist.onnx", {".pt2": ("onnx2torch",), ".xml": ("openvino",)}),
    "face-onnx": Case("face-slim320-multiformat/version-slim-320.onnx", {".pt2": ("onnx2torch",)}),
    "resnet20": Case(
        f"{ROOT}/benchmarks/cifar_resnet.py:resnet20",
        {".tflite": ("litert-torch",)},
        ("--weights", f"{MODELS}/resnet20-56-cifar10-pytorch/resnet20-12fca82f.th", "--input", "x=1,3,32,32"),
    ),
    "qkeras": Case(
        "awkward/qkeras_RN08_model_best.h5",
        {".onnx": ("tf2onnx",), ".tflite": ("tf-lite",)},
        tool_options=("--import", "qkeras", "--trust"),
    ),
}


def cell(case: Case, suffix: str, via: str, count: int, folder: Path) -> dict[str, Any]:
    """Cost and verdict of one way; ``via`` "" is ours."""
    source = case.source if ":" in case.source else str(MODELS / case.source)
    out = str(folder / f"{via or 'recast'}{suffix}")
    more = (*case.options, *((*case.tool_options, "--via", via) if via else ()))
    command = recast("convert", source, out, "--force", *more)
    row: dict[str, Any] = {"way": via or "recast", "version": _version(via), "cost": None, "why": ""}
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, cwd=ROOT, check=False)
    told = json.loads(done.stdout) if done.stdout.strip() else {"error": {"what": done.stderr[-300:], "code": "?"}}
    if "error" in told:
        missing = told["error"]["code"] == "E302"
        what = told["error"]["what"].partition("\n")[0]
        return row | {"verdict": "not installed" if missing else "refused" if not via else "no result", "why": what}
    row["verdict"] = told["verdict"]
    row["error"] = told["report"][2] if told["report"] and len(told["report"]) > 2 else ""
    row["size_bytes"] = sum(Path(f).stat().st_size for f in told["files"] if Path(f).is_file() and ".json" not in f)
    row["cost"] = median_cost([child([*command, "--no-verify"]) for _ in range(count)])
    return row


def _version(via: str) -> str:
    if not via:
        from recast import __version__

        return __version__
    return interpreters.find(by_name(via)).version


def _columns(row: dict[str, Any]) -> list[Any]:
    cost: Cost | None = row["cost"]
    figures = [cost.cpu_s, cost.wall_s, cost.peak_mb] if cost else ["", "", ""]
    return [row["model"], row["target"], f"{row['way']} {row['version']}", row["verdict"], *figures, row["why"][:70]]


def main() -> None:
    """Print a line per cell as it is done, then the table; write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(CASES))
    chosen, _ = parser.parse_known_args()
    count = rounds(1)
    if not MODELS.is_dir():
        print("bench_routes: not run, ../shared/models is not here")
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.only.split(","):
            for suffix, tools in CASES[name].targets.items():
                for via in ("", *tools):
                    row = {"model": name, "target": suffix} | cell(CASES[name], suffix, via, count, Path(folder))
                    rows.append(row)
                    print(*_columns(row), flush=True)
            _save(rows, count)
    columns = ["model", "target", "way", "verdict", "CPU s", "wall s", "peak MB", "why not"]
    table(f"routes on real models (cost without verification, median of {count})", columns, [_columns(r) for r in rows])
    print(f"\n{_totals(rows)}")


def _save(rows: list[dict[str, Any]], count: int) -> None:
    """Write what is known so far."""
    plain = [{**r, "cost": asdict(r["cost"]) if r["cost"] else None} for r in rows]
    save("routes", {"rounds": count, "rows": plain, "totals": _totals(rows)})


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of each side came out verified; CPU and memory where both did."""
    made = {(r["model"], r["target"]): r for r in rows if r["way"] == "recast"}
    pairs = [(made[r["model"], r["target"]], r) for r in rows if r["way"] != "recast"]
    both = [(a["cost"], b["cost"]) for a, b in pairs if a["cost"] and b["cost"]]
    return {
        "ours_verified": f"{sum(r['verdict'] == 'verified' for r in made.values())} of {len(made)}",
        "theirs_verified": f"{sum(r['verdict'] == 'verified' for _, r in pairs)} of {len(pairs)}",
        "their_cpu_over_ours": sorted(round(b.cpu_s / a.cpu_s, 1) for a, b in both),
        "their_peak_over_ours": sorted(round(b.peak_mb / a.peak_mb, 1) for a, b in both),
    }


if __name__ == "__main__":
    sys.exit(main())
