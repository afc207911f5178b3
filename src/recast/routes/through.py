"""A conversion through a third-party tool: our steps around it, the tool in its child, the same proof at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast import formats, pipeline, prove
from recast._util import atomic, progress
from recast.errors import BadModel, BadRecipe, MissingDependency, RecastError, TooLarge, ToolFailed, UnsafeModel
from recast.formats._format import Artifact, Finding, Format, ReadOptions
from recast.prove import Verdict
from recast.recipe import Checking, Recipe, Writing
from recast.routes import interpreters
from recast.routes._route import by_name
from recast.routes.kinds import format_of, kind_of
from recast.routes.paths import Way, suffix_of, way
from recast.routes.tool import Bounds, Tool

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.verification.check import Side
    from recast.verification.memory import Memory
    from recast.verification.outcome import Report

_FATAL = (BadModel, TooLarge)  # a damaged file is not handed to native parsers


@dataclass(frozen=True)
class Via:
    """Which tool, and how it runs.

    Attributes:
        name: of the route.
        python: the interpreter that has the tool (default: see ``interpreters.find``).
        imports: modules, or ``.py`` files (which need trust), with the source's custom layers.
        bounds: seconds and bytes that the tool may take.
    """

    name: str
    python: Path | None = None
    imports: tuple[str, ...] = ()
    bounds: Bounds = Bounds()


@dataclass(frozen=True)
class _Order:
    """One conversion: what goes where, and how."""

    source: str
    target: Path
    recipe: Recipe
    via: Via
    kind: str
    writer: Format
    memory: Memory | None

    def options(self) -> ReadOptions:
        reading = self.recipe.reading
        return ReadOptions(reading.inputs, reading.weights, reading.trust)

    def load(self) -> ir.Model:
        if self.memory is None:
            return pipeline.load(self.source, self.recipe.reading)
        return self.memory.reading(lambda: pipeline.load(self.source, self.recipe.reading))


def convert(
    source: str | Path, target: str | Path, recipe: Recipe, via: Via, memory: Memory | None = None
) -> pipeline.Conversion:
    """Convert through a tool and prove the result like one of ours.

    Raises:
        BadRecipe: the route does not lead there, or an option cannot be passed on.
        MissingDependency: the tool is not installed.
        UnsafeModel: code in the source would run, and it is not trusted.
        ToolFailed, RuntimeDied: the tool refused, failed, or was ended; nothing was written.
    """
    path, route = Path(target), by_name(via.name)
    writer = formats.by_name(recipe.writing.to) if recipe.writing.to else formats.for_writing(path)
    kind = kind_of(str(source))
    found = way(route, kind, writer.name, path.suffix.lower())
    _check_trust(recipe, via)
    interpreter = interpreters.need(route, via.python)
    for name in (path, *(path.with_suffix(suffix) for suffix in writer.companions)):
        atomic.check_free(name, recipe.writing.force)
    order = _Order(str(source), path, recipe, via, kind, writer, memory)
    graph, refusal = _read(order)
    chosen = _choose(found, refusal)
    _check_options(chosen, recipe)
    try:
        with atomic.staging(path) as folder, Tool(route, interpreter, via.bounds) as tool:
            return _convert(order, chosen, (folder, tool), graph, refusal)
    except ToolFailed as error:
        _suggest(error, found, chosen, graph is not None)
        raise


def _suggest(error: ToolFailed, found: list[Way], chosen: Way, readable: bool) -> None:
    """A source that we read and the tool does not may be written anew for it."""
    other = next((w for w in found if w.before), None)
    if readable and other is not None and not chosen.before:
        made = f"X{suffix_of(other.before, other.route)}"
        error.fix = f"write {made} first (recast convert SRC {made}), then {made} --via {other.route.name}; {error.fix}"


def _check_trust(recipe: Recipe, via: Via) -> None:
    files = [name for name in via.imports if name.endswith(".py")]
    if files and not recipe.reading.trust:
        raise UnsafeModel("importing a .py file runs its code", ", ".join(files), "pass --trust if it is yours")


def _read(order: _Order) -> tuple[ir.Model | None, RecastError | None]:
    """The source as our reader sees it, or why it does not.

    Raises:
        BadModel, TooLarge: the file is damaged: no tool gets it.
        UnsafeModel: code in it would run, and it is not trusted.
    """
    progress.emit("reading")
    try:
        model = order.load()
    except RecastError as error:
        unsafe = isinstance(error, UnsafeModel) and not order.recipe.reading.trust
        if unsafe or isinstance(error, _FATAL):
            raise
        return None, error
    if not len(model.graph) and not model.graph.inputs:
        raise BadRecipe("the source holds weights without a graph", order.source, "no route can convert it")
    return model, None


def _choose(found: list[Way], refusal: RecastError | None) -> Way:
    """The first way that can be gone: one that begins with our reader needs the source to be read."""
    for one in found:
        if refusal is None or not one.before:
            return one
    raise refusal or BadRecipe("no way leads there")


def _check_options(chosen: Way, recipe: Recipe) -> None:
    """Options that neither the tool nor a step of ours would honour are refused, not dropped."""
    writing, options = recipe.writing, chosen.route.options
    lost = []
    if not chosen.after:
        lost += [f"--{n}" for n, v in (("batch", writing.batch), ("dtype", writing.dtype)) if v]
        lost += ["--io-layout"] if writing.io_layout != "keep" else []
        lost += ["--opset"] if writing.opset and ("opset" not in options or chosen.edge[1] != "onnx") else []
    if recipe.reading.inputs and not chosen.before and chosen.edge[0] not in ("torch", "torchscript"):
        lost += ["--input"] if "inputs" not in options else []
    if lost:
        fix = f"leave it out, or set it in a second step: recast convert OUT OUT2 {lost[0]} …"
        raise BadRecipe(f"{chosen.route.name} cannot be told {', '.join(lost)}", fix=fix)


def _convert(
    order: _Order, chosen: Way, place: tuple[Path, Tool], graph: ir.Model | None, refusal: RecastError | None
) -> pipeline.Conversion:
    (folder, tool), seconds = place, {}
    start = time.perf_counter()
    artifact = _make(order, chosen, folder, tool)
    seconds["convert"] = time.perf_counter() - start
    if graph is not None:
        tool.close()  # it is not needed as the reference
    findings = [Finding(_told(chosen, order, tool), order.target.name), *artifact.findings]
    if refusal is not None:
        findings.append(Finding(f"Recast does not read this source itself: {refusal.what}", order.source, "warning"))
    verdict: Verdict = "not verified"
    report, files = None, list(artifact.files)
    if order.recipe.checking.verify:
        start = time.perf_counter()
        verdict, report = _prove(order, (artifact, graph), chosen, tool)
        files.append(_certificate((verdict, report), order, (artifact, findings), chosen, tool))
        seconds["verify"] = time.perf_counter() - start
    final = pipeline.commit(tuple(files), order.target, pipeline.UNVERIFIED if verdict == "failed" else "")
    return pipeline.Conversion(order.kind, order.writer.name, final, tuple(findings), verdict, report, seconds)


def _told(chosen: Way, order: _Order, tool: Tool) -> str:
    return f"made by {chosen.route.tool} {tool.interpreter.version}: {chosen.text(order.kind)}"


def _make(order: _Order, chosen: Way, folder: Path, tool: Tool) -> Artifact:
    """Our step before, the tool, our step after; the files lie in ``folder`` under the target's name."""
    stem, silent = order.target.stem, Checking(verify=False)
    source, trust, reading = order.source, order.recipe.reading.trust, order.recipe.reading
    if chosen.before:
        made = folder / "before" / f"{stem}{suffix_of(chosen.before, chosen.route)}"
        made.parent.mkdir()
        opset = chosen.route.opset if chosen.before == "onnx" else None
        step = pipeline.convert(source, made, Recipe(reading, Writing(opset=opset), silent))
        source, trust = str(step.files[0]), True  # it is ours
    last = folder / order.target.name
    if chosen.after:
        last = folder / "between" / f"{stem}{suffix_of(chosen.edge[1], chosen.route)}"
        last.parent.mkdir()
    notes = tool.convert(_job(order, chosen, source, trust) | {"target": str(last), "to": chosen.edge[1]})
    findings = tuple(Finding(note, chosen.route.name) for note in notes)
    if not chosen.after:
        artifact = Artifact(_beside(last), findings)
        order.writer.adopt(last)
        return artifact
    writing = replace(order.recipe.writing, to=order.writer.name, force=False)
    step = pipeline.convert(last, folder / order.target.name, Recipe(writing=writing, checking=silent))
    return Artifact(step.files, findings + step.findings)


def _job(order: _Order, chosen: Way, source: str, trust: bool) -> dict[str, Any]:
    reading = order.recipe.reading
    own = bool(chosen.before)  # shapes and weights are in the file that we wrote
    return {
        "source": source if order.kind == "torch" and not Path(source).exists() else str(Path(source).resolve()),
        "kind": chosen.edge[0],
        "opset": None if chosen.after else order.recipe.writing.opset,
        "inputs": {} if own else {n: list(s) for n, s in reading.inputs.items()},
        "weights": str(reading.weights.resolve()) if reading.weights and not own else None,
        "trust": trust,
        "imports": [str(Path(n).resolve()) if n.endswith(".py") else n for n in order.via.imports],
    }


def _beside(main: Path) -> tuple[Path, ...]:
    """What a tool made: the main file, then whatever lies beside it."""
    if not main.exists():
        raise ToolFailed("the tool made no file", main.name, "see 'recast routes SRC DST' for other ways")
    return (main, *sorted(p for p in main.parent.iterdir() if p != main and p.name not in ("before", "between")))


def _prove(order: _Order, made: tuple[Artifact, ir.Model | None], chosen: Way, tool: Tool) -> tuple[Verdict, Report]:
    """Both sides on the same feeds, as ``prove.prove`` does for files of ours."""
    from recast.verification import check
    from recast.verification.outcome import Note, Report, Wrong

    progress.emit("verifying")
    artifact, graph = made
    name = artifact.files[0].name
    first = _source_side(order, graph, chosen, tool)
    if isinstance(first, RecastError):
        note = Note(f"the source cannot be run here: {first.what}", first.fix, "warning")
        return "not judged", Report(Path(order.source).name, name, notes=[note])
    try:
        runner = order.writer.open(artifact.files[0])
    except MissingDependency as error:
        note = Note(f"{order.writer.title} cannot be judged here: {error.what}", error.fix, "warning")
        return "not judged", Report(first.name, name, notes=[note])
    except RecastError as error:
        report = Report(first.name, name, first.runtime, prove.runtime_of(order.writer))
        return "failed", report.failed(Wrong("target", f"the target does not load: {error.what}", error.where))
    second = check.Side(name, runner, _graph(order.writer, artifact.files[0]), prove.runtime_of(order.writer))
    checking = order.recipe.checking
    try:
        report = check.verify(
            first, second, check.Options(checking.seed, prove.samples(checking.data), None, order.memory)
        )
    finally:
        runner.close()
        if first.runner is not None:
            first.runner.close()
    return ("verified" if report.passed else "failed"), report


def _source_side(order: _Order, graph: ir.Model | None, chosen: Way, tool: Tool) -> Side | RecastError:
    """The source in its own runtime: ours, or as the tool's interpreter has it; why not, where neither can run it."""
    from recast.verification import check

    path, error = Path(order.source), None
    if format_of(order.kind):
        format_ = formats.by_name(format_of(order.kind))
        try:
            runner = prove.source_runner(prove.Source(format_, path, order.options(), graph, order.memory))
            if runner is not None or graph is not None:
                return check.Side(path.name, runner, graph, prove.runtime_of(format_))
        except RecastError as refusal:
            if graph is not None:
                raise
            error = refusal
    try:
        found = tool.reference(_job(order, replace(chosen, before=""), order.source, order.recipe.reading.trust))
    except RecastError as refusal:
        return error or refusal
    return check.Side(path.name, found, graph, found.runtime)


def _graph(format_: Format, path: Path) -> ir.Model | None:
    """What our reader sees in the tool's file; None where it does not read it: the runtime alone judges then."""
    try:
        return format_.read(path, ReadOptions()) if format_.can_read else None
    except RecastError:
        return None


def _certificate(
    proof: tuple[Verdict, Report], order: _Order, made: tuple[Artifact, Sequence[Finding]], chosen: Way, tool: Tool
) -> Path:
    from recast.verification import certificate

    (verdict, report), (artifact, findings) = proof, made
    source, weights = Path(order.source), order.recipe.reading.weights
    read = ([source] if source.exists() else []) + ([weights] if weights else [])
    read += [Path(name) for name in order.via.imports if name.endswith(".py")]
    data = certificate.certificate(
        report, (read, artifact.files), order.recipe.as_dict(), [vars(f) for f in findings]
    ) | {
        "verdict": verdict,
        "route": {
            "name": chosen.route.name,
            "tool": chosen.route.tool,
            "version": tool.interpreter.version,
            "python": tool.interpreter.python_version,
            "steps": chosen.steps(order.kind),
            "imports": [Path(n).name for n in order.via.imports],
        },
    }
    path = artifact.files[0].with_name(artifact.files[0].name + pipeline.CERTIFICATE)
    path.write_text(certificate.certificate_text(data), encoding="utf-8")
    return path
