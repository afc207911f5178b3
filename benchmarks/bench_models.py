"""Every real model to every format: verdict, largest error, score before and after (all labelled samples).

The catalogue, and how outputs become a score, are those of ``tests/conformance``. ``--names a,b`` and ``--targets``
choose cells; ``--limit N`` uses N samples per set.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _bench import MODELS, ROOT, save, table

sys.path.insert(0, str(ROOT))

from tests.conformance import test_real_models as conformance
from tests.conformance.catalogue import REAL, TARGETS

import recast
from recast import formats
from recast._util.child import pool
from recast.verification.memory import Memory


def cell(name: str, target: str, folder: Path, memory: Memory) -> dict[str, Any]:
    """Convert, verify and score one cell; the source is asked once for all targets."""
    real = REAL[name]
    out = folder / f"{name}.{target}"
    row: dict[str, Any] = {"model": name, "target": target, "before": None, "after": None, "error": None}
    start = time.perf_counter()
    try:
        recipe = recast.Recipe(real.reading(MODELS), checking=real.checking(folder))
        result = recast.convert(real.source(MODELS), out, recipe, memory)
    except recast.RecastError as refusal:
        declared = real.impossible.get(target)
        known = declared is not None and declared in str(refusal)
        return row | {"verdict": "declared impossible" if known else "REFUSED", "why": refusal.what[:90]}
    row |= {"verdict": result.verdict, "why": "", "seconds": time.perf_counter() - start}
    if result.report is not None and result.report.worst is not None:
        row["error"] = max(d.relative for f in result.report.feeds for d in f.differences)
    if real.task:
        labelled = conformance.task(real.task, MODELS)
        x, labels = conformance.subset(labelled)
        runner = formats.for_writing(out).open(result.files[0])
        try:
            found = conformance.outputs_of(runner, x, conformance.loaded(name, MODELS))
        finally:
            runner.close()
        row |= {"before": conformance.score_before(name, MODELS), "after": float(labelled.score(found, x, labels))}
    return row


def main() -> None:
    """Print a line per cell as it is done, then the counts; write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", default=",".join(REAL))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--limit", type=int, default=500)
    chosen, _ = parser.parse_known_args()
    if not MODELS.is_dir():
        print("bench_models: not run, ../shared/models is not here")
        return
    conformance.LIMIT, conformance.WINDOWS = chosen.limit, min(196, chosen.limit)
    rows = []
    with pool(), tempfile.TemporaryDirectory() as folder:
        for name in chosen.names.split(","):
            with Memory() as memory:
                for target in chosen.targets.split(","):
                    row = cell(name, target, Path(folder), memory)
                    rows.append(row)
                    score = "" if row["after"] is None else f"score {row['before']:.4f} → {row['after']:.4f}"
                    error = "" if row["error"] is None else f"error {row['error']:.1e}"
                    print(f"{name:22s} {target:7s} {row['verdict']:20s} {error:14s} {score} {row['why']}", flush=True)
    verdicts = sorted({r["verdict"] for r in rows})
    table("real models", ["verdict", "cells"], [[v, sum(r["verdict"] == v for r in rows)] for v in verdicts])
    save("models", rows)


if __name__ == "__main__":
    main()
