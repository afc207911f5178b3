"""Normalisation layers and softmax."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.types import NCHW
from recast.formats.mindspore.write import Arg, Ref, Writer, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, used, value_of
from recast.graph.view import attr, const, dims


def only_first(node: ir.Node) -> None:
    """Refuse a node whose further outputs are used."""
    for index, value in enumerate(node.outputs):
        if index and used(node, index):
            raise Refusal(f"its output {value.name} has no counterpart")


@writes("BatchNormalization")
def batch_normalization(w: Writer, node: ir.Node) -> None:
    only_first(node)
    if attr(node, "training_mode", 0):
        raise Refusal("training mode")
    x, rank, epsilon = value_of(node), len(dims(value_of(node))), float(attr(node, "epsilon", 1e-5))
    if rank > 4:
        w.bind(node.outputs[0], _affine(w, node, epsilon))
        return
    data: Arg = x
    for _ in range(4 - rank):
        data = w.fn("ExpandDims", data, -1)
    made = w.fn("BatchNorm", data, *node.inputs[1:], False, epsilon, 0.1, NCHW)
    result = w.item(made, 0)
    w.bind(node.outputs[0], result if rank == 4 else w.fn("Squeeze", result, tuple(range(rank, 4))))


def _affine(w: Writer, node: ir.Node, epsilon: float) -> Ref:
    """More than two spatial dimensions: one multiplication and one addition, worked out in float64."""
    arrays = [const(v) for v in node.inputs[1:]]
    if any(a is None for a in arrays):
        raise Refusal("its statistics must be constant")
    scale, bias, mean, var = (np.asarray(a, np.float64) for a in arrays)
    factor = scale / np.sqrt(var + epsilon)
    shape = (-1, *(1,) * (len(dims(value_of(node))) - 2))
    dtype = dtype_of(value_of(node)).numpy()
    scaled = w.fn("Mul", value_of(node), factor.astype(dtype).reshape(shape))
    return w.fn("Add", scaled, (bias - mean * factor).astype(dtype).reshape(shape))


@writes("LayerNormalization")
def layer_normalization(w: Writer, node: ir.Node) -> None:
    x, scale = value_of(node), value_of(node, 1)
    rank = len(dims(x))
    axis, shape = attr(node, "axis", -1) % rank, dims(scale)
    epsilon = float(attr(node, "epsilon", 1e-5))
    bias: Arg = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        if not all(isinstance(d, int) for d in shape):
            raise Refusal("the scale's shape is not known")
        bias = np.zeros([int(d or 0) for d in shape], dtype_of(x).numpy())
    if len(shape) == rank - axis and shape == dims(x)[axis:]:
        made = w.fn("LayerNorm", x, scale, bias, axis, axis, epsilon)
        w.bind(node.outputs[0], w.item(made, 0))
        if used(node, 1):
            w.bind(node.outputs[1], _moment(w, node, w.item(made, 1)))
        if used(node, 2):
            root = w.fn("Sqrt", w.fn("Add", w.item(made, 2), scalar(epsilon, x)))
            w.bind(node.outputs[2], _moment(w, node, w.fn("Reciprocal", root)))
        return
    only_first(node)
    normal = normalised(w, x, x, tuple(range(axis, rank)), epsilon)
    w.bind(node.outputs[0], w.fn("Add", w.fn("Mul", normal, scale), bias))


def _moment(w: Writer, node: ir.Node, made: Ref) -> Ref:
    """Mean and deviation come in the type of the input; ONNX has them in ``stash_type``."""
    stash = ir.DataType(attr(node, "stash_type", 1))
    return made if stash == dtype_of(value_of(node)) else w.cast(made, stash)


def normalised(w: Writer, x: Arg, like: ir.Value, axes: tuple[int, ...], epsilon: float) -> Ref:
    """Mean 0 and variance 1 over some axes."""
    centred = w.fn("Sub", x, w.fn("ReduceMean", x, axes, True))
    variance = w.fn("ReduceMean", w.fn("Square", centred), axes, True)
    return w.fn("Div", centred, w.fn("Sqrt", w.fn("Add", variance, scalar(epsilon, like))))


def _per_channel(w: Writer, value: ir.Value, spatial: int) -> Arg:
    array, shape = const(value), (-1, *(1,) * spatial)
    return w.fn("Reshape", value, shape) if array is None else w.weight(value, array.reshape(shape))


@writes("InstanceNormalization")
def instance_normalization(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    rank = len(dims(x))
    normal = normalised(w, x, x, tuple(range(2, rank)), float(attr(node, "epsilon", 1e-5)))
    scaled = w.fn("Mul", normal, _per_channel(w, value_of(node, 1), rank - 2))
    w.bind(node.outputs[0], w.fn("Add", scaled, _per_channel(w, value_of(node, 2), rank - 2)))


@writes("GroupNormalization")
def group_normalization(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    epsilon = float(attr(node, "epsilon", 1e-5))
    made = w.fn("GroupNorm", x, int(attr(node, "num_groups")), value_of(node, 1), value_of(node, 2), epsilon)
    w.bind(node.outputs[0], w.item(made, 0))


@writes("RMSNormalization")
def rms_normalization(w: Writer, node: ir.Node) -> None:
    x, rank = value_of(node), len(dims(value_of(node)))
    axes = tuple(range(attr(node, "axis", -1) % rank, rank))
    mean = w.fn("ReduceMean", w.fn("Square", x), axes, True)
    root = w.fn("Sqrt", w.fn("Add", mean, scalar(float(attr(node, "epsilon", 1e-5)), x)))
    w.bind(node.outputs[0], w.fn("Mul", w.fn("Div", x, root), value_of(node, 1)))


@writes("LRN")
def lrn(w: Writer, node: ir.Node) -> None:
    x, size = value_of(node), attr(node, "size")
    if size % 2 == 0 or len(dims(x)) != 4:
        raise Refusal("MindSpore's LRN takes an odd window over (N, C, H, W)")
    attributes = {
        "norm_region": "ACROSS_CHANNELS",
        "beta": float(attr(node, "beta", 0.75)),
        "depth_radius": size // 2,
        "bias": float(attr(node, "bias", 1.0)),
        "alpha": float(attr(node, "alpha", 1e-4)) / size,
    }
    w.bind(node.outputs[0], w.prim("LRN", [x], attributes))


@writes("LpNormalization")
def lp_normalization(w: Writer, node: ir.Node) -> None:
    x, axis = value_of(node), (int(attr(node, "axis", -1)),)
    if attr(node, "p", 2) == 1:
        norm = w.fn("ReduceSum", w.fn("Abs", x), axis, True, False)
    else:
        norm = w.fn("Sqrt", w.fn("ReduceSum", w.fn("Square", x), axis, True, False))
    zero = w.fn("Equal", norm, scalar(0.0, x))  # ONNX: a zero norm gives zeros
    w.bind(node.outputs[0], w.fn("Div", x, w.fn("Select", zero, scalar(1.0, x), norm)))


@writes("Softmax")
def softmax(w: Writer, node: ir.Node) -> None:
    x, axis = value_of(node), int(attr(node, "axis", -1))
    if not may_be_masked(x):
        w.bind(node.outputs[0], w.fn("Softmax", x, (axis,)))
        return
    # a row of -inf is nan in ONNX; in MindSpore's kernel it spoils the rows after it
    gone = w.fn("Equal", w.fn("ReduceMax", x, (axis,), True), scalar(-np.inf, x))
    made = w.fn("Softmax", w.fn("Select", gone, scalar(0, x), x), (axis,))
    w.bind(node.outputs[0], w.fn("Select", gone, scalar(np.nan, x), made))


_KEEP = {
    *("Add", "Sub", "Mul", "Div", "Where", "Cast", "CastLike", "Max", "Min", "Identity", "Clip", "Neg"),
    *("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Expand", "Slice", "Concat", "Pad", "Gather", "Tile", "Split"),
}


def may_be_masked(value: ir.Value) -> bool:
    """Whether -inf may reach a value: from a constant, or from an input of the graph (an attention mask)."""
    seen: set[ir.Value] = set()
    pending = [value]
    while pending:
        now = pending.pop()
        if now in seen:
            continue
        seen.add(now)
        real = now.dtype is not None and now.dtype.is_floating_point()
        array = const(now) if real else None
        maker = now.producer()
        if array is not None and np.isneginf(array).any():
            return True
        if real and array is None and maker is None:
            return True
        if maker is not None and maker.domain == "" and maker.op_type in _KEEP:
            pending.extend(v for v in maker.inputs if v is not None)
    return False


@writes("LogSoftmax")
def log_softmax(w: Writer, node: ir.Node) -> None:
    w.bind(node.outputs[0], w.fn("LogSoftmax", value_of(node), int(attr(node, "axis", -1))))


@writes("MeanVarianceNormalization")
def mean_variance(w: Writer, node: ir.Node) -> None:
    x, axes = value_of(node), tuple(attr(node, "axes", [0, 2, 3]))
    centred = w.fn("Sub", x, w.fn("ReduceMean", x, axes, True))
    deviation = w.fn("Sqrt", w.fn("ReduceMean", w.fn("Square", centred), axes, True))
    w.bind(node.outputs[0], w.fn("Div", centred, w.fn("Add", deviation, scalar(1e-9, x))))
