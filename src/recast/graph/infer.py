"""Shapes and types: node by node while building (fast), or for a whole model (ONNX's own inference)."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, shape_inference

from recast.errors import BadShape
from recast.graph import LAYER, OPSET, dims
from recast.graph.infer_control import infer_control
from recast.graph.infer_quick import quick, retype
from recast.graph.opsets import schema_of

_SMALL = 1024  # constants up to this many elements take part in shape arithmetic


def type_proto(value: ir.Value) -> onnx.TypeProto | None:
    """A value's type and shape as protobuf, or None where the element type is unknown."""
    if value.dtype is None:
        return None
    if value.shape is None:
        proto = onnx.TypeProto()
        proto.tensor_type.elem_type = int(value.dtype)
        return proto
    shape = [d if isinstance(d, int) else d.value for d in value.shape]
    return helper.make_tensor_type_proto(int(value.dtype), shape)


def infer_node(node: ir.Node) -> None:
    """Set shapes and types of a node's outputs from its inputs, where ONNX can tell.

    Raises:
        BadShape: the inputs contradict the operator.
    """
    if quick(node):
        return
    if infer_control(node, refine_node):
        return
    _check_channels(node)
    schema = schema_of(node)
    if schema is None or any(
        a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()
    ):
        return
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    names = []
    for index, value in enumerate(node.inputs):
        names.append(f"i{index}" if value is not None else "")
        if value is None:
            continue
        proto = type_proto(value)
        if proto is not None:
            types[f"i{index}"] = proto
        array = value.const_value
        if (
            array is not None
            and array.size <= _SMALL
            and array.dtype in (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.FLOAT)
        ):
            data[f"i{index}"] = onnx.numpy_helper.from_array(array.numpy(), f"i{index}")
    attributes = [ir.serde.serialize_attribute(a) for a in node.attributes.values()]
    proto_node = helper.make_node(node.op_type, names, [f"o{i}" for i in range(len(node.outputs))], domain=node.domain)
    proto_node.attribute.extend(attributes)
    try:
        result = shape_inference.infer_node_outputs(
            schema, proto_node, types, data, opset_imports=[helper.make_opsetid("", max(OPSET, schema.since_version))]
        )
    except Exception as error:  # onnx raises InferenceError, ValueError, RuntimeError
        if len(types) < len(node.inputs) - node.inputs.count(None):
            return  # an input of unknown type tells nothing
        if _lenient(node):
            return
        raise _mismatch(node, error) from error
    for index, value in enumerate(node.outputs):
        inferred = result.get(f"o{index}")
        if inferred is not None and inferred.HasField("tensor_type"):
            set_type(value, inferred)
    if node.op_type == "Slice":
        _keep_whole_axes(node)
    elif node.op_type == "Concat":
        _sum_of_lengths(node)


def _keep_whole_axes(node: ir.Node) -> None:
    """``x[0:]`` keeps an unknown dimension; ONNX gives it a new name."""
    x, result = node.inputs[0], node.outputs[0]
    given: list[Any] = [
        None if v is None or v.const_value is None else v.const_value.numpy().tolist() for v in node.inputs[1:]
    ]
    if x is None or x.shape is None or result.shape is None or len(given) < 2 or None in given:
        return
    starts, ends = given[0], given[1]
    axes = given[2] if len(given) > 2 else range(len(starts))
    steps = given[3] if len(given) > 3 else [1] * len(starts)
    sliced = dict(zip((a % len(x.shape) for a in axes), zip(starts, ends, steps, strict=True), strict=True))
    found = list(result.shape)
    for axis, dim in enumerate(x.shape):
        start, end, step = sliced.get(axis, (0, _FAR, 1))
        if start == 0 and end >= _FAR and step == 1:
            found[axis] = dim
    result.shape = ir.Shape(found)


def _sum_of_lengths(node: ir.Node) -> None:
    """The joined axis is the sum of its parts, also where these are names; the other axes are the parts' own."""
    shapes = [None if v is None or v.shape is None else list(v.shape) for v in node.inputs]
    result = node.outputs[0]
    if None in shapes or result.shape is None or any(len(s) != len(result.shape) for s in shapes if s is not None):
        return
    found = list(result.shape)
    axis = node.attributes["axis"].as_int() % max(len(found), 1)
    for index, dim in enumerate(found):
        parts = [d if isinstance(d, int) else d.value for s in shapes if s is not None for d in [s[index]]]
        named = [p for p in parts if p is not None]
        if isinstance(dim, int) or dim.value is not None or not named:
            continue
        if index == axis and len(named) == len(parts):
            found[index] = _as_dim(reduce(dims.add, named))
        elif index != axis:
            found[index] = _as_dim(named[0])
    result.shape = ir.Shape(found)


def _as_dim(dim: int | str) -> int | ir.SymbolicDim:
    return dim if isinstance(dim, int) else ir.SymbolicDim(dim)


_FAR = 2**31 - 1  # exporters mean "to the end"


def set_type(value: ir.Value, proto: onnx.TypeProto) -> None:
    """Copy a protobuf tensor type to a value; dimensions without value or name become unknown."""
    tensor = proto.tensor_type
    if tensor.elem_type:
        retype(value, ir.DataType(tensor.elem_type))
    if tensor.HasField("shape"):
        found: list[Any] = []
        for dim in tensor.shape.dim:
            found.append(dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None))
        value.shape = ir.Shape(found)


def _check_channels(node: ir.Node) -> None:
    """ONNX's inference does not compare a convolution's channels with its kernel's.

    Raises:
        BadShape: x[n,c,*s] and w[k,c/group,*z] (ConvTranspose: w[c,k/group,*z]) have different c.
    """
    if node.op_type not in ("Conv", "ConvTranspose") or node.domain or len(node.inputs) < 2:
        return
    x, w = node.inputs[:2]
    if x is None or w is None or x.shape is None or w.shape is None or len(x.shape) < 3 or len(w.shape) < 3:
        return
    group = node.attributes["group"].as_int() if "group" in node.attributes else 1
    has, wants = x.shape[1], (w.shape[1], w.shape[0])[node.op_type == "ConvTranspose"]
    wants = wants * group if node.op_type == "Conv" and isinstance(wants, int) else wants
    if isinstance(has, int) and isinstance(wants, int) and has != wants:
        raise BadShape(
            f"{node.op_type}: dim 'c' is {has} and {wants}",
            f"layer {node.metadata_props.get(LAYER) or node.name}, inputs {shape_text(x)} and {shape_text(w)}",
            "the input's channels do not fit the kernel: give another shape, or export the file again",
        )


def _lenient(node: ir.Node) -> bool:
    """``Range`` of vectors of one element, which ONNX's own function bodies make and every runtime takes."""
    shapes = [list(v.shape) for v in node.inputs if v is not None and v.shape is not None]
    if node.op_type != "Range" or len(shapes) < 3 or any(s not in ([], [1]) for s in shapes):
        return False
    if node.inputs[0] is not None and node.inputs[0].dtype is not None:
        retype(node.outputs[0], node.inputs[0].dtype)
    node.outputs[0].shape = ir.Shape([None])
    return True


def _mismatch(node: ir.Node, error: Exception) -> BadShape:
    shapes = ", ".join("-" if v is None else f"{v.name}{shape_text(v)}" for v in node.inputs)
    layer = node.metadata_props.get(LAYER) or node.name
    reason = str(error).strip().split("\n")[0][:200]
    return BadShape(
        f"{node.op_type}: its inputs do not fit each other ({reason})",
        f"layer {layer}, inputs {shapes}",
        "the file's shapes contradict each other; export it again",
    )


def shape_text(value: ir.Value) -> str:
    """``(N, 3, ?)`` for messages."""
    if value.shape is None:
        return "(?)"
    found = [str(d) if isinstance(d, int) else (d.value or "?") for d in value.shape]
    return "(" + ", ".join(found) + ")"


def refine_node(node: ir.Node) -> None:
    """``infer_node``, but what was known before stays where inference knows less."""
    before = [None if v.shape is None else list(v.shape) for v in node.outputs]
    infer_node(node)
    for value, old in zip(node.outputs, before, strict=True):
        if old is None:
            continue
        if value.shape is None:
            value.shape = ir.Shape(old)
        elif len(old) == len(value.shape):
            value.shape = ir.Shape([better(new, was) for new, was in zip(value.shape, old, strict=True)])


def better(new: int | ir.SymbolicDim, old: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    """The dimension that says more: a number, else a name; the new one where both say as much."""
    if isinstance(new, int) or (new.value is not None and not isinstance(old, int)):
        return new
    return old


def infer_model(model: ir.Model, told: bool = False) -> None:
    """Infer all shapes and types of a model in place.

    Nodes go one by one; a model with loops, functions or foreign domains goes through ONNX's whole-model inference
    before, with its large weights left out.

    Args:
        model: the model.
        told: shapes that are there stay where inference knows less (a file may hold stale ones).
    """
    if model.functions or any(not _is_plain(n) for n in model.graph):
        from onnx_ir.passes.common import ShapeInferencePass

        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        for node in model.graph:
            if schema_of(node) is not None:
                refine_node(node)
        return
    for node in model.graph:
        if told:
            refine_node(node)
        else:
            infer_node(node)


def _is_plain(node: ir.Node) -> bool:
    graphs = any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())
    return not graphs and schema_of(node) is not None


def constant(array: np.ndarray, name: str) -> ir.Tensor:
    """A named tensor of an array (bfloat16 and float8 arrays come from ml_dtypes)."""
    if not array.flags.c_contiguous:  # ascontiguousarray gives a scalar one axis
        array = np.ascontiguousarray(array).reshape(array.shape)
    return ir.Tensor(array, name=name)
