"""Which input points a resize samples: by ONNX's rules, and by LiteRT's, so that they can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.graph import view


def coordinates(node: ir.Node, size: int, out: int, scale: float) -> np.ndarray:
    """The input coordinate of every output element along one axis, as ONNX defines it."""
    mode = view.attr(node, "coordinate_transformation_mode", "half_pixel")
    place = np.arange(out, dtype=np.float64)
    points: np.ndarray = np.asarray((place + 0.5) / scale - 0.5)
    if mode == "asymmetric":
        points = place / scale
    elif mode == "align_corners":
        points = place * (size - 1) / max(out - 1, 1)
    elif mode == "pytorch_half_pixel" and out == 1:
        points = place
    elif mode == "half_pixel_symmetric":
        points = points + (size / 2) * (1 - out / (scale * size))
    return np.asarray(points)


def nearest_indices(node: ir.Node, points: np.ndarray, size: int) -> np.ndarray:
    """The element that ONNX takes for each coordinate."""
    mode = view.attr(node, "nearest_mode", "round_prefer_floor")
    if mode == "floor":
        chosen = np.floor(points)
    elif mode == "ceil":
        chosen = np.ceil(points)
    elif mode == "round_prefer_ceil":
        chosen = np.floor(points + 0.5)
    else:
        chosen = np.ceil(points - 0.5)
    return np.asarray(np.clip(chosen, 0, size - 1), np.int32)


def matches(node: ir.Node, axes: dict[int, tuple[int, int, float]]) -> dict[str, bool] | None:
    """The options with which LiteRT samples the same points along all axes, None if there are none."""
    nearest = view.attr(node, "mode", "nearest") == "nearest"
    for corners, half in ((False, False), (False, True), (True, False)):
        if all(_agrees(node, nearest, (corners, half), axis) for axis in axes.values()):
            return {"align_corners": corners, "half_pixel_centers": half}
    return None


def matches_any_size(node: ir.Node, factors: Sequence[float]) -> dict[str, bool] | None:
    """The options with which LiteRT samples the same points whatever the image's size, times whole factors.

    Nearest neighbours are taken from the middle of a pixel, which rounding cannot move into the next one.
    """
    nearest = view.attr(node, "mode", "nearest") == "nearest"
    plain = nearest or (view.attr(node, "mode") == "linear" and not view.attr(node, "antialias", 0))
    if not plain or any(f != int(f) or f < 1 for f in factors):
        return None
    sizes = [(size, size * int(f), f) for f in factors for size in (1, 2, 5, 64, 101, 768)]
    for corners, half in ((False, True),) if nearest else ((False, False), (False, True), (True, False)):
        if all(_agrees(node, nearest, (corners, half), axis) for axis in sizes):
            return {"align_corners": corners, "half_pixel_centers": half}
    return None


def _agrees(node: ir.Node, nearest: bool, flags: tuple[bool, bool], axis: tuple[int, int, float]) -> bool:
    size, out, scale = axis
    corners, half = flags
    wanted = coordinates(node, size, out, scale)
    ratio = np.float32((size - 1) / (out - 1)) if corners and out > 1 else np.float32(size) / np.float32(out)
    place = np.arange(out, dtype=np.float32)
    if nearest:
        points = (place + np.float32(0.5 if half else 0.0)) * ratio
        chosen = np.floor(points + np.float32(0.5)) if corners else np.floor(points)
        mine = np.clip(chosen, 0, size - 1).astype(np.int32)
        return bool(np.array_equal(mine, nearest_indices(node, wanted, size)))
    points = (place + np.float32(0.5)) * ratio - np.float32(0.5) if half else place * ratio
    return bool(np.allclose(np.clip(points, 0, size - 1), np.clip(wanted, 0, size - 1), rtol=0, atol=1e-4))


def matrix(node: ir.Node, size: int, out: int, scale: float) -> np.ndarray:
    """The (out, size) matrix of an interpolation along one axis, by ONNX's own reference implementation."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    kept = ("coordinate_transformation_mode", "mode", "cubic_coeff_a", "exclude_outside", "antialias")
    attributes = {k: view.attr(node, k) for k in kept if k in node.attributes}
    tensor = onnx.TensorProto.FLOAT
    single = onnx.helper.make_node("Resize", ["x", "", "scales"], ["y"], axes=[1], **attributes)
    graph = onnx.helper.make_graph(
        [single],
        "resize",
        [
            onnx.helper.make_tensor_value_info("x", tensor, [size, size]),
            onnx.helper.make_tensor_value_info("scales", tensor, [1]),
        ],
        [onnx.helper.make_tensor_value_info("y", tensor, [size, out])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    feeds = {"x": np.eye(size, dtype=np.float32), "scales": np.array([scale], np.float32)}
    result: np.ndarray = list(ReferenceEvaluator(model).run(None, feeds))[0]
    return np.ascontiguousarray(result.T.astype(np.float32))
