"""Constants as values of the graph, and values of the graph that are constants."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.errors import BadModel
from recast.formats.savedmodel.scope import Held, Reading, Thing
from recast.formats.savedmodel.tensors import DAMAGED
from recast.graph.build import Builder
from recast.graph.view import static_shape
from recast.passes._partial import Partial, evaluate
from recast.passes.fold_constants import compute

_SMALL = 1024
_DEEPEST = 64
Form = tuple[str, Sequence[int] | None, Sequence[int] | None]  # name, axes' permutation, then shape


def value(shared: Reading, builder: Builder, held: Held) -> ir.Value:
    """A constant in the graph as it is stored: equal small ones are shared, weights keep their names."""
    key = (id(builder), held, ())
    if key not in shared.values:
        if held.array.size <= _SMALL and (held.array.ndim == 0 or held.array.dtype.kind in "iub"):
            shared.values[key] = builder.const(np.array(held.array), name=_short(held.name))
        else:
            shared.values[key] = builder.weight(held.name, ir.Tensor(held.array))
    return shared.values[key]


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1] or "const"


def form(shared: Reading, builder: Builder, held: Held, wanted: Form) -> ir.Value:
    """A weight in another axis order and shape; the same form is made once.

    Raises:
        BadModel: it has another number of axes or elements.
    """
    name, perm, shape = wanted
    key = (id(builder), held, (tuple(perm or ()), tuple(shape or ())))
    if key not in shared.values:
        if perm is not None and sorted(perm) != list(range(held.array.ndim)):
            raise BadModel(f"a weight of {held.array.ndim} axes instead of {len(perm)}", held.name, DAMAGED)
        turned = held.array if perm is None else held.array.transpose(perm)
        if shape is not None:
            if np.prod(shape, dtype=np.float64) != held.array.size:
                raise BadModel(f"a weight of shape {list(held.array.shape)} cannot become {list(shape)}", held.name)
            turned = turned.reshape(shape)
        shared.values[key] = builder.weight(name, ir.Tensor(turned))
    return shared.values[key]


def known(shared: Reading, thing: Thing | None) -> np.ndarray | None:
    """The numbers of what does not depend on the model's inputs, else None (only small results are computed)."""
    if isinstance(thing, Held):
        return thing.array
    return _known(shared, thing, 0) if isinstance(thing, ir.Value) else None


def _known(shared: Reading, thing: ir.Value, depth: int) -> np.ndarray | None:
    """Every value is looked at once; large ones and those of unknown shape never."""
    if thing.const_value is not None:
        array: np.ndarray = thing.const_value.numpy()
        return array
    shape = static_shape(thing)
    if thing in shared.folded or shape is None or math.prod(shape) > _SMALL or depth > _DEEPEST:
        return shared.folded.get(thing)
    shared.folded[thing] = None
    part = partial(shared, thing)
    if part is not None and all(isinstance(e, int) for e in part.entries):
        shared.folded[thing] = part.array(thing.dtype)
    elif part is None:
        shared.folded[thing] = _folded(shared, thing, depth)
    return shared.folded[thing]


def _folded(shared: Reading, thing: ir.Value, depth: int) -> np.ndarray | None:
    node = thing.producer()
    if node is None or len(node.outputs) != 1 or not node.inputs:
        return None
    arrays: list[np.ndarray | None] = []
    for given in node.inputs:
        array = None if given is None else _known(shared, given, depth + 1)
        if given is not None and array is None:
            return None
        arrays.append(array)
    results = compute(_with_constants(node, arrays))
    return None if results is None else results[0]


def _with_constants(node: ir.Node, arrays: Sequence[np.ndarray | None]) -> ir.Node:
    """The same operator on constants, outside of any graph."""
    inputs = []
    for array in arrays:
        held = None if array is None else ir.Tensor(array)
        made = None
        if held is not None:
            made = ir.Value(name="c", shape=ir.Shape(held.shape), type=ir.TensorType(held.dtype), const_value=held)
        inputs.append(made)
    copy = ir.Node(node.domain, node.op_type, inputs, attributes=list(node.attributes.values()), num_outputs=1)
    copy.outputs[0].shape, copy.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    return copy


def partial(shared: Reading, thing: ir.Value, depth: int = 0) -> Partial | None:
    """What is known of a small integer vector: numbers, named dimensions, or None for the rest."""
    if thing in shared.partly:
        return shared.partly[thing]
    node = thing.producer()
    if node is None or depth > _DEEPEST or thing.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    if node.op_type not in ("Shape", "Size"):
        for given in node.inputs:
            if given is not None and given.const_value is None:
                partial(shared, given, depth + 1)
    found = evaluate(node, shared.partly)
    if found is not None:
        shared.partly[thing] = found
    return found
