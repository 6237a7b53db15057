"""A LeViT-style net (Graham et al. 2021), narrower than LeViT-128S.

Every linear layer is a matrix product followed by a BatchNorm over its features, which the exporter writes as MatMul,
Reshape, BatchNormalization, Reshape. Convolutional stem, two stages of attention and MLP, a shrinking attention between
them, a BatchNorm before the classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models._weights import randomize


class LinearNorm(nn.Module):
    """BatchNorm(x @ W) over the last axis of (batch, tokens, features)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.bn(x.flatten(0, 1)).reshape_as(x)


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Attention(nn.Module):
    """Attention on a grid of `side` x `side` tokens with a learned bias for each |offset|.

    With `step` 2 the queries are every second row and column: a quarter of the tokens come out. Values are twice
    (shrinking: four times) as wide as keys, as in the paper.
    """

    def __init__(self, inputs: int, outputs: int, *, side: int, heads: int, key: int = 16, step: int = 1) -> None:
        super().__init__()
        self.heads, self.key, self.side, self.step = heads, key, side, step
        self.value = key * 2 * step
        self.to_kv = LinearNorm(inputs, heads * (key + self.value))
        self.to_q = LinearNorm(inputs, heads * key)
        self.to_out = nn.Sequential(nn.Hardswish(), LinearNorm(heads * self.value, outputs))
        self.biases = nn.Parameter(torch.zeros(heads, side * side))
        row, column = (
            index.flatten() for index in torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        )
        is_query = (row % step == 0) & (column % step == 0)
        rows = (row[is_query, None] - row[None]).abs()
        columns = (column[is_query, None] - column[None]).abs()
        self.offsets: Tensor
        self.register_buffer("offsets", rows * side + columns)

    def forward(self, x: Tensor) -> Tensor:
        key_value = self.to_kv(x).unflatten(-1, (self.heads, self.key + self.value)).transpose(1, 2)
        key, value = key_value.split([self.key, self.value], -1)
        if self.step > 1:
            x = x.unflatten(1, (self.side, self.side))[:, :: self.step, :: self.step].flatten(1, 2)
        query = self.to_q(x).unflatten(-1, (self.heads, self.key)).transpose(1, 2)
        weights = (query @ key.transpose(-2, -1) * self.key**-0.5 + self.biases[:, self.offsets]).softmax(-1)
        return self.to_out((weights @ value).transpose(1, 2).flatten(2))


def _mlp(features: int) -> nn.Module:
    return Residual(
        nn.Sequential(LinearNorm(features, 2 * features), nn.Hardswish(), LinearNorm(2 * features, features))
    )


def _stage(features: int, depth: int, *, side: int, heads: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [Residual(Attention(features, features, side=side, heads=heads)), _mlp(features)]
    return layers


class LeViT(nn.Module):
    def __init__(self, *, side: int = 7, widths: tuple[int, int] = (64, 128), classes: int = 100) -> None:
        super().__init__()
        stem: list[nn.Module] = []
        channels = 3
        for shift in (3, 2, 1, 0):
            outputs = widths[0] >> shift
            stem += [nn.Conv2d(channels, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish()]
            channels = outputs
        self.stem = nn.Sequential(*stem[:-1])
        self.blocks = nn.Sequential(
            *_stage(widths[0], 2, side=side, heads=2),
            Attention(widths[0], widths[1], side=side, heads=4, step=2),
            _mlp(widths[1]),
            *_stage(widths[1], 2, side=(side + 1) // 2, heads=4),
        )
        self.head = nn.Sequential(nn.BatchNorm1d(widths[1]), nn.Linear(widths[1], classes))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        return self.head(self.blocks(tokens).mean(1))


def levit() -> nn.Module:
    return randomize(LeViT(), gain=0.9)
