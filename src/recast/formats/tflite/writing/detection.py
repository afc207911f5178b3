"""Choosing boxes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.elementwise import cast_tensor
from recast.formats.tflite.writing.emitter import Emitter, dims_of
from recast.graph import view

_MOST = 512  # images times classes
# (x centre, y centre, width, height) to (y1, x1, y2, x2), one row per result
_CORNERS = np.array([[0, 1, 0, -0.5], [1, 0, -0.5, 0], [0, 1, 0, 0.5], [1, 0, 0.5, 0]], np.float32)


def _sized(node: ir.Node) -> bool:
    """Whether the numbers of images, classes and boxes are known, and no loop over them is needed."""
    scores = node.inputs[1]
    sizes = dims_of(scores) if scores is not None else (-1, -1, -1)
    return min(sizes) >= 0 and sizes[0] * sizes[1] <= _MOST


@writes("NonMaxSuppression", when=_sized)
def non_max_suppression(w: Emitter, node: ir.Node) -> None:
    """NON_MAX_SUPPRESSION_V4 per image and class; what it chose is cut to length, numbered and joined."""
    boxes, scores = node.inputs[:2]
    assert boxes is not None
    assert scores is not None
    images, classes, count = dims_of(scores)
    if not _sized(node):
        raise Refused("a number of images, classes or boxes that is only known at run time, or too large")
    most, overlap, least = (_number(node, i) for i in (2, 3, 4))
    wanted = min(int(most or 0), count)
    if wanted < 1:
        raise Refused("choosing no boxes")
    limits = [
        w.ints(wanted),
        # LiteRT drops a box that overlaps as much as the threshold, ONNX one that overlaps more
        w.number(float(np.nextafter(np.float32(overlap or 0.0), np.float32(np.inf)))),
        w.number(float(np.finfo(np.float32).min if least is None else least)),
    ]
    places, marks = w.take(boxes), w.take(scores)
    if view.attr(node, "center_point_box", 0):
        corners = [places, w.constant(_CORNERS), w.constant(np.zeros(4, np.float32))]
        places = w.then("FULLY_CONNECTED", corners, None, ("FullyConnectedOptions", {"keep_num_dims": True}))
    rows = []
    for image in range(images):
        some = _part(w, places, (image,), (count, 4))
        for kind in range(classes):
            rows.append(_chosen(w, (some, _part(w, marks, (image, kind), (count,))), limits, (image, kind, wanted)))
    out = w.put(node.outputs[0])
    joined = rows[0]
    if len(rows) > 1:
        joined = w.then("CONCATENATION", rows, (-1, 3), ("ConcatenationOptions", {"axis": 0}))
    cast_tensor(w, joined, "INT32", "INT64", out)


def _number(node: ir.Node, index: int) -> float | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    array = view.const(value)
    if value is not None and array is None:
        raise Refused("limits that are computed at run time")
    return None if array is None else float(array.reshape(-1)[0])


def _part(w: Emitter, index: int, at: tuple[int, ...], shape: tuple[int, ...]) -> int:
    rank = len(w.shape(index))
    begin = [*at, *[0] * (rank - len(at))]
    size = [*[1] * len(at), *shape]
    cut = w.then("SLICE", [index, w.ints(begin), w.ints(size)], size, ("SliceOptions", {}))
    return w.reshape(cut, shape)


def _chosen(w: Emitter, what: tuple[int, int], limits: list[int], which: tuple[int, int, int]) -> int:
    """Rows (image, class, box) of one image and class."""
    image, kind, wanted = which
    picked = w.tensor(f"chosen/{image}/{kind}", "INT32", (wanted,))
    number = w.tensor(f"count/{image}/{kind}", "INT32", ())
    w.op("NON_MAX_SUPPRESSION_V4", [*what, *limits], [picked, number], ("NonMaxSuppressionV4Options", {}))
    bounds = [w.ints([0]), w.reshape(number, (1,)), w.ints([1])]
    kept = w.then("STRIDED_SLICE", [picked, *bounds], (-1,), ("StridedSliceOptions", {}))
    column = w.reshape(kept, (-1, 1))
    placed = w.then("MUL", [column, w.ints([[0, 0, 1]])], (-1, 3), ("MulOptions", {}))
    return w.then("ADD", [placed, w.ints([[image, kind, 0]])], (-1, 3), ("AddOptions", {}))
