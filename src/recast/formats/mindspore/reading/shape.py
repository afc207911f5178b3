"""Moving elements: reshape, transpose, slice, gather, pad, join, split."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.graph.view import const, dims

_FAR = 2**63 - 1


def shape_of(c: Call, held: Any) -> ir.Value:
    """A shape given as numbers, some of them perhaps known only at run time."""
    if isinstance(held, ir.Value):
        return held if held.dtype == ir.DataType.INT64 else c.b.op("Cast", [held], {"to": int(ir.DataType.INT64)})
    if isinstance(held, np.ndarray):
        held = tuple(held.reshape(-1).tolist())
    if not isinstance(held, tuple):
        raise Refusal("the new shape is not known")
    if all(isinstance(d, int) for d in held):
        return c.b.const(list(held), np.int64)
    parts = [c.b.const([d], np.int64) if isinstance(d, int) else c.b.op("Unsqueeze", [d, c.b.const([0])]) for d in held]
    return c.b.op("Concat", parts, {"axis": 0})


def keeps_batch(x: ir.Value, wanted: tuple[Any, ...]) -> bool:
    """Whether a reshape to (-1, …) leaves an unknown first dimension as it is."""
    sizes = dims(x)
    if not sizes or isinstance(sizes[0], int) or not wanted or wanted[0] != -1:
        return False
    rest = (*sizes[1:], *wanted[1:])
    if not all(isinstance(d, int) and d > 0 for d in rest):
        return False
    return bool(math.prod(d for d in sizes[1:] if isinstance(d, int)) == math.prod(wanted[1:]))


@reads("Reshape")
def reshape(c: Call) -> ir.Value:
    x, wanted = c.value(0), c.arg("shape", 1)
    if isinstance(wanted, tuple) and 0 in wanted:  # a size, where ONNX would copy what the input has
        return c.b.op("Reshape", [x, shape_of(c, wanted)], {"allowzero": 1})
    if isinstance(wanted, tuple) and keeps_batch(x, wanted):
        wanted = (0, *wanted[1:])
    shape = shape_of(c, wanted)
    y = c.b.op("Reshape", [x, shape])
    if isinstance(wanted, tuple) and 0 not in wanted:
        y = shaped(c, y, wanted)
    if y.shape is None:
        raise Refusal("the new shape is not known")
    return y


@reads("Flatten")
def flatten(c: Call) -> ir.Value:
    return c.b.op("Flatten", [c.value(0)], {"axis": 1})


@reads("Shape")
def shape(c: Call) -> tuple[Any, ...]:
    x = c.value(0)
    if all(isinstance(d, int) for d in dims(x)):
        return dims(x)
    now = c.b.op("Shape", [x])
    at: list[Any] = []
    for i, d in enumerate(dims(x)):
        at.append(d if isinstance(d, int) else c.b.op("Gather", [now, c.b.const(i, np.int64)]))
        if not isinstance(d, int):
            c.reader.symbols[id(at[-1])] = d
    return tuple(at)


def shaped(c: Call, y: ir.Value, held: Any) -> ir.Value:
    """Note the dimensions of a shape that is partly known at run time only."""
    if (
        isinstance(held, tuple)
        and all(isinstance(d, int) or id(d) in c.reader.symbols for d in held)
        and -1 not in held
    ):
        y.shape = ir.Shape([d if isinstance(d, int) else c.reader.symbols[id(d)] for d in held])
    return y


@reads("TensorShape", "DynamicShape")
def tensor_shape(c: Call) -> ir.Value:
    return c.b.op("Shape", [c.value(0)])


@reads("Transpose")
def transpose(c: Call) -> ir.Value:
    rank = len(dims(c.value(0)))
    return c.b.op("Transpose", [c.value(0)], {"perm": [p % rank for p in c.ints("perm", 1)]})


@reads("Squeeze")
def squeeze(c: Call) -> ir.Value:
    axes = c.ints("axis", 1, ())
    return c.b.op("Squeeze", [c.value(0), c.b.const(axes)] if axes else [c.value(0)])


@reads("ExpandDims")
def expand_dims(c: Call) -> ir.Value:
    return c.b.op("Unsqueeze", [c.value(0), c.b.const(c.ints("axis", 1))])


def parts_of(c: Call) -> list[ir.Value]:
    """The tensors of a tuple, given as one input or several."""
    held = c.args[0] if c.args and isinstance(c.args[0], tuple) else tuple(a for a in c.args if isinstance(a, ir.Value))
    return [c.reader.value(v) for v in held]


@reads("Concat")
def concat(c: Call) -> ir.Value:
    axis = c.number("axis", 1, 0) if isinstance(c.args[0], tuple) else c.attribute("axis", 0)
    return c.b.op("Concat", parts_of(c), {"axis": axis})


@reads("Stack")
def stack(c: Call) -> ir.Value:
    axis, parts = int(c.attribute("axis", 0)), parts_of(c)
    rank = len(dims(parts[0])) + 1
    at = c.b.const([axis % rank])
    return c.b.op("Concat", [c.b.op("Unsqueeze", [p, at]) for p in parts], {"axis": axis % rank})


@reads("Unstack")
def unstack(c: Call) -> tuple[Any, ...]:
    x = c.value(0)
    axis = int(c.attribute("axis", 0)) % len(dims(x))
    count = dims(x)[axis]
    if not isinstance(count, int) or count > 4096:
        raise Refusal("the number of its parts")
    return tuple(c.b.op("Squeeze", [p, c.b.const([axis])]) for p in _pieces(c, x, axis, [1] * count))


def _pieces(c: Call, x: ir.Value, axis: int, sizes: list[int]) -> tuple[ir.Value, ...]:
    return c.b.node("Split", [x, c.b.const(sizes)], {"axis": axis}, len(sizes))


@reads("Split")
def split(c: Call) -> tuple[Any, ...]:
    x, axis, count = c.value(0), c.number("axis", 1, 0), c.number("output_num", 2, 1)
    size = dims(x)[axis % len(dims(x))]
    if not isinstance(size, int) or not 0 < count <= 4096 or size % count:
        raise Refusal("parts of unknown size")
    return _pieces(c, x, axis % len(dims(x)), [size // count] * count)


@reads("SplitWithSize", "SplitTensor")
def split_sizes(c: Call) -> tuple[Any, ...]:
    x, sizes = c.value(0), c.ints("split_size", 1)
    axis = c.number("dim", 2, 0) % len(dims(x))
    whole = dims(x)[axis]
    if c.op == "SplitTensor" and isinstance(whole, int) and sizes[0] > 0:
        sizes = [min(sizes[0], whole - at) for at in range(0, whole, sizes[0])]
    return _pieces(c, x, axis, sizes)


@reads("StridedSlice")
def strided_slice(c: Call) -> ir.Value:
    x = c.value(0)
    begin, end, step = c.ints("begin", 1), c.ints("end", 2), c.ints("strides", 3)
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = {name: c.number(name, 4 + i, 0) for i, name in enumerate(names)}
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        raise Refusal("an ellipsis or a new axis")
    if not len(begin) == len(end) == len(step) <= len(dims(x)) or 0 in step:
        raise Refusal("its limits do not fit")
    axes, starts, ends, steps, dropped = [], [], [], [], []
    for i, (b, e, s) in enumerate(zip(begin, end, step, strict=True)):
        shrink, bit = masks["shrink_axis_mask"] >> i & 1, 1 << i
        if shrink:
            dropped.append(i)
            e, s = (b + 1 if b != -1 else _FAR), 1
        elif masks["begin_mask"] & bit:
            b = 0 if s > 0 else _FAR
        if not shrink and masks["end_mask"] & bit:
            e = _FAR if s > 0 else -_FAR
        if (b, s) == (0, 1) and e == _FAR:
            continue
        axes.append(i)
        starts.append(b)
        ends.append(e)
        steps.append(s)
    if not axes:
        return c.b.op("Identity", [x])
    y = c.b.op("Slice", [x, *(c.b.const(v, np.int64) for v in (starts, ends, axes, steps))])
    return c.b.op("Squeeze", [y, c.b.const(dropped)]) if dropped else y


@reads("Slice")
def slice_(c: Call) -> ir.Value:
    begin, size = c.ints("begin", 1), c.ints("size", 2)
    end = [_FAR if s == -1 else b + s for b, s in zip(begin, size, strict=True)]
    axes = list(range(len(begin)))
    return c.b.op("Slice", [c.value(0), *(c.b.const(v, np.int64) for v in (begin, end, axes))])


@reads("ReverseV2")
def reverse(c: Call) -> ir.Value:
    axes = c.ints("axis", 1)
    limits = [[-1] * len(axes), [-_FAR] * len(axes), axes, [-1] * len(axes)]
    return c.b.op("Slice", [c.value(0), *(c.b.const(v, np.int64) for v in limits)])


@reads("Gather", "GatherV2", "SparseGatherV2")
def gather(c: Call) -> ir.Value:
    if c.number("batch_dims", 3, 0):
        raise Refusal("batch_dims")
    return c.b.op("Gather", [c.value(0), c.value(1)], {"axis": c.number("axis", 2, 0)})


@reads("GatherD")
def gather_d(c: Call) -> ir.Value:
    return c.b.op("GatherElements", [c.value(0), _long(c, c.value(2))], {"axis": c.number("dim", 1)})


def _long(c: Call, value: ir.Value) -> ir.Value:
    return value if value.dtype == ir.DataType.INT64 else c.b.op("Cast", [value], {"to": int(ir.DataType.INT64)})


@reads("GatherNd")
def gather_nd(c: Call) -> ir.Value:
    return c.b.op("GatherND", [c.value(0), _long(c, c.value(1))])


@reads("TensorScatterUpdate", "TensorScatterAdd", "TensorScatterMul", "TensorScatterMax", "TensorScatterMin")
def tensor_scatter(c: Call) -> ir.Value:
    how = {"Update": "none"}.get(c.op[13:], c.op[13:].lower())
    return c.b.op("ScatterND", [c.value(0), _long(c, c.value(1)), c.value(2)], {"reduction": how})


@reads("TensorScatterElements")
def scatter_elements(c: Call) -> ir.Value:
    how = {0: "none", 1: "add", "none": "none", "add": "add"}.get(c.arg("reduce", 4, 0))
    if how is None:
        raise Refusal("its reduction")
    attributes = {"axis": c.number("axis", 3, 0), "reduction": how}
    return c.b.op("ScatterElements", [c.value(0), _long(c, c.value(1)), c.value(2)], attributes)


@reads("BroadcastTo")
def broadcast_to(c: Call) -> ir.Value:
    x, held = c.value(0), c.arg("shape", 1)
    if isinstance(held, tuple) and not all(isinstance(d, int) for d in held):
        offset = len(held) - len(dims(x))
        held = tuple(dims(x)[i - offset] if isinstance(d, int) and d == -1 else d for i, d in enumerate(held))
        return shaped(c, c.b.op("Expand", [x, shape_of(c, held)]), held)
    wanted = c.ints("shape", 1)
    # -1 keeps the dimension, which a 1 does in ONNX
    return c.b.op("Expand", [x, c.b.const([1 if d == -1 else d for d in wanted], np.int64)])


@reads("Tile")
def tile(c: Call) -> ir.Value:
    x, repeats = c.value(0), c.ints("multiples", 1)
    missing = len(repeats) - len(dims(x))
    if missing > 0:
        x = c.b.op("Unsqueeze", [x, c.b.const(list(range(missing)))])
    return c.b.op("Tile", [x, c.b.const([*[1] * -min(missing, 0), *repeats], np.int64)])


@reads("PadV3", "ConstantPadND")
def pad_v3(c: Call) -> ir.Value:
    x, flat = c.value(0), c.ints("paddings", 1)
    rank, mode = len(dims(x)), c.attribute("mode", "constant")
    if len(flat) % 2 or len(flat) > 2 * rank or not c.attribute("paddings_contiguous", True):
        raise Refusal("its paddings do not fit")
    begins, ends = [0] * rank, [0] * rank
    for i in range(len(flat) // 2):
        begins[rank - 1 - i], ends[rank - 1 - i] = flat[2 * i], flat[2 * i + 1]
    return _padded(c, x, [*begins, *ends], mode)


def _padded(c: Call, x: ir.Value, pads: list[int], mode: str) -> ir.Value:
    names = {"constant": "constant", "reflect": "reflect", "edge": "edge", "circular": "wrap"}
    if mode not in names:
        raise Refusal(f"padding mode {mode}")
    inputs = [x, c.b.const(pads, np.int64)]
    held = c.args[2] if len(c.args) > 2 else None
    if mode == "constant" and held is not None:
        value = c.reader.value(held, x.dtype)
        array = const(value)
        if x.dtype is None or (array is not None and array.size != 1):
            raise Refusal("its value is not one number")
        if array is None:
            value = value if value.dtype == x.dtype else c.b.op("Cast", [value], {"to": int(x.dtype)})
            inputs.append(c.b.op("Reshape", [value, c.b.const([], np.int64)]))
        else:
            inputs.append(c.b.const(array.reshape(()).astype(x.dtype.numpy())))
    return c.b.op("Pad", inputs, {"mode": names[mode]})


@reads("Pad")
def pad(c: Call) -> ir.Value:
    pairs = c.attribute("paddings")
    flat = [*(p[0] for p in pairs), *(p[1] for p in pairs)]
    return c.b.op("Pad", [c.value(0), c.b.const(flat, np.int64)])


@reads("MirrorPad")
def mirror_pad(c: Call) -> ir.Value:
    pairs = c.ints("paddings", 1)
    if c.attribute("mode", "REFLECT") != "REFLECT":
        raise Refusal("mode SYMMETRIC")
    x, rank = c.value(0), len(dims(c.value(0)))
    if len(pairs) != 2 * rank:
        raise Refusal("its paddings do not fit")
    return c.b.op("Pad", [x, c.b.const([*pairs[0::2], *pairs[1::2]], np.int64)], {"mode": "reflect"})


@reads("DepthToSpace", "SpaceToDepth")
def depth_space(c: Call) -> ir.Value:
    attributes: dict[str, Any] = {"blocksize": c.attribute("block_size")}
    if c.op == "DepthToSpace":
        attributes["mode"] = "DCR"
    return c.b.op(c.op, [c.value(0)], attributes)


@reads("Tril", "Triu")
def trilu(c: Call) -> ir.Value:
    shift = c.number("diagonal", 1, 0)
    return c.b.op("Trilu", [c.value(0), c.b.const(shift, np.int64)], {"upper": int(c.op == "Triu")})


@reads("FillV2")
def fill(c: Call) -> ir.Value:
    return shaped(c, c.b.op("Expand", [c.value(1), shape_of(c, c.arg("shape", 0))]), c.args[0])


@reads("ZerosLike", "OnesLike")
def filled_like(c: Call) -> ir.Value:
    x = c.value(0)
    if x.dtype is None:
        raise Refusal("its element type is not known")
    value = c.b.const(np.asarray(int(c.op == "OnesLike"), x.dtype.numpy()))
    return c.b.op("Expand", [value, c.b.op("Shape", [x])])


@reads("Range")
def range_(c: Call) -> ir.Value:
    return c.b.op("Range", [c.value(i) for i in range(3)])


@reads("TensorToScalar")
def to_scalar(c: Call) -> ir.Value:
    x = c.value(0)
    return x if not dims(x) else c.b.op("Reshape", [x, c.b.const(np.zeros(0, np.int64))])
