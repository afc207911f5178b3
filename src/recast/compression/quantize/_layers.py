"""Layers with weights: where their matrices are, and their inputs as rows of patches.

Every layer is ``y[group] = W[group] · patches[group] + b``: a convolution's kernel is a matrix over the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr, const, is_const, layer_of, sole_consumer


@dataclass(frozen=True)
class Layer:
    """One layer with a constant weight.

    Attributes:
        node: name of the node; ``where`` is the source's layer path.
        op: ``Conv``, ``ConvTranspose``, ``Gemm``, ``MatMul`` or ``Gather`` (an embedding).
        x: name of the input value; ``y``: of the result with its bias, before any activation.
        weight, bias: names of initializers; "" without bias.
        axis: the weight's axis of output channels.
        groups: of a convolution.
        shared: others use the weight too.
    """

    node: str
    where: str
    op: str
    x: str
    y: str
    weight: str
    bias: str
    axis: int
    groups: int = 1
    shared: bool = False
    window: Window | None = None

    @property
    def fits(self) -> bool:
        """Whether ``matrix`` and ``patches`` exist for it."""
        return not self.shared and (self.op in ("Gemm", "MatMul") or self.window is not None)

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """float64, shape (groups, rows = outputs a group, columns)."""
        moved = np.moveaxis(weight.astype(np.float64), self.axis, 0)
        return moved.reshape(self.groups, moved.shape[0] // self.groups, -1)

    def unmatrix(self, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The weight of that shape again."""
        moved = (shape[self.axis], *(d for i, d in enumerate(shape) if i != self.axis))
        return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved), 0, self.axis))

    def per_channel(self, rows: np.ndarray) -> np.ndarray:
        """Figures of shape (groups, rows a group) as one a channel."""
        return rows.reshape(-1)

    def patches(self, x: np.ndarray, pick: np.ndarray | None) -> np.ndarray:
        """Rows of inputs, shape (positions, groups, columns); ``pick`` chooses positions of the flat output."""
        if self.window is None:
            flat = x.reshape(-1, 1, x.shape[-1])
            return flat if pick is None else flat[pick]
        return self.window.patches(x, self.groups, pick)

    def results(self, y: np.ndarray, pick: np.ndarray | None) -> np.ndarray:
        """Outputs of shape (positions, groups, rows) in the same order as ``patches``."""
        flat = np.moveaxis(y, 1, -1) if self.window is not None else y
        flat = flat.reshape(-1, self.groups, flat.shape[-1] // self.groups)
        return flat if pick is None else flat[pick]


@dataclass(frozen=True)
class Window:
    """A convolution's window: sizes per spatial axis; ``same`` says how to pad where ``pads`` is None."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None
    same: str = ""

    def padding(self, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
        """(begin, end) of each spatial axis."""
        count = len(sizes)
        if self.pads is not None:
            return [(self.pads[i], self.pads[i + count]) for i in range(count)]
        found = []
        for size, k, s, d in zip(sizes, self.kernel, self.strides, self.dilations, strict=True):
            total = max((math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size, 0)
            small, large = total // 2, total - total // 2
            found.append((small, large) if self.same == "SAME_UPPER" else (large, small))
        return found

    def patches(self, x: np.ndarray, groups: int, pick: np.ndarray | None) -> np.ndarray:
        """(positions, groups, channels a group × window), positions in the order n, *spatial."""
        spatial = len(self.kernel)
        padded = np.pad(x, [(0, 0), (0, 0), *self.padding(x.shape[2:])])
        extent = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))
        axes = tuple(range(2, 2 + spatial))
        seen = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=axes)
        every: tuple[slice, ...] = (slice(None), slice(None))
        seen = seen[
            every
            + tuple(slice(None, None, s) for s in self.strides)
            + tuple(slice(None, None, d) for d in self.dilations)
        ]
        n, c = seen.shape[:2]
        out = seen.shape[2 : 2 + spatial]
        order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
        moved = seen.transpose(order)
        if pick is not None:
            index = np.unravel_index(pick, (n, *out))
            picked = moved[index]
        else:
            picked = moved.reshape((n * math.prod(out), c, *self.kernel))
        return picked.reshape(len(picked), groups, -1)


def layers(model: ir.Model) -> tuple[Layer, ...]:
    """The layers of the main graph in the order of computing."""
    found = [_layer(node) for node in model.graph if node.domain == ""]
    return tuple(layer for layer in found if layer is not None)


def _layer(node: ir.Node) -> Layer | None:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather") or len(node.inputs) < 2:
        return None
    slot = 0 if node.op_type == "Gather" else 1
    weight, x = node.inputs[slot], node.inputs[1 - slot]
    if weight is None or x is None or not _float_weight(weight) or is_const(x):
        return None
    y, bias, axis, groups, window = node.outputs[0], "", 0, 1, None
    rank = len(weight.shape or ())
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = int(attr(node, "group", 1))
        bias = _bias_name(node, 2)
        axis = 0 if node.op_type == "Conv" else 1
        window = _window(node, weight) if node.op_type == "Conv" else None
        if node.op_type == "ConvTranspose" and groups != 1:
            return None
    elif node.op_type == "Gemm":
        if attr(node, "transA", 0) or attr(node, "alpha", 1.0) != 1.0 or attr(node, "beta", 1.0) != 1.0 or rank != 2:
            return None
        axis, bias = (0 if attr(node, "transB", 0) else 1), _bias_name(node, 2)
    elif node.op_type == "MatMul":
        if rank != 2 or len(x.shape or ()) < 2:
            return None
        axis = 1
        y, bias = _added(y)
    elif rank != 2 or attr(node, "axis", 0) != 0:
        return None
    shared = len(weight.uses()) > 1
    names = node.name or "", layer_of(node), node.op_type
    return Layer(*names, x.name or "", y.name or "", weight.name or "", bias, axis, groups, shared, window)


def _float_weight(value: ir.Value) -> bool:
    return value.is_initializer() and value.dtype == ir.DataType.FLOAT and is_const(value)


def _bias_name(node: ir.Node, slot: int) -> str:
    value = node.inputs[slot] if len(node.inputs) > slot else None
    if value is None or not _float_weight(value) or len(value.uses()) > 1 or len(value.shape or ()) != 1:
        return ""
    return value.name or ""


def _added(product: ir.Value) -> tuple[ir.Value, str]:
    """The sum and the bias that alone is added to a product."""
    node = sole_consumer(product)
    if node is None or node.op_type != "Add":
        return product, ""
    other = node.inputs[1] if node.inputs[0] is product else node.inputs[0]
    if other is None or other is product or not _float_weight(other) or len(other.uses()) > 1:
        return product, ""
    array = const(other)
    wanted = product.shape[-1] if product.shape is not None else None
    if array is None or array.ndim != 1 or array.shape[0] != wanted:
        return product, ""
    return node.outputs[0], other.name or ""


def _window(node: ir.Node, weight: ir.Value) -> Window | None:
    kernel = tuple(int(d) for d in (weight.shape or ())[2:])  # type: ignore[arg-type]
    count = len(kernel)
    strides = tuple(attr(node, "strides") or (1,) * count)
    dilations = tuple(attr(node, "dilations") or (1,) * count)
    how = attr(node, "auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        return Window(kernel, strides, dilations, None, how)
    pads = tuple(attr(node, "pads") or (0,) * (2 * count)) if how == "NOTSET" else (0,) * (2 * count)
    return Window(kernel, strides, dilations, pads)
