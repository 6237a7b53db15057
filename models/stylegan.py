"""A generator in the layout of StyleGAN (Karras et al. 2019), narrowed: a style scales and shifts what is normalized.

A learned constant grows through four resolutions. Behind each convolution stand a leaky ReLU, InstanceNorm and the
style's scale and shift. The style is computed from the input, which stands for the latent code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._weights import randomize

LATENT = (3, 8, 8)


class StyledConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.InstanceNorm2d(outputs, affine=True)
        self.scale, self.shift = nn.Linear(style, outputs), nn.Linear(style, outputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = self.norm(functional.leaky_relu(self.conv(x), 0.2))
        return y * (1 + self.scale(style)[:, :, None, None]) + self.shift(style)[:, :, None, None]


class Generator(nn.Module):
    def __init__(self, *, style: int = 64, widths: tuple[int, ...] = (128, 64, 32, 16)) -> None:
        super().__init__()
        self.mapping = nn.Sequential(
            nn.Flatten(), nn.Linear(LATENT[0] * LATENT[1] * LATENT[2], style), nn.LeakyReLU(0.2),
            nn.Linear(style, style), nn.LeakyReLU(0.2), nn.Linear(style, style),
        )  # fmt: skip
        self.start = nn.Parameter(torch.zeros(1, widths[0], 8, 8))
        self.layers = nn.ModuleList()
        for index, width in enumerate(widths):
            before = widths[max(index - 1, 0)]
            self.layers.append(StyledConv(before, width, style))
            self.layers.append(StyledConv(width, width, style))
        self.leave = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        style = self.mapping(x)
        y = self.start.expand(x.shape[0], -1, -1, -1)
        for index, layer in enumerate(self.layers):
            if index and index % 2 == 0:
                y = functional.interpolate(y, scale_factor=2.0, mode="nearest")
            y = layer(y, style)
        return self.leave(y)


def stylegan() -> nn.Module:
    return randomize(Generator(), gain=1.0)
