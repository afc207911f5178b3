"""Resize: UpSampling layers where Keras means the same, else exact products with interpolation matrices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_shape
from recast.formats.keras.writing._network import Tensor
from recast.graph import view

_SAMPLED = {"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"}


def _scales(ctx: Context, node: ir.Node, axes: list[int], x: Tensor) -> list[float]:
    given = [node.inputs[i] if len(node.inputs) > i else None for i in (2, 3)]
    found = ctx.const(given[0])
    if found is not None and found.size:
        return [float(s) for s in found.load().reshape(-1)]
    out = keras_shape(node.outputs[0])
    scales = []
    for axis in axes:
        before, after = x.shape[axis], out[axis]
        scales.append(1.0 if axis == 0 and before == after else _ratio(before, after))
    return scales


def _ratio(before: int | None, after: int | None) -> float:
    if before is None or after is None:
        raise Unfit("its sizes are only known at run time")
    return after / before


def _places(node: ir.Node, size: int, out: int, scale: float) -> np.ndarray:
    """The source coordinate of every output element of one axis (ONNX, Resize, coordinate_transformation_mode)."""
    mode = view.attr(node, "coordinate_transformation_mode", "half_pixel")
    i = np.arange(out, dtype=np.float64)
    if mode == "half_pixel":
        return (i + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjusted = out / (scale * size)
        return size / 2 * (1 - adjusted) + (i + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if out > 1 else np.zeros(1)
    if mode == "align_corners":
        if abs(scale * size - out) > 1e-3:
            raise Unfit("runtimes disagree on align_corners where the scale does not give a whole size")
        return i * (size - 1) / (out - 1) if out > 1 else np.zeros(1)
    if mode == "asymmetric":
        return i / scale
    raise Unfit(f"coordinate transformation {mode} is not known here")


def nearest_indices(node: ir.Node, places: np.ndarray, size: int) -> np.ndarray:
    """The index that nearest-neighbour interpolation takes."""
    mode = view.attr(node, "nearest_mode", "round_prefer_floor")
    if mode == "round_prefer_floor":
        index = np.ceil(places - 0.5)
    elif mode == "round_prefer_ceil":
        index = np.floor(places + 0.5)
    else:
        index = np.floor(places) if mode == "floor" else np.ceil(places)
    return np.clip(index, 0, size - 1).astype(np.int64)


def interpolation_matrix(node: ir.Node, places: np.ndarray, size: int) -> np.ndarray:
    """Matrix (out, size) of linear or cubic interpolation, without antialiasing."""
    base = np.floor(places).astype(np.int64)
    t = places - base
    if view.attr(node, "mode") == "linear":
        taps, weights = [0, 1], [1 - t, t]
    else:
        a = view.attr(node, "cubic_coeff_a", -0.75)
        taps = [-1, 0, 1, 2]
        weights = [
            ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
            ((a + 2) * t - (a + 3)) * t * t + 1,
            ((a + 2) * (1 - t) - (a + 3)) * (1 - t) ** 2 + 1,
            ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
        ]
    matrix = np.zeros((len(places), size))
    rows = np.arange(len(places))
    for tap, weight in zip(taps, weights, strict=True):
        inside = (base + tap >= 0) & (base + tap < size)
        kept = weight * inside if view.attr(node, "exclude_outside", 0) else weight
        np.add.at(matrix, (rows, np.clip(base + tap, 0, size - 1)), kept)
    if view.attr(node, "exclude_outside", 0):
        matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


@writes("Resize", "Upsample")
def resize(ctx: Context, node: ir.Node) -> None:
    """Resize any axes."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    axes = [a % rank for a in (view.attr(node, "axes") or range(rank))]
    scales = _scales(ctx, node, axes, x)
    if view.attr(node, "antialias", 0) and any(s < 1 for s in scales):
        raise Unfit("Keras has no resizing with antialiasing that equals ONNX's")
    if view.attr(node, "keep_aspect_ratio_policy", "stretch") != "stretch" and len(node.inputs) > 3:
        raise Unfit("it keeps the aspect ratio")
    changed = {
        a: s for a, s in zip(axes, scales, strict=True) if s != 1.0 or keras_shape(node.outputs[0])[a] != x.shape[a]
    }
    if 0 in changed:
        raise Unfit("it resizes the batch")
    y = _upsampling(ctx, node, x, changed)
    if y is None:
        y = x
        for axis, scale in changed.items():
            y = _one_axis(ctx, node, y, axis, scale)
    ctx.bind(node.outputs[0], y)


def _upsampling(ctx: Context, node: ir.Node, x: Tensor, changed: dict[int, float]) -> Tensor | None:
    """Keras's UpSampling: whole factors, nearest (repeat) or bilinear with half-pixel centres."""
    rank = len(x.shape)
    factors = [changed.get(a, 1.0) for a in range(1, rank - 1)]
    if rank not in (3, 4, 5) or not changed or any(f != int(f) for f in factors) or rank - 1 in changed:
        return None
    mode = view.attr(node, "mode", "nearest")
    transform = view.attr(node, "coordinate_transformation_mode", "half_pixel")
    whole = [int(f) for f in factors]
    config: dict[str, object] = {"size": whole[0] if rank == 3 else whole}
    if mode == "nearest":
        for factor in whole:
            if transform == "align_corners" or transform not in {"asymmetric", *_SAMPLED}:
                return None
            places = _places(node, 4, 4 * factor, factor)
            if not np.array_equal(nearest_indices(node, places, 4), np.arange(4 * factor) // factor):
                return None
        return ctx.layer(node, f"UpSampling{rank - 2}D", config, [x])
    if mode == "linear" and rank == 4 and transform in _SAMPLED:
        return ctx.layer(node, "UpSampling2D", {**config, "interpolation": "bilinear"}, [x])
    return None


def _one_axis(ctx: Context, node: ir.Node, x: Tensor, axis: int, scale: float) -> Tensor:
    size, out = x.shape[axis], keras_shape(node.outputs[0])[axis]
    if size is None or out is None:
        raise Unfit("its sizes are only known at run time")
    places = _places(node, size, out, scale)
    shape = (*x.shape[:axis], out, *x.shape[axis + 1 :])
    mode = view.attr(node, "mode", "nearest")
    suffix = f"axis{axis}"
    if mode == "nearest":
        indices = ctx.literal(nearest_indices(node, places, size))
        return ctx.op(node, "numpy.Take", [x, indices], {"axis": axis}, shape=shape, dtype=x.dtype, suffix=suffix)
    if mode not in ("linear", "cubic"):
        raise Unfit(f"Keras has no interpolation {mode}")
    letters = "abcdefgh"[: len(x.shape)]
    equation = f"{letters},z{letters[axis]}->{letters.replace(letters[axis], 'z')}"
    matrix = ctx.constant(interpolation_matrix(node, places, size), f"{view.layer_of(node)}_{suffix}_matrix", x.dtype)
    return ctx.op(
        node, "numpy.Einsum", [x, matrix], {"subscripts": equation}, shape=shape, dtype=x.dtype, suffix=suffix
    )
