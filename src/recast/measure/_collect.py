"""Child side of ``calibrate``: runs a graph in ONNX Runtime and keeps statistics of its outputs, never the outputs."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast.measure.histogram import Histogram

_TYPES = {"float": "float32", "double": "float64"}


class Session:
    """One graph.

    Args:
        path: the ``.onnx`` file; its outputs are the tensors to look at.
        options: ``optimise`` (default False: the graph runs as it stands), ``threads``.
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime as ort

        ort.set_default_logger_severity(4)
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = int(options.get("threads", 1))
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        settings.enable_cpu_mem_arena = False  # an arena never gives memory back
        settings.enable_mem_pattern = False
        levels = ort.GraphOptimizationLevel
        settings.graph_optimization_level = levels.ORT_ENABLE_ALL if options.get("optimise") else levels.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        except RuntimeError:
            # Its blocked layout (NCHWc) loses a convolution's result that is added to another one's and wanted as well
            # ("Failed to find node output"), where channels fill no block.
            if not options.get("optimise"):
                raise
            settings.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
            self._session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        self.inputs = [_spec(v) for v in self._session.get_inputs()]
        self.outputs = [_spec(v) for v in self._session.get_outputs()]
        self._seen: dict[str, Histogram] = {}
        self._held: dict[str, np.ndarray] = {}
        self._overridable = {v.name for v in self._session.get_overridable_initializers()}

    def hold(self, feeds: dict[str, np.ndarray]) -> tuple[None, dict[str, np.ndarray]]:
        """Use these instead of the adjustable initializers from now on; what this part does not have is ignored."""
        self._held |= {n: a for n, a in feeds.items() if n in self._overridable}
        return None, {}

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Runner.run``."""
        results = self._session.run(None, {**self._held, **feeds})
        return {spec.name: np.asarray(r) for spec, r in zip(self.outputs, results, strict=True)}

    def observe(self, feeds: dict[str, np.ndarray]) -> tuple[None, dict[str, np.ndarray]]:
        """Run once and add the outputs to the statistics."""
        for spec, result in zip(self.outputs, self._session.run(None, {**self._held, **feeds}), strict=True):
            if isinstance(result, np.ndarray) and result.dtype.kind == "f":
                self._seen.setdefault(spec.name, Histogram()).add(result)
        return None, {}

    def result(self, feeds: dict[str, np.ndarray]) -> tuple[list[str], dict[str, np.ndarray]]:
        """The statistics: names, and arrays ``<number>.counts`` and ``<number>.facts`` for each."""
        arrays = {}
        for number, found in enumerate(self._seen.values()):
            arrays[f"{number}.counts"], arrays[f"{number}.facts"] = found.counts, found.facts()
        return list(self._seen), arrays


def _spec(value: Any) -> TensorSpec:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    dims = tuple(d if isinstance(d, int) else str(d or f"{value.name}.{i}") for i, d in enumerate(value.shape))
    return TensorSpec(value.name, _TYPES.get(kind, kind), dims)
