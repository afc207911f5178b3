"""tf2onnx: Keras models, SavedModels, frozen graphs and TFLite files to ONNX."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.routes.child.job import Job

TITLE = "tf2onnx (ONNX project)"
TOOL = "tf2onnx"
PACKAGES = (
    "tf2onnx==1.17.0",
    "tensorflow==2.21.0",
    "keras==3.15.1",
    "onnx==1.23.2",
    "protobuf==7.36.2",
    "h5py==3.14.0",
)
NEEDS = ("tensorflow", "tf2onnx")
EDGES = (("keras", "onnx"), ("savedmodel", "onnx"), ("tflite", "onnx"))
OPTIONS = ("opset",)
_OPSET = 18  # the newest that tf2onnx writes


def convert(job: Job) -> list[str]:
    """See ``tools/__init__.py``."""
    tool: Any = importlib.import_module("tf2onnx")
    opset = job.opset or _OPSET
    if job.kind == "keras":
        function, specs = job.source_model().signature()  # type: ignore[attr-defined]
        proto, _ = tool.convert.from_function(function, input_signature=specs, opset=opset)
    elif job.kind == "tflite":
        proto, _ = tool.convert.from_tflite(job.source, opset=opset)
    elif os.path.isdir(job.source):
        _saved_model(tool, job, opset)
        return []
    else:
        proto = _frozen(tool, job.source, opset)
    with open(job.target, "wb") as file:
        file.write(proto.SerializeToString())
    return []


def _saved_model(tool: Any, job: Job, opset: int) -> None:
    """As its command line does."""
    arguments = ["--saved-model", job.source, "--output", job.target, "--opset", str(opset)]
    before, sys.argv = sys.argv, ["tf2onnx", *arguments]
    try:
        tool.convert.main()
    finally:
        sys.argv = before


def _frozen(tool: Any, path: str, opset: int) -> Any:
    """A frozen graph does not say what its outputs are: the tensors that nobody uses."""
    tf = importlib.import_module("tensorflow")
    graph = tf.compat.v1.GraphDef()
    with open(path, "rb") as file:
        graph.ParseFromString(file.read())
    used = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
    inputs = [f"{n.name}:0" for n in graph.node if n.op == "Placeholder"]
    outputs = [f"{n.name}:0" for n in graph.node if n.name not in used and n.op not in ("Const", "NoOp", "Placeholder")]
    return tool.convert.from_graph_def(graph, input_names=inputs, output_names=outputs, opset=opset)[0]
