"""Resizing and moving blocks between space, depth and batch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads


@reads("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(c: Call) -> None:
    """On the channels-last axes directly; three rules for where pixels lie."""
    c.rank(0, 4)
    height, width = _pair(c.ints(1, "the size"), c)
    linear = c.kind == "RESIZE_BILINEAR"
    if c.opt("align_corners"):
        rule, nearest = "align_corners", "round_prefer_ceil"
    elif c.opt("half_pixel_centers"):
        rule, nearest = "half_pixel", "round_prefer_ceil"
    else:
        rule, nearest = "asymmetric", "floor"
    attributes = {
        "mode": "linear" if linear else "nearest",
        "coordinate_transformation_mode": rule,
        "nearest_mode": None if linear else nearest,
        "axes": [1, 2],
    }
    sizes = c.b.const([height, width], np.int64, "sizes")
    value = c.b.op("Resize", [c.x(0), None, None, sizes], attributes)
    batch, _, _, channels = c.shape(0)
    value.shape = ir.Shape([batch, height, width, channels])  # ONNX's inference forgets names
    c.out(value)


def _pair(values: list[int], c: Call) -> tuple[int, int]:
    if len(values) != 2 or not all(0 < v < 1 << 30 for v in values):
        raise c.bad(f"size {values}")
    return values[0], values[1]


@reads("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def blocks(c: Call) -> None:
    """The block's place is the slower part of the channel number (ONNX mode DCR)."""
    c.rank(0, 4)
    attributes: dict[str, object] = {"blocksize": c.positive("block_size")[0]}
    if c.kind == "DEPTH_TO_SPACE":
        attributes["mode"] = "DCR"
    name = "DepthToSpace" if c.kind == "DEPTH_TO_SPACE" else "SpaceToDepth"
    c.out(c.image(name, [c.x(0)], attributes))


@reads("SPACE_TO_BATCH_ND")
def space_to_batch(c: Call) -> None:
    """Pad, then move the places within a block into the batch."""
    rank, sizes = c.rank(0), _blocks(c)
    amounts = c.ints(2, "the padding")
    if len(amounts) != 2 * len(sizes) or not all(0 <= a < 1 << 30 for a in amounts):
        raise c.bad(f"padding {amounts}")
    rest = rank - 1 - len(sizes)
    pads = [0, *amounts[0::2], *[0] * rest, 0, *amounts[1::2], *[0] * rest]
    value = c.b.op("Pad", [c.x(0), c.b.const(pads, np.int64, "pads")]) if any(amounts) else c.x(0)
    spatial = _static(value.shape, 1, rank, c)
    if any(d % b for d, b in zip(spatial, sizes, strict=False)):
        raise c.bad(f"spatial sizes {spatial} are no multiples of {sizes}")
    parts = [p for d, b in zip(spatial, sizes, strict=False) for p in (d // b, b)]
    tail = spatial[len(sizes) :]
    count = len(sizes)
    value = c.reshape(value, [0, *parts, *tail])
    inner = [2 * i + 2 for i in range(count)]
    outer = [2 * i + 1 for i in range(count)]
    perm = [*inner, 0, *outer, *range(2 * count + 1, 2 * count + 1 + len(tail))]
    value = c.b.op("Transpose", [value], {"perm": perm})
    c.out(c.reshape(value, [-1, *[d // b for d, b in zip(spatial, sizes, strict=False)], *tail]))


@reads("BATCH_TO_SPACE_ND")
def batch_to_space(c: Call) -> None:
    """Move the slower part of the batch number into space, then crop."""
    rank, sizes = c.rank(0), _blocks(c)
    crops = c.ints(2, "the crops")
    if len(crops) != 2 * len(sizes) or not all(0 <= a < 1 << 30 for a in crops):
        raise c.bad(f"crops {crops}")
    spatial = _static(c.x(0).shape, 1, rank, c)
    count = len(sizes)
    tail = spatial[count:]
    value = c.reshape(c.x(0), [*sizes, -1, *spatial])
    perm = [count, *[p for i in range(count) for p in (count + 1 + i, i)], *range(2 * count + 1, count + rank)]
    value = c.b.op("Transpose", [value], {"perm": perm})
    grown = [d * b for d, b in zip(spatial, sizes, strict=False)]
    value = c.reshape(value, [-1, *grown, *tail])
    if any(crops):
        ends = [d - after for d, after in zip(grown, crops[1::2], strict=True)]
        axes = list(range(1, count + 1))
        inputs = [c.b.const(v, np.int64, "crop") for v in (crops[0::2], ends, axes)]
        value = c.b.op("Slice", [value, *inputs])
    c.out(value)


def _blocks(c: Call) -> list[int]:
    sizes = c.ints(1, "the block shape")
    if not 0 < len(sizes) < c.rank(0) or not all(0 < s < 1 << 30 for s in sizes):
        raise c.bad(f"block shape {sizes}")
    return sizes


def _static(shape: ir.Shape | None, first: int, last: int, c: Call) -> list[int]:
    dims = list(shape or ())[first:last]
    if len(dims) != last - first or not all(isinstance(d, int) for d in dims):
        raise UnsupportedOp(f"{c.kind} on unknown spatial sizes")
    return [int(d) for d in dims if isinstance(d, int)]
