"""A one-stage detector like YOLO's later versions: backbone, two scales, distributed box sides, suppression per class.

Distribution focal loss: every side of a box is the mean of a softmax over ``_BINS`` distances (Li et al., Generalized
Focal Loss, 2020, equation 3).
"""

from __future__ import annotations

import torch
from torch import nn

_BINS, _CLASSES, _STRIDES = 5, 3, (8, 16)
_SCORE, _OVERLAP, _MOST = 0.4, 0.45, 7


class Unit(nn.Sequential):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, c: int, k: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(c, k, size, stride, size // 2, bias=False), nn.BatchNorm2d(k), nn.SiLU())


class Split(nn.Module):
    """Half of the channels go through a residual block; all parts are joined (CSP)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.first, self.last = Unit(c, c, 1), Unit(c + c // 2, c, 1)
        self.block = nn.Sequential(Unit(c // 2, c // 2), Unit(c // 2, c // 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.first(x).chunk(2, 1)
        return self.last(torch.cat([a, b, b + self.block(b)], 1))


class Pyramid(nn.Module):
    """Pooling of growing windows, joined (SPPF)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.first, self.last, self.pool = Unit(c, c // 2, 1), Unit(2 * c, c, 1), nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Detector(nn.Module):
    """Images (n, 3, h, w) → boxes (k, 4) as x1 y1 x2 y2 in pixels, scores (k), classes (k), image numbers (k)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Unit(3, 6, 3, 2), Unit(6, 8, 3, 2), Split(8))
        self.small, self.large = (
            nn.Sequential(Unit(8, 10, 3, 2), Split(10)),
            nn.Sequential(Unit(10, 14, 3, 2), Split(14)),
        )
        self.pyramid = Pyramid(14)
        self.join = Unit(24, 10, 1)
        self.sides = nn.ModuleList(nn.Sequential(Unit(c, 9), nn.Conv2d(9, 4 * _BINS, 1)) for c in (10, 14))
        self.classes = nn.ModuleList(nn.Sequential(Unit(c, 9), nn.Conv2d(9, _CLASSES, 1)) for c in (10, 14))
        self.register_buffer("bins", torch.arange(_BINS, dtype=torch.float32))

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        boxes, scores = self.candidates(pixel_values)
        image, label, place = suppress(boxes, scores).unbind(1)
        return boxes[image, place], scores[image, label, place], label, image

    def candidates(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All boxes (n, places, 4) and scores (n, classes, places)."""
        small = self.small(self.stem(pixel_values))
        large = self.pyramid(self.large(small))
        raised = nn.functional.interpolate(large, size=small.shape[-2:], mode="nearest")
        small = self.join(torch.cat([small, raised], 1))
        boxes, scores = [], []
        for x, stride, sides, classes in zip((small, large), _STRIDES, self.sides, self.classes, strict=True):
            n, _, h, w = x.shape
            share = sides(x).view(n, 4, _BINS, h * w).softmax(2)
            left, top, right, bottom = torch.einsum("nsbp,b->nps", share, self.bins).unbind(-1)
            y, x0 = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
            y, x0 = y.reshape(-1), x0.reshape(-1)
            boxes.append(torch.stack([x0 - left, y - top, x0 + right, y + bottom], -1) * stride)
            scores.append(classes(x).flatten(2).sigmoid())
        return torch.cat(boxes, 1), torch.cat(scores, 2)


def suppress(boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Greedy suppression per image and class: (k, 3) of image, class, place; ONNX's own operator while exporting."""
    if torch.onnx.is_in_onnx_export():
        count = (scores > _SCORE).sum().item()
        torch._check(count >= 0)
        limits = (torch.tensor([_MOST]), torch.tensor([_OVERLAP]), torch.tensor([_SCORE]))
        return torch.onnx.ops.symbolic(
            "NonMaxSuppression", (boxes, scores, *limits), dtype=torch.int64, shape=(count, 3), version=11
        )
    kept = [
        [image, label, place]
        for image in range(scores.shape[0])
        for label in range(scores.shape[1])
        for place in _greedy(boxes[image], scores[image, label])
    ]
    return torch.tensor(kept, dtype=torch.int64).reshape(-1, 3)


def _greedy(boxes: torch.Tensor, scores: torch.Tensor) -> list[int]:
    """Places of one class, best first; a box that overlaps a kept one too much is left out."""
    kept: list[int] = []
    for place in torch.argsort(scores, descending=True, stable=True).tolist():
        if len(kept) == _MOST or not scores[place] > _SCORE:
            break
        if all(_overlap(boxes[place], boxes[k]) <= _OVERLAP for k in kept):
            kept.append(place)
    return kept


def _overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Intersection over union of two boxes."""
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    inner = (high - low).clamp(min=0).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))
