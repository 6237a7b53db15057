"""AlexNet (Krizhevsky, Sutskever and Hinton 2012), sections 3.3 to 3.5.

As in the paper: two columns (convolutions 2, 4 and 5 in two groups), overlapping pools, Local Response Normalization
after the first two ReLUs. The fully connected layers have 384 units instead of 4096, to keep the file small. Pixels
come as 0 to 255 minus the mean: on smaller values alpha * x^2 would vanish beside k, and the normalization with it.
"""

from __future__ import annotations

from torch import Tensor, nn

from models._weights import randomize
from onnxnorm.layers import InterChannelLRN, IntraChannelLRN


class AlexNet(nn.Module):
    def __init__(self, first_norm: nn.Module, second_norm: nn.Module, *, units: int = 384, classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=4),
            nn.ReLU(),
            first_norm,
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2),
            nn.ReLU(),
            second_norm,
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * 6 * 6, units),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(units, units),
            nn.ReLU(),
            nn.Linear(units, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def inter_channel() -> nn.Module:
    """With the paper's constants: n = 5, k = 2, alpha = 1e-4, beta = 0.75."""
    norms = [InterChannelLRN.from_alexnet(n=5, k=2.0, alpha=1e-4, beta=0.75) for _ in range(2)]
    return randomize(AlexNet(*norms))


def intra_channel() -> nn.Module:
    """Windows of two sizes; alpha is divided by the window's area, so that it is larger than between channels."""
    first = IntraChannelLRN(kernel_shape=(5, 5), alpha=1e-3, beta=0.75, bias=1.0)
    second = IntraChannelLRN(kernel_shape=(3, 3), alpha=1e-3, beta=0.75, bias=1.0)
    return randomize(AlexNet(first, second))
