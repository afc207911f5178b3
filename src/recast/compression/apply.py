"""The only editor: carries out a plan on a copy of the model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from recast.compression._method import Plan
from recast.compression.edits import (
    Cut,
    Edit,
    Mark,
    PackWeight,
    PalettePack,
    Piece,
    ReplaceNode,
    RoundValue,
    SetAttribute,
    SetInput,
    SetWeight,
    StoreAs,
)
from recast.errors import InternalError
from recast.graph.infer import constant, infer_node
from recast.graph.view import layer_of
from recast.passes._editor import Editor, copy_origin, drop_initializer
from recast.passes.clean import remove_dead


def apply(model: ir.Model, plan: Plan) -> ir.Model:
    """A changed copy of the model; weights that stay are shared.

    Raises:
        InternalError: the plan names something that is not there, or shapes do not fit afterwards.
    """
    made = model.clone()
    work = _Work(made)
    for edit in plan.edits:
        work.do(edit)
    if any(isinstance(e, Cut | SetWeight | ReplaceNode | SetAttribute | SetInput) for e in plan.edits):
        _infer(made.graph)
    remove_dead(made.graph)
    return made


class _Work:
    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.editor = Editor(model.graph)
        self.nodes = {n.name: n for n in model.graph}
        self.values: dict[str, ir.Value] = {v.name: v for v in model.graph.inputs if v.name}
        self.values |= {v.name: v for n in model.graph for v in n.outputs if v.name}
        self.last: dict[str, ir.Value] = {}  # the float value behind the rounding of a value

    def do(self, edit: Edit) -> None:
        """One edit."""
        match edit:
            case SetWeight():
                self.set_weight(edit.weight, edit.array)
            case Cut():
                held = self.initializer(edit.weight)
                array = held.const_value.numpy() if held.const_value is not None else np.zeros(0)
                self.set_weight(edit.weight, np.take(array, edit.keep, axis=edit.axis))
            case PackWeight():
                self.pack(edit)
            case StoreAs():
                self.store(edit)
            case Mark():
                self.node(edit.node).metadata_props[edit.key] = edit.value
            case PalettePack():
                self.gather(edit)
            case RoundValue():
                self.round(edit)
            case SetAttribute():
                self.node(edit.node).attributes.pop(edit.name, None)
                if edit.value is not None:
                    made = ir.convenience.convert_attribute(edit.name, edit.value)
                    self.node(edit.node).attributes[edit.name] = made
            case SetInput():
                self.set_input(edit)
            case ReplaceNode():
                self.replace(edit)

    def initializer(self, name: str) -> ir.Value:
        """A weight by name."""
        found = self.graph.initializers.get(name)
        if found is None:
            raise InternalError(f"the plan names a weight '{name}' that is not there", "recast/compression")
        return found

    def node(self, name: str) -> ir.Node:
        """A node by name."""
        if name not in self.nodes:
            raise InternalError(f"the plan names a node '{name}' that is not there", "recast/compression")
        return self.nodes[name]

    def set_weight(self, name: str, array: np.ndarray) -> None:
        """New content."""
        value = self.initializer(name)
        tensor = constant(array, name)
        value.const_value = tensor
        value.type = ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(array.shape)

    def set_input(self, edit: SetInput) -> None:
        """A constant of the node's own."""
        node = self.node(edit.node)
        if len(node.inputs) <= edit.index:
            node.resize_inputs(edit.index + 1)
        node.replace_input_with(edit.index, self.editor.weight(f"{edit.node}/in{edit.index}", edit.array))

    def pack(self, edit: PackWeight) -> None:
        """Integers → DequantizeLinear in the weight's place."""
        weight = self.initializer(edit.weight)
        uses = [u for u in weight.uses() if not edit.users or u.node.name in edit.users]
        if not uses:
            raise InternalError(f"nobody uses the weight '{edit.weight}'", "recast/compression")
        first = min((u.node for u in uses), key=list(self.graph).index)
        integers = self.editor.weight(f"{edit.weight}/integers", edit.integers)
        pack = self.cast_and_mul if edit.plain and not edit.block and edit.zero is None else self.dequantise
        result = pack(edit, integers, first)
        result.type, result.shape = weight.type, weight.shape
        for use in uses:
            use.node.replace_input_with(use.idx, result)
        drop_initializer(self.graph, weight)

    def store(self, edit: StoreAs) -> None:
        """A half-precision initializer and a Cast in front of the first user."""
        weight = self.initializer(edit.weight)
        if weight.const_value is None or not weight.uses():
            raise InternalError(f"nobody uses the weight '{edit.weight}'", "recast/compression")
        kind = ir.DataType.FLOAT16 if edit.dtype == "float16" else ir.DataType.BFLOAT16
        half = self.editor.weight(f"{edit.weight}/{edit.dtype}", weight.const_value.numpy().astype(kind.numpy()))
        uses = list(weight.uses())
        first = min((u.node for u in uses), key=list(self.graph).index)
        real = self.editor.node("Cast", [half], {"to": int(ir.DataType.FLOAT)}, first)
        for use in uses:
            use.node.replace_input_with(use.idx, real)
        drop_initializer(self.graph, weight)

    def gather(self, edit: PalettePack) -> None:
        """Cast and Gather in the weight's place."""
        weight = self.initializer(edit.weight)
        uses = list(weight.uses())
        first = min((u.node for u in uses), key=list(self.graph).index)
        indices = self.editor.weight(f"{edit.weight}/indices", edit.indices)
        palette = self.editor.weight(f"{edit.weight}/palette", edit.palette)
        wide = self.editor.node("Cast", [indices], {"to": int(ir.DataType.INT32)}, first)
        result = self.editor.node("Gather", [palette, wide], {"axis": 0}, first)
        result.type, result.shape = weight.type, weight.shape
        for use in uses:
            use.node.replace_input_with(use.idx, result)
        drop_initializer(self.graph, weight)

    def dequantise(self, edit: PackWeight, integers: ir.Value, first: ir.Node) -> ir.Value:
        """A DequantizeLinear in front of ``first``."""
        inputs = [integers, self.editor.weight(f"{edit.weight}/scale", edit.scale.astype(np.float32))]
        if edit.zero is not None:
            inputs.append(self.editor.weight(f"{edit.weight}/zero", edit.zero))
        attributes = {"axis": edit.axis} if edit.scale.ndim else {}
        if edit.block:
            attributes["block_size"] = edit.block
        return self.editor.node("DequantizeLinear", inputs, attributes, first)

    def cast_and_mul(self, edit: PackWeight, integers: ir.Value, first: ir.Node) -> ir.Value:
        """The same product in two operators."""
        shape = [1] * edit.integers.ndim
        if edit.scale.ndim:
            shape[edit.axis] = -1
        scale = self.editor.weight(f"{edit.weight}/scale", edit.scale.astype(np.float32).reshape(shape))
        real = self.editor.node("Cast", [integers], {"to": int(ir.DataType.FLOAT)}, first)
        return self.editor.node("Mul", [real, scale], {}, first)

    def round(self, edit: RoundValue) -> None:
        """QuantizeLinear → DequantizeLinear for all users of a value."""
        value = self.values.get(edit.value)
        if value is None:
            raise InternalError(f"the plan names a value '{edit.value}' that is not there", "recast/compression")
        uses, was_output = list(value.uses()), value.is_graph_output()
        producer = value.producer()
        before = uses[0].node if uses else None
        origin = producer or before
        scale = self.editor.const(np.array(edit.scale, np.float32), f"{edit.value}/scale")
        zero = self.editor.const(np.array(edit.zero, edit.dtype), f"{edit.value}/zero")
        integers = value
        taken = edit.port and value.is_graph_input()
        pair = []
        source = value
        for op_type in ("QuantizeLinear", "DequantizeLinear")[taken:]:
            node = ir.node(op_type, [source, scale, zero], name=self.editor.unique(f"{edit.value}/{op_type}"))
            if origin is not None:
                copy_origin(origin, node)
            source = node.outputs[0]
            source.name = self.editor.unique(f"{edit.value}/{op_type}_out")
            source.shape = value.shape
            source.type = value.type if op_type == "DequantizeLinear" else zero.type
            integers = source if op_type == "QuantizeLinear" else integers
            pair.append(node)
        if producer is not None:
            self.graph.insert_after(producer, pair)
        elif before is not None:
            self.graph.insert_before(next(iter(self.graph)), pair)
        for use in uses:
            use.node.replace_input_with(use.idx, source)
        if taken:
            value.type = zero.type
        if was_output and not value.is_graph_input():
            self._hand_out(value, integers if edit.port else source)

    def _hand_out(self, value: ir.Value, instead: ir.Value) -> None:
        """Another value in a graph output's place and under its name."""
        name = value.name
        value.name = self.editor.unique(f"{name}/exact")
        instead.name = name
        for index, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[index] = instead

    def replace(self, edit: ReplaceNode) -> None:
        """Pieces in a node's place."""
        node = self.node(edit.node)
        made: dict[str, ir.Value] = {n: self.editor.weight(n, a) for n, a in edit.constants.items()}
        result: ir.Value | None = None
        for piece in edit.pieces:
            inputs = [self._named(name, made) for name in piece.inputs]
            result = self._piece(piece, inputs, node, made)
        if result is None:
            raise InternalError(f"nothing replaces {edit.node}", layer_of(node))
        self.editor.replace(node.outputs[0], result)
        self.graph.remove(node, safe=True)

    def _piece(
        self, piece: Piece, inputs: list[ir.Value | None], before: ir.Node, made: dict[str, ir.Value]
    ) -> ir.Value:
        if not piece.further:
            made[piece.output] = self.editor.node(piece.op_type, inputs, piece.attributes, before)
            return made[piece.output]
        names = (piece.output, *piece.further)
        node = ir.node(
            piece.op_type, inputs, dict(piece.attributes), num_outputs=len(names),
            name=self.editor.unique(f"{before.name}/{piece.op_type}"),
        )  # fmt: skip
        copy_origin(before, node)
        for name, value in zip(names, node.outputs, strict=True):
            value.name = self.editor.unique(f"{before.name}/{name}")
            made[name] = value
        infer_node(node)
        self.graph.insert_before(before, node)
        return node.outputs[0]

    def _named(self, name: str, made: Mapping[str, ir.Value]) -> ir.Value | None:
        if not name:
            return None
        found = made.get(name) or self.values.get(name) or self.graph.initializers.get(name)
        if found is None:
            raise InternalError(f"the plan names a value '{name}' that is not there", "recast/compression")
        return found


def _infer(graph: ir.Graph) -> None:
    """Shapes anew, in order; what inference cannot tell keeps its shape."""
    for node in graph:
        infer_node(node)
