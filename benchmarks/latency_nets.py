"""PyTorch networks of everyday size for the latency benchmark; seeded random weights. Each is a factory."""

from __future__ import annotations

import torch
from cifar_resnet import resnet20 as _resnet20
from torch import Tensor, nn

INPUTS = {"resnet20": (3, 3, 32, 32), "encoder": (3, 61, 256), "unet": (3, 3, 96, 64)}  # asymmetric; timed with batch 1


def resnet20() -> nn.Module:
    """A residual CNN of 0.27 M parameters."""
    torch.manual_seed(0)
    return _resnet20().eval()


class _Encoder(nn.Module):
    """Four transformer layers of width 256 with 4 heads over embedded tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(256, 4, 1024, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def encoder() -> nn.Module:
    """A transformer encoder of 3.2 M parameters."""
    torch.manual_seed(0)
    return _Encoder().eval()


class _UNet(nn.Module):
    """Two levels down and up with skips: strided, transposed and concatenated."""

    def __init__(self) -> None:
        super().__init__()

        def block(inner: int, outer: int, stride: int = 1) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inner, outer, 3, stride, 1), nn.BatchNorm2d(outer), nn.SiLU())

        self.first, self.down1, self.down2 = block(3, 16), block(16, 32, 2), block(32, 64, 2)
        self.up1, self.mix1 = nn.ConvTranspose2d(64, 32, 2, 2), block(64, 32)
        self.up2, self.mix2 = nn.Upsample(scale_factor=2, mode="nearest"), block(48, 16)
        self.last = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        b = self.down1(a)
        y = self.mix1(torch.cat([self.up1(self.down2(b)), b], 1))
        y = self.last(self.mix2(torch.cat([self.up2(y), a], 1)))
        return torch.softmax(y, 1)


def unet() -> nn.Module:
    """A small segmentation network."""
    torch.manual_seed(0)
    return _UNet().eval()
