"""Peak memory of models far larger than it: a 5 GB ONNX file with external data to every target, and a Hugging Face
folder of that size (safetensors) to ONNX.

    python benchmarks/bench_large.py [--gigabytes 5] [--only onnx,py,folder]

Goal: peak resident memory, mapped pages included, of at most three times the largest tensor + 300 MB. What a target
cannot hold is refused, which is shown too. Conversion is without the proof, which has to run the whole model.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from _bench import child, recast, save, table
from onnx import TensorProto, helper

WIDTH, HIDDEN = 2048, 8192
TENSOR_BYTES = WIDTH * HIDDEN * 4
GOAL_MB = 3 * TENSOR_BYTES / 1e6 + 300
FOLDER = "folder"  # stands for: Hugging Face folder to ONNX
TARGETS = ("onnx", "py", "keras", "pt2", "mindir", "tflite", "xml", "npz", "safetensors", FOLDER)
LLAMA = """
import sys, torch, transformers
layers = round(float(sys.argv[2]) * 1e9 / 4 / 46.2e6)
torch.set_default_dtype(torch.float32)
config = transformers.LlamaConfig(hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers, vocab_size=8009,
                                  num_attention_heads=16, num_key_value_heads=8, max_position_embeddings=512)
transformers.LlamaForCausalLM(config).save_pretrained(sys.argv[1])
"""


def make(folder: Path, gigabytes: float) -> Path:
    """Residual blocks of two dense layers, 64 MB each, written one tensor at a time."""
    rng = np.random.default_rng(7)
    nodes, initializers = [], []
    x = "x"
    with open(folder / "large.data", "wb") as data:
        for block in range(round(gigabytes * 1e9 / (2 * TENSOR_BYTES))):
            for name, shape in ((f"b{block}.up", (WIDTH, HIDDEN)), (f"b{block}.down", (HIDDEN, WIDTH))):
                entry = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
                entry.data_location = TensorProto.EXTERNAL
                for key, value in (("location", "large.data"), ("offset", data.tell()), ("length", TENSOR_BYTES)):
                    entry.external_data.add(key=key, value=str(value))
                initializers.append(entry)
                rng.standard_normal(shape, np.float32).tofile(data)
            up, act, down, y = (f"b{block}/{part}" for part in ("up", "act", "down", "y"))
            nodes += [
                helper.make_node("MatMul", [x, f"b{block}.up"], [up]),
                helper.make_node("Relu", [up], [act]),
                helper.make_node("MatMul", [act, f"b{block}.down"], [down]),
                helper.make_node("Add", [x, down], [y]),
            ]
            x = y
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", WIDTH]) for n in ("x", x)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], initializers)
    path = folder / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), path)
    return path


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--only", default=",".join(TARGETS))
    parser.add_argument("--folder", type=Path, help="where there is room for the model twice")
    chosen = parser.parse_args()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        made = make(Path(name), chosen.gigabytes)
        for target in chosen.only.split(","):
            source = made
            if target == FOLDER:
                source = Path(name) / "llama"
                child([sys.executable, "-c", LLAMA, str(source), str(chosen.gigabytes)])
                target = "onnx"
            out = Path(name) / "out"
            out.mkdir()
            try:
                cost = child(recast("convert", str(source), str(out / f"m.{target}"), "--no-verify"), dict(os.environ))
                written = sum(f.stat().st_size for f in out.iterdir()) / 1e6
                rows.append(
                    [
                        f"{source.name} → {target}",
                        written,
                        cost.peak_mb * 1.048576,
                        GOAL_MB,
                        cost.cpu_s,
                        cost.wall_s,
                        "written",
                    ]
                )
            except RuntimeError as refused:
                rows.append([f"{source.name} → {target}", 0, 0, GOAL_MB, 0, 0, " ".join(str(refused).split())[-200:]])
            print(rows[-1], flush=True)
            shutil.rmtree(out)
    columns = ["conversion", "written MB", "peak MB", "goal MB", "CPU s", "wall s", "outcome"]
    table(f"{chosen.gigabytes} GB of weights in tensors of {TENSOR_BYTES / 1e6:.0f} MB", columns, rows)
    save("large", [dict(zip(columns, row, strict=True)) for row in rows])


if __name__ == "__main__":
    main()
