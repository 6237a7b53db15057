"""Spellings of idioms, each built into a graph by a function of builder and value; and what nearly looks like one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from onnxnorm.idioms import Kind
from testing.builder import Builder

__all__ = ["ACTIVATIONS", "NEAR_MISSES", "attention", "layer_norm", "rms_norm"]

Write = Callable[[Builder, str], str]


def _c(b: Builder, value: float) -> str:
    return b.constant(np.full((), value))


def _erf_gelu(*, multiplied: bool, swapped: bool, half: str, root: float = math.sqrt(2.0), one: float = 1.0) -> Write:
    def write(b: Builder, x: str) -> str:
        def mul(first: str, second: str) -> str:
            return b.node("Mul", *((second, first) if swapped else (first, second)))

        e = b.node("Erf", mul(x, _c(b, 1.0 / root)) if multiplied else b.node("Div", x, _c(b, root)))
        sum_ = b.node("Add", *((_c(b, one), e) if swapped else (e, _c(b, one))))
        if half == "x":
            return mul(mul(x, _c(b, 0.5)), sum_)
        if half == "sum":
            return mul(x, mul(sum_, _c(b, 0.5)))
        return mul(mul(x, sum_), _c(b, 0.5))

    return write


def _tanh_gelu(*, power: bool, cubic: float = 0.044715) -> Write:
    def write(b: Builder, x: str) -> str:
        cube = b.node("Pow", x, _c(b, 3.0)) if power else b.node("Mul", x, b.node("Mul", x, x))
        inner = b.node("Add", x, b.node("Mul", cube, _c(b, cubic)))
        t = b.node("Tanh", b.node("Mul", inner, _c(b, math.sqrt(2.0 / math.pi))))
        return b.node("Mul", b.node("Mul", x, _c(b, 0.5)), b.node("Add", t, _c(b, 1.0)))

    return write


def _swish(beta: float | None, swapped: bool = False) -> Write:
    def write(b: Builder, x: str) -> str:
        gate = b.node("Sigmoid", x if beta is None else b.node("Mul", x, _c(b, beta)))
        return b.node("Mul", *((gate, x) if swapped else (x, gate)))

    return write


def _hard_swish(*, divided: bool, six: float = 6.0) -> Write:
    def write(b: Builder, x: str) -> str:
        gate = b.node("Clip", b.node("Add", x, _c(b, 3.0)), _c(b, 0.0), _c(b, 6.0))
        if divided:
            return b.node("Div", b.node("Mul", x, gate), _c(b, six))
        return b.node("Mul", x, b.node("Mul", gate, _c(b, 1.0 / six)))

    return write


def _mish(b: Builder, x: str) -> str:
    return b.node("Mul", x, b.node("Tanh", b.node("Softplus", x)))


def _softplus(b: Builder, x: str) -> str:
    return b.node("Log", b.node("Add", b.node("Exp", x), _c(b, 1.0)))


def _gate_of_another(b: Builder, x: str) -> str:
    return b.node("Mul", b.node("Relu", x), b.node("Sigmoid", x))


ACTIVATIONS: Mapping[str, tuple[Kind, Write]] = {
    **{
        f"gelu, half at {half}{', Mul' * multiplied}{', swapped' * swapped}": (
            Kind.GELU,
            _erf_gelu(multiplied=multiplied, swapped=swapped, half=half),
        )
        for half in ("x", "sum", "end")
        for multiplied in (False, True)
        for swapped in (False, True)
    },
    "tanh gelu, Pow": (Kind.TANH_GELU, _tanh_gelu(power=True)),
    "tanh gelu, Mul": (Kind.TANH_GELU, _tanh_gelu(power=False)),
    "quick gelu": (Kind.SWISH, _swish(1.702)),
    "silu": (Kind.SWISH, _swish(None)),
    "silu, swapped": (Kind.SWISH, _swish(None, swapped=True)),
    "hard swish, Div": (Kind.HARD_SWISH, _hard_swish(divided=True)),
    "hard swish, Mul": (Kind.HARD_SWISH, _hard_swish(divided=False)),
    "mish": (Kind.MISH, _mish),
    "softplus": (Kind.SOFTPLUS, _softplus),
}
NEAR_MISSES: Mapping[str, Write] = {
    "gelu of another root": _erf_gelu(multiplied=False, swapped=False, half="end", root=1.2),
    "gelu of another sum": _erf_gelu(multiplied=False, swapped=False, half="end", one=1.1),
    "tanh gelu of another cubic": _tanh_gelu(power=True, cubic=0.09),
    "hard swish by five": _hard_swish(divided=True, six=5.0),
    "gate of another value": _gate_of_another,
}


def layer_norm(b: Builder, x: str, width: int) -> str:
    centred = b.node("Sub", x, b.node("ReduceMean", x, axes=[-1]))
    variance = b.node("ReduceMean", b.node("Pow", centred, _c(b, 2.0)), axes=[-1])
    quotient = b.node("Div", centred, b.node("Sqrt", b.node("Add", variance, _c(b, 1e-5))))
    scaled = b.node("Mul", quotient, b.constant(b.vector(width, "positive")))
    return b.node("Add", scaled, b.constant(b.normal(width)))


def rms_norm(b: Builder, x: str, width: int) -> str:
    mean = b.node("ReduceMean", b.node("Pow", x, _c(b, 2.0)), axes=[-1])
    quotient = b.node("Div", x, b.node("Sqrt", b.node("Add", mean, _c(b, 1e-5))))
    return b.node("Mul", quotient, b.constant(b.vector(width, "positive")))


def attention(b: Builder, x: str, width: int, heads: int, mask: str, *, scaled: str) -> str:
    """Attention with a mask of ones and zeros, scaled by Div or Mul at the queries, the keys or the scores."""
    size = width // heads

    def project(value: str) -> str:
        return b.node("Add", b.constant(b.normal(width)), b.node("MatMul", value, b.constant(b.normal(width, width))))

    def split(value: str, order: list[int]) -> str:
        return b.node("Transpose", b.node("Reshape", value, b.ints(0, 0, heads, size)), perm=order)

    q = split(project(x), [0, 2, 1, 3])
    k = split(project(x), [0, 2, 3, 1])
    v = split(project(x), [0, 2, 1, 3])
    if scaled == "queries":
        q = b.node("Div", q, _c(b, math.sqrt(size)))
    if scaled == "keys":
        k = b.node("Mul", k, _c(b, size**-0.5))
    scores = b.node("MatMul", q, k)
    if scaled == "scores":
        scores = b.node("Div", scores, _c(b, math.sqrt(size)))
    bias = b.node("Mul", b.node("Sub", _c(b, 1.0), mask), _c(b, -10000.0))
    weights = b.node("Softmax", b.node("Add", scores, bias), axis=-1)
    mixed = b.node("Transpose", b.node("MatMul", weights, v), perm=[0, 2, 1, 3])
    return project(b.node("Reshape", mixed, b.ints(0, 0, width)))
