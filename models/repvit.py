"""RepViT in its training form (Wang et al. 2023), figure 2: token mixers of depthwise branches and the identity.

The norm stands behind the sum of the branches; half of the blocks squeeze and excite; the channel mixers are residual.
"""

from __future__ import annotations

from torch import Tensor, nn

from models._collapse import centered, conv_norm, convolution, fused, identity, scaled
from models._weights import randomize


class TokenMixer(nn.Module):
    """norm(norm(3x3 depthwise(x)) + 1x1 depthwise(x) + x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.square = conv_norm(channels, channels, 3, 1, 1, channels)
        self.point = nn.Conv2d(channels, channels, 1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.square(x) + self.point(x) + x)

    def collapsed(self) -> nn.Module:
        channels = len(self.norm.weight)
        assert self.point.bias is not None
        point = self.point.weight.double(), self.point.bias.double()
        kernels = [fused(self.square), centered(point, 3), centered(identity(channels, channels), 3)]
        return convolution([scaled(_summed(kernels), self.norm)], 1, 1, channels)


def _summed(kernels: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    weights, biases = zip(*kernels, strict=True)
    return sum(weights[1:], weights[0]), sum(biases[1:], biases[0])


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class ChannelMixer(nn.Module):
    """x + norm(1x1(GELU(norm(1x1(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv_norm(channels, 2 * channels), nn.GELU(), conv_norm(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def repvit(
    *, depths: tuple[int, ...] = (2, 2, 4, 1), widths: tuple[int, ...] = (24, 48, 96, 192), classes: int = 100
) -> nn.Module:
    channels = widths[0]
    layers: list[nn.Module] = [
        conv_norm(3, channels // 2, 3, 2, 1),
        nn.GELU(),
        conv_norm(channels // 2, channels, 3, 2, 1),
    ]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            layers += [
                conv_norm(channels, channels, 3, 2, 1, channels),
                conv_norm(channels, width),
                ChannelMixer(width),
            ]
            channels = width
        for index in range(depth):
            layers.append(TokenMixer(channels))
            if index % 2 == 0:
                layers.append(SqueezeExcite(channels, channels // 4))
            layers.append(ChannelMixer(channels))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(channels), nn.Linear(channels, classes)]
    return randomize(nn.Sequential(*layers), gain=0.5)
