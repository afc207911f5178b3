"""Padding of windows: ONNX's pads and auto_pad → SAME, VALID, or a padding operator in front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from recast.formats.tflite.writing import Refused
from recast.formats.tflite.writing.emitter import Dims
from recast.graph import view

SAME, VALID = 0, 1  # enum Padding


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial axes.

    Attributes:
        sizes: spatial size of the input (-1: not known).
        kernel, strides, dilations: per spatial axis.
        begin, end: padding per axis; None where only known at run time (SAME with unknown size).
        same: whether the padding is TensorFlow's SAME.
    """

    sizes: Dims
    kernel: Dims
    strides: Dims
    dilations: Dims
    begin: tuple[int, ...] | None
    end: tuple[int, ...] | None
    same: bool

    @property
    def extent(self) -> Dims:
        """The kernel's extent with its holes."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def explicit(self) -> bool:
        """Whether a padding operator is needed in front."""
        return not self.same and self.begin is not None and any((*self.begin, *(self.end or ())))

    @property
    def padding(self) -> int:
        """The number of the Padding to write."""
        return SAME if self.same else VALID

    def padded(self, channels: int, batch: int) -> Dims:
        """The input's shape after explicit padding."""
        spatial = zip(self.sizes, self.begin or (), self.end or (), strict=True)
        return (batch, *(s if s < 0 else s + b + e for s, b, e in spatial), channels)


def same_pads(size: int, extent: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: the output has ``ceil(size / stride)`` elements, the odd element is padded at the end."""
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def window(node: ir.Node, sizes: Dims, kernel: Sequence[int]) -> Window:
    """The window of a convolution or pooling node.

    Raises:
        Refused: SAME_LOWER over sizes that are only known at run time.
    """
    count = len(sizes)
    strides = tuple(view.attr(node, "strides") or (1,) * count)
    dilations = tuple(view.attr(node, "dilations") or (1,) * count)
    auto = view.attr(node, "auto_pad", "NOTSET")
    plain = Window(sizes, tuple(kernel), strides, dilations, (0,) * count, (0,) * count, False)
    if auto == "VALID":
        return plain
    if auto == "NOTSET":
        pads = list(view.attr(node, "pads") or (0,) * 2 * count)
        begin, end = tuple(pads[:count]), tuple(pads[count:])
    elif all(s >= 0 for s in sizes):
        both = [same_pads(s, e, t) for s, e, t in zip(sizes, plain.extent, strides, strict=True)]
        if auto == "SAME_LOWER":
            both = [(high, low) for low, high in both]
        begin, end = tuple(b for b, _ in both), tuple(e for _, e in both)
    elif auto == "SAME_UPPER":
        return Window(sizes, plain.kernel, strides, dilations, None, None, True)
    else:
        raise Refused("SAME_LOWER padding over a size that is only known at run time")
    same = any((*begin, *end)) and _is_same(plain, begin, end)
    return Window(sizes, plain.kernel, strides, dilations, begin, end, same)


def _is_same(plain: Window, begin: Dims, end: Dims) -> bool:
    for size, extent, stride, low, high in zip(plain.sizes, plain.extent, plain.strides, begin, end, strict=True):
        if size >= 0:
            if (low, high) != same_pads(size, extent, stride) or -(-size // stride) != _count(
                size + low + high, extent, stride
            ):
                return False
        elif stride != 1 or (low, high) != ((extent - 1) // 2, extent - 1 - (extent - 1) // 2):
            return False
    return True


def _count(size: int, extent: int, stride: int) -> int:
    return (size - extent) // stride + 1
