"""Image operators that are neither windows nor normalisation: depth to space, resize."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import IMAGE, Refused, writes
from recast.formats.tflite.writing.emitter import Emitter, dims_of
from recast.formats.tflite.writing.move import moves
from recast.formats.tflite.writing.resize_rules import (
    coordinates,
    matches,
    matches_any_size,
    matrix,
    nearest_indices,
)
from recast.graph import view
from recast.passes.decompositions.resizing import at_run_time, changed_axes


@writes("DepthToSpace", domain=IMAGE)
def depth_to_space(w: Emitter, node: ir.Node) -> None:
    """DEPTH_TO_SPACE is ONNX's DCR order; CRD reorders the channels first."""
    x = node.inputs[0]
    assert x is not None
    block = int(view.attr(node, "blocksize"))
    channels = dims_of(x)[-1]
    order = None
    if view.attr(node, "mode", "DCR") == "CRD":
        order = np.arange(channels).reshape(channels // block**2, block**2).T.reshape(-1)

    def step(source: int, target: int) -> None:
        if order is not None:
            source = w.then("GATHER", [source, w.ints(order)], None, ("GatherOptions", {"axis": 3}))
        w.op("DEPTH_TO_SPACE", [source], [target], ("DepthToSpaceOptions", {"block_size": block}))

    moves(w, node, step)


@writes("SpaceToDepth", domain=IMAGE)
def space_to_depth(w: Emitter, node: ir.Node) -> None:
    """SPACE_TO_DEPTH is ONNX's DCR order; CRD reorders the channels afterwards."""
    block = int(view.attr(node, "blocksize"))
    options = ("SpaceToDepthOptions", {"block_size": block})
    crd = view.attr(node, "mode", "DCR") == "CRD"

    def step(source: int, target: int) -> None:
        plain = w.temp(target) if crd else target
        w.op("SPACE_TO_DEPTH", [source], [plain], options)
        if crd:
            order = np.arange(w.shape(target)[-1]).reshape(block**2, -1).T.reshape(-1)
            w.op("GATHER", [plain, w.ints(order)], [target], ("GatherOptions", {"axis": 3}))

    moves(w, node, step)


def _takes(node: ir.Node) -> bool:
    """Whether a Resize needs no decomposition: asked while the axes are ONNX's."""
    if not at_run_time(node):
        return True
    scales = view.const(node.inputs[2]) if len(node.inputs) > 2 else None
    images = view.rank(node.outputs[0]) == 4 and set(changed_axes(node)) <= {2, 3}
    return images and scales is not None and matches_any_size(node, scales.tolist()) is not None


@writes("Resize", when=_takes)
def resize(w: Emitter, node: ir.Node) -> None:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR where they sample the same points, else GATHER or a matrix product."""
    x = node.inputs[0]
    assert x is not None
    before, after = dims_of(x), dims_of(node.outputs[0])
    names = zip(view.dims(x), view.dims(node.outputs[0]), strict=True)
    changed = [i for i, (a, b) in enumerate(names) if a is None or a != b]
    changed = [i for i in changed if _scale_of(node, i, before, after) != 1.0]
    if any(before[i] < 0 or after[i] < 0 for i in changed):
        _by_run_time(w, node, {i: _scale_of(node, i, before, after) for i in changed})
        return
    mode = view.attr(node, "mode", "nearest")
    transform = view.attr(node, "coordinate_transformation_mode", "half_pixel")
    if transform not in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"):
        raise Refused(f"coordinates by {transform}")
    if not changed:
        w.alias(node.outputs[0], w.take(x))
        return
    axes = {i: (before[i], after[i], _scale_of(node, i, before, after)) for i in changed}
    plain = mode == "nearest" or (mode == "linear" and not view.attr(node, "antialias", 0))
    if plain and len(before) == 4 and set(changed) <= {1, 2}:
        every = {i: axes.get(i, (before[i], after[i], 1.0)) for i in (1, 2)}
        options = matches(node, every)
        if options is not None:
            builtin, table = _builtin(mode)
            size = w.ints(after[1:3])
            moves(w, node, lambda a, b: w.op(builtin, [a, size], [b], (table, options)))
            return
    if mode == "nearest":
        _by_index(w, node, axes)
    else:
        _by_matrix(w, node, axes)


def _by_run_time(w: Emitter, node: ir.Node, factors: dict[int, float]) -> None:
    """Image sizes only known at run time, times whole numbers: the new size is computed from the input's."""
    factor = [factors.get(1, 1.0), factors.get(2, 1.0)]
    rank = len(dims_of(node.outputs[0]))
    options = matches_any_size(node, factor) if rank == 4 and set(factors) <= {1, 2} else None
    if options is None:
        raise Refused("resizing from or to a size that is only known at run time, other than by whole factors")
    builtin, table = _builtin(view.attr(node, "mode", "nearest"))

    def step(source: int, target: int) -> None:
        whole = w.then("SHAPE", [source], (4,), ("ShapeOptions", {"out_type": 2}), "INT32")
        ends = [w.ints([1]), w.ints([3]), w.ints([1])]
        size = w.then("STRIDED_SLICE", [whole, *ends], (2,), ("StridedSliceOptions", {}))
        size = w.then("MUL", [size, w.ints([int(f) for f in factor])], (2,), ("MulOptions", {}))
        w.op(builtin, [source, size], [target], (table, options))

    moves(w, node, step)


def _builtin(mode: str) -> tuple[str, str]:
    """LiteRT's operator and its table of options."""
    if mode == "nearest":
        return "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"
    return "RESIZE_BILINEAR", "ResizeBilinearOptions"


def _scale_of(node: ir.Node, axis: int, before: tuple[int, ...], after: tuple[int, ...]) -> float:
    """The scale ONNX uses: as given, or from the sizes."""
    given = view.const(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    places = view.attr(node, "axes") or list(range(len(before)))
    places = [p % len(before) for p in places]
    if given is not None and given.size:
        return float(given[places.index(axis)]) if axis in places else 1.0
    computed = len(node.inputs) > 3 and node.inputs[3] is not None and view.const(node.inputs[3]) is None
    if computed and min(before[axis], after[axis]) < 0:
        raise Refused("a size that is computed at run time")
    if view.attr(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Refused("resizing with an aspect ratio policy")
    return after[axis] / before[axis] if before[axis] > 0 else 1.0


def _by_index(w: Emitter, node: ir.Node, axes: dict[int, tuple[int, int, float]]) -> None:
    """Nearest neighbours are rows to select, whatever the rounding."""

    def step(source: int, target: int) -> None:
        last = max(axes)
        for axis, (size, out, scale) in sorted(axes.items()):
            places = nearest_indices(node, coordinates(node, size, out, scale), size)
            shape = list(w.shape(source))
            shape[axis] = out
            result = target if axis == last else w.temp(source, shape)
            w.op("GATHER", [source, w.ints(places)], [result], ("GatherOptions", {"axis": axis}))
            source = result

    moves(w, node, step)


def _by_matrix(w: Emitter, node: ir.Node, axes: dict[int, tuple[int, int, float]]) -> None:
    """Interpolation along an axis is a product with a constant matrix: FULLY_CONNECTED over that axis, moved last."""
    source, out = w.take(node.inputs[0]), w.put(node.outputs[0])
    rank = len(w.shape(source))
    order = list(range(rank))  # the graph's axis at each place
    for axis, (size, wanted, scale) in sorted(axes.items(), reverse=True):
        place = order.index(axis)
        perm = [i for i in range(rank) if i != place] + [place]
        if place != rank - 1:
            source = w.transpose(source, perm)
        order = [order[p] for p in perm]
        operands = [source, w.constant(matrix(node, size, wanted, scale)), w.constant(np.zeros(wanted, np.float32))]
        shape = [*w.shape(source)[:-1], wanted]
        source = w.then("FULLY_CONNECTED", operands, shape, ("FullyConnectedOptions", {"keep_num_dims": rank > 2}))
    back = w.ints(np.argsort(order))
    w.op("TRANSPOSE", [source, back], [out], ("TransposeOptions", {}))
