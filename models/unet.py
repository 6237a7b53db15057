"""U-Net (Ronneberger et al. 2015), three levels, padded convolutions with BatchNorm.

The up-convolutions carry a BatchNorm too; the deepest is plain, the others are grouped. Output: two class maps. The
second network is the same with GroupNorm, as it is trained on few large pictures at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models._weights import randomize

Norm = Callable[[int], nn.Module]


def _double_conv(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        norm(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        norm(outputs),
        nn.ReLU(),
    )


class Up(nn.Module):
    """Doubles the resolution, joins the encoder's features of that resolution, and filters both."""

    def __init__(self, inputs: int, outputs: int, groups: int, norm: Norm) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 2, stride=2, groups=groups), norm(outputs))
        self.conv = _double_conv(2 * outputs, outputs, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(x)], 1))


class UNet(nn.Module):
    def __init__(self, *, width: int = 16, classes: int = 2, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                _double_conv(3, width, norm),
                _double_conv(width, 2 * width, norm),
                _double_conv(2 * width, 4 * width, norm),
            ]
        )
        self.pool = nn.MaxPool2d(2)
        self.bottom = _double_conv(4 * width, 8 * width, norm)
        self.up = nn.ModuleList(
            [
                Up(8 * width, 4 * width, groups=1, norm=norm),
                Up(4 * width, 2 * width, groups=4, norm=norm),
                Up(2 * width, width, groups=width, norm=norm),
            ]
        )
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for conv in self.down:
            x = conv(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        return self.classify(x)


def unet() -> nn.Module:
    return randomize(UNet())


def unet_group_norm() -> nn.Module:
    return randomize(UNet(norm=lambda channels: nn.GroupNorm(8, channels)))
