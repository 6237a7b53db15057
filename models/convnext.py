"""ConvNeXt (Liu et al. 2022) with 1x1 convolutions: LayerNorm over the channels of (N, C, H, W) in every block.

ConvNeXt V2 (Woo et al. 2023) has its blocks with the channels last, linear layers, and a global response normalization
between them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._weights import randomize


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels, which are put last and back."""

    def forward(self, x: Tensor) -> Tensor:
        y = functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels, eps=1e-6)
        self.widen, self.narrow = nn.Conv2d(channels, 4 * channels, 1), nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(functional.gelu(self.widen(self.norm(self.depthwise(x)))))


class GlobalResponseNorm(nn.Module):
    """Each channel by its share in the lengths of all, for (N, H, W, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, 1, channels)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * (length / (length.mean(-1, keepdim=True) + 1e-6))) + self.beta + x


class BlockV2(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen, self.narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.response = GlobalResponseNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.narrow(self.response(functional.gelu(self.widen(y)))).permute(0, 3, 1, 2)


def convnext(
    *, width: int = 24, depths: tuple[int, ...] = (2, 2, 4, 2), classes: int = 10, block: type[nn.Module] = Block
) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 4), LayerNorm2d(width, eps=1e-6)]
    for stage, depth in enumerate(depths):
        channels = width * 2**stage
        if stage:
            layers += [LayerNorm2d(channels // 2, eps=1e-6), nn.Conv2d(channels // 2, channels, 2, 2)]
        layers += [block(channels) for _ in range(depth)]
    channels = width * 2 ** (len(depths) - 1)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, classes)]
    return randomize(nn.Sequential(*layers), gain=1.0)


def convnext_v2() -> nn.Module:
    return convnext(block=BlockV2)
