"""The models in numbers, and the trade-off as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recast.report import units
from recast.report.blocks import Block, Figure, Note, Section, Table
from recast.report.charts.scatter import Point, scatter

ORDER = 10


def sections(data: Mapping[str, Any]) -> list[Section]:
    """Size, speed and quality of every model, and both trade-offs."""
    models = data.get("models")
    if not models:
        return []
    return [Section("Trade-off", [_table(data), *_pictures(data), Note(_about(data))])]


def _about(data: Mapping[str, Any]) -> str:
    held, machine = data["data"], data["machine"]
    labels = f", {held['labels']} labels" if held["labels"] else ", no labels"
    return (
        f"{held['samples']} samples of {held['file']}{labels}; {machine['processor'] or 'unknown processor'}, "
        f"{machine['threads']} threads. The first model is the original. Brackets are 95 % confidence intervals. "
        "Latency: median of one sample, timed inside each runtime, models in turns."
    )


def _table(data: Mapping[str, Any]) -> Table:
    metric = data["data"]["metric"]
    columns = ["model", "runtime", "file", "zipped", "weights", "MACs", "1 run", metric, "agrees"]
    rows = []
    for index, model in enumerate(data["models"]):
        weights, cost, versus = model["parameters"], model["cost"], model["versus"]
        agreement = versus["agreement"]["value"] if versus and versus["agreement"] else None
        score = model["score"]["figure"] if model["score"] else None
        rows.append(
            [
                model["name"],
                model["runtime"],
                units.data_size(model["size"]["file_bytes"]),
                units.data_size(model["size"]["zipped_bytes"]),
                units.count(weights["total"] if weights else None),
                units.count(cost["macs"] if cost else None),
                units.seconds(_first(model)),
                units.figure(metric, score["value"] if score else None),
                "original" if index == 0 else units.share(agreement),
            ]
        )
    return Table(columns, rows)


def _first(model: Mapping[str, Any]) -> float | None:
    """Median latency at the least number of threads."""
    times = model["latency"]
    return float(times[min(times, key=int)]["median_s"]) if times else None


def _pictures(data: Mapping[str, Any]) -> list[Block]:
    metric, models = data["data"]["metric"], data["models"]
    if len(models) < 2:
        return []

    def figure(value: float) -> str:
        return units.figure(metric, value).removesuffix(" %")

    good = f"{metric}, %" if metric != "AUC" else metric
    caption = "ringed and joined: the Pareto front (no other model is both smaller and better)"
    sizes = [Point(m["name"], float(m["size"]["file_bytes"]), *_good(m)) for m in models]
    found: list[Block] = [Figure(scatter(sizes, ("size of the files", good), units.data_size, figure), caption)]
    times = [(m, t) for m in models if (t := _first(m)) is not None]
    if len(times) == len(models):
        points = [Point(m["name"], t, *_good(m)) for m, t in times]
        caption = "the same for the time of one run"
        found.append(Figure(scatter(points, ("latency of one sample", good), units.seconds, figure), caption))
    return found


def _good(model: Mapping[str, Any]) -> tuple[float, float, float]:
    """The score with its interval; without labels: agreement, else the cosine of the outputs."""
    if model["score"]:
        found = model["score"]["figure"]
    elif model["versus"] is None:
        found = {"value": 1.0, "low": 1.0, "high": 1.0}
    else:
        cosine = model["versus"]["cosine"]
        found = model["versus"]["agreement"] or {"value": cosine, "low": cosine, "high": cosine}
    return float(found["value"]), float(found["low"]), float(found["high"])
