"""The judge of OpenVINO IR: OpenVINO's CPU plugin. Runs in a child process (``_util/worker.py``)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel, BadShape, UnsupportedType
from recast.formats.openvino.names import TYPES, distinct, first_name


def preload() -> Any:
    """Import OpenVINO.

    Raises:
        MissingDependency: it is not installed.
    """
    return need("openvino", "openvino")


class Session:
    """One model in OpenVINO; inputs and outputs are called as the reader calls them.

    Args:
        path: the ``.xml`` file.
        options: ``threads`` (default 1); ``optimization``: ``all`` lets OpenVINO choose its precision (bfloat16 where
            the processor has it), otherwise it computes in float32.

    Raises:
        BadModel: OpenVINO refuses the file.
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self._ov = preload()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": int(options.get("threads", 1)),
            "ENABLE_CPU_PINNING": False,
        }
        if options.get("optimization") != "all":
            settings |= {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
        try:
            core = self._ov.Core()
            model = core.read_model(path)
            self._compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # its plugins raise anything
            raise BadModel(f"OpenVINO refuses the file: {str(error)[:500]}", path) from error
        self._path = path
        self._request = self._compiled.create_infer_request()
        self.inputs = _specs(model.inputs, [p.get_node().friendly_name for p in model.inputs], path)
        producers = [p.get_node().input_value(0).get_node().friendly_name for p in model.outputs]
        self.outputs = _specs(model.outputs, producers, path)

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Runner.run``.

        Raises:
            BadShape: a feed is missing.
        """
        self._request.infer(self._tensors(feeds))
        tensors = [self._request.get_output_tensor(i) for i in range(len(self.outputs))]
        return {s.name: _array(s, t) for s, t in zip(self.outputs, tensors, strict=True)}

    def latency(
        self, feeds: dict[str, np.ndarray], repeats: int = 50, warmup: int = 5
    ) -> tuple[list[float], dict[str, np.ndarray]]:
        """Seconds of each of ``repeats`` runs after ``warmup`` ones."""
        tensors = self._tensors(feeds)
        times = []
        for turn in range(warmup + repeats):
            start = time.perf_counter()
            self._request.infer(tensors, share_inputs=True, share_outputs=True)
            if turn >= warmup:
                times.append(time.perf_counter() - start)
        return times, {}

    def _tensors(self, feeds: dict[str, np.ndarray]) -> dict[int, Any]:
        missing = [s.name for s in self.inputs if s.name not in feeds]
        if missing:
            raise BadShape(f"no data for {', '.join(missing)}", self._path, "give one array for every input")
        return {i: self._tensor(s, feeds[s.name]) for i, s in enumerate(self.inputs)}

    def _tensor(self, spec: TensorSpec, array: np.ndarray) -> Any:
        array = np.ascontiguousarray(array).reshape(array.shape)
        if spec.dtype != "bfloat16":
            return self._ov.Tensor(array)
        tensor = self._ov.Tensor(self._ov.Type.bf16, self._ov.Shape(list(array.shape)))
        tensor.data.view(np.uint16)[...] = array.view(np.uint16)
        return tensor


def _array(spec: TensorSpec, tensor: Any) -> np.ndarray:
    data = np.array(tensor.data)
    if spec.dtype != "bfloat16":
        return data
    import ml_dtypes

    return data.view(ml_dtypes.bfloat16)


def _specs(ports: list[Any], otherwise: list[str], path: str) -> list[TensorSpec]:
    names = distinct([first_name(p.get_names()) or o for p, o in zip(ports, otherwise, strict=True)])
    return [_spec(n, p, path) for n, p in zip(names, ports, strict=True)]


def _spec(name: str, port: Any, path: str) -> TensorSpec:
    kind = port.get_element_type().get_type_name()
    if kind not in TYPES:
        raise UnsupportedType(f"'{name}' is of OpenVINO's type {kind}", path, "inputs and outputs are plain numbers")
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        raise BadModel(f"'{name}' has no fixed number of dimensions", path, "fix it with OpenVINO's reshape")
    dims = tuple(f"{name}.{axis}" if d.is_dynamic else d.get_length() for axis, d in enumerate(shape))
    return TensorSpec(name, TYPES[kind], dims)
