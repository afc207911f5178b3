"""Structured pruning of the real CIFAR ResNets: multiply-accumulates, file size, accuracy with and without repair.

Pruned once, without any training; the samples are training images, the accuracy is that of test images (both JPEG).
``--model resnet20``, ``--amounts 0.2,0.3``, ``--images 2000`` choose; ``--criteria l2,l1,bn-scale,activation``.
"""

from __future__ import annotations

import argparse
from typing import Any

import labelled
import numpy as np
from _bench import MODELS, ROOT, save, table

import recast
from recast import passes
from recast.compression._method import Plan, Statistics
from recast.compression.apply import apply
from recast.compression.prune.structured import PASSES, Structured
from recast.measure import cost
from recast.measure.data import Samples
from recast.recipe import Reading
from recast.verification.local import GraphRunner

FOLDER = MODELS / "resnet20-56-cifar10-pytorch"
FILES = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}


def accuracy(model: Any, task: labelled.Task) -> float:
    """Share of right answers in ONNX Runtime."""
    runner = GraphRunner(model, optimise=True)
    try:
        name = runner.inputs[0].name
        parts = [
            next(iter(runner.run({name: x}).values())) for x in np.array_split(task.inputs, len(task.inputs) // 50)
        ]
    finally:
        runner.close()
    return task.score(np.concatenate(parts), task.inputs, task.labels)


def main() -> None:
    """A row per criterion and amount."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="resnet56", choices=FILES)
    parser.add_argument("--amounts", default="0.1,0.2,0.3")
    parser.add_argument("--criteria", default="l2")
    parser.add_argument("--scope", default="uniform")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=512)
    chosen, _ = parser.parse_known_args()
    reading = Reading({"x": ("batch", 3, 32, 32)}, FOLDER / FILES[chosen.model])
    original = recast.load(f"{ROOT / 'tests' / 'formats' / 'torch' / 'nets.py'}:{chosen.model}", reading)
    passes.run(original, PASSES, passes.PassOptions())
    task, samples = (
        labelled.cifar_jpeg(MODELS, chosen.images),
        Samples({"x": labelled.cifar_training(MODELS, chosen.samples)[0]}),
    )
    before, macs = accuracy(original, task), cost.of(original).macs
    rows: list[list[Any]] = [["original", 0.0, 1.0, before, None, None]]
    for criterion in chosen.criteria.split(","):
        for amount in map(float, chosen.amounts.split(",")):
            found = []
            for repair in ("none", "least-squares"):
                options = Structured(amount, criterion, chosen.scope, repair=repair, samples=chosen.samples)
                plan: Plan = options.plan(original, Statistics(samples=samples))
                small = apply(original, plan)
                found.append(accuracy(small, task))
            share = (found[1] - found[0]) / max(1e-9, before - found[0])
            rows.append([criterion, amount, macs / cost.of(small).macs, found[0], found[1], share])
            print(rows[-1], flush=True)
    heads = ["criterion", "amount", "× fewer MACs", "accuracy cut", "repaired", "recovered"]
    table(f"{chosen.model}, one shot, {chosen.images} test images (goal: half of what was lost)", heads, rows)
    save(f"prune_{chosen.model}", {"columns": heads, "rows": rows})


if __name__ == "__main__":
    main()
