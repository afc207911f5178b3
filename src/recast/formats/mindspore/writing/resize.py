"""Image resizing: MindSpore's own where it samples the same points, else one selection or product per axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.formats.mindspore.write import Arg, Ref, Writer, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import dtype_of, value_of
from recast.graph.view import attr, const, dims
from recast.passes.decompositions.resizing import at_run_time


def coordinates(size: int, out: int, scale: float, mode: str) -> np.ndarray:
    """Where each output sample lies in the input (float64)."""
    at = np.arange(out, dtype=np.float64)
    if mode == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        adjusted = out / (scale * size)
        return size / 2 * (1 - adjusted) + (at + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if out > 1 else np.zeros(1)
    if mode == "align_corners":
        return at * (size - 1) / (out - 1) if out > 1 else np.zeros(out)
    if mode == "asymmetric":
        return at / scale
    raise Refusal(f"coordinate_transformation_mode {mode}")


def nearest(at: np.ndarray, size: int, rule: str) -> np.ndarray:
    """Which input sample each output takes."""
    at = np.round(at, 9)  # 1.9999999999 is meant to be 2
    if rule == "round_prefer_floor":
        picked = np.ceil(at - 0.5)
    elif rule == "round_prefer_ceil":
        picked = np.floor(at + 0.5)
    elif rule in ("floor", "ceil"):
        picked = np.floor(at) if rule == "floor" else np.ceil(at)
    else:
        raise Refusal(f"nearest_mode {rule}")
    return np.clip(picked, 0, size - 1).astype(np.int64)


@dataclass(frozen=True)
class Kernel:
    """``linear`` or ``cubic`` (with its coefficient), whether samples outside count, whether it widens (antialias)."""

    mode: str
    cubic: float
    exclude: bool
    smooth: bool

    def __call__(self, distance: np.ndarray) -> np.ndarray:
        d, a = np.abs(distance), self.cubic
        if self.mode == "linear":
            return np.asarray(np.maximum(0, 1 - d))
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))


def weights(at: np.ndarray, size: int, kernel: Kernel, scale: float) -> np.ndarray:
    """The matrix (out, in) of one axis."""
    squeeze = min(scale, 1.0) if kernel.smooth else 1.0  # antialias: the kernel reaches over what one output covers
    reach = math.ceil((1 if kernel.mode == "linear" else 2) / squeeze)
    base = np.floor(at).astype(int)
    matrix = np.zeros((len(at), size))
    for tap in range(1 - reach, reach + 1):
        index = base + tap
        weight = kernel((at - index) * squeeze)
        if kernel.exclude:
            weight = np.where((index >= 0) & (index < size), weight, 0)
        np.add.at(matrix, (np.arange(len(at)), np.clip(index, 0, size - 1)), weight)
    return matrix / matrix.sum(axis=1, keepdims=True) if kernel.exclude or kernel.smooth else matrix


@writes("Resize", when=lambda node: not at_run_time(node))
def resize(w: Writer, node: ir.Node) -> None:
    x, y = value_of(node), node.outputs[0]
    mode, how = attr(node, "mode", "nearest"), attr(node, "coordinate_transformation_mode", "half_pixel")
    changed = _changed(node, x, y, how)
    if not changed:
        w.bind(y, w.ref(x))
        return
    rule = attr(node, "nearest_mode", "round_prefer_floor")
    smooth = bool(attr(node, "antialias", 0))
    own = None if smooth else _own(x, changed, (mode, how, rule))
    if own is not None:
        size = tuple(int(d) for d in dims(y)[2:] if isinstance(d, int))
        w.bind(y, w.fn(own[0], x, size, *own[1:]))
        return
    regions = _regions(node, len(dims(x))) if how == "tf_crop_and_resize" else {}
    kernel = Kernel(mode, attr(node, "cubic_coeff_a", -0.75), bool(attr(node, "exclude_outside", 0)), smooth)
    result: Arg = x
    for axis, (size_in, out, scale) in changed.items():
        at = coordinates(size_in, out, scale, how) if axis not in regions else cropped(size_in, out, regions[axis])
        if mode == "nearest":
            result = w.fn("Gather", result, nearest(at, size_in, rule), axis, 0)
        else:
            taps = weights(at, size_in, kernel, scale)
            result = _along(w, result, taps.astype(dtype_of(x).numpy()), (axis, len(dims(x))))
        outside = (at < 0) | (at > size_in - 1) if axis in regions else np.zeros(1, bool)
        if outside.any():
            mask = outside.reshape([-1 if i == axis else 1 for i in range(len(dims(x)))])
            fill = scalar(float(attr(node, "extrapolation_value", 0.0)), x)
            result = w.fn("Select", mask, fill, result)
    w.bind(y, result if isinstance(result, Ref) else w.ref(x))


def cropped(size: int, out: int, region: tuple[float, float]) -> np.ndarray:
    """``tf_crop_and_resize``: samples of a part of the axis, given as fractions of its last index."""
    start, end = region
    if out == 1:
        return np.asarray([0.5 * (start + end) * (size - 1)])
    return start * (size - 1) + np.arange(out, dtype=np.float64) * (end - start) * (size - 1) / (out - 1)


def _regions(node: ir.Node, rank: int) -> dict[int, tuple[float, float]]:
    given = const(node.inputs[1]) if len(node.inputs) > 1 else None
    if given is None:
        raise Refusal("its region must be constant")
    axes = [a % rank for a in attr(node, "axes", list(range(rank)))]
    half = len(axes)
    return {a: (float(given[i]), float(given[half + i])) for i, a in enumerate(axes)}


def _changed(node: ir.Node, x: ir.Value, y: ir.Value, how: str) -> dict[int, tuple[int, int, float]]:
    """(size, new size, scale) of the axes that change."""
    given = const(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    rank = len(dims(x))
    axes = [a % rank for a in attr(node, "axes", list(range(rank)))]
    scales = dict(zip(axes, (float(s) for s in given), strict=True)) if given is not None and given.size else {}
    changed = {}
    for axis in range(rank):
        size, out = dims(x)[axis], dims(y)[axis]
        if scales.get(axis, 1.0) == 1.0 and (axis in scales or size == out or axis not in axes):
            continue
        if not isinstance(size, int) or not isinstance(out, int):
            raise Refusal("the sizes must be known")
        scale = scales.get(axis, out / size)
        if how == "align_corners" and not math.isclose(scale * size, out):
            raise Refusal("align_corners with a scale that gives no whole size: ONNX and its runtime differ")
        changed[axis] = (size, out, scale)
    return changed


def _own(
    x: ir.Value, changed: dict[int, tuple[int, int, float]], rules: tuple[str, str, str]
) -> tuple[str, bool, bool] | None:
    """MindSpore's primitive and its (align_corners, half_pixel_centers), if it computes the same."""
    mode, how, rule = rules
    plain = all(math.isclose(scale, out / size) for size, out, scale in changed.values())
    if len(dims(x)) != 4 or not set(changed) <= {2, 3} or not plain or dtype_of(x) != ir.DataType.FLOAT:
        return None
    if mode == "linear" and how in ("half_pixel", "align_corners", "asymmetric"):
        return "ResizeBilinearV2", how == "align_corners", how == "half_pixel"
    if mode != "nearest":
        return None
    for half in (False, True):
        agree = True
        for size, out, scale in changed.values():
            wanted = nearest(coordinates(size, out, scale, how), size, rule)
            step = np.float32(size) / np.float32(out)
            at = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half else 0)) * step
            agree = agree and bool((np.minimum(np.floor(at), size - 1) == wanted).all())
        if agree:
            return "ResizeNearestNeighborV2", False, half
    return None


def _along(w: Writer, x: Arg, matrix: np.ndarray, place: tuple[int, int]) -> Ref:
    """Multiply one axis by a matrix (out, in)."""
    axis, rank = place
    if axis == rank - 1:
        return w.fn("MatMulExt", x, np.ascontiguousarray(matrix.T))
    if axis == rank - 2:
        return w.fn("MatMulExt", matrix, x)
    perm = list(range(rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    turned = w.fn("MatMulExt", w.fn("Transpose", x, tuple(perm)), np.ascontiguousarray(matrix.T))
    return w.fn("Transpose", turned, tuple(perm))
