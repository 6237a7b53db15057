"""Tests of names that nothing else has."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from onnxnorm.model.names import name_apart


@dataclass
class _Node:
    name: str
    op_type: str = "Relu"


@pytest.mark.parametrize(
    "before, after",
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_1", "a_2"]),
        (["a", "a", "a_1"], ["a", "a_2", "a_1"]),
        (["", "Relu", ""], ["Relu_1", "Relu", "Relu_2"]),
    ],
)
def test_the_first_of_several_keeps_its_name(before: list[str], after: list[str]) -> None:
    nodes = [_Node(name) for name in before]
    assert name_apart(nodes) is (before != after)
    assert [node.name for node in nodes] == after
