"""Affines that are given up without a search, since others that look just like them were stuck."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnx
import pytest

from testing.builder import Builder, count, folded

# The package `onnxnorm.passes` has names of its own for what is in its modules.
fold_affines = importlib.import_module("onnxnorm.passes.fold_affines")


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the nodes for which a search was made."""
    names: list[str] = []
    search = fold_affines.solve

    def counting(node: Any, *rest: Any) -> Any:
        names.append(node.name)
        return search(node, *rest)

    monkeypatch.setattr(fold_affines, "solve", counting)
    return names


def _layers(number: int, odd: int | None = None) -> onnx.ModelProto:
    """Products of rank 3, which have no place for the shift before them; one of another width if `odd` says which.

    (A sum right behind the product would be its bias, which runtimes run with it: nobody searches a place for that.)
    """
    b = Builder()
    x, width = b.input((2, 3, 4)), 4
    for layer in range(number):
        made = 5 if layer == odd else 4
        h = b.node("MatMul", x, b.constant(b.normal(width, made)))
        x, width = b.node("Add", b.node("Erf", h), b.constant(np.resize([0.5, -1.0], made))), made
    return b.model(x)


def test_of_equal_layers_only_the_first_ones_are_searched(searched: list[str]) -> None:
    assert count(folded(_layers(12)).model, "Add") == 12
    few = set(searched)
    searched.clear()
    assert count(folded(_layers(40)).model, "Add") == 40
    # Those near the input and the output of the graph look different.
    assert len(few) == len(set(searched)) < 6


def test_a_layer_that_looks_different_is_searched(searched: list[str]) -> None:
    folded(_layers(12))
    alike = set(searched)
    searched.clear()
    folded(_layers(12, odd=6))
    assert len(set(searched)) > len(alike)


@pytest.mark.parametrize("factors", [(-2.0, 2.0), (-2.0, -3.0, 2.0, -2.0, 3.0)])
def test_a_scale_of_another_sign_is_no_twin(factors: tuple[float, ...]) -> None:
    b = Builder()
    x = b.input((2, 4, 5, 5))
    for factor in factors:
        scaled = b.node("Mul", b.node("Sigmoid", x), b.constant(np.full((), factor)))
        x = b.conv(b.node("Relu", scaled), 4, 4, (1, 1))
    result = folded(b.model(x))
    assert count(result.model, "Mul") == sum(factor < 0 for factor in factors)
