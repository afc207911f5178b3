"""Attributes and constant inputs of a node whose axes change order, and the constants made for it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr, const, is_const
from recast.ops import fact
from recast.passes._editor import Editor, tensor_of
from recast.passes.layout_dense import Fold
from recast.passes.layout_rules import Axes, Letters, Perm, axes_input, axis_of, inverse


class Constants(Editor):
    """An editor that also brings constants to new orders of axes."""

    def transposed(self, value: ir.Value, perm: Perm) -> ir.Value:
        """A constant with its axes permuted."""
        tensor = tensor_of(value)
        shape = [tensor.shape.numpy()[p] for p in perm]
        return self.derived(value, ("T", perm), shape, lambda a: np.ascontiguousarray(a.transpose(perm)))

    def taken(self, value: ir.Value, fold: Fold, axis: int) -> ir.Value:
        """A constant with the entries along one axis in the fold's order."""
        shape = tensor_of(value).shape.numpy()
        return self.derived(value, ("rows", fold.perm, fold.dims, axis), shape, lambda a: a.take(fold.rows(), axis))

    def aligned(self, value: ir.Value, rule: Axes, slot: int, order: Letters, before: ir.Node) -> ir.Value:
        """A broadcast operand of lower rank, brought to the axes of the new order."""
        letters = rule.letters(slot) or ()
        if is_const(value):
            old = (1,) * (rule.size - len(letters)) + tuple(tensor_of(value).shape.numpy())
            shape = [old[i] for i in order]
            if all(d == 1 for d in shape):
                return value
            return self.derived(
                value, ("aligned", order), shape, lambda a: np.ascontiguousarray(a.reshape(old).transpose(order))
            )
        gaps = rule.gaps(slot, order) or ()
        node = ir.node(
            "Unsqueeze", [value, self.const(list(gaps), "axes")], name=self.unique(f"{value.name}/Unsqueeze")
        )
        node.metadata_props.update(before.metadata_props)
        made = node.outputs[0]
        dims = iter(value.shape or ())
        made.shape = ir.Shape([1 if i in gaps else next(dims) for i in range(len(letters) + len(gaps))])
        made.name = self.unique(f"{value.name}_aligned")
        made.type = None if value.dtype is None else ir.TensorType(value.dtype)  # a shared type would change for both
        self.graph.insert_before(before, node)
        return made

    def vector(self, value: ir.Value, picks: Perm, before: ir.Node) -> ir.Value:
        """``value[picks]`` of a vector with one entry (or more) per axis; a Gather where it is not constant."""
        if is_const(value):
            return self.derived(value, ("vector", picks), [len(picks)], lambda a: a[list(picks)])
        node = ir.node("Gather", [value, self.const(list(picks), "order")], {"axis": 0})
        node.name = self.unique(f"{value.name}/Gather")
        node.metadata_props.update(before.metadata_props)
        made = node.outputs[0]
        made.name, made.type, made.shape = self.unique(f"{value.name}_ordered"), value.type, value.shape
        self.graph.insert_before(before, node)
        return made


def edit(node: ir.Node, rule: Axes, order: Letters, constants: Constants) -> None:
    """Remap everything that counts axes; operands are already in their new order."""
    facts = fact(node.op_type)
    kind = facts.kind if facts else "fixed"
    source = rule.perm(0, order) or ()
    result = rule.perm(~0, order) or ()
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        _axis(node, result)
    elif kind in ("along", "concat", "split") or node.op_type in ("ArgMax", "ArgMin"):
        _axis(node, result if kind == "concat" else source)
    elif kind == "gather" and rule.letters(0) is not None:
        _axis(node, source)
    elif kind == "reduce" or kind == "cumulate":
        _axes(node, 1, source, constants)
    elif kind == "slice":
        _slice(node, source, constants)
    elif kind == "pad":
        _per_axis(node, 1, 3, source, constants)
    elif kind == "resize":
        _resize(node, source, constants)
    elif kind == "tile":
        _vector(node, 1, source, constants)
    elif kind == "expand":
        _vector(node, 1, result, constants)
    elif kind in ("squeeze", "unsqueeze"):
        _squeeze(node, rule, order, constants)


def _axis(node: ir.Node, perm: Perm) -> None:
    node.attributes["axis"] = ir.AttrInt64("axis", inverse(perm)[axis_of(node) % len(perm)])


def _axes(node: ir.Node, index: int, perm: Perm, constants: Constants) -> None:
    axes = axes_input(node, index, len(perm))
    given = const(node.inputs[index]) if index < len(node.inputs) else None
    if axes and given is not None:
        place = inverse(perm)
        moved = np.array([place[a] for a in axes], given.dtype).reshape(given.shape)
        node.replace_input_with(index, constants.const(moved, "axes"))


def _slice(node: ir.Node, perm: Perm, constants: Constants) -> None:
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        _axes(node, 3, perm, constants)
        return
    starts = const(node.inputs[1])
    if starts is not None:
        place = inverse(perm)
        if len(node.inputs) < 4:
            node.resize_inputs(4)
        node.replace_input_with(3, constants.const(np.array(place[: starts.size], starts.dtype), "axes"))


def _vector(node: ir.Node, index: int, perm: Perm, constants: Constants, times: int = 1) -> None:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is not None and not (value.shape is not None and list(value.shape) == [0]):
        picks = tuple(p + block * len(perm) for block in range(times) for p in perm)
        node.replace_input_with(index, constants.vector(value, picks, node))


def _per_axis(node: ir.Node, index: int, axes: int, perm: Perm, constants: Constants) -> None:
    if axes < len(node.inputs) and node.inputs[axes] is not None:
        _axes(node, axes, perm, constants)
    else:
        _vector(node, index, perm, constants, times=2)


def _resize(node: ir.Node, perm: Perm, constants: Constants) -> None:
    given = attr(node, "axes")
    if given is not None:
        place = inverse(perm)
        node.attributes["axes"] = ir.AttrInt64s("axes", [place[a % len(perm)] for a in given])
        return
    _vector(node, 1, perm, constants, times=2)
    _vector(node, 2, perm, constants)
    _vector(node, 3, perm, constants)


def _squeeze(node: ir.Node, rule: Axes, order: Letters, constants: Constants) -> None:
    """Axes that only one side has, at their new places."""
    longer, shorter = (0, ~0) if node.op_type == "Squeeze" else (~0, 0)
    full, kept = rule.letters(longer) or (), rule.letters(shorter) or ()
    perm = rule.perm(longer, order) or ()
    axes = [place for place, axis in enumerate(perm) if full[axis] not in kept]
    if len(node.inputs) < 2:
        node.resize_inputs(2)
    node.replace_input_with(1, constants.const(axes, "axes"))
