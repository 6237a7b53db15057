"""Stacks of transformer blocks on an embedding of (batch, tokens, features).

`layer_norm`: the encoder of Vaswani et al. 2017 with the norm before attention and MLP, as in ViT (Dosovitskiy 2020).
`rms_norm`: RMSNorm (Zhang and Sennrich 2019) and a SwiGLU MLP (Shazeer 2020), as in LLaMA (Touvron 2023); its rotary
position encoding has no part in normalization and is left out.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from models._weights import randomize


class Attention(nn.Module):
    """Scaled dot-product self-attention, `heads` heads."""

    def __init__(self, features: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(features, 3 * features, bias=bias)
        self.to_out = nn.Linear(features, features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)
        return self.to_out((weights @ value).transpose(1, 2).flatten(2))


class GatedMLP(nn.Module):
    """SwiGLU: down(SiLU(gate(x)) * up(x))."""

    def __init__(self, features: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(features, inner, bias=False)
        self.up = nn.Linear(features, inner, bias=False)
        self.down = nn.Linear(inner, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, norms: tuple[nn.Module, nn.Module], attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = norms
        self.attention = attention
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def layer_norm(*, features: int = 128, heads: int = 4, depth: int = 4) -> nn.Module:
    def block() -> nn.Module:
        mlp = nn.Sequential(nn.Linear(features, 4 * features), nn.GELU(), nn.Linear(4 * features, features))
        return Block((nn.LayerNorm(features), nn.LayerNorm(features)), Attention(features, heads, bias=True), mlp)

    return randomize(nn.Sequential(*[block() for _ in range(depth)], nn.LayerNorm(features)), gain=1.0)


def rms_norm(*, features: int = 128, heads: int = 4, depth: int = 4) -> nn.Module:
    def block() -> nn.Module:
        norms = nn.RMSNorm(features, eps=1e-6), nn.RMSNorm(features, eps=1e-6)
        return Block(norms, Attention(features, heads, bias=False), GatedMLP(features, 3 * features))

    return randomize(nn.Sequential(*[block() for _ in range(depth)], nn.RMSNorm(features, eps=1e-6)), gain=1.0)
