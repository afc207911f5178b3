"""Which opset a node needs: operators, types and attributes that are newer than the dialect's opset stay what they are.

The dialect is opset 25. A graph that holds something newer (BitCast, a signed BitShift, Mod of floats …) says so in its
``opset_imports``; everything else stays at 25, so that older runtimes load what we write.
"""

from __future__ import annotations

from functools import cache

import onnx
import onnx_ir as ir

from recast.graph import OPSET

NEWEST = 28  # up to here the changes between opsets have been read through


@cache
def newest() -> int:
    """The newest opset that is read: the onnx package may be older."""
    return min(NEWEST, onnx.defs.onnx_opset_version())


@cache
def schema(op_type: str, domain: str = "") -> onnx.defs.OpSchema | None:
    """The operator at the dialect's opset, or at the newest one where it is newer; None where ONNX has no such."""
    for version in (OPSET, newest()):
        try:
            return onnx.defs.get_schema(op_type, version, domain)
        except onnx.defs.SchemaError:
            continue
    return None


@cache
def _newer(op_type: str) -> onnx.defs.OpSchema | None:
    """What the operator has become after the dialect's opset, if it changed."""
    try:
        found: onnx.defs.OpSchema = onnx.defs.get_schema(op_type, newest(), "")
    except onnx.defs.SchemaError:
        return None
    return found if found.since_version > OPSET else None


def schema_of(node: ir.Node) -> onnx.defs.OpSchema | None:
    """The operator as this very node means it."""
    return _newer(node.op_type) if needed(node) > OPSET else schema(node.op_type, node.domain)


def needed(node: ir.Node) -> int:
    """The oldest opset, not below the dialect's, that holds this node (its sub-graphs are not looked at)."""
    new = _newer(node.op_type) if node.domain == "" else None
    if new is None:
        return OPSET
    old = schema(node.op_type)
    if old is None or old.since_version > OPSET:
        return int(new.since_version)
    for name, attribute in node.attributes.items():
        if name not in old.attributes and name in new.attributes:
            default = new.attributes[name].default_value
            if ir.serde.deserialize_attribute(default).value != attribute.value:
                return int(new.since_version)
    return int(new.since_version) if not _typed(node, old) or _mod_of_floats(node) else OPSET


def forget_defaults(node: ir.Node) -> None:
    """Drop attributes that are newer than the dialect and say what the older operator means anyway."""
    old, new = schema(node.op_type), _newer(node.op_type) if node.domain == "" else None
    if old is None or new is None or old.since_version > OPSET:
        return
    for name in [n for n in node.attributes if n not in old.attributes and n in new.attributes]:
        if ir.serde.deserialize_attribute(new.attributes[name].default_value).value == node.attributes[name].value:
            del node.attributes[name]


def _mod_of_floats(node: ir.Node) -> bool:
    """Before opset 28 ``Mod`` with ``fmod=0`` took integers only, which its type constraints do not say."""
    x = node.inputs[0] if node.inputs else None
    if node.op_type != "Mod" or x is None or x.dtype is None or not x.dtype.is_floating_point():
        return False
    return "fmod" not in node.attributes or node.attributes["fmod"].as_int() == 0


def _typed(node: ir.Node, old: onnx.defs.OpSchema) -> bool:
    """Whether the older operator takes these element types."""
    ends = [*zip(node.inputs, old.inputs, strict=False), *zip(node.outputs, old.outputs, strict=False)]
    for value, formal in ends:
        if value is None or value.dtype is None or not isinstance(value.type, ir.TensorType):
            continue
        if f"tensor({value.dtype.name.lower()})" not in formal.types:
            return False
    return True
