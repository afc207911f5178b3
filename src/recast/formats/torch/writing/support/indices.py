"""Support text: gathering, scattering, sorting."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def wrap_index(index: Tensor, size: int) -> Tensor:
    """Negative indices count from the end."""
    index = index.to(torch.int64)
    return torch.where(index < 0, index + size, index)


def gather(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Take slices along an axis; the index's shape takes the axis' place."""
    axis = axis % x.dim()
    flat = wrap_index(index, x.shape[axis]).reshape(-1)
    return x.index_select(axis, flat).reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def gather_nd(x: Tensor, index: Tensor, batch: int = 0) -> Tensor:
    """Take the slices that the last axis of ``index`` points at, batch by batch."""
    index = index.to(torch.int64)
    lead = list(x.shape[:batch])
    count = 1
    for size in lead:
        count *= size
    x = x.reshape([count, *x.shape[batch:]])
    depth = index.shape[-1]
    rows = index.reshape([count, -1, depth])
    own = torch.arange(count, device=x.device).reshape(-1, 1).expand(count, rows.shape[1])
    taken = x[(own, *rows.unbind(-1))]
    return taken.reshape([*index.shape[:-1], *x.shape[1 + depth :]])


def scatter_elements(x: Tensor, index: Tensor, updates: Tensor, axis: int, reduction: str) -> Tensor:
    """Write or combine elements at places along an axis."""
    index = wrap_index(index, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, index, updates)
    name = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[reduction]
    return x.scatter_reduce(axis, index, updates, name)


def scatter_nd(x: Tensor, index: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """Write or combine slices at the places that the last axis of ``index`` points at."""
    depth = index.shape[-1]
    flat = torch.zeros(index.shape[:-1], dtype=torch.int64, device=x.device)
    for i in range(depth):
        flat = flat * x.shape[i] + wrap_index(index[..., i], x.shape[i])
    rest = list(x.shape[depth:])
    rows = x.reshape([-1, *rest]) if x.numel() else x.reshape([x[..., 0:0].numel(), *rest])
    flat = flat.reshape(-1)
    values = updates.reshape([flat.shape[0], *rest])
    if reduction == "none":
        return rows.index_copy(0, flat, values).reshape(x.shape)
    name = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[reduction]
    place = flat.reshape([-1] + [1] * len(rest)).expand_as(values)
    return rows.scatter_reduce(0, place, values, name).reshape(x.shape)


def tensor_scatter(x: Tensor, update: Tensor, start: Tensor | None, axis: int, circular: bool) -> Tensor:
    """Write ``update`` along an axis from a place of its own in each batch item."""
    axis = axis % x.dim()
    first = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device) if start is None else start
    place = first.reshape(-1, 1) + torch.arange(update.shape[axis], device=x.device)
    if circular:
        place = place.remainder(x.shape[axis])
    shape = [1] * x.dim()
    shape[0], shape[axis] = place.shape[0], place.shape[1]
    return x.scatter(axis, place.reshape(shape).expand_as(update), update)


def one_hot(index: Tensor, depth: int, values: Tensor, axis: int) -> Tensor:
    """``values[1]`` at the index, ``values[0]`` elsewhere; an index out of range gives no hit."""
    index = index.to(torch.int64)
    index = torch.where(index < 0, index + depth, index)
    hit = index.unsqueeze(-1) == torch.arange(depth, device=index.device)
    return torch.where(hit, values[1], values[0]).movedim(-1, axis)


def top_k(x: Tensor, k: int, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) along an axis, sorted; of equal ones the first comes first."""
    values, index = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, k), index.narrow(axis, 0, k)


def reduce_prod(x: Tensor, axes: list[int], keep: bool, noop: bool) -> Tensor:
    """Product over several axes; ``noop``: none of them means none, else it means all."""
    if noop and not axes:
        return x
    for axis in sorted((a % x.dim() for a in axes or range(x.dim())), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def cumulative_sum(x: Tensor, axis: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sum, from the end if ``reverse``, without the element itself if ``exclusive``."""
    y = x.flip(axis) if reverse else x
    total = y.cumsum(axis, dtype=x.dtype)
    total = total - y if exclusive else total
    return total.flip(axis) if reverse else total


def cumulative_product(x: Tensor, axis: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running product, from the end if ``reverse``, without the element itself if ``exclusive``."""
    y = x.flip(axis) if reverse else x
    if exclusive:
        y = torch.cat([torch.ones_like(y.narrow(axis, 0, 1)), y.narrow(axis, 0, y.shape[axis] - 1)], axis)
    total = y.cumprod(axis, dtype=x.dtype)
    return total.flip(axis) if reverse else total


def unique(x: Tensor, axis: int | None, in_order: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distinct elements (or slices), where each was first, the way back, and how often."""
    if axis is None:
        x, axis = x.flatten(), 0
    values, inverse, counts = torch.unique(x, sorted=True, return_inverse=True, return_counts=True, dim=axis)
    place = torch.arange(inverse.numel(), device=x.device)
    first = torch.full_like(counts, inverse.numel()).scatter_reduce(0, inverse, place, "amin")
    if not in_order:
        order = first.argsort()
        values, counts, first = values.index_select(axis, order), counts[order], first[order]
        inverse = order.argsort()[inverse]
    return values, first, inverse, counts


def reverse_sequence(x: Tensor, lengths: Tensor, batch_axis: int, time_axis: int) -> Tensor:
    """Reverse the first ``lengths[b]`` steps of each batch item."""
    steps = torch.arange(x.shape[time_axis], device=x.device)
    count = lengths.to(torch.int64).reshape(-1, 1)
    place = torch.where(steps < count, count - 1 - steps, steps)
    place = place if batch_axis < time_axis else place.T
    shape = [x.shape[a] if a in (batch_axis, time_axis) else 1 for a in range(x.dim())]
    return x.gather(time_axis, place.reshape(shape).expand_as(x))


def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    count: int,
    overlap: float,
    threshold: float | None,
    center: bool,
) -> Tensor:
    """Keep the best boxes of each class that overlap no better one; rows of (batch, class, box)."""
    a, b, c, d = boxes.unsqueeze(1).unbind(-1)
    y1, x1, y2, x2 = (b - d / 2, a - c / 2, b + d / 2, a + c / 2) if center else (a, b, c, d)
    low = torch.stack([torch.minimum(y1, y2), torch.minimum(x1, x2)], -1)
    high = torch.stack([torch.maximum(y1, y2), torch.maximum(x1, x2)], -1)
    area = (high - low).prod(-1)
    least = torch.finfo(scores.dtype).min
    left = scores.clamp(min=least)
    if threshold is not None:
        left = left.masked_fill(~(scores > threshold), -torch.inf)
    tops, places = [left[..., :0]], [torch.zeros_like(left[..., :0], dtype=torch.int64)]
    for _ in range(count):
        if not torch.compiler.is_compiling() and not bool((left >= least).any()):
            break
        top, place = left.max(-1, keepdim=True)
        tops.append(top)
        places.append(place)
        index = place.unsqueeze(-1).expand(-1, -1, -1, 2)
        best_low, best_high = (v.expand(-1, scores.shape[1], -1, -1).gather(2, index) for v in (low, high))
        common = (torch.minimum(high, best_high) - torch.maximum(low, best_low)).clamp(min=0).prod(-1)
        out = common / (area + (best_high - best_low).prod(-1) - common) > overlap
        left = left.masked_fill(out, -torch.inf).scatter(-1, place, -torch.inf)
    batch, label, rank = (torch.cat(tops, -1) >= least).nonzero().unbind(1)
    return torch.stack([batch, label, torch.cat(places, -1)[batch, label, rank]], 1)
