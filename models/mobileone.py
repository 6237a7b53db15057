"""MobileOne in its training form (Vasu et al. 2022), figure 3: over-parameterized depthwise and pointwise blocks."""

from __future__ import annotations

from torch import Tensor, nn

from models._collapse import centered, conv_norm, convolution, fused, identity, scaled
from models._weights import randomize


class MobileOneBlock(nn.Module):
    """ReLU of a sum: `branches` convolutions with their norms, a 1x1 beside larger ones, a norm where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, branches: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.groups = kernel, stride, groups
        self.skip = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.scale = conv_norm(inputs, outputs, 1, stride, 0, groups) if kernel > 1 else None
        self.convolutions = nn.ModuleList(
            conv_norm(inputs, outputs, kernel, stride, kernel // 2, groups) for _ in range(branches)
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        total = 0 if self.skip is None else self.skip(x)
        if self.scale is not None:
            total = total + self.scale(x)
        for branch in self.convolutions:
            total = total + branch(x)
        return self.relu(total)

    def collapsed(self) -> nn.Module:
        kernels = [fused(branch) for branch in self.convolutions]
        if self.scale is not None:
            kernels.append(fused(self.scale))
        if self.skip is not None:
            kernels.append(scaled(identity(len(self.skip.weight), self.groups), self.skip))
        same_size = [centered(each, self.kernel) for each in kernels]
        return nn.Sequential(convolution(same_size, self.stride, self.kernel // 2, self.groups), nn.ReLU())


def mobileone(
    *,
    depths: tuple[int, ...] = (1, 2, 2, 1),
    widths: tuple[int, ...] = (24, 48, 96, 192),
    branches: int = 4,
    classes: int = 100,
) -> nn.Module:
    channels = 24
    layers: list[nn.Module] = [MobileOneBlock(3, channels, 3, 2, 1, 1)]
    for depth, width in zip(depths, widths, strict=True):
        for index in range(depth):
            layers.append(MobileOneBlock(channels, channels, 3, 1 if index else 2, channels, branches))
            layers.append(MobileOneBlock(channels, width, 1, 1, 1, branches))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return randomize(nn.Sequential(*layers), gain=0.45)
