"""Support text: shape operators whose arguments are known only at run time, or that PyTorch lacks."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def reshape(x: Tensor, shape: list[int], allow_zero: bool = False) -> Tensor:
    """Reshape where 0 means "as before" and -1 "whatever is left"."""
    return x.reshape([x.shape[i] if d == 0 and not allow_zero else d for i, d in enumerate(shape)])


def unsqueeze(x: Tensor, axes: list[int]) -> Tensor:
    """Insert axes of size 1; their numbers count in the result."""
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


def expand(x: Tensor, shape: list[int]) -> Tensor:
    """Broadcast both ways: a 1 in ``shape`` keeps the size of ``x``."""
    rank = max(x.dim(), len(shape))
    own = [1] * (rank - x.dim()) + list(x.shape)
    wanted = [1] * (rank - len(shape)) + list(shape)
    return x.expand([o if w == 1 else w for o, w in zip(own, wanted)])


def slice_steps(
    x: Tensor, starts: list[int], ends: list[int], axes: list[int] | None = None, steps: list[int] | None = None
) -> Tensor:
    """Slice with any step, also a negative one."""
    for i, (start, end) in enumerate(zip(starts, ends)):
        axis = i if axes is None else axes[i]
        step = 1 if steps is None else steps[i]
        size = x.shape[axis]
        start = start + size if start < 0 else start
        end = end + size if end < 0 else end
        low, high = (0, size) if step > 0 else (-1, size - 1)
        start, end = min(max(start, 0), high), min(max(end, low), size)
        x = x.index_select(axis, torch.tensor(list(range(start, end, step)), dtype=torch.int64, device=x.device))
    return x


def depth_to_space(x: Tensor, block: int) -> Tensor:
    """Move channels to space; the block comes first in the channels."""
    n, c, h, w = x.shape
    y = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // block**2, h * block, w * block)


def space_to_depth(x: Tensor, block: int) -> Tensor:
    """Move space to channels; the block comes first in the channels."""
    n, c, h, w = x.shape
    y = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(n, c * block**2, h // block, w // block)


def pad(x: Tensor, pads: list[int], axes: list[int], mode: str, value: Tensor | None = None) -> Tensor:
    """Pad (or crop, where negative) axis by axis: constant, reflect, edge or wrap."""
    for i, axis in enumerate(axes):
        begin, end = pads[i], pads[i + len(axes)]
        x = x.narrow(axis, max(0, -begin), x.shape[axis] - max(0, -begin) - max(0, -end))
        begin, end, size = max(0, begin), max(0, end), x.shape[axis]
        place = torch.arange(-begin, size + end, device=x.device)
        inside = (place >= 0) & (place < size)
        if mode == "reflect":
            period = max(1, 2 * (size - 1))
            place = size - 1 - (size - 1 - place.remainder(period)).abs() if size > 1 else place * 0
        elif mode == "wrap":
            place = place.remainder(size)
        x = (
            x.index_select(axis, place.clamp(0, max(0, size - 1)))
            if size
            else x.new_zeros([begin + end if a == axis % x.dim() else s for a, s in enumerate(x.shape)])
        )
        if mode == "constant":
            shape = [-1 if a == axis % x.dim() else 1 for a in range(x.dim())]
            fill = x.new_zeros(()) if value is None else value.reshape(())
            x = torch.where(inside.reshape(shape), x, fill)
    return x
