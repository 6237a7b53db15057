"""GoogLeNet (Szegedy et al. 2014), table 1: the paper's nine inception modules, every width divided by two.

Local Response Normalization stands where the paper has it: after the first pool and before the second. It is torch's
own layer here. The auxiliary classifiers serve training alone and are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models._weights import randomize

# Columns of table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
_MODULES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.ReLU())


class Inception(nn.Module):
    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = widths
        self.branches = nn.ModuleList(
            [
                _conv(inputs, one, 1),
                nn.Sequential(_conv(inputs, reduce3, 1), _conv(reduce3, three, 3)),
                nn.Sequential(_conv(inputs, reduce5, 1), _conv(reduce5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(inputs, pool, 1)),
            ]
        )
        self.outputs = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class GoogLeNet(nn.Module):
    def __init__(self, *, divide: int = 2, classes: int = 1000) -> None:
        super().__init__()
        channels = 192 // divide
        layers: list[nn.Module] = [
            _conv(3, 64 // divide, 7, stride=2),
            nn.MaxPool2d(3, 2, 1),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0),
            _conv(64 // divide, 64 // divide, 1),
            _conv(64 // divide, channels, 3),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0),
        ]
        for stage in _MODULES:
            layers.append(nn.MaxPool2d(3, 2, 1))
            for widths in stage:
                module = Inception(channels, tuple(width // divide for width in widths))
                layers.append(module)
                channels = module.outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(channels, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def googlenet() -> nn.Module:
    return randomize(GoogLeNet())
