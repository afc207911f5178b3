"""What the tests compare with: MindSpore in one process for all tests, and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented

from recast._util.child import RemoteRunner
from recast.errors import RuntimeDied
from recast.formats import by_name
from recast.formats._format import WriteOptions

RUN = "recast.formats.mindspore.run"


class Judge:
    """Runs ``.mindir`` files in MindSpore, one process for all."""

    def __init__(self) -> None:
        self._runner: RemoteRunner | None = None

    def run(self, path: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            if self._runner is None:
                self._runner = RemoteRunner(RUN, path)
            else:
                self._runner.call("load", path=str(path))
            return self._runner.run(feeds)
        except RuntimeDied as error:
            if "refused" not in error.what:
                self.close()
            raise

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def written(model: ir.Model, path: Path) -> Path:
    """Write a model as MindIR and check that the format recognises it."""
    by_name("mindspore").write(model, path, WriteOptions())
    assert by_name("mindspore").sniff(path, path.read_bytes()[:4096])
    return path


def reference(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ONNX Runtime on the graph; ONNX's own evaluator for operators that it lacks."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    names = [o.name or "" for o in model.graph.outputs]
    proto = ir.to_proto(model)
    try:
        session = ort.InferenceSession(proto.SerializeToString(), options)
    except NotImplemented:  # a function that ONNX Runtime lacks
        session = ReferenceEvaluator(proto)
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def assert_same(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float = 2e-5) -> None:
    """Same names, shapes and element types; whole numbers exactly, others to a tolerance of the largest value."""
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        assert got[name].shape == array.shape, f"{name}: {got[name].shape} is not {array.shape}"
        assert got[name].dtype == array.dtype, f"{name}: {got[name].dtype} is not {array.dtype}"
        if array.dtype.kind in "biu":
            np.testing.assert_array_equal(got[name], array)
        else:
            finite = np.abs(array[np.isfinite(array)])
            scale = max(1.0, float(finite.max())) if finite.size else 1.0
            np.testing.assert_allclose(got[name], array, rtol=tolerance, atol=tolerance * scale)
