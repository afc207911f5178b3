"""Operators that sample an image around regions or offsets."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, Unfit, decomposes
from recast.passes.decompositions.sampling import Image, linear

_INT = ir.DataType.INT64


@decomposes("RoiAlign")
def roi_align(e: Expansion) -> Results:
    """The mean, or the largest weighted pixel, of ``sampling_ratio``² samples per bin (He et al., 2017, section 3)."""
    x, rois, owner = e.input(0), e.input(1), e.input(2)
    grid = e.attr("sampling_ratio", 0)
    if grid < 1:
        raise Unfit("as many samples as a region is large")
    high, wide = e.attr("output_height", 1), e.attr("output_width", 1)
    half = e.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    whole = Image.of(e, x)
    pixels = int(np.prod(whole.sizes))
    starts = e.op("Unsqueeze", e.op("Mul", e.cast(owner, _INT), e.int(pixels)), e.ints(1))
    image = Image(whole.rows, starts, whole.sizes)
    bins = np.indices((high, wide, grid, grid)).reshape(4, -1)
    scaled = e.op("Mul", rois, e.number(e.attr("spatial_scale", 1.0), rois))
    where: list[ir.Value] = []
    good: ir.Value | None = None
    for first, count, axis, size in ((1, high, 0, image.sizes[0]), (0, wide, 1, image.sizes[1])):
        low, top = (e.op("Gather", scaled, e.ints(i), axis=1) for i in (first, first + 2))
        length = e.op("Sub", top, low)
        if half:
            low = e.op("Sub", low, e.number(0.5, low))
        else:
            length = e.op("Max", length, e.number(1, length))
        steps = (bins[axis] + (bins[2 + axis] + 0.5) / grid) / count
        place = e.op("Add", low, e.op("Mul", length, e.array(steps.astype(e.dtype(rois).numpy())[None])))
        above = e.op("GreaterOrEqual", place, e.number(-1, place))
        inside = e.op("And", above, e.op("LessOrEqual", place, e.number(size, place)))
        good = inside if good is None else e.op("And", good, inside)
        where.append(e.op("Clip", place, e.number(0, place), e.number(size - 1, place)))
    return (_binned(e, image, (where, good), (high, wide, grid)),)


def _binned(
    e: Expansion, image: Image, points: tuple[list[ir.Value], ir.Value | None], sizes: tuple[int, int, int]
) -> ir.Value:
    where, good = points
    high, wide, grid = sizes
    largest = e.attr("mode", "avg") == "max"

    def read(places: list[ir.Value]) -> ir.Value:
        kept = [
            e.op("Min", p, e.number(size - 1, p)) for p, size in zip(places, image.sizes, strict=True)
        ]  # beyond the last pixel the weight is zero
        return image.read(e, kept, inside=True)

    found = linear(e, where, read, "Max" if largest else "Add")
    assert good is not None
    found = e.op("Where", e.op("Unsqueeze", good, e.ints(-1)), found, e.number(0, found))
    channels = e.size(e.input(0), 1)
    samples = e.op("Reshape", found, e.ints(-1, high * wide, grid * grid, channels))
    pooled = e.op("ReduceMax" if largest else "ReduceMean", samples, e.ints(2), keepdims=0)
    shaped = e.op("Reshape", pooled, e.ints(-1, high, wide, channels))
    return e.op("Transpose", shaped, perm=[0, 3, 1, 2])


@decomposes("DeformConv")
def deform_conv(e: Expansion) -> Results:
    """Sample at the kernel's places plus offsets, times the mask, then one product (Zhu et al., 2019, equation 1)."""
    x, kernel, offset = e.input(0), e.input(1), e.input(2)
    size = e.static(kernel)
    rank, taps = len(size) - 2, int(np.prod(size[2:]))
    if rank != 2:
        raise Unfit(f"deformable convolution over {rank} spatial axes")
    n, groups = e.size(x, 0), e.attr("offset_group", 1)
    out = [e.size(offset, 2), e.size(offset, 3)]
    points = int(np.prod(out))
    moved = e.op("Reshape", offset, e.ints(n, groups, taps, rank, points))
    mask = e.optional(4)
    shares = None if mask is None else e.op("Reshape", mask, e.ints(n, groups, taps * points))
    base = _bases(e, size[2:], out)
    channels = e.size(x, 1) // groups
    sampled = []
    for group in range(groups):
        cut = e.op("Slice", x, e.ints(group * channels), e.ints((group + 1) * channels), e.ints(1))
        image = Image.of(e, cut)
        mine = e.op("Gather", moved, e.int(group), axis=1)
        where = []
        for axis in range(rank):
            delta = e.op("Reshape", e.op("Gather", mine, e.int(axis), axis=2), e.ints(n, taps * points))
            where.append(e.op("Add", delta, e.array(base[axis].astype(e.dtype(delta).numpy()))))
        found = linear(e, where, partial(image.read, e, inside=False))
        if shares is not None:
            found = e.op("Mul", found, e.op("Unsqueeze", e.op("Gather", shares, e.int(group), axis=1), e.ints(-1)))
        sampled.append(found)
    whole = sampled[0] if groups == 1 else e.op("Concat", *sampled, axis=-1)
    return (_product(e, whole, (n, taps, points), out),)


def _bases(e: Expansion, kernel: tuple[int, ...], out: list[int]) -> list[np.ndarray]:
    """Where the plain convolution reads, (1, taps * points) per axis."""
    ones = [1] * len(kernel)
    strides, dilations = e.attr("strides") or ones, e.attr("dilations") or ones
    pads = e.attr("pads") or [0] * 2 * len(kernel)
    grid = np.indices((*kernel, *out)).reshape(2 * len(kernel), 1, -1)
    rank = len(kernel)
    return [grid[i] * dilations[i] + grid[rank + i] * strides[i] - pads[i] for i in range(rank)]


def _product(e: Expansion, sampled: ir.Value, sizes: tuple[int, int, int], out: list[int]) -> ir.Value:
    """(N, taps * points, C) times the kernel, group by group."""
    n, taps, points = sizes
    kernel, bias, groups = e.input(1), e.optional(3), e.attr("group", 1)
    channels, (outputs, inner, *_) = e.size(e.input(0), 1), e.static(kernel)
    apart = e.op("Reshape", sampled, e.ints(n, taps, points, channels))
    rows = e.op("Transpose", apart, perm=[0, 2, 3, 1])  # (N, points, C, taps)
    results = []
    for group in range(groups):
        mine = e.op("Slice", rows, e.ints(group * inner), e.ints((group + 1) * inner), e.ints(2))
        share = outputs // groups
        some = e.op("Slice", kernel, e.ints(group * share), e.ints((group + 1) * share), e.ints(0))
        matrix = e.op("Transpose", e.op("Reshape", some, e.ints(share, inner * taps)), perm=[1, 0])
        results.append(e.op("MatMul", e.op("Reshape", mine, e.ints(n, points, inner * taps)), matrix))
    y = results[0] if groups == 1 else e.op("Concat", *results, axis=-1)
    y = y if bias is None else e.op("Add", y, bias)
    return e.op("Reshape", e.op("Transpose", y, perm=[0, 2, 1]), e.ints(n, outputs, *out))
