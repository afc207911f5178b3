"""Static int8 CNNs beside their float originals: one thread, turns interleaved, in LiteRT and ONNX Runtime.

Both files come from one source in one run. ``gate``: what ``compress`` decided by default (slower than 1.05 times is
refused), ``its ratio``: what it measured, ``copy``: what the same measure finds for the float file beside its copy. For
ONNX the graph as the runtime optimised it is looked at too: ``integer``: operators that compute in integers; ``pairs``:
QuantizeLinear and DequantizeLinear that were not taken in by a kernel; ``float``: convolutions and products that stayed
in float. ``--only resnet8,dscnn`` chooses models.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MODELS, save, table
from bench_compress_quantize import R8, cifar, file, kws, limited, resnet
from labelled import imagenet, person

from recast.compressing import Settings, compress
from recast.compression.compare import compare
from recast.compression.gate import SLOWER
from recast.compression.recipe import Quantize
from recast.measure import latency
from recast.measure.data import Samples
from recast.measure.subject import Subject
from recast.pipeline import convert
from recast.recipe import Checking, Recipe

FORMATS = ("tflite", "onnx")
_ROUNDS = 40
_HEAVY = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose"}
_FLOAT = {"QuantizeLinear", "DequantizeLinear"}


@dataclass(frozen=True)
class Net:
    """A model and its labelled data (compared on, calibrated with; one set alone is split)."""

    source: Callable[[Path], Path]
    data: Callable[[Path], tuple[Path, Path | None]]


def held(name: str, load: Callable[[Path], Any]) -> Callable[[Path], tuple[Path, Path | None]]:
    """A labelled set as ``.npz``."""

    def made(folder: Path) -> tuple[Path, Path | None]:
        path = folder / f"{name}.npz"
        if not path.exists():
            task = load(MODELS)
            np.savez(path, x=task.inputs, y=task.labels)
        return path, None

    return made


NETS = {
    "resnet8": Net(R8, cifar(False)),
    "dscnn": Net(file("kws-dscnn/kws_ref_model"), kws),
    "vww": Net(file("vww-mobilenet/vww_96.h5"), held("vww", person)),
    "mobilenet": Net(file("mobilenetv1-025-128-imagenet/mobilenet_v1_0_25_128.tflite"), held("imagenet", imagenet)),
    "resnet20": Net(resnet(20), cifar(True)),
}


def kernels(path: Path) -> dict[str, int]:
    """How many operators of which kind ONNX Runtime is left with."""
    import onnx
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.optimized_model_filepath = str(path.with_suffix(".optimised"))
    ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    graph = onnx.load(settings.optimized_model_filepath).graph
    return dict(Counter(n.op_type for n in graph.node))


def timed(paths: dict[str, Path], sample: dict[str, np.ndarray], count: int) -> dict[str, latency.Latency]:
    """Both files in children of their own."""
    both = [Subject(name, path) for name, path in paths.items()]
    with both[0].running() as first, both[1].running() as second:
        runners = {both[0].name: first, both[1].name: second}
        feeds = {s.name: s.feeds(r, sample, slice(0, 1)) for s, r in zip(both, runners.values(), strict=True)}
        return latency.interleaved(runners, feeds, count)


def run(name: str, kind: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Compress by default limits, then time both files."""
    net = NETS[name]
    data, source = limited(net.data(folder), folder, given.compared), net.source(folder)
    target = folder / f"{name}.int8.{kind}"
    options = {"samples": given.samples}
    result = compress(source, target, Quantize("int8", options), Settings(data=data[0], calibration=data[1]))
    assert result.comparison is not None, result.reasons
    original = folder / f"{name}.float.{kind}"
    convert(source, original, Recipe(checking=Checking(verify=False)))
    made = result.files[0]
    if made.suffix == ".unverified":
        made = made.rename(folder / f"{name}.refused.{kind}")
    sample = {"x": np.load(data[0])["x"][:1]}
    copy = Path(shutil.copy(original, folder / f"{name}.copy.{kind}"))
    same = compare(((original,), (copy,)), Samples(sample)).slowdown
    times = timed({"float": original, "int8": made}, sample, given.rounds)
    fast = times["int8"].fast_s / times["float"].fast_s
    return {
        "model": name, "format": kind, "gate": result.outcome, "reasons": list(result.reasons),
        "float_ms": times["float"].median_s * 1e3, "int8_ms": times["int8"].median_s * 1e3,
        "ratio": times["int8"].median_s / times["float"].median_s, "fast_ratio": fast,
        "copy": same, "kernels": kernels(made) if kind == "onnx" else {}, **result.comparison.as_dict(),
    }  # fmt: skip


def line(found: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    old, new = found["accuracy"]
    seen = found["kernels"]
    integer = sum(c for n, c in seen.items() if n.startswith("QLinear") or n.endswith("Integer") or n == "QGemm")
    sizes = found["size_bytes"]
    return [
        found["model"], found["format"], f"{sizes[1] / sizes[0]:.2f}", f"{old:.2%}", f"{new:.2%}", found["float_ms"],
        found["int8_ms"], f"{found['ratio']:.2f}", f"{found['fast_ratio']:.2f}", found["gate"],
        f"{found['slowdown']:.2f}", f"{found['copy']:.3f}",
        integer if seen else "", sum(seen.get(n, 0) for n in _FLOAT) if seen else "",
        sum(seen.get(n, 0) for n in _HEAVY) if seen else "",
    ]  # fmt: skip


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names of models, separated by commas")
    parser.add_argument("--compared", type=int, default=1000, help="most images to compare on")
    parser.add_argument("--samples", type=int, default=256, help="to calibrate with")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--name", default="int8_speed", help="of the file with the results")
    given = parser.parse_args()
    wanted = [n for n in given.only.split(",") if n] or list(NETS)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            for kind in FORMATS:
                rows.append(run(name, kind, Path(folder), given))
                print(*line(rows[-1]), *rows[-1]["reasons"], rows[-1]["kernels"], sep="  ", flush=True)
    columns = [
        "model", "format", "bytes ×", "float", "int8", "float ms", "int8 ms", "ratio", "fastest tenth", "gate",
        "its ratio", "copy", "integer", "pairs", "float ops",
    ]  # fmt: skip
    table("Static int8 beside float, one thread", columns, [line(r) for r in rows])
    slow = [r for r in rows if (r["ratio"] + r["fast_ratio"]) / 2 > SLOWER and r["gate"] == "accepted"]
    faster, refused = sum(r["slowdown"] < 1 for r in rows), sum(r["gate"] != "accepted" for r in rows)
    print(f"{faster} of {len(rows)} faster, {refused} refused;", end=" ")
    print(f"more than {SLOWER} times as slow yet accepted by the gate: {len(slow)}")
    save(given.name, {"rows": rows, "samples": given.samples, "compared": given.compared})


if __name__ == "__main__":
    main()
