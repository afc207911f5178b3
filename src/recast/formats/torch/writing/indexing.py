"""Gathering and scattering."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter, Weight
from recast.formats.torch.writing._ints import Ints
from recast.formats.torch.writing._types import FLOATS, WIDE_UNSIGNED
from recast.formats.torch.writing.convolution import dtype_option, plain
from recast.formats.torch.writing.elementwise import input_type
from recast.graph import view


@writes("Gather")
def gather(e: Emitter, node: ir.Node) -> str | Ints:
    axis = view.attr(node, "axis", 0)
    indices = e.ints(node, 1)
    held = e.ints(node, 0) if e.is_host(node, 0) else None
    if held is not None and indices is not None and indices.constant is not None:
        return Ints(tuple(held.items[i] for i in indices.constant), indices.scalar, held.natural)
    table, ids = node.inputs[0], node.inputs[1]
    shape = view.static_shape(table) if table is not None else None
    matrix = shape is not None and len(shape) == 2 and axis in (0, -2) and plain(table) and not plain(ids)
    if table is not None and shape and matrix and table.dtype in FLOATS and len(table.uses()) == 1:
        code = f"nn.Embedding({shape[0]}, {shape[1]}{dtype_option(e, node)})"
        module = e.module(node, code, {"weight": Weight(table, shape)})
        return f"{module}({e.helper('wrap_index')}({e.x(node, 1)}, {shape[0]}))"
    x = e.x(node)
    if indices is not None and indices.scalar and indices.constant is not None:
        return f"{x}.select({axis}, {indices.items[0]})"
    return f"{e.helper('gather')}({x}, {e.x(node, 1)}, {axis})"


@writes("GatherElements")
def gather_elements(e: Emitter, node: ir.Node) -> str:
    axis = view.attr(node, "axis", 0)
    x = e.x(node)
    return f"{x}.gather({axis}, {e.helper('wrap_index')}({e.x(node, 1)}, {x}.shape[{axis}]))"


@writes("GatherND")
def gather_nd(e: Emitter, node: ir.Node) -> str:
    return f"{e.helper('gather_nd')}({e.x(node)}, {e.x(node, 1)}, {view.attr(node, 'batch_dims', 0)})"


def _reduction(node: ir.Node) -> str:
    reduction: str = view.attr(node, "reduction", "none")
    if reduction not in ("none", "add", "mul", "max", "min"):
        raise Refuse(f"reduction {reduction!r}")
    if reduction in ("max", "min") and input_type(node) in WIDE_UNSIGNED:
        raise Refuse("PyTorch has no largest or smallest of wide unsigned integers")
    return reduction


@writes("ScatterElements")
def scatter_elements(e: Emitter, node: ir.Node) -> str:
    args = f"{e.x(node)}, {e.x(node, 1)}, {e.x(node, 2)}, {view.attr(node, 'axis', 0)}"
    return f'{e.helper("scatter_elements")}({args}, "{_reduction(node)}")'


@writes("ScatterND")
def scatter_nd(e: Emitter, node: ir.Node) -> str:
    return f'{e.helper("scatter_nd")}({e.x(node)}, {e.x(node, 1)}, {e.x(node, 2)}, "{_reduction(node)}")'


@writes("TensorScatter")
def tensor_scatter(e: Emitter, node: ir.Node) -> str:
    args = f"{e.x(node)}, {e.x(node, 1)}, {e.optional(node, 2)}, {view.attr(node, 'axis', -2)}"
    return f"{e.helper('tensor_scatter')}({args}, {view.attr(node, 'mode', 'linear') == 'circular'})"


@writes("OneHot")
def one_hot(e: Emitter, node: ir.Node) -> str:
    depth = e.const(node, 1)
    count = str(int(depth.reshape(-1)[0])) if depth is not None else f"int({e.x(node, 1)})"
    return f"{e.helper('one_hot')}({e.x(node)}, {count}, {e.x(node, 2)}, {view.attr(node, 'axis', -1)})"


@writes("ReverseSequence")
def reverse_sequence(e: Emitter, node: ir.Node) -> str:
    axes = f"{view.attr(node, 'batch_axis', 1)}, {view.attr(node, 'time_axis', 0)}"
    return f"{e.helper('reverse_sequence')}({e.x(node)}, {e.x(node, 1)}, {axes})"


@writes("NonMaxSuppression")
def non_max_suppression(e: Emitter, node: ir.Node) -> str:
    count, overlap, least = (_number(e, node, i, kind) for i, kind in ((2, "int"), (3, "float"), (4, "float")))
    if count is not None and count.isdecimal():
        count = str(most_boxes(node))
    center = bool(view.attr(node, "center_point_box", 0))
    limits = f"{count or 0}, {overlap or 0.0}, {least}, {center}"
    return f"{e.helper('non_max_suppression')}({e.x(node)}, {e.x(node, 1)}, {limits})"


def most_boxes(node: ir.Node) -> int | None:
    """How many boxes of a class a NonMaxSuppression may choose, where that is constant."""
    count = view.const(node.inputs[2]) if len(node.inputs) > 2 else None
    scores = node.inputs[1]
    there = view.dims(scores)[2] if scores is not None else None
    if count is None:
        return None
    return min(int(count.item()), there) if isinstance(there, int) else int(count.item())


def _number(e: Emitter, node: ir.Node, index: int, kind: str) -> str | None:
    """A limit as a plain number, written out where it is constant."""
    array = e.const(node, index)
    if array is None:
        return None if e.value(node, index) is None else f"{kind}({e.x(node, index)})"
    return repr(array.reshape(-1)[0].item())


def is_integer(node: ir.Node) -> bool:
    """Whether a node computes on integers."""
    return input_type(node) not in FLOATS
