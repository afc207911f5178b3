"""Speed by number of threads, memory, and where weights and multiply-accumulates lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recast.report import units
from recast.report.blocks import Block, Figure, Note, Section, Table
from recast.report.charts.bars import bars

ORDER = 30
_MOST_LAYERS = 24
_NOTE = (
    "Ratio: against the original in the same run. Fast: the fastest tenth, which holds still where other programs run. "
    "Memory: resident bytes of the runtime's process at its peak, and by how much the model raised it."
)


def sections(data: Mapping[str, Any]) -> list[Section]:
    """Speed, memory and layers."""
    models = data.get("models")
    if not models:
        return []
    blocks: list[Block] = [_speed(data)] if models[0]["latency"] else []
    found = [Section("Speed and memory", [*blocks, _memory(data), Note(_NOTE)])]
    pictures = _layers(data)
    if pictures:
        found.append(Section("Layers", [*_unknown(data), *pictures]))
    return found


def _speed(data: Mapping[str, Any]) -> Table:
    models = data["models"]
    counts = list(models[0]["latency"])
    columns = ["model"]
    for n in counts:
        word = "thread" if n == "1" else "threads"
        columns += [f"{n} {word}: median", "p95", "fast", "ratio"]
    rows = []
    for model in models:
        row = [model["name"]]
        for n in counts:
            told, base = model["latency"][n], models[0]["latency"][n]["median_s"]
            row += [units.seconds(told[k]) for k in ("median_s", "p95_s", "fast_s")] + [
                f"{told['median_s'] / base:.2f}×"
            ]
        rows.append(row)
    return Table(columns, rows)


def _memory(data: Mapping[str, Any]) -> Table:
    rows = []
    for model in data["models"]:
        memory, weights = model["memory"], model["parameters"]
        share = weights["nonzero"] / weights["total"] if weights and weights["total"] else None
        rows.append(
            [
                model["name"],
                units.data_size(memory["peak_bytes"] if memory else None),
                units.data_size(memory["peak_bytes"] - memory["runtime_bytes"] if memory else None),
                units.data_size(weights["bytes"] if weights else None),
                units.share(share),
            ]
        )
    return Table(["model", "peak memory", "of it the model", "weights as stored", "not zero"], rows)


def _unknown(data: Mapping[str, Any]) -> list[Block]:
    found: list[Block] = []
    for model in data["models"]:
        missing = model["cost"]["unknown"] if model["cost"] else ()
        if missing:
            shown = "; ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            found.append(Note(f"{model['name']}: multiply-accumulates not counted: {shown}", "warning"))
    return found


def _known(name: str, held: Mapping[str, Any]) -> str:
    """The name that a layer already goes by: some formats put the model's name in front (``model/conv1``)."""
    parts = name.split("/")
    return next((t for i in range(len(parts)) if (t := "/".join(parts[i:])) in held), name)


def _layers(data: Mapping[str, Any]) -> list[Block]:
    kept = [(i, m) for i, m in enumerate(data["models"]) if m["cost"] and m["cost"]["layers"]]
    if not kept:
        return []
    names = [m["name"] for m in data["models"]]
    found: list[Block] = []
    for key, title, show in (
        ("weight_bytes", "Weights by layer", units.data_size),
        ("macs", "Multiply-accumulates by layer", units.count),
    ):
        held: dict[str, dict[int, float]] = {}
        for index, model in kept:
            for line in model["cost"]["layers"]:
                if line[key]:
                    held.setdefault(_known(line["name"], held), {})[index] = line[key]
        if not held:
            continue
        largest = sorted(held, key=lambda n: -max(held[n].values()))[:_MOST_LAYERS]
        groups = [(n, v) for n, v in held.items() if n in set(largest)]
        more = len(held) - len(groups)
        caption = "in the order of the graph" + (f"; {more} smaller layers are left out" if more else "")
        found.append(Figure(bars(groups, names, title, show), caption))
    return found
