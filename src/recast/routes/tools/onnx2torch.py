"""onnx2torch: an ONNX graph to a PyTorch module, kept as an exported program (``.pt2``)."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.routes.child.job import Job

TITLE = "onnx2torch (ENOT)"
TOOL = "onnx2torch"
PACKAGES = ("onnx2torch==1.5.15", "torch==2.13.0", "torchvision==0.28.0", "onnx==1.23.2", "protobuf==7.36.2")
NEEDS = ("torch", "onnx2torch")
EDGES = (("onnx", "torch"),)
TARGETS = {"torch": (".pt2",)}  # a module without source cannot be written as .py
OPTIONS = ()
_SIZES = (3, 5, 7, 11, 13)  # of dynamic dimensions while tracing


def convert(job: Job) -> list[str]:
    """See ``tools/__init__.py``."""
    torch: Any = importlib.import_module("torch")
    onnx: Any = importlib.import_module("onnx")
    _vision()
    proto = onnx.load(job.source)
    module = importlib.import_module("onnx2torch").convert(proto).eval()
    known = {tensor.name for tensor in proto.graph.initializer}
    inputs = [_spec(onnx, value) for value in proto.graph.input if value.name not in known]
    outputs = [_spec(onnx, value) for value in proto.graph.output]
    sizes: dict[str, int] = {}
    examples = []
    for _, dtype, shape in inputs:
        dims = [d if isinstance(d, int) else sizes.setdefault(d, _SIZES[len(sizes) % 5]) for d in shape]
        examples.append(torch.zeros(dims, dtype=getattr(torch, dtype)))
    dynamic: Any = [
        {i: torch.export.Dim.DYNAMIC for i, d in enumerate(s) if isinstance(d, str)} for _, _, s in inputs
    ]  # fmt: skip
    program = torch.export.export(module, tuple(examples), dynamic_shapes=(dynamic,) if sizes else None)
    specs = json.dumps({"inputs": inputs, "outputs": outputs})  # what the tensors are called, as Recast keeps it
    torch.export.save(program, job.target, extra_files={"recast.json": specs})
    return []


def _spec(onnx: Any, value: Any) -> list[Any]:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or f"d{i}" for i, d in enumerate(kind.shape.dim)]
    return [value.name, dtype, dims]


def _vision() -> None:
    """torchvision is wanted for two operators: without one that fits PyTorch, those are refused, and no others."""
    try:
        importlib.import_module("torchvision")
    except Exception:  # a build for another PyTorch raises anything
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        stub, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")

        def absent(*_: Any, **__: Any) -> Any:
            raise RuntimeError("this operator needs a torchvision that fits this PyTorch")

        for name in ("roi_align", "nms", "box_convert"):
            setattr(ops, name, absent)
        stub.ops = ops  # type: ignore[attr-defined]
        sys.modules["torchvision"], sys.modules["torchvision.ops"] = stub, ops
