"""RepVGG in its training form (Ding et al. 2021), figure 2: nothing is collapsed; narrower and shallower than A0."""

from __future__ import annotations

from torch import Tensor, nn

from models._collapse import centered, conv_norm, convolution, fused, identity, scaled
from models._weights import randomize


class RepVGGBlock(nn.Module):
    """ReLU(norm(3x3(x)) + norm(1x1(x)) + norm(x)); the last only where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.branches = nn.ModuleList([conv_norm(inputs, outputs, 3, stride, 1), conv_norm(inputs, outputs, 1, stride)])
        if stride == 1 and inputs == outputs:
            self.branches.append(nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.branches
        total = first(x)
        for branch in others:
            total = total + branch(x)
        return self.relu(total)

    def collapsed(self) -> nn.Module:
        kernels = [
            scaled(identity(len(branch.weight), 1), branch) if isinstance(branch, nn.BatchNorm2d) else fused(branch)
            for branch in self.branches
        ]
        return nn.Sequential(convolution([centered(each, 3) for each in kernels], self.stride, 1, 1), nn.ReLU())


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
