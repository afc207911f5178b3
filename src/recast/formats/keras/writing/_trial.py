"""Whether a node has a native form: its handler is tried on a context of its own, and what it makes is dropped."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.keras.writing import CHANNELS_FIRST, CHANNELS_LAST, Unfit, handlers
from recast.formats.keras.writing._context import Context, Poisoned, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Shape
from recast.graph import view


def native(node: ir.Node) -> bool:
    """Whether a handler takes the node. Asked before the layout is chosen: image operators are tried channels-last."""
    handler = handlers().get(node.op_type)
    if handler is None or node.domain != "":
        return False
    first = node.inputs[0] if node.inputs else None
    image = (
        (node.op_type in CHANNELS_FIRST or node.op_type == "Resize")
        and first is not None
        and (view.rank(first) or 0) > 2
    )
    tried = _channels_last(node) if image else node
    try:
        handler(_context(tried), tried)
    except Poisoned:
        return True
    except Unfit:
        return False
    finally:
        if image:
            for index in range(len(tried.inputs)):
                tried.replace_input_with(index, None)
    return True


def _context(node: ir.Node) -> Context:
    """A context in which every input that is not constant is an input of the model."""
    context = Context([node])
    source = context.net.input("source", (None, 1), "float32")
    del source
    for value in node.inputs:
        if value is not None and context.const(value) is None and context.bound(value) is None:
            context.bind(value, context.net.input(value.name or "input", keras_shape(value), keras_dtype(value)))
    return context


def _channels_last(node: ir.Node) -> ir.Node:
    """The node as the layout pass will leave it: activations channels-last, weights as they are."""
    inputs = [v if v is None or i > 0 else _turned(v) for i, v in enumerate(node.inputs)]
    copy = ir.Node(
        CHANNELS_LAST,
        node.op_type,
        inputs,
        attributes=list(node.attributes.values()),
        outputs=[_turned(v) for v in node.outputs],
        name=node.name,
    )
    copy.metadata_props.update(node.metadata_props)
    if node.op_type == "Resize":
        rank = view.rank(node.outputs[0]) or 0
        axes = [int(a) % rank for a in view.attr(node, "axes") or range(rank)]
        copy.attributes["axes"] = ir.AttrInt64s("axes", [a - 1 if a > 1 else a * (rank - 1) for a in axes])
    return copy


def _turned(value: ir.Value) -> ir.Value:
    shape: Shape | None = None if value.shape is None else tuple(d if isinstance(d, int) else None for d in value.shape)
    if shape is not None and len(shape) > 2:
        shape = (shape[0], *shape[2:], shape[1])
    return ir.Value(name=value.name, shape=None if shape is None else ir.Shape(shape), type=value.type)
