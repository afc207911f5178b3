"""Bring any ONNX model into the dialect.

Given: an ``onnx_ir.Model`` of any opset from 7 on, with whatever structure its exporter left.
Result: opset 25 (a newer one only where an operator needs it: ``graph/opsets.py``), no Constant nodes, no initializer
among the inputs, model-local functions inlined, named nodes with origin, every shape inferred. Structure
(BatchNormalization, Dropout, recurrent nodes …) is untouched.
Refuses when: the opset is older than 7 and an operator has changed since, or an operator is neither in ONNX's default
domain nor a function of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx import version_converter

from recast.errors import BadModel, UnsupportedOp
from recast.graph import IR_VERSION, LAYER, OPSET, ORIGIN
from recast.graph.infer import infer_model
from recast.graph.opsets import forget_defaults, needed, newest
from recast.graph.view import all_nodes
from recast.passes._scan_8 import batched_scans

OLDEST_OPSET = 7
_KEEP_ELEMENTS = 1024  # constants up to this size stay in the model while its version is converted: adapters read them


def normalise(model: ir.Model, where: str, told: bool = False) -> ir.Model:
    """Return the model in the dialect (it may be a new object).

    Args:
        model: any model; it is changed.
        where: the file's name, for errors.
        told: the model's own shapes are right, and stay where inference knows less.

    Raises:
        BadModel: the opset is too old.
        UnsupportedOp: operators of foreign domains, all of them.
    """
    from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass, RemoveInitializersFromInputsPass

    if model.functions:
        model = InlinePass()(model).model
    _refuse_foreign(model, where)
    RemoveInitializersFromInputsPass()(model)
    version = model.opset_imports.get("", OPSET)
    _check_newest(version, where)
    if version < OLDEST_OPSET:
        _check_oldest(model, version, where)
    if version < 9:
        batched_scans(model, where)
    model.ir_version = IR_VERSION  # before 4, initializers had to be inputs as well
    if version < OPSET:
        model = _convert_version(model, where)
        model.ir_version = IR_VERSION
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _name(model)
    _forget_made_up_dims(model)
    if version > OPSET:
        for node in all_nodes(model.graph):
            forget_defaults(node)
    infer_model(model, told)
    if version > OPSET:
        model.opset_imports[""] = max(map(needed, all_nodes(model.graph)), default=OPSET)
    return model


def _forget_made_up_dims(model: ir.Model) -> None:
    """Shape inference gives every dim that it does not know a name of its own, and counts anew with every run."""
    for node in all_nodes(model.graph):
        for value in node.outputs:
            if value.shape is not None and any(_made_up(d) for d in value.shape):
                value.shape = ir.Shape([None if _made_up(d) else d for d in value.shape])


def _made_up(dim: int | ir.SymbolicDim) -> bool:
    return not isinstance(dim, int) and dim.value is not None and dim.value.startswith("unk__")


def _refuse_foreign(model: ir.Model, where: str) -> None:
    foreign = sorted({f"{n.domain}::{n.op_type}" for n in all_nodes(model.graph) if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise UnsupportedOp(
            f"{len(foreign)} operators are not standard ONNX: {', '.join(foreign)}",
            where,
            "export without runtime-specific optimisation, or remove these operators",
        )


def _check_newest(version: int, where: str) -> None:
    if version > newest():
        raise BadModel(
            f"the model uses opset {version}; the newest that is read is {newest()}",
            where,
            f"export it with opset {newest()} or older",
        )


def _check_oldest(model: ir.Model, version: int, where: str) -> None:
    """Before opset 7 operators had other meanings; those that have not changed since are what they were."""
    changed = set()
    for node in all_nodes(model.graph):
        try:
            since = onnx.defs.get_schema(node.op_type, OLDEST_OPSET, "").since_version
        except onnx.defs.SchemaError:
            since = OLDEST_OPSET
        if since > version:
            changed.add(node.op_type)
    if changed:
        raise BadModel(
            f"the model uses opset {version}; the oldest that is read is {OLDEST_OPSET}, and these operators had other "
            f"meanings before: {', '.join(sorted(changed))}",
            where,
            "export it again with a newer exporter",
        )
    model.opset_imports[""] = OLDEST_OPSET


def _convert_version(model: ir.Model, where: str) -> ir.Model:
    """ONNX's own converter, with the large weights taken out meanwhile (it would copy them several times)."""
    held: dict[str, ir.TensorProtocol] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is not None and tensor.size > _KEEP_ELEMENTS:
            held[name] = tensor
            value.const_value = None
            value.shape, value.type = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
            model.graph.initializers.pop(name)
            model.graph.inputs.append(value)
        elif isinstance(tensor, ir.ExternalTensor):  # its file name would lose its folder on the way
            value.const_value = ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=name)
    origins = {n.outputs[0].name: dict(n.metadata_props) for n in model.graph if n.metadata_props}
    proto = ir.to_proto(model)
    try:
        converted = version_converter.convert_version(proto, OPSET)
    except Exception as error:  # the converter raises RuntimeError and its own ConvertError
        raise BadModel(
            f"ONNX cannot bring the model from opset {model.opset_imports['']} to {OPSET}: {str(error)[:300]}",
            where,
            "export it again with a newer opset",
        ) from error
    new = ir.from_proto(converted)
    by_name = {v.name: v for v in new.graph.inputs}
    for name, tensor in held.items():
        value = by_name[name]
        new.graph.inputs.remove(value)
        value.const_value = tensor
        new.graph.initializers[name] = value
    for node in new.graph:
        node.metadata_props.update(origins.get(node.outputs[0].name, {}))
    _restore_types(model, new)
    return new


def _restore_types(old: ir.Model, new: ir.Model) -> None:
    for before, after in zip(old.graph.outputs, new.graph.outputs, strict=True):
        after.shape, after.type = copy.copy(before.shape), before.type


_Shapes = Mapping[str, Sequence[int | str]]


def by_name(inputs: _Shapes, names: Sequence[str]) -> dict[str, Sequence[int | str]]:
    """Shapes given by name or by place (``#0``), all by name."""

    def name(key: str) -> str:
        place = int(key[1:]) if key[:1] == "#" and key[1:].isdecimal() else len(names)
        return names[place] if key not in names and place < len(names) else key

    return {name(key): shape for key, shape in inputs.items()}


def set_inputs(model: ir.Model, inputs: _Shapes, where: str) -> None:
    """Give shapes to inputs by name or place and infer all others again.

    Raises:
        BadModel: there is no such input, or its rank is another.
        BadShape: the model does not take these shapes.
    """
    known = {v.name or "": v for v in model.graph.inputs}
    changed = False
    for name, shape in by_name(inputs, list(known)).items():
        if name not in known:
            raise BadModel(f"the model has no input '{name}'", where, f"its inputs: {', '.join(known)}")
        old = known[name].shape
        if old is not None and len(old) != len(shape):
            raise BadModel(f"input '{name}' has rank {len(old)}, not {len(shape)}", where, "give all its dimensions")
        changed = changed or old != ir.Shape(shape)
        known[name].shape = ir.Shape(shape)
    if not changed:
        return  # the reader has used them, and may know more than inference does
    for node in model.graph:  # stale shapes would contradict the new ones
        for value in node.outputs:
            value.shape = None
    infer_model(model)


def _name(model: ir.Model) -> None:
    used: set[str] = set()
    for number, node in enumerate(all_nodes(model.graph)):
        name = node.name or f"{node.op_type}_{number}"
        while name in used:
            name = f"{name}_{number}"
        used.add(name)
        node.name = name
        node.metadata_props.setdefault(LAYER, _layer_name(node))
        node.metadata_props.setdefault(ORIGIN, node.op_type)
    for number, value in enumerate(model.graph.inputs):
        value.name = value.name or f"input_{number}"


def _layer_name(node: ir.Node) -> str:
    """PyTorch exporters call nodes ``/layer1/conv/Conv`` or ``node_conv2d``; the operator's own name is no layer."""
    name = (node.name or "").strip("/")
    head, _, tail = name.rpartition("/")
    return head if head and tail.split("_")[0] == node.op_type else name


def proto_without_weights(model: ir.Model) -> onnx.ModelProto:
    """The model's protobuf with no initializers in the main graph, for writers that stream the weights."""
    initializers = model.graph.initializers
    held = initializers.data
    initializers.data = {}  # the dictionary inside, so that no value forgets its graph
    try:
        return ir.to_proto(model)
    finally:
        initializers.data = held
