"""The map of the tool: read → passes → write → verify → certificate.

``convert`` is the whole story; each step is one call into its room:

    formats.of_file(src).read      the file's content becomes the graph dialect
    passes.run                     what the target wishes: layout, fusing, batch, half precision
    formats.for_writing(dst).write written into a private folder beside the target
    verify.check.verify            both files run in their own runtimes, on the same feeds
    certificate, rename            the verdict lies beside the output; a failed one is called NAME.unverified
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast import formats
from recast._util import atomic, progress
from recast.errors import BadRecipe, MissingDependency
from recast.formats._format import Artifact, Finding, Format, ReadOptions, WriteOptions
from recast.recipe import Checking, Reading, Recipe, Writing

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.report.summary import Summary
    from recast.verify.check import Report

UNVERIFIED = ".unverified"
CERTIFICATE = ".recast.json"


@dataclass(frozen=True)
class Conversion:
    """What ``convert`` did.

    Attributes:
        files: what was written, the main file first, then companions and the certificate.
        findings: everything that was changed, approximated or left out on the way.
        report: the proof, or None if verification was switched off.
        seconds: time of each step.
    """

    source_format: str
    target_format: str
    files: tuple[Path, ...]
    findings: tuple[Finding, ...]
    report: Report | None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True if verified (or verification was switched off by the caller)."""
        return self.report is None or self.report.passed


def source_format(source: str | Path) -> Format:
    """The format of a source: by content, or PyTorch for ``package.module:factory``.

    Raises:
        BadModel, UnknownFormat: nothing there, or nothing that is known.
    """
    text = str(source)
    if ":" in text and not Path(text).exists() and text.rpartition(":")[2].isidentifier():
        return formats.by_name("torch")
    return formats.of_file(Path(source))


def load(source: str | Path, reading: Reading = Reading()) -> ir.Model:  # noqa: B008 frozen
    """Read a model of any format into the graph dialect.

    Raises:
        RecastError: whatever is wrong with the file, in one clear message.
    """
    options = ReadOptions(reading.inputs, reading.weights, reading.trust)
    model = source_format(source).read(Path(source), options)
    if reading.inputs:
        from recast.passes.normalise import set_inputs

        set_inputs(model, reading.inputs, str(source))
    return model


def prepare(model: ir.Model, target: Format, writing: Writing) -> tuple[Finding, ...]:
    """Run the passes that the target and the recipe wish for (the model is changed)."""
    from recast import passes

    names = list(target.passes)
    if writing.batch:
        names.insert(0, "set_batch")
    if writing.dtype == "float16":
        names.append("to_float16")
    batch: int | str | None = int(writing.batch) if writing.batch.isdigit() else ("batch" if writing.batch else None)
    options = passes.PassOptions(target.layout, writing.io_layout, batch, target.rnn_batch_major, target.keep_functions)
    return tuple(passes.run(model, names, options))


def save(model: ir.Model, target: str | Path, writing: Writing = Writing()) -> Artifact:  # noqa: B008 frozen
    """Write a model in the format of the target's suffix (or ``writing.to``); the model is used up.

    Raises:
        UnsupportedOp, UnsupportedType: what the target cannot express, all of it.
        OutputExists, OutputFailed: nothing was written.
    """
    path = Path(target)
    format_ = formats.by_name(writing.to) if writing.to else formats.for_writing(path)
    atomic.check_free(path, writing.force)
    findings = prepare(model, format_, writing)
    with atomic.staging(path) as folder:
        artifact = format_.write(model, folder / path.name, WriteOptions(writing.opset))
        files = _commit(artifact.files, path, "")
    return Artifact(files, findings + artifact.findings)


def convert(source: str | Path, target: str | Path, recipe: Recipe = Recipe()) -> Conversion:  # noqa: B008 frozen
    """Convert one file into another and prove it.

    Raises:
        RecastError: refused or failed before anything was written. A result that does not match the source is *not*
            raised: it is written as ``NAME.unverified`` and ``Conversion.passed`` is False.
    """
    path, writing = Path(target), recipe.writing
    reader = source_format(source)
    writer = formats.by_name(writing.to) if writing.to else formats.for_writing(path)
    if not writer.can_write:
        raise BadRecipe(f"{writer.title} cannot be written", str(path), "see 'recast formats'")
    atomic.check_free(path, writing.force)
    clock = _Clock()
    progress.emit("reading")
    model = load(source, recipe.reading)
    clock.lap("read")
    graph = model.clone() if recipe.checking.verify else model
    progress.emit("converting")
    findings = prepare(model, writer, writing)
    clock.lap("passes")
    with atomic.staging(path) as folder:
        artifact = writer.write(model, folder / path.name, WriteOptions(writing.opset))
        clock.lap("write")
        findings += artifact.findings
        report = None
        if recipe.checking.verify:
            progress.emit("verifying")
            report = _prove((reader, Path(source), graph), (writer, artifact, model), recipe)
            clock.lap("verify")
        ending = "" if report is None or report.passed else UNVERIFIED
        files = list(artifact.files)
        if report is not None:
            files.append(_certificate(report, Path(source), artifact, folder, recipe, findings))
        final = _commit(tuple(files), path, ending)
    return Conversion(reader.name, writer.name, final, findings, report, clock.seconds)


def verify(first: str | Path, second: str | Path, checking: Checking = Checking()) -> Report:  # noqa: B008 frozen
    """Run two files in their own runtimes on the same feeds and compare.

    Raises:
        RecastError: a file cannot be read or its runtime is missing.
    """
    from recast.verify import check

    sides = []
    for path in (Path(first), Path(second)):
        format_ = source_format(path)
        sides.append(check.Side(format_.name, format_.open(path), _graph_of(format_, path)))
    try:
        return check.verify(sides[0], sides[1], check.Options(seed=checking.seed, data=checking.data))
    finally:
        for side in sides:
            side.runner.close()


def inspect(source: str | Path, reading: Reading = Reading()) -> Summary:  # noqa: B008 frozen
    """Describe a model: inputs, outputs, layers, operators, sizes."""
    from recast.report.summary import summarise

    return summarise(load(source, reading), source_format(source).name)


def _graph_of(format_: Format, path: Path) -> ir.Model | None:
    return format_.read(path, ReadOptions()) if format_.can_read else None


def _prove(source: tuple[Format, Path, ir.Model], target: tuple[Format, Artifact, ir.Model], recipe: Recipe) -> Report:
    from recast.verify import check

    reader, path, graph = source
    writer, artifact, written = target
    first = check.Side(reader.name, _source_runner(reader, path, recipe.reading), graph)
    try:
        try:
            runner = writer.open(artifact.files[0])
        except MissingDependency as error:
            return check.not_judged(writer.name, error)
        second = check.Side(writer.name, runner, written)
        try:
            return check.verify(first, second, check.Options(seed=recipe.checking.seed, data=recipe.checking.data))
        finally:
            second.runner.close()
    finally:
        if first.runner is not None:
            first.runner.close()


def _source_runner(format_: Format, path: Path, reading: Reading) -> Any:
    """The source's own runtime, or None (then the graph itself is the reference)."""
    try:
        return format_.open_source(path, ReadOptions(reading.inputs, reading.weights, reading.trust))
    except MissingDependency:
        return None


def _certificate(
    report: Report, source: Path, artifact: Artifact, folder: Path, recipe: Recipe, findings: tuple[Finding, ...]
) -> Path:
    from recast.verify import certificate

    path = folder / (artifact.files[0].name + CERTIFICATE)
    certificate.write(path, report, source, artifact.files, recipe.as_dict(), findings)
    return path


def _commit(staged: tuple[Path, ...], target: Path, ending: str) -> tuple[Path, ...]:
    """Rename staged files into the target's folder, the main file last. Names follow the main file's."""
    pairs = [(file, target.parent / (file.name + ending)) for file in staged]
    atomic.commit([*pairs[1:], pairs[0]])
    return tuple(final for _, final in pairs)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
