"""Small networks of the published architectures, as PyTorch modules.

Attention masks are written the way that Hugging Face's models write them, `(1 - mask) * finfo.min`, and gelu in the
spelling of each architecture, since runtimes fuse by such patterns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, LENGTH, VOCABULARY = 64, 4, 16, 100


@dataclass(frozen=True)
class Network:
    """A module's constructor, its example inputs, and the kind that onnxruntime's transformer tool knows it by."""

    build: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]
    tool: str | None = None


class GeluErf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class GeluTanh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class RMSNorm(nn.Module):
    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotary(length: int, width: int) -> tuple[Tensor, Tensor]:
    angles = torch.outer(torch.arange(length).float(), 1e4 ** (-torch.arange(0, width, 2).float() / width))
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat((-second, first), -1) * sine


class Attention(nn.Module):
    def __init__(self, bias: bool = True, scaled: bool = True, rope: bool = False) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=bias) for _ in range(3))
        self.output = nn.Linear(WIDTH, WIDTH, bias=bias)
        self.scaled, self.rope = scaled, rope
        if rope:
            for name, table in zip(("cosine", "sine"), rotary(LENGTH, WIDTH // HEADS), strict=True):
                self.register_buffer(name, table)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = (
            layer(x).view(x.shape[0], -1, HEADS, WIDTH // HEADS).permute(0, 2, 1, 3)
            for layer in (self.query, self.key, self.value)
        )
        if self.rope:
            query, key = (turned(each, self.cosine, self.sine) for each in (query, key))
        scores = torch.matmul(query, key.transpose(-1, -2))
        if self.scaled:
            scores = scores / math.sqrt(WIDTH // HEADS)
        if mask is not None:
            scores = scores + mask
        context = torch.matmul(scores.softmax(-1), value).permute(0, 2, 1, 3).reshape(x.shape[0], -1, WIDTH)
        return self.output(context)


class Mlp(nn.Sequential):
    def __init__(self, activation: nn.Module, bias: bool = True) -> None:
        super().__init__(nn.Linear(WIDTH, 2 * WIDTH, bias), activation, nn.Linear(2 * WIDTH, WIDTH, bias))


class GatedMlp(nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor] = F.silu) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(WIDTH, 2 * WIDTH, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    """One transformer layer: norms after the sums (`post`), before the branches, or both branches in `parallel`."""

    def __init__(self, attention: nn.Module, mlp: nn.Module, norm: Callable[[], nn.Module], order: str) -> None:
        super().__init__()
        self.attention, self.mlp, self.first, self.second, self.order = attention, mlp, norm(), norm(), order

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.order == "post":
            x = self.first(self.attention(x, mask) + x)
            return self.second(self.mlp(x) + x)
        if self.order == "parallel":
            return x + self.attention(self.first(x), mask) + self.mlp(self.second(x))
        x = x + self.attention(self.first(x), mask)
        return x + self.mlp(self.second(x))


class Language(nn.Module):
    """A language model: embeddings, layers with a padding mask (and a causal one), the last norm."""

    def __init__(
        self,
        layer: Callable[[], nn.Module],
        norm: Callable[[], nn.Module] | None,
        *,
        positions: bool,
        first_norm: bool,
        causal: bool,
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH) if positions else None
        self.first = nn.LayerNorm(WIDTH) if first_norm else None
        self.layers = nn.ModuleList(layer() for _ in range(depth))
        self.last = norm() if norm is not None else None
        self.causal = causal

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.words(ids)
        if self.positions is not None:
            x = x + self.positions(torch.arange(LENGTH))
        if self.first is not None:
            x = self.first(x)
        least = torch.finfo(x.dtype).min
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * least
        if self.causal:
            mask = mask + torch.full((LENGTH, LENGTH), least / 2).triu(1)
        for layer in self.layers:
            x = layer(x, mask)
        return x if self.last is None else self.last(x)


class Patches(nn.Module):
    """A vision transformer: patches by a convolution, a class token, layers, the head."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.place = nn.Parameter(torch.randn(1, 17, WIDTH))
        self.layers = nn.ModuleList(
            Layer(Attention(), Mlp(nn.GELU()), lambda: nn.LayerNorm(WIDTH), "pre") for _ in "ab"
        )
        self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.place
        for layer in self.layers:
            x = layer(x)
        return self.head(self.last(x)[:, 0])


class Swin(nn.Module):
    """Attention inside windows that are shifted in every second layer, with a bias by relative place."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 4, 4)
        self.layers = nn.ModuleList(
            Layer(Attention(), Mlp(nn.GELU()), lambda: nn.LayerNorm(WIDTH), "pre") for _ in "ab"
        )
        self.bias = nn.Parameter(torch.randn(1, HEADS, 16, 16))
        self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).permute(0, 2, 3, 1)
        for index, layer in enumerate(self.layers):
            x = torch.roll(x, (-2, -2), (1, 2)) if index % 2 else x
            windows = x.view(-1, 2, 4, 2, 4, WIDTH).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, WIDTH)
            x = layer(windows, self.bias).view(-1, 2, 2, 4, 4, WIDTH).permute(0, 1, 3, 2, 4, 5).reshape(-1, 8, 8, WIDTH)
            x = torch.roll(x, (2, 2), (1, 2)) if index % 2 else x
        return self.head(self.last(x).mean((1, 2)))


class DiT(nn.Module):
    """Layers whose norms have no weights of their own and are shifted and scaled by a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.condition = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 6 * WIDTH)) for _ in "ab")
        self.attention = nn.ModuleList(Attention() for _ in "ab")
        self.mlp = nn.ModuleList(Mlp(nn.GELU("tanh")) for _ in "ab")
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False, eps=1e-6)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for layer, attention, mlp in zip(self.condition, self.attention, self.mlp, strict=True):
            a, b, c, d, e, f = layer(condition).unsqueeze(1).chunk(6, -1)
            x = x + c * attention(self.norm(x) * (1 + b) + a)
            x = x + f * mlp(self.norm(x) * (1 + e) + d)
        return self.norm(x)


class Whisper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(20, WIDTH, 3, padding=1), nn.Conv1d(WIDTH, WIDTH, 3, 2, 1)
        self.place = nn.Parameter(torch.randn(LENGTH, WIDTH))
        self.layers = nn.ModuleList(
            Layer(Attention(), Mlp(nn.GELU()), lambda: nn.LayerNorm(WIDTH), "pre") for _ in "ab"
        )
        self.last = nn.LayerNorm(WIDTH)

    def forward(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.second(F.gelu(self.first(mel)))).permute(0, 2, 1) + self.place
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


def convolution(inward: int, outward: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inward, outward, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outward), nn.SiLU())


class MobileViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 32, 3, 2), convolution(32, 32, 3, 1, 32), convolution(32, WIDTH, 1))
        self.layer = Layer(Attention(), Mlp(nn.SiLU()), lambda: nn.LayerNorm(WIDTH), "pre")
        self.fuse = convolution(2 * WIDTH, WIDTH, 3)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
        return self.head(self.fuse(torch.cat((x, y), 1)).mean((2, 3)))


class ConvNeXtBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(WIDTH, WIDTH, 7, padding=3, groups=WIDTH)
        self.norm, self.mlp = nn.LayerNorm(WIDTH), Mlp(nn.GELU())
        self.gamma = nn.Parameter(torch.rand(WIDTH) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.mlp(y)).permute(0, 3, 1, 2)


class Conformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Mlp(nn.SiLU()), Mlp(nn.SiLU())
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(5))
        self.attention = Attention()
        self.inward, self.outward = nn.Conv1d(WIDTH, 2 * WIDTH, 1), nn.Conv1d(WIDTH, WIDTH, 1)
        self.depthwise, self.norm = nn.Conv1d(WIDTH, WIDTH, 7, padding=3, groups=WIDTH), nn.BatchNorm1d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(self.norms[0](x))
        x = x + self.attention(self.norms[1](x))
        y = F.glu(self.inward(self.norms[2](x).transpose(1, 2)), 1)
        x = x + self.outward(F.silu(self.norm(self.depthwise(y)))).transpose(1, 2)
        return self.norms[4](x + 0.5 * self.last(self.norms[3](x)))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.inward, self.norm = nn.Conv1d(20, WIDTH, 3, padding=1), nn.BatchNorm1d(WIDTH)
        self.memory = kind(WIDTH, WIDTH, 1, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(F.relu(self.norm(self.inward(x))).transpose(1, 2))[0])


def _tokens() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (1, LENGTH), generator=generator)
    return ids, (torch.arange(LENGTH)[None] < LENGTH - 3).long()


def _noise(*shape: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randn(shape, generator=torch.Generator().manual_seed(0)),)


def _norm() -> nn.Module:
    return nn.LayerNorm(WIDTH)


def _bert() -> nn.Module:
    layer = lambda: Layer(Attention(), Mlp(GeluErf()), _norm, "post")  # noqa: E731
    return Language(layer, None, positions=True, first_norm=True, causal=False)


def _gpt(activation: Callable[[], nn.Module], order: str, rope: bool) -> nn.Module:
    layer = lambda: Layer(Attention(rope=rope), Mlp(activation()), _norm, order)  # noqa: E731
    return Language(layer, _norm, positions=not rope, first_norm=False, causal=True)


def _llama(bias: bool) -> nn.Module:
    layer = lambda: Layer(Attention(bias, rope=True), GatedMlp(), RMSNorm, "pre")  # noqa: E731
    return Language(layer, RMSNorm, positions=False, first_norm=False, causal=True)


def _t5() -> nn.Module:
    layer = lambda: Layer(Attention(False, scaled=False), GatedMlp(GeluTanh()), RMSNorm, "pre")  # noqa: E731
    return Language(layer, RMSNorm, positions=False, first_norm=False, causal=False)


_IMAGE = _noise(1, 3, 32, 32)
NETWORKS: dict[str, Network] = {
    "bert": Network(_bert, _tokens, "bert"),
    "gpt2": Network(lambda: _gpt(GeluTanh, "pre", False), _tokens, "gpt2"),
    "gpt_neox": Network(lambda: _gpt(nn.GELU, "parallel", True), _tokens, "gpt_neox"),
    "llama": Network(lambda: _llama(False), _tokens, "gpt2"),
    "qwen": Network(lambda: _llama(True), _tokens, "gpt2"),
    "t5": Network(_t5, _tokens, "t5"),
    "vit": Network(Patches, _IMAGE, "vit"),
    "swin": Network(Swin, _IMAGE, "swin"),
    "dit": Network(DiT, lambda: (*_noise(1, LENGTH, WIDTH)(), *_noise(1, WIDTH)()), "mmdit"),
    "whisper": Network(Whisper, _noise(1, 20, 2 * LENGTH), "bart"),
    "mobilevit": Network(MobileViT, _IMAGE, "vit"),
    "convnext": Network(lambda: nn.Sequential(nn.Conv2d(3, WIDTH, 4, 4), ConvNeXtBlock(), ConvNeXtBlock()), _IMAGE),
    "conformer": Network(Conformer, _noise(1, LENGTH, WIDTH), "conformer"),
    "lstm": Network(lambda: Recurrent(nn.LSTM), _noise(1, 20, LENGTH)),
    "gru": Network(lambda: Recurrent(nn.GRU), _noise(1, 20, LENGTH)),
}
