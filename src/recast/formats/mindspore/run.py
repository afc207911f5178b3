"""MindSpore as judge: loads a ``.mindir`` and runs it on the CPU. Imported in a child process only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast.formats.mindspore.signature import signature

_threads: int | None = None  # of this process


def preload() -> None:
    """Import MindSpore."""
    import mindspore  # noqa: F401


class Session:
    """One loaded file. ``load`` changes to another file without starting MindSpore again."""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        import mindspore

        mindspore.set_context(mode=mindspore.GRAPH_MODE, device_target="CPU")
        global _threads
        if "threads" in options and _threads is None:  # it can be set once in a process; the next session asks the same
            _threads = int(options["threads"])
            mindspore.device_context.cpu.op_tuning.threads_num(_threads)
        self._ms = mindspore
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        self._open(path)

    def _open(self, path: str) -> None:
        self.inputs, self.outputs = signature(Path(path))
        graph = self._ms.load(path)
        if graph is None:
            raise ValueError("mindspore.load gave nothing back")
        self._cell = self._ms.nn.GraphCell(graph)

    def load(self, feeds: dict[str, np.ndarray], path: str) -> tuple[Any, dict[str, np.ndarray]]:
        """Change to another file; gives its specs."""
        self._open(path)
        return {"inputs": [s.as_list() for s in self.inputs], "outputs": [s.as_list() for s in self.outputs]}, {}

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: arrays by name in, arrays by name out."""
        result = self._cell(*self._tensors(feeds))
        flat = _flat(result)
        if len(flat) != len(self.outputs):
            raise ValueError(f"{len(flat)} outputs came back, {len(self.outputs)} are declared")
        return {s.name: np.asarray(t.asnumpy()) for s, t in zip(self.outputs, flat, strict=True)}

    def latency(
        self, feeds: dict[str, np.ndarray], repeats: int = 50, warmup: int = 5
    ) -> tuple[list[float], dict[str, np.ndarray]]:
        """Seconds of each of ``repeats`` runs after ``warmup`` ones; a run ends when its outputs are there."""
        tensors = self._tensors(feeds)
        times = []
        for turn in range(warmup + repeats):
            start = time.perf_counter()
            for tensor in _flat(self._cell(*tensors)):
                tensor.asnumpy()
            if turn >= warmup:
                times.append(time.perf_counter() - start)
        return times, {}

    def _tensors(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        arrays = [feeds[s.name] for s in self.inputs]
        return [self._ms.Tensor(np.ascontiguousarray(a).reshape(a.shape)) for a in arrays]


def _flat(result: Any) -> list[Any]:
    if isinstance(result, (tuple, list)):
        return [t for r in result for t in _flat(r)]
    return [result]
