"""Padding, cropping and resizing of images."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads
from recast.formats.keras.reading.conv import spatial_rank

_FAR = 2**62


def pairs(c: LayerCall, key: str, size: int) -> list[tuple[int, int]]:
    """A config entry: one int, one int per axis, or one pair per axis."""
    value = c.get(key, 1)
    if isinstance(value, int):
        return [(value, value)] * size
    if size == 1 and len(value) == 2 and all(isinstance(v, int) for v in value):
        return [(value[0], value[1])]
    if len(value) != size:
        raise c.refuse(f"{key} is {value}, {size} axes wanted")
    return [(v, v) if isinstance(v, int) else (int(v[0]), int(v[1])) for v in value]


def spatial_axes(c: LayerCall, size: int) -> list[int]:
    """The spatial axes in the source's layout."""
    return list(range(2, 2 + size)) if c.channels_first else list(range(1, 1 + size))


@reads("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(c: LayerCall) -> ir.Value:
    """Pad the spatial axes with zeros."""
    size = spatial_rank(c)
    begin, end = [0] * c.rank, [0] * c.rank
    for axis, (before, after) in zip(spatial_axes(c, size), pairs(c, "padding", size), strict=True):
        begin[axis], end[axis] = before, after
    return c.op("Pad", [c.x, c.const([*begin, *end])], {"mode": "constant"})


@reads("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(c: LayerCall) -> ir.Value:
    """Cut the spatial axes on both sides."""
    size = spatial_rank(c)
    cut = pairs(c, "cropping", size)
    starts, ends = [before for before, _ in cut], [-after if after else _FAR for _, after in cut]
    return c.op("Slice", [c.x, c.const(starts), c.const(ends), c.const(spatial_axes(c, size))])


@reads("UpSampling1D", "UpSampling2D", "UpSampling3D", masking="drop")
def up_sampling(c: LayerCall) -> ir.Value:
    """Repeat (nearest), or interpolate between pixel centres (bilinear)."""
    size = spatial_rank(c)
    kind = str(c.get("interpolation", "nearest"))
    key = "size" if "size" in c.layer.config else "length"
    factors, new = [1.0] * c.rank, {}
    for axis, factor in zip(spatial_axes(c, size), c.tuple(key, size, 2), strict=True):
        factors[axis] = float(factor)
        length = c.dims(c.x)[axis]
        new[axis] = None if length is None else length * factor
    scales = c.const(factors)
    if kind == "nearest":
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return _resize(c, c.x, [None, scales], attributes, new)
    if kind == "bilinear" and size == 2:
        attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return _resize(c, c.x, [None, scales], attributes, new)
    raise c.refuse(f"interpolation '{kind}'", "use nearest or bilinear")


def resize_to(c: LayerCall, x: ir.Value, height: int, width: int, kind: str) -> ir.Value:
    """Resize (N, H, W, C) or (N, C, H, W) as ``tf.image.resize`` does without antialiasing."""
    axes, target = spatial_axes(c, 2), c.const([height, width])
    if len(c.dims(x)) != 4:
        raise c.refuse(f"an image of rank {len(c.dims(x))}")
    new: dict[int, int | None] = {axes[0]: height, axes[1]: width}
    common: dict[str, Any] = {"coordinate_transformation_mode": "half_pixel", "axes": axes}
    if kind == "bilinear":
        return _resize(c, x, [None, None, target], {"mode": "linear", **common}, new)
    if kind == "nearest":
        attributes = {"mode": "nearest", "nearest_mode": "round_prefer_ceil", **common}
        return _resize(c, x, [None, None, target], attributes, new)
    raise c.refuse(f"interpolation '{kind}'", "use nearest or bilinear")


@reads("Resizing")
def resizing(c: LayerCall) -> ir.Value:
    """Resize to a fixed height and width."""
    if any(c.get(key, False) for key in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias")):
        raise c.refuse("crop_to_aspect_ratio, pad_to_aspect_ratio and antialias", "resize before the model")
    x = c.x
    if x.dtype != ir.DataType.FLOAT:
        x = c.op("Cast", [x], {"to": int(ir.DataType.FLOAT)})
    return resize_to(c, x, int(c.get("height")), int(c.get("width")), str(c.get("interpolation", "bilinear")))


@reads("ops.Resize")
def resize_operation(c: LayerCall) -> ir.Value:
    """``keras.ops.image.resize``."""
    config = {**c.layer.config, **c.kwargs}
    odd = ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio")
    if any(config.get(key) for key in odd) or not isinstance(config.get("size"), list):
        raise c.refuse("antialias, aspect ratios, or a size that is no pair of numbers")
    height, width = config["size"]
    return resize_to(c, c.x, int(height), int(width), str(config.get("interpolation", "bilinear")))


@reads("CenterCrop")
def center_crop(c: LayerCall) -> ir.Value:
    """Cut out the middle."""
    if c.rank != 4:
        raise c.refuse(f"an image of rank {c.rank}")
    axes = spatial_axes(c, 2)
    wanted = [int(c.get("height")), int(c.get("width"))]
    sizes = [c.fixed(c.x, axis) for axis in axes]
    if any(s < w for s, w in zip(sizes, wanted, strict=True)):
        raise c.refuse("the image is smaller than the crop (Keras resizes then)", "use Resizing")
    starts = [int((s - w) / 2) for s, w in zip(sizes, wanted, strict=True)]
    ends = [s + w for s, w in zip(starts, wanted, strict=True)]
    return c.op("Slice", [c.x, c.const(starts), c.const(ends), c.const(axes)])


def _resize(
    c: LayerCall, x: ir.Value, inputs: list[ir.Value | None], attributes: dict[str, Any], new: dict[int, int | None]
) -> ir.Value:
    """A Resize node whose untouched axes keep their names."""
    y = c.op("Resize", [x, *inputs], attributes)
    if x.shape is not None:
        y.shape = ir.Shape([new.get(axis, d) if axis in new else d for axis, d in enumerate(x.shape)])
    return y
