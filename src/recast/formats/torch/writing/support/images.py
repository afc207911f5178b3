"""Support text: image operators beyond ``F.interpolate``."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import math

    import torch
    import torch.nn.functional as F
    from torch import Tensor


def resize_places(
    size: int, count: int, scale: float, how: str, region: tuple[float, float], device: torch.device
) -> Tensor:
    """Where each output element lies in the input (float64)."""
    place = torch.arange(count, dtype=torch.float64, device=device)
    length = scale * size
    if how == "align_corners":
        return place * (size - 1) / (length - 1) if length != 1 else torch.zeros_like(place)
    if how == "asymmetric":
        return place / scale
    if how == "pytorch_half_pixel" and length <= 1:
        return torch.zeros_like(place)
    if how == "tf_crop_and_resize":
        begin, end = region
        if count > 1:
            return begin * (size - 1) + place * (end - begin) * (size - 1) / (length - 1)
        return torch.full_like(place, 0.5 * (begin + end) * (size - 1))
    if how == "half_pixel_symmetric":
        return size / 2 * (1 - count / length) + (place + 0.5) / scale - 0.5
    return (place + 0.5) / scale - 0.5


def resize_kernel(distance: Tensor, mode: str, a: float) -> Tensor:
    """Weight at a distance: triangle or cubic."""
    d = distance.abs()
    if mode == "linear":
        return (1 - d).clamp(min=0)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def resize_nearest(place: Tensor, rounding: str) -> Tensor:
    """Round a place to an index."""
    if rounding == "floor":
        return place.floor()
    if rounding == "ceil":
        return place.ceil()
    return (place - 0.5).ceil() if rounding == "round_prefer_floor" else (place + 0.5).floor()


def resize_weights(
    place: Tensor, size: int, scale: float, mode: tuple[str, str], settings: tuple[float, bool, bool, float]
) -> Tensor:
    """Matrix (outputs, inputs) that interpolates along one axis."""
    kind, rounding = mode
    a, exclude, antialias, _ = settings
    if kind == "nearest":
        index = resize_nearest(place, rounding).clamp(0, size - 1).to(torch.int64)
        return F.one_hot(index, size).to(torch.float64)
    shrink = min(1.0, scale) if antialias else 1.0
    reach = math.ceil((2 if kind == "cubic" else 1) / shrink)
    offset = torch.arange(-reach + 1, reach + 1, device=place.device)
    index = place.floor().to(torch.int64).unsqueeze(-1) + offset
    weight = resize_kernel((place.unsqueeze(-1) - index) * shrink, kind, a)
    if exclude:
        weight = torch.where((index < 0) | (index >= size), torch.zeros_like(weight), weight)
    if exclude or antialias:
        weight = weight / weight.sum(-1, keepdim=True)
    matrix = torch.zeros(place.shape[0], size, dtype=torch.float64, device=place.device)
    return matrix.scatter_add(1, index.clamp(0, size - 1), weight)


def resize(
    x: Tensor,
    axes: list[int],
    scales: list[float] | None,
    sizes: list[int] | None,
    region: list[float] | None,
    modes: tuple[str, str, str, str],
    settings: tuple[float, bool, bool, float],
) -> Tensor:
    """Resize along axes by ``scales`` or to ``sizes``, with ONNX's coordinate rules."""
    kind, how, rounding, policy = modes
    if sizes is not None:
        scales = [n / x.shape[a] for n, a in zip(sizes, axes)]
        if policy != "stretch":
            one = min(scales) if policy == "not_larger" else max(scales)
            scales = [one] * len(axes)
            sizes = [math.floor(one * x.shape[a] + 0.5) for a in axes]
    scales = scales or []
    counts = sizes or [math.floor(x.shape[a] * s) for a, s in zip(axes, scales)]
    dtype, y = x.dtype, x
    for i, axis in enumerate(axes):
        size = x.shape[axis]
        if counts[i] == size and scales[i] == 1 and region is None:
            continue
        ends = (0.0, 1.0) if region is None else (region[i], region[i + len(axes)])
        place = resize_places(size, counts[i], scales[i], how, ends, x.device)
        if kind == "nearest":
            y = y.index_select(axis, resize_nearest(place, rounding).clamp(0, size - 1).to(torch.int64))
        else:
            matrix = resize_weights(place, size, scales[i], (kind, rounding), settings)
            y = torch.tensordot(y.to(torch.float64), matrix, ([axis], [1])).movedim(-1, axis)
        if how == "tf_crop_and_resize":
            outside = ((place < 0) | (place > size - 1)).reshape([-1 if a == axis else 1 for a in range(x.dim())])
            y = torch.where(outside, torch.full_like(y, settings[3]), y)
    if kind != "nearest" and not dtype.is_floating_point:
        y = y.trunc()
    return y.to(dtype)


def max_unpool(
    x: Tensor, index: Tensor, kernel: list[int], stride: list[int], pads: list[int], size: list[int] | None
) -> Tensor:
    """Put values back where a max pooling took them from."""
    rank = len(kernel)
    shape = [(n - 1) * s - b - e + k for n, s, b, e, k in zip(x.shape[2:], stride, pads[:rank], pads[rank:], kernel)]
    whole = [*x.shape[:2], *shape]
    flat = x.new_zeros(math.prod(whole)).scatter(0, index.flatten(), x.flatten()).reshape(whole)
    if size is None or list(size) == whole:
        return flat
    return F.pad(flat, [p for n, o in zip(reversed(size), reversed(whole)) for p in (0, n - o)])


def center_crop_pad(x: Tensor, shape: list[int], axes: list[int]) -> Tensor:
    """Crop or pad to a shape, keeping the centre."""
    for size, axis in zip(shape, axes):
        have = x.shape[axis]
        if have > size:
            x = x.narrow(axis, (have - size) // 2, size)
        else:
            begin = (size - have) // 2
            x = F.pad(x.movedim(axis, -1), [begin, size - have - begin]).movedim(-1, axis)
    return x


def roi_align(
    x: Tensor,
    rois: Tensor,
    batch: Tensor,
    sizes: tuple[int, int],
    ratio: int,
    scale: float,
    largest: bool,
    half_pixel: bool,
) -> Tensor:
    """Sample regions of interest on a grid, then average (or take the largest of) each cell."""
    results = []
    shift = 0.5 if half_pixel else 0.0
    for box, n in zip(rois * scale - shift, batch.tolist()):
        x1, y1, x2, y2 = box.unbind()
        h, w = (y2 - y1, x2 - x1) if half_pixel else ((y2 - y1).clamp(min=1.0), (x2 - x1).clamp(min=1.0))
        places = []
        for begin, length, count, limit in ((y1, h, sizes[0], x.shape[2]), (x1, w, sizes[1], x.shape[3])):
            points = ratio if ratio > 0 else max(1, math.ceil(float(length) / count))
            steps = torch.arange(count * points, device=x.device)
            places.append((begin + length / count * ((steps + 0.5) / points), points, limit))
        parts = []
        outside = []
        for place, _, limit in places:
            outside.append((place < -1.0) | (place > limit))
            place = place.clamp(min=0.0)
            low = place.floor().clamp(max=limit - 1)
            place = torch.where(low >= limit - 1, low, place)
            parts.append((low.to(torch.int64), (low + 1).clamp(max=limit - 1).to(torch.int64), place - low))
        (yl, yh, ly), (xl, xh, lx) = parts
        ly, image = ly.unsqueeze(-1), x[n]
        corners = [
            image[:, yl][:, :, xl] * (1 - ly) * (1 - lx),
            image[:, yl][:, :, xh] * (1 - ly) * lx,
            image[:, yh][:, :, xl] * ly * (1 - lx),
            image[:, yh][:, :, xh] * ly * lx,
        ]
        value = torch.stack(corners).amax(0) if largest else torch.stack(corners).sum(0)
        value = value.masked_fill(outside[0].unsqueeze(-1) | outside[1], 0.0)
        cells = value.reshape(x.shape[1], sizes[0], places[0][1], sizes[1], places[1][1])
        results.append(cells.amax((2, 4)) if largest else cells.mean((2, 4)))
    return torch.stack(results) if results else x.new_zeros(0, x.shape[1], *sizes)
