"""DenseNet-BC (Huang et al. 2016): bottlenecks and compression, growth 16, four blocks of 3, 6, 8 and 4 layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models._weights import randomize


def _norm_relu_conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)
    )


class DenseLayer(nn.Module):
    """Appends `growth` channels to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_norm_relu_conv(inputs, 4 * growth, 1), _norm_relu_conv(4 * growth, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


def densenet(*, growth: int = 16, blocks: tuple[int, ...] = (3, 6, 8, 4), classes: int = 100) -> nn.Module:
    channels = 2 * growth
    layers: list[nn.Module] = [
        nn.Conv2d(3, channels, 7, 2, 3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    for index, depth in enumerate(blocks):
        if index:
            layers += [_norm_relu_conv(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(depth):
            layers.append(DenseLayer(channels, growth))
            channels += growth
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return randomize(nn.Sequential(*layers))
