"""Pruning single weights of real models, without training: bytes (file, zipped), accuracy, agreement with the original.

``--only resnet8,dscnn,vww`` and ``--suffix .onnx`` choose rows. Half of the samples calibrate, the others are compared.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MODELS, save, table
from labelled import Task, cifar200, keywords, person

from recast.compressing import Settings, compress
from recast.compression.gate import Limits
from recast.compression.recipe import Prune
from recast.measure import size

STEPS = {
    "magnitude 50 %": Prune(0.5),
    "wanda 50 %": Prune(0.5, kind="wanda"),
    "sparsegpt 50 %": Prune(0.5, kind="sparsegpt"),
    "magnitude 2:4": Prune(kind="n-m"),
    "wanda 2:4": Prune(kind="wanda", options={"pattern": "2:4"}),
    "sparsegpt 2:4": Prune(kind="sparsegpt", options={"pattern": "2:4"}),
}
SUBJECTS: dict[str, tuple[str, Any, tuple[int, ...]]] = {
    "resnet8": ("ic-resnet8-cifar10/pretrainedResnet.h5", cifar200, (32, 32, 3)),
    "dscnn": ("kws-dscnn/kws_ref_model", keywords, (49, 10, 1)),
    "vww": ("vww-mobilenet/vww_96.h5", person, (96, 96, 3)),
}


def rows(name: str, suffix: str, folder: Path) -> list[dict[str, Any]]:
    """One model, all methods."""
    source, load, shape = SUBJECTS[name]
    task: Task = load(MODELS)
    data = folder / f"{name}.npz"
    np.savez(data, x=task.inputs.reshape(-1, *shape), y=task.labels)
    made = []
    for label, steps in STEPS.items():
        target = folder / f"{name}-{len(made)}{suffix}"
        result = compress(MODELS / source, target, steps, Settings(data=data, limits=Limits(allow_worse=True)))
        found = result.comparison
        if found is None or found.accuracy is None or found.disagree is None:
            raise RuntimeError(f"{name} {label}: {result.outcome}: {'; '.join(result.reasons)}")
        made.append({
            "model": f"{name}{suffix}",
            "method": label,
            "zeros": f"{result.plans[0].notes['zero share']:.1%}",
            "bytes before": found.size_bytes[0],
            "bytes": found.size_bytes[1],
            "zipped": size.of(result.files[0]).zipped_bytes,
            "accuracy before": f"{found.accuracy[0]:.1%}",
            "accuracy": f"{found.accuracy[1]:.1%}",
            "agreement": f"{1 - found.disagree:.1%}",
            "time": f"{found.slowdown or 0:.2f}x",
            "would be": "refused" if result.reasons else "accepted",
        })  # fmt: skip
        print(made[-1], flush=True)
    return made


def main() -> None:
    """Print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SUBJECTS))
    parser.add_argument("--suffix", default=".onnx,.tflite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recast-bench-") as folder:
        found = [
            row for name in given.only.split(",") for suffix in given.suffix.split(",")
            for row in rows(name, suffix, Path(folder))
        ]  # fmt: skip
    columns = list(found[0])
    table("Single weights pruned, no training", columns, [[row[c] for c in columns] for row in found])
    save("sparse", found)


if __name__ == "__main__":
    main()
