"""Tests of the counts of multiply-adds: PyTorch's own counter says what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnxnorm.graph.multiply_adds import COUNTED, UNCOUNTED, multiply_adds

torch = pytest.importorskip("torch")
F = torch.nn.functional

CASES: dict[str, tuple[str, Callable, tuple[tuple[int, ...], ...]]] = {
    "convolution": ("Conv", lambda x, w: F.conv2d(x, w, stride=2, padding=1), ((2, 6, 9, 8), (4, 6, 3, 3))),
    "groups": ("FusedConv", lambda x, w: F.conv2d(x, w, groups=3), ((2, 6, 9, 8), (9, 2, 3, 1))),
    "transposed": ("ConvTranspose", lambda x, w: F.conv_transpose2d(x, w, stride=2), ((2, 6, 5, 4), (6, 3, 3, 2))),
    "product": ("MatMul", lambda a, b: a @ b, ((3, 5, 7), (3, 7, 2))),
    "vector": ("MatMul", lambda a, b: (a.unsqueeze(0) @ b).squeeze(0), ((7,), (7, 2))),
    "Gemm": ("Gemm", lambda a, b, c: F.linear(a, b, c), ((5, 7), (2, 7), (2,))),
    "Gemm of a transposed": ("Gemm", lambda a, b: a.t() @ b, ((7, 5), (7, 2))),
    "transposed as large": ("FusedMatMul", lambda a, b: a.transpose(1, 2) @ b, ((2, 4, 4), (2, 4, 3))),
    "attention": ("Attention", F.scaled_dot_product_attention, ((2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 3))),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_of_pytorch(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    op_type, function, shapes = CASES[name]
    with FlopCounterMode(display=False) as counter:
        y = function(*map(torch.zeros, shapes))
    assert multiply_adds(op_type, shapes, [tuple(y.shape)]) == counter.get_total_flops() // 2 > 0


def test_places_of_weights_differ() -> None:
    x, scalar, weight, y = (1, 3, 8, 8), (), (4, 3, 3, 3), (1, 4, 6, 6)
    assert multiply_adds("QLinearConv", [x, scalar, scalar, weight, scalar, scalar], [y]) == 4 * 36 * 27
    assert multiply_adds("LSTM", [(5, 2, 3), (1, 16, 3), (1, 16, 4)], [(5, 1, 2, 4)]) == 5 * 2 * 16 * (3 + 4)
    packed = [(2, 5, 8), (8, 24), (24,)]
    assert multiply_adds("Attention", packed, [(2, 5, 8)]) == 2 * (5 * 8 * 24 + 2 * 5 * 5 * 8)


def test_what_is_not_known_is_not_counted() -> None:
    assert multiply_adds("Relu", [(2, 3)], [(2, 3)]) == 0
    assert multiply_adds("Conv", [(1, 3, 8, 8)], [(1, 4, 8, 8)]) is None
    assert multiply_adds("Einsum", [(2, 3), (3, 4)], [(2, 4)]) is None
    assert not COUNTED & UNCOUNTED
