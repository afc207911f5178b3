"""OpenVINO's model conversion: ONNX, TFLite, SavedModels, TorchScript and exported programs to OpenVINO IR."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.routes.child.job import Job

TITLE = "OpenVINO, convert_model"
TOOL = "openvino"
PACKAGES = ("openvino==2026.4.1",)
NEEDS = ("openvino",)
EDGES = (
    ("onnx", "openvino"), ("tflite", "openvino"), ("savedmodel", "openvino"), ("torch", "openvino"),
    ("torchscript", "openvino"),
)  # fmt: skip
OPTIONS = ("inputs",)


def convert(job: Job) -> list[str]:
    """See ``tools/__init__.py``."""
    tool: Any = importlib.import_module("openvino")
    if job.kind in ("torch", "torchscript"):
        source: Any = job.source_model()
        model = tool.convert_model(source.model, example_input=source.examples())
        _name(model, source)
    else:
        shapes = [tuple(d if isinstance(d, int) else -1 for d in s) for s in job.inputs.values()]
        named = {n: s for n, s in zip(job.inputs, shapes)}  # noqa: B905, C416 Python 3.9
        positional = any(n.startswith("#") for n in named)
        model = tool.convert_model(job.source, input=(shapes if positional else named) or None)
    tool.save_model(model, job.target, compress_to_fp16=False)
    return []


def _name(model: Any, source: Any) -> None:
    """PyTorch's inputs have the names and shapes that were asked for."""
    shapes = {}
    for port, (name, _, shape) in zip(model.inputs, source.inputs):  # noqa: B905 Python 3.9
        port.set_names({name})
        shapes[port] = [d if isinstance(d, int) else -1 for d in shape]
    model.reshape(shapes)
    for port, (name, _, _) in zip(model.outputs, source.outputs):  # noqa: B905 Python 3.9
        port.set_names({name})
