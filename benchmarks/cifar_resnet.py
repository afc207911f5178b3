"""The CIFAR ResNets of He et al. 2015 (section 4.2) with parameter-free shortcuts, for PyTorch state dicts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3×3 convolutions around a shortcut that strides and pads channels with zeros."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        self.stride, self.extra = stride, (outer - inner) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1 or self.extra:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class ResNet(nn.Module):
    """Three stages of ``n`` blocks."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        width = 16
        for number, (outer, stride) in enumerate([(16, 1), (32, 2), (64, 2)], 1):
            blocks = [Block(width if i == 0 else outer, outer, stride if i == 0 else 1) for i in range(n)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            width = outer
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
        return self.linear(torch.mean(x, (2, 3)))


def resnet20() -> nn.Module:
    """0.27 M parameters."""
    return ResNet(3)


def resnet56() -> nn.Module:
    """0.85 M parameters."""
    return ResNet(9)
