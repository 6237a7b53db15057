"""Dual Path Network (Chen et al. 2017): in every block one part of the channels is added, the other appended.

The order is norm, ReLU, convolution, as in the authors' code. Small widths; three stages.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models._weights import randomize


def _norm_relu_conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
    )


class DualPathBlock(nn.Module):
    """(residual, dense) -> (residual + r, dense ++ d); a projection starts both paths anew in a stage's first block."""

    def __init__(self, inputs: int, inner: int, width: int, growth: int, stride: int, *, projects: bool) -> None:
        super().__init__()
        self.width = width
        self.projection = _norm_relu_conv(inputs, width + 2 * growth, 1, stride) if projects else None
        self.body = nn.Sequential(
            _norm_relu_conv(inputs, inner, 1),
            _norm_relu_conv(inner, inner, 3, stride, groups=8),
            _norm_relu_conv(inner, width + growth, 1),
        )

    def forward(self, paths: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        joined = paths[0] if len(paths) == 1 else torch.cat(paths, 1)
        if self.projection is None:
            residual, dense = paths
        else:
            projected = self.projection(joined)
            residual, dense = projected[:, : self.width], projected[:, self.width :]
        change = self.body(joined)
        return residual + change[:, : self.width], torch.cat([dense, change[:, self.width :]], 1)


class DPN(nn.Module):
    def __init__(self, *, stem: int = 32, blocks: tuple[int, ...] = (2, 3, 2), classes: int = 100) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        layers: list[nn.Module] = []
        channels = stem
        for stage, depth in enumerate(blocks):
            inner, width, growth = 32 << stage, 64 << stage, 16 << stage
            for index in range(depth):
                first = index == 0
                stride = 2 if stage and first else 1
                layers.append(DualPathBlock(channels, inner, width, growth, stride, projects=first))
                channels = width + 3 * growth if first else channels + growth
        self.blocks = nn.ModuleList(layers)
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))

    def forward(self, x: Tensor) -> Tensor:
        paths: tuple[Tensor, ...] = (self.stem(x),)
        for block in self.blocks:
            paths = block(paths)
        return self.head(self.last(torch.cat(paths, 1)))


def dpn() -> nn.Module:
    return randomize(DPN(), gain=1.0)
