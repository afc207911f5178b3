"""Pooling windows; whatever MindSpore's windows do not say is said by padding and a table of counts."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.types import NCHW, VALID
from recast.formats.mindspore.write import Arg, Ref, Writer
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, used, value_of
from recast.graph.view import attr, dims, static_shape


class Window:
    """A pooling node's window: kernel, strides, dilations, and (begin, end) pads with ceil_mode's extra.

    ``inner`` are the pads the node asks for; ``extra`` is what ceil_mode reads beyond them.
    """

    def __init__(self, node: ir.Node) -> None:
        x = value_of(node)
        self.sizes: list[Any] = list(dims(x)[2:])
        self.kernel: list[int] = attr(node, "kernel_shape")
        count = len(self.kernel)
        self.strides: list[int] = attr(node, "strides", [1] * count)
        self.dilations: list[int] = attr(node, "dilations", [1] * count)
        self.reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        self.inner, self.extra = self._pads(node)

    def _pads(self, node: ir.Node) -> tuple[list[tuple[int, int]], list[int]]:
        count, auto = len(self.kernel), attr(node, "auto_pad", "NOTSET")
        ceil, given = attr(node, "ceil_mode", 0), attr(node, "pads", [0] * 2 * len(self.kernel))
        inner, extra = [], []
        for i in range(count):
            size, stride, reach = self.sizes[i], self.strides[i], self.reach[i]
            known = isinstance(size, int)
            if auto in ("SAME_UPPER", "SAME_LOWER"):
                if not known:
                    raise Refusal(f"{auto} needs known sizes")
                total = max(0, (-(-size // stride) - 1) * stride + reach - size)
                small, large = total // 2, total - total // 2
                inner.append((small, large) if auto == "SAME_UPPER" else (large, small))
                extra.append(0)
                continue
            inner.append((0, 0) if auto == "VALID" else (given[i], given[count + i]))
            if not ceil:
                extra.append(0)
                continue
            if not known:
                raise Refusal("ceil_mode needs known sizes")
            padded = size + sum(inner[-1])
            steps = -(-(padded - reach) // stride)
            if steps * stride >= size + inner[-1][0]:  # a window must not start in the end padding
                steps -= 1
            extra.append(max(0, steps * stride + reach - padded))
        return inner, extra

    @property
    def padded(self) -> bool:
        """Whether anything is padded."""
        return any(b or e for b, e in self.inner) or any(self.extra)

    def pads(self) -> list[tuple[int, int]]:
        """All padding by dimension."""
        return [(b, e + x) for (b, e), x in zip(self.inner, self.extra, strict=True)]

    def out(self) -> list[int]:
        """How often the window fits, by dimension."""
        found = []
        for i, size in enumerate(self.sizes):
            if not isinstance(size, int):
                raise Refusal("its sizes must be known")
            found.append((size + sum(self.pads()[i]) - self.reach[i]) // self.strides[i] + 1)
        return found

    def counts(self, include_pad: bool) -> np.ndarray:
        """How many cells of each window count: (1, 1, *out)."""
        table = np.ones((1, 1), np.float32)
        for i, size in enumerate(self.sizes):
            if not isinstance(size, int):
                raise Refusal("the counts at the border need known sizes")
            begin, end = self.inner[i]
            cells = np.zeros(begin + size + end + self.extra[i], np.float32)
            cells[(0 if include_pad else begin) : (begin + size + end if include_pad else begin + size)] = 1
            starts = range(0, len(cells) - self.reach[i] + 1, self.strides[i])
            axis = np.asarray([cells[s : s + self.reach[i] : self.dilations[i]].sum() for s in starts], np.float32)
            table = table[..., None] * axis
        return table


def pad_last(w: Writer, x: Arg, pads: list[tuple[int, int]], value: Any) -> Ref:
    """Pad the last dimensions with a constant."""
    flat = tuple(p for pair in reversed(pads) for p in pair)
    return w.prim("PadV3", [x, flat, value], {"mode": "constant", "paddings_contiguous": True})


@writes("MaxPool")
def max_pool(w: Writer, node: ir.Node) -> None:
    x, window = value_of(node), Window(node)
    if not dtype_of(x).is_floating_point():
        raise Refusal("MindSpore pools floating-point numbers only")
    data: Arg = x
    auto = attr(node, "auto_pad", "NOTSET")
    dilated = any(d != 1 for d in window.dilations)
    same = auto == "SAME_UPPER" and not dilated and len(window.kernel) < 3
    if window.padded and (not same or used(node, 1)):
        same, data = False, pad_last(w, x, window.pads(), np.asarray(-np.inf, dtype_of(x).numpy()))
    if used(node, 1):
        w.bind(node.outputs[1], _places(w, node, data, window))
    kernel, strides, mode = tuple(window.kernel), tuple(window.strides), "SAME" if same else "VALID"
    if dilated:
        result = _dilated(w, data, window)
    elif len(kernel) == 3:
        attributes = {"kernel_size": (1, 1, *kernel), "strides": (1, 1, *strides), "ceil_mode": 0}
        more = {"pad_mode": "VALID", "format": "NCDHW", "pad_list": (0,) * 6}
        result = w.prim("MaxPool3D", [data], {**attributes, **more})
    else:
        flat = len(kernel) == 1
        if flat:
            data, kernel, strides = w.fn("ExpandDims", data, 2), (1, *kernel), (1, *strides)
        attributes = {"kernel_size": (1, 1, *kernel), "strides": (1, 1, *strides), "pad_mode": mode}
        result = w.prim("MaxPool", [data], {**attributes, "format": "NCHW"})
        if flat:
            result = w.fn("Squeeze", result, (2,))
    w.bind(node.outputs[0], result)


def taps(w: Writer, data: Arg, window: Window) -> list[Ref]:
    """The padded tensor as each place of the window sees it: (N, C, *out) for each place, in row-major order."""
    count = len(window.kernel)
    out = window.out()
    made = []
    for place in np.ndindex(*window.kernel):
        begin = [p * d for p, d in zip(place, window.dilations, strict=True)]
        end = [b + (o - 1) * s + 1 for b, o, s in zip(begin, out, window.strides, strict=True)]
        limits = (0, 0, *begin), (0, 0, *end), (1, 1, *window.strides)
        made.append(w.fn("StridedSlice", data, *limits, 0b11, 0b11, 0, 0, 0))
        if len(made) > 4096:
            raise Refusal(f"a window of {math.prod(window.kernel)} places over {count} dimensions")
    return made


def _places(w: Writer, node: ir.Node, data: Arg, window: Window) -> Ref:
    """Where in the input each maximum was: the first place of the window that holds it, as ONNX counts elements."""
    shape = static_shape(value_of(node))
    if shape is None:
        raise Refusal("indices of a MaxPool whose sizes are unknown")
    sizes, turned = shape[2:], bool(attr(node, "storage_order", 0))
    steps = [math.prod(sizes[:i] if turned else sizes[i + 1 :]) for i in range(len(sizes))]
    offsets = [
        sum(p * d * step for p, d, step in zip(place, window.dilations, steps, strict=True))
        for place in np.ndindex(*window.kernel)
    ]
    base = np.arange(shape[0] * shape[1], dtype=np.int64).reshape(shape[:2]) * math.prod(sizes)
    for i, (o, s, step) in enumerate(zip(window.out(), window.strides, steps, strict=True)):
        base = base[..., None] + (np.arange(o, dtype=np.int64) * s - window.inner[i][0]) * step
    made = taps(w, data, window)
    stacked = w.prim("Stack", [w.pack(made)], {"num": len(made), "axis": 0, "N": len(made)})
    first = w.fn("Argmax", stacked, 0, w.type_id(ir.DataType.INT32))
    return w.fn("Add", w.fn("Gather", np.asarray(offsets, np.int64), first, 0, 0), base)


def _dilated(w: Writer, data: Arg, window: Window) -> Ref:
    missing = 3 - len(window.kernel)
    if missing < 0:
        raise Refusal("MindSpore pools three dimensions at most")
    for _ in range(missing):
        data = w.fn("ExpandDims", data, 2)
    ones = (1,) * missing
    attributes = {
        "ksize": (*ones, *window.kernel),
        "strides": (*ones, *window.strides),
        "pads": (0, 0, 0),
        "dilation": (*ones, *window.dilations),
        "ceil_mode": False,
        "format": "NCDHW",
        "argmax_type": "int64",
    }
    result = w.item(w.prim("MaxPool3DWithArgmax", [data], attributes), 0)
    return w.fn("Squeeze", result, tuple(range(2, 2 + missing))) if missing else result


@writes("AveragePool")
def average_pool(w: Writer, node: ir.Node) -> None:
    x, window = value_of(node), Window(node)
    dilated = any(d != 1 for d in window.dilations)
    data: Arg = x
    include = bool(attr(node, "count_include_pad", 0))
    if window.padded:
        data = pad_last(w, x, window.pads(), np.asarray(0, dtype_of(x).numpy()))
    kernel, strides = tuple(window.kernel), tuple(window.strides)
    if dilated:  # MindSpore's windows have no dilation: their places are added up
        sums = reduce(lambda a, b: w.fn("Add", a, b), taps(w, data, window))
        result = w.fn("Div", sums, np.asarray(math.prod(window.kernel), dtype_of(x).numpy()))
    elif len(kernel) == 3:
        attributes = {"kernel_size": (1, 1, *kernel), "strides": (1, 1, *strides), "pad": (0,) * 6, "ceil_mode": False}
        more = {"divisor_override": 0, "pad_mode": "VALID", "format": "NCDHW", "pad_list": (0,) * 6}
        result = w.prim("AvgPool3D", [data], {**attributes, **more, "count_include_pad": True})
    else:
        flat = len(kernel) == 1
        if flat:
            data, kernel, strides = w.fn("ExpandDims", data, 2), (1, *kernel), (1, *strides)
        result = w.fn("AvgPool", data, kernel, strides, VALID, NCHW)
        if flat:
            result = w.fn("Squeeze", result, (2,))
    if window.padded:
        counts = window.counts(include)
        if (counts != math.prod(window.kernel)).any():
            ratio = (math.prod(window.kernel) / counts).astype(dtype_of(x).numpy())
            result = w.fn("Mul", result, ratio)
    w.bind(node.outputs[0], result)


@writes("GlobalAveragePool", "GlobalMaxPool")
def global_pool(w: Writer, node: ir.Node) -> None:
    x = value_of(node)
    axes = tuple(range(2, len(dims(x))))
    op = "ReduceMean" if node.op_type == "GlobalAveragePool" else "ReduceMax"
    w.bind(node.outputs[0], w.fn(op, x, axes, True))
