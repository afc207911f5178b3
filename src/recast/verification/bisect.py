"""After a mismatch: the first operator, in execution order, whose output in the target's runtime is wrong.

All intermediate values are made outputs and converted once more; where the target cannot express that, single
values are cut out one at a time and found by binary search. Both are compared with the float64 run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from recast.errors import RecastError
from recast.graph import ORIGIN
from recast.graph.view import layer_of
from recast.verification import compare
from recast.verification.compare import Difference
from recast.verification.feeds import Feed
from recast.verification.judge import measure_noise
from recast.verification.local import perm_of
from recast.verification.oracle import Oracle, OracleUnavailable
from recast.verification.outcome import Note, Report
from recast.verification.tolerances import TABLE, for_dtype

if TYPE_CHECKING:
    from recast.verification.check import Side

Writer = Callable[[ir.Model], "Side"]
_LIMIT_BYTES = 512_000_000  # intermediate values held at once


def with_outputs(model: ir.Model, names: Sequence[str], only: bool = False) -> ir.Model:
    """A copy of the model whose outputs are the named values, after its own outputs unless ``only``.

    Weights are shared, not copied. With ``only``, what the values do not need is removed.
    """
    copy = model.clone()
    values = {v.name: v for n in copy.graph for v in n.outputs}
    if only:
        copy.graph.outputs.clear()
    copy.graph.outputs.extend(values[n] for n in names)
    if only:
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        RemoveUnusedNodesPass()(copy)
    return copy


def locate(report: Report, model: ir.Model, writer: Writer, feed: Feed | None) -> None:
    """Fill ``report.culprit``; on any obstacle a note says why there is none."""
    if feed is None or report.wrong is None or report.wrong.kind != "values":
        return
    try:
        found = _first_wrong(model, writer, feed)
    except (OracleUnavailable, RecastError, ValueError, KeyError) as error:
        report.notes.append(Note("the first wrong operator could not be traced", str(error).split("\n")[0][:300]))
        return
    if found is None:
        report.notes.append(Note("every intermediate value agrees: the fault shows only in the whole model"))
        return
    node, difference = found
    origin = node.metadata_props.get(ORIGIN, node.op_type)
    report.culprit = f"{node.op_type} in layer {layer_of(node)} ({origin}); {difference.text()}"


def candidates(model: ir.Model) -> list[ir.Value]:
    """Computed tensors in execution order that are not outputs yet and have a known type."""
    outputs = {o.name for o in model.graph.outputs}
    return [
        v
        for n in model.graph
        for v in n.outputs
        if v.name and v.dtype is not None and v.name not in outputs and list(v.uses())
    ]


def _first_wrong(model: ir.Model, writer: Writer, feed: Feed) -> tuple[ir.Node, Difference] | None:
    oracle = Oracle(model)
    feeds = {v.name or "": a for v, a in zip(model.graph.inputs, _in_order(model, feed), strict=True)}
    values = candidates(model)
    ends = [o for o in model.graph.outputs if o.producer() is not None]
    order = {id(n): i for i, n in enumerate(model.graph)}
    values = sorted([*values, *ends], key=lambda v: order[id(v.producer())])
    names = list(dict.fromkeys(v.name or "" for v in values))
    exact = oracle.run(feeds, wanted=names)
    if sum(a.nbytes for a in exact.values()) > _LIMIT_BYTES:
        raise ValueError("the intermediate values are too large to hold")
    noise = measure_noise(oracle, feeds, exact, wanted=names)
    native = exact if oracle.quantised else oracle.run(feeds, exact=False, wanted=names)
    nodes = {v.name or "": v.producer() for v in values}

    def judge(name: str, target: np.ndarray) -> Difference:
        declared = next(v for v in values if v.name == name).dtype
        kind = declared.numpy() if declared is not None else target.dtype
        source = native[name].astype(kind)
        form = compare.same_form(name, source, target)
        if form is not None:
            return form
        tolerance = TABLE["quantised"] if oracle.quantised else for_dtype(target.dtype.name)
        if tolerance.name == "exact":
            return compare.tight(name, source, target, tolerance)
        return compare.against_exact(name, (source, target, exact[name]), noise[name], tolerance)

    try:
        got = _run(with_outputs(model, [n for n in names if n not in {o.name for o in ends}]), writer, feed)
    except RecastError:
        return _search(
            model, names, nodes, lambda n: judge(n, _run(with_outputs(model, [n], only=True), writer, feed)[n])
        )
    for name in names:
        node = nodes[name]
        if name in got and node is not None:
            difference = judge(name, got[name])
            if not difference.accepted:
                return node, difference
    return None


def _search(
    model: ir.Model, names: list[str], nodes: dict[str, ir.Node | None], judge: Callable[[str], Difference]
) -> tuple[ir.Node, Difference] | None:
    """Binary search for the first wrong value (values after a wrong one are taken to be wrong)."""
    low, high = 0, len(names) - 1
    found: tuple[ir.Node, Difference] | None = None
    while low <= high:
        middle = (low + high) // 2
        difference = judge(names[middle])
        node = nodes[names[middle]]
        if not difference.accepted and node is not None:
            found, high = (node, difference), middle - 1
        else:
            low = middle + 1
    return found


def _in_order(model: ir.Model, feed: Feed) -> list[np.ndarray]:
    names = [v.name or "" for v in model.graph.inputs]
    if set(names) == set(feed.arrays):
        return [feed.arrays[n] for n in names]
    return list(feed.arrays.values())


def _run(model: ir.Model, writer: Writer, feed: Feed) -> dict[str, np.ndarray]:
    """Convert, run, and give the outputs under the graph's names with the source's axes."""
    side = writer(model)
    if side.runner is None:
        raise ValueError("the writer gave no runtime")
    runner = side.runner
    try:
        perms_in = [perm_of(v) for v in side.graph.graph.inputs] if side.graph else []
        perms_out = [perm_of(v) for v in side.graph.graph.outputs] if side.graph else []
        by_name = {v.name: i for i, v in enumerate(model.graph.inputs)}
        arrays = {}
        ordered = _in_order(model, feed)
        for position, spec in enumerate(runner.inputs):
            array = ordered[by_name.get(spec.name, position)]
            perm = perms_in[position] if position < len(perms_in) else None
            array = array if perm is None else np.ascontiguousarray(array.transpose(perm))
            arrays[spec.name] = array.astype(spec.dtype) if array.dtype.kind in "iu" and spec.dtype else array
        results = runner.run(arrays)
    finally:
        runner.close()
    wanted = [o.name or "" for o in model.graph.outputs]
    same = set(wanted) == {s.name for s in runner.outputs}
    named = {}
    for position, spec in enumerate(runner.outputs):
        perm = perms_out[position] if position < len(perms_out) else None
        value = results[spec.name]
        named[spec.name if same else wanted[position]] = value if perm is None else value.transpose(np.argsort(perm))
    return named
