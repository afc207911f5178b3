"""What ``recast tune`` found: the best, the Pareto front, and every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recast.report import units
from recast.report.blocks import Block, Figure, Note, Section, Table
from recast.report.charts.scatter import Point, scatter

ORDER = 5
_UNLABELLED = ("agreement", "1 − output error")
_WORST = 0.25  # of the original's quality may be lost for a trial to be in the picture
_CAPTION = (
    "numbered: the Pareto front (nothing that meets the budget is smaller, better and faster at once); ringed and "
    "joined: the best that was reached at each cost"
)
Data = Mapping[str, Any]


def sections(data: Data) -> list[Section]:
    """The outcome, the front and all trials of a search."""
    if data.get("kind") != "tuning":
        return []
    front = Section("Pareto front", [*_outcome(data), _table(data, data["front"], True), *_pictures(data)])
    return [front, Section("Trials", [_table(data, range(len(data["trials"])), False)])] if data["trials"] else [front]


def _outcome(data: Data) -> list[Block]:
    asked = ", ".join(f"{k} {v:g}" for k, v in data["budget"].items()) or "smaller, not slower, little lost"
    told = f"{len(data['trials'])} trials, {data['ended']}. Compared on {data['data']}. Budget: {asked}."
    notes: list[Block] = [Note(told)]
    if "drop" in data["budget"] and data["original"]["metric"] in _UNLABELLED:
        notes.append(Note("the data have no labels: instead of the drop, answers or outputs are compared", "warning"))
    if data["best"] is None:
        return [*notes, Note("nothing could be measured: no file was written", "warning")]
    best = data["trials"][data["best"]]
    files = ", ".join(data["files"]) or "nothing written"
    if data["passed"]:
        return [*notes, Note(f"best: #{data['best'] + 1} {best['recipe']} ({files})")]
    reasons = "; ".join(best["reasons"])
    nearest = f"no trial meets the budget; the nearest is #{data['best'] + 1} {best['recipe']}: {reasons} ({files})"
    return [*notes, Note(nearest, "warning")]


def _table(data: Data, places: Sequence[int], brief: bool) -> Table:
    original, metric = data["original"], data["original"]["metric"] or "quality"
    columns = ["trial", "size", metric, "same answers", "output error", "1 run", "times"]
    rows = [["original", *_figures(original, metric)]] if brief else []
    rows = [[*r, *([] if brief else [""])] for r in rows]
    for place in places:
        trial = data["trials"][place]
        mark = " ★" if place == data["best"] else ""
        verdict = [] if brief else ["meets the budget" if trial["meets"] else "; ".join(trial["reasons"])[:60]]
        rows.append([f"#{place + 1}{mark} {trial['recipe']}", *_figures(trial, metric), *verdict])
    return Table([*columns, *([] if brief else ["verdict"])], rows)


def _figures(row: Data, metric: str) -> list[str]:
    disagree = row.get("disagree")
    slowdown = row.get("slowdown")
    return [
        units.data_size(row["size_bytes"]),
        units.figure(metric, row["good"]),
        units.MISSING if disagree is None else units.share(1 - disagree),
        units.precise(row.get("error")),
        units.seconds(row["latency_s"]),
        units.MISSING if slowdown is None else f"{slowdown:.2f}",
    ]


def _pictures(data: Data) -> list[Block]:
    original = data["original"]
    if original["size_bytes"] is None:
        return []
    metric = original["metric"]
    good = f"{metric}, %" if metric != "AUC" else metric

    def figure(value: float) -> str:
        return units.figure(metric, value).removesuffix(" %")

    limit = original["good"] - _WORST * abs(original["good"])
    shown = [i for i, t in enumerate(data["trials"]) if t["good"] is not None and _number(t["good"]) >= limit]
    left = sum(t["size_bytes"] is not None for t in data["trials"]) - len(shown)
    caption = _CAPTION + (f"; {left} trials below {figure(limit)} are not shown" if left else "")
    found: list[Block] = []
    sizes = [_point(data, i, "size_bytes") for i in shown]
    first = Point("original", original["size_bytes"], original["good"], original["good"], original["good"])
    if sizes:
        found.append(Figure(scatter([first, *sizes], ("size of the files", good), units.data_size, figure), caption))
    times = [_point(data, i, "latency_s") for i in shown if data["trials"][i]["latency_s"] is not None]
    if times and original["latency_s"] is not None:
        first = Point("original", original["latency_s"], original["good"], original["good"], original["good"])
        points = [first, *times]
        caption = "the same for the time of one run; only candidates that meet the rest of the budget are timed"
        found.append(Figure(scatter(points, ("latency of one run", good), units.seconds, figure), caption))
    return found


def _point(data: Data, place: int, cost: str) -> Point:
    trial = data["trials"][place]
    name = f"#{place + 1}" if place in data["front"] else ""
    good = _number(trial["good"])
    return Point(name, float(trial[cost]), good, good, good, f"#{place + 1} {trial['recipe']}")


def _number(value: float | str) -> float:
    """Infinite and undefined figures are stored as text."""
    return float(value)
