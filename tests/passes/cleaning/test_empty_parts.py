"""Parts of a Concat without elements go, and only those."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from testing.builder import Builder
from testing.cleaning import cleaned, nodes_of


def _nothing(b: Builder, x: str, axis: int) -> str:
    zero = b.constant(np.zeros(1, np.int64))
    return b.node("Slice", x, zero, zero, b.constant(np.array([axis])))


def _constant(b: Builder, x: str) -> str:
    return b.node("Concat", x, b.constant(np.zeros((2, 0, 5))), axis=1)


def _slice_before(b: Builder, x: str) -> str:
    return b.node("Relu", b.node("Concat", _nothing(b, x, 2), x, axis=-1))


def _between_two(b: Builder, x: str) -> str:
    return b.node("Concat", x, _nothing(b, x, 1), b.node("Relu", x), axis=1)


def _empty_along_another_axis(b: Builder, x: str) -> str:
    empty = _nothing(b, x, 2)
    return b.node("Concat", empty, empty, axis=1)


def _all_are_empty(b: Builder, x: str) -> str:
    empty = _nothing(b, x, 1)
    return b.node("Concat", empty, b.node("Relu", empty), axis=1)


def _as_many_as_it_is_given(b: Builder, x: str) -> str:
    return b.node("Concat", x, b.input((2, "past", 5), name="past"), axis=1)


_PARTS: list[tuple[Callable[[Builder, str], str], int]] = [
    (_constant, 0),
    (_slice_before, 0),
    (_between_two, 2),
    (_empty_along_another_axis, 2),
    (_all_are_empty, 2),
    (_as_many_as_it_is_given, 2),
]


@pytest.mark.parametrize(("build", "parts"), _PARTS, ids=lambda each: getattr(each, "__name__", ""))
def test_parts_without_elements_go(build: Callable[[Builder, str], str], parts: int) -> None:
    b = Builder()
    y = b.node("Sigmoid", build(b, b.node("Tanh", b.input((2, 4, 5)))))
    result = cleaned(b.model(y))
    joins = [node for node in result.graph.node if node.op_type == "Concat"]
    assert [len(node.input) for node in joins] == ([parts] if parts else [])
    assert ("Slice" in nodes_of(result)) == (build in (_empty_along_another_axis, _all_are_empty))
