"""A source's graph, and what its runtime and its float64 runs say, kept for further targets of the same source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np
import onnx_ir as ir

from recast.formats._format import Runner

Truth = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # float64 outputs, and their noise


def digest(arrays: Mapping[str, np.ndarray], salt: str = "") -> bytes:
    """One key for a set of arrays: names, types, shapes and content."""
    made = hashlib.sha256(salt.encode())
    for name, array in sorted(arrays.items()):
        made.update(f"{name} {array.dtype} {array.shape}".encode())
        made.update(np.ascontiguousarray(array).tobytes())
    return made.digest()


class Memory:
    """For one source, read with one set of options (a context manager: it ends the source's runtime).

    Example:
        >>> with Memory() as memory:
        ...     for target in ("net.onnx", "net.tflite"):
        ...         recast.convert("net.keras", target, recipe, memory)
    """

    def __init__(self) -> None:
        self.truths: dict[bytes, Truth] = {}
        self.runner: _Remembering | None = None
        self._graph: ir.Model | None = None

    def reading(self, read: Callable[[], ir.Model]) -> ir.Model:
        """The source's graph, read once; the caller may change what it gets (weights are shared)."""
        if self._graph is None:
            self._graph = read()
        copy = self._graph.clone()
        copy.meta.update(self._graph.meta)  # the reader's findings
        return copy

    def remembering(self, opened: Callable[[], Runner | None]) -> Runner | None:
        """The source's runner, opened once; its answers are kept."""
        if self.runner is None:
            runner = opened()
            self.runner = _Remembering(runner) if runner is not None else None
        return self.runner

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.runner is not None:
            self.runner.end()
            self.runner = None


class _Remembering:
    """A runner that runs each feed once."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self._known = runner, dict[bytes, dict[str, np.ndarray]]()
        self.inputs, self.outputs = runner.inputs, runner.outputs

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Runner``."""
        key = digest(feeds)
        if key not in self._known:
            self._known[key] = self._runner.run(feeds)
        return self._known[key]

    def close(self) -> None:
        """Others may still ask."""

    def end(self) -> None:
        """Release the runtime."""
        self._runner.close()
