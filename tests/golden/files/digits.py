# Written by Recast 0.1.0
from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

INPUTS: list[tuple[str, str, list[int | str]]] = [
    ("image", "float32", ["batch", 8, 8, 1]),
]
OUTPUTS: list[tuple[str, str, list[int | str]]] = [
    ("digit", "float32", ["batch", 10]),
]


class Digits(nn.Module):
    """digits.

    Inputs:
        image: float32 (batch, 8, 8, 1)
    Outputs:
        digit: float32 (batch, 10)
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16, eps=0.001, momentum=0.01)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32, eps=0.001, momentum=0.01)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.3)
        self.hidden = nn.Linear(128, 32)
        self.hidden_1 = nn.ReLU()
        self.digit = nn.Linear(32, 10)
        self.digit_1 = nn.Softmax(1)

    def forward(self, image: Tensor) -> Tensor:
        scale = image.permute(0, 3, 1, 2)
        scale_1 = scale * 0.0625
        scale_2 = scale_1 + 0.0
        conv1 = self.conv1(scale_2)
        norm1 = self.norm1(conv1)
        relu1 = self.relu1(norm1)
        pool1 = self.pool1(relu1)
        conv2 = self.conv2(pool1)
        norm2 = self.norm2(conv2)
        relu2 = self.relu2(norm2)
        pool2 = self.pool2(relu2)
        flatten = pool2.reshape(pool2.shape[0], 128)
        dropout = self.dropout(flatten)
        hidden = self.hidden(dropout)
        hidden_1 = self.hidden_1(hidden)
        digit_1 = self.digit(hidden_1)
        digit = self.digit_1(digit_1)
        return digit


def load(weights: str | Path = Path(__file__).with_suffix(".safetensors")) -> Digits:
    """Build the network with its weights, ready for inference (call ``.train()`` to go on training)."""
    model = Digits()
    model.load_state_dict(load_file(weights))
    return model.eval()
