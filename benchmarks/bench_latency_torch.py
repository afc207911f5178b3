"""Latency of what we write from PyTorch networks, one thread, interleaved, median (goal: ratio ≤ 1.05).

ONNX in ONNX Runtime against ``torch.onnx.export`` (dynamo exporter, optimised); ``.pt2`` in PyTorch against the
original module; TFLite in LiteRT against litert-torch (``--litert-python``: the Python of an environment that has it,
else left out). Both sides run in this process and take short turns; who goes first alternates. The
fastest tenth is given besides the median, since it holds still where other programs run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import latency_nets
import numpy as np
import torch
from _bench import save, table

import recast
from recast.recipe import Checking, Reading, Recipe

Run = Callable[[], Any]
_LITERT = """
import sys, torch
sys.path.insert(0, sys.argv[3])
import latency_nets, litert_torch
name = sys.argv[1]
shape = (1, *latency_nets.INPUTS[name][1:])
litert_torch.convert(getattr(latency_nets, name)(), (torch.zeros(shape),)).export(sys.argv[2])
"""


def onnx_runtime(path: Path, x: np.ndarray) -> Run:
    """A run in ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feeds)


def litert(path: Path, x: np.ndarray) -> Run:
    """A run in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    index = interpreter.get_input_details()[0]["index"]
    shape = interpreter.get_input_details()[0]["shape"]
    if tuple(shape) != x.shape:
        interpreter.resize_tensor_input(index, x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, x)
    return interpreter.invoke


def module(net: torch.nn.Module, x: np.ndarray) -> Run:
    """A run in PyTorch."""
    tensor = torch.from_numpy(x)

    def run() -> Any:
        with torch.no_grad():
            return net(tensor)

    return run


def compare(mine: Run, theirs: Run, turns: int) -> dict[str, float]:
    """Milliseconds of both, and our time by theirs."""
    start = time.perf_counter()
    for _ in range(5):
        mine()
        theirs()
    repeats = max(1, round(0.02 * 10 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {"recast": [], "peer": []}
    for turn in range(turns):
        for name, run in (("recast", mine), ("peer", theirs))[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            times[name].append((time.perf_counter() - start) / repeats * 1e3)
    medians = {k: statistics.median(v) for k, v in times.items()}
    fast = {k: statistics.quantiles(v, n=10)[0] for k, v in times.items()}
    return {**medians, "ratio": medians["recast"] / medians["peer"], "fast_ratio": fast["recast"] / fast["peer"]}


def pairs(name: str, folder: Path, litert_python: str) -> dict[str, tuple[Run, Run]]:
    """Our run and the peer's, by format."""
    shape = latency_nets.INPUTS[name]
    x = np.random.default_rng(0).standard_normal((1, *shape[1:])).astype(np.float32)
    net = getattr(latency_nets, name)()
    recipe = Recipe(Reading(inputs={"#0": ("batch", *shape[1:])}), checking=Checking(verify=False))
    for suffix in ("onnx", "pt2", "tflite"):
        recast.convert(f"latency_nets:{name}", folder / f"{name}.{suffix}", recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(shape),)
        dynamic = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(net, example, folder / "peer.onnx", dynamo=True, dynamic_shapes=dynamic, verbose=False)
    found = {
        "onnx": (onnx_runtime(folder / f"{name}.onnx", x), onnx_runtime(folder / "peer.onnx", x)),
        "pt2": (module(torch.export.load(folder / f"{name}.pt2").module(), x), module(net, x)),
    }
    if litert_python:
        out = folder / "peer.tflite"
        command = [litert_python, "-c", _LITERT, name, str(out), str(Path(__file__).parent)]
        subprocess.run(command, check=True, capture_output=True)
        found["tflite"] = (litert(folder / f"{name}.tflite", x), litert(out, x))
    return found


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", default=",".join(latency_nets.INPUTS))
    parser.add_argument("--litert-python", default="")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.only.split(","):
            for suffix, (mine, theirs) in pairs(name, Path(folder), chosen.litert_python).items():
                found = compare(mine, theirs, chosen.rounds)
                rows.append([name, suffix, *found.values()])
    columns = ["network", "format", "ms", "peer ms", "ratio", "fastest tenth"]
    table("latency of converted PyTorch networks, one thread", columns, rows)
    save("latency_torch", [dict(zip(columns, row, strict=True)) for row in rows])


if __name__ == "__main__":
    main()
