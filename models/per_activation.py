"""A small convolutional net with per-activation BatchNorm.

Ioffe and Szegedy 2015, algorithm 1: every activation is normalized by its own statistics over the batch. Their section
3.2 shares the statistics of a channel in convolutional layers; here they stay one per (channel, row, column).
"""

from __future__ import annotations

from torch import nn

from models._weights import randomize
from onnxnorm.layers import PerActivationBatchNorm


def per_activation(*, classes: int = 10) -> nn.Module:
    return randomize(
        nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1, bias=False),
            PerActivationBatchNorm((32, 32, 32)),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            PerActivationBatchNorm((64, 16, 16)),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 8 * 8, 128),
            PerActivationBatchNorm((128,)),
            nn.ReLU(),
            nn.Linear(128, classes),
        )
    )
