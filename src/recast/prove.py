"""The proof of a conversion: both files in their own runtimes, the verdict as data and as a file beside the output."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recast import formats
from recast._util import pages
from recast.errors import BadModel, BadRecipe, MissingDependency, NoKernel, UnsafeModel
from recast.formats._format import Artifact, Format, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import onnx_ir as ir

    from recast.recipe import Checking
    from recast.verification.check import Side, Writer
    from recast.verification.memory import Memory
    from recast.verification.outcome import Report

Verdict = Literal["verified", "failed", "not judged", "not verified"]
Prepare = Callable[["ir.Model", Format], object]
_LABELS = {"y", "label", "labels"}


@dataclass(frozen=True)
class Source:
    """What was read: its format, where it lies, how, and the graph as it was before any pass (None: not read).

    ``memory``: what its runtime said before, for another target.
    """

    format: Format
    path: Path
    options: ReadOptions
    graph: ir.Model | None
    memory: Memory | None = None


@dataclass(frozen=True)
class Target:
    """What was written, and how a part of the graph would be written again (to find a wrong operator)."""

    format: Format
    artifact: Artifact
    graph: ir.Model
    prepare: Prepare


def prove(source: Source, target: Target, checking: Checking) -> tuple[Verdict, Report]:
    """Run both sides on the same feeds.

    Returns:
        ``not judged`` if the target's runtime is not installed (the report says so), else the verdict.
    """
    from recast.verification import check
    from recast.verification.outcome import Note, Report

    try:
        runner = target.format.open(target.artifact.files[0])
    except MissingDependency as error:
        note = Note(f"{target.format.title} cannot be judged here: {error.what}", error.fix, "warning")
        return "not judged", Report(source.path.name, target.artifact.files[0].name, notes=[note])
    name = target.artifact.files[0].name
    with tempfile.TemporaryDirectory(prefix="recast-") as folder:
        writer = _writer(target, Path(folder))
        options = check.Options(checking.seed, samples(checking.data), writer, source.memory)
        second = check.Side(name, runner, target.graph, runtime_of(target.format))
        first = check.Side(source.path.name, source_runner(source), source.graph, runtime_of(source.format))
        try:
            report = check.verify(first, second, options)
        finally:
            runner.close()
            if first.runner is not None:
                first.runner.close()
    return ("verified" if report.passed else "failed"), report


def prove_files(first: Path, second: Path, checking: Checking, trust: bool = False) -> Report:
    """Compare any two files, each in its own runtime.

    Raises:
        UnsafeModel: a file is code that this process did not write, and ``trust`` is not given.
        RecastError: a file cannot be read, or its runtime is missing.
    """
    from recast.verification import check

    sides: list[Side] = []
    try:
        for path in (first, second):
            format_ = formats.of_file(path)
            graph = _graph(format_, path, trust) if format_.can_read else None
            if graph is not None and not len(graph.graph) and not graph.graph.inputs:
                raise BadRecipe("a file of weights has no graph to run", str(path), "convert it to compare tensors")
            runner = format_.open_source(path, ReadOptions(trust=trust))
            sides.append(check.Side(path.name, runner, graph, runtime_of(format_)))
        return check.verify(sides[0], sides[1], check.Options(checking.seed, samples(checking.data)))
    finally:
        for side in sides:
            if side.runner is not None:
                side.runner.close()


def _graph(format_: Format, path: Path, trust: bool) -> ir.Model | None:
    """What the file says, or None where only running its code would tell."""
    try:
        return format_.read(path, ReadOptions(trust=trust))
    except UnsafeModel:
        return None


def different_weights(first: ir.Model, second: ir.Model) -> list[str]:
    """Names of the tensors that are not the same in both, bit by bit; of one tensor alone (``.npy``) not the name."""
    a, b = first.graph.initializers, second.graph.initializers
    if len(a) == len(b) == 1:
        (name, one), (other,) = next(iter(a.items())), b.values()
        return [] if _same(one, other) else [name]
    return sorted({*a.keys() ^ b.keys(), *(n for n in a.keys() & b.keys() if not _same(a[n], b[n]))})


def _same(first: ir.Value, second: ir.Value) -> bool:
    a, b = first.const_value, second.const_value
    if a is None or b is None:
        return a is b
    same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    pages.used(a.nbytes + b.nbytes)
    return same


def samples(path: Path | None) -> Mapping[str, np.ndarray]:
    """Real samples of ``--data``; labels (``y``, ``labels``) are left out.

    Raises:
        BadModel: the file is no ``.npz`` or ``.npy``, or holds no samples.
    """
    if path is None:
        return {}
    held = formats.by_name("arrays").read(path, ReadOptions()).graph.initializers
    arrays = {n: v.const_value.numpy() for n, v in held.items() if v.const_value is not None and n not in _LABELS}
    if not arrays:
        raise BadModel("no samples in the data file", str(path), "store arrays named as the model's inputs")
    return arrays


def source_runner(source: Source) -> Runner | None:
    """The source's own runtime; None where it is not installed or lacks an operator (the graph is the reference)."""

    def opened() -> Runner | None:
        try:
            return source.format.open_source(source.path, source.options)
        except (MissingDependency, NoKernel):
            return None

    return source.memory.remembering(opened) if source.memory is not None else opened()


def runtime_of(format_: Format) -> str:
    """``keras 3.15.1``; the name alone where the version is unknown."""
    package = format_.judge[0].partition(".")[0]
    from importlib import metadata  # it loads the standard library's e-mail parser

    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:  # installed under another name, such as tensorflow-cpu
        found = metadata.packages_distributions().get(package, [])
        return f"{package} {metadata.version(found[0])}" if found else package


def _writer(target: Target, folder: Path) -> Writer:
    """Write any part of the graph as the target was written, and open it."""
    from recast.verification import check

    count = 0

    def write(graph: ir.Model) -> Side:
        nonlocal count
        count += 1
        target.prepare(graph, target.format)
        path = folder / f"part{count}" / target.artifact.files[0].name
        path.parent.mkdir()
        artifact = target.format.write(graph, path, WriteOptions())
        return check.Side(path.name, target.format.open(artifact.files[0]), graph)

    return write
