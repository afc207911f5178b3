"""Does a teacher help where labels are few? The same small student, as many steps, with and without the teacher.

Teacher: ResNet-20 (CIFAR-10). Student: four convolutions, 25 K weights, random weights by seed. There are some labelled
images and four times as many without labels, which is what people have who own a trained model and some data. Without
teacher the student learns the labelled images; distilled it learns the teacher's softened scores of all images and no
label at all. Same start, optimiser, rate, batch and number of steps; the last step's weights count.
``--same`` gives both arms the same labelled images instead; the distilled one then learns both, in the shares that are
the tool's default. ``--augment auto`` gives both arms the same flipped and shifted views of their images, too: the
teacher labels each, without teacher a view has its image's label. Temperature and loss are the tool's defaults.
Accuracy is that of test images. ``--seeds 10 --labelled 400 --images 2000 --steps 800`` choose.
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

import recast
from recast import passes
from recast._util import child
from recast.compression.apply import apply
from recast.compression.distill import _loop
from recast.compression.distill._lesson import NONE, Lesson, lesson
from recast.compression.distill.logits import Logits
from recast.graph.build import Builder
from recast.measure import intervals, trainable
from recast.measure.data import Samples
from recast.recipe import Reading
from recast.verification.local import GraphRunner

WIDTHS = (16, 24, 32, 48)
RATE = 3e-3
BATCH = 64


def student(rng: np.random.Generator) -> ir.Model:
    """Convolutions with stride 2 and normalisations, random weights (He et al. 2015)."""
    b = Builder("student")
    x, wide = b.input("x", ir.DataType.FLOAT, ("batch", 3, 32, 32)), 3
    for to in WIDTHS:
        kernel = rng.standard_normal((to, wide, 3, 3)).astype(np.float32) * np.float32(np.sqrt(2 / (9 * wide)))
        how = {"pads": [1] * 4, "strides": [2, 2], "kernel_shape": [3, 3]}
        x = b.op("Conv", [x, b.weight("w", kernel)], how)
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


def arms(given: Any, teacher: Path) -> dict[str, tuple[Logits, Lesson]]:
    """What each arm learns, and how."""
    x, y = labelled.cifar_training(MODELS, given.images)
    every = Samples({"x": x}, y)
    few = every if given.same else every.pick(slice(0, None, given.images // given.labelled))
    told = lesson(teacher, every, 0, given.augment)
    hard = Logits().hard if given.same else 0.0
    return {
        "alone": (Logits(str(teacher), hard=1.0), told if given.same else lesson(teacher, few, 0, given.augment)),
        "with teacher": (Logits(str(teacher), hard=hard), told),
    }


def trained(seed: int, given: Any, arm: tuple[Logits, Lesson]) -> ir.Model:
    """The student of that seed after all steps."""
    method, told = arm
    start = student(np.random.default_rng(seed))
    epochs = round(given.steps / (told.rows // told.views // BATCH))
    schedule = _loop.Schedule(epochs, RATE, seed, batch=BATCH, last=True)
    return apply(start, method.learn(start, told, schedule))


def main() -> None:
    """Print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seeds", type=int, default=10)
    add("--first", type=int, default=0, help="the first seed")
    add("--images", type=int, default=2000)
    add("--labelled", type=int, default=400)
    add("--same", action="store_true", help="all images are labelled, for both")
    add("--augment", default=NONE, help="views of the images, for both")
    add("--steps", type=int, default=800)
    add("--test", type=int, default=2500)
    given = parser.parse_args()
    task, rows = labelled.cifar_jpeg(MODELS, given.test), []
    with tempfile.TemporaryDirectory(prefix="recast-bench-") as folder, child.pool():
        teacher = Path(folder) / "teacher.onnx"
        factory = f"{ROOT / 'tests' / 'formats' / 'torch' / 'nets.py'}:resnet20"
        reading = Reading({"x": ("batch", 3, 32, 32)}, FOLDER / FILES["resnet20"])
        recast.convert(factory, teacher, recast.Recipe(reading))
        both = arms(given, teacher)
        for seed in range(given.first, given.first + given.seeds):
            alone, taught = (right(trained(seed, given, arm), task) for arm in both.values())
            rows.append([seed, alone, taught, taught - alone])
            print(rows[-1], flush=True)
    report(rows, given)


def report(rows: list[list[Any]], given: Any) -> None:
    """The table, who wins, the mean gain."""
    counts = f"{given.images} images" + ("" if given.same else f", {given.labelled} of them labelled")
    heads = ["seed", "alone", "with teacher", "gain"]
    table(f"{counts}, {given.steps} steps of {BATCH}: accuracy of {given.test} test images", heads, rows)
    gains = np.array([row[-1] for row in rows])
    mean, wins = intervals.mean(gains, np.random.default_rng(0)), int((gains > 0).sum())
    print(f"with teacher better in {wins} of {len(gains)}; mean {mean.value:.2%} [{mean.low:.2%}, {mean.high:.2%}]")
    name = "distill" + ("_same" if given.same else "") + ("" if given.augment == NONE else "_views")
    save(name, {"setting": vars(given), "columns": heads, "rows": rows, "wins": wins, "gain": vars(mean)})


if __name__ == "__main__":
    main()
