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
OPSET = 17  # Pad, Split and the reductions it knows as they were up to here


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
    _state_shapes(torch, module)
    dynamic = tuple({i: torch.export.Dim.DYNAMIC for i, d in enumerate(s) if isinstance(d, str)} for _, _, s in inputs)
    examples = _examples(torch, inputs)
    program = torch.export.export(module, examples, dynamic_shapes=dynamic if any(dynamic) else None)
    specs = json.dumps({"inputs": inputs, "outputs": outputs})  # what the tensors are called, as Recast keeps it
    torch.export.save(program, job.target, extra_files={"recast.json": specs})
    return []


def _state_shapes(torch: Any, module: Any) -> None:
    """Its Reshape looks for zeros in the target at run time, which torch.export cannot follow: constants are stated."""
    for node in list(module.graph.nodes):
        if node.op != "call_module" or type(module.get_submodule(node.target)).__name__ != "OnnxReshape":
            continue
        x, target = node.args[:2]
        if getattr(target, "op", "") != "get_attr":
            continue
        place, _, name = target.target.rpartition(".")
        with module.graph.inserting_before(node):
            dims = [
                d or module.graph.call_method("size", (x, i))
                for i, d in enumerate(getattr(module.get_submodule(place), name).tolist())
            ]
            node.replace_all_uses_with(module.graph.call_function(torch.reshape, (x, dims)))
        module.graph.erase_node(node)
    module.recompile()


def _examples(torch: Any, inputs: list[list[Any]]) -> tuple[Any, ...]:
    """Example tensors; a dynamic dimension is 3, the next one 5 …"""
    sizes: dict[str, int] = {}
    made = []
    for _, dtype, shape in inputs:
        dims = [d if isinstance(d, int) else sizes.setdefault(d, 3 + 2 * len(sizes)) for d in shape]
        made.append(torch.zeros(dims, dtype=getattr(torch, dtype)))
    return tuple(made)


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
