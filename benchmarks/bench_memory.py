"""Peak memory of a large conversion: ResNet50 (``.keras``, 100 MB) → TFLite and ONNX (goal: 2.5 × weights + 150 MB)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _bench import interleaved, peer, recast, rounds, save, table

MAKE = "import keras, sys; keras.utils.set_random_seed(1);keras.applications.ResNet50(weights=None).save(sys.argv[1])"


def main() -> None:
    """Make the model with stock Keras, convert it, print the table."""
    count = rounds(3)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "resnet50.keras"
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        subprocess.run([sys.executable, "-c", MAKE, str(source)], check=True, capture_output=True, env=environment)
        weights = source.stat().st_size / 1e6
        rows, data = [], []
        for suffix, other in (("tflite", "tflite"), ("onnx", "tf2onnx")):
            out = f"{name}/out.{suffix}"
            mine = interleaved({"recast": recast("convert", str(source), out, "--no-verify", "--force")}, count)[
                "recast"
            ]
            theirs = interleaved({"peer": peer(other, str(source), out)}, 1)["peer"]
            goal = 2.5 * weights + 150
            rows.append([suffix, weights, mine.peak_mb, goal, theirs.peak_mb, mine.cpu_s, theirs.cpu_s])
            data.append({"target": suffix, "weights_mb": weights, "goal_mb": goal, "recast": mine, "peer": theirs})
    columns = ["to", "weights MB", "peak MB", "goal MB", "peer peak MB", "CPU s", "peer CPU s"]
    table("ResNet50 .keras", columns, rows)
    save("memory", data)


if __name__ == "__main__":
    main()
