"""Residual networks: ResNet (He et al. 2015), pre-activation (He et al. 2016), squeeze-excite (Hu et al. 2017).

Narrower than the papers'. Where the shortcut changes shape it is a strided 1x1 convolution.
"""

from __future__ import annotations

from torch import Tensor, nn

from models._weights import randomize


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def _stem(width: int) -> nn.Sequential:
    return nn.Sequential(_conv_norm(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


def _head(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class BasicBlock(nn.Module):
    """ReLU(x + conv-norm-ReLU-conv-norm(x))."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv_norm(inputs, outputs, 3, stride), nn.ReLU(), _conv_norm(outputs, outputs, 3))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv_norm(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class SqueezeExcite(nn.Module):
    """Every channel times a gate in (0, 1) that is computed from the means of all channels."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(),
            nn.Conv2d(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class SEBottleneck(nn.Module):
    """ReLU(x + gated(1x1, 3x3, 1x1)); the gate comes after the last BatchNorm, as in the paper's figure 3."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.body = nn.Sequential(
            _conv_norm(inputs, inner, 1),
            nn.ReLU(),
            _conv_norm(inner, inner, 3, stride),
            nn.ReLU(),
            _conv_norm(inner, outputs, 1),
            SqueezeExcite(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv_norm(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class PreActBottleneck(nn.Module):
    """x + (norm-ReLU-conv) three times; the shortcut of a first block starts after the first norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.preact = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, outputs, 1, bias=False),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.preact(x)
        return self.body(h) + (x if self.shortcut is None else self.shortcut(h))


def _stages(
    block: type[BasicBlock] | type[SEBottleneck] | type[PreActBottleneck], inputs: int, widths: tuple[int, ...]
) -> nn.Sequential:
    """Two blocks a stage; every stage but the first halves the resolution."""
    layers: list[nn.Module] = []
    for stage, width in enumerate(widths):
        layers += [block(inputs, width, 2 if stage else 1), block(width, width, 1)]
        inputs = width
    return nn.Sequential(*layers)


def resnet18() -> nn.Module:
    body = _stages(BasicBlock, 32, (32, 64, 128, 256))
    return randomize(nn.Sequential(_stem(32), body, _head(256, 1000)), gain=1.0)


def se_resnet() -> nn.Module:
    body = _stages(SEBottleneck, 32, (64, 128, 256))
    return randomize(nn.Sequential(_stem(32), body, _head(256, 100)), gain=1.0)


def preact_resnet() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 32, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1))
    body = _stages(PreActBottleneck, 32, (64, 128, 256, 512))
    last = nn.Sequential(nn.BatchNorm2d(512), nn.ReLU())
    return randomize(nn.Sequential(stem, body, last, _head(512, 100)), gain=1.0)
