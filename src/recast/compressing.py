"""The map of compression: read → plan and apply, step by step → write → verify → compare with the original → gate.

pipeline.load                  the source becomes the graph dialect
measure.data                   real samples, or generated ones with a warning
step.method().needs / plan     what each method wants to know, and its plan as data
compression.apply              the only editor
pipeline.prepare, writer.write the result, and beside it the original in the same format
verification.check             the file computes what the compressed graph says
compression.compare, gate      smaller, not slower, not worse than asked; or it is called NAME.unverified
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recast import formats, pipeline, prove
from recast._util import atomic, progress, ranks
from recast._util.child import TensorSpec
from recast.compression._method import Method, Needs, Plan, Statistics
from recast.compression.gate import Comparison, Limits, reasons
from recast.compression.recipe import Step, Steps
from recast.errors import BadRecipe, MissingDependency
from recast.formats._format import Artifact, Finding, Format, ReadOptions, WriteOptions
from recast.graph.finding import attached
from recast.recipe import Reading, Writing

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.compression.arrays import Shrunk
    from recast.measure.data import Samples
    from recast.verification.outcome import Report

Outcome = Literal["accepted", "worse, as allowed", "refused", "not judged", "planned"]
GENERATED = 64  # inputs where there are no data
SYNTHETIC = Path("synthetic")  # stands for data in ``Settings.calibration``
COMPARED = 5000  # most samples that the result is compared on
_SPLIT = 32  # fewer samples are not split


@dataclass(frozen=True)
class Settings:
    """Everything about a compression but the steps.

    Attributes:
        data: ``.npz``, ``.npy`` or folder of images (``measure.data``); the result is compared with the original on it.
        calibration: the same for what the methods look at; without it every second sample of ``data`` is for them and
            the others are for comparing. The word ``synthetic``: inputs made from the model's own statistics
            (``measure.synthetic``).
        dry_run: plan, write nothing.
    """

    reading: Reading = Reading()
    writing: Writing = Writing()
    data: Path | None = None
    limits: Limits = Limits()
    calibration: Path | None = None
    seed: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class Compression:
    """What ``compress`` did.

    Attributes:
        files: what was written, the main file first; a refused result is called ``NAME.unverified``.
        plans: one a step.
        outcome: ``accepted``; ``worse, as allowed``; ``refused``: see ``reasons``; ``not judged``: the target's
            runtime is not installed; ``planned``: a dry run.
        reasons: why it is (or would have been) refused.
        comparison: the result beside the original in the same format, None where it could not be run.
    """

    files: tuple[Path, ...]
    plans: tuple[Plan, ...]
    findings: tuple[Finding, ...]
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    comparison: Comparison | None = None
    report: Report | None = field(default=None, repr=False)

    @property
    def passed(self) -> bool:
        """Whether the result may be used."""
        return self.outcome != "refused"


def compress(
    source: str | Path,
    target: str | Path,
    steps: Step | Steps,
    settings: Settings = Settings(),  # noqa: B008 frozen
    data: Data | None = None,
) -> Compression:
    """Make a model smaller, and measure what that cost.

    Args:
        source: file, folder or ``module:factory``.
        target: output; its suffix chooses the format.
        steps: the recipe.
        settings: everything else.
        data: what ``data_of`` gave for this source and these settings; None: it is asked.

    Raises:
        RecastError: refused or failed before anything was written. A result that is larger, slower or worse than asked
            is *not* raised: it is written as ``NAME.unverified`` and ``Compression.passed`` is False.
    """
    from recast.measure.data import explained

    path, writing = Path(target), settings.writing
    writer = formats.by_name(writing.to) if writing.to else formats.for_writing(path)
    atomic.check_free(path, writing.force or settings.dry_run or not ranks.first())
    if not list(steps):
        raise BadRecipe("nothing to do", fix="name a method: --quantize int8, --prune 0.5 …")
    progress.emit("reading")
    model = pipeline.load(source, settings.reading)
    if not writer.has_graph or not len(model.graph):
        return _weights(source, path, (model, writer), list(steps), settings)
    methods = [step.method() for step in steps]
    data = data or _data(model, settings)
    findings = data.findings
    changed, plans = model, []
    for method in methods:
        progress.emit("planning")
        changed = changed.clone()
        findings += _run_passes(changed, method)
        with explained(data.fitted, input_specs(model)):
            statistics = _statistics(changed, method.needs(changed), data.fitted, (writer.name, settings.seed))
            statistics = replace(statistics, original=model)
            plan = method.plan(changed, statistics)
        progress.emit(f"applying {plan.method}")
        changed = _applied(changed, plan)
        plans.append(plan)
        findings += plan.findings
    if settings.dry_run or not ranks.first():  # what other ranks helped to train is written by the first
        return Compression((), tuple(plans), findings, "planned")
    return _Ending(source, path, writer, settings, (model, changed)).finish(tuple(plans), findings, data.compared)


def data_of(source: str | Path, settings: Settings) -> Data:
    """The samples of a compression, for one that is repeated.

    Raises:
        RecastError: the source cannot be read or holds no graph, or the data do not fit.
    """
    model = pipeline.load(source, settings.reading)
    if not len(model.graph):
        raise BadRecipe("only models with a graph can be compared by what they compute", str(source))
    return _data(model, settings)


def write_original(
    source: str | Path, target: Path, settings: Settings, folder: Path, data: Data | None = None
) -> tuple[Artifact, Samples]:
    """The source as it is, as ``folder/<target's name>``, and the samples that results are compared on.

    Raises:
        RecastError: it cannot be read or written, or the data do not fit.
    """
    writer = formats.by_name(settings.writing.to) if settings.writing.to else formats.for_writing(target)
    model = pipeline.load(source, settings.reading)
    if not writer.has_graph or not len(model.graph):
        raise BadRecipe("only models with a graph can be compared by what they compute", str(source))
    samples = (data or _data(model, settings)).compared.take(COMPARED)
    return _Ending(source, target, writer, settings, (model, model))._write(model, folder)[0], samples


def _weights(
    source: str | Path, path: Path, ends: tuple[ir.Model, Format], steps: list[Step], settings: Settings
) -> Compression:
    """Bare arrays: see ``compression.arrays``."""
    from recast.compression.arrays import put, shrink

    model, writer = ends
    if len(model.graph) or (writer.has_graph and path.suffix not in (".pt", ".pth")):
        what = "the target holds no graph" if len(model.graph) else "the source holds weights without a graph"
        raise BadRecipe(what, str(source), "compress model to model, or arrays to .npy .npz .safetensors .pt")
    done = shrink(model, steps)
    findings = (*attached(model), *(f for p in done.plans for f in p.findings))
    if path.suffix in (".npy", ".pt", ".pth") and any(p.method == "magnitude" for p in done.plans):
        text = f"{path.suffix} files store zeros like other numbers: the file gets smaller only zipped"
        findings += (Finding(text, "write .npz or .safetensors, or prune with --structured", "warning"),)
    if settings.dry_run:
        return Compression((), done.plans, findings, "planned")
    ending = _Ending(source, path, writer, settings, (model, put(model, done.tensors)))
    return ending.finish_weights(done, findings)


def _applied(model: ir.Model, plan: Plan) -> ir.Model:
    from recast.compression.apply import apply

    return apply(model, plan)


def _run_passes(model: ir.Model, method: Method) -> tuple[Finding, ...]:
    from recast import passes

    return tuple(passes.run(model, method.passes, getattr(method, "pass_options", passes.PassOptions())))


@dataclass(frozen=True)
class Data:
    """What the methods look at, and what the result is compared on."""

    fitted: Samples
    compared: Samples
    findings: tuple[Finding, ...]


def _data(model: ir.Model, settings: Settings) -> Data:
    from recast.measure import data

    specs, found = input_specs(model), attached(model)
    if settings.calibration == SYNTHETIC:
        return _synthetic(model, settings, found)
    if settings.data is None and settings.calibration is None:
        text = "no --data: random inputs stand for real ones; ranges and accuracy may be far off on your data"
        samples = data.generated(specs, GENERATED, settings.seed)
        return Data(samples, samples, (*found, Finding(text, "", "warning")))
    if settings.data is None or settings.calibration is None:
        samples = data.load(settings.data or settings.calibration or Path(), specs)
        if samples.count // samples.together >= _SPLIT:
            return Data(samples.pick(slice(0, None, 2)), samples.pick(slice(1, None, 2)), found)
        text = f"only {samples.count} samples: the methods look at those that the result is compared on"
        return Data(samples, samples, (*found, Finding(text, str(settings.data), "warning")))
    return Data(data.load(settings.calibration, specs), data.load(settings.data, specs), found)


def _synthetic(model: ir.Model, settings: Settings, found: tuple[Finding, ...]) -> Data:
    from recast.measure import data, synthetic

    progress.emit("synthesising inputs")
    samples = synthetic.made(model, seed=settings.seed)
    text = "the methods look at inputs made from the statistics of BatchNormalization: real ones would tell more"
    compared = samples if settings.data is None else data.load(settings.data, input_specs(model))
    return Data(samples, compared, (*found, Finding(text, "", "warning")))


def input_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's inputs as a runtime would tell them."""
    specs = []
    for value in model.graph.inputs:
        dims = tuple(
            d if isinstance(d, int) else str(d.value or f"{value.name}.{i}") for i, d in enumerate(value.shape or ())
        )
        specs.append(TensorSpec(value.name or "", value.dtype.numpy().name if value.dtype else "float32", dims))
    return tuple(specs)


def _statistics(model: ir.Model, needs: Needs, samples: Samples, told: tuple[str, int]) -> Statistics:
    from recast.measure.calibrate import Graph
    from recast.measure.data import Samples

    target, seed = told
    bare = Samples(samples.feeds, samples.labels if samples.together == 1 else None, samples.real, samples.names)
    used = bare.take(needs.samples) if needs.samples else None
    values = {}
    if needs.values and used is not None:
        with Graph(model) as graph:
            values = graph.observe(used, needs.values)
    return Statistics(values, used, target, seed, bare.take(needs.training) if needs.training else None)


def _unjudged(found: Comparison, limits: Limits) -> tuple[Finding, ...]:
    """What was asked for but cannot be told."""
    if limits.drop is None or found.accuracy is not None:
        return ()
    return (Finding("the data have no labels: instead of the drop, answers or outputs are compared", "", "warning"),)


@dataclass(frozen=True)
class _Ending:
    """Write, verify, compare, judge, deliver."""

    source: str | Path
    path: Path
    writer: Format
    settings: Settings
    models: tuple[ir.Model, ir.Model]  # original, compressed

    def finish(self, plans: tuple[Plan, ...], findings: tuple[Finding, ...], samples: Samples) -> Compression:
        limits = self.settings.limits
        with atomic.staging(self.path) as folder:
            reference = self.models[1].clone()
            made, told = self._write(self.models[1], folder / "new")
            original, _ = self._write(self.models[0].clone(), folder / "old")
            findings += (*told, *made.findings)
            found, report, why, outcome = None, None, [], "not judged"
            try:
                report = self._verify(reference, made, samples)
                if not report.passed:
                    wrong = report.wrong.what if report.wrong is not None else report.summary()[0]
                    why += [f"the file does not compute what the compressed graph says: {wrong}"]
                else:
                    found = self._compare((original, made), samples)
                    findings += _unjudged(found, limits)
                    why += reasons(found, limits, samples.real)
                outcome = (
                    ("worse, as allowed" if limits.allow_worse and report.passed else "refused") if why else "accepted"
                )
            except MissingDependency as error:
                findings += (Finding(f"the result cannot be judged here: {error.what}", error.fix, "warning"),)
            result = Compression((), plans, findings, outcome, tuple(why), found, report)  # type: ignore[arg-type]
            files = (*made.files, self._certificate(result, made))
            ending = pipeline.UNVERIFIED if outcome == "refused" else ""
            pairs = [(f, self.path.parent / (f.name + ending)) for f in files]
            atomic.commit([*pairs[1:], pairs[0]])
        final = tuple(f for _, f in pairs)
        return Compression(final, plans, findings, result.outcome, result.reasons, found, report)

    def finish_weights(self, done: Shrunk, findings: tuple[Finding, ...]) -> Compression:
        """The same for bare arrays: the proof is that what was written is read back bit by bit."""
        from recast.compression.arrays import KEPT

        with atomic.staging(self.path) as folder:
            original, _ = self._write(self.models[0].clone(), folder / "old")
            made, told = self._write(self.models[1].clone(), folder / "new")
            back = self.writer.read(made.files[0], ReadOptions())
            sizes = [sum(f.stat().st_size for f in a.files) for a in (original, made)]
            given = Path(self.source).stat().st_size
            found = Comparison((sizes[0], sizes[1]), given)
            why = [f"'{n}' is not what was written" for n in prove.different_weights(self.models[1], back)]
            lost = bool(why)
            why += reasons(found, self.settings.limits, False)
            allowed = self.settings.limits.allow_worse and not lost
            outcome: Outcome = ("worse, as allowed" if allowed else "refused") if why else "accepted"
            result = Compression((), done.plans, (*findings, *told, *made.findings), outcome, tuple(why), found)
            files = [*made.files]
            if done.kept:
                files.append(made.files[0].with_name(self.path.name + KEPT))
                files[-1].write_text(json.dumps(done.kept_table()) + "\n", encoding="utf-8")
            files.append(self._certificate(result, made))
            ending = pipeline.UNVERIFIED if outcome == "refused" else ""
            pairs = [(f, self.path.parent / (f.name + ending)) for f in files]
            atomic.commit([*pairs[1:], pairs[0]])
        return replace(result, files=tuple(f for _, f in pairs))

    def _write(self, model: ir.Model, folder: Path) -> tuple[Artifact, tuple[Finding, ...]]:
        progress.emit("writing")
        folder.mkdir()
        bare = not len(model.graph)  # no pass may drop weights that nobody reads
        findings = () if bare else pipeline.prepare(model, self.writer, self.settings.writing, self.path.suffix)
        options = WriteOptions(self.settings.writing.opset, sparse=True)
        artifact = self.writer.write(model, folder / self.path.name, options)
        return artifact, findings

    def _verify(self, reference: ir.Model, made: Artifact, samples: Samples) -> Report:
        from recast.verification import check

        progress.emit("verifying")
        written = self.models[1]  # its inputs say how the writer permuted them
        runner = self.writer.open_source(made.files[0], ReadOptions())  # integer weights as the numbers they stand for
        try:
            first = check.Side("the compressed graph", None, reference, "")
            second = check.Side(made.files[0].name, runner, written, prove.runtime_of(self.writer))
            data: Mapping[str, Any] = samples.take(8).feeds if samples.real else {}
            return check.verify(first, second, check.Options(self.settings.seed, data))
        finally:
            runner.close()

    def _compare(self, both: tuple[Artifact, Artifact], samples: Samples) -> Comparison:
        from recast.compression.compare import compare

        progress.emit("comparing")
        old, new = both
        given = Path(self.source)
        found = compare((old.files, new.files), samples.take(COMPARED), self.settings.limits.timed)
        return replace(found, source_bytes=given.stat().st_size if given.is_file() else 0)

    def _certificate(self, result: Compression, made: Artifact) -> Path:
        from recast.verification import certificate

        given = Path(self.source)
        data = {
            "schema": certificate.SCHEMA,
            "kind": "compression",
            "outcome": result.outcome,
            "reasons": list(result.reasons),
            "inputs": certificate.file_facts(given) if given.exists() else [],
            "outputs": [d for f in made.files for d in certificate.file_facts(f)],
            "plans": [p.as_dict() for p in result.plans],
            "comparison": result.comparison.as_dict() if result.comparison else None,
            "findings": [vars(f) for f in result.findings],
        }
        path = made.files[0].with_name(made.files[0].name + pipeline.CERTIFICATE)
        path.write_text(certificate.certificate_text(certificate.plain(data)), encoding="utf-8")
        return path
