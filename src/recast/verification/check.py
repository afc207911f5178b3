"""The check itself: run source and target on the same inputs and judge every output. ``verify`` is the entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from recast._util.child import TensorSpec
from recast.errors import NoKernel, RecastError
from recast.formats._format import Runner
from recast.verification import evidence
from recast.verification.bounds import integer_bounds, integer_choices
from recast.verification.compare import Difference
from recast.verification.effort import affordable
from recast.verification.feeds import Feed, FeedPlan, make_feeds, sizes_to_try
from recast.verification.judge import Judge
from recast.verification.local import GraphRunner, KernelRunner, perm_of
from recast.verification.memory import Memory
from recast.verification.oracle import OracleUnavailable
from recast.verification.outcome import FeedRecord, Note, Report, Wrong


@dataclass(frozen=True)
class Side:
    """One of the two models.

    Args:
        name: what to call it (file name).
        runner: the model in its own runtime; None: ONNX Runtime runs ``graph``.
        graph: source: the graph that was read (enables the float64 tie-breaker and id bounds);
            target: the graph that was written (its ``recast.perm`` marks permuted inputs and outputs).
        runtime: name and version of the runtime, for the record.
    """

    name: str
    runner: Runner | None = None
    graph: ir.Model | None = None
    runtime: str = ""


_Fact = TypeVar("_Fact")
Writer = Callable[[ir.Model], Side]
_STILL = 1e-3  # outputs that change less than this, relative to their scale, say little about early operators


@dataclass(frozen=True)
class Options:
    """How to check.

    Attributes:
        writer: converts a graph to a running target again; with it, a mismatch is traced to its operator.
        memory: what is known of the source from an earlier check of the same source.
    """

    seed: int = 0
    data: Mapping[str, np.ndarray] = field(default_factory=dict)
    writer: Writer | None = None
    memory: Memory | None = None
    max_elements: int = 4_000_000
    max_feeds: int = 64


def verify(source: Side, target: Side, options: Options | None = None) -> Report:
    """Compare two models on at least eight inputs; on at least three where the model is large.

    Never raises for a mismatch: the report says what was found. A runtime that refuses or dies is a failed verdict.
    """
    options = options or Options()
    report = Report(source.name, target.name, target_runtime=target.runtime)
    try:
        runner = source.runner or _graph_runner(source)
    except RecastError as error:
        return report.failed(Wrong("source", f"the source does not run: {error.what}", error.where))
    by = "ONNX Runtime"
    if isinstance(runner, KernelRunner):
        by = "Recast's kernels"
        report.notes.append(Note(f"no runtime has all operators of the source: {by} are the reference", source.name))
    report.source_runtime = source.runtime if source.runner else f"graph only ({by})"
    if target.runner is None and target.graph is None:
        return report.failed(Wrong("target", "the target has neither a runtime nor a graph", target.name))
    try:
        target_runner = target.runner or _graph_runner(target)
    except RecastError as error:
        return report.failed(Wrong("target", f"the target does not run: {error.what}", error.where))
    pair = _Pair(Side(source.name, runner, source.graph), Side(target.name, target_runner, target.graph), report)
    if pair.match():
        _run_all(pair, options)
    if report.wrong and options.writer is not None and source.graph is not None:
        from recast.verification.bisect import locate

        locate(report, source.graph, options.writer, pair.first_bad)
    if source.runner is None:
        runner.close()
    if target.runner is None:
        target_runner.close()
    return report


def _graph_runner(side: Side) -> GraphRunner | KernelRunner:
    """ONNX Runtime on the graph, or our own kernels where it has none.

    Raises:
        RecastError: neither runs it.
    """
    if side.graph is None:
        raise RecastError("there is neither a runtime nor a graph", side.name)
    # its fused integer kernels may saturate, and those of packed weights round the activations too
    packed = any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in side.graph.graph)
    try:
        return GraphRunner(side.graph, optimise=not packed)
    except NoKernel as error:
        try:
            return KernelRunner(side.graph)
        except OracleUnavailable as why:
            raise NoKernel(f"{error.what}; {why}", side.name, error.fix) from why


class _Pair:
    """Two running models whose inputs and outputs are matched by name, or else by position."""

    def __init__(self, source: Side, target: Side, report: Report) -> None:
        self.report, self.graph = report, source.graph
        assert source.runner is not None  # noqa: S101 set by verify
        assert target.runner is not None  # noqa: S101 set by verify
        self.source, self.target = source.runner, target.runner
        self.inputs: list[tuple[TensorSpec, TensorSpec]] = []
        self.outputs: list[tuple[TensorSpec, TensorSpec]] = []
        self.perms_in: dict[str, tuple[int, ...]] = {}
        self.perms_out: dict[str, tuple[int, ...]] = {}
        self.target_graph = target.graph
        self.first_bad: Feed | None = None
        self.before: dict[str, np.ndarray] = {}
        self.moves: bool | None = None

    def match(self) -> bool:
        """Pair inputs and outputs; False (and a failed report) where their numbers differ."""
        sides = (
            ("input", self.source.inputs, self.target.inputs, self.inputs),
            ("output", self.source.outputs, self.target.outputs, self.outputs),
        )
        for what, ours, theirs, pairs in sides:
            if len(ours) != len(theirs):
                text = f"the source has {len(ours)} {what}s, the target has {len(theirs)}"
                self.report.failed(Wrong("signature", text, f"{[s.name for s in ours]} and {[s.name for s in theirs]}"))
                return False
            by_name = {s.name: s for s in theirs}
            if set(by_name) == {s.name for s in ours}:
                pairs.extend((s, by_name[s.name]) for s in ours)
            else:
                pairs.extend(zip(ours, theirs, strict=True))
                names = ", ".join(f"{a.name} = {b.name}" for a, b in pairs)
                self.report.notes.append(Note(f"{what}s are matched by position", names))
        if self.target_graph is not None:
            graph = self.target_graph.graph
            self.perms_in = _perms(self.target.inputs, graph.inputs)
            self.perms_out = _perms(self.target.outputs, graph.outputs)
        return True

    def plan(self, options: Options) -> FeedPlan:
        """Feeds that both sides can take."""
        specs, sizes = [], {}
        known = self._by_position({v.name or "": v for v in self.graph.graph.inputs}) if self.graph else {}
        for ours, theirs in ((_as_read(a, known.get(a.name)), b) for a, b in self.inputs):
            specs.append(ours)
            perm = self.perms_in.get(theirs.name)
            if len(ours.shape) != len(theirs.shape):
                continue
            for axis, dim in enumerate(theirs.shape):
                mine = ours.shape[perm[axis] if perm else axis]
                if isinstance(mine, str) and isinstance(dim, int):
                    sizes[mine] = dim
        if sizes:
            self.report.notes.append(
                Note("dynamic dimensions became fixed", ", ".join(f"{k} = {v}" for k, v in sizes.items()))
            )
        bounds = self._by_position(integer_bounds(self.graph.graph)) if self.graph is not None else {}
        choices = self._by_position(integer_choices(self.graph.graph)) if self.graph is not None else {}
        data = self._named(options.data)
        return FeedPlan(specs, bounds, data, options.seed, options.max_elements, sizes, choices)

    def watch(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Whether the source's outputs depend on the inputs at all (None: nothing to compare yet)."""
        for name, value in outputs.items():
            old = self.before.setdefault(name, value)
            if old is value or old.shape != value.shape or self.moves:
                continue
            first, now = old.astype(np.float64), value.astype(np.float64)
            self.moves = not np.abs(now - first).max(initial=0) <= _STILL * np.abs(first).max(initial=0)

    def _by_position(self, bounds: dict[str, _Fact]) -> dict[str, _Fact]:
        """Bounds are known by the graph's input names; runtimes may use others in the same order."""
        if self.graph is None:
            return {}
        names = {v.name or "": s.name for v, s in zip(self.graph.graph.inputs, self.source.inputs, strict=False)}
        known = {s.name for s in self.source.inputs}
        return {(n if n in known else names.get(n, n)): b for n, b in bounds.items()}

    def _named(self, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if len(data) == 1 and len(self.inputs) == 1:
            return {self.inputs[0][0].name: next(iter(data.values()))}
        return dict(data)

    def run_target(self, feed: Feed) -> dict[str, np.ndarray]:
        """The target's outputs under the source's names, axes in the source's order."""
        arrays = {}
        for ours, theirs in self.inputs:
            array = feed.arrays[ours.name]
            perm = self.perms_in.get(theirs.name)
            if perm is not None:
                array = np.ascontiguousarray(array.transpose(perm))
            if theirs.dtype and array.dtype.kind in "iu" and np.dtype(theirs.dtype).kind in "iu":
                array = array.astype(theirs.dtype)
            arrays[theirs.name] = array
        results = self.target.run(arrays)
        named = {}
        for ours, theirs in self.outputs:
            value, perm = results[theirs.name], self.perms_out.get(theirs.name)
            named[ours.name] = value if perm is None else value.transpose(np.argsort(perm))
        return named


def _as_read(spec: TensorSpec, value: ir.Value | None) -> TensorSpec:
    """The runtime's input with its dynamic dimensions as the reader (or ``--input``) fixed or named them."""
    if value is None or value.shape is None or len(value.shape) != len(spec.shape):
        return spec
    read = [d if isinstance(d, int) else d.value for d in value.shape]
    dims = (d if isinstance(d, int) else (r or d) for d, r in zip(spec.shape, read, strict=True))
    return TensorSpec(spec.name, spec.dtype, tuple(dims))


def _perms(specs: tuple[TensorSpec, ...], values: object) -> dict[str, tuple[int, ...]]:
    found = {}
    for spec, value in zip(specs, list(values), strict=False):  # type: ignore[call-overload]
        perm = perm_of(value)
        if perm is not None:
            found[spec.name] = perm
    return found


def coarser(target: ir.Model, source: ir.Model | None) -> str:
    """The half precision that the target has and the source has not, or ""."""
    have = _float_types(target) - (_float_types(source) if source is not None else set())
    return next((name for name in ("bfloat16", "float16") if name.upper() in have), "")


def _float_types(model: ir.Model) -> set[str]:
    values = [v for n in model.graph.all_nodes() for v in n.outputs] + list(model.graph.initializers.values())
    return {v.dtype.name for v in values if v.dtype is not None}


def _feeds(pair: _Pair, options: Options) -> tuple[list[Feed], list[Feed]]:
    """The feeds to run, and those in reserve: a large model gets fewer (the report says so)."""
    plan = pair.plan(options)
    feeds = make_feeds(plan)[: options.max_feeds]
    if pair.graph is None:
        return feeds, []
    kept = affordable(feeds, pair.graph, sizes_to_try(plan)[0])
    if len(kept) < len(feeds):
        pair.report.notes.append(Note("fewer inputs, because the model is large", f"{len(kept)} of {len(feeds)}"))
    chosen = {feed.name for feed in kept}
    return kept, [feed for feed in feeds if feed.name not in chosen]


def _run_all(pair: _Pair, options: Options) -> None:
    report = pair.report
    try:
        feeds, spare = _feeds(pair, options)
    except (ValueError, TypeError, KeyError) as error:
        report.failed(Wrong("feeds", f"no inputs could be made: {error}"))
        return
    report.seed = options.seed
    inputs = pair.graph.graph.inputs if pair.graph else ()
    names = [(a.name, b.name) for a, b in zip(inputs, pair.source.inputs, strict=False)]
    coarse = "" if pair.target_graph is None else coarser(pair.target_graph, pair.graph)
    judge = Judge(pair.graph, names, coarse, options.memory)
    for number, feed in enumerate(feeds + spare):
        if number >= len(feeds) and not evidence.missing(report):
            break
        _judge_one(pair, judge, feed)
        if report.wrong is not None and sum(not r.accepted for r in report.feeds) >= 3:
            break
    report.oracle = judge.state
    report.tolerances = judge.applied
    ran = [r for r in report.feeds if r.differences]
    if report.wrong is None and not ran:
        report.failed(Wrong("feeds", "the source refused every input: nothing was proved"))
    evidence.settle(report)
    if pair.moves is False:
        told = "the outputs hardly depend on the inputs: this proves little about operators near the inputs"
        report.notes.append(Note(told, level="warning"))
    if ran and not any(r.varied for r in ran):
        report.notes.append(Note("every output was constant on every input: this proves little", level="warning"))


def _judge_one(pair: _Pair, judge: Judge, feed: Feed) -> None:
    """Run one feed and put what was found into the report."""
    record = _run_one(pair, judge, feed)
    if record is None:
        return
    pair.report.feeds.append(record)
    bad = next((d for d in record.differences if not d.accepted), None)
    if bad is not None and pair.report.wrong is None:
        pair.first_bad = feed
        kind = "graph" if bad.problem == "source" else "values"
        pair.report.wrong = Wrong(kind, bad.text(), f"feed {feed.name}", bad)


def _run_one(pair: _Pair, judge: Judge, feed: Feed) -> FeedRecord | None:
    shapes = {name: tuple(a.shape) for name, a in feed.arrays.items()}
    try:
        wanted = pair.source.run(feed.arrays)
    except RecastError as error:
        pair.report.notes.append(Note(f"the source refuses feed {feed.name}", error.what))
        return None
    pair.watch(wanted)
    try:
        found = pair.run_target(feed)
    except RecastError as error:
        pair.report.failed(
            Wrong("target", f"the target fails where the source runs: {error.what}", f"feed {feed.name}")
        )
        return FeedRecord(feed.name, shapes, ())
    differences: list[Difference] = []
    for position, (ours, _) in enumerate(pair.outputs):
        differences.append(judge.compare((position, ours.name), wanted[ours.name], found[ours.name], feed))
    varied = any(np.asarray(w).size > 1 and bool((w != w.reshape(-1)[0]).any()) for w in wanted.values())
    return FeedRecord(feed.name, shapes, tuple(differences), varied)
