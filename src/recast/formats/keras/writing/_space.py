"""Arithmetic of windows over spatial axes: padding, sizes, Keras's ``same``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from recast.formats.keras.writing import Unfit
from recast.formats.keras.writing._context import Context
from recast.formats.keras.writing._network import Shape, Tensor
from recast.graph import view


@dataclass(frozen=True)
class Window:
    """A window operator's geometry, one entry per spatial axis; ``same``: Keras's padding of that name."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    same: bool

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def spans(self) -> tuple[int, ...]:
        """Sizes of the dilated kernel."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def same_pads(size: int | None, span: int, stride: int) -> tuple[int, int] | None:
    """What Keras's ``same`` pads before and after an axis; None if that depends on an unknown size."""
    if stride == 1:
        total = span - 1
    elif size is None:
        return (0, 0) if span == 1 else None
    else:
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def window(node: ir.Node, kernel: Sequence[int], spatial: Shape) -> Window:
    """Read geometry from a node; ``spatial`` are the input's spatial sizes (None: unknown)."""
    rank = len(kernel)
    if rank not in (1, 2, 3):
        raise Unfit(f"Keras has no window operators over {rank} axes")
    strides = tuple(view.attr(node, "strides") or [1] * rank)
    dilations = tuple(view.attr(node, "dilations") or [1] * rank)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    wanted = [same_pads(n, k, s) for n, k, s in zip(spatial, spans, strides, strict=True)]
    auto = view.attr(node, "auto_pad", "NOTSET")
    if auto == "SAME_UPPER":
        pads = tuple(p or (0, 0) for p in wanted)
        return Window(tuple(kernel), strides, dilations, pads, True)
    if auto == "SAME_LOWER":
        if any(p is None for p in wanted):
            raise Unfit("its padding SAME_LOWER depends on a size that is only known at run time")
        pads = tuple((p[1], p[0]) for p in wanted if p is not None)
    elif auto == "VALID":
        pads = ((0, 0),) * rank
    else:
        flat = view.attr(node, "pads") or [0] * (2 * rank)
        pads = tuple((int(flat[i]), int(flat[i + rank])) for i in range(rank))
    if any(p < 0 for pair in pads for p in pair):
        raise Unfit("its padding is negative")
    same = any(p != (0, 0) for p in pads) and list(pads) == wanted
    return Window(tuple(kernel), strides, dilations, pads, same)


def zero_pad(ctx: Context, node: ir.Node, x: Tensor, pads: Sequence[tuple[int, int]], suffix: str = "pad") -> Tensor:
    """Pad the spatial axes of a channels-last tensor with zeros, by a layer."""
    if all(p == (0, 0) for p in pads):
        return x
    rank = len(pads)
    spatial = [None if n is None else n + sum(p) for n, p in zip(x.shape[1:-1], pads, strict=True)]
    shape = (x.shape[0], *spatial, x.shape[-1])
    padding = list(pads[0]) if rank == 1 else [list(p) for p in pads]
    config = {"padding": padding}
    return ctx.layer(node, f"ZeroPadding{rank}D", config, [x], suffix=suffix, shape=shape, dtype=x.dtype)


def crop(ctx: Context, node: ir.Node, x: Tensor, cuts: Sequence[tuple[int, int]], suffix: str = "crop") -> Tensor:
    """Cut from the spatial axes of a channels-last tensor, by a layer."""
    if all(c == (0, 0) for c in cuts):
        return x
    rank = len(cuts)
    spatial = [None if n is None else n - sum(c) for n, c in zip(x.shape[1:-1], cuts, strict=True)]
    shape = (x.shape[0], *spatial, x.shape[-1])
    cropping = list(cuts[0]) if rank == 1 else [list(c) for c in cuts]
    config = {"cropping": cropping}
    return ctx.layer(node, f"Cropping{rank}D", config, [x], suffix=suffix, shape=shape, dtype=x.dtype)
