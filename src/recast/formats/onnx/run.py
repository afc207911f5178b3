"""The judge of ONNX files: ONNX Runtime on the CPU. Runs in a child process (``_util/worker.py``)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast.errors import MissingDependency, NoKernel

_TYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bfloat16": "bfloat16", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip
_LEVELS = ("disable_all", "basic", "extended", "all")


def preload() -> None:
    """Import ONNX Runtime."""
    import onnxruntime  # noqa: F401


class Session:
    """One model in ONNX Runtime.

    Args:
        path: the ``.onnx`` file.
        options: ``threads`` (default 1), ``outputs`` (extra tensors), ``optimization`` (``disable_all`` … ``all``; by
            default ``all``, but ``disable_all`` for quantised models: on x86-64 without VNNI the fused integer kernels
            saturate their 16-bit sums, so what they compute depends on the machine, and a MatMul with 4-bit weights is
            fused to one that rounds its float input to 8 bits).
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MissingDependency(
                "onnxruntime is missing or broken", str(error), "pip install onnxruntime"
            ) from error
        ort.set_default_logger_severity(4)
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = int(options.get("threads", 1))
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        level = _LEVELS.index(options.get("optimization") or ("disable_all" if _quantised(Path(path)) else "all"))
        settings.graph_optimization_level = list(ort.GraphOptimizationLevel.__members__.values())[level]
        model: str | bytes = path
        if options.get("outputs"):
            model = _with_outputs(Path(path), options["outputs"])
        try:
            self._session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
            fix = "convert it to .onnx: what Recast knows to be missing it writes as other operators"
            raise NoKernel(f"ONNX Runtime lacks an operator: {str(error)[:500]}", path, fix) from error
        self.inputs = [_spec(v) for v in self._session.get_inputs()]
        self.outputs = [_spec(v) for v in self._session.get_outputs()]

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Runner.run``."""
        results = self._session.run(None, feeds)
        return {spec.name: np.asarray(r) for spec, r in zip(self.outputs, results, strict=True)}

    def latency(
        self, feeds: dict[str, np.ndarray], repeats: int = 50, warmup: int = 5
    ) -> tuple[list[float], dict[str, np.ndarray]]:
        """Seconds of each of ``repeats`` runs after ``warmup`` ones."""
        times = []
        for turn in range(warmup + repeats):
            start = time.perf_counter()
            self._session.run(None, feeds)
            if turn >= warmup:
                times.append(time.perf_counter() - start)
        return times, {}


def _quantised(path: Path) -> bool:
    return b"uantizeLinear" in path.read_bytes()  # Quantize or Dequantize


def _spec(value: Any) -> TensorSpec:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    unnamed = (None, "", "?")  # a question mark stands for any size, not twice for the same one
    dims = tuple(f"{value.name}.{axis}" if d in unnamed else d for axis, d in enumerate(value.shape))
    return TensorSpec(value.name, _TYPES.get(kind, kind), dims)


def _with_outputs(path: Path, names: list[str]) -> bytes:
    import onnx

    model = onnx.load(str(path))
    have = {v.name for v in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in have)
    data: bytes = model.SerializeToString()
    return data
