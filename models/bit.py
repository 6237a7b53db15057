"""BiT (Kolesnikov et al. 2020): pre-activation bottlenecks with GroupNorm; weights stand as standardized."""

from __future__ import annotations

from torch import Tensor, nn

from models._weights import randomize

GROUPS = 8


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.enter = nn.Sequential(nn.GroupNorm(GROUPS, inputs), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            nn.GroupNorm(GROUPS, middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False),
            nn.GroupNorm(GROUPS, middle),
            nn.ReLU(),
            nn.Conv2d(middle, outputs, 1, bias=False),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        return self.body(y) + (x if self.skip is None else self.skip(y))


def bit(*, width: int = 64, depths: tuple[int, ...] = (2, 2, 2, 2), classes: int = 10) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, width // 2, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)]
    inputs = width // 2
    for stage, depth in enumerate(depths):
        for index in range(depth):
            outputs = width * 2**stage
            layers.append(Bottleneck(inputs, outputs, 2 if stage and index == 0 else 1))
            inputs = outputs
    head = [nn.GroupNorm(GROUPS, inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    return randomize(nn.Sequential(*layers, *head))
