"""Windows over spatial axes: kernel, strides, dilations and padding of convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from recast.formats.torch.writing import Refuse
from recast.graph import view


@dataclass(frozen=True)
class Window:
    """A sliding window. ``begin``/``end`` are None where SAME padding depends on sizes known only at run time."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...] | None
    end: tuple[int, ...] | None
    lower: bool = False

    @property
    def symmetric(self) -> bool:
        """Whether both sides get the same padding."""
        return self.begin is not None and self.begin == self.end


def window(node: ir.Node, kernel: Sequence[int]) -> Window:
    """Read the window attributes of a node.

    Raises:
        Refuse: negative padding or an unknown ``auto_pad``.
    """
    rank = len(kernel)
    stride = tuple(view.attr(node, "strides") or [1] * rank)
    dilation = tuple(view.attr(node, "dilations") or [1] * rank)
    auto = view.attr(node, "auto_pad", "NOTSET")
    pads = view.attr(node, "pads") or [0] * (2 * rank)
    begin: tuple[int, ...] | None = tuple(pads[:rank])
    end: tuple[int, ...] | None = tuple(pads[rank:])
    if auto == "VALID":
        begin = end = (0,) * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = _same(node, tuple(kernel), stride, dilation)
    elif auto != "NOTSET":
        raise Refuse(f"auto_pad={auto}")
    return Window(tuple(kernel), stride, dilation, begin, end, auto == "SAME_LOWER")


def _same(
    node: ir.Node, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]] | tuple[None, None]:
    value = node.inputs[0]
    sizes = [] if value is None or value.shape is None else list(view.dims(value))[2:]
    begin, end = [], []
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        reach = (k - 1) * d + 1
        size = sizes[axis] if axis < len(sizes) else None
        if isinstance(size, int):
            total = max(0, (-(-size // s) - 1) * s + reach - size)
        elif s == 1:
            total = reach - 1  # the size cancels out
        else:
            return None, None
        small, large = total // 2, total - total // 2
        lower = view.attr(node, "auto_pad") == "SAME_LOWER"
        begin.append(large if lower else small)
        end.append(small if lower else large)
    return tuple(begin), tuple(end)


def kernel_size(node: ir.Node, kernel: ir.Value) -> list[int]:
    """Spatial size of a kernel, from the attribute or the weight's shape.

    Raises:
        Refuse: it is unknown.
    """
    given: list[int] | None = view.attr(node, "kernel_shape")
    sizes = given or [d for d in view.dims(kernel)[2:] if isinstance(d, int)]
    if len(sizes) != len(view.dims(kernel)) - 2:
        raise Refuse("the kernel's size is unknown")
    return sizes


def pad_list(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """Padding in the order of ``F.pad``: last axis first, (begin, end) each."""
    return [p for b, e in zip(reversed(begin), reversed(end), strict=True) for p in (b, e)]


def compact(numbers: Sequence[int]) -> str:
    """``3`` for (3, 3), else the tuple."""
    return str(numbers[0]) if len(set(numbers)) == 1 else str(tuple(numbers))


def options(**given: tuple[str, str]) -> str:
    """``, stride=2``: keyword arguments that differ from their default; each is (value, default)."""
    return "".join(f", {k}={v}" for k, (v, default) in given.items() if v != default)
