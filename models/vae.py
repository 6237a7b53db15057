"""The decoder of an autoencoder for latent diffusion (Rombach et al. 2022), at a quarter of its width.

Residual blocks of GroupNorm, SiLU and convolution, one attention in the middle, and three resolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._weights import randomize

GROUPS = 8


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, inputs, 1e-6), nn.GroupNorm(GROUPS, outputs, 1e-6)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(functional.silu(self.norm2(y)))


class Attention(nn.Module):
    """Attention of every pixel to all, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, 1e-6)
        self.query, self.key, self.value, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        query, key, value = (each(y).flatten(2) for each in (self.query, self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key * query.shape[1] ** -0.5, 2)
        return x + self.out((value @ weights.transpose(1, 2)).reshape(x.shape))


class Decoder(nn.Module):
    def __init__(self, *, latent: int = 3, widths: tuple[int, ...] = (128, 64, 32)) -> None:
        super().__init__()
        self.enter = nn.Conv2d(latent, widths[0], 3, padding=1)
        self.middle = nn.Sequential(
            ResidualBlock(widths[0], widths[0]), Attention(widths[0]), ResidualBlock(widths[0], widths[0])
        )
        self.levels = nn.ModuleList()
        for index, width in enumerate(widths):
            before = widths[max(index - 1, 0)]
            blocks = [ResidualBlock(before, width), ResidualBlock(width, width)]
            grow = [] if width == widths[-1] else [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)]
            self.levels.append(nn.Sequential(*blocks, *grow))
        self.norm = nn.GroupNorm(GROUPS, widths[-1], 1e-6)
        self.leave = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.enter(x))
        for level in self.levels:
            x = level(x)
        return self.leave(functional.silu(self.norm(x)))


def vae_decoder() -> nn.Module:
    return randomize(Decoder(), gain=1.0)
