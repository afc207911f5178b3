"""The map of the tool: read → passes → write → verify → certificate.

``convert`` is the whole story; each step is one call into its room:

    formats.of_file(src).read      the file's content becomes the graph dialect
    passes.run                     what the target wishes: layout, fusing, batch, half precision
    formats.for_writing(dst).write written into a private folder beside the target
    prove.prove                    both files run in their own runtimes, on the same feeds
    _certificate, commit           the verdict lies beside the output; a failed one is called NAME.unverified
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recast import formats, prove
from recast._util import atomic, child, collector, progress
from recast._util.optional import have
from recast.errors import BadRecipe
from recast.formats._format import Artifact, Finding, Format, ReadOptions, WriteOptions
from recast.graph.finding import attached
from recast.prove import Verdict
from recast.recipe import Checking, Reading, Recipe, Writing

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.report.summary import Summary
    from recast.verification.memory import Memory
    from recast.verification.outcome import Report

UNVERIFIED = ".unverified"
CERTIFICATE = ".recast.json"


@dataclass(frozen=True)
class Conversion:
    """What ``convert`` did.

    Attributes:
        files: what was written, the main file first, then companions and the certificate.
        findings: everything that was changed, approximated or left out on the way.
        verdict: ``verified``; ``failed``: the files are called ``NAME.unverified``; ``not judged``: the target's
            runtime is not installed; ``not verified``: the caller switched it off.
        report: the proof, or None if verification was switched off.
        seconds: time of each step.
    """

    source_format: str
    target_format: str
    files: tuple[Path, ...]
    findings: tuple[Finding, ...]
    verdict: Verdict
    report: Report | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong; ``verdict`` tells how much was looked at."""
        return self.verdict != "failed"


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
    reader = source_format(source)
    if reading.task and not (reader.name == "torch" and Path(source).is_dir()):
        raise BadRecipe(f"task '{reading.task}' is for a Hugging Face folder", str(source), "leave it out")
    with collector.rarely():
        model = reader.read(Path(source), _read_options(reading))
    if reading.inputs:
        from recast.passes.normalise import set_inputs

        set_inputs(model, reading.inputs, str(source))
    return model


def _read_options(reading: Reading) -> ReadOptions:
    return ReadOptions(reading.inputs, reading.weights, reading.trust, reading.task)


def prepare(model: ir.Model, target: Format, writing: Writing, suffix: str = "") -> tuple[Finding, ...]:
    """Run the passes that the target (for files of this suffix) and the recipe wish for; the model is changed."""
    from recast import passes

    names = list(target.passes_for(suffix.lower()))
    if writing.batch:
        names.insert(0, "set_batch")
    if writing.dtype == "float16":
        names.append("to_float16")
    batch: int | str | None = int(writing.batch) if writing.batch.isdigit() else ("batch" if writing.batch else None)
    options = passes.PassOptions(
        *(target.layout, writing.io_layout, batch, target.rnn_batch_major, target.keep_functions, target.native),
        keep_tied=target.keep_tied,
    )
    return tuple(passes.run(model, names, options))


def save(model: ir.Model, target: str | Path, writing: Writing = Writing()) -> Artifact:  # noqa: B008 frozen
    """Write a model in the format of the target's suffix (or ``writing.to``); the model is used up.

    Raises:
        UnsupportedOp, UnsupportedType: what the target cannot express, all of it.
        OutputExists, OutputFailed: nothing was written.
    """
    path = Path(target)
    format_ = formats.by_name(writing.to) if writing.to else formats.for_writing(path)
    _check_free(path, format_, writing)
    findings = prepare(model, format_, writing, path.suffix)
    with atomic.staging(path) as folder:
        artifact = format_.write(model, folder / path.name, WriteOptions(writing.opset))
        files = commit(artifact.files, path, "")
    return Artifact(files, findings + artifact.findings)


def convert(
    source: str | Path,
    target: str | Path,
    recipe: Recipe = Recipe(),  # noqa: B008 frozen
    memory: Memory | None = None,
) -> Conversion:
    """Convert one file into another and prove it.

    Args:
        source: model file, folder, or ``package.module:factory``.
        target: the output; its suffix chooses the format.
        recipe: how.
        memory: for several targets of one source: it is read once, and what its runtime says is asked once.

    Raises:
        RecastError: refused or failed before anything was written. A result that does not match the source is *not*
            raised: it is written as ``NAME.unverified`` and ``Conversion.passed`` is False.
    """
    path, writing = Path(target), recipe.writing
    reader = source_format(source)
    writer = formats.by_name(writing.to) if writing.to else formats.for_writing(path)
    _check_free(path, writer, writing)
    wanted = [writer] if recipe.checking.verify or path.suffix.lower() in writer.exported else []
    if recipe.checking.verify and Path(source).exists():
        wanted.append(reader)
    judges = [f"recast.formats.{f.name}.run" for f in wanted if f.judge[0] and have(f.judge[0].partition(".")[0])]
    with child.started(judges), collector.rarely():
        return _convert(source, (reader, writer), path, recipe, memory)


def _check_free(path: Path, format_: Format, writing: Writing) -> None:
    """The output and the file that lies beside it under the same name are not there yet."""
    beside = format_.companions.get(path.suffix.lower())
    for name in (path, *([path.with_suffix(beside)] if beside else [])):
        atomic.check_free(name, writing.force)


def _convert(
    source: str | Path, ends: tuple[Format, Format], path: Path, recipe: Recipe, memory: Memory | None
) -> Conversion:
    (reader, writer), options, writing = ends, _read_options(recipe.reading), recipe.writing
    clock = _Clock()
    progress.emit("reading")
    model = memory.reading(lambda: load(source, recipe.reading)) if memory else load(source, recipe.reading)
    found = attached(model)
    clock.lap("read")
    if not writer.has_graph or not (len(model.graph) or model.graph.inputs):
        return _convert_weights(model, (reader, writer), (str(source), path), clock)
    graph = model.clone() if recipe.checking.verify else model
    original = prove.Source(reader, Path(source), options, graph, memory)
    progress.emit("converting")
    findings = found + prepare(model, writer, writing, path.suffix)
    clock.lap("passes")
    with atomic.staging(path) as folder:
        artifact = writer.write(model, folder / path.name, WriteOptions(writing.opset))
        clock.lap("write")
        findings += artifact.findings
        verdict: Verdict = "not verified"
        report, files = None, list(artifact.files)
        if recipe.checking.verify:
            progress.emit("verifying")
            again = partial(prepare, writing=writing, suffix=path.suffix)
            made = prove.Target(writer, artifact, model, again)
            verdict, report = prove.prove(original, made, recipe.checking)
            files.append(_certificate((verdict, report), original, artifact, recipe, findings))
            clock.lap("verify")
        final = commit(tuple(files), path, UNVERIFIED if verdict == "failed" else "")
    return Conversion(reader.name, writer.name, final, findings, verdict, report, clock.seconds)


def _convert_weights(
    model: ir.Model, ends: tuple[Format, Format], paths: tuple[str, Path], clock: _Clock
) -> Conversion:
    """Weights without a graph: written, read back, compared bit by bit."""
    (reader, writer), (source, path) = ends, paths
    if writer.has_graph:
        raise BadRecipe(
            "the source holds weights without a graph",
            source,
            "name the architecture (package.module:factory --weights FILE), or write .safetensors or .npz",
        )
    with atomic.staging(path) as folder:
        artifact = writer.write(model, folder / path.name, WriteOptions())
        clock.lap("write")
        different = prove.different_weights(model, writer.read(artifact.files[0], ReadOptions()))
        clock.lap("verify")
        final = commit(artifact.files, path, UNVERIFIED if different else "")
    count = len(model.graph.initializers)
    told = f"{len(different)} tensors differ: {', '.join(different[:5])}" if different else f"{count} tensors bit-equal"
    findings = (*attached(model), *artifact.findings, Finding(told, path.name, "warning" if different else "info"))
    verdict: Verdict = "failed" if different else "verified"
    return Conversion(reader.name, writer.name, final, findings, verdict, None, clock.seconds)


def verify(
    first: str | Path,
    second: str | Path,
    checking: Checking = Checking(),  # noqa: B008 frozen
    trust: bool = False,
) -> Report:
    """Run two files in their own runtimes on the same feeds and compare. ``trust`` allows ``.py`` and ``.pt2``.

    Raises:
        RecastError: a file cannot be read or its runtime is missing.
    """
    return prove.prove_files(Path(first), Path(second), checking, trust)


def inspect(source: str | Path, reading: Reading = Reading()) -> Summary:  # noqa: B008 frozen
    """Describe a model: inputs, outputs, layers, operators, sizes."""
    from recast.report.summary import summarise

    return summarise(load(source, reading), source_format(source).name)


def _certificate(
    proof: tuple[Verdict, Report], source: prove.Source, artifact: Artifact, recipe: Recipe, findings: Sequence[Finding]
) -> Path:
    from recast.verification import certificate

    verdict, report = proof
    read = [source.path] if source.path.exists() else []
    read += [source.options.weights] if source.options.weights else []
    data = certificate.certificate(report, (read, artifact.files), recipe.as_dict(), [vars(f) for f in findings])
    path = artifact.files[0].with_name(artifact.files[0].name + CERTIFICATE)
    path.write_text(certificate.certificate_text(data | {"verdict": verdict}), encoding="utf-8")
    return path


def commit(staged: tuple[Path, ...], target: Path, ending: str) -> tuple[Path, ...]:
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
