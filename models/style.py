"""A picture-to-picture net in the layout of Johnson et al. 2016, normalized per instance and per group.

InstanceNorm (Ulyanov et al. 2016) in the encoder and the decoder, GroupNorm (Wu and He 2018) in the residual blocks.
"""

from __future__ import annotations

from torch import Tensor, nn

from models._weights import randomize


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


class GroupNormBlock(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, 3),
            nn.GroupNorm(groups, channels),
            nn.ReLU(),
            _conv(channels, channels, 3),
            nn.GroupNorm(groups, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _instance_norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]


def style(*, width: int = 16, blocks: int = 3) -> nn.Module:
    return randomize(
        nn.Sequential(
            _conv(3, width, 9),
            *_instance_norm_relu(width),
            _conv(width, 2 * width, 3, 2),
            *_instance_norm_relu(2 * width),
            _conv(2 * width, 4 * width, 3, 2),
            *_instance_norm_relu(4 * width),
            *[GroupNormBlock(4 * width, 8) for _ in range(blocks)],
            nn.Upsample(scale_factor=2, mode="nearest"),
            _conv(4 * width, 2 * width, 3),
            *_instance_norm_relu(2 * width),
            nn.Upsample(scale_factor=2, mode="nearest"),
            _conv(2 * width, width, 3),
            *_instance_norm_relu(width),
            _conv(width, 3, 9),
        )
    )
