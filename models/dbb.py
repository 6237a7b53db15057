"""Diverse Branch Blocks (Ding et al. 2021), figure 2, in the place of the 3x3 convolutions of a small ResNet.

The paper pads what comes out of the 1x1 convolutions with what their norm makes of zero; here the convolution itself
pads its input with zeros, which is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models._collapse import Kernel, centered, conv_norm, convolution, fused, scaled
from models._weights import randomize


class DiverseBranchBlock(nn.Module):
    """1x1 + 3x3 + (1x1, then 3x3) + (1x1, then average over 3x3), a norm behind each of these."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.square = conv_norm(inputs, outputs, 3, stride, 1)
        self.point = conv_norm(inputs, outputs, 1, stride)
        self.serial = nn.Sequential(conv_norm(inputs, inputs, 1, 1, 1), conv_norm(inputs, outputs, 3, stride))
        self.average = nn.Sequential(
            conv_norm(inputs, outputs, 1, 1, 1), nn.AvgPool2d(3, stride), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.square(x) + self.point(x) + self.serial(x) + self.average(x)

    def collapsed(self) -> nn.Module:
        (first, second), (point, _, norm) = self.serial, self.average
        averaged = _composed(fused(point), _average(len(norm.weight)))
        kernels = [fused(self.square), centered(fused(self.point), 3), _composed(fused(first), fused(second))]
        return convolution([*kernels, scaled(averaged, norm)], self.stride, 1, 1)


def _average(channels: int) -> Kernel:
    """The mean over 3x3 as a kernel (transform V of the paper)."""
    weight = torch.eye(channels, dtype=torch.float64)[:, :, None, None].expand(-1, -1, 3, 3) / 9
    return weight, torch.zeros(channels, dtype=torch.float64)


def _composed(point: Kernel, square: Kernel) -> Kernel:
    """A 1x1 convolution and what follows it as one (transform III of the paper)."""
    weight = nn.functional.conv2d(square[0], point[0].transpose(0, 1))
    return weight, square[1] + torch.einsum("mchw,c->m", square[0], point[1])


class DiverseResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = DiverseBranchBlock(inputs, outputs, stride)
        self.second = DiverseBranchBlock(outputs, outputs, 1)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else conv_norm(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x))) + self.shortcut(x))


def dbb(
    *, depths: tuple[int, ...] = (1, 1, 1, 1), widths: tuple[int, ...] = (32, 64, 96, 128), classes: int = 100
) -> nn.Module:
    channels = widths[0]
    layers: list[nn.Module] = [conv_norm(3, channels, 3, 2, 1), nn.ReLU()]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for index in range(depth):
            layers.append(DiverseResidualBlock(channels, width, 2 if stage and not index else 1))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return randomize(nn.Sequential(*layers), gain=0.7)
