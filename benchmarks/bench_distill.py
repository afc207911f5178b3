"""Does a teacher help? The same small student, the same images, the same steps, with and without the teacher's answers.

Teacher: ResNet-20 (CIFAR-10). Student: four convolutions, 26 K weights, from random weights by seed. Without teacher it
learns the labels; distilled it learns the teacher's softened scores (Hinton et al.) and the labels. Same optimiser,
order and number of steps; the epoch with the least held-out loss counts. Two settings: many images, and few, where
labels say least (the common case of those who have a trained model and little data). Accuracy is that of test images.
``--seeds 10 --images 4000,600 --steps 400`` choose.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import labelled
import numpy as np
import onnx_ir as ir
from _bench import MODELS, ROOT, save, table
from bench_prune import FILES, FOLDER
from bench_structured import training

import recast
from recast import passes
from recast.compression.apply import apply
from recast.compression.distill import _loop
from recast.compression.distill.logits import Logits, teach
from recast.graph.build import Builder
from recast.measure import intervals, trainable
from recast.measure.data import Samples
from recast.recipe import Reading
from recast.verification.local import GraphRunner

WIDTHS = (16, 24, 32, 48)
RATE = 3e-3


def student(rng: np.random.Generator) -> ir.Model:
    """Convolutions with stride 2 and normalisations, random weights (He et al. 2015)."""
    b = Builder("student")
    x, wide = b.input("x", ir.DataType.FLOAT, ("batch", 3, 32, 32)), 3
    for number, to in enumerate(WIDTHS):
        kernel = rng.standard_normal((to, wide, 3, 3)).astype(np.float32) * np.float32(np.sqrt(2 / (9 * wide)))
        stride = 1 if number == 0 else 2
        x = b.op("Conv", [x, b.weight("w", kernel)], {"pads": [1] * 4, "strides": [stride] * 2, "kernel_shape": [3, 3]})
        parts = [b.weight(n, np.full(to, v, np.float32)) for n, v in (("s", 1), ("b", 0), ("m", 0), ("v", 1))]
        x, wide = b.op("Relu", [b.op("BatchNormalization", [x, *parts], {})], {}), to
    flat = b.op("Flatten", [b.op("GlobalAveragePool", [x], {})], {"axis": 1})
    dense = rng.standard_normal((wide, 10)).astype(np.float32) / np.float32(np.sqrt(wide))
    b.output(b.op("Gemm", [flat, b.weight("w", dense), b.weight("b", np.zeros(10, np.float32))], {}), "scores")
    model = b.model()
    passes.run(model, trainable.passes(), passes.PassOptions())
    return model


def right(model: ir.Model, task: labelled.Task) -> float:
    """Accuracy in ONNX Runtime."""
    runner = GraphRunner(model)
    try:
        name = runner.inputs[0].name
        found = [next(iter(runner.run({name: x}).values())) for x in np.array_split(task.inputs, 10)]
    finally:
        runner.close()
    return task.score(np.concatenate(found), task.inputs, task.labels)


def setting(count: int, given: Any, teacher: Path, task: labelled.Task) -> dict[str, Any]:
    """All seeds with so many images."""
    x, y = training(count)
    samples = Samples({"x": x}, y)
    told = teach(teacher, samples)
    rows = int(count * (1 - _loop.HELD_OUT))
    each = rows // int(np.clip(rows // 16, *_loop.BATCH))
    epochs, found = max(1, round(given.steps / each)), []
    for seed in range(given.seeds):
        start = student(np.random.default_rng(seed))
        arms = [Logits(str(teacher), hard=hard, epochs=epochs, rate=RATE) for hard in (1.0, given.hard)]
        alone, taught = (right(apply(start, a.learn(start, samples, told, seed)), task) for a in arms)
        found.append([count, seed, alone, taught, taught - alone])
        print(found[-1], flush=True)
    table(
        f"{count} images, {epochs * each} steps: accuracy of {len(task.labels)} test images",
        ["images", "seed", "alone", "with teacher", "gain"],
        found,
    )
    gains = np.array([row[-1] for row in found])
    mean = intervals.mean(gains, np.random.default_rng(0))
    wins = int((gains > 0).sum())
    print(
        f"the taught student wins {wins} of {len(gains)}; mean gain {mean.value:.2%} [{mean.low:.2%}, {mean.high:.2%}]"
    )
    return {"images": count, "steps": epochs * each, "rows": found, "wins": wins, "gain": vars(mean)}


def main() -> None:
    """Print the tables and save them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--images", default="4000,600")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--test", type=int, default=2500)
    parser.add_argument("--hard", type=float, default=Logits().hard, help="share of the labels in the taught loss")
    given = parser.parse_args()
    task = labelled.cifar_jpeg(MODELS, given.test)
    with tempfile.TemporaryDirectory(prefix="recast-bench-") as folder:
        teacher = Path(folder) / "teacher.onnx"
        factory = f"{ROOT / 'tests' / 'formats' / 'torch' / 'nets.py'}:resnet20"
        recast.convert(
            factory, teacher, recast.Recipe(Reading({"x": ("batch", 3, 32, 32)}, FOLDER / FILES["resnet20"]))
        )
        found = [setting(int(count), given, teacher, task) for count in given.images.split(",")]
    save("distill", {"test": given.test, "hard": given.hard, "settings": found})


if __name__ == "__main__":
    main()
