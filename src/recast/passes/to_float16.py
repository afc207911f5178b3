"""Compute in float16; inputs and outputs of the model stay float32.

Given: a float32 graph.
Result: float32 weights and tensors become float16, with Casts at the border. Operators (or single inputs) that ONNX
    does not define for float16 stay float32, and so do those with weights beyond float16's range. Large constants of
    masks and limits (``-1e9``) are clipped to ±65504; tiny scalars (an epsilon) are raised to 1e-7 so that they do
    not vanish: both are findings.
Refuses when: the model has sub-graphs (If, Loop, Scan).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.graph import CHANNELS_LAST_DOMAIN, OPSET
from recast.graph.finding import Finding
from recast.graph.view import attr, const, is_const, layer_of
from recast.passes import PassOptions
from recast.passes._editor import Editor, copy_origin, has_graphs, tensor_of

_LARGEST = 65504.0
_SMALLEST = 1e-7  # float16 has 1.2e-7 = 2**-23 next to it
_CLIPPED = {"Add", "Sub", "Where", "Clip", "Min", "Max", "Pad", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"}
_QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
_HALF, _FULL = ir.DataType.FLOAT16, ir.DataType.FLOAT


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Turn the model to float16 in place.

    Raises:
        UnsupportedOp: the model has sub-graphs.
    """
    nested = [f"{layer_of(n)} ({n.op_type})" for n in model.graph if has_graphs(n)]
    if nested:
        raise UnsupportedOp("sub-graphs cannot be turned to float16", "; ".join(nested[:20]), "keep float32")
    half = _Half(model.graph)
    for node in list(model.graph):
        half.node(node)
    half.outputs()
    half.editor.drop_unused()
    return half.findings


class _Half:
    """One run over the nodes in order."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph, self.editor = graph, Editor(graph)
        self.findings: list[Finding] = []
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def node(self, node: ir.Node) -> None:
        """Decide for one node, then fit its inputs."""
        full = _full_inputs(node)
        if full is None or self._too_large(node, full):
            full = set(range(len(node.inputs)))
            results = False
        else:
            results = True
        for slot, value in enumerate(node.inputs):
            if value is None or value.dtype not in (_HALF, _FULL):
                continue
            wanted = _FULL if slot in full else _HALF
            if value.dtype != wanted:
                held = is_const(value) and wanted == _HALF
                fresh = self._constant(node, value) if held else self._cast(value, wanted, node)
                node.replace_input_with(slot, fresh)
        if results:
            self._attributes(node)
            for value in node.outputs:
                if value.dtype == _FULL:
                    value.type = ir.TensorType(_HALF)

    def outputs(self) -> None:
        """Cast graph outputs back, under their names."""
        for index, value in enumerate(self.graph.outputs):
            if value.dtype != _HALF:
                continue
            name, value.name = value.name, self.editor.unique(f"{value.name}_half")
            node = self._cast_node(value, _FULL)
            node.outputs[0].name = name
            self.graph.append(node)
            self.graph.outputs[index] = node.outputs[0]

    def _too_large(self, node: ir.Node, full: set[int]) -> bool:
        if node.op_type in _CLIPPED:
            return False
        for slot, value in enumerate(node.inputs):
            if slot in full or value is None or value.dtype != _FULL or not is_const(value):
                continue
            array = const(value)
            if array is not None and array.size and _extreme(array) > _LARGEST:
                self.findings.append(Finding(f"{node.op_type} stays float32: its weights exceed 65504", layer_of(node)))
                return True
        return False

    def _constant(self, node: ir.Node, value: ir.Value) -> ir.Value:
        key = (value, _HALF)
        if key in self._casts:
            return self._casts[key]
        array = tensor_of(value).numpy()
        tiny = array.size == 1 and 0 < abs(float(array.reshape(-1)[0])) < _SMALLEST
        if array.size and _extreme(array) > _LARGEST:
            self.findings.append(Finding(f"{value.name}: values beyond 65504 are clipped", layer_of(node), "warning"))
        if tiny:
            self.findings.append(Finding(f"{value.name}: raised to {_SMALLEST} in float16", layer_of(node), "warning"))
        name = self.editor.unique(f"{value.name}_half")
        held = ir.LazyTensor(
            lambda: ir.Tensor(_to_half(tensor_of(value).numpy(), tiny), name=name),
            dtype=_HALF,
            shape=ir.Shape(array.shape),
            name=name,
        )
        self._casts[key] = self.editor.add(held)
        self.editor.forget(value)
        return self._casts[key]

    def _cast_node(self, value: ir.Value, to: ir.DataType) -> ir.Node:
        node = ir.node("Cast", [value], {"to": int(to)}, name=self.editor.unique(f"{value.name}/Cast"))
        producer = value.producer()
        if producer is not None:
            copy_origin(producer, node)
        node.outputs[0].name = self.editor.unique(f"{value.name}_cast")
        node.outputs[0].dtype, node.outputs[0].shape = to, value.shape
        return node

    def _cast(self, value: ir.Value, to: ir.DataType, before: ir.Node) -> ir.Value:
        if (value, to) not in self._casts:
            node = self._cast_node(value, to)
            self.graph.insert_before(before, node)
            self._casts[value, to] = node.outputs[0]
        return self._casts[value, to]

    def _attributes(self, node: ir.Node) -> None:
        """Element types named by an attribute."""
        for name in ("to", "dtype"):
            if attr(node, name) == int(_FULL) and any(v.dtype == _FULL for v in node.outputs):
                node.attributes[name] = ir.AttrInt64(name, int(_HALF))
        if node.op_type == "ConstantOfShape" and node.outputs[0].dtype == _FULL:
            given = node.attributes.get("value")
            array = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
            node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(_to_half(array, False)))


def _extreme(array: np.ndarray) -> float:
    """The largest finite magnitude."""
    largest = float(max(array.max(), -array.min()))
    if np.isfinite(largest):
        return largest
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _to_half(array: np.ndarray, tiny: bool) -> np.ndarray:
    if tiny:
        array = np.copysign(np.full_like(array, _SMALLEST), array)
    clipped = np.where(np.isfinite(array), np.clip(array, -_LARGEST, _LARGEST), array)
    return clipped.astype(np.float16)


def _full_inputs(node: ir.Node) -> set[int] | None:
    """Inputs that must stay float32; None: the whole node must."""
    if node.domain not in ("", CHANNELS_LAST_DOMAIN) or node.op_type in _QUANTISED:
        return None
    facts = _allowed(node.op_type)
    if facts is None:
        return None
    inputs, outputs = facts
    for index, value in enumerate(node.outputs):
        if value.dtype == _FULL and not outputs[min(index, len(outputs) - 1)]:
            return None
    return {slot for slot in range(len(node.inputs)) if not inputs[min(slot, len(inputs) - 1)]}


@cache
def _allowed(op_type: str) -> tuple[list[bool], list[bool]] | None:
    """Per input and output: whether ONNX allows float16 there."""
    try:
        schema: Any = onnx.defs.get_schema(op_type, OPSET, "")
    except onnx.defs.SchemaError:
        return None
    sides = ([("tensor(float16)" in p.types) for p in side] for side in (schema.inputs, schema.outputs))
    inputs, outputs = sides
    return inputs, outputs
