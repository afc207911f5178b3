"""Low-rank forms of a layer: which matrices, what they cost, and the nodes that compute them.

* ``dense``: ``y = (x A) B``.
* ``output``: a convolution with r channels, then 1×1 (Zhang et al., Accelerating Very Deep Convolutional Networks,
  PAMI 2016, section 3.1): the kernel as a matrix (out, in · window).
* ``input``: 1×1 to r channels, then the window: the kernel as (out · window, in).
* ``spatial``: a column and a row (Jaderberg et al., Speeding up Convolutional Neural Networks with Low Rank
  Expansions, BMVC 2014, scheme 2): the kernel as (in · height, out · width).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.compression.edits import Piece, ReplaceNode
from recast.compression.quantize._layers import Layer
from recast.graph.view import attr


@dataclass(frozen=True)
class Factors:
    """A matrix as ``left · right`` of so many columns and rows (the rank).

    Attributes:
        form: see above.
        left, right: float64.
    """

    form: str
    left: np.ndarray
    right: np.ndarray

    @property
    def rank(self) -> int:
        """Columns of ``left``."""
        return int(self.left.shape[1])


def matrix(form: str, weight: np.ndarray, layer: Layer) -> np.ndarray:
    """The weight as the matrix that a form decomposes, float64."""
    w = weight.astype(np.float64)
    if form == "dense":
        return w if layer.axis == 1 else w.T  # (in, out)
    if form == "output":
        return w.reshape(len(w), -1)
    if form == "input":
        return np.moveaxis(w, 1, -1).reshape(-1, w.shape[1])
    return w.transpose(1, 2, 0, 3).reshape(w.shape[1] * w.shape[2], -1)  # (in · height, out · width)


def forms(layer: Layer, weight: np.ndarray) -> tuple[str, ...]:
    """The forms that a layer can take."""
    if layer.op in ("Gemm", "MatMul"):
        return ("dense",)
    if layer.op != "Conv" or layer.groups != 1:
        return ()
    if all(d == 1 for d in weight.shape[2:]):
        return ("output",)
    return ("output", "input", "spatial") if weight.ndim == 4 and min(weight.shape[2:]) > 1 else ("output", "input")


def parameters(form: str, shape: tuple[int, ...], rank: int) -> int:
    """Weights of both factors."""
    if form == "dense":
        return rank * (shape[0] + shape[1])
    out, channels, *window = shape
    size = int(np.prod(window))
    if form == "output":
        return rank * (channels * size + out)
    if form == "input":
        return rank * (channels + out * size)
    return rank * (channels * window[0] + out * window[1])


def macs(form: str, shape: tuple[int, ...], rank: int, sizes: tuple[tuple[int, ...], tuple[int, ...]]) -> int:
    """Multiply-accumulates of both factors; ``sizes``: spatial sizes of the input and the output ((): dense)."""
    if form == "dense":
        return parameters(form, shape, rank)
    before, after = sizes
    out, channels, *window = shape
    places, size = int(np.prod(after)), int(np.prod(window))
    if form == "output":
        return places * rank * (channels * size + out)
    if form == "input":
        return int(np.prod(before)) * rank * channels + places * rank * out * size
    return after[0] * before[1] * rank * channels * window[0] + places * rank * out * window[1]


def sizes_of(node: ir.Node, weight: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Spatial sizes of a convolution's input and output; unknown ones count as if the strides were all that differs."""
    if node.op_type != "Conv" or node.inputs[0] is None:
        return (), ()
    strides = tuple(attr(node, "strides") or (1,) * (weight.ndim - 2))
    found = []
    for value in (node.inputs[0], node.outputs[0]):
        shape = tuple(value.shape or ())[2:]
        found.append(tuple(d if isinstance(d, int) else 0 for d in shape))
    before, after = found
    if not before or not after or 0 in before or 0 in after:
        return strides, (1,) * len(strides)
    return before, after


def replace(node: ir.Node, layer: Layer, weight: np.ndarray, made: Factors) -> ReplaceNode:
    """The nodes of a factorised layer; the second has the bias."""
    name, kind = layer.weight, weight.dtype
    first, second, inner = f"{name}/first", f"{name}/second", f"{layer.node}/low"
    bias = tuple(v.name or "" for v in node.inputs[2:3] if v is not None)
    x = layer.x
    if made.form == "dense":
        held = {first: made.left.astype(kind), second: made.right.astype(kind)}
        op = "Gemm" if node.op_type == "Gemm" else "MatMul"
        pieces = Piece("MatMul", (x, first), inner), Piece(op, (inner, second, *bias), f"{inner}/out")
        return ReplaceNode(layer.node, pieces, held)
    pair, ways = _kernels(node, weight, made)
    kernels = {first: pair[0].astype(kind), second: pair[1].astype(kind)}
    return ReplaceNode(
        layer.node,
        (Piece("Conv", (x, first), inner, ways[0]), Piece("Conv", (inner, second, *bias), f"{inner}/out", ways[1])),
        kernels,
    )


def _kernels(
    node: ir.Node, weight: np.ndarray, made: Factors
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Kernels and attributes of both convolutions."""
    out, channels, *window = weight.shape
    rank, ones = made.rank, (1,) * len(window)
    given = {k: attr(node, k) for k in ("strides", "pads", "dilations", "auto_pad") if attr(node, k) is not None}
    if made.form == "output":
        kernels = made.right.reshape(rank, channels, *window), made.left.reshape(out, rank, *ones)
        return kernels, (given, {})
    if made.form == "input":
        back = np.moveaxis(made.left.reshape(out, *window, rank), -1, 1)
        return (made.right.reshape(rank, channels, *ones), back), ({}, given)
    tall = np.moveaxis(made.left.reshape(channels, window[0], rank), -1, 0)[..., None]
    wide = made.right.reshape(rank, out, window[1]).transpose(1, 0, 2)[:, :, None]
    return (tall, wide), (_one_way(given, 0), _one_way(given, 1))


def _one_way(given: Mapping[str, Any], axis: int) -> dict[str, Any]:
    """The attributes along one of two axes, neutral along the other."""
    made: dict[str, Any] = {k: v for k, v in given.items() if k == "auto_pad"}
    for key in ("strides", "dilations"):
        if key in given:
            made[key] = [v if i == axis else 1 for i, v in enumerate(given[key])]
    if "pads" in given:
        made["pads"] = [v if i % 2 == axis else 0 for i, v in enumerate(given["pads"])]
    return made
