"""Every real model × every kind of compression: is anything larger, slower or collapsed delivered as a success?

Whatever ``compress`` accepts is judged again, on samples and timings that it has not seen: bytes beside the original
converted to the same format, answers (or output error) in the target's own runtime, time of a run in turns with the
original. ``--names``, ``--recipes`` choose cells; ``--resume`` keeps the rows of an earlier run; ``--samples N``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MODELS, RESULTS, ROOT, save, table
from labelled import TASKS

sys.path.insert(0, str(ROOT))

from tests.conformance.catalogue import REAL, Real

import recast
from recast import compressing, pipeline
from recast._util.child import pool
from recast.compression.compare import compare
from recast.compression.gate import SLOWER, Comparison, Limits
from recast.compression.recipe import Factorize, Prune, Quantize, Step, Steps
from recast.measure.data import Samples, generated

RECIPES: dict[str, Step | Steps] = {
    "int8": Quantize("int8"),
    "int8-dynamic": Quantize("int8-dynamic"),
    "int4": Quantize("int4"),
    "float16": Quantize("float16"),
    "prune 0.5": Prune(0.5),
    "structured 0.25": Prune(0.25, structured=True),
    "structured 0.25, int8": Prune(0.25, structured=True) >> Quantize("int8"),
    "svd": Factorize("svd"),
}
SUFFIXES = {".onnx": ".onnx", ".mindir": ".mindir", "": ".tflite"}  # any other: TFLite, factories: ONNX
COLLAPSED = 0.8  # least share of equal answers
FAR = 0.5  # largest root mean square difference of other outputs, in deviations of the original's
NOISE = 1.15  # how much longer than the gate allows the second timing may find a run on a busy machine
GOOD = ("accepted", "worse, as allowed", "not judged")


def samples(real: Real, count: int) -> tuple[Samples, Samples] | None:
    """Labelled samples to compress with, and as many others to judge by; None where there are none."""
    if not real.task or "int8" in real.path or "quant" in real.path:
        return None
    task = TASKS[real.task](MODELS)
    together = len(task.inputs) // len(task.labels)
    most = max(8, count // together) if together > 1 else count
    order = np.random.default_rng(0).permutation(len(task.labels))
    every = Samples({"x": task.inputs}, task.labels.astype(np.int64))
    return every.pick(order[:most]), every.pick(order[most : 2 * most])


def target_of(real: Real) -> str:
    """The suffix of the result: the source's own format where it is written with everything a method may need."""
    return ".onnx" if real.factory else SUFFIXES.get(Path(real.path).suffix, ".tflite")


def judged(original: Path, result: Path, held: Samples) -> tuple[Comparison, list[str]]:
    """What a second look at a delivered result finds wrong."""
    found = compare(((original,), (result,)), held)
    wrong = []
    old, new = found.size_bytes
    if new >= old:
        wrong.append(f"LARGER: {new} bytes, was {old}")
    if found.slowdown is not None and found.slowdown > SLOWER * NOISE:
        wrong.append(f"SLOWER: {found.slowdown:.2f} times")
    if found.disagree is not None and 1 - found.disagree < COLLAPSED:
        wrong.append(f"COLLAPSED: {1 - found.disagree:.1%} of the answers are the original's")
    if found.disagree is None and found.error is not None and not found.error <= FAR:
        wrong.append(f"COLLAPSED: outputs differ by {found.error:.2f} deviations")
    return found, wrong


def cell(real: Real, original: Path, data: tuple[Path | None, Samples | None], recipe: str) -> dict[str, Any]:
    """One compression, and the second look if it was delivered."""
    target = original.with_name("new" + original.suffix)
    row: dict[str, Any] = {"outcome": "", "why": "", "wrong": [], "size": None, "slowdown": None}
    start = time.process_time(), time.perf_counter()
    settings = compressing.Settings(real.reading(MODELS), recast.Writing(force=True), data[0], Limits())
    try:
        made = compressing.compress(real.source(MODELS), target, RECIPES[recipe], settings)
    except recast.RecastError as error:
        row |= {"outcome": f"refused [{error.code}]", "why": error.what}
        row["wrong"] = ["DEFECT: " + error.what] if error.code == "E900" else []
    except Exception as error:  # what this is here to find
        row |= {"outcome": "CRASH", "why": repr(error)[:300], "wrong": [f"CRASH: {repr(error)[:300]}"]}
    else:
        row |= {"outcome": made.outcome, "why": "; ".join(made.reasons)}
        if made.comparison is not None:
            row |= {"size": made.comparison.size_bytes, "slowdown": made.comparison.slowdown}
        if made.outcome in GOOD:
            held = data[1] or generated(compressing.input_specs(pipeline.load(target)), 64, 9)
            second, row["wrong"] = judged(original, target, held)
            row["second look"] = second.as_dict()
    row |= {"cpu_s": time.process_time() - start[0], "wall_s": time.perf_counter() - start[1]}
    return row


def model(name: str, wanted: list[str], count: int) -> list[dict[str, Any]]:
    """All recipes of one model."""
    real, rows = REAL[name], []
    with pool(), tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        original = folder / ("original" + target_of(real))
        data: Path | None = real.checking(folder).data
        held = samples(real, count)
        if held is not None:
            data = folder / "data.npz"
            np.savez(data, **held[0].feeds, y=held[0].labels)  # type: ignore[arg-type]
        try:
            settings = recast.Recipe(real.reading(MODELS), checking=recast.Checking(verify=False))
            recast.convert(real.source(MODELS), original, settings)
        except recast.RecastError as error:
            refused = {"outcome": f"refused [{error.code}]", "why": f"to {original.suffix}: {error.what}", "wrong": []}
            return [{"model": name, "recipe": recipe, **refused} for recipe in wanted]
        for recipe in wanted:
            row = {"model": name, "recipe": recipe, "target": original.suffix}
            row |= cell(real, original, (data, held[1] if held else None), recipe)
            rows.append(row)
            print(f"{name:22s} {recipe:22s} {row['outcome']:16s} {row['why'][:110]} {row['wrong'] or ''}", flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> None:
    """Counts by recipe, and what is wrong."""
    recipes = [r for r in RECIPES if any(row["recipe"] == r for row in rows)]
    lines = []
    for recipe in recipes:
        own = [r for r in rows if r["recipe"] == recipe]
        delivered = [r for r in own if r["outcome"] in GOOD]
        reasons = Counter(_kind(r) for r in own if r not in delivered)
        told = ", ".join(f"{n} {why}" for why, n in reasons.most_common())
        lines.append([recipe, len(own), len(delivered), sum(bool(r["wrong"]) for r in own), told])
    table("Compressions of the real models", ["recipe", "cells", "delivered", "wrong", "refused because"], lines)
    for row in rows:
        for wrong in row["wrong"]:
            print(f"  {row['model']}, {row['recipe']}: {wrong}")
    wrong_count = sum(bool(r["wrong"]) for r in rows)
    print(f"{len(rows)} cells, {wrong_count} wrong (goal: 0)")


def _kind(row: dict[str, Any]) -> str:
    """A refusal in two words."""
    words = {
        "not smaller": "not smaller", "slower": "slower", "does not compute": "not verified", "lost": "accuracy",
        "answers changed": "answers", "outputs differ": "outputs", "already quantised": "already quantised",
    }  # fmt: skip
    return next((short for part, short in words.items() if part in row["why"]), row["outcome"])


def main() -> None:
    """Model by model; rows are kept as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", default=",".join(REAL))
    parser.add_argument("--recipes", default=";".join(RECIPES), help="separated by ;")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--resume", action="store_true")
    given, _ = parser.parse_known_args()
    if not MODELS.is_dir():
        print("bench_sweep: not run, ../shared/models is not here")
        return
    kept = RESULTS / "sweep.json"
    rows = json.loads(kept.read_text())["rows"] if given.resume and kept.exists() else []
    for name in given.names.split(","):
        done = {r["recipe"] for r in rows if r["model"] == name}
        wanted = [r for r in given.recipes.split(";") if r not in done]
        if wanted:
            rows += model(name, wanted, given.samples)
            save("sweep", {"samples": given.samples, "rows": rows})
    summary(rows)


if __name__ == "__main__":
    main()
