"""RepVGG in its training form (Ding et al. 2021), figure 2: nothing is collapsed; narrower and shallower than A0."""

from __future__ import annotations

from torch import Tensor, nn

from models._weights import randomize


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class RepVGGBlock(nn.Module):
    """ReLU(norm(3x3(x)) + norm(1x1(x)) + norm(x)); the last only where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_conv_norm(inputs, outputs, 3, stride), _conv_norm(inputs, outputs, 1, stride)])
        if stride == 1 and inputs == outputs:
            self.branches.append(nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.branches
        total = first(x)
        for branch in others:
            total = total + branch(x)
        return self.relu(total)


def repvgg(
    *, depths: tuple[int, ...] = (2, 3, 4, 1), widths: tuple[int, ...] = (32, 64, 128, 256), classes: int = 100
) -> nn.Module:
    channels = 32
    layers: list[nn.Module] = [RepVGGBlock(3, channels, 2)]
    for depth, width in zip(depths, widths, strict=True):
        for index in range(depth):
            layers.append(RepVGGBlock(channels, width, 1 if index else 2))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return randomize(nn.Sequential(*layers), gain=0.8)
