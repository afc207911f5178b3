"""Run a graph that is in memory: ONNX Runtime in this process, float32 as it stands, no file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util.child import TensorSpec
from recast.errors import NoKernel, RuntimeRefused
from recast.verification.oracle import Oracle, OracleUnavailable

_INLINE_BYTES = 1_500_000_000  # protobuf ends at 2 GiB; larger graphs go through a temporary file


class GraphRunner:
    """A ``Runner`` over a graph in the dialect.

    Args:
        model: the graph (standard operators only).
        optimise: let ONNX Runtime fuse and fold.
        threads: threads inside an operator.

    Raises:
        NoKernel: ONNX Runtime has no implementation of an operator.
        RuntimeRefused: ONNX Runtime refuses the graph.
    """

    def __init__(self, model: ir.Model, optimise: bool = True, threads: int = 1) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        try:
            self._session: Any = _open(ort, model, options)
        except Exception as error:  # ONNX Runtime raises many kinds
            lacking = "NOT_IMPLEMENTED" in str(error)
            kind, how = (NoKernel, "lacks an operator") if lacking else (RuntimeRefused, "refused the graph")
            raise kind(f"ONNX Runtime {how}: {str(error)[:500]}", model.graph.name or "") from error
        self.inputs = _specs(model.graph.inputs)
        self.outputs = _specs(model.graph.outputs)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Raises:
            RuntimeRefused: ONNX Runtime refuses these inputs.
        """
        names = [o.name for o in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except Exception as error:  # ONNX Runtime raises many kinds
            raise RuntimeRefused(f"ONNX Runtime refused the inputs: {str(error)[:500]}") from error

    def close(self) -> None:
        """Release the session."""
        self._session = None


class KernelRunner:
    """A ``Runner`` over a graph that ONNX Runtime has no kernels for: the float64 run's kernels, in the graph's types.

    Raises:
        OracleUnavailable: they do not know all operators either.
    """

    def __init__(self, model: ir.Model) -> None:
        self._oracle = Oracle(model)
        self.inputs, self.outputs = _specs(model.graph.inputs), _specs(model.graph.outputs)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Raises:
            RuntimeRefused: a variant of an operator is not known.
        """
        try:
            found = self._oracle.run(feeds, exact=False)
        except OracleUnavailable as error:
            raise RuntimeRefused(str(error)) from error
        return {
            s.name: found[s.name].astype(s.dtype or found[s.name].dtype) for s in self.outputs
        }  # halves are widened

    def close(self) -> None:
        """Nothing is held."""


def _open(ort: Any, model: ir.Model, options: Any) -> Any:
    size = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
    if size < _INLINE_BYTES:
        return ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        ir.save(model, path, external_data="graph.data")
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _specs(values: Sequence[ir.Value]) -> tuple[TensorSpec, ...]:
    specs = []
    for value in values:
        dtype = value.dtype.numpy().name if value.dtype is not None else ""
        dims: list[int | str] = []
        for axis, dim in enumerate(value.shape or ()):
            dims.append(int(dim) if isinstance(dim, int) else (dim.value or f"{value.name}_{axis}"))
        specs.append(TensorSpec(value.name or "", dtype, tuple(dims)))
    return tuple(specs)


def perm_of(value: ir.Value) -> tuple[int, ...] | None:
    """The permutation that a layout pass noted on a graph input or output (``new = transpose(old, perm)``)."""
    from recast.graph import PERM

    text = value.metadata_props.get(PERM)
    return tuple(int(p) for p in text.split(",")) if text else None
