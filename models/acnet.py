"""ACNet (Ding et al. 2019), figure 1: every 3x3 convolution beside a 1x3 and a 3x1, in a plain VGG-style network."""

from __future__ import annotations

from torch import Tensor, nn

from models._collapse import centered, conv_norm, convolution, fused
from models._weights import randomize


class AsymmetricBlock(nn.Module):
    """ReLU(norm(3x3(x)) + norm(1x3(x)) + norm(3x1(x)))."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.square = conv_norm(inputs, outputs, 3, stride, 1)
        self.row = conv_norm(inputs, outputs, (1, 3), stride, (0, 1))
        self.column = conv_norm(inputs, outputs, (3, 1), stride, (1, 0))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.square(x) + self.row(x) + self.column(x))

    def collapsed(self) -> nn.Module:
        kernels = [centered(fused(branch), 3) for branch in (self.square, self.row, self.column)]
        return nn.Sequential(convolution(kernels, self.stride, 1, 1), nn.ReLU())


def acnet(
    *, depths: tuple[int, ...] = (2, 2, 3, 2), widths: tuple[int, ...] = (32, 64, 128, 192), classes: int = 100
) -> nn.Module:
    channels = 3
    layers: list[nn.Module] = []
    for depth, width in zip(depths, widths, strict=True):
        for index in range(depth):
            layers.append(AsymmetricBlock(channels, width, 1 if index else 2))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return randomize(nn.Sequential(*layers), gain=0.8)
