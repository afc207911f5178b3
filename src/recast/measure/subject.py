"""One model under measurement: its file, what the file says, and how it is run with real numbers in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recast import formats
from recast._util import child
from recast.errors import BadModel, UnsafeModel, UnsupportedOp
from recast.formats._format import Format, ReadOptions, Runner
from recast.measure import coding, size
from recast.measure.coding import Code

if TYPE_CHECKING:
    import onnx_ir as ir

BATCH = 32


@dataclass(frozen=True)
class Subject:
    """A model file.

    Args:
        name: what to call it.
        path: the file.
        trust: allow formats whose own libraries run code from the file.
    """

    name: str
    path: Path
    trust: bool = False
    made: ir.Model | None = field(default=None, compare=False)

    @cached_property
    def format(self) -> Format:
        """The file's format."""
        return formats.of_file(self.path)

    @cached_property
    def graph(self) -> ir.Model | None:
        """What the file says; None where only running it tells: it is code, or has operators that are not read."""
        if self.made is not None:
            return self.made
        try:
            return self.format.read(self.path, ReadOptions(trust=self.trust))
        except (UnsafeModel, UnsupportedOp):
            return None

    @cached_property
    def codes(self) -> Mapping[str, Code]:
        """Scales of quantised inputs and outputs."""
        return coding.codes_of(self.graph) if self.graph is not None else {}

    @cached_property
    def size(self) -> size.Size:
        """Bytes."""
        return size.of(self.path, self.graph)

    @contextmanager
    def running(self, threads: int = 1) -> Iterator[Runner]:
        """The model in its own runtime as that is deployed, with all its optimisations; ``made`` in ONNX Runtime.

        Raises:
            MissingDependency: the runtime is not installed.
        """
        if self.made is not None:
            from recast.measure.calibrate import Graph

            outputs = [v.name or "" for v in self.made.graph.outputs]
            with child.opening(threads=threads), Graph(self.made) as graph, graph.open(outputs, optimise=True) as given:
                yield given
            return
        with child.opening(threads=threads):
            try:
                runner = self.format.open_deployed(self.path)
            except UnsafeModel:  # not written by this process
                if not self.trust:
                    raise
                runner = self.format.open_source(self.path, ReadOptions(trust=True))
        try:
            yield runner
        finally:
            runner.close()

    def feeds(self, runner: Runner, real: Mapping[str, np.ndarray], rows: slice | np.ndarray) -> dict[str, np.ndarray]:
        """Some samples as this model's inputs. Samples are matched by name, or else by position."""
        specs = runner.inputs
        if len(specs) != len(real):
            raise BadModel(f"{len(specs)} inputs, the samples have {len(real)}", str(self.path), "compare like models")
        by_name = {s.name for s in specs} == set(real)
        pairs = [(s, real[s.name]) for s in specs] if by_name else list(zip(specs, real.values(), strict=True))
        return {s.name: coding.as_input(a[rows], s, self.codes) for s, a in pairs}

    def predict(self, runner: Runner, real: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs for all samples, as real numbers: one array (n, …) an output, in the file's order.

        A model with a fixed batch gets that many samples a run, the last run filled up with its last sample.

        Args:
            runner: from ``running``.
            real: samples (n, …) as the original takes them.

        Raises:
            BadModel: samples do not fit the inputs, or an output does not have one row a sample.
        """
        count = min(len(a) for a in real.values())
        fixed = {s.shape[0] for s in runner.inputs if s.shape and isinstance(s.shape[0], int)}
        if len(fixed) > 1:
            raise BadModel("the inputs have different fixed batch sizes", str(self.path), "use --batch dynamic")
        step = int(fixed.pop()) if fixed else BATCH
        parts: list[list[np.ndarray]] = []
        for start in range(0, count, step):
            stop = start + step if fixed or step != BATCH else min(start + step, count)
            rows = np.minimum(np.arange(start, stop), count - 1)
            outputs = runner.run(self.feeds(runner, real, rows))
            parts.append([self._real(s.name, outputs[s.name], len(rows))[: count - start] for s in runner.outputs])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _real(self, name: str, array: np.ndarray, count: int) -> np.ndarray:
        if array.ndim == 0 or len(array) != count:
            raise BadModel(
                f"output '{name}' of shape {list(array.shape)} has no row for each of {count} samples",
                str(self.path),
                "only models whose first output axis is the batch can be scored",
            )
        code = self.codes.get(name)
        if code is not None and array.dtype.kind in "iu":
            return code.decode(array)
        return array.astype(np.float32) if array.dtype.kind not in "iub" else array
