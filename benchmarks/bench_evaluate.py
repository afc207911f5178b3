"""Real models beside their smaller versions: one table a group, robustness and attribution where they are quick.

``--quick`` leaves out Keras, robustness and attribution; ``--html FOLDER`` writes the pages.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MODELS, save, table
from labelled import TASKS

import recast
from recast.measure.data import Samples
from recast.report import units

# folder, models (the first is the original), labelled set, whether attacks and maps are measured
GROUPS: dict[str, tuple[str, list[str], str, bool]] = {
    "ResNet-8": (
        "ic-resnet8-cifar10",
        ["pretrainedResnet.h5", "pretrainedResnet.tflite", "pretrainedResnet_quant.tflite"],
        "cifar200",
        True,
    ),
    "DS-CNN": ("kws-dscnn", ["kws_ref_model_float32.tflite", "kws_ref_model.tflite"], "keywords", True),
    "autoencoder": ("ad-autoencoder", ["ad01.h5", "ad01_fp32.tflite", "ad01_int8.tflite"], "machine", False),
    "VWW": ("vww-mobilenet", ["vww_96_float.tflite", "vww_96_int8.tflite"], "person", False),
}


def evaluated(group: str, quick: bool) -> recast.Report:
    """One group's report."""
    folder, files, task_name, more = GROUPS[group]
    task = TASKS[task_name](MODELS)
    files = [f for f in files if not (quick and f.endswith(".h5"))]
    also = frozenset({"robustness", "interpret"}) if more and not quick else frozenset[str]()
    samples = Samples({"x": task.inputs}, np.asarray(task.labels))
    return recast.evaluate([MODELS / folder / f for f in files], samples, recast.Measuring(also=also))


def rows_of(group: str, data: dict[str, Any]) -> list[list[Any]]:
    """The table's rows."""
    metric, rows = data["data"]["metric"], []
    attacked = {m["name"]: m for m in data.get("robustness", {}).get("models", [])}
    explained = {m["name"]: m for m in data.get("attribution", {}).get("models", [])}
    for model in data["models"]:
        versus, times = model["versus"], model["latency"]["1"]
        agreement = versus["agreement"]["value"] if versus and versus["agreement"] else None
        own = [a for a in attacked.get(model["name"], {}).get("attacks", []) if a["made_on"] == "itself"]
        pgd = next((a["score"] for a in own if a["attack"] == "PGD" and abs(a["radius"] * 255 - 1) < 1e-6), None)
        maps = explained.get(model["name"], {}).get("methods")
        rank = maps["integrated_gradients"]["spearman"]["value"] if maps else None
        rows.append(
            [
                group,
                model["name"],
                model["size"]["file_bytes"],
                units.count(model["cost"]["macs"]),
                f"{times['median_s'] * 1e6:.0f}",
                f"{times['p95_s'] * 1e6:.0f}",
                units.interval(metric, model["score"]["figure"]),
                units.interval(metric, versus["difference"] if versus else None, signed=True),
                units.share(agreement),
                units.precise(versus["relative_rms"] if versus else None),
                units.share(pgd),
                units.MISSING if rank is None else f"{rank:.3f}",
            ]
        )
    return rows


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--html", type=Path)
    parser.add_argument("--group", choices=GROUPS, action="append")
    given = parser.parse_args()
    rows, found = [], {}
    for group in given.group or GROUPS:
        report = evaluated(group, given.quick)
        found[group] = report.as_dict()
        rows += rows_of(group, found[group])
        if given.html:
            given.html.mkdir(parents=True, exist_ok=True)
            (given.html / f"{group}.html").write_text(report.html(), encoding="utf-8")
    columns = ["group", "model", "bytes", "MACs", "µs", "p95 µs", "score", "difference", "agrees", "error"]
    table("evaluate, one thread", [*columns, "PGD 1/255", "IG rank"], rows)
    save("evaluate", found)


if __name__ == "__main__":
    main()
