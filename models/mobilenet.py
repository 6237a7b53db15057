"""MobileNetV2 (Sandler et al. 2018), table 2, at half width."""

from __future__ import annotations

from torch import Tensor, nn

from models._weights import randomize

# Table 2: expansion, output channels, repetitions, stride of the first.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project by 1x1 without an activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [_conv_norm(inputs, inner, 1), nn.ReLU6()] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand, _conv_norm(inner, inner, 3, stride, groups=inner), nn.ReLU6(), _conv_norm(inner, outputs, 1)
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet_v2(*, divide: int = 2, classes: int = 1000) -> nn.Module:
    channels = 32 // divide
    layers: list[nn.Module] = [_conv_norm(3, channels, 3, 2), nn.ReLU6()]
    for expansion, width, repetitions, stride in _STAGES:
        for index in range(repetitions):
            layers.append(InvertedResidual(channels, width // divide, 1 if index else stride, expansion))
            channels = width // divide
    last = 1280 // divide
    layers += [_conv_norm(channels, last, 1), nn.ReLU6()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(last, classes)]
    return randomize(nn.Sequential(*layers), gain=1.1)
