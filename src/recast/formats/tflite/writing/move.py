"""Operators that change shape or order: integers keep their scales through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.schema import number
from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.constants import tensor_type
from recast.formats.tflite.writing.emitter import Emitter, dims_of
from recast.graph import view

Step = Callable[[int, int], None]  # from a tensor, to a tensor


def moves(w: Emitter, node: ir.Node, step: Step) -> None:
    """Run a step that only moves elements, on the integers where the value is quantised.

    The result is quantised with the input's scales, whatever uses it; where the graph then asks for other scales
    QuantizeLinear becomes QUANTIZE.
    """
    x, result = node.inputs[0], node.outputs[0]
    source = w.integer(x)
    if source is None:
        step(w.take(x), w.put(result))
        return
    quant = w.quant(source)
    found = w.quantised_result(result)
    if found is not None and found[2] == quant and tensor_type(found[1].dtype) == w.tensors[source].type:
        w.done.add(found[0])
        step(source, w.put(found[1], quant))
        return
    target = w.tensor(f"{result.name}/integer", w.tensors[source].type, dims_of(result), quant)
    step(source, target)
    w.set_integer(result, target)


def _one_result(node: ir.Node) -> bool:
    return not any(v.uses() or v.is_graph_output() for v in node.outputs[1:])


@writes("Identity", "Dropout", when=_one_result)
def identity(w: Emitter, node: ir.Node) -> None:
    """Nothing, unless a graph output must be a copy of an input, a constant or another output."""
    x, result = node.inputs[0], node.outputs[0]
    assert x is not None
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        raise Refused("the mask of a dropout")
    if len(node.inputs) > 2 and node.inputs[2] is not None and not view.is_scalar(node.inputs[2], 0.0):
        raise Refused("a dropout in training mode")
    copied = result.is_graph_output() and (x.producer() is None or x.is_graph_output())
    if copied:
        w.reshape(w.take(x), dims_of(result), w.put(result))
        return
    index = w.integer(x)
    if index is not None and not w.held(x):
        w.set_integer(result, index)
        return
    w.alias(result, w.take(x))


def target_dims(value: ir.Value) -> tuple[int, ...]:
    """A result's shape for RESHAPE: at most one unknown dimension.

    Raises:
        Refused: several are only known at run time.
    """
    dims = dims_of(value)
    if sum(d < 0 for d in dims) > 1:
        raise Refused(f"a reshape to {list(dims)}: more than one dimension is only known at run time")
    return dims


@writes("Reshape", "Flatten")
def reshape(w: Emitter, node: ir.Node) -> None:
    """RESHAPE."""
    result = node.outputs[0]
    if node.op_type == "Reshape" and sum(d < 0 for d in dims_of(result)) > 1:
        shape = node.inputs[1]
        if view.is_const(shape):
            _reshape_keeping(w, node)
            return
        moves(w, node, lambda a, b: w.op("RESHAPE", [a, as_int32(w, shape)], [b], ("ReshapeOptions", {})))
        return
    dims = target_dims(result)
    moves(w, node, lambda a, b: void(w.reshape(a, dims, b)))


def _reshape_keeping(w: Emitter, node: ir.Node) -> None:
    """A constant shape that keeps dimensions only known at run time (0): the shape is computed from the input's."""
    x, shape = node.inputs[0], view.const(node.inputs[1])
    assert x is not None
    assert shape is not None
    rank = len(dims_of(x))

    def step(source: int, target: int) -> None:
        whole = w.then("SHAPE", [source], (rank,), ("ShapeOptions", {"out_type": 2}), "INT32")
        parts = []
        for index, wanted in enumerate(shape.tolist()):
            if wanted != 0:
                parts.append(w.ints([wanted]))
                continue
            ends = [w.ints([index]), w.ints([index + 1]), w.ints([1])]
            parts.append(w.then("STRIDED_SLICE", [whole, *ends], (1,), ("StridedSliceOptions", {})))
        joined = w.then("CONCATENATION", parts, (len(parts),), ("ConcatenationOptions", {"axis": 0}))
        w.op("RESHAPE", [source, joined], [target], ("ReshapeOptions", {}))

    moves(w, node, step)


def void(_: object) -> None:
    """Drop a result."""


@writes("Squeeze", "Unsqueeze")
def squeeze(w: Emitter, node: ir.Node) -> None:
    """RESHAPE where the shape is known, else SQUEEZE and EXPAND_DIMS."""
    dims = dims_of(node.outputs[0])
    if sum(d < 0 for d in dims) <= 1:
        moves(w, node, lambda a, b: void(w.reshape(a, dims, b)))
        return
    x = node.inputs[0]
    assert x is not None
    given = view.const(node.inputs[1]) if len(node.inputs) > 1 else None
    if given is None:
        raise Refused("its axes must be constant")
    rank = max(len(dims), len(dims_of(x)))
    axes = sorted(int(a) % rank for a in given.reshape(-1))
    if node.op_type == "Squeeze":
        moves(w, node, lambda a, b: w.op("SQUEEZE", [a], [b], ("SqueezeOptions", {"squeeze_dims": axes})))
        return

    def expand(source: int, target: int) -> None:
        for axis in axes[:-1]:
            shape = list(w.shape(source))
            shape.insert(axis, 1)
            source = w.then("EXPAND_DIMS", [source, w.ints(axis)], shape, ("ExpandDimsOptions", {}))
        w.op("EXPAND_DIMS", [source, w.ints(axes[-1])], [target], ("ExpandDimsOptions", {}))

    moves(w, node, expand)


@writes("Transpose")
def transpose(w: Emitter, node: ir.Node) -> None:
    """TRANSPOSE, or RESHAPE where only dimensions of size 1 move."""
    x = node.inputs[0]
    assert x is not None
    dims = dims_of(x)
    perm = [int(p) for p in view.attr(node, "perm") or range(len(dims))[::-1]]
    solid = [p for p in perm if dims[p] != 1]
    if solid == sorted(solid) and sum(d < 0 for d in dims) <= 1:
        moves(w, node, lambda a, b: void(w.reshape(a, dims_of(node.outputs[0]), b)))
        return
    moves(w, node, lambda a, b: w.op("TRANSPOSE", [a, w.ints(perm)], [b], ("TransposeOptions", {})))


@writes("Concat")
def concat(w: Emitter, node: ir.Node) -> None:
    """CONCATENATION; integers of other scales than the result's are brought to them first."""
    rank = len(dims_of(node.outputs[0]))
    options = ("ConcatenationOptions", {"axis": int(view.attr(node, "axis")) % rank})
    if len(node.inputs) == 1:
        w.alias(node.outputs[0], w.take(node.inputs[0]))
        return
    site = w.site(node)
    inputs = site.inputs
    if site.quantised:
        quant = w.quant(site.output)
        inputs = [i if w.quant(i) == quant else _requantised(w, i, site.output) for i in inputs]
    w.op("CONCATENATION", inputs, [site.output], options)


def _requantised(w: Emitter, index: int, like: int) -> int:
    out = w.temp(like, w.shape(index))
    w.op("QUANTIZE", [index], [out], ("QuantizeOptions", {}))
    return out


def as_int32(w: Emitter, value: ir.Value | None) -> int:
    """A shape, axis or index as int32, cast at run time if it is computed there."""
    if value is None:
        raise Refused("a missing input")
    array = view.const(value)
    if array is not None:
        return w.ints(array)
    index = w.take(value)
    if w.tensors[index].type == "INT32":
        return index
    kinds = {"in_data_type": number("TensorType", w.tensors[index].type), "out_data_type": 2}
    return w.then("CAST", [index], None, ("CastOptions", kinds), "INT32")


def _broadcasts(node: ir.Node) -> bool:
    """BROADCAST_TO takes whole shapes: all known, or computed."""
    return not view.is_const(node.inputs[1]) or view.static_shape(node.outputs[0]) is not None


@writes("Expand", when=_broadcasts)
def expand(w: Emitter, node: ir.Node) -> None:
    """BROADCAST_TO; ONNX lets a wanted size of 1 stand for whatever the input has, TFLite does not."""
    x, shape = node.inputs
    assert x is not None
    known = dims_of(node.outputs[0])
    if -1 not in known:
        target = w.ints(known)
    elif view.is_const(shape):
        raise Refused("a broadcast of a dimension that is only known at run time")
    else:
        target = as_int32(w, shape)
        least = [0] * (len(known) - len(dims_of(x))) + [d if d > 1 else 0 for d in dims_of(x)]
        if any(least):
            target = w.then("MAXIMUM", [target, w.ints(least)], (len(known),), ("MaximumMinimumOptions", {}))
    moves(w, node, lambda a, b: w.op("BROADCAST_TO", [a, target], [b]))


@writes("Tile")
def tile(w: Emitter, node: ir.Node) -> None:
    """TILE."""
    repeats = as_int32(w, node.inputs[1])
    moves(w, node, lambda a, b: w.op("TILE", [a, repeats], [b], ("TileOptions", {})))


def _pads(node: ir.Node) -> bool:
    """Constants around, or reflected; nothing is cut."""
    given = view.const(node.inputs[1])
    plain = view.attr(node, "mode", "constant") in ("constant", "reflect")
    return given is None or (plain and not np.any(given < 0))


@writes("Pad", when=_pads)
def pad(w: Emitter, node: ir.Node) -> None:
    """PAD, PADV2 or MIRROR_PAD."""
    x = node.inputs[0]
    assert x is not None
    rank = len(dims_of(x))
    given = view.const(node.inputs[1])
    if given is None:
        raise Refused("padding that is computed at run time")
    axes_value = node.inputs[3] if len(node.inputs) > 3 else None
    axes = view.const(axes_value)
    if axes_value is not None and axes is None:
        raise Refused("axes that are computed at run time")
    places = range(rank) if axes is None else [int(a) % rank for a in axes.reshape(-1)]
    pads = np.zeros((rank, 2), np.int32)
    flat = given.reshape(2, -1)
    for column, axis in enumerate(places):
        pads[axis] = flat[:, column]
    mode = view.attr(node, "mode", "constant")
    if np.any(pads < 0):
        raise Refused("negative padding")
    if mode == "reflect":
        moves(w, node, lambda a, b: w.op("MIRROR_PAD", [a, w.ints(pads)], [b], ("MirrorPadOptions", {"mode": 0})))
        return
    if mode != "constant":
        raise Refused(f"padding mode {mode}")
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    if fill is None or view.is_scalar(fill, 0.0):
        moves(w, node, lambda a, b: w.op("PAD", [a, w.ints(pads)], [b], ("PadOptions", {})))
        return
    w.op("PADV2", [w.take(x), w.ints(pads), w.take(fill)], [w.put(node.outputs[0])], ("PadV2Options", {}))
