"""Resizing and moving blocks between space, depth and batch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.reading import reads


@reads("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic")
def resize(c: Call) -> None:
    """On the channels-last axes directly; three rules for where pixels lie."""
    c.rank(0, 4)
    mode = {"ResizeBilinear": "linear", "ResizeNearestNeighbor": "nearest", "ResizeBicubic": "cubic"}[c.kind]
    nearest, extra = "floor", {}
    if c.flag("align_corners"):
        rule, nearest = "align_corners", "round_prefer_ceil"
    elif c.flag("half_pixel_centers"):
        # TensorFlow takes the floor of the pixel's centre; for the others half_pixel is the same
        rule = "half_pixel"
        nearest = "round_prefer_ceil"
    else:
        rule = "asymmetric"
    if mode == "cubic":
        _cubic(c)
        extra = {"cubic_coeff_a": -0.5 if c.flag("half_pixel_centers") else -0.75}
        extra["exclude_outside"] = int(c.flag("half_pixel_centers"))
    sizes = c.array(1)
    if sizes is not None and (sizes.size != 2 or not all(0 < int(v) < 1 << 30 for v in sizes.reshape(-1))):
        raise c.bad(f"size {sizes.tolist()}")
    attributes = {
        "mode": mode,
        "coordinate_transformation_mode": rule,
        "nearest_mode": nearest if mode == "nearest" else None,
        "axes": [1, 2],
        **extra,
    }
    image = c.x(0)
    if mode != "nearest" and image.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16):
        image = c.cast(image, ir.DataType.FLOAT)  # TensorFlow computes in float32 whatever comes in
    value = c.b.op("Resize", [image, None, None, c.int64(1)], attributes)
    batch, _, _, channels = c.shape(0)
    height, width = (None, None) if sizes is None else (int(v) for v in sizes.reshape(-1))
    value.shape = ir.Shape([batch, height, width, channels])  # ONNX's inference forgets names
    c.out(value)


def _cubic(c: Call) -> None:
    """TensorFlow's cubic filter reads its weights from a table of 1024 steps: not exact."""
    c.tell("bicubic resizing: TensorFlow rounds the filter's weights to a table of 1,024 steps; here they are exact")


@reads("DepthToSpace", "SpaceToDepth")
def blocks(c: Call) -> None:
    """The block's place is the slower part of the channel number (ONNX mode DCR)."""
    c.rank(0, 4)
    size = int(c.attr("block_size", 0))
    if not 1 < size < 1 << 20:
        raise c.bad(f"block_size {size}")
    attributes: dict[str, object] = {"blocksize": size}
    if c.kind == "DepthToSpace":
        attributes["mode"] = "DCR"
    c.out(c.image(c.kind, [c.x(0)], attributes))


@reads("SpaceToBatchND", "SpaceToBatch")
def space_to_batch(c: Call) -> None:
    """Pad, then move the places within a block into the batch."""
    rank, sizes = c.rank(0), _blocks(c)
    amounts = c.ints(2 if c.kind.endswith("ND") else 1, "the padding")
    if len(amounts) != 2 * len(sizes) or not all(0 <= a < 1 << 30 for a in amounts):
        raise c.bad(f"padding {amounts}")
    rest = rank - 1 - len(sizes)
    pads = [0, *amounts[0::2], *[0] * rest, 0, *amounts[1::2], *[0] * rest]
    value = c.op("Pad", [c.x(0), c.b.const(pads, np.int64, "pads")]) if any(amounts) else c.x(0)
    spatial = _static(value.shape, 1, rank, c)
    if any(d % b for d, b in zip(spatial, sizes, strict=False)):
        raise c.bad(f"spatial sizes {spatial} are no multiples of {sizes}")
    parts = [p for d, b in zip(spatial, sizes, strict=False) for p in (d // b, b)]
    tail, count = spatial[len(sizes) :], len(sizes)
    value = c.reshape(value, [0, *parts, *tail])
    inner = [2 * i + 2 for i in range(count)]
    outer = [2 * i + 1 for i in range(count)]
    perm = [*inner, 0, *outer, *range(2 * count + 1, 2 * count + 1 + len(tail))]
    value = c.op("Transpose", [value], perm=perm)
    c.out(c.reshape(value, [-1, *[d // b for d, b in zip(spatial, sizes, strict=False)], *tail]))


@reads("BatchToSpaceND", "BatchToSpace")
def batch_to_space(c: Call) -> None:
    """Move the slower part of the batch number into space, then crop."""
    rank, sizes = c.rank(0), _blocks(c)
    crops = c.ints(2 if c.kind.endswith("ND") else 1, "the crops")
    if len(crops) != 2 * len(sizes) or not all(0 <= a < 1 << 30 for a in crops):
        raise c.bad(f"crops {crops}")
    spatial = _static(c.x(0).shape, 1, rank, c)
    count = len(sizes)
    tail = spatial[count:]
    value = c.reshape(c.x(0), [*sizes, -1, *spatial])
    perm = [count, *[p for i in range(count) for p in (count + 1 + i, i)], *range(2 * count + 1, count + rank)]
    value = c.op("Transpose", [value], perm=perm)
    grown = [d * b for d, b in zip(spatial, sizes, strict=False)]
    value = c.reshape(value, [-1, *grown, *tail])
    if any(crops):
        ends = [d - after for d, after in zip(grown, crops[1::2], strict=True)]
        inputs = [c.b.const(v, np.int64, "crop") for v in (crops[0::2], ends, list(range(1, count + 1)))]
        value = c.op("Slice", [value, *inputs])
    c.out(value)


def _blocks(c: Call) -> list[int]:
    sizes = c.ints(1, "the block shape") if c.kind.endswith("ND") else [int(c.attr("block_size", 0))] * 2
    if not 0 < len(sizes) < c.rank(0) or not all(0 < s < 1 << 30 for s in sizes):
        raise c.bad(f"block shape {sizes}")
    return sizes


def _static(shape: ir.Shape | None, first: int, last: int, c: Call) -> list[int]:
    dims = list(shape or ())[first:last]
    if len(dims) != last - first or not all(isinstance(d, int) for d in dims):
        raise UnsupportedOp("unknown spatial sizes")
    return [int(d) for d in dims if isinstance(d, int)]


@reads("NonMaxSuppressionV3", "NonMaxSuppressionV2")
def non_max_suppression(c: Call) -> None:
    """Boxes [n, 4] and scores [n] in; the places of those that stay out, best first."""
    boxes, scores = (c.op("Unsqueeze", [c.x(i), c.axes(*axes)]) for i, axes in ((0, (0,)), (1, (0, 1))))
    limits = [c.reshape(c.int64(2), [1]), c.reshape(c.x(3), [1])]
    if c.kind.endswith("V3"):
        limits.append(c.reshape(c.x(4), [1]))
    found = c.op("NonMaxSuppression", [boxes, scores, *limits])
    places = c.op("Gather", [found, c.b.const(2, np.int64)], axis=1)
    c.out(c.cast(places, ir.DataType.INT32))
