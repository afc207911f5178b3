"""Peak memory of calibrating BERT-base: streamed histograms beside ONNX Runtime's own percentile calibrator.

The model is Transformers' ``BertModel`` (12 layers, 110 M parameters) with random weights, exported once: only shapes
matter. The peer keeps every activation of every sample, so its memory grows with ``--samples`` and ours does not.
Resident memory of the whole tree of processes is sampled every 10 ms; a run without samples tells what loading takes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _bench import ROOT, save, table

_PAGE = os.sysconf("SC_PAGE_SIZE")
_VOCABULARY = 30522
_EXPORT = """
import sys, torch, transformers
torch.manual_seed(0)
model = transformers.BertModel(transformers.BertConfig(num_hidden_layers=int(sys.argv[2]))).eval()
ids = torch.ones((1, int(sys.argv[3])), dtype=torch.int64)
names = ["input_ids", "attention_mask"]
torch.onnx.export(model, (ids, ids), sys.argv[1], input_names=names, dynamo=True, verbose=False)
print(sum(p.numel() for p in model.parameters()))
"""


def batches(length: int, samples: int) -> list[dict[str, np.ndarray]]:
    """Random tokens."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, _VOCABULARY, (samples, 1, length))
    return [{"input_ids": i, "attention_mask": np.ones_like(i)} for i in ids]


def ours(path: Path, length: int, samples: int) -> int:
    """Histograms of every float activation."""
    import recast
    from recast.measure.calibrate import Graph
    from recast.measure.data import Samples

    model = recast.load(path)
    names = [v.name or "" for n in model.graph for v in n.outputs]
    with Graph(model) as graph:
        if not samples:
            with graph.open([v.name or "" for v in model.graph.outputs]):
                return 0
        held = batches(length, samples)
        feeds = {n: np.concatenate([b[n] for b in held]) for n in held[0]}
        return len(graph.observe(Samples(feeds), names, batch=1))


def theirs(path: Path, length: int, samples: int) -> int:
    """ONNX Runtime's percentile calibrator, as its documentation calls it."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(batches(length, samples))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    augmented = str(path.with_name("augmented.onnx"))
    calibrator = create_calibrator(str(path), None, augmented, calibrate_method=CalibrationMethod.Percentile)
    if not samples:
        return 0
    calibrator.collect_data(Reader())
    return len(calibrator.compute_data().data)


def watched(command: list[str]) -> tuple[float, float, str]:
    """Peak resident MB of a process and all its descendants together, its CPU seconds, and what it printed."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        peak, status = 0, 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, _resident(process.pid))
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        told = log.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(told[-800:])
    return peak * _PAGE / 1e6, usage.ru_utime + usage.ru_stime, told


def _resident(pid: int) -> int:
    """Pages of a process and its descendants; 0 for one that is gone."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0
    return own + sum(_resident(int(c)) for c in below)


def main() -> None:
    """Each side in a process of its own, once without and once with samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(f"tensors={ {'ours': ours, 'theirs': theirs}[given.side](given.model, given.length, given.samples) }")
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "bert.onnx"
        command = [sys.executable, "-c", _EXPORT, str(model), str(given.layers), str(given.length)]
        parameters = int(watched(command)[2].split()[-1])
        for side in ("ours", "theirs"):
            shape = ["--side", side, "--length", str(given.length), "--model", str(model)]
            loading = watched([sys.executable, __file__, *shape, "--samples", "0"])[0]
            peak, cpu, told = watched([sys.executable, __file__, *shape, "--samples", str(given.samples)])
            tensors = int(told.rsplit("tensors=", 1)[1])
            rows.append({
                "side": side, "peak_mb": peak, "loading_mb": loading, "above_mb": peak - loading, "cpu_s": cpu,
                "tensors": tensors,
            })  # fmt: skip
    columns = ["side", "peak_mb", "loading_mb", "above_mb", "cpu_s", "tensors"]
    title = (
        f"BertModel, {given.layers} layers, {parameters:,} parameters, length {given.length}, {given.samples} samples"
    )
    table(title, columns, [[r[c] for c in columns] for r in rows])
    ratios = {c: rows[0][c] / rows[1][c] for c in ("above_mb", "peak_mb")}
    print(
        f"ratio above loading {ratios['above_mb']:.3f} (goal: at most 0.1); of the whole peaks {ratios['peak_mb']:.3f}"
    )
    told_ = {"layers": given.layers, "length": given.length, "samples": given.samples, "parameters": parameters}
    save("compress_calibration", {**told_, "rows": rows, "ratios": ratios})


if __name__ == "__main__":
    main()
