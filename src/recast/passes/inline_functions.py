"""Write composite operators out as simpler ones, with ONNX's own function bodies.

Given: operators that ONNX defines as functions of simpler operators (Attention, GroupNormalization, …).
Result: those that the target lacks are replaced by their bodies, again and again until none is left; new nodes carry
    the origin of the operator they come from. ``keep_functions`` names what the target has itself; without it only the
    composite ones that hardly any target has are written out (``COMPOSITE``).
Refuses when: a body depends on input types or ranks that are unknown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.graph import OPSET
from recast.graph.finding import Finding
from recast.graph.infer import infer_node, type_proto
from recast.graph.opsets import schema as known_schema
from recast.graph.view import attr, layer_of
from recast.passes import PassOptions
from recast.passes._editor import Editor, copy_origin
from recast.passes.decompositions import decomposable

COMPOSITE = frozenset(
    {
        *(
            "AffineGrid",
            "Attention",
            "CausalConvWithState",
            "CenterCropPad",
            "DynamicQuantizeLinear",
            "LinearAttention",
        ),
        *("GroupNormalization", "MeanVarianceNormalization", "RMSNormalization", "RotaryEmbedding", "SwiGLU"),
        *("BlackmanWindow", "HammingWindow", "HannWindow", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
    }
)
_DOMAIN = "recast.function"
_ROUNDS = 8


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Inline functions in the model's graph in place.

    Raises:
        UnsupportedOp: operators whose bodies cannot be built (all of them).
    """
    for _ in range(_ROUNDS):
        refused: list[str] = []
        count = 0
        for node in model.graph:
            schema = _function_schema(node, options)
            if schema is None:
                continue
            function = _body(node, schema)
            if function is None:
                refused.append(f"{layer_of(node)} ({node.op_type})")
                continue
            function.opset_imports[""] = model.opset_imports.get("", OPSET)
            function.overload = node.overload = str(count)
            function.name, function.domain, node.domain = node.op_type, _DOMAIN, _DOMAIN
            model.functions[function.identifier()] = function
            count += 1
        if refused:
            raise UnsupportedOp(
                f"{len(refused)} operators cannot be written out: the types or ranks of their inputs are unknown",
                "; ".join(refused[:20]),
                "give the model static input shapes",
            )
        if not count:
            break
        _inline(model)
    return []


def _function_schema(node: ir.Node, options: PassOptions) -> Any:
    if node.domain != "":
        return None
    keep = options.keep_functions
    if keep is None and node.op_type not in COMPOSITE:
        return None
    if keep is not None and node.op_type in keep and _stays(node, options):
        return None
    schema: Any = known_schema(node.op_type)
    return schema if schema is not None and (schema.has_function or schema.has_context_dependent_function) else None


def _stays(node: ir.Node, options: PassOptions) -> bool:
    """Whether the target takes this very node, or a decomposition will."""
    return options.native is None or options.native(node) or decomposable(node)


def _body(node: ir.Node, schema: Any) -> ir.Function | None:
    """The body for this very node: attributes with their defaults, types of its inputs."""
    for name, attribute in schema.attributes.items():
        default = attribute.default_value
        if name not in node.attributes and default.type != onnx.AttributeProto.UNDEFINED:
            node.attributes[name] = ir.serde.deserialize_attribute(default)
    proto = ir.to_proto(node)
    if schema.has_context_dependent_function:
        version = _version(schema.context_dependent_function_opset_versions)
        types = [onnx.TypeProto() if v is None else type_proto(v) for v in node.inputs]
        if any(t is None for t in types):
            return None
        packed = [t.SerializeToString() for t in types if t is not None]
        text = schema.get_context_dependent_function_with_opset_version(version, proto.SerializeToString(), packed)
    else:
        version = _version(schema.function_opset_versions)
        text = schema.get_function_with_opset_version(version)
    if not text:
        return None
    parsed = text if isinstance(text, onnx.FunctionProto) else onnx.FunctionProto.FromString(text)
    made = {name for inner in parsed.node for name in inner.output} | set(parsed.input)
    wanted = list(parsed.output)[: len(node.outputs)]
    while wanted and wanted[-1] not in made and not _used(node.outputs[len(wanted) - 1]):
        wanted.pop()  # optional results that nobody asks for have no node in the body
    for name, value in zip(wanted, node.outputs, strict=False):
        if name not in made and _used(value):
            return None
        if name not in made:  # nor has one between others; nobody reads what stands for it
            parsed.node.append(onnx.helper.make_node("Identity", parsed.input[:1], [name]))
    node.resize_outputs(len(wanted))
    del parsed.output[:]
    parsed.output.extend(wanted)
    function = ir.serde.deserialize_function(parsed)
    for inner in function.graph.all_nodes():
        copy_origin(node, inner)
        _modernise(function.graph, inner)
    function.opset_imports.clear()
    return function


def _version(versions: list[int]) -> int:
    """The body to take: the dialect's newest, or the oldest of an operator that is newer than the dialect."""
    return max((v for v in versions if v <= OPSET), default=min(versions))


def _modernise(graph: ir.Graph, node: ir.Node) -> None:
    """Older bodies give axes as an attribute where the operator now takes an input."""
    takes_input = node.op_type.startswith("Reduce") or node.op_type in ("Squeeze", "Unsqueeze")
    axes = attr(node, "axes")
    if takes_input and axes is not None:
        del node.attributes["axes"]
        constant = ir.node("Constant", [], {"value": ir.tensor(np.array(axes, np.int64))})
        graph.insert_before(node, constant)
        node.resize_inputs(2)
        node.replace_input_with(1, constant.outputs[0])


def _inline(model: ir.Model) -> None:
    from onnx_ir.passes.common import InlinePass  # it loads all of onnx-ir's passes, and is rarely needed

    InlinePass(criteria=lambda function: function.domain == _DOMAIN)(model)
    model.graph.opset_imports.pop(_DOMAIN, None)
    editor = Editor(model.graph)
    seen: set[str] = set()
    for node in list(model.graph):
        if not node.name or node.name in seen:
            node.name = editor.unique(f"{layer_of(node)}/{node.op_type}")
        seen.add(node.name)
        if node.op_type == "Constant" and node.domain == "":
            held = editor.weight(node.outputs[0].name or "constant", _constant(node))
            ir.convenience.replace_all_uses_with(node.outputs[0], held)
            model.graph.remove(node, safe=True)
        elif any(v.shape is None or v.dtype is None for v in node.outputs):
            infer_node(node)


def _constant(node: ir.Node) -> np.ndarray:
    """The array of a Constant node of any attribute form."""
    name, attribute = next(iter(node.attributes.items()))
    if name == "value":
        return attribute.as_tensor().numpy()
    dtype = np.int64 if "int" in name else np.float32
    return np.array(attribute.value, dtype)


def _used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
