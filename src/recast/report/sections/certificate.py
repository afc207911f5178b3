"""The verdict of a conversion or a compression, from its certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recast.report import units
from recast.report.blocks import Block, Note, Section, Table

ORDER = 1


def sections(data: Mapping[str, Any]) -> list[Section]:
    """Verdict, files, outputs; nothing for an evaluation."""
    verdict = data.get("verdict") or data.get("outcome")
    if not verdict:
        return []
    bad = verdict in ("failed", "refused")
    blocks: list[Block] = [Note(str(verdict), "warning" if bad else "info")]
    blocks += [Note(str(reason), "warning") for reason in data.get("reasons", ())]
    wrong = data.get("wrong")
    if wrong:
        blocks.append(Note(f"{wrong['what']} ({wrong['where']})", "warning"))
    files = [
        [f["name"], side, units.data_size(f["size_bytes"]), f["sha256"][:16]]
        for side in ("inputs", "outputs")
        for f in data.get(side, ())
    ]
    blocks.append(Table(["file", "side", "size", "SHA-256 begins"], files))
    return [Section("Verdict", blocks), *_compared(data), *_plans(data), *_feeds(data)]


def _compared(data: Mapping[str, Any]) -> list[Section]:
    found = data.get("comparison")
    if not found:
        return []
    rows = [["size", *(units.data_size(v) for v in found["size_bytes"])]]
    if found.get("accuracy"):
        rows.append(["accuracy", *(units.share(v) for v in found["accuracy"])])
    if found.get("latency_s"):
        rows.append(["one run", *(units.seconds(v) for v in found["latency_s"])])
    if found.get("disagree") is not None:
        rows.append(["answers as the original's", units.MISSING, units.share(1 - found["disagree"])])
    if found.get("error") is not None:
        rows.append(["output error (of their deviation)", units.MISSING, units.precise(found["error"])])
    return [Section("Original and result in the same format", [Table(["", "original", "result"], rows)])]


def _plans(data: Mapping[str, Any]) -> list[Section]:
    blocks: list[Block] = []
    for plan in data.get("plans", ()):
        skips = plan.get("skips", ())
        blocks.append(Note(f"{plan.get('method', 'step')}: {len(plan.get('edits', ()))} edits, {len(skips)} skipped"))
    return [Section("Steps", blocks)] if blocks else []


def _feeds(data: Mapping[str, Any]) -> list[Section]:
    rows = []
    for feed in data.get("feeds", ()):
        for out in feed["outputs"]:
            accepted = "yes" if out["accepted"] else "no"
            relative, largest = units.precise(out["relative"]), units.precise(out["max_abs"])
            rows.append([feed["name"], out["output"], accepted, largest, relative])
    if not rows:
        return []
    return [Section("Proof", [Table(["feed", "output", "accepted", "largest error", "relative"], rows)])]
