"""The plan of a weight pruning in figures: zeros before and after, and what the target's files do with zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recast import formats
from recast.compression._method import Plan, Skip
from recast.compression.edits import Edit, SetWeight
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir


def plan(
    name: str,
    model: ir.Model,
    made: Mapping[str, np.ndarray],
    skips: Sequence[Skip],
    target: str,
    findings: Sequence[Finding] = (),
) -> Plan:
    """New contents of initializers as a plan; an array that is as before is no edit.

    Args:
        name: of the method.
        model: the graph as it was.
        made: arrays by initializer.
        skips: what is left alone.
        target: format that will be written, or "".
        findings: further ones.
    """
    edits: list[Edit] = []
    table, lost = {}, 0
    for weight, array in made.items():
        held = model.graph.initializers[weight].const_value
        before = held.numpy() if held is not None else array
        if np.array_equal(before, array):
            continue
        zeros = array.size - int(np.count_nonzero(array))
        if array.ndim > 1:
            lost += zeros
            table[weight] = [zeros, array.size]
        note = f"{zeros / array.size:.1%} zeros" if array.ndim > 1 else "corrected"
        edits.append(SetWeight(weight, array, note))
    held_findings = [*findings, *_storage(target)]
    if not edits:
        held_findings.append(Finding("nothing was pruned", "; ".join(sorted({s.why for s in skips})), "warning"))
    total = sum(size for _, size in table.values())
    notes = {"zeros and elements": table, "zero share": lost / total if total else 0.0}
    return Plan(name, tuple(edits), tuple(skips), tuple(held_findings), notes)


def _storage(target: str) -> list[Finding]:
    if not target or formats.by_name(target).packs_zeros:
        return []
    text = f"{formats.by_name(target).title} files store zeros like other numbers: the file gets smaller only zipped"
    return [Finding(text, "write .onnx or .tflite, or prune with --structured", "warning")]
