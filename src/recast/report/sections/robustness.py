"""What is left under attack and corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recast.report import units
from recast.report.blocks import Block, Figure, Note, Section, Table
from recast.report.charts.curves import Curve, curves

ORDER = 50


def sections(data: Mapping[str, Any]) -> list[Section]:
    """Curves over ε and a table of corruptions."""
    found = data.get("robustness")
    if not found:
        return []
    metric = data["data"]["metric"] if data["data"]["labels"] else "agreement"
    low, high = found["range"]
    last = found["radii"][-1]
    about = (
        f"{found['samples']} samples; {metric} in each model's own runtime. ε: largest change of one input value, as "
        f"a share of the samples' range {low:g} … {high:g} (ε = {_epsilon(last)} is {last * (high - low):.3g} in "
        f"units of the input). FGSM: one step. PGD: {found['steps']} steps from a random start. Quantised models are "
        "attacked through their own rounding with straight-through gradients; fidelity: share of samples that this "
        "graph answers as the runtime does."
    )
    blocks: list[Block] = []
    if any(m["attacks"] for m in found["models"]):
        blocks += [_attacks(found, metric), *_curves(found, metric)]
    blocks += [_corruptions(found, metric), Note(about)]
    blocks += [Note(text, "warning") for text in found["notes"]]
    return [Section("Robustness", blocks)]


def _epsilon(radius: float) -> str:
    """``8/255``."""
    steps = radius * 255
    return f"{round(steps)}/255" if abs(steps - round(steps)) < 1e-6 else f"{radius:.3g}"


def _attacks(found: Mapping[str, Any], metric: str) -> Table:
    columns = ["model", "attack", "made on", "clean", *(f"ε {_epsilon(r)}" for r in found["radii"]), "fidelity"]
    rows = []
    for model in found["models"]:
        held: dict[tuple[str, str], dict[float, float]] = {}
        for item in model["attacks"]:
            held.setdefault((item["attack"], item["made_on"]), {})[item["radius"]] = item["score"]
        clean, same = units.figure(metric, model["clean"]["score"]), units.share(model["fidelity"])
        for (attack, source), scores in held.items():
            shown = [units.figure(metric, scores.get(r)) for r in found["radii"]]
            rows.append([model["name"], attack, source, clean, *shown, same])
    return Table(columns, rows, "Attacks")


def _curves(found: Mapping[str, Any], metric: str) -> list[Block]:
    names = [m["name"] for m in found["models"]]
    blocks: list[Block] = []
    for attack in ("FGSM", "PGD"):
        drawn = []
        for index, model in enumerate(found["models"]):
            for source in ("itself", "the original"):
                points = [(0.0, model["clean"]["score"])]
                of = [a for a in model["attacks"] if a["attack"] == attack and a["made_on"] == source]
                points += sorted((a["radius"] * 255, a["score"]) for a in of)
                if len(points) > 1:
                    drawn.append(Curve(index, points, dashed=source != "itself"))
        if drawn:
            texts = (lambda v: f"{v:g}", lambda v: units.figure(metric, v).removesuffix(" %"))
            title = f"{metric} under {attack}" + ("" if metric == "AUC" else ", %")
            picture = curves(drawn, names, ("255 ε (ε: share of the input's range)", title), texts)
            blocks.append(Figure(picture, "whole: made on the model itself; dashed: made on the original"))
    return blocks


def _corruptions(found: Mapping[str, Any], metric: str) -> Table:
    models = found["models"]
    kinds = [(c["corruption"], c["severity"]) for c in models[0]["corruptions"]]
    severities = sorted({s for _, s in kinds})
    held = [{(c["corruption"], c["severity"]): c["score"] for c in m["corruptions"]} for m in models]
    rows = [["none", *(units.figure(metric, m["clean"]["score"]) for m in models)]]
    for name in dict.fromkeys(n for n, _ in kinds):
        rows.append([name, *(_several([h[name, s] for s in severities], metric) for h in held)])
    rows.append(["mean of all", *(units.figure(metric, sum(h.values()) / len(h)) for h in held)])
    told = ", ".join(str(s) for s in severities)
    unit = "" if metric == "AUC" else ", %"
    columns = ["corruption", *(m["name"] for m in models)]
    return Table(columns, rows, f"Corruptions at severities {told} of 5 ({metric}{unit})")


def _several(values: Sequence[float], metric: str) -> str:
    return " / ".join(units.figure(metric, v).removesuffix(" %") for v in values)
